// Package hdinsight is Microsoft.HDInsight: clusters and their applications
// as the resource manager's resources (2015-03-01-preview, 2018-06-01-preview,
// 2021-06-01 and later, as versions of the same types), and the gateway at
// CLUSTER.azurehdinsight.net.
//
// Behind a cluster of the kinds spark and hadoop there are nodes on which YARN
// and Spark really run, and a head node that takes logins over SSH; package
// cluster has them. Script actions run on the nodes; their history says what
// came of it. Of the other kinds there are the nodes, with nothing on them.
// Components are shown by the versions that were sold; what runs is what is
// installed here, whatever the version says.
//
// Of two head nodes one runs, and no ZooKeeper: they are shown. Monitoring
// keeps what it is given. Enterprise Security, disk encryption with keys of
// one's own, autoscale, Data Lake storage and Windows are refused.
package hdinsight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/lifecycle"
	"lazulite.dev/fakes/hdinsight/cluster"
	"lazulite.dev/fakes/hdinsight/livy"
)

// Config of a Fake.
type Config struct {
	// Engine runs the nodes; required.
	Engine engine.Engine
	// Dir keeps the clusters' disks; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand decides jitter, chaos and addresses; nil: seeded by chance.
	Rand *rand.Rand
	// Lifecycle is "fast" (also empty), "real" or "chaos".
	Lifecycle string
	// Hardware gives out CPU and memory; nil: a plain account of this host.
	Hardware *hardware.Host
	// Cores limits the cores of a subscription in a region; 0: the catalogue's.
	Cores int
	// Spark is the folder of a cluster.Installation.
	Spark string
	// Image of nodes in containers.
	Image string
	// Network gives the variables and mounts by which nodes reach Azure's names; nil: none.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Storage checks the key of a storage account, by its host name, and makes the
	// container; an *arm.Error says what is wrong. nil: any is taken.
	Storage func(ctx context.Context, account, key, container string) error
	// Transport fetches scripts; nil: the network.
	Transport http.RoundTripper
	// HighPorts keeps SSH off port 22 of loopback addresses.
	HighPorts bool
	Logger    *slog.Logger // nil: silent
}

// Fake is the resource provider, the clusters behind it and their gateway.
type Fake struct {
	cfg       Config
	fleet     *cluster.Fleet
	lifecycle Lifecycle
	catalogue catalogue
	err       error // in Config; told by Open and by every PUT
	// epoch tells what this Fake began from what one before it did.
	epoch string
	dice  sync.Mutex // of cfg.Rand

	livyLock sync.Mutex
	livys    map[string]*livy.Server // by the cluster's id; nil when closed
}

// New checks the Config; what is wrong with it Open says.
func New(cfg Config) *Fake {
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Lifecycle == "" {
		cfg.Lifecycle = "fast"
	}
	f := &Fake{livys: map[string]*livy.Server{}, cfg: cfg, epoch: fmt.Sprintf("%016x", rand.Uint64())}
	f.err = f.build()
	return f
}

func (f *Fake) build() (err error) {
	cfg := f.cfg
	if f.catalogue, err = readCatalogue(); err != nil {
		return err
	}
	if f.cfg.Cores == 0 {
		f.cfg.Cores = f.catalogue.Cores
	}
	all, err := lifecycle.Read(lifecycleJSON)
	if err != nil {
		return err
	}
	var known bool
	if f.lifecycle, known = all[cfg.Lifecycle]; !known {
		return fmt.Errorf("hdinsight: there is no lifecycle %q", cfg.Lifecycle)
	}
	// The fleet draws under a lock of its own.
	dice := rand.New(rand.NewPCG(cfg.Rand.Uint64(), cfg.Rand.Uint64()))
	f.fleet, err = cluster.New(cluster.Config{Engine: cfg.Engine, Dir: cfg.Dir, Clock: cfg.Clock, Rand: dice, Hardware: cfg.Hardware,
		Network: cfg.Network, Spark: cfg.Spark, Image: cfg.Image, HighPorts: cfg.HighPorts, Logger: cfg.Logger})
	return err
}

// Open starts the clusters that were running when the emulator ended.
func (f *Fake) Open(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	return f.fleet.Open(ctx)
}

// Close ends the clusters' nodes; they are started again by the next Open.
func (f *Fake) Close(ctx context.Context) error {
	if f.fleet == nil {
		return nil
	}
	return errors.Join(f.closeLivys(ctx), f.fleet.Close(ctx))
}

// newID is a GUID by the Fake's own dice, so that a seed repeats it.
func (f *Fake) newID() string {
	f.dice.Lock()
	defer f.dice.Unlock()
	a, b := f.cfg.Rand.Uint64(), f.cfg.Rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

// unavailable finds in an error that a cluster can't run on this machine.
func unavailable(err error) (*cluster.Unavailable, bool) {
	var u *cluster.Unavailable
	ok := errors.As(err, &u)
	return u, ok
}

var _ arm.Reconciler = clusterReconciler{}
