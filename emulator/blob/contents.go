package blob

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// contents is the folder of content files: Dir/{container id}/{file id}.
// Files are named by ids that this process makes, never by what a client
// says. A file that a reader holds outlives its blob until the reader closes.
type contents struct {
	dir string
	// epoch begins every id of this process, which tells them from leftovers.
	epoch string
	seq   atomic.Uint64

	mu     sync.Mutex
	pins   map[string]int
	doomed map[string]bool
}

func openContents(dir string) (*contents, error) {
	if dir == "" {
		return nil, errors.New("blob: Config.Dir is empty")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return &contents{dir: dir, epoch: hex.EncodeToString(b[:]), pins: map[string]int{}, doomed: map[string]bool{}}, nil
}

// newID is unique over all processes that ever used the folder.
func (c *contents) newID() string {
	return c.epoch + "-" + strconv.FormatUint(c.seq.Add(1), 36)
}

// mine reports whether this process made the id.
func (c *contents) mine(id string) bool { return strings.HasPrefix(id, c.epoch+"-") }

func (c *contents) path(home, file string) string { return filepath.Join(c.dir, home, file) }

// create makes an empty file for the container whose id is home.
func (c *contents) create(home string) (*os.File, string, error) {
	id := c.newID()
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(c.path(home, id), flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Join(c.dir, home), 0o700); err != nil {
			return nil, "", fmt.Errorf("blob: %w", err)
		}
		f, err = os.OpenFile(c.path(home, id), flags, 0o600)
	}
	if err != nil {
		return nil, "", fmt.Errorf("blob: %w", err)
	}
	return f, id, nil
}

// link gives an immutable file a second name in another container, so that a copy costs no bytes.
func (c *contents) link(home, file, to string) (string, error) {
	id := c.newID()
	if err := os.MkdirAll(filepath.Join(c.dir, to), 0o700); err != nil {
		return "", fmt.Errorf("blob: %w", err)
	}
	if os.Link(c.path(home, file), c.path(to, id)) == nil {
		return id, nil
	}
	// Not every file system has links, and those that do allow so many to a file.
	src, err := os.Open(c.path(home, file))
	if err != nil {
		return "", fmt.Errorf("blob: %w", err)
	}
	defer func() { _ = src.Close() }()
	dst, id, err := c.create(to)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(dst, src)
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		c.discard(to, id)
		return "", fmt.Errorf("blob: copy: %w", err)
	}
	return id, nil
}

func (c *contents) pin(files []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range files {
		c.pins[f]++
	}
}

func (c *contents) unpin(home string, files []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range files {
		if c.pins[f]--; c.pins[f] > 0 {
			continue
		}
		delete(c.pins, f)
		if c.doomed[f] {
			delete(c.doomed, f)
			_ = os.Remove(c.path(home, f)) // what cannot go now goes at the next start
		}
	}
}

// discard removes files that no document names any more. One that cannot be
// removed is an orphan that the next start sweeps.
func (c *contents) discard(home string, files ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range files {
		switch {
		case f == "":
		case c.pins[f] > 0:
			c.doomed[f] = true
		default:
			_ = os.Remove(c.path(home, f))
		}
	}
}
