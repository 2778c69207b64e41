package blob

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identify tells a file from a later one of the same name, also where the
// file system has used the inode's number again.
func identify(f *os.File) (identity, error) {
	var x unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &x); err != nil {
		return identity{}, &os.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	id := identity{Inode: x.Ino}
	if x.Mask&unix.STATX_BTIME != 0 {
		id.Born = x.Btime.Sec*1e9 + int64(x.Btime.Nsec)
	}
	return id, nil
}

// inodeOf is the file's number and the time in nanoseconds of the last change of anything about it.
func inodeOf(fi fs.FileInfo) (inode uint64, changed int64) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino, st.Ctim.Sec*1e9 + st.Ctim.Nsec
	}
	return 0, 0
}

const (
	seekData = unix.SEEK_DATA
	seekHole = unix.SEEK_HOLE
)
