package pool_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/fakes/batchai/pool"
)

var t0 = time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)

func idle(n int, since time.Duration) []pool.NodeView {
	var out []pool.NodeView
	for i := range n {
		out = append(out, pool.NodeView{ID: fmt.Sprintf("n%d", i+1), Order: i + 1, State: pool.Idle, Since: t0.Add(-since)})
	}
	return out
}

func manual(n int, d pool.Deallocation) pool.Scale {
	return pool.Scale{Manual: &pool.Manual{Target: n, Deallocation: d}}
}

func auto(least, most int) pool.Scale {
	return pool.Scale{Auto: &pool.Auto{Minimum: least, Maximum: most}}
}

func jobs(nodes ...int) []pool.JobView {
	var out []pool.JobView
	for i, n := range nodes {
		out = append(out, pool.JobView{ID: fmt.Sprintf("j%d", i+1), Order: i + 1, Nodes: n})
	}
	return out
}

func busy(n int, job string, since time.Duration, d []pool.NodeView) func() []pool.NodeView {
	for i := range n {
		d = append(d, pool.NodeView{ID: fmt.Sprintf("%s-%d", job, i+1), Order: 100 + i, State: pool.Running, Since: t0.Add(-since), Job: job})
	}
	return func() []pool.NodeView { return slices.Clone(d) }
}

// What Next decides, case by case.
func TestNext(t *testing.T) {
	const minutes = 5 * time.Minute
	for name, c := range map[string]struct {
		view pool.View
		want string
	}{
		"a manual cluster grows at once": {pool.View{Scale: manual(3, ""), Room: 9}, "target 3 allocate 3"},
		"as far as the quota goes":       {pool.View{Scale: manual(3, ""), Room: 2}, "target 3 allocate 2"},
		"a job starts on as many nodes as it asks for": {pool.View{Scale: manual(3, ""), Idle: idle(3, 0), Queue: jobs(2, 1, 1)},
			"target 3 start j1:n1,n2 start j2:n3 wait j3"},
		"who comes first is not overtaken by who needs less": {pool.View{Scale: manual(3, ""), Running: 2, Idle: idle(1, 0), Queue: jobs(2, 1)}, "target 3 wait j1"},
		"who can't start at all is": {pool.View{Scale: manual(2, ""), Idle: idle(2, 0), Queue: jobs(3, 2)},
			"target 2 start j2:n1,n2 hold j1: The job needs 3 nodes, more than the cluster's targetNodeCount of 2."},
		"zero nodes and a job": {pool.View{Scale: manual(0, ""), Queue: jobs(1)}, "target 0 hold j1: The job needs 1 node(s), and the cluster's targetNodeCount is 0."},
		"more nodes than autoscaling may have (batch-shipyard 343)": {pool.View{Scale: auto(0, 2), Evaluate: minutes, IdleFor: minutes, Room: 9, Queue: jobs(3)},
			"target 0 hold j1: The job needs 3 nodes, more than the cluster's maximumNodeCount of 2."},
		"over quota": {pool.View{Scale: auto(0, 4), Evaluate: minutes, Origin: t0, Room: 1, Queue: jobs(2)},
			"target 0 hold j1: The job needs 2 node(s), more than the quota of cores lets the cluster have: it has 0, and there is room for 1."},
		"unusable nodes count": {pool.View{Scale: manual(2, ""), Unusable: 1, Idle: idle(1, 0), Queue: jobs(2)},
			"target 2 hold j1: The job needs 2 node(s), and 1 of the cluster's 2 are unusable."},
		"autoscaling waits for its evaluation (doAzureParallel 333)": {pool.View{Scale: auto(0, 4), Evaluate: minutes, IdleFor: minutes, Origin: t0.Add(-time.Minute), Room: 9, Queue: jobs(2, 1)},
			"target 0 wait j1 wake 4m0s"},
		"and grows by what waits": {pool.View{Scale: auto(0, 4), Evaluate: minutes, IdleFor: minutes, Origin: t0.Add(-minutes), Due: t0, Room: 9, Queue: jobs(2, 1)},
			"target 3 allocate 3 wait j1"},
		"what is unusable is made up for while somebody waits": {pool.View{Scale: auto(0, 6), Evaluate: minutes, IdleFor: minutes, Origin: t0, Target: 2, Due: t0, Room: 9, Unusable: 2, Queue: jobs(2)},
			"target 4 allocate 2 wait j1"},
		"and goes when nobody does": {pool.View{Scale: auto(0, 6), Evaluate: minutes, IdleFor: minutes, Origin: t0, Target: 1, Due: t0, Room: 9, Unusable: 1, Others: func() []pool.NodeView { return []pool.NodeView{{ID: "bad", State: pool.Unusable}} }},
			"target 0 leave bad"},
		"who can't start at all is nobody to grow for": {pool.View{Scale: auto(0, 6), Evaluate: minutes, IdleFor: minutes, Origin: t0, Due: t0, Room: 3, Queue: jobs(4, 1)},
			"target 1 allocate 1 hold j1: The job needs 4 node(s), more than the quota of cores lets the cluster have: it has 0, and there is room for 3. wait j2"},
		"no further than its maximum": {pool.View{Scale: auto(0, 2), Evaluate: minutes, IdleFor: minutes, Due: t0, Room: 9, Queue: jobs(2, 2, 2)}, "target 2 allocate 2 wait j1"},
		"what has not been idle for long stays": {pool.View{Scale: auto(0, 4), Evaluate: minutes, IdleFor: minutes, Origin: t0, Target: 2, Due: t0, Idle: idle(2, time.Minute)},
			"target 2 wake 5m0s"},
		"what has goes, down to the minimum": {pool.View{Scale: auto(1, 4), Evaluate: minutes, IdleFor: minutes, Origin: t0, Target: 3, Due: t0, Idle: idle(3, minutes)},
			"target 1 leave n1,n2"},
		"it does not scale down while somebody waits (doAzureParallel 294)": {pool.View{Scale: auto(0, 4), Evaluate: minutes, IdleFor: minutes, Origin: t0, Target: 3, Due: t0, Room: 9, Running: 2, Idle: idle(1, time.Hour), Queue: jobs(2)},
			"target 4 allocate 1 wait j1"},
		"autoscaling takes no busy node": {pool.View{Scale: auto(0, 1), Evaluate: minutes, IdleFor: minutes, Due: t0, Target: 3, Running: 3, Others: busy(3, "j", 0, nil)}, "target 1"},
		"the youngest job's nodes go first, and it waits again": {pool.View{Scale: manual(2, pool.Requeue), Running: 3, Others: busy(1, "young", 0, busy(2, "old", time.Hour, nil)())},
			"target 2 leave young-1 stop young requeue"},
		"or is over": {pool.View{Scale: manual(0, pool.Terminate), Running: 2, Others: busy(2, "j", 0, nil)}, "target 0 leave j-2,j-1 stop j"},
		"or the nodes stay for as long as it runs": {pool.View{Scale: manual(0, pool.WaitForJobCompletion), Running: 2, Idle: idle(1, 0), Others: busy(2, "j", 0, nil), Queue: jobs(1)},
			"target 0 leave n1 hold j1: The job needs 1 node(s), and the cluster's targetNodeCount is 0."},
		"unusable nodes go first": {pool.View{Scale: manual(1, ""), Unusable: 1, Idle: idle(1, 0), Others: func() []pool.NodeView { return []pool.NodeView{{ID: "bad", State: pool.Unusable}} }},
			"target 1 leave bad"},
		"a deleted cluster": {pool.View{Scale: manual(3, ""), Deleting: true, Running: 2, Idle: idle(1, 0), Others: busy(2, "j", 0, nil), Queue: jobs(1)}, "target 0 leave n1,j-1,j-2 stop j"},
	} {
		t.Run(name, func(t *testing.T) {
			c.view.Now = t0
			if got := describe(pool.Next(c.view)); got != c.want {
				t.Errorf("\n%s, want\n%s", got, c.want)
			}
		})
	}
}

func describe(d pool.Decisions) string {
	out := []string{fmt.Sprintf("target %d", d.Target)}
	if d.Allocate > 0 {
		out = append(out, fmt.Sprintf("allocate %d", d.Allocate))
	}
	if len(d.Leave) > 0 {
		out = append(out, "leave "+strings.Join(d.Leave, ","))
	}
	for _, s := range d.Stop {
		if out = append(out, "stop "+s.Job); s.Requeue {
			out = append(out, "requeue")
		}
	}
	for _, s := range d.Start {
		out = append(out, "start "+s.Job+":"+strings.Join(s.Nodes, ","))
	}
	for _, h := range d.Hold {
		out = append(out, "hold "+h.Job+": "+h.Reason)
	}
	if d.Wait != nil {
		out = append(out, "wait "+d.Wait.Job)
	}
	if !d.Wake.IsZero() {
		out = append(out, "wake "+d.Wake.Sub(t0).String())
	}
	return strings.Join(out, " ")
}

// history is a cluster's life by a model of the world that does what Next says,
// and in which anything may fail at any time.
type history struct {
	t     *testing.T
	seed  uint64
	dice  *rand.Rand
	v     pool.View
	all   map[string]*modelNode
	queue []pool.JobView // and those that are held
	held  map[string]bool
	heldC int
	runs  map[string]*modelJob
	done  map[string]int
	quota int
	made  int
}

type modelNode struct {
	pool.NodeView
	left bool // leaving
}

type modelJob struct {
	pool.JobView
	nodes []string
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("history %d: %s", h.seed, fmt.Sprintf(format, args...))
}

// look builds the view and carries out what Next says, with all the rules checked.
func (h *history) look() {
	h.v.Allocating, h.v.Preparing, h.v.Running, h.v.Unusable, h.v.Idle = 0, 0, 0, 0, nil
	for _, n := range h.all {
		if n.left {
			continue
		}
		switch n.State {
		case pool.Allocating:
			h.v.Allocating++
		case pool.Preparing:
			h.v.Preparing++
		case pool.Running:
			h.v.Running++
		case pool.Unusable:
			h.v.Unusable++
		case pool.Idle:
			h.v.Idle = append(h.v.Idle, n.NodeView)
		}
	}
	slices.SortFunc(h.v.Idle, func(a, b pool.NodeView) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return a.Order - b.Order
	})
	h.v.Others = func() []pool.NodeView {
		var out []pool.NodeView
		for _, n := range h.all {
			if !n.left && n.State != pool.Idle {
				out = append(out, n.NodeView)
			}
		}
		slices.SortFunc(out, func(a, b pool.NodeView) int { return a.Order - b.Order })
		return out
	}
	h.v.Room = max(0, h.quota-len(h.all))
	if c := h.v.Capacity(); c > h.heldC {
		clear(h.held)
	}
	h.heldC = h.v.Capacity()
	h.v.Queue = nil
	// The most that a job can hope for, by what the world has: what is here or may be had, and is fit.
	most := 0
	switch s := h.v.Scale; {
	case s.Auto != nil:
		most = s.Auto.Maximum
	case s.Manual != nil:
		most = s.Manual.Target
	}
	hope := max(0, min(most, h.v.Allocating+h.v.Preparing+h.v.Running+h.v.Unusable+len(h.v.Idle)+h.v.Room)-h.v.Unusable)
	slices.SortFunc(h.queue, func(a, b pool.JobView) int {
		if a.Before(b) {
			return -1
		}
		return 1
	})
	for _, j := range h.queue {
		if !h.held[j.ID] {
			h.v.Queue = append(h.v.Queue, j)
		}
	}
	d := pool.Next(h.v)
	h.bounds(d)
	if a := h.v.Scale.Auto; a != nil && !h.v.Due.IsZero() && !h.v.Now.Before(h.v.Due) {
		// An evaluation: it aims at what runs, and at what waits and can start, for which what is
		// unusable is made up for; or at what is new, if that is more. At nothing else.
		needed, fresh, unfit := 0, h.v.Allocating+h.v.Preparing, 0
		for _, j := range h.v.Queue {
			if j.Nodes <= hope {
				needed += j.Nodes
				unfit = h.v.Unusable
			}
		}
		for _, n := range h.v.Idle {
			if h.v.Now.Sub(n.Since) < h.v.IdleFor {
				fresh++
			}
		}
		if want := max(a.Minimum, min(a.Maximum, h.v.Running+max(needed, fresh)+unfit)); d.Target != want {
			h.fail("an evaluation aims at %d, not %d: %d run, %d are needed, %d new, %d unusable", d.Target, want, h.v.Running, needed, fresh, h.v.Unusable)
		}
	}
	for _, s := range d.Stop {
		j := h.runs[s.Job]
		if j == nil {
			h.fail("%s is stopped and does not run", s.Job)
		}
		if option := h.v.Scale.Manual.Deallocation; s.Requeue != (option == pool.Requeue) || option == pool.WaitForJobCompletion {
			h.fail("%s is stopped, to wait again: %v, by the option %s", s.Job, s.Requeue, option)
		}
		h.end(j, s.Requeue)
	}
	for _, id := range d.Leave {
		n := h.all[id]
		if n == nil || n.left {
			h.fail("%s is to leave and is not there", id)
		}
		n.left, n.Job = true, ""
	}
	for range d.Allocate {
		h.made++
		id := fmt.Sprintf("n%d", h.made)
		h.all[id] = &modelNode{NodeView: pool.NodeView{ID: id, Order: h.made, State: pool.Allocating, Since: h.v.Now}}
	}
	if len(h.all) > h.quota {
		h.fail("%d nodes, and the quota is for %d", len(h.all), h.quota)
	}
	started := map[string]bool{}
	for i, s := range d.Start {
		at := slices.IndexFunc(h.queue, func(j pool.JobView) bool { return j.ID == s.Job })
		if at < 0 || h.runs[s.Job] != nil || h.done[s.Job] > 0 {
			h.fail("%s is started and does not wait", s.Job)
		}
		j := h.queue[at]
		if len(s.Nodes) != j.Nodes {
			h.fail("%s gets %d nodes of %d", s.Job, len(s.Nodes), j.Nodes)
		}
		// Whoever comes before it starts too, or can't at all.
		for _, before := range h.queue {
			if before.Before(j) && !started[before.ID] && !h.held[before.ID] && !slices.ContainsFunc(d.Hold, func(w pool.Wait) bool { return w.Job == before.ID }) {
				h.fail("%s overtakes %s", s.Job, before.ID)
			}
		}
		started[s.Job] = true
		for _, id := range s.Nodes {
			n := h.all[id]
			if n == nil || n.left || n.State != pool.Idle {
				h.fail("start %d: %s gets %s, which is not idle", i, s.Job, id)
			}
			n.State, n.Job, n.Since = pool.Running, s.Job, h.v.Now
		}
		h.runs[s.Job] = &modelJob{j, s.Nodes}
	}
	// Whoever can't start as things are is held, and nobody else: who waits in the way of others has hope.
	held := map[string]bool{}
	for _, w := range d.Hold {
		at := slices.IndexFunc(h.v.Queue, func(j pool.JobView) bool { return j.ID == w.Job })
		if w.Reason == "" || at < 0 || h.v.Queue[at].Nodes <= hope {
			h.fail("%s is held (%q), and %d nodes are to be hoped for", w.Job, w.Reason, hope)
		}
		held[w.Job], h.held[w.Job] = true, true
	}
	first := slices.IndexFunc(h.v.Queue, func(j pool.JobView) bool { return !started[j.ID] && !held[j.ID] })
	switch {
	case first < 0 && d.Wait != nil:
		h.fail("%s waits and is not in the queue", d.Wait.Job)
	case first >= 0 && (d.Wait == nil || d.Wait.Job != h.v.Queue[first].ID || d.Wait.Reason == ""):
		h.fail("%s is first, and who waits is %v", h.v.Queue[first].ID, d.Wait)
	case first >= 0 && h.v.Queue[first].Nodes > hope:
		h.fail("%s waits in the way of others for %d nodes, and %d are to be hoped for", d.Wait.Job, h.v.Queue[first].Nodes, hope)
	}
	h.queue = slices.DeleteFunc(h.queue, func(j pool.JobView) bool { return started[j.ID] })
	h.v.Target, h.v.Due = d.Target, d.Wake
}

func (h *history) bounds(d pool.Decisions) {
	if a := h.v.Scale.Auto; a != nil {
		if d.Target < a.Minimum || d.Target > a.Maximum {
			h.fail("target %d of %d to %d", d.Target, a.Minimum, a.Maximum)
		}
		if len(d.Stop) > 0 {
			h.fail("autoscaling stops a job")
		}
	} else if d.Target != h.v.Scale.Manual.Target {
		h.fail("target %d of %d", d.Target, h.v.Scale.Manual.Target)
	}
	there := h.v.Allocating + h.v.Preparing + h.v.Running + h.v.Unusable + len(h.v.Idle)
	if d.Allocate > 0 && there+d.Allocate > d.Target {
		h.fail("%d nodes and %d more, of %d", there, d.Allocate, d.Target)
	}
	if there-len(d.Leave) < d.Target && len(d.Leave) > 0 {
		h.fail("%d nodes without %d, of %d", there, len(d.Leave), d.Target)
	}
	if d.Allocate > 0 && len(d.Leave) > 0 {
		h.fail("nodes come and go at once")
	}
	if !d.Wake.IsZero() && !d.Wake.After(h.v.Now) {
		h.fail("it wants to be asked again at once")
	}
}

// end of a job, on its nodes that are still there.
func (h *history) end(j *modelJob, again bool) {
	delete(h.runs, j.ID)
	for _, id := range j.nodes {
		if n := h.all[id]; n != nil && !n.left && n.State == pool.Running {
			n.State, n.Job, n.Since = pool.Idle, "", h.v.Now
		}
	}
	if again {
		h.queue = append(h.queue, j.JobView)
		return
	}
	if h.done[j.ID]++; h.done[j.ID] > 1 {
		h.fail("%s ends twice", j.ID)
	}
}

// sorted ids of the nodes that fit, so that a seed repeats a history.
func (h *history) nodes(fits func(*modelNode) bool) []string {
	var out []string
	for id, n := range h.all {
		if fits(n) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// happen is one event of the world.
func (h *history) happen(faults bool) {
	pick := func(ids []string) *modelNode {
		if len(ids) == 0 {
			return nil
		}
		return h.all[ids[h.dice.IntN(len(ids))]]
	}
	kind := h.dice.IntN(10)
	if !faults && kind >= 8 {
		kind = h.dice.IntN(4)
	}
	switch kind {
	case 0, 1: // nodes come up
		if n := pick(h.nodes(func(n *modelNode) bool { return n.State == pool.Allocating || n.State == pool.Preparing })); n != nil && !n.left {
			n.State, n.Since = map[pool.NodeState]pool.NodeState{pool.Allocating: pool.Preparing, pool.Preparing: pool.Idle}[n.State], h.v.Now
			if n.State == pool.Idle && faults && h.dice.IntN(8) == 0 {
				n.State = pool.Unusable
			}
		}
	case 2: // one that leaves is gone
		if n := pick(h.nodes(func(n *modelNode) bool { return n.left })); n != nil {
			delete(h.all, n.ID)
		}
	case 3, 4: // a job ends
		var ids []string
		for id := range h.runs {
			ids = append(ids, id)
		}
		if slices.Sort(ids); len(ids) > 0 {
			h.end(h.runs[ids[h.dice.IntN(len(ids))]], false)
		}
	case 5, 6: // time passes
		h.v.Now = h.v.Now.Add(time.Duration(h.dice.IntN(120)) * time.Second)
	case 7: // until it wants to be asked
		if !h.v.Due.IsZero() && h.v.Due.After(h.v.Now) {
			h.v.Now = h.v.Due
		}
	case 8: // a node is preempted
		if n := pick(h.nodes(func(n *modelNode) bool { return !n.left && n.State != pool.Allocating })); n != nil {
			job := n.Job
			delete(h.all, n.ID)
			if job != "" {
				h.end(h.runs[job], true)
			}
		}
	case 9: // somebody changes the scale, or others the quota
		h.scale()
	}
}

func (h *history) scale() {
	switch h.dice.IntN(4) {
	case 0:
		h.quota = h.dice.IntN(12)
		h.quota = max(h.quota, len(h.all))
	case 1:
		h.v.Scale = manual(h.dice.IntN(8), []pool.Deallocation{pool.Requeue, pool.Terminate, pool.WaitForJobCompletion}[h.dice.IntN(3)])
	default:
		least := h.dice.IntN(4)
		h.v.Scale = auto(least, least+h.dice.IntN(6))
	}
	h.heldC = -1
}

// Ten thousand lives of a cluster: no job is lost or run twice, bounds are kept,
// none is overtaken but by who comes before it, and once faults end all end.
func TestHistories(t *testing.T) {
	histories := uint64(10000)
	if testing.Short() {
		histories = 500
	}
	for seed := range histories {
		h := &history{t: t, seed: seed, dice: rand.New(rand.NewPCG(seed, 1)), all: map[string]*modelNode{}, held: map[string]bool{},
			runs: map[string]*modelJob{}, done: map[string]int{}, quota: 12, heldC: -1}
		h.v = pool.View{Now: t0, Origin: t0, Evaluate: 5 * time.Minute, IdleFor: 5 * time.Minute}
		h.scale()
		if h.v.Scale.Auto == nil && h.v.Scale.Manual == nil {
			h.v.Scale = auto(0, 4)
		}
		submitted := 0
		for range 60 {
			if h.dice.IntN(3) == 0 {
				submitted++
				h.queue = append(h.queue, pool.JobView{ID: fmt.Sprintf("j%d", submitted), Order: submitted, Nodes: 1 + h.dice.IntN(4),
					Priority: []pool.Priority{pool.Low, pool.Normal, pool.High}[h.dice.IntN(3)]})
			}
			h.happen(true)
			h.look()
			if got := len(h.queue) + len(h.runs) + len(h.done); got != submitted {
				h.fail("%d jobs of %d", got, submitted)
			}
		}
		// Nothing fails any more, and the cluster is given what its jobs need: all jobs end. Of the
		// histories half have their nodes mended before (target 0 and back); in the others autoscaling
		// makes up for those that are unusable.
		h.quota = 24
		ends := []pool.Scale{manual(0, pool.Requeue), auto(0, 4)}
		if seed%2 == 1 {
			ends = []pool.Scale{auto(0, 4+len(h.nodes(func(n *modelNode) bool { return !n.left && n.State == pool.Unusable })))}
		}
		for _, s := range ends {
			h.v.Scale, h.heldC = s, -1
			for range 4000 {
				h.look()
				// And then nothing is left of the cluster.
				if len(h.queue)+len(h.runs) == 0 && s.Auto != nil && len(h.all) == 0 || s.Manual != nil && len(h.all) == 0 {
					break
				}
				h.happen(false)
			}
		}
		if len(h.queue)+len(h.runs) > 0 {
			h.fail("%d wait and %d run for ever: %v, target %d", len(h.queue), len(h.runs), h.queue, h.v.Target)
		}
		if len(h.all) > 0 {
			h.fail("%d nodes stay for ever, with nothing to do", len(h.all))
		}
		if len(h.done) != submitted {
			h.fail("%d of %d done", len(h.done), submitted)
		}
	}
}
