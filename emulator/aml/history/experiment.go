package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// experiment as the store has it.
type experiment struct {
	ID          string             `json:"experimentId"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Created     time.Time          `json:"createdUtc"`
	Tags        map[string]*string `json:"tags,omitempty"`
	Archived    *time.Time         `json:"archivedTime,omitempty"`
	LastNumber  int                `json:"lastNumber"`
	LatestRun   string             `json:"latestCreatedRunId,omitempty"`
	LatestAt    *time.Time         `json:"latestCreatedRunCreatedUtc,omitempty"`

	rev int64 // store.Absent: not stored yet
}

// experimentDTO mirrors Experiment of the spec.
type experimentDTO struct {
	ID          string             `json:"experimentId"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Created     string             `json:"createdUtc"`
	Tags        map[string]*string `json:"tags"`
	Archived    string             `json:"archivedTime,omitempty"`
	LatestAt    string             `json:"latestCreatedRunCreatedUtc,omitempty"`
	LatestRun   string             `json:"latestCreatedRunId,omitempty"`
}

func (e *experiment) dto() experimentDTO {
	d := experimentDTO{
		ID: e.ID, Name: e.Name, Description: e.Description, Created: stamp(e.Created), Tags: e.Tags,
		Archived: stampOf(e.Archived), LatestAt: stampOf(e.LatestAt), LatestRun: e.LatestRun,
	}
	if d.Tags == nil {
		d.Tags = map[string]*string{}
	}
	return d
}

func experimentNotFound(name string) *plane.Error {
	return plane.NotFound("Experiment %s was not found", name)
}

// experimentOf reads an experiment; a *plane.Error 404 if there is none.
func (s *Service) experimentOf(ctx context.Context, ws plane.Workspace, name string) (*experiment, error) {
	d, err := s.cfg.Store.Get(ctx, experimentKey(ws, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, experimentNotFound(name)
	}
	if err != nil {
		return nil, err
	}
	return readExperiment(d)
}

func readExperiment(d store.Doc) (*experiment, error) {
	e := &experiment{rev: d.Rev}
	if err := json.Unmarshal(d.Value, e); err != nil {
		return nil, fmt.Errorf("history: %s: %w", d.Key, err)
	}
	return e, nil
}

// ops are the writes that store e, and its id when it is new.
func (e *experiment) ops(ws plane.Workspace) ([]store.Op, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	ops := []store.Op{{Key: experimentKey(ws, e.Name), Value: b, If: e.rev}}
	if e.rev == store.Absent {
		ops = append(ops, store.Op{Key: key(ws, "experimentid", fold(e.ID)), Value: []byte(fold(e.Name)), If: store.Any})
	}
	return ops, nil
}

// changeExperiment makes or changes an experiment: fn runs under its lock and
// stores what it wants with the experiment's ops.
func (s *Service) changeExperiment(ctx context.Context, ws plane.Workspace, name string, fn func(e *experiment) error) error {
	defer s.experimentLocks.lock(experimentKey(ws, name))()
	e, err := s.experimentOf(ctx, ws, name)
	if isNotFound(err) {
		if err := checkExperiment(name); err != nil {
			return err
		}
		e, err = &experiment{ID: uuid.NewString(), Name: name, Created: s.cfg.Clock.Now(), rev: store.Absent}, nil
	}
	if err != nil {
		return err
	}
	return fn(e)
}

// storeExperiment writes an experiment; the caller holds its lock.
func (s *Service) storeExperiment(ctx context.Context, ws plane.Workspace, e *experiment) error {
	ops, err := e.ops(ws)
	if err != nil {
		return err
	}
	_, err = s.cfg.Store.Batch(ctx, ops)
	return err
}

func isNotFound(err error) bool {
	var e *plane.Error
	return errors.As(err, &e) && e.Status == 404
}
