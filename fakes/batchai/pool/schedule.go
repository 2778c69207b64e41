package pool

import (
	"fmt"
	"slices"
	"time"
)

// View is all that Next goes by: a cluster at one moment.
type View struct {
	Now   time.Time
	Scale Scale
	// Target at the moment, and when autoscaling is evaluated: at Origin and each
	// Evaluate after it. Due is what the last Decisions asked for as Wake.
	Target      int
	Origin, Due time.Time
	Evaluate    time.Duration
	IdleFor     time.Duration // that a node is idle before an evaluation lets it go
	Deleting    bool
	// Room is how many nodes more the quota of cores lets the cluster have.
	Room int
	// Count of nodes by state; those that are leaving or were preempted do not count.
	Allocating, Preparing, Running, Unusable int
	// Idle nodes, the one that has been idle for longest first.
	Idle []NodeView
	// Others are all nodes of other states; asked for only when some have to go. nil: none.
	Others func() []NodeView
	// Queue of the jobs that wait, in the order of Before.
	Queue []JobView
}

// NodeView is what Next has to know of a node.
type NodeView struct {
	ID    string
	Order int // of its making
	State NodeState
	Since time.Time
	Job   string // that it runs
}

// JobView is what Next has to know of a job that waits.
type JobView struct {
	ID       string
	Priority Priority
	Order    int // of its submission
	Nodes    int
}

// Before says whether a job is to start before another: higher priority first, then the older one.
func (j JobView) Before(o JobView) bool {
	if a, b := j.Priority.rank(), o.Priority.rank(); a != b {
		return a < b
	}
	return j.Order < o.Order
}

// Decisions are what is to be done now.
type Decisions struct {
	Target   int
	Allocate int // nodes
	// Leave names nodes that go. Stops are the jobs that run on them.
	Leave []string
	Stop  []Stop
	Start []Start
	// Hold names jobs that can't start with the cluster as it is: they are out of
	// the way of others until its Capacity grows.
	Hold []Wait
	// Wait is the first job that waits for nodes to come or become idle.
	Wait *Wait
	// Wake is when to ask again if nothing happens before; zero: never.
	Wake time.Time
}

// Stop of a job whose node goes: it waits again, or it is over.
type Stop struct {
	Job     string
	Requeue bool
}

// Start of a job.
type Start struct {
	Job   string
	Nodes []string
}

// Wait says why a job does not start.
type Wait struct{ Job, Reason string }

// Next decides what a cluster does. It keeps to these rules: a job starts on as
// many idle nodes as it asks for, all at once; none starts before one that comes
// Before it, unless that one can't start at all (Hold), so that no job is
// overtaken for ever; the cluster never aims above its maximum, below its minimum
// or beyond the quota's room; autoscaling is evaluated at its times alone, aims at
// what runs and waits, and never takes a node that is busy.
func Next(v View) Decisions {
	if v.Deleting {
		return deleting(v)
	}
	d := Decisions{Target: target(v)}
	idle := v.Idle
	switch surplus := v.size() - d.Target; {
	case surplus > 0:
		idle = shrink(v, surplus, &d)
	case surplus < 0:
		d.Allocate = min(-surplus, max(v.Room, 0))
	}
	after := v
	after.Target = d.Target
	idle = assign(after, idle, &d)
	d.Wake = wake(after, idle, d)
	return d
}

func (v View) size() int { return v.Allocating + v.Preparing + v.Running + v.Unusable + len(v.Idle) }

// Capacity is the most nodes that a job can hope for.
func (v View) Capacity() int {
	return max(0, min(v.Scale.Max(), v.size()+max(v.Room, 0))-v.Unusable)
}

func deleting(v View) Decisions {
	var d Decisions
	for _, n := range v.nodes() {
		d.Leave = append(d.Leave, n.ID)
		if n.Job != "" && !slices.ContainsFunc(d.Stop, func(s Stop) bool { return s.Job == n.Job }) {
			d.Stop = append(d.Stop, Stop{Job: n.Job})
		}
	}
	return d
}

func (v View) nodes() []NodeView {
	all := slices.Clone(v.Idle)
	if v.Others != nil {
		all = append(all, v.Others()...)
	}
	return all
}

// target is the number of nodes to aim at now.
func target(v View) int {
	if v.Scale.Auto == nil {
		return v.Scale.Max()
	}
	if v.Evaluate <= 0 || !v.Due.IsZero() && !v.Now.Before(v.Due) {
		return v.evaluate(v.Idle, v.Running)
	}
	return v.clamp(v.Target)
}

func (v View) clamp(n int) int {
	return max(v.Scale.Auto.Minimum, min(n, v.Scale.Auto.Maximum))
}

// evaluate is autoscaling's formula: the nodes that are busy, and those that the
// queue needs or, if they are more, those that have not been idle for long.
// Unusable nodes are made up for as long as somebody waits, and then let go.
func (v View) evaluate(idle []NodeView, busy int) int {
	most, capacity := v.Scale.Auto.Maximum, v.Capacity()
	young := v.Allocating + v.Preparing + len(idle) - v.old(idle)
	needed := 0
	for _, j := range v.Queue {
		if busy+max(needed, young) >= most {
			break // more than that it can't be, however long the queue
		}
		if j.Nodes <= capacity {
			needed += j.Nodes
		}
	}
	want := busy + max(needed, young)
	if needed > 0 {
		want += v.Unusable
	}
	return v.clamp(want)
}

// old is how many of the idle nodes have been so for IdleFor: the first ones.
func (v View) old(idle []NodeView) int {
	at, _ := slices.BinarySearchFunc(idle, v.Now.Add(-v.IdleFor), func(n NodeView, since time.Time) int {
		if n.Since.After(since) {
			return 1
		}
		return -1
	})
	return at
}

// shrink picks the nodes that go: those that are of no use first, those that run
// jobs last. It returns the idle ones that stay.
func shrink(v View, surplus int, d *Decisions) []NodeView {
	var unusable, coming, busy []NodeView
	if v.Others != nil {
		for _, n := range v.Others() {
			switch n.State {
			case Unusable:
				unusable = append(unusable, n)
			case Allocating, Preparing:
				coming = append(coming, n)
			case Running:
				busy = append(busy, n)
			}
		}
	}
	newestFirst := func(a, b NodeView) int { return b.Order - a.Order }
	slices.SortFunc(unusable, newestFirst)
	slices.SortFunc(coming, newestFirst)
	take := func(from []NodeView) []NodeView {
		n := min(surplus, len(from))
		for _, node := range from[:n] {
			d.Leave = append(d.Leave, node.ID)
		}
		surplus -= n
		return from[n:]
	}
	take(unusable)
	take(coming)
	idle := take(v.Idle)
	option := v.Scale.deallocation()
	if surplus == 0 || v.Scale.Auto != nil || option == WaitForJobCompletion {
		return idle
	}
	// The jobs that began last lose least; a job's nodes go together.
	slices.SortFunc(busy, func(a, b NodeView) int {
		if c := b.Since.Compare(a.Since); c != 0 {
			return c
		}
		if a.Job != b.Job {
			if a.Job > b.Job {
				return -1
			}
			return 1
		}
		return newestFirst(a, b)
	})
	for _, n := range busy[:min(surplus, len(busy))] {
		if len(d.Stop) == 0 || d.Stop[len(d.Stop)-1].Job != n.Job {
			d.Stop = append(d.Stop, Stop{Job: n.Job, Requeue: option == Requeue})
		}
	}
	take(busy)
	return idle
}

// assign starts jobs in their order, and says why the first that can't start waits.
func assign(v View, idle []NodeView, d *Decisions) []NodeView {
	capacity := v.Capacity()
	for _, j := range v.Queue {
		switch {
		case j.Nodes > capacity:
			d.Hold = append(d.Hold, Wait{j.ID, v.whyHeld(j.Nodes)})
		case j.Nodes <= len(idle):
			s := Start{Job: j.ID}
			for _, n := range idle[:j.Nodes] {
				s.Nodes = append(s.Nodes, n.ID)
			}
			idle = idle[j.Nodes:]
			d.Start = append(d.Start, s)
		default:
			d.Wait = &Wait{j.ID, fmt.Sprintf("The job needs %d node(s); %d of the cluster's %d are idle.", j.Nodes, len(idle), v.size())}
			return idle
		}
	}
	return idle
}

func (v View) whyHeld(nodes int) string {
	most := v.Scale.Max()
	switch {
	case v.Scale.Manual != nil && most == 0:
		return fmt.Sprintf("The job needs %d node(s), and the cluster's targetNodeCount is 0.", nodes)
	case v.Scale.Manual != nil && nodes > most:
		return fmt.Sprintf("The job needs %d nodes, more than the cluster's targetNodeCount of %d.", nodes, most)
	case nodes > most:
		return fmt.Sprintf("The job needs %d nodes, more than the cluster's maximumNodeCount of %d.", nodes, most)
	case nodes > v.size()+max(v.Room, 0):
		return fmt.Sprintf("The job needs %d node(s), more than the quota of cores lets the cluster have: it has %d, and there is room for %d.", nodes, v.size(), max(v.Room, 0))
	}
	return fmt.Sprintf("The job needs %d node(s), and %d of the cluster's %d are unusable.", nodes, v.Unusable, v.size())
}

// wake is the next evaluation that may change something.
func wake(v View, idle []NodeView, d Decisions) time.Time {
	if v.Scale.Auto == nil {
		return time.Time{}
	}
	started := 0
	for _, s := range d.Start {
		started += len(s.Nodes)
	}
	after := v
	// What starts or is held is the queue's beginning.
	after.Queue = v.Queue[len(d.Start)+len(d.Hold):]
	after.Idle, after.Running = idle, v.Running+started
	after.Allocating = v.Allocating + d.Allocate
	if after.evaluate(idle, after.Running) != d.Target {
		return v.tick(v.Now)
	}
	next := v.old(idle)
	if next == len(idle) || len(idle)+after.Running+v.Preparing+after.Allocating+v.Unusable <= v.Scale.Auto.Minimum {
		return time.Time{}
	}
	return v.tick(idle[next].Since.Add(v.IdleFor - 1))
}

// tick is the first evaluation after a moment.
func (v View) tick(t time.Time) time.Time {
	if v.Evaluate <= 0 {
		return t.Add(1)
	}
	if t.Before(v.Origin) {
		return v.Origin
	}
	return v.Origin.Add((t.Sub(v.Origin)/v.Evaluate + 1) * v.Evaluate)
}
