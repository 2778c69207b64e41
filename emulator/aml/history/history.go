// Package history is run history: experiments, runs, their events, metrics,
// tags and properties, and the states that a run goes through.
//
// It answers history/v1.0 below a workspace's scope as SDK 0.1.68 calls it,
// with the DTOs of azure-rest-api-specs runHistory.json 2019-08-01, and gives
// the run service, its sibling, the same runs in process. A run's status only
// moves forward and one function moves it. Everything is a document in the
// store, keyed by the workspace's GUID and laid out so that each list is a
// range of keys; nothing is held in memory but the deadlines of heartbeats.
//
// It starts no run and reads no log: a status is what the run service or the
// script reported. Metrics are kept as they were sent, byte for byte, with
// the NaN and Infinity that Python writes.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service.
type Config struct {
	Store *store.Store
	// Clock is the real one if nil.
	Clock clock.Clock
	// Logger drops all if nil.
	Logger *slog.Logger
	// Issue signs a run's token.
	Issue func(ctx context.Context, c aad.Claims) (string, error)
	// LogFiles returns name -> URL for RunDetails.logFiles (artifacts azureml-logs/... and logs/...).
	// Nil: a run has no log files.
	LogFiles func(ctx context.Context, ws plane.Workspace, runID string) (map[string]string, error)
}

// Service is the run history of all workspaces.
type Service struct {
	cfg Config
	// Two sets of locks, since a run is locked before its experiment.
	runLocks, experimentLocks locks
	seq                       sequence
	beats                     beats
	ended                     ended

	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil {
		return nil, errors.New("history: no store")
	}
	if cfg.Issue == nil {
		return nil, errors.New("history: nothing issues tokens")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg}
	s.beats.init()
	return s, nil
}

// Open starts watching heartbeats: a Running run whose heartbeats stopped
// becomes NotResponding. Runs that were watched when the process ended get
// one whole time to live from now.
func (s *Service) Open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return errors.New("history: open already")
	}
	if err := s.resumeBeats(ctx); err != nil {
		return err
	}
	loop, stop := context.WithCancel(context.Background())
	s.stop, s.done = stop, make(chan struct{})
	go s.watchBeats(loop, s.done)
	return nil
}

// Close stops the watch and ends every subscription of Ended.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	stop, done := s.stop, s.done
	s.stop, s.done = nil, nil
	s.mu.Unlock()
	s.ended.close()
	if done == nil {
		return nil
	}
	stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NewRun is what the run service sets when it makes a run.
type NewRun struct {
	Experiment, RunID, ParentRunID, Status, Target, ScriptName, RunType, Name, UserID string
	RunDefinition                                                                     json.RawMessage
	Properties, Tags                                                                  map[string]string
}

// Create makes a run in a state of the run service's choice (Preparing,
// Queued ...). A run that exists and is NotStarted becomes this one, its
// number, tags and properties kept; a *plane.Error 409 if the id is taken by
// any other run, 404 if the parent is unknown, 400 if a field is not valid.
func (s *Service) Create(ctx context.Context, ws plane.Workspace, n NewRun) (*Run, error) {
	ch := change{
		ParentRunID: given(n.ParentRunID), Status: given(n.Status), Target: given(n.Target),
		ScriptName: given(n.ScriptName), RunType: given(n.RunType), Name: given(n.Name),
		Properties: pointers(n.Properties), Tags: pointers(n.Tags), Definition: n.RunDefinition,
	}
	if len(n.RunDefinition) > 0 {
		if err := checkObject("runDefinition", n.RunDefinition); err != nil {
			return nil, err
		}
	}
	r, err := s.put(ctx, ws, putRun{
		experiment: n.Experiment, id: n.RunID, change: ch,
		by: author{UserID: n.UserID}, adopt: true,
	})
	if err != nil {
		return nil, err
	}
	run := r.Run
	run.RunDefinition = n.RunDefinition
	return &run, nil
}

// Get returns a run by id, in any experiment of the workspace; a *plane.Error 404 if absent.
func (s *Service) Get(ctx context.Context, ws plane.Workspace, runID string) (*Run, error) {
	r, err := s.load(ctx, ws, runID)
	if err != nil {
		return nil, err
	}
	run := r.Run
	if run.RunDefinition, err = s.definition(ctx, ws, r); err != nil {
		return nil, err
	}
	return &run, nil
}

// SetStatus moves a run forward; from a terminal state nothing moves, and
// changed is false. failure is kept for the details when status is Failed,
// also where the run had failed before without saying why.
func (s *Service) SetStatus(ctx context.Context, ws plane.Workspace, runID, status string, failure *RunError) (changed bool, err error) {
	to, ok := canonical(status)
	if !ok {
		return false, unknownStatus(status)
	}
	_, err = s.modify(ctx, ws, runID, func(r *record) error {
		changed = r.move(to, s.cfg.Clock.Now())
		if failure != nil && r.Status == Failed && r.Failure == nil {
			r.fail(&rootError{Code: failure.Code, Message: failure.Message})
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return changed, nil
}

// AddWarning adds to the details' warnings.
func (s *Service) AddWarning(ctx context.Context, ws plane.Workspace, runID string, w Warning) error {
	_, err := s.modify(ctx, ws, runID, func(r *record) error {
		r.Warnings = append(r.Warnings[:len(r.Warnings):len(r.Warnings)], w)
		return nil
	})
	return err
}

// DeleteWorkspace drops all that the workspace has here.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error {
	s.beats.forget(ws.GUID)
	for _, prefix := range []string{workspacePrefix(ws), watchPrefix + fold(ws.GUID) + "/"} {
		for {
			docs, err := s.cfg.Store.List(ctx, prefix, "", 200)
			if err != nil {
				return err
			}
			if len(docs) == 0 {
				break
			}
			ops := make([]store.Op, len(docs))
			for i, d := range docs {
				ops[i] = store.Op{Key: d.Key, If: store.Any}
			}
			// Somebody else may be deleting the same: whatever is left is listed again.
			if _, err := s.cfg.Store.Batch(ctx, ops); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// tokenLife is how long a run can call back without asking for another token.
const tokenLife = 14 * 24 * time.Hour

// Token issues the token with which the run calls back.
func (s *Service) Token(ctx context.Context, ws plane.Workspace, runID string) (plane.Token, error) {
	r, err := s.load(ctx, ws, runID)
	if err != nil {
		return plane.Token{}, err
	}
	expires := s.cfg.Clock.Now().Add(tokenLife).Truncate(time.Second)
	token, err := s.cfg.Issue(ctx, aad.Claims{
		Audience: aad.AudienceRun, Tenant: r.By.TenantID, ObjectID: r.UserID, UPN: r.By.UserName,
		Workspace: ws.GUID, RunID: r.RunID, Expires: expires,
	})
	if err != nil {
		return plane.Token{}, err
	}
	return plane.Token{Token: token, Expires: expires}, nil
}
