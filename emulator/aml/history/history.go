// Package history is run history: experiments, runs, their events, metrics,
// tags and properties, and the states that a run goes through.
package history

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service.
type Config struct {
	Store  *store.Store
	Clock  clock.Clock
	Logger *slog.Logger
	// Issue signs a run's token.
	Issue func(ctx context.Context, c aad.Claims) (string, error)
	// LogFiles returns name -> URL for RunDetails.logFiles (artifacts azureml-logs/... and logs/...).
	LogFiles func(ctx context.Context, ws plane.Workspace, runID string) (map[string]string, error)
}

// Service is the run history of all workspaces.
type Service struct{ cfg Config }

// Run is a RunDto and RunDetails in one (azure-rest-api-specs runHistory.json 2019-08-01).
type Run struct {
	RunID         string            `json:"runId"`
	RunNumber     int               `json:"runNumber"`
	RootRunID     string            `json:"rootRunId"`
	ParentRunID   string            `json:"parentRunId,omitempty"`
	Experiment    string            `json:"-"`
	ExperimentID  string            `json:"experimentId"`
	Created       time.Time         `json:"createdUtc"`
	UserID        string            `json:"userId,omitempty"`
	Status        string            `json:"status"`
	Start         *time.Time        `json:"startTimeUtc,omitempty"`
	End           *time.Time        `json:"endTimeUtc,omitempty"`
	Heartbeat     bool              `json:"heartbeatEnabled"`
	RunDefinition json.RawMessage   `json:"runDefinition,omitempty"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	Hidden        bool              `json:"hidden"`
	RunType       string            `json:"runType,omitempty"`
	Properties    map[string]string `json:"properties"`
	ScriptName    string            `json:"scriptName,omitempty"`
	Target        string            `json:"target,omitempty"`
	Tags          map[string]string `json:"tags"`
	Error         *RunError         `json:"error,omitempty"`
	Warnings      []Warning         `json:"warnings,omitempty"`
}

// RunError is why a run failed, shown in RunDetails.error.
type RunError struct{ Code, Message string }

// Warning of RunDetails.
type Warning struct {
	Source  string `json:"source"`
	Message string `json:"message"`
}

// NewRun is what the run service sets when it makes a run.
type NewRun struct {
	Experiment, RunID, ParentRunID, Status, Target, ScriptName, RunType, Name, UserID string
	RunDefinition                                                                     json.RawMessage
	Properties, Tags                                                                  map[string]string
}

// New makes the service.
func New(cfg Config) (*Service, error) { return &Service{cfg: cfg}, nil }

// Open starts watching heartbeats: a Running run whose heartbeats stopped becomes NotResponding.
func (s *Service) Open(ctx context.Context) error { return nil }

// Close stops it.
func (s *Service) Close(ctx context.Context) error { return nil }

// Register adds the routes of history/v1.0.
func (s *Service) Register(m *plane.Mux) { panic("unbuilt") }

// Create makes a run in a state of the run service's choice (Preparing, Queued ...); a *plane.Error 409 if the id is taken by another run that is not NotStarted.
func (s *Service) Create(ctx context.Context, ws plane.Workspace, n NewRun) (*Run, error) {
	panic("unbuilt")
}

// Get returns a run by id, in any experiment of the workspace; a *plane.Error 404 if absent.
func (s *Service) Get(ctx context.Context, ws plane.Workspace, runID string) (*Run, error) {
	panic("unbuilt")
}

// SetStatus moves a run forward; from a terminal state nothing moves, and changed is false.
// failure is kept for the details when status is Failed.
func (s *Service) SetStatus(ctx context.Context, ws plane.Workspace, runID, status string, failure *RunError) (changed bool, err error) {
	panic("unbuilt")
}

// AddWarning adds to the details' warnings.
func (s *Service) AddWarning(ctx context.Context, ws plane.Workspace, runID string, w Warning) error {
	panic("unbuilt")
}

// Token issues the token with which the run calls back.
func (s *Service) Token(ctx context.Context, ws plane.Workspace, runID string) (plane.Token, error) {
	panic("unbuilt")
}

// DeleteWorkspace drops all that the workspace has here.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error { panic("unbuilt") }

// Ended tells, by a channel, of every run that reached a terminal state or CancelRequested after the call.
func (s *Service) Ended() (events <-chan Change, stop func()) { panic("unbuilt") }

// Change of a run's status.
type Change struct {
	Workspace plane.Workspace
	RunID     string
	Status    string
}

// Terminal reports whether a status is final.
func Terminal(status string) bool {
	return status == "Completed" || status == "Failed" || status == "Canceled"
}
