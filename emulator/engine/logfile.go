package engine

import (
	"context"
	"io"
	"os"
	"sync"
)

// logFile is what a container printed: written by one, read by many.
type logFile struct {
	file interface {
		io.Writer
		io.ReaderAt
		io.Closer
	}

	mu    sync.Mutex
	size  int64
	ended bool
	more  chan struct{} // closed at the next change
}

func newLogFile(name string) (*logFile, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{file: f, more: make(chan struct{})}, nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	n, err := l.file.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
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
