package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
)

// submitTries is how often a machine that does not answer is tried before the run fails.
const submitTries = 4

// endLimit is how long the end of a run may take, with its secrets removed from the machine.
const endLimit = 10 * time.Second

// supervisor carries one remote run from its record to its end.
type supervisor struct {
	s      *Service
	rec    *record
	def    *definition
	target target
	// driver is the target's; nil before that is known.
	driver Driver
	// doubt says that the start on the machine may not have come to be.
	doubt bool
	// wish ends when the run is to be cancelled.
	wish   context.Context
	cancel context.CancelFunc
}

// supervise starts the supervisor of a record.
func (s *Service) supervise(rec *record) {
	wish, cancel := context.WithCancel(s.ctx)
	sup := &supervisor{s: s, rec: rec, doubt: rec.Started, wish: wish, cancel: cancel}
	if rec.Cancel {
		cancel()
	}
	s.mu.Lock()
	s.running[rec.key()] = sup
	s.mu.Unlock()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer cancel()
		sup.run(s.ctx)
		s.mu.Lock()
		delete(s.running, rec.key())
		s.mu.Unlock()
	}()
}

// outcome is how a run ended; the zero value: it has not, the service closes.
type outcome struct {
	status  string
	failure *history.RunError
}

func failed(code, format string, args ...any) outcome {
	return outcome{status: "Failed", failure: &history.RunError{Code: code, Message: fmt.Sprintf(format, args...)}}
}

func (p *supervisor) run(ctx context.Context) {
	out := p.work(ctx)
	if ctx.Err() != nil || out.status == "" {
		p.release(ctx, false)
		return
	}
	// It is over: a Close that comes now waits for the little that is left to do.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer stop()
	if _, err := p.s.cfg.Runs.SetStatus(ctx, p.rec.Workspace, p.rec.RunID, out.status, out.failure); err != nil {
		var e *plane.Error
		if !errors.As(err, &e) {
			// The record stays: the next Open tries again.
			p.s.log.Error("end of run", "run", p.rec.RunID, "err", err)
			p.release(ctx, false)
			return
		}
	}
	if !p.release(ctx, true) {
		return // the record stays for the same reason
	}
	if err := p.s.drop(ctx, p.rec); err != nil {
		p.s.log.Error("end of run", "run", p.rec.RunID, "err", err)
	}
}

// release lets the target go; false: something of the run may still be there.
func (p *supervisor) release(ctx context.Context, finished bool) bool {
	if p.driver == nil {
		return true
	}
	for try := 1; ; try++ {
		err := p.driver.Release(ctx, p.job(), p.rec.Handle, finished)
		if err == nil {
			return true
		}
		p.s.log.Warn("end of run", "run", p.rec.RunID, "target", p.target.Name, "err", err)
		if try == submitTries || !p.sleep(ctx, 500*time.Millisecond) {
			return false
		}
	}
}

func (p *supervisor) work(ctx context.Context) outcome {
	c := &configuration{}
	if err := json.Unmarshal(p.rec.Definition, c); err != nil {
		return failed("ServiceError", "The run's definition cannot be read again.")
	}
	if err := p.s.restoreLogin(p.rec.key(), c); err != nil {
		return failed("ServiceError", "The registry's password cannot be read again.")
	}
	p.def = &definition{Configuration: c, TargetDetails: p.rec.Details, raw: p.rec.Definition}
	if err := p.def.check(p.rec.PrepareOnly); err != nil {
		return p.refused(err)
	}
	if err := p.aim(ctx); err != nil {
		return p.refused(err)
	}
	if p.target.ordered() {
		// Where it waits for its turn is the target's own queue.
		return p.carry(ctx)
	}
	key := p.target.slotKey()
	if p.rec.Started {
		p.s.slots.take(key)
	} else if !p.queue(ctx, key) {
		return p.canceled(ctx)
	}
	defer p.s.slots.release(key)
	return p.carry(ctx)
}

// aim finds the target and its driver. An order that was made is followed
// whatever has become of the compute's name since.
func (p *supervisor) aim(ctx context.Context) (err error) {
	if p.rec.Started && p.rec.Handle.Order != "" {
		p.target = target{Name: p.rec.Target, kind: p.rec.Kind, cluster: p.rec.Cluster}
	} else if p.target, err = p.s.resolve(ctx, p.rec.Workspace, p.rec.Target, p.rec.Details); err != nil {
		return err
	}
	p.driver = p.s.driverOf(p.target)
	return p.target.check(p.def.Configuration)
}

// carry starts the run if it is not, and stays with it.
func (p *supervisor) carry(ctx context.Context) outcome {
	if !p.rec.Started {
		if p.wish.Err() != nil {
			return p.canceled(ctx)
		}
		if out, ok := p.submit(ctx); !ok {
			return out
		}
	}
	return p.follow(ctx)
}

// canceled is the outcome of a run that was not started when it was told to end.
func (p *supervisor) canceled(ctx context.Context) outcome {
	if ctx.Err() != nil {
		return outcome{}
	}
	return outcome{status: "Canceled"}
}

// queue waits for a slot on the machine; false: the run is to end instead.
func (p *supervisor) queue(ctx context.Context, key string) bool {
	for said := false; ; {
		if p.wish.Err() != nil {
			return false
		}
		ok, freed := p.s.slots.try(key)
		if ok {
			return true
		}
		if !said {
			said = true
			if _, err := p.s.cfg.Runs.SetStatus(ctx, p.rec.Workspace, p.rec.RunID, "Queued", nil); err != nil {
				p.s.log.Error("queue", "run", p.rec.RunID, "err", err)
			}
		}
		select {
		case <-freed:
		case <-p.wish.Done():
		}
	}
}

// submit starts the run on its machine; false: the outcome is there already.
func (p *supervisor) submit(ctx context.Context) (outcome, bool) {
	for try := 1; ; try++ {
		h, err := p.driver.Submit(p.wish, p.job())
		if err == nil {
			p.rec.Handle = h
			return outcome{}, true
		}
		if ctx.Err() != nil {
			return outcome{}, false
		}
		var e *ConnectError
		if errors.As(err, &e) && e.Reason == Refused {
			return p.refused(err), false
		}
		if p.rec.Started {
			// Only the start itself is in doubt: the target knows.
			p.doubt = true
			return outcome{}, true
		}
		if p.wish.Err() != nil {
			return outcome{status: "Canceled"}, false
		}
		if !errors.As(err, &e) || !e.Temporary() || try == submitTries {
			return p.refused(err), false
		}
		p.s.log.Info("machine does not answer", "run", p.rec.RunID, "machine", p.target.Name, "err", err)
		if !p.sleep(p.wish, time.Duration(try)*time.Second) {
			return p.canceled(ctx), false
		}
	}
}

// refused turns an error before the start into the run's failure.
func (p *supervisor) refused(err error) outcome {
	var connect *ConnectError
	var wire *plane.Error
	var command *failedCommand
	switch {
	case p.s.ctx.Err() != nil:
		return outcome{}
	case errors.As(err, &connect) && connect.Reason == Refused:
		return failed("UserError", "The target '%s' does not take the run: %s", p.rec.Target, connect.Message)
	case errors.As(err, &connect):
		return failed("UserError", "The target '%s' cannot be used: %s", p.rec.Target, connect.Message)
	case errors.As(err, &wire):
		return failed("UserError", "%s", wire.Message)
	case errors.As(err, &command):
		return failed("UserError", "The run could not be set up on the target '%s': %s", p.rec.Target, command.said)
	}
	p.s.log.Error("run could not be started", "run", p.rec.RunID, "err", err)
	return failed("ServiceError", "The run could not be started on the target '%s'.", p.rec.Target)
}

// follow stays with a started run until it ended.
func (p *supervisor) follow(ctx context.Context) outcome {
	ended, stop := context.WithCancel(ctx)
	var ending sync.WaitGroup
	// Nobody may connect to the machine once the run is over: its connection is released then.
	defer ending.Wait()
	defer stop()
	ending.Go(func() { p.endOnWish(ended) })
	var last Status
	lost := time.Time{}
	for {
		seen := false
		var err error
		if p.doubt {
			err = p.driver.Resume(ctx, p.job(), p.rec.Handle)
			p.doubt = err != nil
		}
		if err == nil {
			err = p.driver.Status(ctx, p.job(), p.rec.Handle, func(st Status) {
				last, seen = st, true
				p.progress(ctx, st)
			})
		}
		if ctx.Err() != nil {
			return outcome{}
		}
		if err == nil {
			return p.result(ctx, last)
		}
		now := p.s.cfg.Clock.Now()
		if seen || lost.IsZero() {
			lost = now
		}
		var e *ConnectError
		if errors.As(err, &e) && e.Reason == Refused {
			return p.refused(err)
		}
		final := errors.As(err, &e) && !e.Temporary() && e.Reason != NoForwarding
		if final || now.Sub(lost) > p.s.cfg.GiveUp {
			return failed("ServiceError", "The run was lost: %s", err)
		}
		p.s.log.Info("machine out of reach", "run", p.rec.RunID, "machine", p.target.Name, "err", err)
		if !p.sleep(ctx, 500*time.Millisecond) {
			return outcome{}
		}
	}
}

// progress tells history what the control script does not: that the run waits for
// its target, or has it and is not running yet.
func (p *supervisor) progress(ctx context.Context, st Status) {
	status := map[string]string{"queued": history.Queued, "preparing": history.Preparing}[st.Phase]
	if !st.Inferred || status == "" {
		return
	}
	if _, err := p.s.cfg.Runs.SetStatus(ctx, p.rec.Workspace, p.rec.RunID, status, nil); err != nil && ctx.Err() == nil {
		p.s.log.Error("state of run", "run", p.rec.RunID, "err", err)
	}
}

// endOnWish tells the machine once the run is to end, until it has heard or ctx ends.
func (p *supervisor) endOnWish(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.wish.Done():
	}
	for ctx.Err() == nil {
		err := p.driver.Cancel(ctx, p.job(), p.rec.Handle)
		if err == nil {
			return
		}
		p.s.log.Info("cancel", "run", p.rec.RunID, "machine", p.target.Name, "err", err)
		p.sleep(ctx, time.Second)
	}
}

// result turns what the control script wrote last into the run's end, with the logs brought home if it could not send them.
func (p *supervisor) result(ctx context.Context, st Status) outcome {
	out := outcome{}
	switch {
	case p.wish.Err() != nil && (st.Phase != "ended" || st.Inferred && st.Result == "Failed"):
		out.status = "Canceled"
	case st.Phase == "ended":
		out.status = st.Result
		if st.Error != nil {
			out.failure = &history.RunError{Code: st.Error.Code, Message: st.Error.Message}
		}
	default:
		message := fmt.Sprintf(lostControl, p.rec.Target)
		if said := strings.TrimSpace(st.Said); said != "" {
			message += " It said last: " + said
		}
		out.status = "Failed"
		out.failure = &history.RunError{Code: "ServiceError", Message: message}
	}
	if st.Phase != "ended" || !st.LogsSent {
		if err := p.driver.Logs(ctx, p.job(), p.rec.Handle); err != nil {
			p.s.log.Warn("logs of the run were not brought home", "run", p.rec.RunID, "err", err)
		}
	}
	return out
}

// lostControl is what became of a run whose processes went without a word.
const lostControl = "The run's processes on the target '%s' are gone and left no result: its machine was stopped, " +
	"or lazulite was, with which the processes of its machines end. Submit the run again."

func (p *supervisor) job() Job {
	j := Job{
		Workspace: p.rec.Workspace, Experiment: p.rec.Experiment,
		RunID: p.rec.RunID, Target: p.target, Project: p.s.projectFile(p.rec.key()),
		Invocation: func(ctx context.Context, proxy string) (*invocation, error) {
			inv, err := p.s.newInvocation(ctx, p.rec.Workspace, p.rec.Experiment, p.rec.RunID, p.rec.Endpoint, p.def, p.target, p.rec.PrepareOnly)
			if err != nil {
				return nil, err
			}
			inv.job.Proxy = proxy
			return inv, p.s.identify(ctx, p.rec.Workspace, inv)
		},
		Save: func(h Handle) error {
			rec, err := p.s.update(p.s.ctx, p.rec.key(), func(r *record) {
				r.Started, r.Handle, r.Kind, r.Cluster = true, h, p.target.kind, p.target.cluster
			})
			if err == nil {
				p.rec.Started, p.rec.Handle = rec.Started, rec.Handle
			}
			return err
		},
		Log: func(ctx context.Context, path string, r io.Reader) error {
			return p.s.cfg.Assets.PutArtifact(ctx, p.rec.Workspace, p.rec.RunID, path, "text/plain", r)
		},
		Warn: func(ctx context.Context, message string) {
			if err := p.s.cfg.Runs.AddWarning(ctx, p.rec.Workspace, p.rec.RunID, history.Warning{Source: "execution", Message: message}); err != nil {
				p.s.log.Error("warning of run", "run", p.rec.RunID, "err", err)
			}
		},
	}
	if p.def != nil {
		j.Config = p.def.Configuration
	}
	return j
}

// sleep waits; false: ctx ended first.
func (p *supervisor) sleep(ctx context.Context, d time.Duration) bool {
	t := p.s.cfg.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}
