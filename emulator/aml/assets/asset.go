package assets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// asset is the record of a named set of artifacts.
type asset struct {
	mms.Entry
	Artifacts []artifactRef `json:"artifacts"`
	ProjectID *string       `json:"projectId,omitempty"`
	Meta      mms.StringMap `json:"meta,omitempty"`
	Type      *string       `json:"type,omitempty"`
}

// artifactRef names one artifact by id, or all below a prefix.
type artifactRef struct {
	ID     *string `json:"id"`
	Prefix *string `json:"prefix"`
}

// assetDto is Asset of modelManagement.json, 2019-08-01, with what the SDK of 2018 has beyond it.
type assetDto struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Description *string       `json:"description"`
	Artifacts   []artifactRef `json:"artifacts"`
	Tags        []string      `json:"tags"`
	KvTags      mms.StringMap `json:"kvTags"`
	Properties  mms.StringMap `json:"properties"`
	RunID       *string       `json:"runid"`
	ProjectID   *string       `json:"projectid"`
	Meta        mms.StringMap `json:"meta"`
	CreatedTime string        `json:"createdTime"`
	Type        *string       `json:"type,omitempty"`
}

func (a asset) wire() any {
	return assetDto{a.ID, a.Name, a.Description, a.Artifacts, nil, a.KvTags.Clone(), a.Properties.Clone(),
		a.RunID, a.ProjectID, a.Meta, plane.WireTime(a.Created), a.Type}
}

func assetKey(ws plane.Workspace, id string) string { return key(ws, "asset", strings.ToLower(id)) }

func missingAsset(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusNotFound, "AssetNotFound", "id", "The asset with id '%s' was not found.", id)
	}
	return err
}

func (s *Service) createAsset(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Name        string        `json:"name"`
		Description *string       `json:"description"`
		Artifacts   []artifactRef `json:"artifacts"`
		KvTags      mms.StringMap `json:"kvTags"`
		Properties  mms.StringMap `json:"properties"`
		RunID       *string       `json:"runid"`
		ProjectID   *string       `json:"projectid"`
		Meta        mms.StringMap `json:"meta"`
		Type        *string       `json:"type"`
	}
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	if in.Name == "" {
		return mms.Fault(http.StatusBadRequest, "MissingField", "name", "The asset's 'name' is missing.")
	}
	if len(in.Artifacts) == 0 {
		return mms.Fault(http.StatusBadRequest, "MissingField", "artifacts", "The asset's 'artifacts' are missing.")
	}
	if err := s.checkArtifacts(r.Context(), c.Workspace, in.Artifacts); err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	a := asset{Artifacts: in.Artifacts, ProjectID: in.ProjectID, Meta: in.Meta, Type: in.Type,
		Entry: mms.Entry{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Name: in.Name, Description: in.Description,
			KvTags: in.KvTags, Properties: in.Properties, RunID: in.RunID, Created: now, Modified: now}}
	if _, err := store.Write(r.Context(), s.cfg.Store, assetKey(c.Workspace, a.ID), a, store.Absent); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, a.wire())
	return nil
}

// checkArtifacts refuses a reference to files that are not there: it would
// come to light only at the download, in another place and at another time.
func (s *Service) checkArtifacts(ctx context.Context, ws plane.Workspace, refs []artifactRef) error {
	for i, ref := range refs {
		target := fmt.Sprintf("artifacts[%d]", i)
		switch {
		case ref.ID != nil && *ref.ID != "":
			n, err := parseArtifactID(target+".id", *ref.ID)
			if err != nil {
				return err
			}
			if err := s.present(ctx, ws, n); errors.Is(err, store.ErrNotFound) {
				return mms.Fault(http.StatusBadRequest, "ArtifactNotFound", target+".id", "The artifact '%s' does not exist.", *ref.ID)
			} else if err != nil {
				return err
			}
		case ref.Prefix != nil && *ref.Prefix != "":
			n, err := parseArtifactID(target+".prefix", *ref.Prefix)
			if err != nil {
				return err
			}
			found, err := s.list(ctx, ws, artifactName{Origin: n.Origin, Container: n.Container}, n.Path)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return mms.Fault(http.StatusBadRequest, "ArtifactNotFound", target+".prefix", "No artifact exists at or below '%s'.", *ref.Prefix)
			}
		default:
			return mms.Fault(http.StatusBadRequest, "MissingField", target, "The artifact has neither 'id' nor 'prefix'.")
		}
	}
	return nil
}

func (s *Service) listAssets(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	l, err := mms.ParseList(r, c)
	if err != nil {
		return err
	}
	all, err := store.ReadAll[asset](r.Context(), s.cfg.Store, key(c.Workspace, "asset", ""))
	if err != nil {
		return err
	}
	out, err := mms.Paginate(l, all, func(a asset) mms.Entry { return a.Entry }, asset.wire)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) getAsset(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	a, _, err := store.Read[asset](r.Context(), s.cfg.Store, assetKey(c.Workspace, c.Vars["id"]))
	if err != nil {
		return missingAsset(c.Vars["id"], err)
	}
	plane.WriteJSON(w, http.StatusOK, a.wire())
	return nil
}

func (s *Service) patchAsset(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var ops []mms.PatchOp
	if err := mms.ReadPayload(w, r, &ops); err != nil {
		return err
	}
	a, _, err := store.Update(r.Context(), s.cfg.Store, assetKey(c.Workspace, c.Vars["id"]), func(a *asset, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		e, err := a.Patch(ops)
		e.Modified = s.cfg.Clock.Now()
		a.Entry = e
		return err
	})
	if err != nil {
		return missingAsset(c.Vars["id"], err)
	}
	plane.WriteJSON(w, http.StatusOK, a.wire())
	return nil
}

func (s *Service) deleteAsset(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.deleteEntry(w, r, assetKey(c.Workspace, c.Vars["id"]))
}

// deleteEntry answers 204 where there was nothing, as the specification has it.
func (s *Service) deleteEntry(w http.ResponseWriter, r *http.Request, k string) error {
	err := s.cfg.Store.Delete(r.Context(), k, store.Any)
	if errors.Is(err, store.ErrNotFound) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}
