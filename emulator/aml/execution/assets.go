package execution

import (
	"context"
	"io"
	"time"

	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/plane"
)

// Assets is what this package needs of the workspace's files.
type Assets interface {
	PutArtifact(ctx context.Context, ws plane.Workspace, runID, path, contentType string, r io.Reader) error
	StoreProject(ctx context.Context, ws plane.Workspace, runID string, r io.Reader) error
	SnapshotZip(ctx context.Context, ws plane.Workspace, id string, w io.Writer) error
	Datastore(ctx context.Context, ws plane.Workspace, name string, expiry time.Time) (assets.Datastore, error)
	// Files that a run fetches, or leaves, by URL: see package assets.
	Stage(ctx context.Context, ws plane.Workspace, runID, name string, r io.Reader) error
	StagedURL(ctx context.Context, ws plane.Workspace, runID, name, permissions string, expiry time.Time) (string, error)
	Staged(ctx context.Context, ws plane.Workspace, runID, name string, limit int64) ([]byte, error)
	Unstage(ctx context.Context, ws plane.Workspace, runID string) error
	Secret(ctx context.Context, ws plane.Workspace, name string) (string, error)
}
