package pool

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/hardware"
)

// cluster is a cluster at work: a loop that asks Next and does what it says.
type cluster struct {
	pool *Pool
	size hardware.VMSize
	dir  string

	spec Cluster // as it was ordered: its Scale may have changed since
	acct account
	task *task

	shared sharedVolumes

	mu     sync.Mutex // of all below, its nodes and its jobs
	rec    clusterRecord
	nodes  map[string]*node
	count  map[NodeState]int
	idle   []NodeView
	queue  []JobView
	held   []JobView
	heldAt int       // Capacity when they were held
	due    time.Time // of the next evaluation
	alarms alarms
	gone   bool
	broken error // its state can't be written: nothing is begun any more
}

// clusterRecord is what is kept of a cluster.
type clusterRecord struct {
	Spec     Cluster
	Target   int
	Origin   time.Time
	Resizing bool
	Since    time.Time // of Resizing
	Nodes    int       // that were ever made
	Jobs     int       // that were ever submitted
	Errors   []Error   `json:",omitempty"`
	Deleting bool      `json:",omitempty"`
}

func newCluster(p *Pool, rec clusterRecord) *cluster {
	size, _ := hardware.Size(rec.Spec.Size)
	return &cluster{task: p.activity.begin(), pool: p, size: size, dir: p.clusterDir(rec.Spec.ID), rec: rec,
		spec: rec.Spec, acct: account{rec.Spec.Account, rec.Spec.LowPriority},
		nodes: map[string]*node{}, count: map[NodeState]int{}}
}

// open begins the loop.
func (c *cluster) open() {
	c.pool.running.Go(c.loop)
}

// poke has the loop look again.
func (c *cluster) poke() {
	c.pool.activity.rouse(c.task)
}

func (c *cluster) loop() {
	a := &c.pool.activity
	defer a.end(c.task)
	for {
		next, over := c.step()
		if over {
			return
		}
		var timer clock.Timer
		var fire <-chan time.Time
		timers := 0
		if !next.IsZero() {
			timer = c.pool.cfg.Clock.NewTimer(next.Sub(c.pool.cfg.Clock.Now()))
			fire, timers = timer.C(), 1
		}
		if a.wait(c.task, timers) {
			select {
			case <-fire:
			case <-c.task.token:
			case <-c.pool.ctx.Done():
			}
			a.awake(c.task)
		}
		if timer != nil {
			timer.Stop()
		}
		if c.pool.ctx.Err() != nil {
			return
		}
	}
}

// step does what is to be done now and says when to do it again.
func (c *cluster) step() (next time.Time, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.pool.cfg.Clock.Now()
	for len(c.alarms) > 0 && !c.alarms[0].at.After(now) {
		c.alarms.pop().ring()
	}
	v := c.view(now)
	if capacity := v.Capacity(); len(c.held) > 0 && capacity > c.heldAt {
		c.queue = append(c.queue, c.held...)
		slices.SortFunc(c.queue, compareJobs)
		c.held = nil
		v.Queue = c.queue
	}
	c.heldAt = v.Capacity()
	d := Next(v)
	b := &batch{cluster: c, now: now}
	c.apply(d, b)
	c.resizing(b)
	if c.rec.Deleting && len(c.nodes) == 0 {
		return time.Time{}, c.vanish(b)
	}
	b.commit()
	if c.broken != nil {
		return time.Time{}, true
	}
	next = d.Wake
	c.due = next
	if len(c.alarms) > 0 && (next.IsZero() || c.alarms[0].at.Before(next)) {
		next = c.alarms[0].at
	}
	return next, false
}

func (c *cluster) view(now time.Time) View {
	return View{
		Now: now, Scale: c.rec.Spec.Scale, Target: c.rec.Target, Origin: c.rec.Origin, Due: c.due,
		Evaluate: c.pool.lifecycle["evaluate"].Delay, IdleFor: c.pool.lifecycle["idle"].Delay, Deleting: c.rec.Deleting,
		Room:       c.pool.room(c.acct, c.size.Cores),
		Allocating: c.count[Allocating], Preparing: c.count[Preparing], Running: c.count[Running], Unusable: c.count[Unusable],
		Idle: c.idle, Queue: c.queue,
		Others: func() []NodeView {
			var out []NodeView
			for _, n := range c.nodes {
				switch n.rec.State {
				case Allocating, Preparing, Running, Unusable:
					out = append(out, n.view())
				}
			}
			slices.SortFunc(out, func(a, b NodeView) int { return a.Order - b.Order })
			return out
		},
	}
}

func compareJobs(a, b JobView) int {
	switch {
	case a.Before(b):
		return -1
	case b.Before(a):
		return 1
	}
	return 0
}

// apply makes the decisions so.
func (c *cluster) apply(d Decisions, b *batch) {
	if d.Target != c.rec.Target {
		c.rec.Target = d.Target
		b.self()
	}
	for _, s := range d.Stop {
		cause := stopped{Requeue: true}
		if !s.Requeue {
			cause = stopped{Err: Error{Code: "JobTerminated", Message: "The job was terminated: the cluster was resized, and its nodeDeallocationOption is terminate."}}
			if c.rec.Deleting {
				cause = stopped{Err: Error{Code: "JobTerminated", Message: "The job was terminated: its cluster was deleted."}}
			}
		}
		c.stop(c.pool.lookup(s.Job), cause, b)
	}
	for _, id := range d.Leave {
		n := c.nodes[id]
		c.set(n, Leaving, b)
		b.begin = append(b.begin, func() { n.end(stopped{}) })
	}
	if n := c.pool.take(c.acct, c.size.Cores, d.Allocate); n > 0 {
		for range n {
			c.allocate(b)
		}
		b.self()
	}
	if len(d.Start)+len(d.Hold) > 0 {
		for _, s := range d.Start {
			c.start(s, b)
		}
		for _, h := range d.Hold {
			c.why(h, b)
			c.held = append(c.held, c.dequeue(h.Job))
		}
	}
	if d.Wait != nil {
		c.why(*d.Wait, b)
	}
	if c.rec.Deleting {
		for _, v := range append(slices.Clone(c.queue), c.held...) {
			c.stop(c.pool.lookup(v.ID), stopped{Err: Error{Code: "JobTerminated", Message: "The job was terminated: its cluster was deleted."}}, b)
		}
	}
}

// dequeue takes a job that waits out of the queue, or of those that are held.
func (c *cluster) dequeue(id string) JobView {
	is := func(v JobView) bool { return v.ID == id }
	if at := slices.IndexFunc(c.queue, is); at >= 0 {
		v := c.queue[at]
		if at == 0 {
			c.queue = c.queue[1:] // as most are
		} else {
			c.queue = slices.Delete(c.queue, at, at+1)
		}
		return v
	}
	at := slices.IndexFunc(c.held, is)
	v := c.held[at]
	c.held = slices.Delete(c.held, at, at+1)
	return v
}

func (c *cluster) why(w Wait, b *batch) {
	if j := c.pool.lookup(w.Job); j != nil && j.rec.Waiting != w.Reason {
		j.rec.Waiting = w.Reason
		b.note(w.Job)
	}
}

// allocate makes a node; its cores are taken already.
func (c *cluster) allocate(b *batch) {
	c.rec.Nodes++
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.spec.ID))
	n := newNode(c, nodeRecord{Cluster: c.spec.ID, Order: c.rec.Nodes, State: Allocating, Since: b.now,
		ID: fmt.Sprintf("tvm-%d_%d-%s", h.Sum32(), c.rec.Nodes, strings.ToLower(b.now.Format("20060102T150405Z")))})
	c.nodes[n.rec.ID] = n
	c.count[Allocating]++
	b.node(n)
	b.begin = append(b.begin, n.open)
}

// set a node's state, and keep account of it.
func (c *cluster) set(n *node, s NodeState, b *batch) {
	if n.rec.State == Idle {
		if at, ok := slices.BinarySearchFunc(c.idle, n.view(), compareIdle); ok {
			if at == 0 {
				c.idle = c.idle[1:]
			} else {
				c.idle = slices.Delete(c.idle, at, at+1)
			}
		}
	}
	c.count[n.rec.State]--
	n.rec.State, n.rec.Since = s, b.now
	c.count[s]++
	if s == Idle {
		at, _ := slices.BinarySearchFunc(c.idle, n.view(), compareIdle)
		c.idle = slices.Insert(c.idle, at, n.view())
	}
	b.node(n)
}

func compareIdle(a, b NodeView) int {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return a.Order - b.Order
}

// resizing notes whether the cluster has as many nodes as it aims at.
func (c *cluster) resizing(b *batch) {
	there := c.count[Preparing] + c.count[Idle] + c.count[Running] + c.count[Unusable]
	now := there != c.rec.Target || c.count[Leaving]+c.count[Allocating]+c.count[Preempted] > 0
	if now != c.rec.Resizing {
		c.rec.Resizing, c.rec.Since = now, b.now
		b.self()
	}
}

// vanish is a deleted cluster's end.
func (c *cluster) vanish(b *batch) bool {
	p := c.pool
	for _, j := range p.jobsOf(c) {
		if !j.rec.Done() {
			b.commit()
			return false
		}
	}
	c.shared.close(context.WithoutCancel(p.ctx), p.cfg.Logger)
	removeAll(c.dir, p.cfg.Logger)
	b.record(record(kindCluster, c.spec.ID, nil))
	b.note("")
	b.commit()
	c.gone = true
	p.mu.Lock()
	delete(p.clusters, c.spec.ID)
	p.mu.Unlock()
	return true
}

func (c *cluster) setScale(s Scale) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec.Deleting || c.gone {
		return fmt.Errorf("%w: cluster %s is being deleted", ErrNotFound, c.spec.ID)
	}
	if s.Auto != nil && s.Auto.Initial == 0 && c.rec.Spec.Scale.Auto != nil {
		auto := *s.Auto
		auto.Initial = min(c.rec.Spec.Scale.Auto.Initial, auto.Maximum)
		s.Auto = &auto
	}
	before := c.rec
	c.rec.Spec.Scale = s
	if err := c.pool.journal.append(record(kindCluster, c.spec.ID, c.rec)); err != nil {
		c.rec = before
		return err
	}
	c.heldAt = -1
	c.poke()
	return nil
}

func (c *cluster) delete() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec.Deleting {
		return nil
	}
	before := c.rec
	c.rec.Deleting = true
	if err := c.pool.journal.append(record(kindCluster, c.spec.ID, c.rec)); err != nil {
		c.rec = before
		return err
	}
	c.poke()
	return nil
}

func (c *cluster) preempt(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[id]
	switch {
	case n == nil:
		return fmt.Errorf("%w: node %s", ErrNotFound, id)
	case !c.spec.LowPriority:
		return fmt.Errorf("%w: the cluster's nodes are dedicated, and those are not preempted", ErrInvalid)
	}
	return c.preemptNode(n)
}

func (c *cluster) preemptNode(n *node) error {
	switch n.rec.State {
	case Preparing, Idle, Running, Unusable:
	default:
		return fmt.Errorf("%w: node %s is %s", ErrInvalid, n.rec.ID, n.rec.State)
	}
	b := &batch{cluster: c, now: c.pool.cfg.Clock.Now()}
	c.set(n, Preempted, b)
	if n.job != nil {
		c.stop(n.job, stopped{Requeue: true}, b)
	}
	b.begin = append(b.begin, func() { n.end(stopped{Preempted: true}) })
	b.commit()
	c.poke()
	return c.broken
}

func (c *cluster) status() ClusterStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ClusterStatus{Cluster: c.rec.Spec, Target: c.rec.Target, Resizing: c.rec.Resizing, Since: c.rec.Since, Deleting: c.rec.Deleting,
		Errors: slices.Clone(c.rec.Errors),
		Counts: Counts{Preparing: c.count[Preparing], Idle: c.count[Idle], Running: c.count[Running], Leaving: c.count[Leaving],
			Unusable: c.count[Unusable], Preempted: c.count[Preempted]}}
	s.Allocated = s.Counts.Preparing + s.Counts.Idle + s.Counts.Running + s.Counts.Leaving + s.Counts.Unusable
	all := make([]*node, 0, len(c.nodes))
	for _, n := range c.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *node) int { return a.rec.Order - b.rec.Order })
	for _, n := range all {
		s.Nodes = append(s.Nodes, n.status())
		s.Errors = append(s.Errors, n.rec.Errors...)
	}
	return s
}
