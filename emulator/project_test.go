package emulator_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/textproto"
)

// node is an entry of a snapshot's tree as the SDK sends it.
type node struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Timestamp string  `json:"timestamp"`
	Hash      string  `json:"hash"`
	Children  []*node `json:"children"`
}

// snapshotForm is the multipart body of a snapshot of one file, and its Content-Type header.
func snapshotForm(name, content string) ([]byte, string) {
	const stamp = "2018-10-20T10:00:00.000000"
	file := sha512.Sum512([]byte(content + name + "File"))
	all := sha512.Sum512(file[:])
	root := &node{Type: "Directory", Timestamp: stamp, Hash: hex.EncodeToString(all[:]),
		Children: []*node{{Name: name, Type: "File", Timestamp: stamp, Hash: hex.EncodeToString(file[:]), Children: []*node{}}}}
	tree, err := json.Marshal(root)
	if err != nil {
		panic(err) // strings alone
	}
	return form(part{filename: name, content: []byte(content)}, part{filename: "dirTreeRootFile", content: tree,
		header: textproto.MIMEHeader{"Content-Type": {"application/json"}, "dirTreeRootFile": {"true"}}})
}

// unzipOne is the content of the only file in a zip.
func unzipOne(b []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(z.File) != 1 {
		return nil, errors.New("the zip has not one file")
	}
	r, err := z.File[0].Open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}
