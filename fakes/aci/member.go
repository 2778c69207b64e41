package aci

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lazulite.dev/emulator/engine"
)

// memberFile is what is kept of one container.
type memberFile struct {
	Name string
	// Run counts the engine's containers that were made for it; Launched says that the last may be there.
	Run      int
	Launched bool
	Started  bool // it has been running once
	// Settled: it has been running for a while, has ended for good, or waits in a
	// back-off: what may be said of it now is no passing state.
	Settled bool
	Done    bool      // it has ended and won't be started again
	Ready   bool      // as its readiness probe has it
	Backoff int       // restarts since it last ran for long
	Since   time.Time // the start of the last run
	View    containerView
}

// member is one container of a pod, through all its restarts.
type member struct {
	pod     *pod
	item    *containerItem
	initial bool
	file    *memberFile

	container engine.Container // of the run that goes on; guarded by pod.mu
}

const cleanLimit = time.Minute

// live is all that the container does: true when it has ended well or, of one
// that is no init container, for good. It returns early when ctx ends.
func (m *member) live(ctx context.Context) bool {
	for {
		exit, ok := m.once(ctx)
		if !ok {
			return false
		}
		if exit == nil {
			return true // it had ended before
		}
		policy := m.pod.file.Order.Spec.RestartPolicy
		if m.initial && policy == always {
			policy = onFailure
		}
		if !restarts(policy, exit.Code) {
			m.settle(func(f *memberFile) { f.Done = true })
			if m.initial && exit.Code != 0 {
				m.pod.fail(refuse("ContainerGroupFailed", "", "The init container '%s' in container group '%s' has failed with exit code %d.", m.item.Name, m.pod.file.Order.Name, exit.Code))
				return false
			}
			return true
		}
		if !m.pause(ctx, syncPeriod) || !m.backOff(ctx) {
			return false
		}
	}
}

// once is one run: from the image to the exit. A nil exit says that there is nothing more to run.
func (m *member) once(ctx context.Context) (*engine.Exit, bool) {
	container, state, launched, done := m.taken()
	switch {
	case done:
		return nil, true
	case state.State == "Terminated":
		exit := &engine.Exit{Code: *state.ExitCode, At: *state.FinishTime}
		if container != nil {
			m.putAway(ctx, container)
		}
		return exit, true
	case container != nil:
		// It has outlived the last emulator.
		return m.attend(ctx, container)
	case launched:
		m.note(warning, "Killing", "The container was killed when its host ended")
		exit := engine.Exit{Code: 137, Signal: "KILL", At: m.pod.fake.cfg.Clock.Now()}
		m.terminated(exit)
		m.change(func(f *memberFile) { f.Launched = false })
		return &exit, true
	}
	if !m.pull(ctx) {
		return nil, false
	}
	container, err := m.start(ctx)
	var cannot *cannotRun
	switch {
	case errors.As(err, &cannot):
		m.note(warning, "Failed", "Error: failed to start container \"%s\": Error response from daemon: OCI runtime create failed: container_linux.go:348: starting container process caused \"%s\": unknown", m.item.Name, cannot.why)
		exit := engine.Exit{Code: cannot.code, At: m.pod.fake.cfg.Clock.Now()}
		m.change(func(f *memberFile) { f.Started = true })
		m.terminate(exit, "ContainerCannotRun")
		return &exit, true
	case err != nil:
		m.giveUp(ctx, "CreateContainerError", err)
		return nil, false
	}
	m.running()
	return m.attend(ctx, container)
}

// giveUp says that the container can't be made: the group fails with that reason.
func (m *member) giveUp(ctx context.Context, state string, err error) {
	if ctx.Err() != nil {
		return
	}
	m.note(warning, "Failed", "Error: %v", err)
	m.change(func(f *memberFile) {
		f.become(&containerState{State: "Waiting", DetailStatus: state + ": " + err.Error()})
	})
	m.pod.fail(refuse("ContainerGroupCreationFailed", "", "The container '%s' in container group '%s' can't be created: %v", m.item.Name, m.pod.file.Order.Name, err))
}

// taken is how the container stands when its pod's life begins.
func (m *member) taken() (c engine.Container, s containerState, launched, done bool) {
	m.pod.mu.Lock()
	defer m.pod.mu.Unlock()
	return m.container, *m.file.View.CurrentState, m.file.Launched, m.file.Done
}

// running notes a start. That it runs is seen when it has for a while: what has
// ended by then was never seen running, as kubelet does not see it either.
func (m *member) running() {
	now := seconds(m.pod.fake.cfg.Clock.Now())
	m.change(func(f *memberFile) {
		f.Started, f.Ready, f.Since = true, m.item.Properties.ReadinessProbe == nil, now
		f.View.Events = note(f.View.Events, now, normal, "Started", "Started container")
	})
}

// attend waits for the end of what runs; if that comes from outside, it brings it about.
func (m *member) attend(ctx context.Context, c engine.Container) (*engine.Exit, bool) {
	watching, stop := context.WithCancel(ctx)
	probes := m.probe(watching, c)
	probes.Go(func() {
		if m.pause(watching, settleTime) {
			m.settle(func(f *memberFile) { f.become(&containerState{State: "Running", StartTime: pointer(f.Since)}) })
		}
	})
	exit, err := c.Wait(ctx)
	stop()
	probes.Wait()
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	if ctx.Err() != nil && err != nil {
		m.endFromOutside(clean, c)
		return nil, false
	}
	if err != nil {
		m.note(warning, "Killing", "The container is gone: %v", err)
		exit = engine.Exit{Code: 137, Signal: "KILL", At: m.pod.fake.cfg.Clock.Now()}
	}
	m.terminated(exit)
	m.putAway(clean, c)
	return &exit, true
}

// endFromOutside ends what runs as the pod was told.
func (m *member) endFromOutside(ctx context.Context, c engine.Container) {
	err := c.Stop(ctx, stopGrace)
	var exit engine.Exit
	if err == nil {
		exit, err = c.Wait(ctx)
	}
	m.pod.mu.Lock()
	suspended := m.pod.end == endSuspend
	m.pod.mu.Unlock()
	if err != nil {
		m.pod.fake.cfg.Logger.Error("ending a container", "container", m.item.Name, "error", err)
	}
	if !suspended {
		m.note(normal, "Killing", "Killing container with id %s:Need to kill Pod", c.ID())
		m.terminated(exit)
	}
	m.putAway(ctx, c)
}

// terminated notes an end.
func (m *member) terminated(x engine.Exit) {
	detail := "Completed"
	switch {
	case x.OOM:
		detail = "OOMKilled"
	case x.Code != 0:
		detail = "Error"
	}
	m.terminate(x, detail)
}

func (m *member) terminate(x engine.Exit, detail string) {
	m.change(func(f *memberFile) {
		if f.Since.IsZero() {
			f.Since = seconds(x.At)
		}
		if x.At.Sub(f.Since) >= backoffReset {
			f.Backoff = 0
		}
		f.become(&containerState{State: "Terminated", StartTime: pointer(f.Since), ExitCode: pointer(x.Code), FinishTime: pointer(seconds(x.At)), DetailStatus: detail})
		f.Ready = false
	})
}

// become changes the state; an end that another follows is the previous state.
func (f *memberFile) become(next *containerState) {
	if s := f.View.CurrentState; s.State == "Terminated" {
		f.View.PreviousState = s
	}
	f.View.CurrentState = next
}

// backOff waits before a restart. It returns false if ctx ends.
func (m *member) backOff(ctx context.Context) bool {
	m.pod.mu.Lock()
	wait := backoff(m.file.Backoff)
	m.pod.mu.Unlock()
	if wait > 0 {
		now := m.pod.fake.cfg.Clock.Now()
		m.settle(func(f *memberFile) {
			f.become(&containerState{State: "Waiting", DetailStatus: fmt.Sprintf("CrashLoopBackOff: Back-off %s restarting failed", wait)})
			f.View.Events = note(f.View.Events, now, warning, "BackOff", "Back-off restarting failed container")
		})
		if !m.pause(ctx, wait) {
			return false
		}
	}
	m.change(func(f *memberFile) {
		f.become(&containerState{State: "Waiting"})
		f.View.RestartCount++
		f.Backoff++
	})
	return true
}

// pause waits on the Clock; false if ctx ends first.
func (m *member) pause(ctx context.Context, d time.Duration) bool {
	timer := m.pod.fake.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// settle is a change to what will last; with the last container's the group is provisioned.
func (m *member) settle(change func(*memberFile)) {
	m.pod.record(func(f *podFile) {
		change(m.file)
		m.file.Settled = true
		f.settle()
	})
}

func (m *member) change(change func(*memberFile)) { m.pod.record(func(*podFile) { change(m.file) }) }

func (m *member) note(kind, name, format string, args ...any) {
	now := m.pod.fake.cfg.Clock.Now()
	m.change(func(f *memberFile) { f.View.Events = note(f.View.Events, now, kind, name, format, args...) })
}

// ended says whether it has ended for good.
func (m *member) ended() bool {
	m.pod.mu.Lock()
	defer m.pod.mu.Unlock()
	return m.file.Done
}
