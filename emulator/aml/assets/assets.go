// Package assets keeps a workspace's files and what names them: artifacts,
// snapshots, datastores, secrets and the model registry.
package assets

import (
	"context"
	"io"
	"log/slog"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service.
type Config struct {
	Store  *store.Store
	Clock  clock.Clock
	Logger *slog.Logger
	Blob   *blob.Service
}

// Service is the artifact, content, datastore, credential and model management service of all workspaces.
type Service struct{ cfg Config }

// New makes the service.
func New(cfg Config) (*Service, error) { return &Service{cfg: cfg}, nil }

// Register adds the routes of artifact/v1.0, content/v1.0, datastore/v1.0, credential/v1.0 and of model management (api/...).
func (s *Service) Register(m *plane.Mux) { panic("unbuilt") }

// Provision makes what a new workspace starts with: its blob containers and
// the datastores workspaceblobstore (the default) and workspacefilestore.
func (s *Service) Provision(ctx context.Context, ws plane.Workspace) error { panic("unbuilt") }

// DeleteWorkspace drops the records of the workspace; the blobs stay with the storage account, as Azure leaves them.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error { panic("unbuilt") }

// AppendArtifact adds bytes to a run's artifact, made if absent.
func (s *Service) AppendArtifact(ctx context.Context, ws plane.Workspace, runID, path string, r io.Reader) error {
	panic("unbuilt")
}

// PutArtifact writes a run's artifact whole.
func (s *Service) PutArtifact(ctx context.Context, ws plane.Workspace, runID, path, contentType string, r io.Reader) error {
	panic("unbuilt")
}

// LogFiles returns the run's log artifacts (azureml-logs/, logs/) with URLs that need no header.
func (s *Service) LogFiles(ctx context.Context, ws plane.Workspace, runID string) (map[string]string, error) {
	panic("unbuilt")
}

// StoreProject keeps a project.zip that came with a run; RunID names it.
func (s *Service) StoreProject(ctx context.Context, ws plane.Workspace, runID string, r io.Reader) error {
	panic("unbuilt")
}

// SnapshotZip writes a snapshot's files as a zip; a *plane.Error 404 for an unknown id.
func (s *Service) SnapshotZip(ctx context.Context, ws plane.Workspace, id string, w io.Writer) error {
	panic("unbuilt")
}

// Datastore as a control script needs it.
type Datastore struct {
	Name, Type, AccountName, ContainerName, Endpoint, Protocol string
	// ContainerURL with a SAS for read, write and list, for a datastore in this emulator's storage or with a stored credential.
	ContainerURL string
}

// Datastore returns a datastore with an access URL good until expiry; a *plane.Error 404 if there is none of that name.
func (s *Service) Datastore(ctx context.Context, ws plane.Workspace, name string, expiry time.Time) (Datastore, error) {
	panic("unbuilt")
}

// Secret returns a secret stored through credential/v1.0 ("AzureMlSecret=..." in a legacy .compute file).
func (s *Service) Secret(ctx context.Context, ws plane.Workspace, name string) (string, error) {
	panic("unbuilt")
}
