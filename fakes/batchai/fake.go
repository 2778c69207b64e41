// Package batchai is Microsoft.BatchAI as it was from its preview of September
// 2017 to its end: workspaces, clusters, file servers, experiments, jobs and
// usages, with the states, defaults, headers and words that recordings of the
// service show.
//
// It declares the types to the ARM engine and speaks the wire formats; what a
// cluster is made of, and what runs on it, is package pool's. A resource keeps
// what was asked for, with its secrets out of sight; states and counts are the
// pool's and are read when a resource is shown. A file server is a machine of
// one node whose data disks are a folder, which nodes mount as they mount shares.
//
// Storage is reached through Config alone. A mount command of the user's own is
// understood where it leads to a file server or a share that is emulated, and
// fails as mount would elsewhere. Key vaults hold nothing here: references to
// their secrets are refused.
package batchai

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/batchai/pool"
)

// Config of a Fake.
type Config struct {
	// Engine runs the nodes; required.
	Engine engine.Engine
	// Dir keeps the pool's state and the file servers' disks; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand decides jitter, chaos, and ids; nil: seeded by chance.
	Rand *rand.Rand
	// Lifecycle is "fast" (also empty), "real" or "chaos".
	Lifecycle string
	// Hardware gives out CPU, memory and GPUs; nil: a plain account of this host.
	Hardware *hardware.Host
	// Clusters is how many clusters a subscription may have in a region; 0: 20.
	Clusters int
	// Quota gives a family's vCPUs in a subscription and region ("standardNCFamily"), and for ""
	// those of all families together; nil: usual ones.
	Quota func(family string, lowPriority bool) int
	// Environment is NAME=value of what nodes on the process engine have of this host.
	Environment []string
	// Network is what containers need to reach emulated Azure; nil: nothing.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Storage is the accounts that clusters and jobs mount; nil: none can be mounted.
	Storage Storage
	// Folders of this host below which Storage's folders are.
	Folders []string
	Logger  *slog.Logger // nil: silent
}

// Storage is Azure Storage to one who has the key of an account. An error that
// is an *arm.Error is shown as it is.
type Storage interface {
	// Share is the folder of this host that a file share is.
	Share(ctx context.Context, account, key, share string) (dir string, err error)
	// Container is a blob container, mounted as a folder of this host.
	Container(ctx context.Context, account, key, container string) (pool.Mounted, error)
	// Files lists a folder of a share or container, without those below it; each
	// file with an URL by which anybody may read it until expiry. What is not there is empty.
	Files(ctx context.Context, at Place, folder string, expiry time.Time) ([]File, error)
}

// Place is a share or a container, with a key of its account.
type Place struct {
	Account, Key string
	Name         string // of the share or the container
	Blob         bool   // a container
}

// File is what Storage lists. A folder has a Name alone.
type File struct {
	Name     string
	Folder   bool
	URL      string
	Modified time.Time
	Size     int64
}

// Fake is the resource provider and the clusters behind it.
type Fake struct {
	cfg      Config
	pool     *pool.Pool
	members  []member
	families []family
	err      error // in Config; told by Open

	mu   sync.Mutex // of what follows, and of cfg.Rand
	view arm.View
	ids  map[string]arm.ID // of resources by their ids in the pool
}

// New checks the Config; what is wrong with it Open says.
func New(cfg Config) *Fake {
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Hardware == nil {
		cfg.Hardware = hardware.New(hardware.Config{})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clusters == 0 {
		cfg.Clusters = 20
	}
	f := &Fake{cfg: cfg, ids: map[string]arm.ID{}}
	if cfg.Engine == nil || cfg.Dir == "" {
		f.err = errors.New("batchai: an Engine and a Dir are needed")
		return f
	}
	if f.cfg.Dir, f.err = filepath.Abs(cfg.Dir); f.err != nil {
		return f
	}
	var err error
	if f.members, err = loadMembers(); err != nil {
		f.err = err
		return f
	}
	if f.families, err = loadFamilies(); err != nil {
		f.err = err
		return f
	}
	if f.cfg.Quota == nil {
		f.cfg.Quota = f.usualQuota
	}
	f.pool = pool.New(pool.Config{Engine: cfg.Engine, Dir: filepath.Join(f.cfg.Dir, "pool"), Clock: cfg.Clock,
		Rand: rand.New(rand.NewPCG(cfg.Rand.Uint64(), cfg.Rand.Uint64())), Lifecycle: cfg.Lifecycle, Hardware: cfg.Hardware,
		Cores: f.cores, Mount: f.mount, Folders: append([]string{f.diskFolder()}, cfg.Folders...), Network: cfg.Network, Environment: cfg.Environment,
		Changed: f.changed, Logger: cfg.Logger})
	return f
}

// Open takes up the clusters and jobs that were there when the emulator ended.
func (f *Fake) Open(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	// Nodes that are containers have these folders mounted, whatever comes to be in them.
	for _, dir := range append([]string{f.diskFolder()}, f.cfg.Folders...) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("batchai: %w", err)
		}
	}
	return f.pool.Open(ctx)
}

// Close ends nodes and jobs; clusters and what was queued are there again after the next Open.
func (f *Fake) Close(ctx context.Context) error {
	if f.pool == nil {
		return nil
	}
	return f.pool.Close(ctx)
}

// changed wakes the resource whose work in the pool went on.
func (f *Fake) changed(c pool.Change) {
	id := c.Job
	if id == "" {
		id = c.Cluster
	}
	f.mu.Lock()
	view, resource := f.view, f.ids[id]
	f.mu.Unlock()
	if view != nil && !resource.IsZero() {
		view.Enqueue(resource)
	}
}

// follow has changes of something in the pool wake a resource from now on.
func (f *Fake) follow(v arm.View, id string, resource arm.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view = v
	f.ids[id] = resource
}

func (f *Fake) unfollow(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}

// stamp is a time as Batch AI writes it: milliseconds, without zeros at their end.
func stamp(t time.Time) string {
	return t.UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.999Z")
}
