package blob

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// tail is the committed end of an append blob. It is kept in the first bytes
// of the content file, in two slots written in turn, each with its checksum:
// an append is two small writes and no document, and a process killed in the
// middle of one leaves the other slot, hence the state before it.
type tail struct {
	size     int64
	count    uint64
	modified time.Time
}

const (
	slotSize = 40
	// appendBase is where the bytes of an append blob begin in its file.
	appendBase = 2 * slotSize
)

func (t tail) slot() [slotSize]byte {
	var b [slotSize]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(t.size))
	binary.LittleEndian.PutUint64(b[8:], t.count)
	binary.LittleEndian.PutUint64(b[16:], uint64(t.modified.UnixNano()))
	b[24] = 1 // a slot of zeros is not a valid one
	binary.LittleEndian.PutUint32(b[36:], crc32.ChecksumIEEE(b[:36]))
	return b
}

func parseSlot(b []byte) (tail, bool) {
	if b[24] != 1 || binary.LittleEndian.Uint32(b[36:]) != crc32.ChecksumIEEE(b[:36]) {
		return tail{}, false
	}
	return tail{
		size:     int64(binary.LittleEndian.Uint64(b[0:])),
		count:    binary.LittleEndian.Uint64(b[8:]),
		modified: time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))).UTC(),
	}, true
}

// write makes t the committed state.
func (t tail) write(f *os.File) error {
	b := t.slot()
	_, err := f.WriteAt(b[:], int64(t.count%2)*slotSize)
	return err
}

// readTail returns the newest whole state.
func readTail(f *os.File) (tail, error) {
	var b [appendBase]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return tail{}, err
	}
	even, ok := parseSlot(b[:slotSize])
	odd, ok2 := parseSlot(b[slotSize:])
	switch {
	case ok && (!ok2 || even.count > odd.count):
		return even, nil
	case ok2:
		return odd, nil
	}
	return tail{}, fmt.Errorf("blob: %s has no whole state", f.Name())
}
