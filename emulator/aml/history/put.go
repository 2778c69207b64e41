package history

import (
	"context"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// putRun is a wish to make a run or to change one.
type putRun struct {
	experiment, id string
	change         change
	by             author
	// allow refuses with a *plane.Error; it sees the run as it is, or as it would be made.
	allow func(r *record) error
	// adopt: a run that exists must be NotStarted still.
	adopt bool
	// exists: no run is made.
	exists bool
}

// put makes or changes a run.
func (s *Service) put(ctx context.Context, ws plane.Workspace, p putRun) (*record, error) {
	if err := checkExperiment(p.experiment); err != nil {
		return nil, err
	}
	if err := checkRunID(p.id); err != nil {
		return nil, err
	}
	defer s.runLocks.lock(runKey(ws, p.id))()
	old, err := s.load(ctx, ws, p.id)
	switch {
	case err == nil:
		return s.putOld(ctx, ws, p, old)
	case !isNotFound(err) || p.exists:
		return nil, err
	}
	return s.putNew(ctx, ws, p)
}

func (s *Service) putOld(ctx context.Context, ws plane.Workspace, p putRun, old *record) (*record, error) {
	if fold(old.Experiment) != fold(p.experiment) {
		if p.exists {
			return nil, runNotFound(p.id)
		}
		return nil, plane.Conflict("Run %s exists already, in experiment %s.", old.RunID, old.Experiment)
	}
	if p.allow != nil {
		if err := p.allow(old); err != nil {
			return nil, err
		}
	}
	if p.adopt && old.Status != NotStarted {
		return nil, plane.Conflict("Run %s exists already and is %s.", old.RunID, old.Status)
	}
	if id := p.change.ParentRunID; id != nil && fold(*id) != fold(old.ParentRunID) {
		return nil, plane.BadRequest("parentRunId", "The parent of run %s cannot be changed.", old.RunID)
	}
	r := old.clone()
	if r.UserID == "" {
		r.UserID = p.by.UserID
	}
	if err := p.change.apply(r, s.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	return r, s.save(ctx, ws, old, r, definitionOps(ws, r, p.change))
}

func (s *Service) putNew(ctx context.Context, ws plane.Workspace, p putRun) (*record, error) {
	r := &record{By: p.by}
	r.RunID, r.RootRunID, r.Status, r.UserID = p.id, p.id, NotStarted, p.by.UserID
	r.Properties, r.Tags = map[string]string{}, map[string]*string{}
	if id := p.change.ParentRunID; id != nil {
		if fold(*id) == fold(p.id) {
			return nil, plane.BadRequest("parentRunId", "Run %s cannot be its own parent.", p.id)
		}
		parent, err := s.loadIn(ctx, ws, p.experiment, *id)
		if err != nil {
			return nil, err
		}
		r.ParentRunID, r.RootRunID = parent.RunID, parent.RootRunID
	}
	if p.allow != nil {
		if err := p.allow(r); err != nil {
			return nil, err
		}
	}
	// The experiment's lock is held until the number is stored: run numbers are unique.
	err := s.changeExperiment(ctx, ws, p.experiment, func(e *experiment) error {
		r.Created = s.cfg.Clock.Now()
		if err := p.change.apply(r, r.Created); err != nil {
			return err
		}
		e.LastNumber++
		r.RunNumber, r.Experiment, r.ExperimentID = e.LastNumber, e.Name, e.ID
		if !r.Hidden {
			e.LatestRun, e.LatestAt = r.RunID, &r.Created
		}
		ops, err := e.ops(ws)
		if err != nil {
			return err
		}
		return s.save(ctx, ws, nil, r, append(ops, definitionOps(ws, r, p.change)...))
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func definitionOps(ws plane.Workspace, r *record, c change) []store.Op {
	if c.Definition == nil {
		return nil
	}
	return []store.Op{{Key: definitionKey(ws, r.RunID), Value: c.Definition, If: store.Any}}
}
