package assets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// maxBatch is how many artifacts one batch may create.
const maxBatch = 500

// artifact is the record of one registered path.
type artifact struct {
	Created time.Time `json:"created"`
	// Next is the index that the next indexed append must have; nil before the first.
	Next *int64 `json:"next,omitempty"`
	// Pending is an indexed append that was begun.
	Pending *pendingAppend `json:"pending,omitempty"`
}

// artifactDto is Artifact of artifact.json, 2019-08-01.
type artifactDto struct {
	ArtifactID  string `json:"artifactId"`
	Origin      string `json:"origin"`
	Container   string `json:"container"`
	Path        string `json:"path"`
	ETag        string `json:"etag"`
	CreatedTime string `json:"createdTime"`
}

// contentInfoDto is ArtifactContentInformation of artifact.json, 2019-08-01.
type contentInfoDto struct {
	ContentURI string `json:"contentUri"`
	Origin     string `json:"origin"`
	Container  string `json:"container"`
	Path       string `json:"path"`
}

// page is a list that is answered whole: the SDK has no way to ask these lists for more.
type page[T any] struct {
	Value             []T     `json:"value"`
	ContinuationToken *string `json:"continuationToken"`
	Count             int     `json:"count"`
}

func wholePage[T any](v []T) page[T] {
	if v == nil {
		v = []T{}
	}
	return page[T]{Value: v, Count: len(v)}
}

// registerArtifacts adds v1.0 as SDK 0.1.68 calls it, v2.0 as SDK 1.x does, and
// v2.0 as the 2019-08-01 spec has it, with the path in the query.
func (s *Service) registerArtifacts(m *plane.Mux) {
	const one = "/{origin}/{container}/{path...}"
	for version, all := range map[string]string{"v1.0": "/origins/{origin}/containers/{container}", "v2.0": "/{origin}/{container}"} {
		base := "artifact/" + version + "/{WS}/artifacts"
		m.Handle(http.MethodPost, base+"/metadata", s.createArtifact)
		m.Handle(http.MethodGet, base+"/metadata"+one, s.getArtifact)
		m.Handle(http.MethodDelete, base+"/metadata"+one, s.deleteArtifact)
		m.Handle(http.MethodPost, base+"/batch/metadata/{origin}/{container}", s.batchCreate)
		m.Handle(http.MethodDelete, base+"/batch/{origin}/{container}", s.deleteContainer)
		m.Handle(http.MethodPost, base+"/batch/ingest/containersas/{origin}/{container}", s.ingest)
		m.Handle(http.MethodGet, base+all, pathInQuery(s.listArtifacts))
		m.Handle(http.MethodGet, base+all+"/{path...}", s.listArtifacts)
		m.Handle(http.MethodGet, base+"/prefix/contentinfo"+one, s.listContentInfo)
		m.Handle(http.MethodGet, base+"/contentinfo"+one, s.getContentInfo)
		m.Handle(http.MethodPost, base+"/content"+one, s.postContent)
		m.Handle(http.MethodGet, base+"/content"+one, s.getContent)
		m.Handle(http.MethodGet, base+"/write"+one, s.getWriteInfo)
	}
	const spec = "artifact/v2.0/{WS}/artifacts/{origin}/{container}"
	m.Handle(http.MethodGet, spec+"/metadata", pathInQuery(s.getArtifact))
	m.Handle(http.MethodDelete, spec+"/metadata", pathInQuery(s.deleteArtifact))
	m.Handle(http.MethodGet, spec+"/content", pathInQuery(s.getContent))
	m.Handle(http.MethodPost, spec+"/content", pathInQuery(s.postContent))
	m.Handle(http.MethodGet, spec+"/contentinfo", pathInQuery(s.getContentInfo))
	m.Handle(http.MethodGet, spec+"/write", pathInQuery(s.getWriteInfo))
	m.Handle(http.MethodGet, spec+"/prefix/contentinfo", pathInQuery(s.listContentInfo))
	m.Handle(http.MethodPost, spec+"/batch/ingest/containersas", s.ingest)
	m.Handle(http.MethodPost, spec+"/batch/metadata", s.batchCreate)
	m.Handle(http.MethodDelete, spec+"/batch", s.deleteContainer)
}

// pathInQuery takes the artifact's path from the query.
func pathInQuery(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		c.Vars["path"] = r.URL.Query().Get("path")
		return h(w, r, c)
	}
}

func artifactOf(c *plane.Call) (artifactName, error) {
	return parseArtifact(c.Vars["origin"], c.Vars["container"], c.Vars["path"])
}

func artifactKey(ws plane.Workspace, n artifactName) string { return key(ws, "artifact", n.ID()) }

func dto(n artifactName, a artifact, rev int64) artifactDto {
	return artifactDto{ArtifactID: n.ID(), Origin: n.Origin, Container: n.Container, Path: n.Path,
		ETag: `"` + strconv.FormatInt(rev, 16) + `"`, CreatedTime: plane.WireTime(a.Created)}
}

// register records the names that are new, all or none, and returns each as it now is.
func (s *Service) register(ctx context.Context, ws plane.Workspace, names []artifactName) ([]artifactDto, error) {
	for {
		out := make([]artifactDto, len(names))
		var ops []store.Op
		at := map[string]int{} // key -> position in ops
		pos := map[int]int{}   // position in out -> position in ops
		for i, n := range names {
			k := artifactKey(ws, n)
			if j, ok := at[k]; ok {
				pos[i] = j
				continue
			}
			a, rev, err := store.Read[artifact](ctx, s.cfg.Store, k)
			switch {
			case err == nil:
				out[i] = dto(n, a, rev)
			case errors.Is(err, store.ErrNotFound):
				at[k], pos[i] = len(ops), len(ops)
				ops = append(ops, store.Op{Key: k, Value: []byte(`{"created":"` + s.cfg.Clock.Now().Format(time.RFC3339Nano) + `"}`), If: store.Absent})
			default:
				return nil, err
			}
		}
		if len(ops) == 0 {
			return out, nil
		}
		docs, err := s.cfg.Store.Batch(ctx, ops)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i, j := range pos {
			a, err := store.Decode[artifact](docs[j])
			if err != nil {
				return nil, err
			}
			out[i] = dto(names[i], a, docs[j].Rev)
		}
		return out, nil
	}
}

func (s *Service) sas(ctx context.Context, ws plane.Workspace, container, name, permissions string) (string, error) {
	u, err := s.blobs.SAS(ctx, ws.StorageAccount, container, name, permissions, s.cfg.Clock.Now().Add(sasLife))
	return u, storageGone(ws, container, err)
}

// storageGone tells a client that writes or signs that the account or the
// container is not there any more; it would take a 500 for something that passes.
func storageGone(ws plane.Workspace, container string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The storage account '%s' of workspace '%s' or its container '%s' does not exist.", ws.StorageAccount, ws.Workspace, container)
	}
	return err
}

func (s *Service) contentInfo(ctx context.Context, ws plane.Workspace, n artifactName, permissions string) (contentInfoDto, error) {
	uri, err := s.sas(ctx, ws, artifactContainer, n.ID(), permissions)
	return contentInfoDto{ContentURI: uri, Origin: n.Origin, Container: n.Container, Path: n.Path}, err
}

// listing is one artifact that is both registered and uploaded.
type listing struct {
	name artifactName
	dto  artifactDto
}

// list joins the records of a container with its blobs: an artifact whose
// content never came is not a file that anyone could download. The prefix is
// empty, a file's path, or a folder's.
func (s *Service) list(ctx context.Context, ws plane.Workspace, in artifactName, prefix string) ([]listing, error) {
	scope := in.Origin + "/" + in.Container + "/"
	present := map[string]bool{}
	for after := ""; ; {
		props, next, err := s.blobs.List(ctx, ws.StorageAccount, artifactContainer, scope+prefix, after, 5000)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range props {
			present[p.Name] = true
		}
		if next == "" {
			break
		}
		after = next
	}
	docs, err := s.cfg.Store.List(ctx, key(ws, "artifact", scope+prefix), "", 0)
	if err != nil {
		return nil, err
	}
	var out []listing
	for _, d := range docs {
		n := in
		n.Path = strings.TrimPrefix(d.Key, key(ws, "artifact", scope))
		if !present[n.ID()] || prefix != "" && n.Path != prefix && !strings.HasPrefix(n.Path, prefix+"/") {
			continue
		}
		a, err := store.Decode[artifact](d)
		if err != nil {
			return nil, err
		}
		out = append(out, listing{n, dto(n, a, d.Rev)})
	}
	return out, nil
}

func (s *Service) createArtifact(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Origin    string `json:"origin"`
		Container string `json:"container"`
		Path      string `json:"path"`
	}
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if in.Container == "" {
		return plane.BadRequest("container", "The artifact's 'container' is missing.")
	}
	n, err := parseArtifact(in.Origin, in.Container, in.Path)
	if err != nil {
		return err
	}
	out, err := s.register(r.Context(), c.Workspace, []artifactName{n})
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out[0])
	return nil
}

// batchResult is BatchArtifactContentInformationResult of artifact.json, 2019-08-01.
type batchResult struct {
	Artifacts   map[string]artifactDto    `json:"artifacts"`
	ContentInfo map[string]contentInfoDto `json:"artifactContentInformation"`
	Errors      map[string]batchError     `json:"errors"`
}

// batchError is an ErrorResponse within an answer of 200.
type batchError struct {
	Error batchErrorRoot `json:"error"`
}

type batchErrorRoot struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Target  string `json:"target"`
}

func (s *Service) batchCreate(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	container, err := parseContainer(c.Vars["origin"], c.Vars["container"])
	if err != nil {
		return err
	}
	var in struct {
		Paths []struct {
			Path string `json:"path"`
		} `json:"paths"`
	}
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	switch {
	case len(in.Paths) == 0:
		return plane.BadRequest("paths", "The list 'paths' is missing or empty.")
	case len(in.Paths) > maxBatch:
		return plane.BadRequest("paths", "The list 'paths' has %d entries; one batch may hold %d.", len(in.Paths), maxBatch)
	}
	out := batchResult{map[string]artifactDto{}, map[string]contentInfoDto{}, map[string]batchError{}}
	names := make([]artifactName, len(in.Paths))
	for i, p := range in.Paths {
		names[i] = container
		target := fmt.Sprintf("paths[%d].path", i)
		names[i].Path, err = cleanPath(target, p.Path)
		if err == nil {
			err = checkID(target, names[i])
		}
		var e *plane.Error
		if errors.As(err, &e) {
			out.Errors[p.Path] = batchError{batchErrorRoot{Code: e.Code, Message: e.Message, Target: e.Target}}
		}
	}
	// The SDK shows its user the text of these errors, and of a 400 the status
	// alone; it then gives up the whole batch, so none of it is registered.
	if len(out.Errors) > 0 {
		plane.WriteJSON(w, http.StatusOK, out)
		return nil
	}
	dtos, err := s.register(r.Context(), c.Workspace, names)
	if err != nil {
		return err
	}
	for i, p := range in.Paths {
		// The SDK looks its answers up by the very string that it sent.
		out.Artifacts[p.Path] = dtos[i]
		if out.ContentInfo[p.Path], err = s.contentInfo(r.Context(), c.Workspace, names[i], "rcw"); err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) getArtifact(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	a, rev, err := store.Read[artifact](r.Context(), s.cfg.Store, artifactKey(c.Workspace, n))
	if err != nil {
		return missingArtifact(n, err)
	}
	plane.WriteJSON(w, http.StatusOK, dto(n, a, rev))
	return nil
}

// missingArtifact turns the store's not-found into the service's.
func missingArtifact(n artifactName, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The artifact '%s' was not found.", n.ID())
	}
	return err
}

func (s *Service) listArtifacts(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, prefix, err := containerOf(c)
	if err != nil {
		return err
	}
	found, err := s.list(r.Context(), c.Workspace, n, prefix)
	if err != nil {
		return err
	}
	out := make([]artifactDto, len(found))
	for i, l := range found {
		out[i] = l.dto
	}
	plane.WriteJSON(w, http.StatusOK, wholePage(out))
	return nil
}

// containerOf reads a container and the optional prefix below it.
func containerOf(c *plane.Call) (n artifactName, prefix string, err error) {
	if n, err = parseContainer(c.Vars["origin"], c.Vars["container"]); err != nil {
		return n, "", err
	}
	if p := strings.TrimSuffix(c.Vars["path"], "/"); p != "" && p != "." {
		prefix, err = cleanPath("path", p)
	}
	return n, prefix, err
}

func (s *Service) listContentInfo(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, prefix, err := containerOf(c)
	if err != nil {
		return err
	}
	found, err := s.list(r.Context(), c.Workspace, n, prefix)
	if err != nil {
		return err
	}
	out := make([]contentInfoDto, len(found))
	for i, l := range found {
		if out[i], err = s.contentInfo(r.Context(), c.Workspace, l.name, "r"); err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, wholePage(out))
	return nil
}

// getContentInfo answers 404 for a path whose content never came: the SDK
// then lists what there is, where Azure's URL would lead it to a bare 404 of storage.
func (s *Service) getContentInfo(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	if err := s.present(r.Context(), c.Workspace, n); err != nil {
		return missingArtifact(n, err)
	}
	out, err := s.contentInfo(r.Context(), c.Workspace, n, "r")
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// getWriteInfo registers an artifact and answers where its content goes.
func (s *Service) getWriteInfo(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	if _, err := s.register(r.Context(), c.Workspace, []artifactName{n}); err != nil {
		return err
	}
	out, err := s.contentInfo(r.Context(), c.Workspace, n, "rcw")
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// present returns store.ErrNotFound unless the artifact is registered and uploaded.
func (s *Service) present(ctx context.Context, ws plane.Workspace, n artifactName) error {
	if _, _, err := store.Read[artifact](ctx, s.cfg.Store, artifactKey(ws, n)); err != nil {
		return err
	}
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, artifactContainer, n.ID())
	if err != nil {
		return err
	}
	return f.Close()
}

// boolQuery reads a query parameter; absent is false.
func boolQuery(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		return false, plane.BadRequest(name, "The value '%s' of '%s' is not true or false.", v, name)
	}
	return b, nil
}

func (s *Service) deleteArtifact(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := artifactOf(c)
	if err != nil {
		return err
	}
	hard, err := boolQuery(r, "hardDelete")
	if err != nil {
		return err
	}
	defer s.locks.lock(artifactKey(c.Workspace, n))()
	if err := s.cfg.Store.Delete(r.Context(), artifactKey(c.Workspace, n), store.Any); err != nil {
		return missingArtifact(n, err)
	}
	if hard {
		if err := s.blobs.Delete(r.Context(), c.Workspace.StorageAccount, artifactContainer, n.ID()); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (s *Service) deleteContainer(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	n, err := parseContainer(c.Vars["origin"], c.Vars["container"])
	if err != nil {
		return err
	}
	hard, err := boolQuery(r, "hardDelete")
	if err != nil {
		return err
	}
	scope := key(c.Workspace, "artifact", n.ID())
	docs, err := s.cfg.Store.List(r.Context(), scope, "", 0)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.cfg.Store.Delete(r.Context(), d.Key, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if !hard {
			continue
		}
		id := n.ID() + strings.TrimPrefix(d.Key, scope)
		if err := s.blobs.Delete(r.Context(), c.Workspace.StorageAccount, artifactContainer, id); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// LogFiles returns the run's log artifacts (azureml-logs/, logs/) with URLs that need no header.
func (s *Service) LogFiles(ctx context.Context, ws plane.Workspace, runID string) (map[string]string, error) {
	in, err := parseContainer(originRun, runID)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, folder := range []string{"azureml-logs", "logs"} {
		found, err := s.list(ctx, ws, in, folder)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if out[l.name.Path], err = s.sas(ctx, ws, artifactContainer, l.name.ID(), "r"); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
