package blob

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const (
	// syncEvery is the rest between two synchronisations, longer by restFactor times what the last one took.
	syncEvery  = 2 * time.Second
	restFactor = 10
	// tick is more than the grain of file systems' clocks.
	tick = 100 * time.Millisecond
	// folderMeta marks a blob that stands for a directory.
	folderMeta = "hdi_isfolder"
)

// mirror keeps a container and its folder the same.
type mirror struct {
	s      *Service
	key    string // of the container's document
	k      *container
	folder string
	dir    string // absolute
	uses   int    // guarded by Service.mountMu
	stop   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // one synchronisation at a time; guards what follows
	agreed map[string]agreed
	stored map[string]bool // paths of agreed of which the store has something
	dirty  map[string]bool // paths of which it has something else
	logged map[string]bool
}

// agreed is how a path was when both ends were last the same.
type agreed struct {
	Dir   bool      `json:"dir,omitempty"`
	ETag  string    `json:"etag,omitempty"` // empty for a directory that no blob stands for
	Size  int64     `json:"size,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Inode uint64    `json:"inode,omitempty"`
	// Fresh says that a later write may have left the same time.
	Fresh bool   `json:"fresh,omitempty"`
	MD5   []byte `json:"md5,omitempty"`
}

// is reports whether the file is the one that was agreed.
func (k agreed) is(fi fs.FileInfo) bool {
	inode, _ := inodeOf(fi)
	return k.Dir == fi.IsDir() && (k.Dir || k.Size == fi.Size() && k.Time.Equal(fi.ModTime()) && k.Inode == inode)
}

// remote is what the container has at a path: a blob, or a directory, with
// the names of the blobs that stand for it.
type remote struct {
	dir   bool
	etag  string
	size  int64
	md5   []byte
	names []string
}

// run synchronises until ctx ends.
func (m *mirror) run(ctx context.Context) {
	defer close(m.done)
	rest := syncEvery
	for {
		t := m.s.cfg.Clock.NewTimer(rest)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C():
		}
		began := clock.Real().Now()
		if err := m.sync(ctx); err != nil && ctx.Err() == nil {
			m.once("synchronise", err)
		}
		rest = max(syncEvery, restFactor*clock.Real().Since(began))
	}
}

// once logs something of the mount the first time that it is said.
func (m *mirror) once(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.warn(what, err)
}

// warn wants mu.
func (m *mirror) warn(what string, err error) {
	if said := what + err.Error(); !m.logged[said] {
		m.logged[said] = true
		m.s.cfg.Logger.Warn("blob: mount", "container", m.k.Name, "what", what, "err", err)
	}
}

// sync makes both ends the same, and goes on where a path fails.
func (m *mirror) sync(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(ctx); err != nil {
		return err
	}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return fmt.Errorf("blob: mount of %s: %w", m.k.Name, err)
	}
	defer func() { _ = root.Close() }() // a directory that was only read
	here, err := m.walk(root)
	if err != nil {
		return fmt.Errorf("blob: mount of %s: %w", m.k.Name, err)
	}
	there, err := m.blobs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, x := range plan(here, there, m.agreed, m.rewritten(root, here)) {
		if err := m.do(ctx, root, x, here[x.path], there[x.path]); err != nil {
			if ctx.Err() != nil {
				errs = append(errs, ctx.Err())
				break
			}
			errs = append(errs, fmt.Errorf("blob: mount of %s: %s %s: %w", m.k.Name, x.what, x.path, err))
		}
		if len(m.dirty) >= 500 {
			errs = append(errs, m.save(ctx))
		}
	}
	return errors.Join(append(errs, m.save(ctx))...)
}

// alive fails when the container was deleted.
func (m *mirror) alive(ctx context.Context) error {
	m.s.dirMu.Lock()
	defer m.s.dirMu.Unlock()
	k, err := m.s.readContainer(ctx, containerKeys, m.key)
	if err == nil && k.ID != m.k.ID {
		err = notFound(containerKeys)
	}
	return err
}

// note remembers a path as it is at both ends; nil forgets it.
func (m *mirror) note(path string, k *agreed) {
	if k == nil {
		delete(m.agreed, path)
	} else {
		m.agreed[path] = *k
	}
	m.dirty[path] = true
}

// save writes what was noted. What is lost before it is found out anew, by contents.
func (m *mirror) save(ctx context.Context) error {
	var ops []store.Op
	for path := range m.dirty {
		key := agreedPrefix(m.k.ID, m.folder) + path
		if k, ok := m.agreed[path]; ok {
			ops = append(ops, store.Op{Key: key, Value: encode(k), If: store.Any})
		} else if m.stored[path] {
			ops = append(ops, store.Op{Key: key, If: store.Any})
		}
	}
	if len(ops) > 0 {
		if _, err := m.s.cfg.Store.Batch(ctx, ops); err != nil {
			return fmt.Errorf("blob: mount of %s: %w", m.k.Name, err)
		}
	}
	for path := range m.dirty {
		_, m.stored[path] = m.agreed[path]
	}
	clear(m.dirty)
	return nil
}

// walk finds the folder's files and directories. A link to one of its files counts as that file.
func (m *mirror) walk(root *os.Root) (map[string]fs.FileInfo, error) {
	out := map[string]fs.FileInfo{}
	err := fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if path == "." {
			return err
		}
		var info fs.FileInfo
		switch {
		case err != nil:
		case d.Type()&fs.ModeSymlink != 0:
			if info, err = root.Stat(path); err != nil || !info.Mode().IsRegular() {
				return nil
			}
		case d.IsDir() || d.Type().IsRegular():
			info, err = d.Info()
		default:
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a job was quicker
		}
		if err != nil {
			return err
		}
		if e := checkBlobName(path); e != nil {
			m.warn("a file's name can't be a blob's: "+path, e)
			return nil
		}
		out[path] = info
		return nil
	})
	return out, err
}

// rewritten are files whose time was too new to tell, when they were last
// looked at, and whose bytes are others since.
func (m *mirror) rewritten(root *os.Root, here map[string]fs.FileInfo) map[string]bool {
	out := map[string]bool{}
	for path, k := range m.agreed {
		info := here[path]
		if !k.Fresh || info == nil || !k.is(info) {
			continue
		}
		fresh := isFresh(info)
		sum, err := digest(root, path)
		if err != nil || !bytes.Equal(sum, k.MD5) {
			out[path] = true // the upload says what is wrong
		} else if !fresh {
			k.Fresh = false
			m.note(path, &k)
		}
	}
	return out
}

// isFresh says that a later write may leave the same time. A file's time is the machine's, whatever clock the emulator goes by.
func isFresh(info fs.FileInfo) bool { return clock.Real().Since(info.ModTime()) < tick }

func digest(root *os.Root, path string) ([]byte, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	sum := md5.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), err
}

// blobs is the container as paths.
func (m *mirror) blobs(ctx context.Context) (map[string]remote, error) {
	entries, _, err := m.s.list(ctx, m.k, listing{})
	if err != nil {
		return nil, err
	}
	out := map[string]remote{}
	for _, e := range entries {
		path := strings.TrimSuffix(e.name, "/")
		if !filepath.IsLocal(path) || filepath.ToSlash(filepath.Clean(path)) != path || slices.ContainsFunc(strings.Split(path, "/"), func(p string) bool { return len(p) > 255 }) {
			m.warn("a blob's name can't be a file's", errors.New(e.name))
			continue
		}
		r := remote{etag: e.blob.etag(), size: e.blob.Size, md5: e.blob.Headers.MD5, names: []string{e.name}}
		if path != e.name || strings.EqualFold(e.blob.Meta[folderMeta], "true") {
			r.dir = true
			if before, ok := out[path]; ok && before.dir {
				r.names = append(r.names, before.names...)
			} else if ok {
				m.warn("a blob is also a directory", errors.New(path))
			}
		}
		out[path] = r
	}
	for path := range out {
		for at := path; strings.Contains(at, "/"); {
			at = at[:strings.LastIndexByte(at, '/')]
			over, ok := out[at]
			if ok && over.dir {
				break
			}
			if ok {
				m.warn("a blob is also a directory of others", errors.New(at))
			}
			// What is named like a directory stays as it is: it is not among the names.
			out[at] = remote{dir: true}
		}
	}
	return out, nil
}
