package history

import (
	"sync"

	"lazulite.dev/emulator/aml/plane"
)

// Change of a run's status.
type Change struct {
	Workspace plane.Workspace
	RunID     string
	Status    string
}

// Ended tells, by a channel, of every run that reached a terminal state or
// CancelRequested after the call, each run's changes in their order, once
// they are stored. A slow reader loses nothing; stop, or the Service's Close,
// closes the channel. After a restart a subscriber asks Get for what it missed.
func (s *Service) Ended() (events <-chan Change, stop func()) { return s.ended.subscribe() }

// ended is the set of subscribers.
type ended struct {
	mu     sync.Mutex
	closed bool
	subs   map[*subscriber]struct{}
}

// subscriber queues without bound, since a lost change would leave a process running.
type subscriber struct {
	out  chan Change
	quit chan struct{}
	done chan struct{}

	mu    sync.Mutex
	queue []Change
	more  chan struct{} // capacity 1: there is something in queue
}

func (e *ended) subscribe() (<-chan Change, func()) {
	sub := &subscriber{
		out: make(chan Change), quit: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{}, 1),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		close(sub.out)
		return sub.out, func() {}
	}
	if e.subs == nil {
		e.subs = map[*subscriber]struct{}{}
	}
	e.subs[sub] = struct{}{}
	go sub.pump()
	return sub.out, func() { e.remove(sub) }
}

func (e *ended) remove(sub *subscriber) {
	e.mu.Lock()
	_, ok := e.subs[sub]
	delete(e.subs, sub)
	e.mu.Unlock()
	if ok {
		close(sub.quit)
	}
	<-sub.done
}

func (e *ended) close() {
	e.mu.Lock()
	e.closed = true
	var subs []*subscriber
	for sub := range e.subs {
		subs = append(subs, sub)
	}
	e.mu.Unlock()
	for _, sub := range subs {
		e.remove(sub)
	}
}

func (e *ended) publish(c Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for sub := range e.subs {
		sub.push(c)
	}
}

func (s *subscriber) push(c Change) {
	s.mu.Lock()
	s.queue = append(s.queue, c)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	s.queue = nil
	return q
}

func (s *subscriber) pump() {
	defer close(s.done)
	defer close(s.out)
	for {
		for _, c := range s.take() {
			select {
			case s.out <- c:
			case <-s.quit:
				return
			}
		}
		select {
		case <-s.more:
		case <-s.quit:
			return
		}
	}
}
