package blob

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// extent is from its first byte to before its end.
type extent struct {
	From int64 `json:"a"`
	To   int64 `json:"b"`
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

// extents are the written parts of a file: those that REST writes noted if
// nobody else wrote since, otherwise what the file system has no hole for.
func (n *node) extents(f io.Seeker) ([]extent, error) {
	if n.Written.Equal(n.AsOf) && n.Size == n.Length {
		return n.Ranges, nil
	}
	return dataOf(f, n.Size)
}

func dataOf(f io.Seeker, size int64) ([]extent, error) {
	var out []extent
	for at := int64(0); at < size; {
		from, err := f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return out, nil // holes to the end
		}
		if err != nil {
			return nil, err
		}
		to, err := f.Seek(from, seekHole)
		if err != nil {
			return nil, err
		}
		out = append(out, extent{from, min(to, size)})
		at = to
	}
	return out, nil
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
