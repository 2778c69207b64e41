package pool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"lazulite.dev/emulator/durable"
)

// journal is the state on disk: lines of JSON, the last of a key counts. What
// was written outlives the emulator's end, however it comes; it is not synced
// against a loss of power.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	lines bytes.Buffer // of one append; kept for the next
}

// entry is one line. Without a value the key is gone. Kinds and ids (idPattern's,
// and those of nodes) have nothing that JSON would have to escape.
type entry struct {
	Kind, ID string
	Value    json.RawMessage `json:",omitempty"`
}

// The kinds of entries: a cluster, a node, a job as submitted, and how it stands.
const (
	kindCluster = "cluster"
	kindNode    = "node"
	kindJob     = "job"
	kindStatus  = "status"
)

// openJournal reads what is there, rewrites it without what no longer counts, and
// gives the entries in the order in which their keys first came.
func openJournal(path string) (*journal, []entry, error) {
	live, err := readJournal(path)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	for _, e := range live {
		e.write(&b)
	}
	if err := durable.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return &journal{file: file}, live, nil
}

func readJournal(path string) ([]entry, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	type key struct{ kind, id string }
	at := map[key]int{}
	var all []entry
	r := bufio.NewReaderSize(file, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // a line that was cut short was never acknowledged
		} else if err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("pool: %s, line %d: %w", path, n, err)
		}
		k := key{e.Kind, e.ID}
		if i, known := at[k]; known {
			all[i].Value = e.Value
			if e.Value == nil {
				delete(at, k)
			}
		} else if e.Value != nil {
			at[k] = len(all)
			all = append(all, e)
		}
	}
	live := all[:0]
	for _, e := range all {
		if e.Value != nil {
			live = append(live, e)
		}
	}
	return live, nil
}

// record of a key's new value; nil: it is gone.
func record(kind, id string, value any) entry {
	e := entry{Kind: kind, ID: id}
	if value != nil {
		data, err := json.Marshal(value)
		if err != nil {
			panic("pool: a record can't be marshalled: " + err.Error())
		}
		e.Value = data
	}
	return e
}

// write puts the entry's line at the end of a buffer. Its value is compact JSON
// already: json.Marshal of the whole would read through it once more.
func (e entry) write(b *bytes.Buffer) {
	b.WriteString(`{"Kind":"`)
	b.WriteString(e.Kind)
	b.WriteString(`","ID":"`)
	b.WriteString(e.ID)
	b.WriteByte('"')
	if e.Value != nil {
		b.WriteString(`,"Value":`)
		b.Write(e.Value)
	}
	b.WriteString("}\n")
}

// append writes entries in one go. All or, after a crash, a beginning of them is there.
func (j *journal) append(entries ...entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return ErrClosed
	}
	j.lines.Reset()
	for _, e := range entries {
		e.write(&j.lines)
	}
	_, err := j.file.Write(j.lines.Bytes())
	return err
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
