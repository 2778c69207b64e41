package aci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/durable"
	"lazulite.dev/emulator/engine"
)

// order is what is wanted of a pod.
type order struct {
	Resource, Name, Location string
	Spec                     *groupProperties // with the secrets
	Generation               int
	Stopped                  bool
}

// podFile is group.json: what is wanted, and how far it has come, kept beside
// the containers so that they are found before anybody asks for the group.
type podFile struct {
	Order   order
	Members []*memberFile // init containers first, as in the spec
	Events  []*event
	// Provisioned: all containers have settled once. Failure: that they can't be.
	Provisioned bool
	Failure     *failure
	Stopped     bool // by order
	Finished    bool // all containers have ended for good
	Hostname    string
}

type failure struct {
	Status        int
	Code, Message string
}

func (f *podFile) parse(data []byte) error { return json.Unmarshal(data, f) }

// pod is what runs of a group.
type pod struct {
	fake *Fake
	id   string
	dir  string

	change sync.Mutex      // one begin or end at a time
	relays []*engine.Relay // at the group's address; of the life's goroutine alone

	mu      sync.Mutex // of all below
	file    podFile
	wake    func()
	members []*member
	sandbox engine.Container
	places  map[int]place      // of the process engine: where a port is of this host
	reached map[reached]string // host:port, as the engine said
	end     ending
	cancel  context.CancelFunc
	done    chan struct{} // closed when nothing runs; nil before the first life
	gone    bool          // nothing is to be written any more
}

// ending is what becomes of containers when their pod's life is ended from outside.
type ending int

const (
	endStop    ending = iota // they have ended, and it is shown
	endSuspend               // it is the emulator that ends: they go on with the next
)

// drive brings the pod to what is ordered. done is true when it is there; an
// *arm.Error says that it can't be. wake is called when there is more to say.
func (p *pod) drive(ctx context.Context, o order, wake func()) (done bool, err error) {
	p.change.Lock()
	defer p.change.Unlock()
	p.mu.Lock()
	p.wake = wake
	was := p.file
	p.mu.Unlock()
	switch {
	case o.Stopped && was.Stopped && was.Order.Generation == o.Generation:
	case o.Stopped:
		if err := p.halt(ctx, endStop); err != nil {
			return false, err
		}
		if err := p.save(func(f *podFile) { f.Order, f.Stopped, f.Finished = o, true, false }); err != nil {
			return false, err
		}
		return true, p.clean()
	case was.Order.Generation != o.Generation || was.Stopped:
		if err := p.halt(ctx, endStop); err != nil {
			return false, err
		}
		if err := errors.Join(p.clean(), p.renew(o)); err != nil {
			return false, err
		}
		p.begin()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.file.Failure; x != nil {
		return false, &arm.Error{Status: x.Status, Code: x.Code, Message: x.Message}
	}
	return p.file.Provisioned || p.file.Stopped, nil
}

// renew makes the file of a first start.
func (p *pod) renew(o order) error {
	var members []*memberFile
	o.Spec.every(func(c *containerItem, _ bool) {
		members = append(members, &memberFile{Name: c.Name, View: containerView{CurrentState: &containerState{State: "Waiting"}, Events: []*event{}}})
	})
	return p.save(func(f *podFile) {
		runs := map[string]int{}
		for _, m := range f.Members {
			runs[m.Name] = m.Run // names of the engine's containers are never used twice
		}
		for _, m := range members {
			m.Run = runs[m.Name]
		}
		host := f.Hostname
		if host == "" {
			host = "wk-caas-" + p.fake.hex(32) + "-" + p.fake.hex(22)
		}
		*f = podFile{Order: o, Members: members, Events: []*event{}, Hostname: host}
	})
}

// begin starts a life: all that the group's containers do until they have ended, or are ended.
func (p *pod) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithCancel(p.fake.life)
	p.end, p.cancel, p.done = endSuspend, cancel, make(chan struct{})
	held := map[string]engine.Container{}
	for _, m := range p.members {
		held[m.item.Name] = m.container
	}
	p.members = nil
	i := 0
	p.file.Order.Spec.every(func(c *containerItem, initial bool) {
		p.members = append(p.members, &member{pod: p, item: c, initial: initial, file: p.file.Members[i], container: held[c.Name]})
		i++
	})
	go p.live(ctx, p.members, p.done)
}

// live is one life of the pod.
func (p *pod) live(ctx context.Context, members []*member, done chan struct{}) {
	defer close(done)
	// What is left when a life is over: nothing of the engine.
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer cancel()
		if err := p.takeDown(clean); err != nil {
			p.fake.cfg.Logger.Error("taking a container group's network down", "group", p.file.Order.Name, "error", err)
		}
	}()
	for p.prepare(ctx) && !p.together(ctx, members) && ctx.Err() == nil {
		// Their network has gone, and they with it: all begin anew, those that may.
		if err := p.takeDown(ctx); err != nil {
			p.fake.cfg.Logger.Error("taking a container group's network down", "group", p.file.Order.Name, "error", err)
			return
		}
	}
}

// together runs the members until they have ended, or the container that holds
// their network has: false, with none of them left.
func (p *pod) together(ctx context.Context, members []*member) (whole bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	var lost atomic.Bool
	p.mu.Lock()
	sandbox := p.sandbox
	p.mu.Unlock()
	if sandbox != nil {
		watching.Go(func() {
			if _, err := sandbox.Wait(ctx); ctx.Err() != nil {
				return
			} else if err != nil {
				p.fake.cfg.Logger.Warn("a container group's network", "group", p.file.Order.Name, "error", err)
			}
			lost.Store(true)
			p.note(normal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
			p.mu.Lock()
			p.end = endStop
			p.mu.Unlock()
			cancel()
		})
	}
	defer func() {
		cancel()
		watching.Wait()
		if whole = !lost.Load(); !whole {
			p.mu.Lock()
			p.end = endSuspend
			p.mu.Unlock()
		}
	}()
	for _, m := range members {
		if m.initial && !m.live(ctx) {
			return
		}
	}
	var running sync.WaitGroup
	for _, m := range members {
		if !m.initial {
			running.Go(func() { m.live(ctx) })
		}
	}
	running.Wait()
	over := true
	for _, m := range members {
		over = over && m.ended()
	}
	if over {
		p.record(func(f *podFile) { f.Finished = true })
	}
	return
}

// halt ends the life, if there is one, and waits until nothing of it is left.
func (p *pod) halt(ctx context.Context, how ending) error {
	p.mu.Lock()
	p.end = how
	cancel, done := p.cancel, p.done
	p.mu.Unlock()
	if done == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suspend ends the life for the emulator's own end.
func (p *pod) suspend(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.halt(ctx, endSuspend)
}

// remove ends the pod, and forgets it.
func (p *pod) remove(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	if err := p.halt(ctx, endStop); err != nil {
		return err
	}
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.fake.releasePorts(p.id)
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	p.fake.forget(p.id)
	return nil
}

// resume goes on where the last run of the emulator left it.
func (p *pod) resume(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	f := &p.file
	if f.Stopped || f.Finished || f.Failure != nil || f.Order.Spec == nil {
		return nil
	}
	if err := p.adopt(ctx); err != nil {
		return err
	}
	p.begin()
	return nil
}

// adopt takes over the containers that outlived the last run, all or, if their network is gone, none.
func (p *pod) adopt(ctx context.Context) error {
	a := engine.AdopterOf(p.fake.cfg.Engine)
	if a == nil {
		return nil
	}
	take := func(name string) (engine.Container, error) {
		c, err := a.Adopt(ctx, name)
		if errors.Is(err, engine.ErrGone) {
			return nil, nil
		}
		return c, err
	}
	var err error
	if p.sandbox, err = take(p.sandboxName()); err != nil {
		return err
	}
	lost := p.sandbox == nil && p.needsSandbox()
	i := 0
	p.file.Order.Spec.every(func(c *containerItem, initial bool) {
		file := p.file.Members[i]
		i++
		if err != nil || !file.Launched {
			return
		}
		var container engine.Container
		if container, err = take(p.containerName(c.Name, file.Run)); container == nil {
			return
		}
		if lost {
			err = container.Remove(ctx)
			return
		}
		p.members = append(p.members, &member{item: c, container: container})
	})
	return err
}

// record stores a change that the pod's own life makes; an error of that is logged, as nobody waits for it.
func (p *pod) record(change func(*podFile)) {
	if err := p.save(change); err != nil {
		p.fake.cfg.Logger.Error("storing a container group's state", "group", p.id, "error", err)
	}
	p.mu.Lock()
	wake := p.wake
	p.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// save writes group.json after a change.
func (p *pod) save(change func(*podFile)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.file)
	if p.gone {
		return nil
	}
	data, err := json.Marshal(&p.file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(p.dir, "group.json"), 0o600, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// fail says that the group can't be provisioned.
func (p *pod) fail(why *arm.Error) {
	p.record(func(f *podFile) {
		if !f.Provisioned && f.Failure == nil {
			f.Failure = &failure{why.Status, why.Code, why.Message}
		}
	})
}

// note adds an event of the group itself.
func (p *pod) note(kind, name, format string, args ...any) {
	now := p.fake.cfg.Clock.Now()
	p.record(func(f *podFile) { f.Events = note(f.Events, now, kind, name, format, args...) })
}

// settle says that the group is provisioned, if all its containers have settled.
func (f *podFile) settle() {
	for i, m := range f.Members {
		if i >= len(f.Order.Spec.InitContainers) && !m.Settled {
			return
		}
	}
	f.Provisioned = f.Failure == nil
}

// begun says whether a start of that generation has been ordered here.
func (p *pod) begun(generation int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Order.Generation == generation
}

// finished says whether all containers have ended for good.
func (p *pod) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Finished
}

func (p *pod) containerName(container string, run int) string {
	return fmt.Sprintf("aci-%s-%s-%d", p.id[:min(8, len(p.id))]+p.id[max(0, len(p.id)-12):], container, run)
}

func (p *pod) sandboxName() string { return "aci-" + p.id }

// needsSandbox says whether a container is needed that only holds the network: one alone holds its own.
func (p *pod) needsSandbox() bool { return len(p.file.Order.Spec.Containers) > 1 }

// isRefusal says whether an error is the client's to read.
func isRefusal(err error) bool {
	var refused *arm.Error
	return errors.As(err, &refused)
}
