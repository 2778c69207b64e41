package blob

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// segment is a run of bytes in one content file.
type segment struct {
	file string
	id   string // of the block, if it is one
	base int64
	size int64
	// start is where the run begins in the blob.
	start int64
}

// reader reads a blob over its segments, one file open at a time. The files
// stay until it is closed, whatever happens to the blob.
type reader struct {
	files    *contents
	home     string
	segments []segment
	pinned   []string
	size     int64
	pos      int64
	at       int
	f        *os.File
	closed   bool
}

func newReader(files *contents, home string, segments []segment) *reader {
	r := &reader{files: files, home: home, segments: segments, at: -1}
	for i := range segments {
		segments[i].start = r.size
		r.size += segments[i].size
		r.pinned = append(r.pinned, segments[i].file)
	}
	files.pin(r.pinned)
	return r
}

// run opens the segment at pos and seeks to it; it returns how many bytes are left in it.
func (r *reader) run() (int64, error) {
	if r.closed {
		return 0, os.ErrClosed
	}
	if r.pos >= r.size {
		return 0, io.EOF
	}
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].start > r.pos }) - 1
	s := r.segments[i]
	if i != r.at || r.f == nil {
		if r.f != nil {
			_ = r.f.Close()
			r.f = nil
		}
		f, err := os.Open(r.files.path(r.home, s.file))
		if err != nil {
			return 0, fmt.Errorf("blob: %w", err)
		}
		r.f, r.at = f, i
	}
	if _, err := r.f.Seek(s.base+r.pos-s.start, io.SeekStart); err != nil {
		return 0, fmt.Errorf("blob: %w", err)
	}
	return s.start + s.size - r.pos, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	left, err := r.run()
	if err != nil {
		return 0, err
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.f.Read(p)
	r.pos += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// copyTo sends n bytes from pos to w, by the kernel where w is a connection.
func (r *reader) copyTo(w io.Writer, n int64) error {
	for n > 0 {
		left, err := r.run()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		got, err := io.CopyN(w, r.f, min(left, n))
		r.pos += got
		n -= got
		if err != nil {
			return err
		}
	}
	return nil
}

// Seek implements io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, errors.New("blob: seek: no such whence")
	}
	if offset < 0 {
		return 0, errors.New("blob: seek before the beginning")
	}
	r.pos = offset
	return offset, nil
}

// Close implements io.Closer; a second call does nothing.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.files.unpin(r.home, r.pinned)
	if r.f != nil {
		return r.f.Close()
	}
	return nil
}
