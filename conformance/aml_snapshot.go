package conformance

import (
	"archive/zip"
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

const zeroGUID = "00000000-0000-0000-0000-000000000000"

// node is one entry of a snapshot's tree as the client sends it.
type node struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Timestamp string  `json:"timestamp"`
	Hash      string  `json:"hash"`
	Children  []*node `json:"children"`
}

const snapshotTime = "2018-10-20T10:00:00.000000"

// tree is a flat project's tree; the hashes are made as the SDK makes them.
func tree(files ...projectFile) *node {
	root := &node{Type: "Directory", Timestamp: snapshotTime, Children: []*node{}}
	sum := sha512.New()
	for _, f := range files {
		h := sha512.Sum512([]byte(f.content + f.name + "File"))
		sum.Write(h[:])
		root.Children = append(root.Children, &node{Name: f.name, Type: "File", Timestamp: snapshotTime, Hash: hex.EncodeToString(h[:]), Children: []*node{}})
	}
	root.Hash = hex.EncodeToString(sum.Sum(nil))
	return root
}

// part is one part of a multipart body, all of which the SDK names files.
type part struct {
	filename, content string
	header            textproto.MIMEHeader
}

func multipartBody(s *session, parts ...part) (body []byte, ctype string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="files"; filename="%s"`, p.filename)}}
		for k, v := range p.header {
			h[k] = v
		}
		pw, err := w.CreatePart(h)
		s.must(err)
		_, err = io.WriteString(pw, p.content)
		s.must(err)
	}
	s.must(w.Close())
	return b.Bytes(), w.FormDataContentType()
}

// multipart posts parts as the SDK does.
func (s *session) multipart(u string, parts ...part) *wire.Response {
	body, ctype := multipartBody(s, parts...)
	return s.do(wire.Request{Method: http.MethodPost, URL: u, Body: body, Header: http.Header{"Content-Type": {ctype}}})
}

// snapshot uploads a new snapshot: the tree is all, files are those that changed since parent.
func (s *session) snapshot(id, parent string, root *node, files ...projectFile) *wire.Response {
	var parts []part
	for _, f := range files {
		parts = append(parts, part{filename: f.name, content: f.content})
	}
	b, err := json.Marshal(root)
	s.must(err)
	parts = append(parts, part{filename: "dirTreeRootFile", content: string(b),
		header: textproto.MIMEHeader{"Content-Type": {"application/json"}, "dirTreeRootFile": {"true"}}})
	return s.multipart(s.workspace().scope("content")+"/snapshots/"+id+"?parentSnapshotId="+parent, parts...)
}

// restore downloads a snapshot as the SDK does and returns its files.
func (s *session) restore(id string) map[string]string {
	r := s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().scope("content") + "/snapshots/" + id})
	s.status(r, http.StatusOK)
	u := decode[string](s, r)
	z := s.do(wire.Request{Method: http.MethodGet, URL: u, NoToken: strings.Contains(u, "sig=")})
	s.status(z, http.StatusOK)
	zr, err := zip.NewReader(bytes.NewReader(z.Body), int64(len(z.Body)))
	if err != nil {
		s.fail("the snapshot's download is no zip: %v", err)
	}
	files := map[string]string{}
	for _, f := range zr.File {
		if f.FileInfo().IsDir() {
			continue
		}
		rc, err := f.Open()
		if err != nil {
			s.fail("the snapshot's zip: %s: %v", f.Name, err)
		}
		b, err := io.ReadAll(io.LimitReader(rc, 1<<20))
		_ = rc.Close()
		if err != nil {
			s.fail("the snapshot's zip: %s: %v", f.Name, err)
		}
		files[f.Name] = string(b)
	}
	return files
}

func snapshotSpecs() []spec {
	return []spec{
		{"aml.snapshot.empty", func(s *session) {
			r := s.data(http.MethodGet, s.workspace().scope("content")+"/snapshots/latest/metadata", nil)
			s.text(r, "id")
			if _, ok := r.Value("root", "children").(map[string]any); !ok {
				s.fail("%s; root.children is an object here, also when there is no snapshot yet", r)
			}
		}},
		{"aml.snapshot.life", func(s *session) {
			train, data := projectFile{"train.py", "print(1)\n"}, projectFile{"data.txt", "1 2 3\n"}
			first, second := uuid(), uuid()
			if r := s.snapshot(first, zeroGUID, tree(data, train), data, train); r.Status >= 400 {
				s.fail("%s", r)
			}
			s.Expect(s.restore(first)).To(gomega.Equal(map[string]string{"train.py": train.content, "data.txt": data.content}))
			// Only what changed is sent; the rest comes from the parent, and what left the tree is gone.
			changed := projectFile{"train.py", "print(2)\n"}
			if r := s.snapshot(second, first, tree(changed), changed); r.Status >= 400 {
				s.fail("%s", r)
			}
			third := uuid()
			if r := s.snapshot(third, first, tree(data, changed), changed); r.Status >= 400 {
				s.fail("%s", r)
			}
			s.Expect(s.restore(second)).To(gomega.Equal(map[string]string{"train.py": "print(2)\n"}))
			s.Expect(s.restore(third)).To(gomega.Equal(map[string]string{"train.py": "print(2)\n", "data.txt": data.content}))
		}},
		{"aml.snapshot.latest", func(s *session) {
			id, f := uuid(), projectFile{"train.py", "print(3)\n"}
			if r := s.snapshot(id, zeroGUID, tree(f), f); r.Status >= 400 {
				s.fail("%s", r)
			}
			r := s.data(http.MethodGet, s.workspace().scope("content")+"/snapshots/latest/metadata", nil)
			s.Expect(r.Text("id")).To(gomega.Equal(id), r.String())
			s.Expect(r.Text("root", "children", "train.py", "hash")).NotTo(gomega.BeEmpty(), r.String())
		}},
		{"aml.snapshot.incomplete", func(s *session) {
			old, changed := projectFile{"train.py", "print(5)\n"}, projectFile{"train.py", "print(6)\n"}
			first, second := uuid(), uuid()
			if r := s.snapshot(first, zeroGUID, tree(old), old); r.Status >= 400 {
				s.fail("%s", r)
			}
			// The tree says that the file has changed, and the file does not come: the parent's is not it.
			if r := s.snapshot(second, first, tree(changed)); r.Status >= 400 {
				return
			}
			if r := s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().scope("content") + "/snapshots/" + second}); r.OK() {
				if files := s.restore(second); files["train.py"] != changed.content {
					s.fail("a file that changed and was never sent comes back as %q", files["train.py"])
				}
			}
		}},
		{"aml.snapshot.parent", func(s *session) {
			f := projectFile{"train.py", "print(4)\n"}
			r := s.snapshot(uuid(), uuid(), tree(f, projectFile{"z.txt", "z"}), f)
			s.status(r, http.StatusNotFound)
		}},
	}
}
