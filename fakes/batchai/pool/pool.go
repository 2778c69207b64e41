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
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/lifecycle"
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
	// Mount makes a volume's files a folder of this host; nil: volumes are refused. An Error of
	// its is a node's or a job's as it is, any other is in the words of one.
	Mount func(ctx context.Context, v Volume) (Mounted, error)
	// Folders of this host, absolute, below which the folders are that Mount gives:
	// nodes that are containers see them, so that volumes can be mounted while they
	// run. They are made if they are not there.
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

// Pool is all clusters of an emulator.
type Pool struct {
	cfg       Config
	lifecycle Lifecycle
	seed      uint64
	err       error // in Config; told by Open
	activity  activity

	ctx     context.Context // of all that runs; ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	changes *changes // from Open on, as the journal
	journal *journal

	mu       sync.Mutex // of what follows; a cluster's own is never taken under it
	opened   bool
	clusters map[string]*cluster
	jobs     map[string]*job
	cores    map[account]int // that nodes hold
}

type account struct {
	name        string
	lowPriority bool
}

// New checks the Config; what is wrong with it Open says.
func New(cfg Config) *Pool {
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
	if cfg.Lifecycle == "" {
		cfg.Lifecycle = "fast"
	}
	p := &Pool{cfg: cfg, seed: cfg.Rand.Uint64(), clusters: map[string]*cluster{}, jobs: map[string]*job{}, cores: map[account]int{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if cfg.Engine == nil || cfg.Dir == "" {
		p.err = errors.New("pool: an Engine and a Dir are needed")
		return p
	}
	if p.cfg.Dir, p.err = filepath.Abs(cfg.Dir); p.err != nil {
		return p
	}
	all := cfg.Lifecycles
	if all == nil {
		if all, p.err = lifecycle.Read(lifecycleJSON); p.err != nil {
			return p
		}
	}
	var known bool
	if p.lifecycle, known = all[cfg.Lifecycle]; !known {
		p.err = fmt.Errorf("pool: there is no lifecycle %q", cfg.Lifecycle)
	}
	return p
}

// Open reads the state and takes up all that was going on. It does not wait for
// nodes to be there again. Clusters are known when it returns.
func (p *Pool) Open(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	journal, entries, err := openJournal(filepath.Join(p.cfg.Dir, "journal"))
	if err != nil {
		return err
	}
	p.changes, p.journal = newChanges(p.cfg.Changed), journal
	p.mu.Lock()
	p.opened = true
	p.mu.Unlock()
	if err := p.restore(ctx, entries); err != nil {
		return errors.Join(err, p.Close(ctx))
	}
	return nil
}

// Close ends everything that runs. Clusters and queued jobs are there again after
// the next Open; jobs that had begun will have failed.
func (p *Pool) Close(ctx context.Context) error {
	p.cancel()
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	opened := p.opened
	p.opened = false
	clusters := slices.Collect(maps.Values(p.clusters))
	p.mu.Unlock()
	if !opened {
		return nil
	}
	for _, c := range clusters {
		c.shared.close(ctx, p.cfg.Logger)
	}
	p.changes.close()
	return p.journal.close()
}

// Create makes a cluster. ErrExists if there is one of that ID.
func (p *Pool) Create(spec Cluster) error {
	if err := spec.check(); err != nil {
		return err
	}
	if _, ok := hardware.Size(spec.Size); !ok {
		return fmt.Errorf("%w: vmSize %q", ErrInvalid, spec.Size)
	}
	now := p.cfg.Clock.Now()
	rec := clusterRecord{Spec: spec, Target: spec.Scale.first(), Origin: now, Since: now}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.closed(); err != nil {
		return err
	}
	if p.clusters[spec.ID] != nil {
		return fmt.Errorf("%w: cluster %s", ErrExists, spec.ID)
	}
	if err := p.journal.append(record(kindCluster, spec.ID, rec)); err != nil {
		return err
	}
	c := newCluster(p, rec)
	p.clusters[spec.ID] = c
	c.open()
	return nil
}

// closed says whether nothing may begin any more. p.mu is held.
func (p *Pool) closed() error {
	if !p.opened || p.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

func (p *Pool) cluster(id string) (*cluster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.closed(); err != nil {
		return nil, err
	}
	c := p.clusters[id]
	if c == nil {
		return nil, fmt.Errorf("%w: cluster %s", ErrNotFound, id)
	}
	return c, nil
}

func (p *Pool) job(id string) (*job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.closed(); err != nil {
		return nil, err
	}
	j := p.jobs[id]
	if j == nil {
		return nil, fmt.Errorf("%w: job %s", ErrNotFound, id)
	}
	return j, nil
}

// SetScale changes a cluster's scale settings; an Initial of zero is kept as it is.
func (p *Pool) SetScale(id string, s Scale) error {
	if err := s.Check(); err != nil {
		return err
	}
	c, err := p.cluster(id)
	if err != nil {
		return err
	}
	return c.setScale(s)
}

// Delete begins to remove a cluster: its jobs that are not done fail, its nodes
// go, and then Cluster knows nothing of it any more. Of its jobs Job still does.
func (p *Pool) Delete(id string) error {
	c, err := p.cluster(id)
	if err != nil {
		return err
	}
	return c.delete()
}

// Cluster is a snapshot of a cluster; false if there is none.
func (p *Pool) Cluster(id string) (ClusterStatus, bool) {
	c, err := p.cluster(id)
	if err != nil {
		return ClusterStatus{}, false
	}
	return c.status(), true
}

// Submit queues a job. ErrNotFound if its cluster isn't there or is being deleted.
func (p *Pool) Submit(spec Job) error {
	if err := spec.check(); err != nil {
		return err
	}
	c, err := p.cluster(spec.Cluster)
	if err != nil {
		return err
	}
	return c.submit(spec)
}

// Terminate ends a job, which then has failed. One that is done stays as it is.
func (p *Pool) Terminate(id string) error {
	j, err := p.job(id)
	if err != nil {
		return err
	}
	return j.cluster.terminate(j)
}

// Remove forgets a job that is done; ErrInvalid if it isn't.
func (p *Pool) Remove(id string) error {
	j, err := p.job(id)
	if err != nil {
		return err
	}
	return j.cluster.forget(j)
}

// Job is a snapshot of a job; false if there is none.
func (p *Pool) Job(id string) (JobStatus, bool) {
	j, err := p.job(id)
	if err != nil {
		return JobStatus{}, false
	}
	j.cluster.mu.Lock()
	defer j.cluster.mu.Unlock()
	return j.rec.snapshot(), true
}

// Preempt takes a low-priority node away, as Azure does when it needs it; its job is queued again.
func (p *Pool) Preempt(cluster, node string) error {
	c, err := p.cluster(cluster)
	if err != nil {
		return err
	}
	return c.preempt(node)
}

// UsedCores is how many cores the nodes of an account's clusters have, of a priority.
func (p *Pool) UsedCores(name string, lowPriority bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cores[account{name, lowPriority}]
}

// Settled waits until everything waits for a manual clock, which may then be
// advanced: waiting is its method Waiting. Its only error is ctx's.
func (p *Pool) Settled(ctx context.Context, waiting func() (timers int, more <-chan struct{})) error {
	return p.activity.settle(ctx, waiting)
}
