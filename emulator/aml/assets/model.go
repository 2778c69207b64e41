package assets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// model is the record of one version of a model.
type model struct {
	mms.Entry
	URL      string `json:"url"`
	MimeType string `json:"mimeType"`
	Unpack   bool   `json:"unpack"`
	lineage
}

// lineage is what SDK 1.x says of a model beyond what that of 2018 could.
type lineage struct {
	Framework            *string         `json:"framework"`
	FrameworkVersion     *string         `json:"frameworkVersion"`
	ExperimentName       *string         `json:"experimentName"`
	ParentModelID        *string         `json:"parentModelId,omitempty"`
	SampleInputData      *string         `json:"sampleInputData,omitempty"`
	SampleOutputData     *string         `json:"sampleOutputData,omitempty"`
	ResourceRequirements json.RawMessage `json:"resourceRequirements,omitempty"`
	// Datasets is never null on the wire: SDK 1.x goes through it.
	Datasets []datasetRef `json:"datasets"`
}

// datasetRef is DatasetReference of modelManagement.json, 2019-08-01.
type datasetRef struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// modelVersion is the record that counts a model's versions; a version that was deleted does not come again.
type modelVersion struct {
	Last int64 `json:"last"`
}

// modelDto is Model of modelManagement.json, 2019-08-01. The SDK wants every key to be there.
type modelDto struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Version      int64         `json:"version"`
	URL          string        `json:"url"`
	MimeType     string        `json:"mimeType"`
	Description  *string       `json:"description"`
	CreatedTime  string        `json:"createdTime"`
	ModifiedTime string        `json:"modifiedTime"`
	Unpack       bool          `json:"unpack"`
	Tags         []string      `json:"tags"`
	KvTags       mms.StringMap `json:"kvTags"`
	Properties   mms.StringMap `json:"properties"`
	RunID        *string       `json:"runId"`
	// CreatedBy is not kept; SDK 1.x wants the key.
	CreatedBy *struct{} `json:"createdBy"`
	lineage
}

func (m model) wire() any {
	if m.Datasets == nil {
		m.Datasets = []datasetRef{}
	}
	return modelDto{m.ID, m.Name, m.Version, m.URL, m.MimeType, m.Description, plane.WireTime(m.Created), plane.WireTime(m.Modified),
		m.Unpack, nil, m.KvTags.Clone(), m.Properties.Clone(), m.RunID, nil, m.lineage}
}

var modelName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`) })

func modelKey(ws plane.Workspace, name string, version int64) string {
	return key(ws, "model", name, fmt.Sprintf("%019d", version))
}

// parseModelID splits "name:version"; anything else is the id of no model.
func parseModelID(id string) (name string, version int64, ok bool) {
	i := strings.LastIndexByte(id, ':')
	if i < 1 {
		return "", 0, false
	}
	version, err := strconv.ParseInt(id[i+1:], 10, 64)
	// Only the canonical form names a model: "m:01" is not "m:1".
	return id[:i], version, err == nil && version > 0 && strconv.FormatInt(version, 10) == id[i+1:]
}

func missingModel(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusNotFound, "ModelNotFound", "id", "The model with id '%s' was not found.", id)
	}
	return err
}

func (s *Service) createModel(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Name        string  `json:"name"`
		URL         string  `json:"url"`
		MimeType    string  `json:"mimeType"`
		Description *string `json:"description"`
		Unpack      bool    `json:"unpack"`
		// Tags is a list in no payload that the service took: tags travel as kvTags.
		Tags       mms.StringMap `json:"tags"`
		KvTags     mms.StringMap `json:"kvTags"`
		Properties mms.StringMap `json:"properties"`
		RunID      *string       `json:"runId"`
		lineage
	}
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{{"name", in.Name}, {"url", in.URL}, {"mimeType", in.MimeType}} {
		if f.value == "" {
			return mms.Fault(http.StatusBadRequest, "MissingField", f.name, "The model's '%s' is missing.", f.name)
		}
	}
	if !modelName().MatchString(in.Name) {
		return mms.Fault(http.StatusBadRequest, "InvalidModelName", "name",
			"The model name '%s' is not valid: it may hold letters, digits, dashes, dots and underscores alone, 255 at most.", in.Name)
	}
	runID, err := s.checkModelURL(r.Context(), c.Workspace, in.URL)
	if err != nil {
		return err
	}
	if in.RunID != nil {
		runID = in.RunID
	}
	if in.KvTags == nil {
		in.KvTags = in.Tags
	}
	m, err := s.addModel(r.Context(), c.Workspace, model{URL: in.URL, MimeType: in.MimeType, Unpack: in.Unpack, lineage: in.lineage,
		Entry: mms.Entry{Name: in.Name, Description: in.Description, KvTags: in.KvTags, Properties: in.Properties, RunID: runID}})
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, m.wire())
	return nil
}

// checkModelURL accepts aml://asset/{id} and aml://artifact/{id} of files that
// are there, and returns the run that the asset names.
func (s *Service) checkModelURL(ctx context.Context, ws plane.Workspace, url string) (*string, error) {
	if id, ok := strings.CutPrefix(url, "aml://asset/"); ok {
		a, _, err := store.Read[asset](ctx, s.cfg.Store, assetKey(ws, id))
		if errors.Is(err, store.ErrNotFound) {
			return nil, mms.Fault(http.StatusBadRequest, "AssetNotFound", "url", "The asset with id '%s' does not exist.", id)
		}
		if err != nil {
			return nil, err
		}
		return a.RunID, s.checkArtifacts(ctx, ws, a.Artifacts)
	}
	if id, ok := strings.CutPrefix(url, "aml://artifact/"); ok {
		return nil, s.checkArtifacts(ctx, ws, []artifactRef{{ID: &id}})
	}
	return nil, mms.Fault(http.StatusBadRequest, "InvalidModelUrl", "url",
		"The model's url '%s' must be aml://asset/{asset id} or aml://artifact/{artifact id}.", url)
}

// addModel takes the next version and stores the model under it, together.
func (s *Service) addModel(ctx context.Context, ws plane.Workspace, m model) (model, error) {
	k := key(ws, "modelversion", m.Name)
	for {
		v, rev, err := store.Read[modelVersion](ctx, s.cfg.Store, k)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return m, err
		}
		v.Last++
		m.Version, m.ID = v.Last, m.Name+":"+strconv.FormatInt(v.Last, 10)
		m.Created = s.cfg.Clock.Now()
		m.Modified = m.Created
		count, err := store.PutOp(k, v, rev)
		if err != nil {
			return m, err
		}
		put, err := store.PutOp(modelKey(ws, m.Name, m.Version), m, store.Absent)
		if err != nil {
			return m, err
		}
		if _, err = s.cfg.Store.Batch(ctx, []store.Op{count, put}); !errors.Is(err, store.ErrConflict) {
			return m, err
		}
	}
}

func (s *Service) listModels(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	l, err := mms.ParseList(r, c)
	if err != nil {
		return err
	}
	prefix := key(c.Workspace, "model", "")
	if l.Name != "" {
		prefix += l.Name + "/"
	}
	all, err := store.ReadAll[model](r.Context(), s.cfg.Store, prefix)
	if err != nil {
		return err
	}
	framework := mms.QueryValues(r.URL.Query(), "framework")
	all = slices.DeleteFunc(all, func(m model) bool {
		return len(framework) > 0 && (m.Framework == nil || !strings.EqualFold(*m.Framework, framework[0]))
	})
	if only, err := boolQuery(r, "latestVersionOnly"); err != nil {
		return err
	} else if only {
		all = newest(all, l)
	}
	out, err := mms.Paginate(l, all, func(m model) mms.Entry { return m.Entry }, model.wire)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// newest keeps of each name the highest version that the list would show.
func newest(all []model, l mms.ListQuery) []model {
	last := map[string]int64{}
	for _, m := range all {
		if l.Matches(m.Entry) {
			last[m.Name] = max(last[m.Name], m.Version)
		}
	}
	return slices.DeleteFunc(all, func(m model) bool { return last[m.Name] != m.Version })
}

func (s *Service) getModel(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	m, err := s.model(r.Context(), c.Workspace, c.Vars["id"])
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, m.wire())
	return nil
}

func (s *Service) patchModel(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var ops []mms.PatchOp
	if err := mms.ReadPayload(w, r, &ops); err != nil {
		return err
	}
	id := c.Vars["id"]
	name, version, ok := parseModelID(id)
	if !ok {
		return missingModel(id, store.ErrNotFound)
	}
	m, _, err := store.Update(r.Context(), s.cfg.Store, modelKey(c.Workspace, name, version), func(m *model, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		rest, line, err := m.lineage.patch(ops)
		if err != nil {
			return err
		}
		e, err := m.Entry.Patch(rest)
		e.Modified = s.cfg.Clock.Now()
		m.Entry, m.lineage = e, line
		return err
	})
	if err != nil {
		return missingModel(id, err)
	}
	plane.WriteJSON(w, http.StatusOK, m.wire())
	return nil
}

func (s *Service) deleteModel(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, version, ok := parseModelID(c.Vars["id"])
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return s.deleteEntry(w, r, modelKey(c.Workspace, name, version))
}
