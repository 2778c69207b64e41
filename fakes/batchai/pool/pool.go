// Package pool is what is behind the clusters of Batch AI: nodes that come and
// go, and jobs that run on them.
//
// A node is a machine of an engine.Engine (a container, processes of this host,
// or simulated) that takes SSH logins; a job really runs on as many of them as it
// asks for, by mpirun or as one process each, and its exit code is the
// process's. What a cluster does next is decided by one pure function, Next, from
// its settings, nodes, jobs and the time alone; a loop for each cluster does it.
// How long things take, and what fails or is preempted, is data (lifecycle.json)
// on the Clock.
//
// State is kept in Dir, and written before anything that can't be taken back:
// that a job may have begun is known before it does, and what has begun is never
// begun again unless it is certain that nothing of it runs any more and Batch AI
// itself would requeue it (a preempted or removed node). After the emulator was
// killed, jobs on an engine whose containers outlive it go on; others that had
// begun end as failed.
//
// It knows nothing of ARM, wire formats or storage accounts: package batchai does.
package pool

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrInvalid  = errors.New("pool: invalid")
	ErrExists   = errors.New("pool: there is one of that id")
	ErrNotFound = errors.New("pool: there is none of that id")
	ErrClosed   = errors.New("pool: closed")
)

// Config of a Pool.
type Config struct {
	// Engine runs the nodes; required.
	Engine engine.Engine
	// Dir keeps state, keys and the nodes' folders; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand decides jitter and chaos; nil: seeded by chance.
	Rand *rand.Rand
	// Lifecycle is "fast" (also empty), "real" or "chaos", or the name of another of Lifecycles.
	Lifecycle string
	// Lifecycles replace the embedded ones.
	Lifecycles map[string]Lifecycle
	// Hardware gives out CPU, memory and GPUs; nil: a plain account of this host.
	Hardware *hardware.Host
	// Cores is how many cores the clusters of an account may have, of a priority; nil: no limit.
	Cores func(account string, lowPriority bool) int
	// Mount makes a volume's files a folder of this host; nil: volumes are refused.
	Mount func(ctx context.Context, v Volume) (Mounted, error)
	// Folders of this host, absolute, below which the folders are that Mount gives:
	// nodes that are containers see them, so that volumes can be mounted while they run.
	Folders []string
	// Network is what containers need to reach emulated Azure; nil: nothing.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Environment is NAME=value of what nodes on the process engine have of this host.
	Environment []string
	// Changed is told of each change after it was stored, from a goroutine of the
	// Pool's own, one at a time and in order; it must not wait for the Pool. nil: nobody is.
	Changed func(Change)
	Logger  *slog.Logger // nil: silent
}

// Change names what changed: a cluster (Job is empty) or a job.
type Change struct{ Cluster, Job string }

// Mounted is a volume's files as a folder of this host.
type Mounted struct {
	Dir string
	// Flush makes the far side have what was written here; nil where it always has.
	Flush func(ctx context.Context) error
	// Close flushes and lets go; nil where there is nothing to do.
	Close func(ctx context.Context) error
}
