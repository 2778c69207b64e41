// Package aml is Microsoft.MachineLearningServices: the workspace and its
// compute targets as ARM types, and the data plane that hangs off a workspace
// (run history, execution, artifacts, snapshots, datastores, models).
//
// It drives a compute target only through that target's own public protocol:
// ARM for the machine that DsvmCompute.create asks for, for clusters, and for
// runs on them and on container instances; SSH for the runs on machines. So it
// imports no fake and no engine, and a target can be swapped for a real one.
//
// The wire is that of azureml-core 0.1.68 (api-version 2018-03-01-preview) and
// of the last SDK v1, 1.61: what differs in the control plane is rows of
// versions.go, what 1.61 asks of the data plane is routes beside those of 2018
// over the same records, so that each reads what the other wrote.
//
// Models are deployed by package serving, as container groups.
//
// It is not AML in full: HyperDrive, pipelines and AutoML answer as not supported.
package aml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/aml/serving"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Namespace of the resource provider.
const Namespace = "Microsoft.MachineLearningServices"

// Config of a Service.
type Config struct {
	Store  *store.Store
	Clock  clock.Clock
	Logger *slog.Logger
	Blob   *blob.Service
	// Dir is where the run service keeps what it has to unpack.
	Dir string
	// Tenant is the directory of the identities that workspaces get.
	Tenant string
	// Issue and Verify are the authority's.
	Issue  func(ctx context.Context, c aad.Claims) (string, error)
	Verify func(ctx context.Context, token string, audiences ...string) (aad.Claims, error)
	// ARM reaches the resource manager that makes the machines of created
	// computes, and ARMToken gives the bearer token for it.
	ARM      http.RoundTripper
	ARMToken func(ctx context.Context) (string, error)
	// Web reaches what Azure's public names and addresses lead to: deployed services among it.
	Web http.RoundTripper
	// Dial connects to the SSH servers of computes; nil: over the host's network.
	Dial execution.Dialer
	// ProxyURL is the CONNECT proxy through which a run reaches the emulator,
	// and BundleFile the PEM file that it has to trust.
	ProxyURL   func() string
	BundleFile string
	// StandIn names the image that stands for a base image which a machine does not have; nil: none does.
	StandIn func(image string) (standIn string, ok bool)
	// Spark is the SPARK_HOME of machines that share this host's files and have no other; nil or empty: none.
	Spark func() string
}

// Service is all of Azure Machine Learning.
type Service struct {
	cfg       Config
	log       *slog.Logger
	mux       *plane.Mux
	history   *history.Service
	assets    *assets.Service
	execution *execution.Service
	serving   *serving.Service
	// engine is set by Open: the engine needs Provider first.
	engine atomic.Pointer[arm.Engine]
}

// New makes the service; Open starts it.
func New(cfg Config) (*Service, error) {
	s := &Service{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.assets, err = assets.New(assets.Config{Store: cfg.Store, Clock: cfg.Clock, Logger: s.log, Blob: cfg.Blob, TempDir: filepath.Join(cfg.Dir, "uploads")}); err != nil {
		return nil, err
	}
	if s.history, err = history.New(history.Config{Store: cfg.Store, Clock: cfg.Clock, Logger: s.log,
		Issue: cfg.Issue, LogFiles: s.assets.LogFiles}); err != nil {
		return nil, err
	}
	if s.execution, err = execution.New(execution.Config{Store: cfg.Store, Clock: cfg.Clock, Logger: s.log, Dir: filepath.Join(cfg.Dir, "projects"),
		Runs: s.history, Assets: s.assets, Computes: s, ARM: armCaller{s}, Web: cfg.Web, Dial: cfg.Dial, ProxyURL: cfg.ProxyURL, BundleFile: cfg.BundleFile, StandIn: cfg.StandIn, Spark: cfg.Spark, Endpoint: func(ws plane.Workspace) string { return experimentsURL(ws.Location) }}); err != nil {
		return nil, err
	}
	if s.serving, err = serving.New(serving.Config{Store: cfg.Store, Clock: cfg.Clock, Logger: s.log, Blob: cfg.Blob, Assets: s.assets, ARM: armCaller{s}, Web: cfg.Web}); err != nil {
		return nil, err
	}
	s.mux = plane.NewMux(plane.Config{Clock: cfg.Clock, Verify: cfg.Verify, Find: s.workspace}, s.log)
	s.history.Register(s.mux)
	s.assets.Register(s.mux)
	s.execution.Register(s.mux)
	s.serving.Register(s.mux)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		s.mux.Handle(method, "hyperdrive/v1.0/{WS}/{path...}", refuseHyperDrive)
	}
	return s, nil
}

// Open takes up the runs that were under way, on the engine that holds the workspaces.
func (s *Service) Open(ctx context.Context, engine *arm.Engine) error {
	s.engine.Store(engine)
	if err := s.history.Open(ctx); err != nil {
		return err
	}
	if err := s.execution.Open(ctx); err != nil {
		return err
	}
	return s.serving.Open(ctx)
}

// Close lets go of the runs and of the deployments; they are taken up again by the next Open.
func (s *Service) Close(ctx context.Context) error {
	return errors.Join(s.serving.Close(ctx), s.execution.Close(ctx), s.history.Close(ctx))
}

// ServeHTTP answers the data plane's host names: {region}.experiments.azureml.net,
// {region}.modelmanagement.azureml.net, the discovery document, and the
// workspace's control plane where SDK 1.x reads it.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.serveDiscovery(w, r) || s.serveControl(w, r) {
		return
	}
	s.mux.ServeHTTP(w, r)
}

// refuseHyperDrive answers whatever is asked of HyperDrive.
func refuseHyperDrive(http.ResponseWriter, *http.Request, *plane.Call) error {
	return &plane.Error{Status: http.StatusBadRequest, Code: "UserError", Inner: "NotSupported",
		Message: "HyperDrive is not emulated: submit the runs of a hyperparameter search one by one."}
}

// ServiceAddress is the address of the web service whose SSL name this is; empty if there is none.
func (s *Service) ServiceAddress(ctx context.Context, name string) (string, error) {
	return s.serving.Address(ctx, name)
}

// workspace implements plane.Config.Find.
func (s *Service) workspace(ctx context.Context, scope plane.Scope) (plane.Workspace, error) {
	id, err := arm.ParseID(scope.ID())
	if err != nil {
		return plane.Workspace{}, plane.NotFound("Workspace not found. %s", err)
	}
	r, err := s.engine.Load().Get(ctx, id)
	if err != nil {
		var e *arm.Error
		if errors.As(err, &e) && e.Status == http.StatusNotFound {
			return plane.Workspace{}, plane.NotFound("Workspace '%s' was not found in resource group '%s'.", scope.Workspace, scope.ResourceGroup)
		}
		return plane.Workspace{}, err
	}
	return workspaceOf(r)
}

// workspaceOf reads what the data plane needs out of the ARM resource.
func workspaceOf(r *arm.Resource) (plane.Workspace, error) {
	var p workspaceProperties
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return plane.Workspace{}, fmt.Errorf("aml: workspace %s: %w", r.ID, err)
	}
	account := ""
	if id, err := arm.ParseID(p.StorageAccount); err == nil {
		account = id.Name()
	}
	return plane.Workspace{
		Scope:          plane.Scope{Subscription: r.ID.Subscription(), ResourceGroup: r.ID.ResourceGroup(), Workspace: r.ID.Name()},
		GUID:           p.WorkspaceID,
		Location:       r.Location,
		StorageAccount: account,
	}, nil
}

// Provider declares the resource types to the ARM engine.
func (s *Service) Provider() arm.Provider {
	return arm.Provider{Namespace: Namespace, Types: []arm.Type{s.workspaceType(), s.computeType()}, Registered: true}
}
