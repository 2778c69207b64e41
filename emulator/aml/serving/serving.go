// Package serving is the half of model management that deploys: images, web
// services on Azure Container Instances, and their operations, as azureml-core
// 0.1.68 (api, 2018-03-01-preview) and SDK 1.61 (modelmanagement/v1.0) call it.
//
// An image is really built: a container group made for it takes in the driver,
// its files and the models, makes the environment by the control scripts that
// runs have theirs from, and keeps both as archives in the workspace's storage;
// what it printed is the build log, and how it ended is the image's state. A
// service is a container group that fetches them and becomes a scoring server
// (image/*.py). Both are ordered of the resource manager, which could be a real
// one, and are in the workspace's resource group, where their owner sees them.
// Secrets reach a container as secure variables alone.
//
// Every operation is a record that is taken up again by the next Open, and
// whose steps may be repeated. A service's state is what its group's is.
//
// It is not all of it: there is no registry to pull an image from and no Docker
// build, so steps of a Dockerfile, Spark and CUDA are refused; nor are there
// AKS, IoT, profiles and packages.
package serving

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service. Store, Blob, Assets, ARM and Web must be set.
type Config struct {
	Store  *store.Store
	Clock  clock.Clock  // nil: the real one
	Logger *slog.Logger // nil: silent
	Blob   Blobs
	Assets Assets
	// ARM is the resource manager that makes the container groups.
	ARM execution.ARM
	// Web reaches what Azure's public names and addresses lead to.
	Web http.RoundTripper
	// Poll is how often a container group that is under way is looked at; 0: half a second.
	Poll time.Duration
	// Patience is how long a build or a deployment may take; 0: an hour.
	Patience time.Duration
	// Rand makes keys; nil: crypto/rand.
	Rand io.Reader
}

// Blobs is what this package asks of storage.
type Blobs interface {
	EnsureContainer(ctx context.Context, account, container string) error
	SAS(ctx context.Context, account, container, name, permissions string, expiry time.Time) (string, error)
	Put(ctx context.Context, account, container, name, contentType string, r io.Reader) (blob.Properties, error)
	Open(ctx context.Context, account, container, name string) (io.ReadSeekCloser, blob.Properties, error)
	List(ctx context.Context, account, container, prefix, after string, limit int) ([]blob.Properties, string, error)
	Delete(ctx context.Context, account, container, name string) error
}

// Assets is what this package needs of the workspace's files and models.
type Assets interface {
	Model(ctx context.Context, ws plane.Workspace, id string) (assets.Model, error)
	ModelFiles(ctx context.Context, ws plane.Workspace, id string, expiry time.Time) ([]assets.File, error)
	ArtifactURL(ctx context.Context, ws plane.Workspace, id string, expiry time.Time) (string, error)
	ReadArtifact(ctx context.Context, ws plane.Workspace, id string, limit int64) ([]byte, error)
}

// Service is images and web services of all workspaces.
type Service struct {
	cfg  Config
	log  *slog.Logger
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	working map[string]*worker // by operation's key
	open    bool
}

// New makes the service; it starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Blob == nil || cfg.Assets == nil || cfg.ARM == nil || cfg.Web == nil {
		return nil, errors.New("serving: Store, Blob, Assets, ARM and Web must be set")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Poll == 0 {
		cfg.Poll = 500 * time.Millisecond
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Hour
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Service{cfg: cfg, log: cfg.Logger, working: map[string]*worker{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Open takes up every operation and every deletion that an earlier process left unfinished.
func (s *Service) Open(ctx context.Context) error {
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	docs, err := s.cfg.Store.List(ctx, root, "", 0)
	if err != nil {
		return err
	}
	for _, d := range docs {
		switch kindOf(d.Key) {
		case kindOperation:
			op, err := store.Decode[operation](d)
			if err != nil {
				return err
			}
			if !terminal(op.State) {
				s.work(d.Key)
			}
		case kindService:
			v, err := store.Decode[service](d)
			if err != nil {
				return err
			}
			if v.Deleting {
				s.wg.Go(func() {
					if err := s.remove(s.ctx, v); err != nil && s.ctx.Err() == nil {
						s.log.Error("serving: a service could not be removed", "service", v.Name, "err", err)
					}
				})
			}
		}
	}
	return nil
}

// Close lets go of the operations; they are taken up again by the next Open.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.open = false
	s.mu.Unlock()
	s.stop()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Register adds the routes of images, services and operations.
func (s *Service) Register(m *plane.Mux) {
	mms.Handle(m, http.MethodPost, "/images", s.createImage)
	mms.Handle(m, http.MethodGet, "/images", s.listImages)
	mms.Handle(m, http.MethodGet, "/images/{id}", s.getImage)
	mms.Handle(m, http.MethodPatch, "/images/{id}", s.patchImage)
	mms.Handle(m, http.MethodDelete, "/images/{id}", s.deleteImage)
	mms.Handle(m, http.MethodPost, "/services", s.createService)
	mms.Handle(m, http.MethodGet, "/services", s.listServices)
	mms.Handle(m, http.MethodGet, "/services/{name}", s.getService)
	mms.Handle(m, http.MethodPatch, "/services/{name}", s.patchService)
	mms.Handle(m, http.MethodDelete, "/services/{name}", s.deleteService)
	mms.Handle(m, http.MethodGet, "/services/{name}/logs", s.serviceLogs)
	mms.Handle(m, http.MethodPost, "/services/{name}/listkeys", s.listKeys)
	mms.Handle(m, http.MethodPost, "/services/{name}/regenerateKeys", s.regenerateKeys)
	mms.Handle(m, http.MethodPost, "/services/validate", s.validate)
	mms.Handle(m, http.MethodPost, "/services/validate/resource", s.validateResource)
	mms.Handle(m, http.MethodPost, "/services/validate/name/{name}", s.validateName)
	mms.Handle(m, http.MethodGet, "/operations/{id}", s.getOperation)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, part := range []string{"/profiles", "/packages", "/environments", "/services/{name}/token", "/images/{id}/profiles"} {
			mms.Handle(m, method, part, unsupported)
			mms.Handle(m, method, part+"/{rest...}", unsupported)
		}
	}
}

// unsupported answers with a status that no client repeats and that no client takes for "free to create".
func unsupported(_ http.ResponseWriter, r *http.Request, _ *plane.Call) error {
	return mms.Fault(http.StatusBadRequest, "NotSupported", "", "Profiles, packages, environments and tokens of model management are not emulated here (%s).", r.URL.Path)
}

// DeleteWorkspace ends what is under way, removes the services' groups and drops the records; the blobs stay with the storage account.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error {
	docs, err := s.cfg.Store.List(ctx, key(ws, kindOperation, ""), "", 0)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.cancel(ctx, d.Key); err != nil {
			return err
		}
	}
	services, err := store.ReadAll[service](ctx, s.cfg.Store, key(ws, kindService, ""))
	if err != nil {
		return err
	}
	for _, v := range services {
		if err := s.remove(ctx, v); err != nil {
			return err
		}
	}
	prefix := root + strings.ToLower(ws.GUID) + "/"
	if docs, err = s.cfg.Store.List(ctx, prefix, "", 0); err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.cfg.Store.Delete(ctx, d.Key, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Kinds of records.
const (
	root           = "serving/"
	kindImage      = "image"
	kindVersion    = "imageversion"
	kindService    = "service"
	kindOperation  = "operation"
	imageContainer = "azureml-images" // blob container of the workspace's storage account
)

// key of a record: "serving/{workspace GUID}/{kind}/{name}".
func key(ws plane.Workspace, kind, name string) string {
	return root + strings.ToLower(ws.GUID) + "/" + kind + "/" + name
}

func kindOf(k string) string {
	parts := strings.SplitN(strings.TrimPrefix(k, root), "/", 3)
	if len(parts) < 3 {
		return ""
	}
	return parts[1]
}
