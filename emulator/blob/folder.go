package blob

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// treeFolder is the share's directory in its container's folder, beside the spooled bodies.
const treeFolder = "tree"

// Share returns the directory of this machine that holds a file share, for a
// container to mount: what is written in it is in the Files REST API at once,
// and the reverse. It stays for as long as the share does, over restarts too.
//
// The caller has the account's key, as one who mounts a share has: another is
// refused with AuthenticationFailed, and what is not there with ResourceNotFound
// (the account) and ShareNotFound. All in it is rwx for everyone, as a mount
// with file_mode=0777,dir_mode=0777 shows it; what a job makes has the mode that the job gave it.
func (s *Service) Share(ctx context.Context, account, key, share string) (dir string, err error) {
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	k, err := s.keyed(ctx, account, key, shareKeys, share)
	if err != nil {
		return "", err
	}
	f, err := s.folder(k)
	if err != nil {
		return "", err
	}
	f.close()
	return filepath.Abs(f.root.Name())
}

// keyed finds a container or share for one who has a key of the account.
func (s *Service) keyed(ctx context.Context, account, key, kind, name string) (*container, error) {
	a, err := s.account(ctx, account)
	if err != nil {
		return nil, err
	}
	ok := 0
	for _, k := range a.Keys {
		ok |= subtle.ConstantTimeCompare([]byte(k), []byte(key))
	}
	if ok == 0 {
		return nil, denied("The key is not a key of the account %q.", account)
	}
	return s.container(ctx, a, kind, name)
}

// folder is a share's directory. It is open to jobs, who may put anything in
// it: all goes through root, which no link leads out of, and what is neither a
// file nor a directory is not there.
type folder struct {
	k    *container
	root *os.Root
}

// folder opens a share's directory, and makes it for the first that asks.
func (s *Service) folder(k *container) (*folder, error) {
	dir := s.files.path(k.ID, treeFolder)
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			// Beyond what the process's umask allows.
			if err = os.Chmod(dir, 0o777); err == nil {
				root, err = os.OpenRoot(dir)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("blob: share %s: %w", k.Name, err)
	}
	return &folder{k: k, root: root}, nil
}

func (f *folder) close() { _ = f.root.Close() } // a directory that was only read

// find follows a path of the share, each name as it is or else in another
// case. The info is nil where nothing is.
func (f *folder) find(path string) (disk string, info fs.FileInfo, err error) {
	disk = "."
	if path == "" {
		info, err = f.root.Stat(disk)
		return disk, info, err
	}
	for name := range strings.SplitSeq(path, "/") {
		if info != nil && !info.IsDir() {
			return "", nil, nil
		}
		at, err := f.child(disk, diskName(name))
		if err != nil || at == "" {
			return "", nil, err
		}
		disk = at
		if info = f.stat(disk); info == nil {
			return "", nil, nil
		}
	}
	return disk, info, nil
}

// child is the path of a directory's entry by its name; "" where there is none.
func (f *folder) child(dir, name string) (string, error) {
	at := join(dir, name)
	_, err := f.root.Lstat(at)
	if err == nil {
		return at, nil
	}
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return "", nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", f.fault(at, err)
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return "", f.fault(dir, err)
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return "", f.fault(dir, err)
	}
	found := ""
	for _, n := range names {
		if strings.EqualFold(n, name) && (found == "" || n < found) {
			found = n
		}
	}
	if found == "" {
		return "", nil
	}
	return join(dir, found), nil
}

// stat follows a link that stays in the share; nil for what is neither file nor directory.
func (f *folder) stat(disk string) fs.FileInfo {
	fi, err := f.root.Stat(disk)
	if err != nil || !fi.Mode().IsRegular() && !fi.IsDir() {
		return nil
	}
	return fi
}

// open opens a regular file or a directory. What a job puts in its place
// meanwhile, such as a pipe, does not block it.
func (f *folder) open(disk string, flag int) (*os.File, fs.FileInfo, error) {
	file, err := f.root.OpenFile(disk, flag|syscall.O_NONBLOCK, 0o777)
	if err != nil {
		return nil, nil, f.fault(disk, err)
	}
	fi, err := file.Stat()
	if err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
		err = fail("ResourceNotFound")
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, fi, nil
}

// entry is one file or directory of a directory.
type folderEntry struct {
	name string // of the share
	disk string
	info fs.FileInfo
}

// list gives a directory's entries that the share can name, in no order.
func (f *folder) list(disk string) ([]folderEntry, error) {
	d, _, err := f.open(disk, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, f.fault(disk, err)
	}
	var out []folderEntry
	for _, n := range names {
		e := folderEntry{name: shareName(n), disk: join(disk, n)}
		if checkFilePath(e.name) != nil {
			continue
		}
		if e.info = f.stat(e.disk); e.info != nil {
			out = append(out, e)
		}
	}
	return out, nil
}

// fault is a file system's error in the service's words.
func (f *folder) fault(disk string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("ResourceNotFound")
	case errors.Is(err, syscall.ENOTEMPTY): // before ErrExist, which it also is
		return fail("DirectoryNotEmpty")
	case errors.Is(err, fs.ErrExist):
		return fail("ResourceAlreadyExists")
	case errors.Is(err, fs.ErrPermission):
		// A job made it in another user's name.
		return fail("ReadOnlyAttribute")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fail("OutOfRangeInput")
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return fail("ResourceTypeMismatch")
	}
	return fmt.Errorf("blob: share %s: %s: %w", f.k.Name, disk, err)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// reserved are characters that a share's names can't have and a folder's can,
// and what Linux's SMB client writes for them (the mapping of Services for Mac).
var reserved = [...][2]rune{{'"', 0xF020}, {'*', 0xF021}, {':', 0xF022}, {'<', 0xF023}, {'>', 0xF024}, {'?', 0xF025}, {'\\', 0xF026}, {'|', 0xF027}}

func shareName(disk string) string {
	if !utf8.ValidString(disk) {
		return "" // no name at all
	}
	return replaceReserved(disk, 0, 1)
}

func diskName(share string) string { return replaceReserved(share, 1, 0) }

func replaceReserved(name string, from, to int) string {
	return strings.Map(func(r rune) rune {
		for _, pair := range reserved {
			if pair[from] == r {
				return pair[to]
			}
		}
		return r
	}, name)
}
