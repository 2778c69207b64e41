// Package cluster is what stands behind an HDInsight cluster: a head node,
// workers and edge nodes on the engine, logins over SSH, and Apache Hadoop
// YARN with Apache Spark on them, the real ones; where YARN could not be
// installed Spark's own master takes its place.
//
// A Cluster is told what it is to be (Spec) and makes it so: it starts nodes,
// takes them away, and returns when YARN counts as many as there are to be. All
// nodes share one folder of configuration and tools. In containers a node has
// its own name and network; processes of this host share its loopback, and
// YARN has ports of its own there. The default file system is the storage
// account's container, by Hadoop's own wasb driver over HTTP.
//
// One head node runs, whatever the Spec of the service says: a second one and
// the ZooKeeper nodes would have nothing to do here. Nodes are no sandbox where
// the engine is none. What a cluster needs to start again is in its folder, so
// that it does so before anybody asks for it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// Config of a Fleet.
type Config struct {
	// Engine runs the nodes; required.
	Engine engine.Engine
	// Dir keeps the clusters; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand draws addresses; nil: seeded by chance.
	Rand     *rand.Rand
	Hardware *hardware.Host // nil: a plain account of this host
	// Environment is NAME=value of what nodes that are processes of this host have of it.
	Environment []string
	// Network gives the variables and mounts by which nodes reach Azure's names; nil: none are needed.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Spark is the folder of an Installation; what is not there is missed when a cluster needs it.
	Spark string
	// Image of nodes in containers; empty: the engine's own choice.
	Image string
	// HighPorts keeps SSH off port 22 of loopback addresses.
	HighPorts bool
	Logger    *slog.Logger // nil: silent
}

// Fleet is all clusters of an emulator.
type Fleet struct {
	cfg Config

	mu       sync.Mutex // also of cfg.Rand
	clusters map[string]*Cluster
}

// New makes a Fleet; Open starts what ran before.
func New(cfg Config) (*Fleet, error) {
	if cfg.Engine == nil || cfg.Dir == "" {
		return nil, errors.New("cluster: an Engine and a Dir are needed")
	}
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
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	return &Fleet{cfg: cfg, clusters: map[string]*Cluster{}}, nil
}

// Open starts the clusters that ran when the emulator ended, or takes over
// their containers. One that can't be started is logged, and has no nodes.
func (f *Fleet) Open(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(f.cfg.Dir, "*", "cluster.json"))
	if err != nil {
		return err
	}
	var starting sync.WaitGroup
	for _, file := range files {
		c, err := f.load(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		starting.Go(func() {
			if err := c.resume(ctx); err != nil {
				f.cfg.Logger.Error("an HDInsight cluster does not start again", "cluster", c.Spec().Name, "error", err)
			}
		})
	}
	starting.Wait()
	return ctx.Err()
}

// Close ends every cluster's nodes; the next Open starts them again.
func (f *Fleet) Close(ctx context.Context) error {
	var closing sync.WaitGroup
	all := f.All()
	errs := make([]error, len(all))
	for i, c := range all {
		closing.Go(func() { errs[i] = c.suspend(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// All clusters there are.
func (f *Fleet) All() []*Cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*Cluster
	for _, c := range f.clusters {
		out = append(out, c)
	}
	return out
}

// Cluster of an id, which is made if there is none.
func (f *Fleet) Cluster(id string) *Cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clusters[id]
	if c == nil {
		c = &Cluster{fleet: f, dir: filepath.Join(f.cfg.Dir, id), file: clusterFile{Spec: Spec{ID: id}}, nodes: map[string]*node{}}
		f.clusters[id] = c
	}
	return c
}

func (f *Fleet) load(id string) (*Cluster, error) {
	c := f.Cluster(id)
	data, err := os.ReadFile(filepath.Join(c.dir, "cluster.json"))
	if err != nil {
		return nil, err
	}
	if err := c.file.parse(data); err != nil {
		return nil, fmt.Errorf("cluster: %s: %w", id, err)
	}
	return c, nil
}

func (f *Fleet) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clusters, id)
}

// engineName says what engine there is in truth: "process", "docker" or "simulated".
func (f *Fleet) engineName(ctx context.Context) (string, error) {
	e := f.cfg.Engine
	if lazy, ok := e.(*engine.Lazy); ok {
		opened, err := lazy.Engine(ctx)
		if err != nil {
			return "", err
		}
		e = opened
	}
	return e.Name(), nil
}
