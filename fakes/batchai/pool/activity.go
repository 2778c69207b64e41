package pool

import "sync"

// activity counts what goes on, so that a manual clock can be advanced exactly
// when everything waits for it: nothing is busy, and there is a timer of the
// clock for each wait.
type activity struct {
	mu           sync.Mutex
	busy, timers int
}

// task is one goroutine's share: busy, or waiting for that many timers of the clock.
type task struct {
	waiting bool
	timers  int
}

// begin makes a task that is busy. Its starter calls it, before the goroutine runs.
func (a *activity) begin() *task {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy++
	return &task{}
}

func (a *activity) end(t *task) {
	a.rouse(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy--
}

// wait says that the task waits from now on, for that many timers.
func (a *activity) wait(t *task, timers int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy--
	a.timers += timers
	t.waiting, t.timers = true, timers
}

// rouse says that the task is busy again. Who ends its wait calls it before, and
// the task itself after a wait.
func (a *activity) rouse(t *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.waiting {
		a.busy++
		a.timers -= t.timers
		t.waiting, t.timers = false, 0
	}
}

// settled says whether all wait, and for how many timers of the clock.
func (a *activity) settled() (timers int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.timers, a.busy == 0
}
