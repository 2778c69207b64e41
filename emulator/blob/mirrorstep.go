package blob

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// do takes one step.
func (m *mirror) do(ctx context.Context, root *os.Root, x step, here fs.FileInfo, there remote) error {
	switch x.what {
	case forget:
		m.note(x.path, nil)
		return nil
	case remember:
		m.note(x.path, &agreed{Dir: true, ETag: there.etag})
		return nil
	case drop:
		return m.dropHere(root, x.path, here)
	case erase:
		return m.eraseThere(ctx, x.path, there)
	case fetch:
		if there.dir {
			return m.makeDir(root, x.path, there)
		}
		return m.fetch(ctx, root, x.path, here, there)
	}
	if here.IsDir() {
		return m.sendDir(ctx, x.path)
	}
	return m.send(ctx, root, x.path, there)
}

// dropHere removes what went from the container. A directory in which there is something stays, and is sent.
func (m *mirror) dropHere(root *os.Root, path string, was fs.FileInfo) error {
	now, err := root.Stat(path)
	if err == nil && !was.IsDir() && (now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime())) {
		return nil // written meanwhile: the next round sees it
	}
	err = root.Remove(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	m.note(path, nil)
	return nil
}

// errMeanwhile says that a blob was written while its deletion was under way.
var errMeanwhile = errors.New("blob: written meanwhile")

func (m *mirror) eraseThere(ctx context.Context, path string, there remote) error {
	for _, name := range there.names {
		err := m.s.remove(ctx, m.k, name, func(b *state) error {
			if !there.dir && b.etag() != there.etag {
				return errMeanwhile
			}
			return nil
		})
		switch {
		case errors.Is(err, errMeanwhile):
			return nil // the next round fetches it
		case err != nil && !isAbsent(err):
			return err
		}
	}
	m.note(path, nil)
	return nil
}

// makeDir makes a directory and those above it, for everyone.
func (m *mirror) makeDir(root *os.Root, path string, there remote) error {
	if err := m.openUp(root, path); err != nil {
		return err
	}
	m.note(path, &agreed{Dir: true, ETag: there.etag})
	return nil
}

func (m *mirror) openUp(root *os.Root, path string) error {
	if path == "." {
		return nil
	}
	err := root.Mkdir(path, 0o777)
	if errors.Is(err, fs.ErrNotExist) {
		if err = m.openUp(root, filepath.Dir(path)); err == nil {
			err = root.Mkdir(path, 0o777)
		}
	}
	if err == nil {
		return root.Chmod(path, 0o777) // beyond what the process's umask allows
	}
	if errors.Is(err, fs.ErrExist) {
		if fi, e := root.Stat(path); e == nil && fi.IsDir() {
			return nil
		}
	}
	return err
}

// fetch downloads a blob beside the folder and then puts it in its place.
func (m *mirror) fetch(ctx context.Context, root *os.Root, path string, was fs.FileInfo, there remote) error {
	b, rd, err := m.s.openBlob(ctx, m.k, path, nil)
	if isAbsent(err) {
		return nil // the next round sees it
	}
	if err != nil {
		return err
	}
	defer func() { _ = rd.Close() }()
	f, id, err := m.s.files.create(m.k.ID)
	if err != nil {
		return err
	}
	defer m.s.files.discard(m.k.ID, id) // when it is still there
	defer func() { _ = f.Close() }()
	sum := md5.New()
	if err := rd.copyTo(io.MultiWriter(f, sum), b.Size); err != nil {
		return err
	}
	if err := f.Chmod(0o777); err != nil {
		return err
	}
	temp := m.s.files.path(m.k.ID, id)
	// With the blob's time a later write shows, however soon it comes.
	if err := os.Chtimes(temp, b.Modified, b.Modified); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := m.openUp(root, filepath.Dir(path)); err != nil {
		return err
	}
	if now, err := root.Lstat(path); err == nil && (was == nil || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime())) && now.Mode()&fs.ModeSymlink == 0 {
		return nil // written meanwhile: the next round sees it
	}
	parent, err := root.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := unix.Renameat(unix.AT_FDCWD, temp, int(parent.Fd()), filepath.Base(path)); err != nil {
		return err
	}
	inode, _ := inodeOf(fi)
	m.note(path, &agreed{ETag: b.etag(), Size: fi.Size(), Time: fi.ModTime().UTC(), Inode: inode, MD5: sum.Sum(nil)})
	return nil
}

// sendDir makes the blob that stands for an empty directory.
func (m *mirror) sendDir(ctx context.Context, path string) error {
	b, err := m.s.replace(ctx, m.k, path, document{Kind: blockBlob, Headers: headers{Type: octets}, Meta: map[string]string{folderMeta: "true"}}, nil, anyState)
	if err != nil {
		return err
	}
	m.note(path, &agreed{Dir: true, ETag: b.etag()})
	return nil
}

// send uploads a file, unless its bytes are the blob's already.
func (m *mirror) send(ctx context.Context, root *os.Root, path string, there remote) error {
	f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the next round sees it
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return err
	}
	inode, _ := inodeOf(fi)
	k := agreed{Size: fi.Size(), Time: fi.ModTime().UTC(), Inode: inode, Fresh: isFresh(fi)}
	if !there.dir && there.md5 != nil && there.size == k.Size {
		if k.MD5, err = digest(root, path); err != nil {
			return err
		}
		if bytes.Equal(k.MD5, there.md5) {
			k.ETag = there.etag
			m.note(path, &k)
			return nil
		}
	}
	got, err := m.s.receive(m.k.ID, f, sums{md5: true})
	if err != nil {
		return err
	}
	b, err := m.s.replace(ctx, m.k, path, document{
		Kind: blockBlob, File: got.file, Size: got.size, Headers: headers{Type: octets, MD5: got.md5},
	}, nil, anyState)
	if err != nil {
		return err
	}
	for _, name := range there.names { // a directory that this file took the place of
		if name != path {
			if err := m.s.remove(ctx, m.k, name, anyState); err != nil && !isAbsent(err) {
				return err
			}
		}
	}
	k.ETag, k.MD5 = b.etag(), got.md5
	if got.size != k.Size {
		k.Size = -1 // it grew meanwhile: the next round sends it again
	}
	m.note(path, &k)
	return nil
}
