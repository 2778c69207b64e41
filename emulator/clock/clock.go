// Package clock is lazulite's only source of time.
//
// Everything that waits, expires or stamps takes a Clock through its Config,
// so that a day of a cluster's life can pass in seconds and a test never
// sleeps. Three kinds exist: Real, Scaled and Manual.
//
// It is not a scheduler: it hands out instants and timers, nothing else.
package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Clock tells the time and makes timers against it.
type Clock interface {
	// Now is the current instant of this clock, in UTC.
	Now() time.Time
	// NewTimer fires once, d from now on this clock. A d of zero or less fires at once.
	NewTimer(d time.Duration) Timer
	// Since is Now minus t.
	Since(t time.Time) time.Duration
}

// Timer is a single-shot alarm of a Clock.
type Timer interface {
	// C delivers the instant at which the timer fired, once.
	C() <-chan time.Time
	// Stop keeps an unfired timer from firing; it reports whether it did.
	Stop() bool
}

// Real is the machine's own clock.
func Real() Clock { return scaled{factor: 1} }

// Scaled runs factor times as fast as the machine's clock, from the machine's
// time at the call. A factor of zero or less is taken as 1.
func Scaled(factor float64) Clock {
	if factor <= 0 {
		factor = 1
	}
	return scaled{factor: factor, start: time.Now()}
}

type scaled struct {
	factor float64
	start  time.Time
}

func (c scaled) Now() time.Time {
	now := time.Now()
	if c.factor == 1 {
		return now.UTC()
	}
	return c.start.Add(time.Duration(float64(now.Sub(c.start)) * c.factor)).UTC()
}

func (c scaled) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c scaled) NewTimer(d time.Duration) Timer {
	return realTimer{time.NewTimer(time.Duration(float64(d) / c.factor))}
}

type realTimer struct{ t *time.Timer }

func (t realTimer) C() <-chan time.Time { return t.t.C }
func (t realTimer) Stop() bool          { return t.t.Stop() }

// Manual stands still until Advance moves it.
type Manual struct {
	mu     sync.Mutex
	now    time.Time
	timers manualTimers
	made   int
	grew   chan struct{}
}

// NewManual returns a Manual clock that shows start.
func NewManual(start time.Time) *Manual {
	return &Manual{now: start.UTC(), grew: make(chan struct{})}
}

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Since implements Clock.
func (m *Manual) Since(t time.Time) time.Duration { return m.Now().Sub(t) }

// NewTimer implements Clock.
func (m *Manual) NewTimer(d time.Duration) Timer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	t := &manualTimer{clock: m, at: m.now.Add(d), order: m.made, c: make(chan time.Time, 1)}
	if d <= 0 {
		t.fired = true
		t.c <- m.now
		return t
	}
	heap.Push(&m.timers, t)
	close(m.grew)
	m.grew = make(chan struct{})
	return t
}

// Advance moves the clock forward by d and fires, in the order of their
// instants, every timer that falls due on the way.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.now.Add(d)
	for len(m.timers) > 0 && !m.timers[0].at.After(end) {
		t := heap.Pop(&m.timers).(*manualTimer)
		m.now = t.at
		t.fired = true
		t.c <- t.at
	}
	m.now = end
}

// Next is when the earliest of the pending timers is due; false if there is none.
func (m *Manual) Next() (at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.timers) == 0 {
		return time.Time{}, false
	}
	return m.timers[0].at, true
}

// Waiting reports how many timers are pending and a channel that closes when
// another one is made, so that a test can wait for its subject to be asleep.
func (m *Manual) Waiting() (n int, more <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.timers), m.grew
}

type manualTimer struct {
	clock *Manual
	at    time.Time
	order int // of its making
	index int // in the heap
	c     chan time.Time
	fired bool
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.fired {
		return false
	}
	t.fired = true
	heap.Remove(&t.clock.timers, t.index)
	return true
}

// manualTimers is a heap: the earliest first, of the same instant the one made first.
type manualTimers []*manualTimer

func (h manualTimers) Len() int { return len(h) }

func (h manualTimers) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h manualTimers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *manualTimers) Push(x any) {
	t := x.(*manualTimer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *manualTimers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
