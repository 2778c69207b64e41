// Package emulator is lazulite as a library: a local Azure of October 2018 in
// which Azure Machine Learning's training really runs.
//
//	e, err := emulator.New(emulator.Config{})
//	err = e.Open(ctx)
//	defer e.Close(ctx)
//	env := e.Env() // what an unmodified client needs
//
// It is the composition root, the only package that knows all the fakes; what
// a request does is found in the packages below. The zero Config listens on a
// free loopback port and keeps its state in a temporary folder.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/front"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/store"
	"lazulite.dev/emulator/unkind"
	"lazulite.dev/fakes/aci"
	"lazulite.dev/fakes/batchai"
	"lazulite.dev/fakes/dsvm"
	"lazulite.dev/fakes/hdinsight"
)

// Config of an Emulator. Each field may be left zero.
type Config struct {
	// Listen is host:port of the one port that speaks everything; empty: 127.0.0.1 and a free port.
	Listen string
	// Also are more addresses to listen on, such as 127.0.0.1:443 for clients that find the names by DNS.
	Also []string
	// Dir keeps the state over restarts; empty: a temporary folder that Close removes.
	Dir string
	// Clock; nil: the real one.
	Clock clock.Clock
	// Seed of all randomness that a lifecycle has; zero: taken from the clock. It is logged.
	Seed int64
	// Lifecycle is fast, real or chaos; empty: fast.
	Lifecycle string
	// Engine that machines run on; nil: what MakeEngine makes, which gets the
	// data folder to keep its own in, or else processes of this host.
	Engine     engine.Engine
	MakeEngine func(dir string) (engine.Engine, error)
	// Hardware; nil: this host. Sizes that have GPUs start without where it has none free, and say so.
	Hardware *hardware.Host
	// Environment is NAME=value of what machines on the process engine have of
	// this host: PATH, PYENV_ROOT, PIP_* and the like. Empty: a plain PATH.
	Environment []string
	// StandIn names the image that a run in Docker takes for a base image which its
	// machine does not have; nil: none stands for another.
	StandIn func(image string) (standIn string, ok bool)
	// Faults is "" or "unkind", which tests clients: see package unkind.
	Faults string
	// Around, if set, is put around the resource manager: to watch its answers, or to spoil them.
	Around func(http.Handler) http.Handler
	// Spark is the folder that InstallSpark has filled, for HDInsight clusters and for
	// runs of PySpark on what shares this host's files, and SparkImage the image of
	// the clusters' nodes in containers, which has a Java.
	Spark, SparkImage string
	// Offline refuses to tunnel to hosts that are not emulated.
	Offline bool
	Logger  *slog.Logger
}

// Emulator is one instance.
type Emulator struct {
	cfg      Config
	log      *slog.Logger
	dir      string
	lock     *os.File
	identity Identity

	store      *store.Store
	authority  *aad.Authority
	blob       *blob.Service
	engine     engine.Engine
	vms        *dsvm.Fake
	containers *aci.Fake
	clusters   *batchai.Fake
	hadoop     *hdinsight.Fake
	aml        *aml.Service
	arm        *arm.Engine
	front      *front.Front
	// manager is arm with what Config.Around and Config.Faults put around it, learning aml with the latter.
	manager, learning http.Handler

	closeOnce sync.Once
	closeErr  error
	stop      chan struct{}
	stopOnce  sync.Once
}

// New makes an emulator; Open starts it. A Dir that another emulator has open is refused with ErrLocked.
func New(cfg Config) (*Emulator, error) {
	e := &Emulator{cfg: cfg, log: cfg.Logger, dir: cfg.Dir, stop: make(chan struct{})}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.cfg.Clock == nil {
		e.cfg.Clock = clock.Real()
	}
	if e.cfg.Listen == "" {
		e.cfg.Listen = "127.0.0.1:0"
	}
	if e.cfg.Lifecycle == "" {
		e.cfg.Lifecycle = "fast"
	}
	if e.cfg.Seed == 0 {
		e.cfg.Seed = e.cfg.Clock.Now().UnixNano()
	}
	if err := e.build(); err != nil {
		return nil, errors.Join(err, e.Close(context.Background()))
	}
	return e, nil
}

func (e *Emulator) build() error {
	var err error
	if e.dir == "" {
		if e.dir, err = os.MkdirTemp("", "lazulite-"); err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
	} else if err = os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	if e.lock, err = lockDir(e.dir); err != nil {
		return err
	}
	if e.identity, err = loadIdentity(filepath.Join(e.dir, "identity.json")); err != nil {
		return err
	}
	if e.store, err = store.Open(store.Config{Path: filepath.Join(e.dir, "state", "lazulite.db")}); err != nil {
		return err
	}
	cfg, id := e.cfg, e.identity
	if e.authority, err = aad.New(aad.Config{Store: e.store, Clock: cfg.Clock, Tenant: id.Tenant,
		Clients: map[string]string{id.ClientID: id.ClientSecret}, Logger: e.log}); err != nil {
		return err
	}
	if e.blob, err = blob.New(blob.Config{Store: e.store, Clock: cfg.Clock, Dir: filepath.Join(e.dir, "blobs"), Logger: e.log}); err != nil {
		return err
	}
	if e.front, err = front.New(front.Config{Listen: cfg.Listen, Also: cfg.Also, Dir: filepath.Join(e.dir, "tls"),
		Hosts: e.hosts(), Alias: e.alias, Offline: cfg.Offline, Logger: e.log}); err != nil {
		return err
	}
	switch {
	case cfg.Engine != nil:
		e.engine = cfg.Engine
	case cfg.MakeEngine != nil:
		made, err := cfg.MakeEngine(e.dir)
		if err != nil {
			return err
		}
		e.engine = made
	default:
		process, err := engine.NewProcess(engine.Config{Dir: filepath.Join(e.dir, "process"), Clock: cfg.Clock, Logger: e.log})
		if err != nil {
			return err
		}
		e.engine = process
	}
	if cfg.Hardware == nil {
		cfg.Hardware = hardware.New(hardware.Config{WithoutGPUs: true})
	}
	e.vms = dsvm.New(dsvm.Config{Engine: e.engine, Clock: cfg.Clock, Dir: filepath.Join(e.dir, "machines"),
		Rand: rand.New(rand.NewPCG(uint64(cfg.Seed), 0)), Lifecycle: cfg.Lifecycle, Hardware: cfg.Hardware, Environment: cfg.Environment,
		Network: e.network, Transport: e.front.Reach(), KeepLog: e.keepLog, SignLog: e.signLog, Logger: e.log})
	e.clusters = e.newClusters(cfg.Hardware)
	e.containers = aci.New(aci.Config{Engine: e.engine, Clock: cfg.Clock, Dir: filepath.Join(e.dir, "containers"),
		Rand: rand.New(rand.NewPCG(uint64(cfg.Seed), 1)), Hardware: cfg.Hardware, Network: e.network, Share: e.groupShare, Environment: cfg.Environment, Tenant: id.Tenant, Logger: e.log})
	e.hadoop = hdinsight.New(hdinsight.Config{Engine: e.engine, Clock: cfg.Clock, Dir: filepath.Join(e.dir, "hadoop"),
		Rand: rand.New(rand.NewPCG(uint64(cfg.Seed), 2)), Lifecycle: cfg.Lifecycle, Hardware: cfg.Hardware, Spark: cfg.Spark, Image: cfg.SparkImage,
		Network: e.network, Storage: e.clusterStorage, Transport: e.front.Reach(), Logger: e.log})
	if e.aml, err = aml.New(aml.Config{Store: e.store, Clock: cfg.Clock, Logger: e.log, Blob: e.blob, Dir: filepath.Join(e.dir, "runs"),
		Tenant: id.Tenant, Issue: e.authority.Issue, Verify: e.authority.Verify,
		ARM: roundTripper(func(r *http.Request) (*http.Response, error) { return e.arm.Transport().RoundTrip(r) }), ARMToken: e.serviceToken, Web: e.front.Reach(), Dial: e.front.Dial,
		ProxyURL: func() string { return "http://" + e.front.Addr() }, BundleFile: e.front.BundleFile(), StandIn: cfg.StandIn, Spark: e.sparkHome}); err != nil {
		return err
	}
	if e.arm, err = arm.New(arm.Config{Store: e.store, Clock: cfg.Clock, Logger: e.log, Tenant: id.Tenant,
		Subscriptions: []arm.Subscription{{ID: id.Subscription, DisplayName: "lazulite"}},
		Providers:     append(slices.Concat(passiveProviders(e.blob, id.Tenant), e.vms.Providers(), e.clusters.Providers()), e.containers.Provider(), e.hadoop.Provider(), e.aml.Provider()),
		Authenticate:  e.authenticate}); err != nil {
		return err
	}
	e.manager = e.arm
	if cfg.Around != nil {
		e.manager = cfg.Around(e.arm)
	}
	e.learning = e.aml
	switch cfg.Faults {
	case "":
	case "unkind":
		h := unkind.New(unkind.Config{Rand: rand.New(rand.NewPCG(uint64(cfg.Seed), 1))})
		e.manager, e.learning = h.Handler(e.manager), h.Handler(e.learning)
	default:
		return fmt.Errorf("emulator: there are no faults %q: they are \"unkind\"", cfg.Faults)
	}
	return nil
}

// roundTripper is a function as a RoundTripper: aml is made before the engine that it calls.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serviceToken is the run service's own identity towards the resource manager.
func (e *Emulator) serviceToken(ctx context.Context) (string, error) {
	return e.authority.Issue(ctx, aad.Claims{Audience: aad.AudienceManagement, Tenant: e.identity.Tenant,
		AppID: serviceAppID, ObjectID: serviceAppID, Expires: e.cfg.Clock.Now().Add(time.Hour)})
}

// RefusedTokens are two tokens of the identity that the resource manager must not
// take: one that was good an hour ago, and one of another tenant.
func (e *Emulator) RefusedTokens(ctx context.Context) (expired, foreign string, err error) {
	c := aad.Claims{Audience: aad.AudienceManagement, Tenant: e.identity.Tenant, AppID: e.identity.ClientID, Expires: e.cfg.Clock.Now().Add(-time.Hour)}
	if expired, err = e.authority.Issue(ctx, c); err != nil {
		return "", "", err
	}
	c.Tenant, c.Expires = otherTenant, e.cfg.Clock.Now().Add(time.Hour)
	foreign, err = e.authority.Issue(ctx, c)
	return expired, foreign, err
}

// otherTenant is nobody's.
const otherTenant = "0b0b0b0b-0000-4000-8000-000000000000"

func (e *Emulator) authenticate(r *http.Request) error {
	_, err := e.authority.VerifyRequest(r, aad.AudienceManagement, aad.AudienceARM)
	var refused *aad.Error
	if errors.As(err, &refused) {
		return &arm.Error{Status: http.StatusUnauthorized, Code: refused.Code, Message: refused.Message,
			Header: http.Header{"Www-Authenticate": {refused.Challenge}}}
	}
	return err
}

// Open takes up what was unfinished and listens. When it returns, the first
// request will be answered.
func (e *Emulator) Open(ctx context.Context) error {
	e.log.Info("lazulite", "seed", e.cfg.Seed, "lifecycle", e.cfg.Lifecycle, "engine", e.engine.Name(), "dir", e.dir)
	// Runs that are taken up need the address; a request that came before all is open would find nothing.
	if err := e.front.Listen(ctx); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	if engine.AdopterOf(e.engine) != nil {
		// Containers that a killed emulator left find it where it was.
		if _, _, err := e.network(ctx); err != nil {
			return fmt.Errorf("emulator: the network of containers: %w", err)
		}
	}
	if err := e.vms.Open(ctx); err != nil {
		return fmt.Errorf("emulator: virtual machines: %w", err)
	}
	if err := e.clusters.Open(ctx); err != nil {
		return fmt.Errorf("emulator: clusters: %w", err)
	}
	if err := e.containers.Open(ctx); err != nil {
		return fmt.Errorf("emulator: container groups: %w", err)
	}
	if err := e.hadoop.Open(ctx); err != nil {
		return fmt.Errorf("emulator: HDInsight: %w", err)
	}
	if left := engine.AdopterOf(e.engine); left != nil {
		if err := left.Sweep(ctx); err != nil {
			return fmt.Errorf("emulator: what an earlier emulator left: %w", err)
		}
	}
	// What nobody has mounted again goes, once it is in its container.
	if err := e.blob.Unmount(ctx); err != nil {
		e.log.Warn("folders that an earlier emulator had mounted", "err", err)
	}
	if err := e.arm.Open(ctx); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	if err := e.aml.Open(ctx, e.arm); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	if err := e.front.Open(ctx); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	return nil
}

// Close stops everything, newest first, and removes a temporary Dir.
func (e *Emulator) Close(ctx context.Context) error {
	e.closeOnce.Do(func() {
		var errs []error
		if e.front != nil {
			errs = append(errs, e.front.Close(ctx))
		}
		if e.aml != nil {
			errs = append(errs, e.aml.Close(ctx))
		}
		if e.arm != nil {
			errs = append(errs, e.arm.Close(ctx))
		}
		if e.hadoop != nil {
			errs = append(errs, e.hadoop.Close(ctx))
		}
		if e.clusters != nil {
			errs = append(errs, e.clusters.Close(ctx))
		}
		if e.containers != nil {
			errs = append(errs, e.containers.Close(ctx))
		}
		if e.vms != nil {
			errs = append(errs, e.vms.Close(ctx))
		}
		if e.engine != nil {
			errs = append(errs, e.engine.Close(ctx))
		}
		if e.blob != nil {
			errs = append(errs, e.blob.Close(ctx))
		}
		if e.store != nil {
			errs = append(errs, e.store.Close())
		}
		if e.lock != nil {
			errs = append(errs, e.lock.Close())
		}
		if e.cfg.Dir == "" && e.dir != "" {
			errs = append(errs, os.RemoveAll(e.dir))
		}
		e.closeErr = errors.Join(errs...)
	})
	return e.closeErr
}

// Addr is host:port of the door: CONNECT proxy, TLS and management at once.
func (e *Emulator) Addr() string { return e.front.Addr() }

// URL is where the management interface and the MSI endpoint are.
func (e *Emulator) URL() string { return "http://" + e.front.Addr() }

// Stopped is closed when a client of the management interface asks the emulator to stop.
func (e *Emulator) Stopped() <-chan struct{} { return e.stop }

// Transport reaches every emulated host in process, with no socket and no TLS.
func (e *Emulator) Transport() http.RoundTripper { return e.front.Transport() }
