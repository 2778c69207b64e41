package pool

import "sync"

// changes tells them, one after another, from a goroutine of its own.
type changes struct {
	tell func(Change)

	mu      sync.Mutex
	more    *sync.Cond
	waiting []Change
	known   map[Change]bool // that are waiting
	closed  bool
	done    chan struct{}
}

func newChanges(tell func(Change)) *changes {
	c := &changes{tell: tell, known: map[Change]bool{}, done: make(chan struct{})}
	c.more = sync.NewCond(&c.mu)
	go c.run()
	return c
}

// note remembers a change to be told; what is waiting to be told already isn't told twice.
func (c *changes) note(x Change) {
	if c == nil || c.tell == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.known[x] {
		return
	}
	c.known[x] = true
	c.waiting = append(c.waiting, x)
	c.more.Signal()
}

func (c *changes) run() {
	defer close(c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.waiting) == 0 && !c.closed {
			c.more.Wait()
		}
		if len(c.waiting) == 0 {
			return
		}
		x := c.waiting[0]
		c.waiting = c.waiting[1:]
		delete(c.known, x)
		c.mu.Unlock()
		c.tell(x)
		c.mu.Lock()
	}
}

// close tells what is waiting, and returns when it is told.
func (c *changes) close() {
	c.mu.Lock()
	c.closed = true
	c.more.Signal()
	c.mu.Unlock()
	<-c.done
}
