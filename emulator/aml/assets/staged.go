package assets

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// stagedBlob is where a file lies that a run fetches, or leaves, by URL.
func stagedBlob(ws plane.Workspace, runID, name string) (string, error) {
	if why := badName(runID); why != "" {
		return "", plane.BadRequest("runId", "The run id '%s' is not valid: %s.", runID, why)
	}
	return strings.ToLower(ws.GUID) + "/runs/" + runID + "/" + name, nil
}

// Stage keeps a file in the workspace's storage account for a run on a machine
// that is not ours to reach: it fetches the file by URL. What was staged before under the name is replaced.
func (s *Service) Stage(ctx context.Context, ws plane.Workspace, runID, name string, r io.Reader) error {
	blob, err := stagedBlob(ws, runID, name)
	if err != nil {
		return err
	}
	_, err = s.blobs.Put(ctx, ws.StorageAccount, zipContainer, blob, "application/octet-stream", r)
	return storageGone(ws, zipContainer, err)
}

// StagedURL opens one staged file, or the place for one, to whoever has the URL, until
// expiry. The permissions are those of a SAS: "r" to fetch it, "cw" to leave it there.
func (s *Service) StagedURL(ctx context.Context, ws plane.Workspace, runID, name, permissions string, expiry time.Time) (string, error) {
	blob, err := stagedBlob(ws, runID, name)
	if err != nil {
		return "", err
	}
	return s.blobs.SAS(ctx, ws.StorageAccount, zipContainer, blob, permissions, expiry)
}

// Staged reads a staged file whole, up to limit bytes; nil if there is none.
func (s *Service) Staged(ctx context.Context, ws plane.Workspace, runID, name string, limit int64) ([]byte, error) {
	blob, err := stagedBlob(ws, runID, name)
	if err != nil {
		return nil, err
	}
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, zipContainer, blob)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// Unstage removes all staged files of a run.
func (s *Service) Unstage(ctx context.Context, ws plane.Workspace, runID string) error {
	prefix, err := stagedBlob(ws, runID, "")
	if err != nil {
		return err
	}
	for after := ""; ; {
		found, next, err := s.blobs.List(ctx, ws.StorageAccount, zipContainer, prefix, after, 1000)
		if errors.Is(err, store.ErrNotFound) {
			return nil // its account is gone
		}
		if err != nil {
			return err
		}
		for _, b := range found {
			if err := s.blobs.Delete(ctx, ws.StorageAccount, zipContainer, b.Name); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}
