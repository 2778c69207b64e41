package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// logFile is what a container printed: written by one, read by many.
type logFile struct {
	file interface {
		io.Writer
		io.ReaderAt
		io.Closer
	}

	now func() time.Time

	mu    sync.Mutex
	size  int64
	marks []mark
	ended bool
	more  chan struct{} // closed at the next change
}

// mark is when the bytes from an offset on were written.
type mark struct {
	from int64
	at   time.Time
}

// markEvery bounds the marks: what is written within it of the last one counts as written with that.
const markEvery = time.Millisecond

func newLogFile(name string, now func() time.Time) (*logFile, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{file: f, now: now, more: make(chan struct{})}, nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	at := l.now()
	n, err := l.file.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := len(l.marks) - 1; last < 0 || at.Sub(l.marks[last].at) >= markEvery {
		l.marks = append(l.marks, mark{l.size, at})
	}
	l.size += int64(n)
	l.changed()
	return n, err
}

func (l *logFile) changed() {
	close(l.more)
	l.more = make(chan struct{})
}

// end says that nothing more will come.
func (l *logFile) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.changed()
}

func (l *logFile) close() { l.file.Close() }

// memoryFile is the file of a log that is kept in memory.
type memoryFile struct {
	mu   sync.Mutex
	data []byte
}

func (m *memoryFile) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = append(m.data, p...)
	return len(p), nil
}

func (m *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memoryFile) Close() error { return nil }

func (l *logFile) state() (size int64, ended bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.ended, l.more
}

// timedStamp is RFC 3339 with nine decimals, whatever they are.
const timedStamp = "2006-01-02T15:04:05.000000000Z"

// copyTimed writes what is there, each line with its time in front.
func (l *logFile) copyTimed(w io.Writer) error {
	l.mu.Lock()
	size, marks := l.size, l.marks
	l.mu.Unlock()
	r := bufio.NewReader(io.NewSectionReader(l.file, 0, size))
	out := bufio.NewWriter(w)
	for at, i := int64(0), 0; at < size; {
		for i+1 < len(marks) && marks[i+1].from <= at {
			i++
		}
		_, _ = out.WriteString(marks[i].at.UTC().Format(timedStamp) + " ")
		for more := true; more; {
			part, err := r.ReadSlice('\n')
			at += int64(len(part))
			_, _ = out.Write(part)
			if more = errors.Is(err, bufio.ErrBufferFull); !more && err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	return out.Flush()
}

func (l *logFile) copy(ctx context.Context, w io.Writer, follow bool) error {
	for at := int64(0); ; {
		size, ended, more := l.state()
		if size > at {
			n, err := io.Copy(w, io.NewSectionReader(l.file, at, size-at))
			at += n
			if err != nil {
				return err
			}
			continue
		}
		if ended || !follow {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
