package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// journal is the file behind Config.Journal: one JSON line for each resource
// before it is asked for, and one when it is known to be gone. A run that was
// killed leaves in it what Sweep deletes. nil keeps no journal.
type journal struct {
	file, endpoint string
}

type journalLine struct {
	Endpoint string `json:"endpoint"`
	Made     string `json:"made,omitempty"`
	Version  string `json:"version,omitempty"`
	Gone     string `json:"gone,omitempty"`
}

func (j *journal) made(m Made) error {
	if j == nil {
		return nil
	}
	if err := j.write(journalLine{Endpoint: j.endpoint, Made: m.Path, Version: m.Version}); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	return nil
}

// gone is a line that may be lost: Sweep then finds nothing to delete.
func (j *journal) gone(path string) {
	if j != nil {
		_ = j.write(journalLine{Endpoint: j.endpoint, Gone: path})
	}
}

func (j *journal) write(l journalLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(j.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(j.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Journal returns what the file says was created at the endpoint and not
// deleted, oldest first. Without the file there is nothing. A last line that was cut off is left out.
func Journal(file, endpoint string) ([]Made, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var left []Made
	for in := bufio.NewScanner(f); in.Scan(); {
		var l journalLine
		if json.Unmarshal(in.Bytes(), &l) != nil || !strings.EqualFold(l.Endpoint, strings.TrimRight(endpoint, "/")) {
			continue
		}
		path := l.Made + l.Gone
		for i, m := range left {
			if strings.EqualFold(m.Path, path) {
				left = append(left[:i], left[i+1:]...)
				break
			}
		}
		if l.Made != "" {
			left = append(left, Made{l.Made, l.Version})
		}
	}
	return left, nil
}
