package arm

import (
	"context"
	"sync"
)

// locks give each resource, present or not, one writer at a time.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	c    chan struct{}
	uses int
}

func newLocks() *locks { return &locks{held: map[string]*lock{}} }

// take waits for the key's lock, or for ctx.
func (l *locks) take(ctx context.Context, key string) (release func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		k = &lock{c: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.uses++
	l.mu.Unlock()
	drop := func() {
		l.mu.Lock()
		if k.uses--; k.uses == 0 {
			delete(l.held, key)
		}
		l.mu.Unlock()
	}
	select {
	case k.c <- struct{}{}:
		return func() { <-k.c; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}
