package assets

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// writeJSONString writes s with its "&" as they are: the SDK takes the text
// between the quotes without decoding it.
func writeJSONString(w http.ResponseWriter, s string) {
	b := []byte(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, _ = w.Write(b)
}

// contentBlob is the name of a snapshot's file, by the SHA-256 of its content.
func contentBlob(sum string) string { return sum[:2] + "/" + sum }

// buildZip makes the snapshot's zip the first time and returns its blob's name.
func (s *Service) buildZip(ctx context.Context, ws plane.Workspace, id string) (string, error) {
	sn, err := s.snapshot(ctx, ws, id)
	if err != nil {
		return "", err
	}
	if sn.Missing > 0 {
		return "", plane.Conflict("The snapshot '%s' is not complete: the content of %d of its files was never sent.", sn.ID, sn.Missing)
	}
	name := strings.ToLower(ws.GUID) + "/" + sn.ID + ".zip"
	defer s.locks.lock("zip/" + name)()
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, zipContainer, name)
	if err == nil {
		return name, f.Close()
	}
	if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = pw.CloseWithError(s.writeZip(ctx, ws, sn, pw))
	}()
	_, err = s.blobs.Put(ctx, ws.StorageAccount, zipContainer, name, "application/zip", pr)
	_ = pr.CloseWithError(io.ErrClosedPipe)
	<-done
	return name, storageGone(ws, zipContainer, err)
}

func (s *Service) writeZip(ctx context.Context, ws plane.Workspace, sn snapshot, w io.Writer) error {
	z := zip.NewWriter(w)
	if err := s.addNode(ctx, ws, z, sn, "", sn.Root); err != nil {
		return err
	}
	return z.Close()
}

func (s *Service) addNode(ctx context.Context, ws plane.Workspace, z *zip.Writer, sn snapshot, path string, n *node) error {
	for _, c := range n.Children {
		p := strings.TrimPrefix(path+"/"+c.Name, "/")
		h := &zip.FileHeader{Name: p, Method: zip.Deflate, Modified: nodeTime(c, sn.Created)}
		if c.Type == typeDirectory {
			h.Name, h.Method = p+"/", zip.Store
			h.SetMode(fs.ModeDir | 0o755)
			if _, err := z.CreateHeader(h); err != nil {
				return err
			}
			if err := s.addNode(ctx, ws, z, sn, p, c); err != nil {
				return err
			}
			continue
		}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		f, _, err := s.blobs.Open(ctx, ws.StorageAccount, snapshotContainer, contentBlob(c.Content))
		if errors.Is(err, store.ErrNotFound) {
			return plane.Conflict("The content of '%s' in snapshot '%s' was deleted from storage account '%s'.", p, sn.ID, ws.StorageAccount)
		}
		if err != nil {
			return fmt.Errorf("assets: content of %s: %w", p, err)
		}
		_, err = io.Copy(w, f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("assets: content of %s: %w", p, err)
		}
	}
	return nil
}

// nodeTime is the file's time by the client's clock, which the SDK sends without a zone.
func nodeTime(n *node, otherwise time.Time) time.Time {
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, n.Timestamp); err == nil && t.Year() >= 1980 && t.Year() < 2108 {
			return t
		}
	}
	return otherwise
}

// SnapshotZip writes a snapshot's files as a zip; a *plane.Error 404 for an unknown id.
func (s *Service) SnapshotZip(ctx context.Context, ws plane.Workspace, id string, w io.Writer) error {
	name, err := s.buildZip(ctx, ws, id)
	if err != nil {
		return err
	}
	return s.copyZip(ctx, ws, name, w)
}

func (s *Service) copyZip(ctx context.Context, ws plane.Workspace, name string, w io.Writer) error {
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, zipContainer, name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(w, f)
	return err
}
