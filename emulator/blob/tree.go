package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"

	"lazulite.dev/emulator/store"
)

// Kinds of node in a file share.
const (
	fileNode      = "File"
	directoryNode = "Directory"
)

// node is one file or directory of a share: names keep their case and are compared without it.
type node struct {
	document
	Name string `json:"name"`
	// Ranges are the written parts of a file, merged and in order.
	Ranges []extent `json:"ranges,omitempty"`
	rev    int64
}

// extent is from its first byte to before its end.
type extent struct {
	From int64 `json:"a"`
	To   int64 `json:"b"`
}

// nodeKey files a node under its parent, so that a directory is one run of
// keys. No component is empty: the double slash is unambiguous.
func nodeKey(sid, path string) string {
	path = strings.ToLower(path)
	parent, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	return childPrefix(sid, parent) + name
}

func childPrefix(sid, dir string) string { return fileKeys + sid + "/" + strings.ToLower(dir) + "//" }

// node wants the share's tree lock, s.lock(share, ""). It returns nil where nothing is.
func (s *Service) node(ctx context.Context, k *container, path string) (*node, error) {
	d, err := s.cfg.Store.Get(ctx, nodeKey(k.ID, path))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &node{rev: d.Rev}
	return n, decode(d.Key, d.Value, n)
}

// wantNode is node for one that must be there and of a kind.
func (s *Service) wantNode(ctx context.Context, k *container, path, kind string) (*node, error) {
	n, err := s.node(ctx, k, path)
	if err != nil {
		return nil, err
	}
	if n != nil && n.Kind == kind {
		return n, nil
	}
	if n != nil {
		return nil, fail("ResourceTypeMismatch")
	}
	if err := s.wantParent(ctx, k, path); err != nil {
		return nil, err
	}
	return nil, fail("ResourceNotFound")
}

func (s *Service) wantParent(ctx context.Context, k *container, path string) error {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return nil
	}
	parent, err := s.node(ctx, k, path[:i])
	if err == nil && (parent == nil || parent.Kind != directoryNode) {
		err = fail("ParentNotFound")
	}
	return err
}

// saveNode wants the tree lock.
func (s *Service) saveNode(ctx context.Context, k *container, path string, n *node) error {
	d, err := s.cfg.Store.Put(ctx, nodeKey(k.ID, path), encode(n), store.Any)
	if err != nil {
		return fmt.Errorf("blob: file %s: %w", path, err)
	}
	n.rev = d.Rev
	return nil
}

// makeNode makes a directory, or a file of zeros in the place of an older one.
func (s *Service) makeNode(ctx context.Context, k *container, path string, n *node, overwrite bool) (err error) {
	if n.Kind == fileNode {
		if n.File, err = s.zeros(k.ID, n.Size); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				s.files.discard(k.ID, n.File)
			}
		}()
	}
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	old, err := s.node(ctx, k, path)
	switch {
	case err != nil:
		return err
	case old != nil && old.Kind != n.Kind:
		return fail("ResourceTypeMismatch")
	case old != nil && n.Kind == directoryNode:
		return fail("ResourceAlreadyExists")
	case old != nil && !overwrite:
		return fail("UnauthorizedBlobOverwrite")
	}
	if err := s.wantParent(ctx, k, path); err != nil {
		return err
	}
	n.Name = path[strings.LastIndexByte(path, '/')+1:]
	n.Created = s.cfg.Clock.Now()
	n.Modified = n.Created
	if err := s.saveNode(ctx, k, path, n); err != nil {
		return err
	}
	if old != nil {
		s.files.discard(k.ID, old.File)
	}
	return nil
}

// zeros makes a sparse content file.
func (s *Service) zeros(home string, size int64) (string, error) {
	f, file, err := s.files.create(home)
	if err != nil {
		return "", err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		s.files.discard(home, file)
		return "", fmt.Errorf("blob: %w", err)
	}
	return file, nil
}

// changeNode changes a node that is there; change may refuse.
func (s *Service) changeNode(ctx context.Context, k *container, path, kind string, change func(*node) error) (*node, error) {
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	n, err := s.wantNode(ctx, k, path, kind)
	if err != nil {
		return nil, err
	}
	if err := change(n); err != nil {
		return nil, err
	}
	n.Modified = s.cfg.Clock.Now()
	return n, s.saveNode(ctx, k, path, n)
}

// removeNode deletes a file or an empty directory.
func (s *Service) removeNode(ctx context.Context, k *container, path, kind string) error {
	l := s.lock(k.ID, "")
	l.Lock()
	defer l.Unlock()
	n, err := s.wantNode(ctx, k, path, kind)
	if err != nil {
		return err
	}
	if kind == directoryNode {
		inside, err := s.cfg.Store.List(ctx, childPrefix(k.ID, path), "", 1)
		if err != nil {
			return err
		}
		if len(inside) > 0 {
			return fail("DirectoryNotEmpty")
		}
	}
	if err := s.cfg.Store.Delete(ctx, nodeKey(k.ID, path), store.Any); err != nil {
		return fmt.Errorf("blob: delete %s: %w", path, err)
	}
	s.files.discard(k.ID, n.File)
	return nil
}

// lookNode returns a node that must be there.
func (s *Service) lookNode(ctx context.Context, k *container, path, kind string) (*node, error) {
	l := s.lock(k.ID, "")
	l.RLock()
	defer l.RUnlock()
	return s.wantNode(ctx, k, path, kind)
}

// openNode opens a file for reading; writes of others while it is read are seen, as with any file share.
func (s *Service) openNode(ctx context.Context, k *container, path string) (*node, *reader, error) {
	l := s.lock(k.ID, "")
	l.RLock()
	defer l.RUnlock()
	n, err := s.wantNode(ctx, k, path, fileNode)
	if err != nil {
		return nil, nil, err
	}
	var segments []segment
	if n.Size > 0 {
		segments = []segment{{file: n.File, size: n.Size}}
	}
	return n, newReader(s.files, k.ID, segments), nil
}

// writeRange puts a spooled body, or zeros for a nil one, at a range of a file.
func (s *Service) writeRange(ctx context.Context, k *container, path string, at extent, body *spooled) (*node, error) {
	return s.changeNode(ctx, k, path, fileNode, func(n *node) error {
		if at.To > n.Size {
			return fail("InvalidRange")
		}
		f, err := os.OpenFile(s.files.path(k.ID, n.File), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		if body != nil {
			err = body.writeTo(f, at.From)
			n.Ranges = union(n.Ranges, at)
		} else {
			err = clearRange(f, at)
			n.Ranges = subtract(n.Ranges, at)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("blob: write %s: %w", path, err)
		}
		return nil
	})
}

func clearRange(f *os.File, at extent) error {
	zeros := make([]byte, min(at.To-at.From, bufferSize))
	for o := at.From; o < at.To; o += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), at.To-o)], o); err != nil {
			return err
		}
	}
	return nil
}

// union adds an extent to merged ones.
func union(list []extent, e extent) []extent {
	var out []extent
	for i, x := range list {
		switch {
		case x.To < e.From:
			out = append(out, x)
		case x.From > e.To:
			return append(append(out, e), list[i:]...)
		default:
			e = extent{min(x.From, e.From), max(x.To, e.To)}
		}
	}
	return append(out, e)
}

// subtract takes an extent out of merged ones.
func subtract(list []extent, e extent) []extent {
	var out []extent
	for _, x := range list {
		if x.To <= e.From || x.From >= e.To {
			out = append(out, x)
			continue
		}
		if x.From < e.From {
			out = append(out, extent{x.From, e.From})
		}
		if x.To > e.To {
			out = append(out, extent{e.To, x.To})
		}
	}
	return out
}

// used is how many bytes of a share's files are written.
func (s *Service) used(ctx context.Context, k *container) (int64, error) {
	var sum int64
	err := s.each(ctx, fileKeys+k.ID+"/", func(d store.Doc) error {
		var n node
		if err := decode(d.Key, d.Value, &n); err != nil {
			return err
		}
		for _, e := range n.Ranges {
			sum += e.To - e.From
		}
		return nil
	})
	return sum, err
}

// nodeID is the x-ms-file-id of a path.
func nodeID(k *container, path string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(nodeKey(k.ID, path))) // a hash takes every write
	return fmt.Sprint(h.Sum64())
}
