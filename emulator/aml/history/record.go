package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

func runNotFound(id string) *plane.Error { return plane.NotFound("Run %s was not found", id) }

// load reads a run; a *plane.Error 404 if there is none.
func (s *Service) load(ctx context.Context, ws plane.Workspace, id string) (*record, error) {
	d, err := s.cfg.Store.Get(ctx, runKey(ws, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, runNotFound(id)
	}
	if err != nil {
		return nil, err
	}
	r := &record{rev: d.Rev}
	if err := json.Unmarshal(d.Value, r); err != nil {
		return nil, fmt.Errorf("history: run %s: %w", id, err)
	}
	return r, nil
}

// loadIn is load for a run that must be in the experiment.
func (s *Service) loadIn(ctx context.Context, ws plane.Workspace, experiment, id string) (*record, error) {
	r, err := s.load(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	if fold(r.Experiment) != fold(experiment) {
		return nil, runNotFound(id)
	}
	return r, nil
}

// definition reads what the run was submitted with; nil if nothing was.
func (s *Service) definition(ctx context.Context, ws plane.Workspace, r *record) (json.RawMessage, error) {
	if !r.HasDefinition {
		return nil, nil
	}
	d, err := s.cfg.Store.Get(ctx, definitionKey(ws, r.RunID))
	if err != nil {
		return nil, err
	}
	return d.Value, nil
}

// modify changes a run that exists. fn gets a copy under the run's lock.
func (s *Service) modify(ctx context.Context, ws plane.Workspace, id string, fn func(r *record) error) (*record, error) {
	return s.modifyWith(ctx, ws, id, func(_, r *record) ([]store.Op, error) { return nil, fn(r) })
}

// modifyWith is modify with further writes that are applied with the run's, or not at all.
func (s *Service) modifyWith(ctx context.Context, ws plane.Workspace, id string, fn func(old, r *record) ([]store.Op, error)) (*record, error) {
	defer s.runLocks.lock(runKey(ws, id))()
	old, err := s.load(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	r := old.clone()
	ops, err := fn(old, r)
	if err != nil {
		return nil, err
	}
	return r, s.save(ctx, ws, old, r, ops)
}

// save writes what changed from old (nil: a new run) to r, and then tells
// whom it concerns. The caller holds the run's lock.
func (s *Service) save(ctx context.Context, ws plane.Workspace, old, r *record, ops []store.Op) error {
	changed, err := differs(old, r)
	if err != nil {
		return err
	}
	if changed {
		rev := store.Absent
		if old != nil {
			rev = old.rev
			r.Revision = old.Revision + 1
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		// The run comes first: its document as written carries the new revision.
		ops = append([]store.Op{{Key: runKey(ws, r.RunID), Value: b, If: rev}}, ops...)
		ops = append(ops, listOps(ws, old, r)...)
		ops = append(ops, watchOps(ws, old, r)...)
	}
	if len(ops) == 0 {
		return nil
	}
	docs, err := s.cfg.Store.Batch(ctx, ops)
	if err != nil {
		return err
	}
	if changed {
		r.rev = docs[0].Rev
		s.announce(ws, old, r)
	}
	return nil
}

func differs(old, r *record) (bool, error) {
	if old == nil {
		return true, nil
	}
	a, err := json.Marshal(old)
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	return string(a) != string(b), nil
}

// announce tells the watch and the subscribers what was stored.
func (s *Service) announce(ws plane.Workspace, old, r *record) {
	k := beatKey{fold(ws.GUID), fold(r.RunID)}
	switch {
	case !r.watched():
		s.beats.drop(k)
	case old == nil || !old.watched():
		s.beats.set(k, s.cfg.Clock.Now().Add(r.ttl()))
	}
	if (old == nil || old.Status != r.Status) && (Terminal(r.Status) || r.Status == CancelRequested) {
		s.ended.publish(Change{Workspace: ws, RunID: r.RunID, Status: r.Status})
	}
}
