package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"lazulite.dev/emulator/store"
)

// Kinds of node in a file share.
const (
	fileNode      = "File"
	directoryNode = "Directory"
)

// node is one file or directory of a share as it is: names keep their case and
// are compared without it.
type node struct {
	Kind     string
	Name     string
	Size     int64
	Created  time.Time
	Modified time.Time
	// Written is the file's own time, which other clients of the share see and set.
	Written time.Time
	note
	etag string
	disk string
}

// note is what the store keeps of a node because a directory can't: the file
// itself has its length, times and bytes. One that a job makes has no note.
type note struct {
	ID identity `json:"id"`
	// Noted is when the note was last changed through the REST API.
	Noted   time.Time         `json:"noted"`
	Created time.Time         `json:"created"`
	Headers headers           `json:"headers,omitzero"`
	Meta    map[string]string `json:"meta,omitempty"`
	// Ranges are the written parts of a file, merged and in order, as long as
	// it has the time and length that the last REST write left it with.
	Ranges []extent  `json:"ranges,omitempty"`
	AsOf   time.Time `json:"asOf,omitzero"`
	Length int64     `json:"length,omitempty"`

	rev int64
}

// identity tells the file that a note is of from a later one of its name.
type identity struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // ns; 0 where the file system does not say
}

// nodeKey files a note under its node's parent, so that those of a directory
// are one run of keys. No component is empty: the double slash is unambiguous.
func nodeKey(sid, path string) string {
	path = strings.ToLower(path)
	parent, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	return childPrefix(sid, parent) + name
}

func childPrefix(sid, dir string) string { return fileKeys + sid + "/" + strings.ToLower(dir) + "//" }

func lastName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// node wants the share's tree lock, s.lock(share, ""). It returns nil where nothing is.
func (s *Service) node(ctx context.Context, f *folder, path string) (*node, error) {
	disk, info, err := f.find(path)
	if err != nil || info == nil {
		return nil, err
	}
	d, err := s.cfg.Store.Get(ctx, nodeKey(f.k.ID, path))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return f.node(folderEntry{name: shareName(lastName("/" + disk)), disk: disk, info: info}, d)
}

// node puts together what the file system and a note (of no key where there is none) say.
func (f *folder) node(e folderEntry, d store.Doc) (*node, error) {
	n := &node{Kind: fileNode, Name: e.name, Size: e.info.Size(), Created: e.info.ModTime(), Modified: e.info.ModTime(), Written: e.info.ModTime(), disk: e.disk}
	if e.info.IsDir() {
		n.Kind, n.Size = directoryNode, 0
	}
	if d.Key != "" {
		kept := note{rev: d.Rev}
		if err := decode(d.Key, d.Value, &kept); err != nil {
			return nil, err
		}
		if f.identity(e) == kept.ID {
			n.note = kept
			n.Created = kept.Created
			if n.Kind == directoryNode {
				// What is in a directory does not change it.
				n.Modified = kept.Noted
			} else if kept.Noted.After(n.Modified) {
				n.Modified = kept.Noted
			}
		}
	}
	if n.note.Headers.Type == "" && n.Kind == fileNode {
		n.note.Headers.Type = octets
	}
	inode, _ := inodeOf(e.info)
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, inode, n.Size, n.Modified.UnixNano(), n.Written.UnixNano(), n.rev) // a hash takes every write
	if n.Kind == directoryNode {
		h.Reset()
		_, _ = fmt.Fprint(h, inode, n.Modified.UnixNano(), n.rev)
	}
	n.etag = fmt.Sprintf("\"0x8D%013X\"", h.Sum64()&(1<<52-1))
	return n, nil
}

// identity is the zero one, which no note has, where the file can't be opened.
func (f *folder) identity(e folderEntry) identity {
	file, _, err := f.open(e.disk, os.O_RDONLY)
	if err != nil {
		return identity{}
	}
	defer func() { _ = file.Close() }()
	id, err := identify(file)
	if err != nil {
		return identity{}
	}
	return id
}

// wantNode is node for one that must be there and of a kind.
func (s *Service) wantNode(ctx context.Context, f *folder, path, kind string) (*node, error) {
	n, err := s.node(ctx, f, path)
	if err != nil {
		return nil, err
	}
	if n != nil && n.Kind == kind {
		return n, nil
	}
	if n != nil {
		return nil, fail("ResourceTypeMismatch")
	}
	if _, err := f.parent(path); err != nil {
		return nil, err
	}
	return nil, fail("ResourceNotFound")
}

// parent is where on disk the parent of a path is.
func (f *folder) parent(path string) (string, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", nil
	}
	disk, info, err := f.find(path[:i])
	if err == nil && (info == nil || !info.IsDir()) {
		err = fail("ParentNotFound")
	}
	return disk, err
}

// keep writes a node's note and returns the node as it is then. It wants the tree lock.
func (s *Service) keep(ctx context.Context, f *folder, path string, file *os.File, n note) (*node, error) {
	var err error
	if n.ID, err = identify(file); err != nil {
		return nil, fmt.Errorf("blob: file %s: %w", path, err)
	}
	n.Noted = s.cfg.Clock.Now()
	if n.Created.IsZero() {
		n.Created = n.Noted
	}
	d, err := s.cfg.Store.Put(ctx, nodeKey(f.k.ID, path), encode(n), store.Any)
	if err != nil {
		return nil, fmt.Errorf("blob: file %s: %w", path, err)
	}
	disk, info, err := f.find(path)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, fail("ResourceNotFound") // a job was quicker
	}
	return f.node(folderEntry{name: shareName(lastName("/" + disk)), disk: disk, info: info}, d)
}

// stamp gives a file that was written through the REST API the emulator's time, and notes how it is now.
func (s *Service) stamp(f *folder, disk string, file *os.File, n *note) error {
	now := s.cfg.Clock.Now()
	// One of another owner keeps the time that the write itself gave it.
	if err := f.root.Chtimes(disk, now, now); err != nil && !errors.Is(err, fs.ErrPermission) {
		return f.fault(disk, err)
	}
	fi, err := file.Stat()
	if err != nil {
		return f.fault(disk, err)
	}
	n.AsOf, n.Length = fi.ModTime().UTC(), fi.Size()
	return nil
}

// makeNode makes a directory, or a file of zeros in the place of an older one.
func (s *Service) makeNode(ctx context.Context, k *container, path, kind string, size int64, n note, overwrite bool) (*node, error) {
	f, err := s.folder(k)
	if err != nil {
		return nil, err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	old, err := s.node(ctx, f, path)
	switch {
	case err != nil:
		return nil, err
	case old != nil && old.Kind != kind:
		return nil, fail("ResourceTypeMismatch")
	case old != nil && kind == directoryNode:
		return nil, fail("ResourceAlreadyExists")
	case old != nil && !overwrite:
		return nil, fail("UnauthorizedBlobOverwrite")
	}
	parent, err := f.parent(path)
	if err != nil {
		return nil, err
	}
	disk, flag := join(parent, diskName(lastName(path))), os.O_RDWR|os.O_CREATE|os.O_EXCL
	if kind == directoryNode {
		if err := f.root.Mkdir(disk, 0o777); err != nil {
			return nil, f.fault(disk, err)
		}
		flag = os.O_RDONLY
	} else if old != nil {
		disk, flag = old.disk, os.O_RDWR
	}
	file, _, err := f.open(disk, flag)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what a write returned is in the kernel already
	if old == nil {
		// Beyond what the process's umask allows.
		if err := file.Chmod(0o777); err != nil {
			return nil, f.fault(disk, err)
		}
	}
	if kind == fileNode {
		for _, length := range []int64{0, size} {
			if err := file.Truncate(length); err != nil {
				return nil, f.fault(disk, err)
			}
		}
		if err := s.stamp(f, disk, file, &n); err != nil {
			return nil, err
		}
	}
	return s.keep(ctx, f, path, file, n)
}

// changeNode changes a node that is there; change may refuse, or write to the file, which is open for writing if write is set.
func (s *Service) changeNode(ctx context.Context, k *container, path, kind string, write bool, change func(*node, *os.File) error) (*node, error) {
	f, err := s.folder(k)
	if err != nil {
		return nil, err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	n, err := s.wantNode(ctx, f, path, kind)
	if err != nil {
		return nil, err
	}
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	file, _, err := f.open(n.disk, flag)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what a write returned is in the kernel already
	if n.note.Created.IsZero() {
		n.note.Created = n.Created
	}
	n.note.Meta = maps.Clone(n.note.Meta)
	if write {
		if n.Ranges, err = n.extents(file); err != nil {
			return nil, f.fault(n.disk, err)
		}
	}
	if err := change(n, file); err != nil {
		return nil, err
	}
	if write {
		if err := s.stamp(f, n.disk, file, &n.note); err != nil {
			return nil, err
		}
	}
	return s.keep(ctx, f, path, file, n.note)
}

// removeNode deletes a file or an empty directory.
func (s *Service) removeNode(ctx context.Context, k *container, path, kind string) error {
	f, err := s.folder(k)
	if err != nil {
		return err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	n, err := s.wantNode(ctx, f, path, kind)
	if err != nil {
		return err
	}
	if err := f.root.Remove(n.disk); err != nil {
		return f.fault(n.disk, err)
	}
	if err := s.cfg.Store.Delete(ctx, nodeKey(k.ID, path), store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("blob: delete %s: %w", path, err)
	}
	return nil
}

// lookNode returns a node that must be there.
func (s *Service) lookNode(ctx context.Context, k *container, path, kind string) (*node, error) {
	f, err := s.folder(k)
	if err != nil {
		return nil, err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.RLock()
	defer l.RUnlock()
	return s.wantNode(ctx, f, path, kind)
}

// children lists a directory that must be there, in the order of names without case.
func (s *Service) children(ctx context.Context, k *container, path string) ([]*node, error) {
	f, err := s.folder(k)
	if err != nil {
		return nil, err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.RLock()
	defer l.RUnlock()
	disk := "."
	if path != "" {
		n, err := s.wantNode(ctx, f, path, directoryNode)
		if err != nil {
			return nil, err
		}
		disk = n.disk
	}
	entries, err := f.list(disk)
	if err != nil {
		return nil, err
	}
	base := childPrefix(k.ID, path)
	docs, err := s.cfg.Store.List(ctx, base, "", 0)
	if err != nil {
		return nil, err
	}
	notes := map[string]store.Doc{}
	for _, d := range docs {
		notes[strings.TrimPrefix(d.Key, base)] = d
	}
	out := make([]*node, 0, len(entries))
	for _, e := range entries {
		n, err := f.node(e, notes[strings.ToLower(e.name)])
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *node) int { return strings.Compare(a.order(), b.order()) })
	return out, nil
}

// order sorts a directory, and is where a page of it ended.
func (n *node) order() string { return strings.ToLower(n.Name) + "\x00" + n.Name }

// fileReader reads a share's file; writes of others while it is read are seen, as with any file share.
type fileReader struct{ *os.File }

func (r fileReader) copyTo(w io.Writer, n int64) error {
	_, err := io.CopyN(w, r.File, n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// openNode opens a file for reading.
func (s *Service) openNode(ctx context.Context, k *container, path string) (*node, fileReader, error) {
	f, err := s.folder(k)
	if err != nil {
		return nil, fileReader{}, err
	}
	defer f.close()
	l := s.lock(k.ID, "")
	l.RLock()
	defer l.RUnlock()
	n, err := s.wantNode(ctx, f, path, fileNode)
	if err != nil {
		return nil, fileReader{}, err
	}
	file, _, err := f.open(n.disk, os.O_RDONLY)
	return n, fileReader{file}, err
}

// writeRange puts a spooled body, or zeros for a nil one, at a range of a file.
func (s *Service) writeRange(ctx context.Context, k *container, path string, at extent, body *spooled) (*node, error) {
	return s.changeNode(ctx, k, path, fileNode, true, func(n *node, f *os.File) (err error) {
		if at.To > n.Size {
			return fail("InvalidRange")
		}
		if body != nil {
			err = body.writeTo(f, at.From)
			n.Ranges = union(n.Ranges, at)
		} else {
			err = clearRange(f, at)
			n.Ranges = subtract(n.Ranges, at)
		}
		if err != nil {
			return fmt.Errorf("blob: write %s: %w", path, err)
		}
		return nil
	})
}

// ranges are the written parts of a file that must be there.
func (s *Service) ranges(ctx context.Context, k *container, path string) (*node, []extent, error) {
	n, file, err := s.openNode(ctx, k, path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	list, err := n.extents(file)
	return n, list, err
}

// used is how many bytes of a share's files are written.
func (s *Service) used(ctx context.Context, k *container) (int64, error) {
	var sum int64
	var visit func(path string) error
	visit = func(path string) error {
		nodes, err := s.children(ctx, k, path)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			at := strings.TrimPrefix(path+"/"+n.Name, "/")
			if n.Kind == directoryNode {
				err = visit(at)
			} else {
				var list []extent
				_, list, err = s.ranges(ctx, k, at)
				for _, e := range list {
					sum += e.To - e.From
				}
			}
			if err != nil && !isAbsent(err) { // what a job deletes meanwhile does not count
				return err
			}
		}
		return nil
	}
	return sum, visit("")
}

// nodeID is the x-ms-file-id of a path.
func nodeID(k *container, path string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(nodeKey(k.ID, path))) // a hash takes every write
	return fmt.Sprint(h.Sum64())
}
