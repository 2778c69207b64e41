// Package execution is the run service: it takes a submitted script, makes
// the run in history, and has it run on its target.
//
// A local run is answered with a zip of control scripts that the SDK starts
// on its own machine. A run on a machine reached over SSH is uploaded there
// with the same scripts, started detached from the connection, and followed;
// a remote port forward lets it reach this emulator from wherever it is.
// A run on Batch AI or Azure Container Instances is ordered from the resource
// manager, as a job of the cluster or a container group of its own, and fetches
// project and scripts from the workspace's storage account by a signed URL.
// What a run is said to have done is what its control script saw. Every remote
// run is a record in the store, taken up again by the next Open.
//
// It is not run history (package history keeps states) and knows nothing of
// what a target is made of: real or emulated, it is an address with SSH, or ARM.
// The data plane mirrored is execution/v1.0 as azureml-core 0.1.68 and 1.61 speak it.
package execution

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service. Store, Runs and Assets must be set.
type Config struct {
	Store    *store.Store
	Clock    clock.Clock
	Logger   *slog.Logger
	Runs     Runs
	Assets   Assets
	Computes Computes
	// ARM orders the runs on Batch AI and Azure Container Instances; nil: there are none.
	ARM ARM
	// Web reaches what Azure's public names lead to, storage among it; nil: the host's network.
	Web http.RoundTripper
	// Dial connects to the machines that runs are on; nil: over the host's network.
	Dial Dialer
	// Poll is how often what was ordered is asked how far it is; 0: twice a second.
	Poll time.Duration
	// Dir keeps the projects of remote runs until they are on their machine; empty: a temporary folder.
	Dir string
	// ProxyURL is the emulator's CONNECT proxy ("http://127.0.0.1:8080"), through
	// which runs reach Azure's names. Nil or empty: they are reached directly.
	ProxyURL func() string
	// BundleFile is the PEM file that runs check certificates with; empty: their machine's own.
	BundleFile string
	// Endpoint is the workspace's history URL as a remote run must use it; nil: as the client that submitted it did.
	Endpoint func(ws plane.Workspace) string
	// StandIn names the image that a machine takes for a base image which it does
	// not have (the SDK's own can't be had everywhere); nil: none stands in for another.
	StandIn func(image string) (standIn string, ok bool)
	// Spark is the SPARK_HOME that runs of PySpark take on machines which have none
	// of their own and that folder; nil or empty: none.
	Spark func() string
	// RunsPerTarget bounds how many runs one machine has at a time, the others are Queued; 0: no bound.
	RunsPerTarget int
	// GiveUp is how long a run and its machine go on without each other or the
	// emulator before they give up; 0: ten minutes.
	GiveUp time.Duration
	// Rand makes run ids and keys; nil: crypto/rand.
	Rand io.Reader
}

// Runs is what this package needs of run history.
type Runs interface {
	Create(ctx context.Context, ws plane.Workspace, n history.NewRun) (*history.Run, error)
	Get(ctx context.Context, ws plane.Workspace, runID string) (*history.Run, error)
	SetStatus(ctx context.Context, ws plane.Workspace, runID, status string, failure *history.RunError) (changed bool, err error)
	AddWarning(ctx context.Context, ws plane.Workspace, runID string, w history.Warning) error
	Token(ctx context.Context, ws plane.Workspace, runID string) (plane.Token, error)
	Ended() (events <-chan history.Change, stop func())
}

// Computes finds the compute targets of a workspace.
type Computes interface {
	// Find returns a compute by name, in any case; a *plane.Error 404 if there is none.
	Find(ctx context.Context, ws plane.Workspace, name string) (Compute, error)
}

// Compute is an attached or created compute target, with its secrets.
type Compute struct {
	Name string
	// Type is ARM's computeType: VirtualMachine, DSVM, BatchAI, HDInsight ...
	Type string
	// Generation differs between two computes of the same name, one made after
	// the other was gone: the host key of the first is not expected of the second.
	Generation string
	State      string // provisioningState
	// ResourceID is the ARM id of what the compute stands on: a Batch AI cluster.
	ResourceID string
	SSHTarget
}

// SSHTarget is where and as whom to log in.
type SSHTarget struct {
	Address    string // host or host:port
	SSHPort    int    // 0: of Address, or 22
	Username   string
	Password   string
	PrivateKey string // PEM
	Passphrase string
}

// Service is the run service of all workspaces.
type Service struct {
	cfg     Config
	log     *slog.Logger
	ssh     *sshDriver
	drivers map[kind]Driver
	slots   *slots

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	running map[string]*supervisor // by record key
	tempDir bool
}

// New makes the service; it starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Runs == nil || cfg.Assets == nil {
		return nil, errors.New("execution: Store, Runs and Assets must be set")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ProxyURL == nil {
		cfg.ProxyURL = func() string { return "" }
	}
	if cfg.GiveUp == 0 {
		cfg.GiveUp = 10 * time.Minute
	}
	if cfg.Poll == 0 {
		cfg.Poll = 500 * time.Millisecond
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Web == nil {
		cfg.Web = http.DefaultTransport
	}
	s := &Service{cfg: cfg, log: cfg.Logger, running: map[string]*supervisor{}, slots: newSlots(cfg.RunsPerTarget)}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "lazulite-execution-")
		if err != nil {
			return nil, fmt.Errorf("execution: %w", err)
		}
		s.cfg.Dir, s.tempDir = dir, true
	} else if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("execution: %w", err)
	}
	s.ssh = newSSHDriver(s.cfg.Store, s.cfg.Clock, s.log, s.cfg.ProxyURL, s.cfg.Dial)
	s.drivers = map[kind]Driver{overSSH: s.ssh}
	if cfg.ARM != nil {
		s.drivers[onBatchAI] = s.newOrderDriver(&batchAI{cfg.ARM, cfg.Web})
		s.drivers[onContainerInstance] = s.newOrderDriver(&containerGroups{cfg.ARM})
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

func (s *Service) newOrderDriver(o orders) Driver {
	return &orderDriver{orders: o, assets: s.cfg.Assets, clock: s.cfg.Clock, log: s.log, poll: s.cfg.Poll}
}

// driverOf is the driver of a target that resolve found.
func (s *Service) driverOf(t target) Driver { return s.drivers[t.kind] }

// Open takes up every remote run that an earlier process left unfinished.
func (s *Service) Open(ctx context.Context) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	changes, stop := s.cfg.Runs.Ended()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		s.followCancels(changes, stop)
	}()
	return nil
}

// Close lets go of the machines; their runs go on, and the next Open takes them up again.
func (s *Service) Close(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.tempDir {
		return os.RemoveAll(s.cfg.Dir)
	}
	return nil
}

// Register adds the routes of execution/v1.0.
func (s *Service) Register(m *plane.Mux) {
	const base = "execution/v1.0/{WS}/experiments/{experiment}/"
	m.Handle("POST", base+"localrun", s.localRun(false))
	m.Handle("POST", base+"localprepare", s.localRun(true))
	m.Handle("POST", base+"run", s.remoteRun(fromZip, false))
	m.Handle("POST", base+"startrun", s.remoteRun(fromZip, false)) // SDK 1.x
	m.Handle("POST", base+"snapshotrun", s.remoteRun(fromSnapshot, false))
	m.Handle("POST", base+"prepare", s.remoteRun(fromZip, true))
	m.Handle("POST", base+"snapshotprepare", s.remoteRun(fromSnapshot, true))
	m.Handle("POST", base+"checkprepare", s.checkPrepare(fromZip))
	m.Handle("POST", base+"snapshotcheckprepare", s.checkPrepare(fromSnapshot))
	m.Handle("POST", base+"cancel", s.cancelRun)
	m.Handle("POST", base+"clean", s.clean)
	m.Handle("POST", base+"diagnostics", s.diagnostics)
	// 0.1.68 asks below an experiment, other clients of the workspace itself.
	m.Handle("POST", base+"getorcreateworkspacesshkey", s.workspaceKey)
	m.Handle("POST", "execution/v1.0/{WS}/getorcreateworkspacesshkey", s.workspaceKey)
}

// DeleteWorkspace ends the workspace's remote runs and drops its keys.
func (s *Service) DeleteWorkspace(ctx context.Context, ws plane.Workspace) error {
	docs, err := s.cfg.Store.List(ctx, recordPrefix+ws.GUID+"/", "", 0)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.requestCancel(ctx, d.Key); err != nil {
			return err
		}
	}
	for _, prefix := range []string{hostKeyPrefix, workspaceKeyPrefix} {
		docs, err := s.cfg.Store.List(ctx, prefix+ws.GUID, "", 0)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := s.cfg.Store.Delete(ctx, d.Key, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

func (s *Service) projectFile(key string) string {
	return filepath.Join(s.cfg.Dir, filepath.FromSlash(key[len(recordPrefix):])+".zip")
}
