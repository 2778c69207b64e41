package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// maxDrain is how much of a refused upload is still read, so that the client
// gets to see the answer instead of a broken connection.
const maxDrain = 1 << 30

// part is one uploaded file, checked and waiting in the temporary folder.
type part struct {
	file string
	sum  string
	size int64
}

// upload is a multipart body, received and not yet stored.
type upload struct {
	dir   string
	parts map[string]part
	tree  *node
	bytes int64
}

func (s *Service) postSnapshot(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	sn, inherited, err := s.newSnapshot(r.Context(), c.Workspace, c.Vars["id"], r.URL.Query().Get("parentSnapshotId"))
	if err != nil {
		drain(r.Body)
		return err
	}
	up, err := s.receive(r)
	if up != nil {
		defer func() { _ = os.RemoveAll(up.dir) }()
	}
	if err != nil {
		drain(r.Body)
		return err
	}
	if err := sn.fill(up, inherited); err != nil {
		return err
	}
	if err := s.storeSnapshot(r.Context(), c.Workspace, sn, up); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, snapshotDto{sn.ID, sn.Root.wire()})
	return nil
}

// newSnapshot is an empty snapshot, and the files that it may take from its parent.
func (s *Service) newSnapshot(ctx context.Context, ws plane.Workspace, id, parent string) (snapshot, map[string]*node, error) {
	sn := snapshot{Parent: uuid.Nil.String(), Created: s.cfg.Clock.Now()}
	inherited := map[string]*node{}
	var err error
	if sn.ID, err = snapshotID("snapshotId", id); err != nil {
		return sn, nil, err
	}
	if sn.ID == uuid.Nil.String() {
		return sn, nil, plane.BadRequest("snapshotId", "The zero GUID cannot be the id of a snapshot.")
	}
	if parent != "" {
		if sn.Parent, err = snapshotID("parentSnapshotId", parent); err != nil {
			return sn, nil, err
		}
	}
	if sn.Parent != uuid.Nil.String() {
		p, err := s.snapshot(ctx, ws, sn.Parent)
		if err != nil {
			return sn, nil, err
		}
		p.Root.files("", func(path string, n *node) { inherited[path] = n })
	}
	return sn, inherited, nil
}

func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxDrain) }

// receive reads the parts to temporary files and the tree to memory.
func (s *Service) receive(r *http.Request) (*upload, error) {
	mr, err := r.MultipartReader()
	if err != nil {
		return nil, plane.BadRequest("body", "The request body must be multipart/form-data with the snapshot's files.")
	}
	dir, err := os.MkdirTemp(s.cfg.TempDir, tempPattern)
	if err != nil {
		return nil, err
	}
	up := &upload{dir: dir, parts: map[string]part{}}
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return up, plane.BadRequest("body", "The multipart body could not be read: it is cut off or not well formed.")
		}
		if err := up.take(p); err != nil {
			return up, err
		}
	}
	if up.tree == nil {
		return up, plane.BadRequest("dirTreeRootFile", "The part 'dirTreeRootFile' with the directory tree is missing.")
	}
	return up, nil
}

func (u *upload) take(p *multipart.Part) error {
	// Part.FileName would cut the folders off.
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	name := params["filename"]
	if err != nil || name == "" {
		return plane.BadRequest("files", "A part of the body has no file name.")
	}
	if name == "dirTreeRootFile" && strings.EqualFold(p.Header.Get("dirTreeRootFile"), "true") {
		if u.tree != nil {
			return plane.BadRequest("dirTreeRootFile", "The part 'dirTreeRootFile' comes twice.")
		}
		b, err := io.ReadAll(io.LimitReader(p, maxTree+1))
		if err != nil {
			return plane.BadRequest("body", "The multipart body could not be read: it is cut off or not well formed.")
		}
		if len(b) > maxTree {
			return plane.TooLarge("The directory tree is larger than %d bytes.", maxTree)
		}
		u.tree, err = parseTree(b)
		return err
	}
	// The SDK on Windows joins names by a backslash, which no name in a tree may hold.
	path := strings.ReplaceAll(name, "\\", "/")
	if why := badRelPath(path); why != "" {
		return plane.BadRequest("files", "The file name '%s' is not valid: %s.", name, why)
	}
	if _, ok := u.parts[path]; ok {
		return plane.BadRequest("files", "The file '%s' comes twice.", name)
	}
	if len(u.parts) == maxSnapshotFiles {
		return plane.TooLarge("The snapshot exceeds the file limit of %d.", maxSnapshotFiles)
	}
	f, err := os.CreateTemp(u.dir, "part-")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	read := &sourceError{r: p}
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(read, maxSnapshotBytes-u.bytes+1))
	if read.err != nil {
		return plane.BadRequest("body", "The multipart body could not be read: it is cut off or not well formed.")
	}
	if err != nil {
		return err
	}
	if u.bytes += n; u.bytes > maxSnapshotBytes {
		return tooManyBytes()
	}
	u.parts[path] = part{file: f.Name(), sum: hex.EncodeToString(sum.Sum(nil)), size: n}
	return f.Close()
}

// sourceError remembers that it was the client's side that failed, not the disk's.
type sourceError struct {
	r   io.Reader
	err error
}

func (s *sourceError) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func tooManyBytes() error {
	return plane.TooLarge("The snapshot exceeds the size limit of %d MB.", maxSnapshotBytes>>20)
}

// fill gives each file of the tree its content: from the request, or from the
// parent where path and hash are the parent's. The rest is missing: a later
// snapshot brings it.
func (sn *snapshot) fill(up *upload, inherited map[string]*node) error {
	used := 0
	up.tree.files("", func(path string, n *node) {
		if p, ok := up.parts[path]; ok {
			n.Content, n.Size = p.sum, p.size
			used++
		} else if old := inherited[path]; old != nil && old.Hash == n.Hash && old.Content != "" {
			n.Content, n.Size = old.Content, old.Size
		} else {
			sn.Missing++
		}
		sn.Bytes += n.Size
	})
	if used < len(up.parts) {
		known := map[string]bool{}
		up.tree.files("", func(path string, _ *node) { known[path] = true })
		for path := range up.parts {
			if !known[path] {
				return plane.BadRequest("files", "The file '%s' is not in the directory tree.", path)
			}
		}
	}
	if sn.Bytes > maxSnapshotBytes {
		return tooManyBytes()
	}
	sn.Root = up.tree
	return nil
}

// storeSnapshot writes the new contents and then the record: what a crash
// between the two leaves is content that the next snapshot may use.
func (s *Service) storeSnapshot(ctx context.Context, ws plane.Workspace, sn snapshot, up *upload) error {
	k := key(ws, "snapshot", sn.ID)
	old, _, err := store.Read[snapshot](ctx, s.cfg.Store, k)
	if err == nil && old.Parent == sn.Parent && reflect.DeepEqual(old.Root.wire(), sn.Root.wire()) && old.Bytes == sn.Bytes && old.Missing == sn.Missing {
		return nil // a repetition of what was already acknowledged
	}
	taken := plane.Conflict("The snapshot '%s' exists already with other content.", sn.ID)
	if err == nil {
		return taken
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, p := range up.parts {
		if err := s.storeContent(ctx, ws, p); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(sn)
	if err != nil {
		return err
	}
	ops := []store.Op{{Key: k, Value: doc, If: store.Absent}}
	if sn.Missing == 0 {
		l, err := json.Marshal(latest{sn.ID})
		if err != nil {
			return err
		}
		ops = append(ops, store.Op{Key: key(ws, "latestsnapshot"), Value: l, If: store.Any})
	}
	if _, err = s.cfg.Store.Batch(ctx, ops); errors.Is(err, store.ErrConflict) {
		return taken
	}
	return err
}

func (s *Service) storeContent(ctx context.Context, ws plane.Workspace, p part) error {
	name := contentBlob(p.sum)
	have, _, err := s.blobs.Open(ctx, ws.StorageAccount, snapshotContainer, name)
	if err == nil {
		return have.Close()
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f, err := os.Open(filepath.Clean(p.file))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = s.blobs.Put(ctx, ws.StorageAccount, snapshotContainer, name, "application/octet-stream", f)
	return storageGone(ws, snapshotContainer, err)
}
