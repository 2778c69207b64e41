package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/store"
)

// pendingAppend marks an indexed append under way, so that after a crash
// between the append and its record a repetition is told from a first try.
type pendingAppend struct {
	Index int64 `json:"index"`
	// Size of the blob before the append.
	Size int64 `json:"size"`
}

func (s *Service) postContent(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	more, err := boolQuery(r, "append")
	if err != nil {
		return err
	}
	index := int64(-1)
	if v := r.URL.Query().Get("index"); v != "" {
		if index, err = strconv.ParseInt(v, 10, 64); err != nil || index < 0 {
			return plane.BadRequest("index", "The value '%s' of 'index' is not a number of a block.", v)
		}
	}
	contentType := r.Header.Get("Content-Type")
	var out artifactDto
	switch {
	case !more:
		out, err = s.put(r.Context(), c.Workspace, n, contentType, r.Body)
	case index < 0:
		out, err = s.append(r.Context(), c.Workspace, n, r.Body)
	default:
		out, err = s.appendAt(r.Context(), c.Workspace, n, index, r.Body)
	}
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) put(ctx context.Context, ws plane.Workspace, n artifactName, contentType string, body io.Reader) (artifactDto, error) {
	defer s.locks.lock(artifactKey(ws, n))()
	if _, err := s.blobs.Put(ctx, ws.StorageAccount, artifactContainer, n.ID(), contentType, body); err != nil {
		return artifactDto{}, storageGone(ws, artifactContainer, err)
	}
	// Its blocks are counted anew.
	a, rev, err := store.Update(ctx, s.cfg.Store, artifactKey(ws, n), func(a *artifact, found bool) error {
		if !found {
			a.Created = s.cfg.Clock.Now()
		}
		a.Next, a.Pending = nil, nil
		return nil
	})
	return dto(n, a, rev), err
}

func (s *Service) append(ctx context.Context, ws plane.Workspace, n artifactName, body io.Reader) (artifactDto, error) {
	defer s.locks.lock(artifactKey(ws, n))()
	// Named first: content without a name would be lost, a name without content is not listed.
	out, err := s.register(ctx, ws, []artifactName{n})
	if err != nil {
		return artifactDto{}, err
	}
	return out[0], s.appendBlob(ctx, ws, n, body)
}

// appendBlob refuses to add to a blob that was uploaded whole, as storage does.
func (s *Service) appendBlob(ctx context.Context, ws plane.Workspace, n artifactName, body io.Reader) error {
	if p, err := s.stat(ctx, ws, n); err == nil && !p.Append {
		return plane.Conflict("The artifact '%s' was uploaded whole; nothing can be appended to it.", n.ID())
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	_, err := s.blobs.Append(ctx, ws.StorageAccount, artifactContainer, n.ID(), body)
	return storageGone(ws, artifactContainer, err)
}

func (s *Service) stat(ctx context.Context, ws plane.Workspace, n artifactName) (blob.Properties, error) {
	f, p, err := s.blobs.Open(ctx, ws.StorageAccount, artifactContainer, n.ID())
	if err != nil {
		return p, err
	}
	return p, f.Close()
}

// appendAt adds block index. Blocks come in order, from 0 or 1: one that was
// here before is ignored, so that a client may repeat what it got no answer
// to; one that leaves a gap is refused.
func (s *Service) appendAt(ctx context.Context, ws plane.Workspace, n artifactName, index int64, body io.Reader) (artifactDto, error) {
	k := artifactKey(ws, n)
	defer s.locks.lock(k)()
	a, rev, err := store.Read[artifact](ctx, s.cfg.Store, k)
	if errors.Is(err, store.ErrNotFound) {
		a, err = artifact{Created: s.cfg.Clock.Now()}, nil
	}
	if err != nil {
		return artifactDto{}, err
	}
	var size int64
	if p, err := s.stat(ctx, ws, n); err == nil {
		size = p.Size
	} else if !errors.Is(err, store.ErrNotFound) {
		return artifactDto{}, err
	}
	if p := a.Pending; p != nil && size > p.Size {
		// The bytes came in before the process died.
		next := p.Index + 1
		a.Next, a.Pending = &next, nil
	}
	switch {
	case a.Next == nil && index > 1:
		return artifactDto{}, plane.Conflict("Block %d of the artifact '%s' came first; blocks are counted from 0.", index, n.ID())
	case a.Next != nil && index < *a.Next:
		_, _ = io.Copy(io.Discard, body)
		return dto(n, a, rev), nil
	case a.Next != nil && index > *a.Next:
		return artifactDto{}, plane.Conflict("Block %d of the artifact '%s' leaves a gap; the next is %d.", index, n.ID(), *a.Next)
	}
	a.Pending = &pendingAppend{Index: index, Size: size}
	if rev, err = store.Write(ctx, s.cfg.Store, k, a, rev); err != nil {
		return artifactDto{}, fmt.Errorf("assets: append %s: %w", n.ID(), err)
	}
	if err := s.appendBlob(ctx, ws, n, body); err != nil {
		return artifactDto{}, err
	}
	next := index + 1
	a.Next, a.Pending = &next, nil
	if rev, err = store.Write(ctx, s.cfg.Store, k, a, rev); err != nil {
		return artifactDto{}, fmt.Errorf("assets: append %s: %w", n.ID(), err)
	}
	return dto(n, a, rev), nil
}

func (s *Service) getContent(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	if _, _, err := store.Read[artifact](r.Context(), s.cfg.Store, artifactKey(c.Workspace, n)); err != nil {
		return missingArtifact(n, err)
	}
	f, p, err := s.blobs.Open(r.Context(), c.Workspace.StorageAccount, artifactContainer, n.ID())
	if err != nil {
		return missingArtifact(n, err)
	}
	defer func() { _ = f.Close() }()
	if p.ContentType == "" {
		p.ContentType = "application/octet-stream"
	}
	w.Header().Set("Content-Type", p.ContentType)
	w.Header().Set("Etag", p.ETag)
	http.ServeContent(w, r, "", p.LastModified, f)
	return nil
}

// AppendArtifact adds bytes to a run's artifact, made if absent.
func (s *Service) AppendArtifact(ctx context.Context, ws plane.Workspace, runID, path string, r io.Reader) error {
	n, err := parseArtifact(originRun, runID, path)
	if err != nil {
		return err
	}
	_, err = s.append(ctx, ws, n, r)
	return err
}

// PutArtifact writes a run's artifact whole.
func (s *Service) PutArtifact(ctx context.Context, ws plane.Workspace, runID, path, contentType string, r io.Reader) error {
	n, err := parseArtifact(originRun, runID, path)
	if err != nil {
		return err
	}
	_, err = s.put(ctx, ws, n, contentType, r)
	return err
}
