package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// image is the record of one version of an image.
type image struct {
	mms.Entry
	imageRequest
	State       string     `json:"state"`
	Error       *mms.Error `json:"error,omitempty"`
	OperationID string     `json:"operationId"`
	// Environment is of an image that comes of SDK 1.x's environment, as it was sent; such an image belongs to its service.
	Environment json.RawMessage `json:"environment,omitempty"`
	// Built is where content and environment are, once they are.
	Built *built `json:"built,omitempty"`
}

// built is what a build left in the blob container.
type built struct {
	Environment  string          `json:"environment"` // blob of the environment
	Folder       string          `json:"folder"`      // where it was made
	Dependencies json.RawMessage `json:"dependencies"`
}

// imageVersion counts an image's versions; a version that was deleted does not come again.
type imageVersion struct {
	Last int64 `json:"last"`
}

// imageDto is DockerImageResponse of modelManagement.json, 2019-08-01. The SDKs want every key to be there.
type imageDto struct {
	ID               string         `json:"id"`
	Name             string         `json:"name"`
	Version          int64          `json:"version"`
	Description      *string        `json:"description"`
	KvTags           mms.StringMap  `json:"kvTags"`
	Properties       mms.StringMap  `json:"properties"`
	CreatedTime      string         `json:"createdTime"`
	ModifiedTime     string         `json:"modifiedTime"`
	CreationState    string         `json:"creationState"`
	Error            *mms.Error     `json:"error,omitempty"`
	ModelIDs         []string       `json:"modelIds"`
	ModelDetails     []any          `json:"modelDetails"`
	ImageLocation    *string        `json:"imageLocation"`
	ImageBuildLogURI string         `json:"imageBuildLogUri"`
	ImageType        string         `json:"imageType"`
	ImageFlavor      string         `json:"imageFlavor"`
	OperationID      string         `json:"operationId"`
	DriverProgram    string         `json:"driverProgram"`
	Assets           []imageAsset   `json:"assets"`
	TargetRuntime    *targetRuntime `json:"targetRuntime"`
	DockerFileURI    *string        `json:"dockerFileUri"`
	// What SDK 1.x asks for beyond it.
	GeneratedDockerfileURI *string `json:"generatedDockerfileUri"`
	BaseImage              *string `json:"baseImage"`
}

func imageKey(ws plane.Workspace, id string) string {
	name, version, _ := strings.Cut(id, ":")
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != version {
		return key(ws, kindImage, id)
	}
	return versionKey(ws, name, n)
}

// versionKey sorts the versions of a name by their number.
func versionKey(ws plane.Workspace, name string, version int64) string {
	digits := strconv.FormatInt(version, 10)
	return key(ws, kindImage, name+"/"+strings.Repeat("0", 19-len(digits))+digits)
}

func missingImage(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusNotFound, "ImageNotFound", "id", "The image with id '%s' was not found.", id)
	}
	return err
}

// wire is the image as clients see it.
func (s *Service) imageWire(ctx context.Context, ws plane.Workspace, i image) (imageDto, error) {
	out := imageDto{ID: i.ID, Name: i.Name, Version: i.Version, Description: i.Description, KvTags: i.KvTags.Clone(), Properties: i.Properties.Clone(),
		CreatedTime: plane.WireTime(i.Created), ModifiedTime: plane.WireTime(i.Modified), CreationState: i.State, Error: i.Error,
		ModelIDs: append([]string{}, i.ModelIDs...), ModelDetails: []any{}, ImageType: "Docker", ImageFlavor: "WebApiContainer",
		OperationID: i.OperationID, DriverProgram: i.DriverProgram, Assets: append([]imageAsset{}, i.Assets...), TargetRuntime: i.TargetRuntime}
	if out.TargetRuntime == nil {
		out.TargetRuntime = &targetRuntime{RuntimeType: "Python", Properties: map[string]any{}}
	}
	if i.Built != nil {
		location := location(ws, i.ID)
		out.ImageLocation = &location
	}
	for _, id := range i.ModelIDs {
		m, err := s.cfg.Assets.Model(ctx, ws, id)
		var e *plane.Error
		switch {
		case err == nil:
			out.ModelDetails = append(out.ModelDetails, m.Wire)
		case errors.As(err, &e): // It was deleted since: the image keeps its files.
		default:
			return out, err
		}
	}
	var err error
	out.ImageBuildLogURI, err = s.logURL(ctx, ws, i.ID)
	return out, err
}

// location is the image's name in the workspace's registry. There is none behind it: it is what the image is called.
func location(ws plane.Workspace, id string) string {
	return strings.ToLower(strings.ReplaceAll(ws.Workspace, "-", "")+"acr") + ".azurecr.io/" + id
}

func (s *Service) createImage(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Name        string        `json:"name"`
		Description *string       `json:"description"`
		KvTags      mms.StringMap `json:"kvTags"`
		Properties  mms.StringMap `json:"properties"`
		imageRequest
	}
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	if !validName(in.Name, imageNames) {
		return mms.Fault(http.StatusBadRequest, "InvalidImageName", "name", "The image name '%s' is not valid: it must be of 3 to 32 lowercase letters, digits, dashes and periods, with a letter or digit at either end.", in.Name)
	}
	if in.TargetRuntime == nil {
		return mms.Fault(http.StatusBadRequest, "MissingField", "targetRuntime", "The image's 'targetRuntime' is missing.")
	}
	if err := s.checkImage(r.Context(), c.Workspace, &in.imageRequest); err != nil {
		return err
	}
	_, op, err := s.addImage(r.Context(), c.Workspace, image{imageRequest: in.imageRequest,
		Entry: mms.Entry{Name: in.Name, Description: in.Description, KvTags: in.KvTags, Properties: in.Properties}}, "", nil)
	if err != nil {
		return err
	}
	return accepted(w, c, op, nil)
}

// addImage takes the next version and stores the image under it with the operation that builds it, and deploys service after it if that has a name.
// The write that more makes of it goes with them; then a conflict is the caller's, for it may be of that.
func (s *Service) addImage(ctx context.Context, ws plane.Workspace, i image, service string, more func(image, operation) (store.Op, error)) (image, operation, error) {
	k := key(ws, kindVersion, i.Name)
	for {
		v, rev, err := store.Read[imageVersion](ctx, s.cfg.Store, k)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return i, operation{}, err
		}
		v.Last++
		i.Version, i.ID = v.Last, i.Name+":"+strconv.FormatInt(v.Last, 10)
		i.Created = s.cfg.Clock.Now()
		i.Modified, i.State = i.Created, notStarted
		op := newOperation(ws, i.Created, buildImage)
		op.Image = i.ID
		if service != "" {
			op.Name, op.Steps = service, append(op.Steps, deployService)
		}
		i.OperationID = op.ID
		count, err := store.PutOp(k, v, rev)
		if err != nil {
			return i, op, err
		}
		put, err := store.PutOp(imageKey(ws, i.ID), i, store.Absent)
		if err != nil {
			return i, op, err
		}
		order, err := store.PutOp(op.key(), op, store.Absent)
		if err != nil {
			return i, op, err
		}
		ops := []store.Op{count, put, order}
		if more != nil {
			with, err := more(i, op)
			if err != nil {
				return i, op, err
			}
			ops = append(ops, with)
		}
		_, err = s.cfg.Store.Batch(ctx, ops)
		if err == nil {
			s.work(op.key())
		}
		if !errors.Is(err, store.ErrConflict) || more != nil {
			return i, op, err
		}
	}
}

func (s *Service) listImages(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	l, err := mms.ParseList(r, c)
	if err != nil {
		return err
	}
	prefix := key(c.Workspace, kindImage, "")
	if l.Name != "" {
		prefix += l.Name + "/"
	}
	all, err := store.ReadAll[image](r.Context(), s.cfg.Store, prefix)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	all = slices.DeleteFunc(all, func(i image) bool {
		return i.Environment != nil || !i.ofModel(mms.QueryValues(q, "modelName"), mms.QueryValues(q, "modelId"))
	})
	var failure error
	out, err := mms.Paginate(l, all, func(i image) mms.Entry { return i.Entry }, func(i image) any {
		v, err := s.imageWire(r.Context(), c.Workspace, i)
		failure = errors.Join(failure, err)
		return v
	})
	if err := errors.Join(err, failure); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// ofModel reports whether a model of that name, and one of that id, is in the image; empty filters let all through.
func (i image) ofModel(name, id []string) bool {
	has := func(want []string, part func(string) string) bool {
		return len(want) == 0 || slices.ContainsFunc(i.ModelIDs, func(m string) bool { return part(m) == want[0] })
	}
	return has(id, func(m string) string { return m }) && has(name, func(m string) string { return m[:strings.LastIndexByte(m, ':')] })
}

func (s *Service) getImage(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	i, _, err := store.Read[image](r.Context(), s.cfg.Store, imageKey(c.Workspace, c.Vars["id"]))
	if err != nil {
		return missingImage(c.Vars["id"], err)
	}
	return s.answerImage(w, r, c, i)
}

func (s *Service) answerImage(w http.ResponseWriter, r *http.Request, c *plane.Call, i image) error {
	out, err := s.imageWire(r.Context(), c.Workspace, i)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) patchImage(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var ops []mms.PatchOp
	if err := mms.ReadPayload(w, r, &ops); err != nil {
		return err
	}
	i, _, err := store.Update(r.Context(), s.cfg.Store, imageKey(c.Workspace, c.Vars["id"]), func(i *image, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		e, err := i.Entry.Patch(ops)
		e.Modified = s.cfg.Clock.Now()
		i.Entry = e
		return err
	})
	if err != nil {
		return missingImage(c.Vars["id"], err)
	}
	return s.answerImage(w, r, c, i)
}

// deleteImage refuses while a service has the image, as the service did; what is being built is given up.
func (s *Service) deleteImage(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	ctx, id := r.Context(), c.Vars["id"]
	i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(c.Workspace, id))
	if errors.Is(err, store.ErrNotFound) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	services, err := store.ReadAll[service](ctx, s.cfg.Store, key(c.Workspace, kindService, ""))
	if err != nil {
		return err
	}
	for _, v := range services {
		if v.ImageID == id {
			return mms.Fault(http.StatusConflict, "ImageInUse", "id", "The image with id '%s' is used by the service '%s', and cannot be deleted.", id, v.Name)
		}
	}
	if err := s.dropImage(ctx, c.Workspace, i); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// dropImage removes an image and its content; the environment stays, for others are of the same dependencies.
func (s *Service) dropImage(ctx context.Context, ws plane.Workspace, i image) error {
	if err := s.cancel(ctx, key(ws, kindOperation, i.OperationID)); err != nil {
		return err
	}
	if err := s.cfg.Store.Delete(ctx, imageKey(ws, i.ID), store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for after := ""; ; {
		all, next, err := s.cfg.Blob.List(ctx, ws.StorageAccount, imageContainer, blobPrefix(i.ID), after, 1000)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range all {
			if err := s.cfg.Blob.Delete(ctx, ws.StorageAccount, imageContainer, p.Name); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// splitID is a model's or an image's name and version.
func splitID(id string) (string, int64) {
	k := strings.LastIndexByte(id, ':')
	version, err := strconv.ParseInt(id[k+1:], 10, 64)
	if k < 0 || err != nil {
		return id, 0
	}
	return id[:k], version
}
