package arm

import (
	"context"
	"sync"
	"time"

	"lazulite.dev/emulator/clock"
)

// queue calls step for keys: each key by one goroutine at a time, few at
// once, and again later when step says so.
//
// A request that waits for its own resource lends its goroutine: it runs the
// steps itself. So a reconciler that waits for another resource through the
// engine (a deployment does) can't use the workers up and wait for ever.
type queue struct {
	clock   clock.Clock
	workers int
	// step does one piece of work; again asks for another after delay.
	step func(ctx context.Context, key string) (delay time.Duration, again bool)

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	open    bool
	closed  bool
	tasks   map[string]*task
	ready   []*task
	busy    int
	running sync.WaitGroup
}

type task struct {
	key     string
	running bool
	again   bool // pushed while it ran
	ready   bool
	lenders int
	lent    chan struct{}
	// alarm ends the wait for the next step; nil: none is waiting.
	alarm chan struct{}
}

func newQueue(c clock.Clock, workers int, step func(context.Context, string) (time.Duration, bool)) *queue {
	q := &queue{clock: c, workers: workers, step: step, tasks: map[string]*task{}}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// start lets the work begin; what was pushed before has waited.
func (q *queue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open || q.closed {
		return
	}
	q.open = true
	waiting := q.ready
	q.ready = nil
	for _, t := range waiting {
		t.ready = false
		q.pushLocked(t)
	}
}

// close ends the steps' contexts and waits until none runs.
func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	q.closed, q.open = true, false
	q.mu.Unlock()
	q.cancel()
	done := make(chan struct{})
	go func() { q.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) task(key string) *task {
	t := q.tasks[key]
	if t == nil {
		t = &task{key: key, lent: make(chan struct{}, 1)}
		q.tasks[key] = t
	}
	return t
}

// push has the key stepped soon, whatever timer it is waiting for.
func (q *queue) push(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.pushLocked(q.task(key))
	}
}

func (q *queue) pushLocked(t *task) {
	if t.alarm != nil {
		close(t.alarm)
		t.alarm = nil
	}
	switch {
	case t.running:
		t.again = true
	case t.lenders > 0 && q.open:
		select {
		case t.lent <- struct{}{}:
		default:
		}
	case !t.ready:
		t.ready = true
		q.ready = append(q.ready, t)
		if q.open && q.busy < q.workers {
			q.busy++
			q.running.Add(1)
			go q.work()
		}
	}
}

func (q *queue) work() {
	defer q.running.Done()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) > 0 && !q.closed {
		t := q.ready[0]
		q.ready = q.ready[1:]
		t.ready = false
		q.runLocked(t)
	}
	q.busy--
}

// runLocked gives the mutex up while it steps.
func (q *queue) runLocked(t *task) {
	if t.running {
		t.again = true
		return
	}
	t.running = true
	q.mu.Unlock()
	delay, again := q.step(q.ctx, t.key)
	q.mu.Lock()
	t.running = false
	switch {
	case q.closed:
	case t.again:
		t.again = false
		q.pushLocked(t)
	case again && delay <= 0:
		q.pushLocked(t)
	case again:
		t.alarm = make(chan struct{})
		q.running.Add(1)
		go q.sleep(t, t.alarm, q.clock.NewTimer(delay))
	case t.lenders == 0:
		delete(q.tasks, t.key)
	}
}

func (q *queue) sleep(t *task, alarm chan struct{}, timer clock.Timer) {
	defer q.running.Done()
	defer timer.Stop()
	select {
	case <-timer.C():
		q.mu.Lock()
		defer q.mu.Unlock()
		if t.alarm == alarm && !q.closed {
			t.alarm = nil
			q.pushLocked(t)
		}
	case <-alarm:
	case <-q.ctx.Done():
	}
}

// lend pushes the key and steps it on this goroutine whenever it is due, until done closes or ctx ends.
func (q *queue) lend(ctx context.Context, key string, done <-chan struct{}) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed()
	}
	t := q.task(key)
	t.lenders++
	q.pushLocked(t)
	q.mu.Unlock()
	defer q.withdraw(t)
	for {
		select {
		case <-done:
			return nil
		case <-t.lent:
			q.mu.Lock()
			if q.closed {
				q.mu.Unlock()
				return errClosed()
			}
			q.running.Add(1)
			q.runLocked(t)
			q.running.Done()
			q.mu.Unlock()
		case <-ctx.Done():
			return ctx.Err()
		case <-q.ctx.Done():
			return errClosed()
		}
	}
}

// withdraw hands work that was lent and not taken back to the workers.
func (q *queue) withdraw(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.lenders--
	select {
	case <-t.lent:
		if !q.closed {
			q.pushLocked(t)
		}
		return
	default:
	}
	if t.lenders == 0 && !t.running && !t.ready && t.alarm == nil {
		delete(q.tasks, t.key)
	}
}
