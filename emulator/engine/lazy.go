package engine

import (
	"context"
	"sync"
)

// Lazy is an engine that is opened when the first container is started, so
// that an emulator that starts none neither looks for a daemon nor waits for it.
type Lazy struct {
	open func(context.Context) (Engine, error)

	mu     sync.Mutex
	engine Engine
	closed bool
}

// NewLazy returns an engine that open makes. An error of open is Start's, and
// the next Start tries again.
func NewLazy(open func(context.Context) (Engine, error)) *Lazy { return &Lazy{open: open} }

// Name is the engine's, or "auto" as long as there is none.
func (l *Lazy) Name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return "auto"
	}
	return l.engine.Name()
}

// Start implements Engine.
func (l *Lazy) Start(ctx context.Context, spec Spec) (Container, error) {
	e, err := l.Engine(ctx)
	if err != nil {
		return nil, err
	}
	return e.Start(ctx, spec)
}

// Engine is the engine itself, opened if it was not yet.
func (l *Lazy) Engine(ctx context.Context) (Engine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrStopped
	}
	if l.engine == nil {
		e, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.engine = e
	}
	return l.engine, nil
}

// Reach implements Reacher by the engine's own, which is opened if it was not
// yet; one that has none has the host's network.
func (l *Lazy) Reach(ctx context.Context, hostAddr string) (string, error) {
	e, err := l.Engine(ctx)
	if err != nil {
		return "", err
	}
	if r, ok := e.(Reacher); ok {
		return r.Reach(ctx, hostAddr)
	}
	return hostAddr, nil
}

// HasImage implements Imager; an engine that is none has no images.
func (l *Lazy) HasImage(ctx context.Context, name string) (bool, error) {
	e, err := l.Engine(ctx)
	if err != nil {
		return false, err
	}
	if i, ok := e.(Imager); ok {
		return i.HasImage(ctx, name)
	}
	return false, nil
}

// Close implements Engine.
func (l *Lazy) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.engine == nil {
		return nil
	}
	return l.engine.Close(ctx)
}
