package history

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// defaultTTL is what the SDK sends with each heartbeat: a run that is silent
// for longer does not respond.
const defaultTTL = 120 * time.Second

// retryAfter is the pause before a run is looked at again that could not be changed.
const retryAfter = 5 * time.Second

type beatKey struct{ guid, run string }

// beats holds the instant by which each watched run must be heard of.
type beats struct {
	mu       sync.Mutex
	deadline map[beatKey]time.Time
	sleeping time.Time     // until when the watch sleeps; zero: for ever
	wake     chan struct{} // capacity 1
}

func (b *beats) init() {
	b.deadline = map[beatKey]time.Time{}
	b.wake = make(chan struct{}, 1)
}

// set moves a deadline. The watch is woken only for one that comes before it
// would wake by itself: a heartbeat makes deadlines later.
func (b *beats) set(k beatKey, at time.Time) {
	b.mu.Lock()
	b.deadline[k] = at
	early := b.sleeping.IsZero() || at.Before(b.sleeping)
	b.mu.Unlock()
	if early {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

func (b *beats) drop(k beatKey) {
	b.mu.Lock()
	delete(b.deadline, k)
	b.mu.Unlock()
}

func (b *beats) forget(guid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.deadline {
		if k.guid == fold(guid) {
			delete(b.deadline, k)
		}
	}
}

// over reports whether a run's time has passed.
func (b *beats) over(k beatKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.deadline[k]
	return ok && !now.Before(at)
}

// due returns the runs whose time has passed and, if any are left, the next deadline.
func (b *beats) due(now time.Time) (late []beatKey, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, at := range b.deadline {
		if !now.Before(at) {
			late = append(late, k)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	b.sleeping = next
	return late, next
}

func (s *Service) resumeBeats(ctx context.Context) error {
	docs, err := s.cfg.Store.List(ctx, watchPrefix, "", 0)
	if err != nil {
		return err
	}
	now := s.cfg.Clock.Now()
	for _, d := range docs {
		guid, run, ok := strings.Cut(strings.TrimPrefix(d.Key, watchPrefix), "/")
		ttl, err := strconv.Atoi(string(d.Value))
		if !ok || err != nil {
			s.cfg.Logger.Error("history: unreadable watch", "key", d.Key)
			continue
		}
		s.beats.set(beatKey{guid, run}, now.Add(time.Duration(ttl)*time.Second))
	}
	return nil
}

// watchBeats sleeps until the next deadline, until ctx ends.
func (s *Service) watchBeats(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	for {
		late, next := s.beats.due(s.cfg.Clock.Now())
		for _, k := range late {
			s.silent(ctx, k)
		}
		if len(late) > 0 && ctx.Err() == nil {
			continue
		}
		var alarm <-chan time.Time
		stop := func() bool { return true }
		if !next.IsZero() {
			t := s.cfg.Clock.NewTimer(-s.cfg.Clock.Since(next))
			alarm, stop = t.C(), t.Stop
		}
		select {
		case <-alarm:
		case <-s.beats.wake:
			stop()
		case <-ctx.Done():
			stop()
			return
		}
	}
}

// silent makes a run NotResponding, unless it was heard of in the meantime.
func (s *Service) silent(ctx context.Context, k beatKey) {
	ws := plane.Workspace{GUID: k.guid}
	_, err := s.modify(ctx, ws, k.run, func(r *record) error {
		if now := s.cfg.Clock.Now(); s.beats.over(k, now) && !r.move(NotResponding, now) {
			s.beats.drop(k)
		}
		return nil
	})
	switch {
	case err == nil:
	case isNotFound(err):
		s.beats.drop(k)
	case ctx.Err() == nil:
		s.cfg.Logger.Error("history: a silent run could not be marked", "run", k.run, "err", err)
		s.beats.set(k, s.cfg.Clock.Now().Add(retryAfter))
	}
}
