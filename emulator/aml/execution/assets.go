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
	Secret(ctx context.Context, ws plane.Workspace, name string) (string, error)
}
