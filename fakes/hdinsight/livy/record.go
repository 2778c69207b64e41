package livy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// record is what is kept of a batch or a session over the emulator's end.
type record struct {
	ID    int      `json:"id"`
	Name  *string  `json:"name,omitempty"`
	Proxy string   `json:"proxy,omitempty"`
	Kind  string   `json:"kind,omitempty"` // of a session
	State string   `json:"state"`
	App   string   `json:"app,omitempty"`
	Log   []string `json:"log,omitempty"`
}

// lost is what the log of one says that ran when the emulator ended.
const lost = "the emulator ended while this ran, and its processes with it"

// ended says whether a state is one in which nothing runs.
func ended(state string) bool {
	switch state {
	case stateError, stateDead, stateKilled, stateSuccess:
		return true
	}
	return false
}

func (s *Server) recordFile(what string, id int) string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("%s-%d.json", what, id))
}

// keepRecord writes a record in the place of the one before it.
func (s *Server) keepRecord(what string, r record) error {
	if s.cfg.Dir == "" {
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file := s.recordFile(what, r.ID)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// note keeps a record of what happened; it has happened whether or not that succeeds.
func (s *Server) note(what string, r record) {
	if err := s.keepRecord(what, r); err != nil {
		s.cfg.Logger.Error("livy: a record is not kept", what, r.ID, "err", err)
	}
}

func (s *Server) dropRecord(what string, id int) error {
	if s.cfg.Dir == "" {
		return nil
	}
	if err := os.Remove(s.recordFile(what, id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// load shows what there was before; what ran then is dead.
func (s *Server) load() error {
	if s.cfg.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	over := make(chan struct{})
	close(over)
	for what, take := range map[string]func(r record, out *output){
		"batch": func(r record, out *output) {
			s.batches[r.ID] = &batch{id: r.ID, name: r.Name, proxy: r.Proxy, out: out, cancel: func() {}, done: over, state: r.State}
			s.nextBatch = max(s.nextBatch, r.ID+1)
		},
		"session": func(r record, out *output) {
			s.sessions[r.ID] = &session{id: r.ID, name: r.Name, proxy: r.Proxy, kind: r.Kind, out: out, cancel: func() {}, done: over, state: r.State}
			s.nextOne = max(s.nextOne, r.ID+1)
		},
	} {
		files, err := filepath.Glob(filepath.Join(s.cfg.Dir, what+"-*.json"))
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var r record
			if err := json.Unmarshal(data, &r); err != nil {
				return fmt.Errorf("livy: %s: %w", file, err)
			}
			if !ended(r.State) {
				r.State, r.Log = stateDead, append(r.Log, lost)
				s.note(what, r)
			}
			out := newOutput()
			out.app, out.whole = r.App, r.Log
			take(r, out)
		}
	}
	return nil
}
