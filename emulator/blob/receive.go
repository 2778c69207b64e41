package blob

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"sync"
)

// octets is the content type of what has none.
const octets = "application/octet-stream"

// crcPolynomial is the storage service's CRC64 (also known as CRC-64/NVME), reflected.
const crcPolynomial = 0x9A6C9329AC4BC9B5

// sums says which checksums to compute of a body.
type sums struct{ md5, crc bool }

// received is a body that is in a content file; no file if it is empty.
type received struct {
	file string
	size int64
	md5  []byte
	crc  []byte
}

// summer writes through to the hashes that are wanted.
type summer struct {
	md5 hash.Hash
	crc hash.Hash64
}

func newSummer(want sums) *summer {
	m := &summer{}
	if want.md5 {
		m.md5 = md5.New()
	}
	if want.crc {
		m.crc = crc64.New(crc64.MakeTable(crcPolynomial))
	}
	return m
}

func (m *summer) add(p []byte) {
	if m.md5 != nil {
		_, _ = m.md5.Write(p)
	}
	if m.crc != nil {
		_, _ = m.crc.Write(p)
	}
}

func (m *summer) fill(r *received) {
	if m.md5 != nil {
		r.md5 = m.md5.Sum(nil)
	}
	if m.crc != nil {
		r.crc = binary.LittleEndian.AppendUint64(nil, m.crc.Sum64())
	}
}

const bufferSize = 256 << 10

func newBufferPool() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}
}

// receive streams a body into a new content file of a container.
func (s *Service) receive(home string, r io.Reader, want sums) (received, error) {
	m := newSummer(want)
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	var got received
	var f *os.File
	for end := false; !end; {
		n, last, err := fill(r, *buf)
		end = last || err != nil
		if n > 0 && err == nil {
			if f == nil {
				if f, got.file, err = s.files.create(home); err != nil {
					return received{}, err
				}
			}
			m.add((*buf)[:n])
			got.size += int64(n)
			if _, werr := f.Write((*buf)[:n]); werr != nil {
				end, err = true, fmt.Errorf("blob: %w", werr)
			}
		}
		if end && f != nil {
			if cerr := f.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("blob: %w", cerr)
			}
		}
		if err != nil {
			s.files.discard(home, got.file)
			return received{}, err
		}
	}
	m.fill(&got)
	return got, nil
}

// fill reads until p is full or r ends. Only a clean end is one: a client
// that went away shows as io.ErrUnexpectedEOF, which is an error here.
func fill(r io.Reader, p []byte) (n int, end bool, err error) {
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// spooled is an append's body, read before the blob is locked: in memory if small, else in a file.
type spooled struct {
	received
	mem  *[]byte
	n    int
	home string
	s    *Service
}

// spool reads a body to its end. The caller drops it.
func (s *Service) spool(home string, r io.Reader, sum sums) (*spooled, error) {
	buf := s.buffers.Get().(*[]byte)
	n, end, err := fill(r, *buf)
	if err != nil {
		s.buffers.Put(buf)
		return nil, err
	}
	if end {
		p := &spooled{mem: buf, n: n, s: s}
		p.size = int64(n)
		m := newSummer(sum)
		m.add((*buf)[:n])
		m.fill(&p.received)
		return p, nil
	}
	defer s.buffers.Put(buf)
	rest := io.MultiReader(bytes.NewReader(*buf), r)
	got, err := s.receive(home, rest, sum)
	if err != nil {
		return nil, err
	}
	return &spooled{received: got, home: home, s: s}, nil
}

// writeTo puts the bytes at offset of f.
func (p *spooled) writeTo(f *os.File, offset int64) error {
	if p.mem != nil {
		_, err := f.WriteAt((*p.mem)[:p.n], offset)
		return err
	}
	src, err := os.Open(p.s.files.path(p.home, p.file))
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	_, err = io.Copy(io.NewOffsetWriter(f, offset), src)
	return err
}

func (p *spooled) drop() {
	if p.mem != nil {
		p.s.buffers.Put(p.mem)
		p.mem = nil
		return
	}
	p.s.files.discard(p.home, p.file)
}
