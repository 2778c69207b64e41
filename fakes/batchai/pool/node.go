package pool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// node is one machine of a cluster: one goroutine sees it through its life.
type node struct {
	cluster *cluster
	task    *task
	ctx     context.Context // ends when it is told to go
	cancel  context.CancelCauseFunc
	dice    *dice

	// Of the goroutine alone until it is idle, and then read by the job that has it.
	container engine.Container
	login     login
	release   func() // of its hardware
	limits    hardware.Limits
	ip        string // at which other nodes reach it
	env       []string

	// Under the cluster's lock.
	rec      nodeRecord
	job      *job
	awaiting bool // the end of its job, to go
	fated    *alarm
	resume   bool // it was there before the emulator's restart

	ready chan struct{} // closed when what only the goroutine may touch is there for its job
}

// nodeRecord is what is kept of a node.
type nodeRecord struct {
	ID, Cluster string
	Order       int
	State       NodeState
	Since       time.Time
	Boots       int      // before this one
	Port        int      `json:",omitempty"` // of its logins
	GPUs        []string `json:",omitempty"` // UUIDs of those that it has
	Errors      []Error  `json:",omitempty"`
}

func newNode(c *cluster, rec nodeRecord) *node {
	n := &node{cluster: c, rec: rec, dice: newDice(c.pool.lifecycle, c.pool.seed, rec.ID, rec.Boots), ready: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancelCause(c.pool.ctx)
	return n
}

func (n *node) open() {
	p := n.cluster.pool
	n.task = p.activity.begin()
	p.running.Go(n.live)
}

// end tells it to go.
func (n *node) end(why stopped) {
	n.cluster.pool.activity.rouse(n.task)
	n.cancel(why)
}

func (n *node) view() NodeView {
	v := NodeView{ID: n.rec.ID, Order: n.rec.Order, State: n.rec.State, Since: n.rec.Since}
	if n.job != nil {
		v.Job = n.job.spec.ID
	}
	return v
}

func (n *node) status() NodeStatus {
	s := NodeStatus{ID: n.rec.ID, State: n.rec.State, Since: n.rec.Since, Port: n.rec.Port, Errors: slices.Clone(n.rec.Errors)}
	if n.rec.Port != 0 {
		s.Address = loopback
	}
	if n.job != nil {
		s.Job = n.job.spec.ID
	}
	return s
}

// sleep on the Clock; false: it was told to go.
func (p *Pool) sleep(ctx context.Context, t *task, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := p.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	p.activity.wait(t, 1)
	defer p.activity.awake(t)
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (n *node) live() {
	p := n.cluster.pool
	defer p.activity.end(n.task)
	n.up()
	close(n.ready)
	n.watch()
	if p.activity.wait(n.task, 0) {
		<-n.ctx.Done()
		p.activity.awake(n.task)
	}
	<-n.ctx.Done()
	if p.ctx.Err() != nil {
		n.suspend()
		return
	}
	n.down()
}

// watch has it known when its container ends by itself.
func (n *node) watch() {
	p := n.cluster.pool
	if kind, err := p.engineKind(n.ctx); err != nil || kind == kindSimulated || n.container == nil {
		return
	}
	container := n.container
	p.running.Go(func() {
		if _, err := container.Wait(n.ctx); err == nil {
			n.died()
		}
	})
}

// died makes it unusable: its container is gone, and nobody asked for that.
func (n *node) died() {
	n.change(func(b *batch) {
		switch n.rec.State {
		case Preparing, Idle, Running:
			n.rec.Errors = append(n.rec.Errors, Error{Code: "NodeUnusable", Message: "The node's container ended."})
			n.cluster.set(n, Unusable, b)
		}
	})
}

// ended says whether a container is not running any more.
func ended(c engine.Container) bool {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.Wait(now)
	return err == nil
}

// up brings it to where it takes jobs, or is unusable.
func (n *node) up() {
	c := n.cluster
	p := c.pool
	if n.resume {
		if n.takeOver(n.ctx) {
			return
		}
	} else {
		for try := 0; ; try++ {
			if !p.sleep(n.ctx, n.task, n.dice.delay("allocate")) {
				return
			}
			err := n.boot(n.ctx)
			if err == nil {
				break
			}
			if n.ctx.Err() != nil {
				return
			}
			p.cfg.Logger.Warn("a node is not allocated", "cluster", c.spec.ID, "node", n.rec.ID, "error", err)
			n.change(func(b *batch) {
				n.rec.Errors = []Error{allocationError(err)}
				b.node(n)
			})
			// It is tried again, less and less often.
			if !p.sleep(n.ctx, n.task, min(time.Second<<min(try, 6), time.Minute)) {
				return
			}
		}
	}
	n.change(func(b *batch) {
		n.rec.Errors = nil
		c.set(n, Preparing, b)
	})
	if !p.sleep(n.ctx, n.task, n.dice.delay("prepare")) {
		return
	}
	errs := n.prepare(n.ctx)
	if n.ctx.Err() != nil {
		return
	}
	if n.dice.fails("prepare") {
		errs = append(errs, Error{Code: "NodeUnusable", Message: "The node did not become usable."})
	}
	n.change(func(b *batch) {
		n.rec.Errors = errs
		if len(errs) > 0 {
			c.set(n, Unusable, b)
		} else {
			c.set(n, Idle, b)
		}
		n.fate(b.now)
	})
}

// fate sets when a low-priority node is preempted.
func (n *node) fate(now time.Time) {
	c := n.cluster
	if life := n.dice.lifetime(); c.spec.LowPriority && life > 0 {
		n.fated = c.alarm(now.Add(life), func() {
			if c.nodes[n.rec.ID] == n {
				_ = c.preemptNode(n) // one that is going already goes on going
			}
		})
	}
}

// change something of it under the lock, if it has not been told to go, and have the loop look.
func (n *node) change(f func(b *batch)) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.ctx.Err() != nil {
		return
	}
	b := &batch{cluster: c, now: c.pool.cfg.Clock.Now()}
	f(b)
	c.resizing(b)
	b.commit()
	c.poke()
}

func allocationError(err error) Error {
	var e Error
	var gpu *hardware.NoGPU
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &gpu):
		return Error{Code: "AllocationFailed", Message: "This host can't give the node its GPUs: " + err.Error() + "."}
	}
	return Error{Code: "AllocationFailed", Message: fmt.Sprintf("The node could not be allocated: %v.", err)}
}

// down takes it away: a preempted one at once, with all that runs on it.
func (n *node) down() {
	c := n.cluster
	p := c.pool
	ctx := context.WithoutCancel(p.ctx)
	var why stopped
	_ = errors.As(context.Cause(n.ctx), &why)
	if why.Preempted {
		n.remove(ctx)
	}
	c.mu.Lock()
	var done chan struct{}
	if n.job != nil {
		n.awaiting, done = true, n.job.done
		p.activity.wait(n.task, 0)
	}
	c.mu.Unlock()
	if done != nil {
		<-done
		p.activity.awake(n.task)
	}
	step := "leave"
	if why.Preempted {
		step = "replace"
	}
	if !p.sleep(p.ctx, n.task, n.dice.delay(step)) {
		n.suspend()
		return
	}
	n.remove(ctx)
	if p.ctx.Err() != nil {
		return
	}
	removeAll(n.dir(), p.cfg.Logger)
	c.mu.Lock()
	b := &batch{cluster: c, now: p.cfg.Clock.Now()}
	c.count[n.rec.State]--
	delete(c.nodes, n.rec.ID)
	c.quiet(n.fated)
	b.record(record(kindNode, n.rec.ID, nil))
	b.note("")
	c.resizing(b)
	b.commit()
	c.mu.Unlock()
	p.giveBack(c.acct, c.size.Cores)
	c.poke()
}

// remove ends all that it is, however often it has to be tried.
func (n *node) remove(ctx context.Context) {
	p := n.cluster.pool
	for try := 0; ; try++ {
		err := n.halt(ctx)
		if err == nil {
			break
		}
		p.cfg.Logger.Warn("a node is not removed yet", "node", n.rec.ID, "error", err)
		if !p.sleep(p.ctx, n.task, min(100*time.Millisecond<<min(try, 9), 30*time.Second)) {
			break
		}
	}
	if n.release != nil {
		n.release()
		n.release = nil
	}
}

// suspend is the emulator's own end: the node is there again after the next start.
func (n *node) suspend() {
	p := n.cluster.pool
	if err := n.halt(context.WithoutCancel(p.ctx)); err != nil {
		p.cfg.Logger.Warn("a node is not removed", "node", n.rec.ID, "error", err)
	}
	if n.release != nil {
		n.release()
		n.release = nil
	}
}

// halt takes its server and its container away.
func (n *node) halt(ctx context.Context) error {
	if n.login != nil {
		if err := n.login.Close(ctx); err != nil {
			return err
		}
		n.login = nil
	}
	if n.container != nil {
		if err := n.container.Remove(ctx); err != nil {
			return err
		}
		n.container = nil
	}
	return nil
}

func (n *node) dir() string { return filepath.Join(n.cluster.dir, "nodes", n.rec.ID) }
