package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Back-off of a reconciler whose error is no *Error.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// progress is what the queue remembers of resources between steps, and who
// waits for them. It is rebuilt after a restart.
type progress struct {
	mu       sync.Mutex
	tries    map[string]int
	cascades map[string]*cascade
	cancels  map[string]context.CancelFunc
	// waiting are told when the resource's work is over.
	waiting map[string][]*waiter
	// followers are resources to wake when that happens.
	followers map[string]map[string]bool
}

type waiter struct {
	done    chan struct{}
	failure *Error
}

func newProgress() *progress {
	return &progress{tries: map[string]int{}, cascades: map[string]*cascade{}, cancels: map[string]context.CancelFunc{},
		waiting: map[string][]*waiter{}, followers: map[string]map[string]bool{}}
}

func (p *progress) wait(key string) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{done: make(chan struct{})}
	p.waiting[key] = append(p.waiting[key], w)
	return w
}

func (p *progress) leave(key string, w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.waiting[key] {
		if o == w {
			p.waiting[key] = append(p.waiting[key][:i:i], p.waiting[key][i+1:]...)
		}
	}
	if len(p.waiting[key]) == 0 {
		delete(p.waiting, key)
	}
}

// follow wakes follower when key's work is over.
func (p *progress) follow(key, follower string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.followers[key] == nil {
		p.followers[key] = map[string]bool{}
	}
	p.followers[key][follower] = true
}

// settled tells all who wait, and returns whom to wake.
func (p *progress) settled(key string, failure *Error) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.waiting[key] {
		w.failure = failure
		close(w.done)
	}
	var wake []string
	for f := range p.followers[key] {
		wake = append(wake, f)
	}
	delete(p.waiting, key)
	delete(p.followers, key)
	delete(p.tries, key)
	delete(p.cascades, key)
	return wake
}

func (p *progress) backoff(key string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.tries[key]
	p.tries[key]++
	if n > 16 {
		return backoffMost
	}
	return min(backoffFirst<<n, backoffMost)
}

func (p *progress) calm(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tries, key)
}

func (p *progress) running(key string, cancel context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel == nil {
		delete(p.cancels, key)
	} else {
		p.cancels[key] = cancel
	}
}

// interrupt ends the context of a step that is running.
func (p *progress) interrupt(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel := p.cancels[key]; cancel != nil {
		cancel()
	}
}

// step is the queue's: one Reconcile of one resource.
func (e *Engine) step(ctx context.Context, key string) (delay time.Duration, again bool) {
	release, err := e.locks.take(ctx, key)
	if err != nil {
		return 0, false
	}
	defer release()
	ent := e.index.get(key)
	if ent == nil {
		return 0, false
	}
	next := ent.res.clone()
	res, err := e.reconcile(ctx, ent, next)
	for _, r := range res.Create {
		if failed := e.ensure(ctx, r); failed != nil && err == nil {
			// It may be possible another time, and nothing of this step is stored without it.
			res, err = Result{}, fmt.Errorf("arm: create %s: %s", r.ID, failed)
		}
	}
	delay, again, err = e.record(ctx, ent, next, res, err)
	if err != nil {
		// The store refused: nothing was acknowledged, so try again.
		e.log.Error("arm: store a reconciled resource", "id", ent.res.ID.String(), "err", err)
		return e.progress.backoff(key), true
	}
	return delay, again
}

// reconcile makes one step; a Deleting resource waits for its children first.
func (e *Engine) reconcile(ctx context.Context, ent *entry, next *Resource) (res Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.progress.running(ent.key, cancel)
	defer e.progress.running(ent.key, nil)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("arm: the reconciler of %s panicked: %v\n%s", ent.typ.Name, p, debug.Stack())
		}
		if _, final := asError(err); final && ctx.Err() != nil {
			err = fmt.Errorf("arm: interrupted: %v: %w", err, ctx.Err())
		}
	}()
	if next.Deleting {
		waiting, err := e.cascade(ctx, ent)
		if err != nil || waiting {
			return Result{}, err
		}
	}
	if ent.typ.Reconciler == nil {
		return Result{Done: true}, nil
	}
	return ent.typ.Reconciler.Reconcile(ctx, engineView{e}, next)
}

// record stores what a step led to, together with the operations that end by it.
func (e *Engine) record(ctx context.Context, ent *entry, next *Resource, res Result, failed error) (time.Duration, bool, error) {
	key, was := ent.key, ent.res
	next.ID, next.Created, next.Version, next.Deleting = was.ID, was.Created, was.Version, was.Deleting
	c := change{key: key, old: ent, next: next, typ: ent.typ, active: true, failure: ent.failure}
	final, isFinal := asError(failed)
	states := ent.typ.states
	now := e.cfg.Clock.Now()
	switch {
	case isFinal && next.State == states.Canceled && was.State != states.Canceled:
		c.active, c.failure = false, final
		c.records = e.end(key, StatusCanceled, final)
	case isFinal:
		next.State, next.Deleting = states.Failed, false
		c.active, c.failure = false, final
		c.records = e.end(key, StatusFailed, final)
	case failed != nil:
		level := slog.LevelWarn
		if errors.Is(failed, context.Canceled) { // by a deletion, or by Close
			level = slog.LevelDebug
		}
		e.log.Log(ctx, level, "arm: reconcile, to be tried again", "id", was.ID.String(), "err", failed)
	case res.Done && next.Deleting:
		if !e.index.seal(key) {
			return backoffFirst, true, nil
		}
		c.next = nil
		c.records = e.end(key, StatusSucceeded, nil)
		output(c.records, res.Output)
	case res.Done:
		if next.State == states.Creating || next.State == states.Updating {
			next.State = states.Succeeded
		}
		c.active, c.failure = res.RequeueAfter > 0, nil
		c.records = e.end(key, StatusSucceeded, nil)
		output(c.records, res.Output)
	default:
		c.active = ent.active || res.RequeueAfter > 0
	}
	if c.next == nil || len(c.records) > 0 || c.active != ent.active || c.failure != ent.failure || !sameState(was, next) {
		if c.next != nil && !sameState(was, next) {
			next.Modified = now
		}
		if _, err := e.commit(ctx, c); err != nil {
			e.index.unseal(key)
			return 0, false, err
		}
	}
	if isFinal || failed == nil && res.Done {
		e.settle(ent, c.failure)
	}
	switch {
	case isFinal || c.next == nil:
		return 0, false, nil
	case failed != nil:
		return e.progress.backoff(key), true, nil
	}
	e.progress.calm(key)
	if res.RequeueAfter <= time.Microsecond {
		// So little means "store this and come again": no clock need move for it.
		return 0, res.RequeueAfter > 0, nil
	}
	return res.RequeueAfter, true, nil
}

// end gives the records of a resource's unfinished operations as they are when over.
func (e *Engine) end(key, status string, failure *Error) []*record {
	var out []*record
	for _, r := range e.operations.of(key) {
		out = append(out, r.ended(status, failure, e.cfg.Clock.Now()))
	}
	return out
}

// output notes what operations have to show.
func output(records []*record, shown json.RawMessage) {
	for _, r := range records {
		r.Output = shown
	}
}

// settle tells those who wait for a resource, and its parent if that is to go.
func (e *Engine) settle(ent *entry, failure *Error) {
	for _, follower := range e.progress.settled(ent.key, failure) {
		e.queue.push(follower)
	}
	if parent := e.index.get(ent.parent); parent != nil && parent.res.Deleting {
		e.queue.push(ent.parent)
	}
}

// cascade is the deletion of a resource's children, in rounds: what refuses
// because another is in use may go once that one is gone.
type cascade struct {
	asked map[string]bool
	count int // children when the round began
}

func (p *progress) cascade(key string, children int) *cascade {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.cascades[key]
	if c == nil {
		c = &cascade{asked: map[string]bool{}, count: children}
		p.cascades[key] = c
	}
	return c
}

func (p *progress) newRound(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.cascades, key)
}

func (e *Engine) cascade(ctx context.Context, ent *entry) (waiting bool, err error) {
	for {
		children := e.index.children(ent.key)
		if len(children) == 0 {
			return false, nil
		}
		c := e.progress.cascade(ent.key, len(children))
		var blocked []Error
		for _, child := range children {
			switch {
			case child.res.Deleting:
			case c.asked[child.key]:
				blocked = append(blocked, blockedBy(child, child.failure))
			default:
				c.asked[child.key] = true
				refused, err := e.beginDelete(ctx, child.key)
				if err != nil {
					return false, err
				}
				if refused != nil {
					blocked = append(blocked, blockedBy(child, refused))
				}
			}
		}
		left := e.index.children(ent.key)
		fresh := false
		for _, child := range left {
			if child.res.Deleting {
				return true, nil
			}
			fresh = fresh || !c.asked[child.key]
		}
		switch {
		case fresh || len(left) > 0 && len(blocked) == 0:
			// One came, or refused, since the children were listed.
		case len(left) < c.count:
			e.progress.newRound(ent.key)
		case ent.typ.kind == kindGroup:
			return false, errGroupBlocked(ent.res.ID.Name(), blocked)
		default:
			failure := Errorf(http.StatusConflict, "CannotDeleteResource", "Can not delete resource '%s': its nested resources could not be deleted.", ent.res.ID)
			failure.Details = blocked
			return false, failure
		}
	}
}

func blockedBy(child *entry, why *Error) Error {
	b := Error{Code: "Conflict", Message: "The resource could not be deleted.", Target: child.res.ID.String()}
	if why != nil {
		b.Code, b.Message, b.Status = why.Code, why.Message, why.Status
	}
	return b
}

// beginDelete marks a child for its deletion, or removes it at once if there is nothing to do for that.
func (e *Engine) beginDelete(ctx context.Context, key string) (refused *Error, err error) {
	e.progress.interrupt(key)
	release, err := e.locks.take(ctx, key)
	if err != nil {
		return nil, err
	}
	defer release()
	ent := e.index.get(key)
	if ent == nil || ent.res.Deleting {
		return nil, nil
	}
	if ent.typ.AdmitDelete != nil {
		if err := ent.typ.AdmitDelete(ctx, engineView{e}, Call{}, ent.res.clone()); err != nil {
			if refused, ok := asError(err); ok {
				return refused, nil
			}
			return nil, err
		}
	}
	_, err = e.markDeleting(ctx, ent, ent.res.Private, nil)
	return nil, err
}

// markDeleting stores that a resource is to go, with rec as its operation, and
// has the queue do it; a passive resource without children goes in this one
// write. The caller holds the lock. It reports whether the resource is gone.
func (e *Engine) markDeleting(ctx context.Context, ent *entry, private json.RawMessage, rec *record) (gone bool, err error) {
	c := change{key: ent.key, old: ent, typ: ent.typ}
	c.records = e.end(ent.key, StatusCanceled, errPreempted())
	if ent.typ.Reconciler == nil && e.index.seal(ent.key) {
		if rec != nil {
			c.records = append(c.records, rec.ended(StatusSucceeded, nil, e.cfg.Clock.Now()))
		}
		if _, err := e.commit(ctx, c); err != nil {
			e.index.unseal(ent.key)
			return false, err
		}
		e.settle(ent, nil)
		return true, nil
	}
	c.next = ent.res.clone()
	c.next.Deleting, c.next.State, c.active = true, ent.typ.states.Deleting, true
	c.next.Modified, c.next.Private = e.cfg.Clock.Now(), private
	if rec != nil {
		c.records = append(c.records, rec)
	}
	if _, err := e.commit(ctx, c); err != nil {
		return false, err
	}
	e.queue.push(ent.key)
	return false, nil
}
