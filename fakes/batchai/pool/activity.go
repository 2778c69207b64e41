package pool

import (
	"context"
	"fmt"
	"sync"
)

// activity counts what goes on, so that a manual clock can be advanced exactly
// when everything waits for it: nothing is busy, and there is a timer of the
// clock for each wait of one.
type activity struct {
	mu           sync.Mutex
	busy, timers int
	quiet        chan struct{} // closed when next nothing is busy any more; nil: nobody waits for that
}

// task is one goroutine's share: busy, or waiting, for a number of the clock's
// timers. A token is there from when it is roused until it is awake.
type task struct {
	waiting bool
	timers  int
	token   chan struct{}
}

// begin makes a task that is busy. Its starter calls it, before the goroutine runs.
func (a *activity) begin() *task {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy++
	return &task{token: make(chan struct{}, 1)}
}

func (a *activity) end(t *task) {
	a.awake(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rest()
}

// rest is one less that is busy.
func (a *activity) rest() {
	if a.busy--; a.busy == 0 && a.quiet != nil {
		close(a.quiet)
		a.quiet = nil
	}
}

// wait says that the task waits from now on; false: it was roused since it was
// awake last, and need not.
func (a *activity) wait(t *task, timers int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-t.token:
		return false
	default:
	}
	a.rest()
	a.timers += timers
	t.waiting, t.timers = true, timers
	return true
}

// awake says, by the task itself, that it is busy again.
func (a *activity) awake(t *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resume(t)
	select {
	case <-t.token:
	default:
	}
}

// rouse says, by who ends a task's wait and before that, that it is busy again.
func (a *activity) rouse(t *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resume(t)
	select {
	case t.token <- struct{}{}:
	default:
	}
}

func (a *activity) resume(t *task) {
	if t.waiting {
		a.busy++
		a.timers -= t.timers
		t.waiting, t.timers = false, 0
	}
}

// settle waits until all wait, for as many timers as the clock has (clock.Manual's
// Waiting). Of those that it has a task always knows, as it waits for one only when
// it is made or about to be; it may have fired, or be made a moment later.
func (a *activity) settle(ctx context.Context, waiting func() (n int, more <-chan struct{})) error {
	for {
		a.mu.Lock()
		n, more := waiting()
		if a.busy == 0 && a.timers == n {
			a.mu.Unlock()
			return nil
		}
		if a.quiet == nil {
			a.quiet = make(chan struct{})
		}
		quiet := a.quiet
		a.mu.Unlock()
		select {
		case <-quiet:
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("pool: nothing settles, with %d timers: %w", n, ctx.Err())
		}
	}
}
