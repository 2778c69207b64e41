package assets

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// Model is one version of a registered model, for whoever puts it into an image.
type Model struct {
	ID, Name string
	Version  int64
	// Unpack says that its one file is a tar archive of what was registered.
	Unpack bool
	// Wire is the model as model management shows it.
	Wire any
}

// File is one of a model's files, with a URL that opens it.
type File struct {
	Path string `json:"path"` // relative, with slashes
	URL  string `json:"url"`
}

// Model finds a registered model by "name:version"; a *plane.Error 404 if there is none.
func (s *Service) Model(ctx context.Context, ws plane.Workspace, id string) (Model, error) {
	m, err := s.model(ctx, ws, id)
	if err != nil {
		return Model{}, err
	}
	return Model{ID: m.ID, Name: m.Name, Version: m.Version, Unpack: m.Unpack, Wire: m.wire()}, nil
}

func (s *Service) model(ctx context.Context, ws plane.Workspace, id string) (model, error) {
	name, version, ok := parseModelID(id)
	if !ok {
		return model{}, missingModel(id, store.ErrNotFound)
	}
	m, _, err := store.Read[model](ctx, s.cfg.Store, modelKey(ws, name, version))
	return m, missingModel(id, err)
}

// ModelFiles are the files of a model, good until expiry.
func (s *Service) ModelFiles(ctx context.Context, ws plane.Workspace, id string, expiry time.Time) ([]File, error) {
	m, err := s.model(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	var refs []artifactRef
	if artifact, ok := strings.CutPrefix(m.URL, "aml://artifact/"); ok {
		refs = []artifactRef{{ID: &artifact}}
	} else {
		a, _, err := store.Read[asset](ctx, s.cfg.Store, assetKey(ws, strings.TrimPrefix(m.URL, "aml://asset/")))
		if err != nil {
			return nil, missingAsset(strings.TrimPrefix(m.URL, "aml://asset/"), err)
		}
		refs = a.Artifacts
	}
	var out []File
	for _, ref := range refs {
		files, err := s.filesOf(ctx, ws, ref, expiry)
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	return out, nil
}

// filesOf names the files of one reference by their place below what was registered: a file by itself, a folder with its name.
func (s *Service) filesOf(ctx context.Context, ws plane.Workspace, ref artifactRef, expiry time.Time) ([]File, error) {
	if ref.ID != nil && *ref.ID != "" {
		u, err := s.ArtifactURL(ctx, ws, *ref.ID, expiry)
		return []File{{path.Base(*ref.ID), u}}, err
	}
	n, err := parseArtifactID("prefix", *ref.Prefix)
	if err != nil {
		return nil, err
	}
	found, err := s.list(ctx, ws, artifactName{Origin: n.Origin, Container: n.Container}, n.Path)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, l := range found {
		u, err := s.ArtifactURL(ctx, ws, l.name.ID(), expiry)
		if err != nil {
			return nil, err
		}
		rel := strings.TrimPrefix(l.name.Path, path.Dir(n.Path)+"/")
		out = append(out, File{rel, u})
	}
	return out, nil
}

// ArtifactURL opens an artifact ("LocalUpload/x/file") until expiry; a *plane.Error 404 where it is not.
func (s *Service) ArtifactURL(ctx context.Context, ws plane.Workspace, id string, expiry time.Time) (string, error) {
	n, err := parseArtifactID("url", id)
	if err != nil {
		return "", err
	}
	if err := s.present(ctx, ws, n); err != nil {
		return "", missingArtifact(n, err)
	}
	u, err := s.blobs.SAS(ctx, ws.StorageAccount, artifactContainer, n.ID(), "r", expiry)
	return u, storageGone(ws, artifactContainer, err)
}

// ReadArtifact is the content of a small artifact; a *plane.Error 404 where it is not, 413 where it is larger than limit.
func (s *Service) ReadArtifact(ctx context.Context, ws plane.Workspace, id string, limit int64) ([]byte, error) {
	n, err := parseArtifactID("url", id)
	if err != nil {
		return nil, err
	}
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, artifactContainer, n.ID())
	if err != nil {
		return nil, missingArtifact(n, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, plane.TooLarge("The artifact '%s' is larger than %d bytes.", id, limit)
	}
	return b, nil
}
