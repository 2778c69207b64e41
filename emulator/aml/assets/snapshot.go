package assets

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// snapshot is the record of one snapshot.
type snapshot struct {
	ID      string    `json:"id"`
	Parent  string    `json:"parent"`
	Created time.Time `json:"created"`
	Root    *node     `json:"root"`
	Bytes   int64     `json:"bytes"`
	// Missing counts the files whose content has not come: the SDK sends a
	// large project in several snapshots, each with the full tree.
	Missing int `json:"missing,omitempty"`
}

// latest is the record that names the newest complete snapshot.
type latest struct {
	ID string `json:"id"`
}

func (s *Service) registerSnapshots(m *plane.Mux) {
	const base = "content/v1.0/{WS}/snapshots"
	m.Handle(http.MethodGet, base+"/latest/metadata", s.latestMetadata)
	m.Handle(http.MethodGet, base+"/{id}/metadata", s.snapshotMetadata)
	m.Handle(http.MethodGet, base+"/{id}", s.getSnapshot)
	m.Handle(http.MethodPost, base+"/{id}", s.postSnapshot)
	s.registerSnapshotBlobs(m)
}

func snapshotID(target, id string) (string, error) {
	u, err := uuid.Parse(id)
	if err != nil || len(id) != 36 {
		return "", plane.BadRequest(target, "The value '%s' is not the id of a snapshot: it must be a GUID.", id)
	}
	return u.String(), nil
}

func (s *Service) snapshot(ctx context.Context, ws plane.Workspace, id string) (snapshot, error) {
	id, err := snapshotID("snapshotId", id)
	if err != nil {
		return snapshot{}, err
	}
	sn, _, err := store.Read[snapshot](ctx, s.cfg.Store, key(ws, "snapshot", id))
	if errors.Is(err, store.ErrNotFound) {
		return sn, plane.NotFound("The snapshot '%s' was not found.", id)
	}
	return sn, err
}

type snapshotDto struct {
	ID   string   `json:"id"`
	Root wireNode `json:"root"`
}

// latestMetadata answers the zero id and an empty root where there is no
// snapshot: an error would make the SDK give up the run. A snapshot whose
// files have not all come is never the latest, or an SDK that died between
// two batches would find its project unchanged the next time.
func (s *Service) latestMetadata(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	l, _, err := store.Read[latest](r.Context(), s.cfg.Store, key(c.Workspace, "latestsnapshot"))
	if errors.Is(err, store.ErrNotFound) {
		empty := node{Type: typeDirectory, Timestamp: plane.WireTime(s.cfg.Clock.Now())}
		plane.WriteJSON(w, http.StatusOK, snapshotDto{uuid.Nil.String(), empty.wire()})
		return nil
	}
	if err != nil {
		return err
	}
	return s.writeMetadata(w, r, c, l.ID)
}

func (s *Service) snapshotMetadata(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.writeMetadata(w, r, c, c.Vars["id"])
}

func (s *Service) writeMetadata(w http.ResponseWriter, r *http.Request, c *plane.Call, id string) error {
	sn, err := s.snapshot(r.Context(), c.Workspace, id)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, snapshotDto{sn.ID, sn.Root.wire()})
	return nil
}

// getSnapshot answers the URL of the snapshot's zip as a JSON string, the
// quotes of which the SDK cuts off.
func (s *Service) getSnapshot(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, err := s.buildZip(r.Context(), c.Workspace, c.Vars["id"])
	if err != nil {
		return err
	}
	u, err := s.sas(r.Context(), c.Workspace, zipContainer, name, "r")
	if err != nil {
		return err
	}
	writeJSONString(w, u)
	return nil
}
