// Package assets keeps a workspace's files and what names them: artifacts,
// snapshots, projects, datastores, secrets and the model registry, as the
// services artifact, content, datastore and credential (v1.0) and model
// management (2018-03-01-preview) offered them in October 2018, and as SDK
// 1.61 calls them (artifact and content v2.0, model management v1.0).
//
// Names live in the store, keyed by the workspace's GUID; contents live in
// the workspace's storage account, where clients put and get them straight by
// SAS. Because of that, a name alone proves nothing: lists show what is both
// named here and present there, and a model is refused whose files are not.
//
// Content of snapshots is addressed by its SHA-256, so that equal files are
// kept once. An archive is looked through before any of it is stored.
//
// Images and web services are made of these, in package serving.
package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Containers of a workspace's storage account, named as Azure named them.
const (
	artifactContainer = "azureml"
	snapshotContainer = "snapshots"
	zipContainer      = "snapshotzips"
)

// sasLife is how long a handed-out URL stays good. A notebook keeps such
// URLs for the length of a working day, not longer.
const sasLife = 24 * time.Hour

// blobs is what this package asks of storage.
type blobs interface {
	http.Handler
	EnsureAccount(ctx context.Context, account string) error
	Keys(ctx context.Context, account string) ([2]string, error)
	EnsureContainer(ctx context.Context, account, container string) error
	SAS(ctx context.Context, account, container, name, permissions string, expiry time.Time) (string, error)
	Put(ctx context.Context, account, container, name, contentType string, r io.Reader) (blob.Properties, error)
	Append(ctx context.Context, account, container, name string, r io.Reader) (blob.Properties, error)
	Open(ctx context.Context, account, container, name string) (io.ReadSeekCloser, blob.Properties, error)
	List(ctx context.Context, account, container, prefix, after string, limit int) ([]blob.Properties, string, error)
	Delete(ctx context.Context, account, container, name string) error
}

// shares is storage that has file shares too.
type shares interface {
	EnsureShare(ctx context.Context, account, share string) error
}

// Config of a Service.
type Config struct {
	Store  *store.Store
	Clock  clock.Clock
	Logger *slog.Logger
	Blob   *blob.Service
	// TempDir takes uploads while they are checked; empty: the system's. It
	// should be the service's own: New removes what a killed process left in it.
	TempDir string
}

// Service is the artifact, content, datastore, credential and model management service of all workspaces.
type Service struct {
	cfg   Config
	blobs blobs
	locks keyedMutex
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Blob == nil {
		return nil, errors.New("assets: Config.Blob is missing")
	}
	return newService(cfg, cfg.Blob)
}

func newService(cfg Config, b blobs) (*Service, error) {
	if cfg.Store == nil {
		return nil, errors.New("assets: Config.Store is missing")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TempDir != "" {
		if err := sweep(cfg.TempDir); err != nil {
			return nil, fmt.Errorf("assets: %w", err)
		}
	}
	return &Service{cfg: cfg, blobs: b}, nil
}

// tempPattern is of the files and folders that uploads are checked in.
const tempPattern = "lazulite-upload-"

func sweep(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	all, err := os.ReadDir(dir)
	for _, f := range all {
		if strings.HasPrefix(f.Name(), tempPattern) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

// Register adds the routes of artifact/v1.0, content/v1.0, datastore/v1.0, credential/v1.0 and of model management (api/...).
func (s *Service) Register(m *plane.Mux) {
	s.registerArtifacts(m)
	s.registerSnapshots(m)
	s.registerDatastores(m)
	s.registerSecrets(m)
	s.registerModels(m)
}

// Provision makes what a new workspace starts with: its blob containers and
// the datastores workspaceblobstore (the default) and workspacefilestore. It
// may be called again at any time and changes nothing that is there.
func (s *Service) Provision(ctx context.Context, ws plane.Workspace) error {
	if err := s.blobs.EnsureAccount(ctx, ws.StorageAccount); err != nil {
		return fmt.Errorf("assets: provision %s: %w", ws.Workspace, err)
	}
	for _, c := range []string{artifactContainer, snapshotContainer, zipContainer, blobStoreContainer(ws)} {
		if err := s.blobs.EnsureContainer(ctx, ws.StorageAccount, c); err != nil {
			return fmt.Errorf("assets: provision %s: %w", ws.Workspace, err)
		}
	}
	if f, ok := s.blobs.(shares); ok {
		if err := f.EnsureShare(ctx, ws.StorageAccount, FileStoreShare(ws)); err != nil {
			return fmt.Errorf("assets: provision %s: %w", ws.Workspace, err)
		}
	}
	if err := s.provisionDatastores(ctx, ws); err != nil {
		return fmt.Errorf("assets: provision %s: %w", ws.Workspace, err)
	}
	return nil
}

// DeleteWorkspace drops the records of the workspace; the blobs stay with the storage account, as Azure leaves them.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error {
	prefix := key(ws, "")
	for {
		docs, err := s.cfg.Store.List(ctx, prefix, "", 500)
		if err != nil || len(docs) == 0 {
			return err
		}
		ops := make([]store.Op, len(docs))
		for i, d := range docs {
			ops[i] = store.Op{Key: d.Key, If: store.Any}
		}
		// A record that somebody else deleted meanwhile undoes the batch: list again.
		if _, err := s.cfg.Store.Batch(ctx, ops); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
}
