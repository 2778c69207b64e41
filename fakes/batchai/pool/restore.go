package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// restore makes of the journal's entries what was, and takes it up. Containers
// that outlived the emulator are adopted here: what is not is swept afterwards.
func (p *Pool) restore(ctx context.Context, entries []entry) error {
	specs := map[string]Job{}
	var nodes []*node
	var jobs []*job
	for _, e := range entries {
		var err error
		switch e.Kind {
		case kindCluster:
			var r clusterRecord
			if err = json.Unmarshal(e.Value, &r); err == nil {
				if _, ok := hardware.Size(r.Spec.Size); !ok {
					err = fmt.Errorf("there is no size %q", r.Spec.Size)
				}
				p.clusters[e.ID] = newCluster(p, r)
			}
		case kindNode:
			var r nodeRecord
			if err = json.Unmarshal(e.Value, &r); err == nil {
				if c := p.clusters[r.Cluster]; c != nil {
					r.Boots++
					n := newNode(c, r)
					n.resume = true
					c.nodes[r.ID] = n
					c.count[r.State]++
					p.cores[c.acct] += c.size.Cores
					nodes = append(nodes, n)
				}
			}
		case kindJob:
			var s Job
			err = json.Unmarshal(e.Value, &s)
			specs[e.ID] = s
		case kindStatus:
			var r jobRecord
			if err = json.Unmarshal(e.Value, &r); err == nil {
				j := &job{spec: specs[e.ID], rec: r, cluster: p.clusters[r.Cluster]}
				if j.cluster == nil {
					// Its cluster is deleted; it is kept for who asks for it.
					j.cluster = newCluster(p, clusterRecord{Spec: Cluster{ID: r.Cluster}, Deleting: true})
					j.cluster.gone = true
					p.activity.end(j.cluster.task)
				}
				p.jobs[e.ID] = j
				jobs = append(jobs, j)
			}
		}
		if err != nil {
			return fmt.Errorf("pool: the state of %s %s: %w", e.Kind, e.ID, err)
		}
	}
	p.adopt(ctx, nodes, jobs)
	// Jobs look at the states that their nodes had.
	for _, j := range jobs {
		if !j.rec.Done() {
			if err := p.takeUp(ctx, j); err != nil {
				return err
			}
		}
	}
	for _, n := range nodes {
		n.takeUp()
	}
	for _, c := range p.clusters {
		c.open()
	}
	return nil
}

// adopt gives nodes and jobs the containers that they had.
func (p *Pool) adopt(ctx context.Context, nodes []*node, jobs []*job) {
	left := engine.AdopterOf(p.cfg.Engine)
	if left == nil && len(nodes) > 0 {
		// An engine that is opened at the first container finds them only then.
		if _, err := p.engineKind(ctx); err == nil {
			left = engine.AdopterOf(p.cfg.Engine)
		}
	}
	if left == nil {
		return
	}
	take := func(name string) engine.Container {
		container, err := left.Adopt(ctx, name)
		if err != nil {
			if !errors.Is(err, engine.ErrGone) {
				p.cfg.Logger.Warn("a container is not taken over", "container", name, "error", err)
			}
			return nil
		}
		// One that has ended is of no use any more.
		if ended(container) {
			_ = container.Remove(ctx)
			return nil
		}
		return container
	}
	for _, n := range nodes {
		n.container = take(n.containerName())
	}
	for _, j := range jobs {
		if j.rec.Done() || j.rec.State == JobQueued {
			continue
		}
		for at, id := range j.rec.Nodes {
			if container := take(j.placeName(at)); container != nil {
				j.places = append(j.places, &place{node: j.cluster.nodes[id], container: container, own: true})
			}
		}
	}
}

// takeUp is a job that was not done: it waits, it goes on, or it is lost.
func (p *Pool) takeUp(ctx context.Context, j *job) error {
	c := j.cluster
	// Jobs and nodes of the cluster that were taken up before this one are at work.
	c.mu.Lock()
	defer c.mu.Unlock()
	now := p.cfg.Clock.Now()
	if j.rec.State == JobQueued {
		c.enqueue(j)
		return nil
	}
	whole := true
	for _, id := range j.rec.Nodes {
		n := c.nodes[id]
		whole = whole && n != nil && n.container != nil && n.rec.State != Preempted
		if n != nil {
			n.job = j
			j.nodes = append(j.nodes, n)
		}
	}
	switch {
	case whole && j.rec.Begun:
		c.limit(j)
		j.open(true)
		if j.rec.Stop != nil {
			p.activity.rouse(j.task)
			j.cancel(*j.rec.Stop)
		}
		return nil
	case j.rec.Begun:
		j.become(JobFailed, now)
		j.rec.Ended = now
		j.rec.Errors = append(j.rec.Errors, Error{Code: "NodeLost", Message: "The emulator ended while the job ran, and its processes with it: it is not run again."})
	case j.rec.Stop != nil && !j.rec.Stop.Requeue:
		j.become(JobFailed, now)
		j.rec.Ended = now
		j.rec.Errors = append(j.rec.Errors, j.rec.Stop.Err)
	default:
		j.become(JobQueued, now)
		c.enqueue(j)
	}
	for _, pl := range j.places {
		if err := pl.container.Remove(ctx); err != nil {
			return err
		}
	}
	for _, n := range j.nodes {
		n.job = nil
		if n.rec.State == Running {
			c.count[Running]--
			n.rec.State, n.rec.Since = Idle, now
			c.count[Idle]++
		}
	}
	j.places, j.nodes, j.rec.Stop, j.rec.Begun = nil, nil, nil, false
	return p.journal.append(record(kindStatus, j.spec.ID, j.rec))
}

// takeUp is a node that was there. One without a container is made again.
func (n *node) takeUp() {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.container == nil {
		switch n.rec.State {
		case Allocating:
			n.resume = false
		case Idle, Running, Unusable:
			c.count[n.rec.State]--
			n.rec.State, n.rec.Since = Preparing, c.pool.cfg.Clock.Now()
			c.count[Preparing]++
		}
	} else if n.rec.State == Allocating {
		c.count[Allocating]--
		n.rec.State = Preparing
		c.count[Preparing]++
	}
	if n.rec.State == Idle {
		at, _ := slices.BinarySearchFunc(c.idle, n.view(), compareIdle)
		c.idle = slices.Insert(c.idle, at, n.view())
	}
	n.open()
	switch n.rec.State {
	case Leaving:
		n.end(stopped{})
	case Preempted:
		n.end(stopped{Preempted: true})
	}
}
