package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// job is a job at work. While it runs one goroutine sees it through.
type job struct {
	cluster *cluster
	spec    Job // never changes

	// Under the cluster's lock.
	rec    jobRecord
	nodes  []*node // that it has, its master first
	task   *task
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it has let its nodes go
	places []*place      // containers of its own that outlived the emulator
	late   *alarm        // when it has run for too long
}

// jobRecord is what is kept of how a job stands.
type jobRecord struct {
	JobStatus
	Order int
	// Begun says that something of it may have begun in this attempt.
	Begun bool `json:",omitempty"`
	// Stop is why it is to end, from when it was told to.
	Stop *stopped `json:",omitempty"`
}

func (r jobRecord) snapshot() JobStatus {
	s := r.JobStatus
	s.Errors, s.Nodes, s.Warnings = slices.Clone(s.Errors), slices.Clone(s.Nodes), slices.Clone(s.Warnings)
	if s.ExitCode != nil {
		code := *s.ExitCode
		s.ExitCode = &code
	}
	return s
}

// stopped is why a job, or a node, is told to end.
type stopped struct {
	Requeue, Preempted bool
	Err                Error
}

// Error implements error, so that it can be a context's cause.
func (s stopped) Error() string { return "stopped: " + s.Err.Message }

// outcome is how an attempt ended.
type outcome struct {
	exit *int
	errs []Error
	// unsure says that something of it may run on: its nodes are not to be used again.
	unsure bool
}

func (j Job) limit() time.Duration {
	if j.MaxWallClockTime > 0 {
		return j.MaxWallClockTime
	}
	return week
}

func (j *job) become(s JobState, now time.Time) {
	if j.rec.State != s {
		j.rec.State, j.rec.Since = s, now
	}
}

func (j *job) view() JobView {
	return JobView{ID: j.spec.ID, Priority: j.spec.Priority, Order: j.rec.Order, Nodes: j.spec.Nodes}
}

func (c *cluster) submit(spec Job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pool
	if c.rec.Deleting || c.gone {
		return fmt.Errorf("%w: cluster %s is being deleted", ErrNotFound, c.spec.ID)
	}
	now := p.cfg.Clock.Now()
	j := &job{cluster: c, spec: spec, rec: jobRecord{Order: c.rec.Jobs + 1,
		JobStatus: JobStatus{ID: spec.ID, Cluster: c.spec.ID, State: JobQueued, Since: now, Submitted: now}}}
	p.mu.Lock()
	taken := p.jobs[spec.ID] != nil
	if !taken {
		p.jobs[spec.ID] = j
	}
	p.mu.Unlock()
	if taken {
		return fmt.Errorf("%w: job %s", ErrExists, spec.ID)
	}
	c.rec.Jobs++
	if err := p.journal.append(record(kindJob, spec.ID, spec), record(kindStatus, spec.ID, j.rec)); err != nil {
		p.mu.Lock()
		delete(p.jobs, spec.ID)
		p.mu.Unlock()
		return err
	}
	c.enqueue(j)
	p.changes.note(Change{c.spec.ID, spec.ID})
	c.poke()
	return nil
}

func (c *cluster) enqueue(j *job) {
	v := j.view()
	at, _ := slices.BinarySearchFunc(c.queue, v, compareJobs)
	c.queue = slices.Insert(c.queue, at, v)
}

func (c *cluster) terminate(j *job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &batch{cluster: c, now: c.pool.cfg.Clock.Now()}
	c.stop(j, stopped{Err: Error{Code: "JobTerminated", Message: "The job was terminated by a request."}}, b)
	b.commit()
	c.poke()
	return c.broken
}

func (c *cluster) forget(j *job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !j.rec.Done() {
		return fmt.Errorf("%w: job %s is %s", ErrInvalid, j.spec.ID, j.rec.State)
	}
	if err := c.pool.journal.append(record(kindJob, j.spec.ID, nil), record(kindStatus, j.spec.ID, nil)); err != nil {
		return err
	}
	c.pool.mu.Lock()
	delete(c.pool.jobs, j.spec.ID)
	c.pool.mu.Unlock()
	c.pool.changes.note(Change{c.spec.ID, j.spec.ID})
	return nil
}

// start gives a job its nodes. That it may begin is written before it does (job.begun).
func (c *cluster) start(s Start, b *batch) {
	j := c.pool.lookup(s.Job)
	c.dequeue(s.Job)
	j.rec.Nodes = s.Nodes
	j.nodes = nil
	for _, id := range s.Nodes {
		n := c.nodes[id]
		n.job = j
		j.nodes = append(j.nodes, n)
		c.set(n, Running, b)
	}
	j.become(JobRunning, b.now)
	j.rec.Started, j.rec.Waiting, j.rec.Begun = b.now, "", false
	j.rec.Attempts++
	b.job(j)
	b.begin = append(b.begin, func() { j.open(false) })
	c.limit(j)
}

// limit sets when a job that runs has run for too long.
func (c *cluster) limit(j *job) {
	limit, attempt := j.spec.limit(), j.rec.Attempts
	j.late = c.alarm(j.rec.Started.Add(limit), func() {
		if j.rec.State != JobRunning || j.rec.Attempts != attempt {
			return
		}
		b := &batch{cluster: c, now: c.pool.cfg.Clock.Now()}
		c.stop(j, stopped{Err: Error{Code: "JobTimedOut", Message: fmt.Sprintf("The job was terminated: it ran for longer than its maxWallClockTime of %v.", limit)}}, b)
		b.commit()
	})
}

// stop tells a job to end, if it isn't at its end and was not told before. What
// fails it has the last word over what would queue it again.
func (c *cluster) stop(j *job, why stopped, b *batch) {
	switch {
	case j == nil || j.rec.Done():
	case j.rec.State == JobQueued:
		if why.Requeue {
			return
		}
		c.dequeue(j.spec.ID)
		j.become(JobFailed, b.now)
		j.rec.Ended, j.rec.Errors, j.rec.Waiting = b.now, []Error{why.Err}, ""
		b.job(j)
	case j.rec.Stop != nil && (why.Requeue || !j.rec.Stop.Requeue):
	default:
		j.rec.Stop = &why
		if !why.Requeue {
			j.become(JobTerminating, b.now)
		}
		b.job(j)
		b.begin = append(b.begin, func() {
			c.pool.activity.rouse(j.task)
			j.cancel(why)
		})
	}
}

// open begins an attempt, or takes up one that goes on since before the emulator's restart.
func (j *job) open(resume bool) {
	p := j.cluster.pool
	ctx, cancel := context.WithCancelCause(p.ctx)
	j.cancel, j.done, j.task = cancel, make(chan struct{}), p.activity.begin()
	nodes, places, task := slices.Clone(j.nodes), j.places, j.task
	j.places = nil
	p.running.Go(func() {
		defer p.activity.end(task)
		defer cancel(nil)
		o := j.attempt(ctx, nodes, places, resume)
		j.cluster.finish(j, o)
	})
}

// begun has it known that something of the job may have begun, before it does,
// and what is not as on Azure. An error says that it must not begin.
func (j *job) begun(ctx context.Context, warnings []string) error {
	c := j.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	j.rec.Begun, j.rec.Warnings = true, warnings
	return c.pool.journal.append(record(kindStatus, j.spec.ID, j.rec))
}

// finish ends an attempt: the job is done or waits again, and its nodes are free.
func (c *cluster) finish(j *job, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pool
	done := j.done
	defer close(done)
	// The emulator's own end; the next Open knows what to do. What came to its end by itself did so.
	if p.ctx.Err() != nil && o.exit == nil {
		return
	}
	b := &batch{cluster: c, now: p.cfg.Clock.Now()}
	j.rec.Errors = append(j.rec.Errors, o.errs...)
	j.rec.ExitCode = o.exit
	why := j.rec.Stop
	switch {
	case o.exit != nil && *o.exit == 0 && len(o.errs) == 0:
		j.become(JobSucceeded, b.now)
	case o.exit != nil || len(o.errs) > 0 && why == nil:
		j.become(JobFailed, b.now)
		if len(o.errs) == 0 {
			j.rec.Errors = append(j.rec.Errors, Error{Code: "JobFailed", Message: "Job failed with non-zero exit code"})
		}
	case why != nil && why.Requeue && !o.unsure:
		j.become(JobQueued, b.now)
		j.rec.Errors = nil
	case why != nil && why.Requeue:
		j.become(JobFailed, b.now)
		j.rec.Errors = append(j.rec.Errors, Error{Code: "NodeLost", Message: "A node of the job was lost, and it is not certain that the job does not run on: it is not run again."})
	case why != nil:
		j.become(JobFailed, b.now)
		j.rec.Errors = append(j.rec.Errors, why.Err)
	default:
		j.become(JobFailed, b.now)
		j.rec.Errors = append(j.rec.Errors, Error{Code: "NodeLost", Message: "The job was lost with its node."})
	}
	j.rec.Stop, j.rec.Begun = nil, false
	if j.rec.Done() {
		j.rec.Ended = b.now
	} else {
		c.enqueue(j)
	}
	b.job(j)
	for _, n := range j.nodes {
		n.job = nil
		if n.awaiting {
			n.awaiting = false
			p.activity.rouse(n.task)
		}
		if n.rec.State != Running {
			continue
		}
		if o.unsure {
			n.rec.Errors = append(n.rec.Errors, Error{Code: "NodeUnusable", Message: "What job " + j.spec.ID + " left on the node could not be ended."})
			c.set(n, Unusable, b)
		} else {
			c.set(n, Idle, b)
		}
	}
	// Of one that is done nothing is kept but how it stands: there may be very many.
	c.quiet(j.late)
	j.nodes, j.late, j.cancel, j.task, j.done = nil, nil, nil, nil, nil
	b.commit()
	c.poke()
}

// attempt runs the job once on its nodes.
func (j *job) attempt(ctx context.Context, nodes []*node, places []*place, resume bool) outcome {
	p := j.cluster.pool
	kind, err := p.engineKind(ctx)
	if err != nil {
		return failed("JobFailed", "The engine does not answer: %v.", err)
	}
	if !resume {
		d := newDice(p.lifecycle, p.seed, j.spec.ID, j.rec.Attempts)
		if !p.sleep(ctx, j.task, d.delay("begin")) {
			return outcome{}
		}
	}
	if kind == kindSimulated {
		return j.simulate(ctx, nodes[0])
	}
	return j.launch(ctx, kind, nodes, places, resume)
}

func failed(code, format string, args ...any) outcome {
	return outcome{errs: []Error{{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// asOutcome is what keeps a job from being launched.
func asOutcome(ctx context.Context, err error) outcome {
	var e Error
	switch {
	case ctx.Err() != nil:
		return outcome{}
	case errors.As(err, &e):
		return outcome{errs: []Error{e}}
	}
	return failed("JobFailed", "The job could not be launched: %v.", err)
}
