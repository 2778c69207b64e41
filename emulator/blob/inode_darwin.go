package blob

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identify tells a file from a later one of the same name.
func identify(f *os.File) (identity, error) {
	fi, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, nil
	}
	return identity{Inode: st.Ino, Born: st.Birthtimespec.Nano()}, nil
}

// inodeOf is the file's number and the time in nanoseconds of the last change of anything about it.
func inodeOf(fi fs.FileInfo) (inode uint64, changed int64) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino, st.Ctimespec.Nano()
	}
	return 0, 0
}

const (
	seekData = unix.SEEK_DATA
	seekHole = unix.SEEK_HOLE
)
