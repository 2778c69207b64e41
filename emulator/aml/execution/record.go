package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

const recordPrefix = "execution/run/"

// record is a remote run that has not ended, as the store keeps it.
type record struct {
	Workspace   plane.Workspace
	Experiment  string
	RunID       string
	Target      string
	Details     *targetDetails  `json:",omitempty"`
	Definition  json.RawMessage // Configuration as it came, but for a registry's password
	Endpoint    string
	PrepareOnly bool
	// Kind and Cluster are of the target that the run was ordered at, which it outlives as a name.
	Kind    kind   `json:",omitempty"`
	Cluster string `json:",omitempty"`
	// Started says that the control script may be at work there, by Handle.
	Started bool
	Handle  Handle
	Cancel  bool
}

func (r *record) key() string { return recordPrefix + r.Workspace.GUID + "/" + r.RunID }

func (s *Service) save(ctx context.Context, r *record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	_, err = s.cfg.Store.Put(ctx, r.key(), b, store.Any)
	return err
}

// update changes the stored record, whoever else changes it meanwhile.
func (s *Service) update(ctx context.Context, key string, change func(*record)) (*record, error) {
	for {
		doc, err := s.cfg.Store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		rec := &record{}
		if err := json.Unmarshal(doc.Value, rec); err != nil {
			return nil, fmt.Errorf("execution: record %s: %w", key, err)
		}
		change(rec)
		b, err := json.Marshal(rec)
		if err != nil {
			return nil, fmt.Errorf("execution: %w", err)
		}
		_, err = s.cfg.Store.Put(ctx, key, b, doc.Rev)
		if !errors.Is(err, store.ErrConflict) {
			return rec, err
		}
	}
}

// drop forgets a run that ended: the record first, so that no record is without its project.
func (s *Service) drop(ctx context.Context, r *record) error {
	err := s.cfg.Store.Delete(ctx, r.key(), store.Any)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, name := range []string{s.projectFile(r.key()), s.loginFile(r.key())} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("execution: %w", err)
		}
	}
	return nil
}

// resume takes up the runs that an earlier process left, and removes the files of those that it does not know.
func (s *Service) resume(ctx context.Context) error {
	docs, err := s.cfg.Store.List(ctx, recordPrefix, "", 0)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, doc := range docs {
		rec := &record{}
		if err := json.Unmarshal(doc.Value, rec); err != nil {
			return fmt.Errorf("execution: record %s: %w", doc.Key, err)
		}
		run, err := s.cfg.Runs.Get(ctx, rec.Workspace, rec.RunID)
		var e *plane.Error
		if errors.As(err, &e) {
			// It was never acknowledged, or its workspace is gone.
			if err := s.drop(ctx, rec); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		wanted[s.projectFile(rec.key())] = true
		wanted[s.loginFile(rec.key())] = true
		if run.Status == "CancelRequested" || run.Status == "Canceled" {
			rec.Cancel = true
		}
		s.supervise(rec)
	}
	return s.sweep(wanted)
}

func (s *Service) sweep(wanted map[string]bool) error {
	for _, pattern := range []string{"*.zip", "*/*.zip", "*/*.registry"} {
		names, err := filepath.Glob(filepath.Join(s.cfg.Dir, pattern))
		if err != nil {
			return fmt.Errorf("execution: %w", err)
		}
		for _, name := range names {
			if !wanted[name] {
				if err := os.Remove(name); err != nil {
					return fmt.Errorf("execution: %w", err)
				}
			}
		}
	}
	return nil
}

// requestCancel notes the wish, then wakes whoever has the run.
func (s *Service) requestCancel(ctx context.Context, key string) error {
	_, err := s.update(ctx, key, func(r *record) { r.Cancel = true })
	if errors.Is(err, store.ErrNotFound) {
		return nil // it ended meanwhile
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	sup := s.running[key]
	s.mu.Unlock()
	if sup != nil {
		sup.cancel()
	}
	return nil
}

// followCancels ends the runs that are cancelled in history, by whatever way.
func (s *Service) followCancels(changes <-chan history.Change, stop func()) {
	defer func() { stop() }()
	for {
		select {
		case <-s.ctx.Done():
			return
		case c, ok := <-changes:
			if !ok {
				changes, stop = s.cfg.Runs.Ended()
				continue
			}
			if c.Status != "CancelRequested" && c.Status != "Canceled" {
				continue
			}
			rec := record{Workspace: c.Workspace, RunID: c.RunID}
			if err := s.requestCancel(s.ctx, rec.key()); err != nil && s.ctx.Err() == nil {
				s.log.Error("cancel", "run", c.RunID, "err", err)
			}
		}
	}
}

// slots bounds how many runs one machine has at a time.
type slots struct {
	limit int
	mu    sync.Mutex
	used  map[string]int
	freed chan struct{}
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, used: map[string]int{}, freed: make(chan struct{})}
}

// take takes a slot whether or not one is free: for a run that is on the machine already.
func (s *slots) take(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[key]++
}

// try takes a slot if one is free; if not, the channel closes when it is worth another try.
func (s *slots) try(key string) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit > 0 && s.used[key] >= s.limit {
		return false, s.freed
	}
	s.used[key]++
	return true, nil
}

func (s *slots) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[key]--; s.used[key] <= 0 {
		delete(s.used, key)
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// slotKey names the target in the queue: every user and compute name of one address shares it.
func (t target) slotKey() string { return strings.ToLower(t.machine.hostPort()) }
