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
	target machine
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
	// onMachine says that the machine was reached in the end.
	onMachine bool
}

func failed(code, format string, args ...any) outcome {
	return outcome{status: "Failed", failure: &history.RunError{Code: code, Message: fmt.Sprintf(format, args...)}}
}

func (p *supervisor) run(ctx context.Context) {
	out := p.work(ctx)
	job := p.job()
	if ctx.Err() != nil || out.status == "" {
		p.s.driver.Release(ctx, job, p.rec.Handle, false)
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
			p.s.driver.Release(ctx, job, p.rec.Handle, false)
			return
		}
	}
	p.s.driver.Release(ctx, job, p.rec.Handle, out.onMachine)
	if err := p.s.drop(ctx, p.rec); err != nil {
		p.s.log.Error("end of run", "run", p.rec.RunID, "err", err)
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
	var err error
	if p.target, err = p.s.resolve(ctx, p.rec.Workspace, p.rec.Target, p.rec.Details); err != nil {
		return p.refused(err)
	}
	key := p.target.slotKey()
	if p.rec.Started {
		p.s.slots.take(key)
	} else if !p.queue(ctx, key) {
		return p.canceled(ctx)
	}
	defer p.s.slots.release(key)
	if !p.rec.Started {
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
		h, err := p.s.driver.Submit(p.wish, p.job())
		if err == nil {
			p.rec.Handle = h
			return outcome{}, true
		}
		if ctx.Err() != nil {
			return outcome{}, false
		}
		if p.rec.Started {
			// Only the start itself is in doubt: the machine knows.
			p.doubt = true
			return outcome{}, true
		}
		if p.wish.Err() != nil {
			return outcome{status: "Canceled", onMachine: true}, false
		}
		var e *ConnectError
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
			err = p.s.driver.Resume(ctx, p.job(), p.rec.Handle)
			p.doubt = err != nil
		}
		if err == nil {
			err = p.s.driver.Status(ctx, p.job(), p.rec.Handle, func(st Status) { last, seen = st, true })
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

// endOnWish tells the machine once the run is to end, until it has heard or ctx ends.
func (p *supervisor) endOnWish(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.wish.Done():
	}
	for ctx.Err() == nil {
		err := p.s.driver.Cancel(ctx, p.job(), p.rec.Handle)
		if err == nil {
			return
		}
		p.s.log.Info("cancel", "run", p.rec.RunID, "machine", p.target.Name, "err", err)
		p.sleep(ctx, time.Second)
	}
}

// result turns what the control script wrote last into the run's end, with the logs brought home if it could not send them.
func (p *supervisor) result(ctx context.Context, st Status) outcome {
	out := outcome{onMachine: true}
	switch {
	case st.Phase == "ended":
		out.status = st.Result
		if st.Error != nil {
			out.failure = &history.RunError{Code: st.Error.Code, Message: st.Error.Message}
		}
	case p.wish.Err() != nil:
		out.status = "Canceled"
	default:
		message := "The control script ended without reporting."
		if said := strings.TrimSpace(st.Said); said != "" {
			message += " It said: " + said
		}
		out.status = "Failed"
		out.failure = &history.RunError{Code: "ServiceError", Message: message}
	}
	if st.Phase != "ended" || !st.LogsSent {
		err := p.s.driver.Logs(ctx, p.job(), p.rec.Handle, func(path string, r io.Reader) error {
			return p.s.cfg.Assets.PutArtifact(ctx, p.rec.Workspace, p.rec.RunID, path, "text/plain", r)
		})
		if err != nil {
			p.s.log.Warn("logs of the run were not brought home", "run", p.rec.RunID, "err", err)
		}
	}
	return out
}

func (p *supervisor) job() Job {
	return Job{
		RunID: p.rec.RunID, Machine: p.target, Project: p.s.projectFile(p.rec.key()),
		Invocation: func(ctx context.Context, proxy string) (*invocation, error) {
			inv, err := p.s.newInvocation(ctx, p.rec.Workspace, p.rec.Experiment, p.rec.RunID, p.rec.Endpoint, p.def, p.rec.PrepareOnly)
			if err != nil {
				return nil, err
			}
			inv.job.Proxy = proxy
			return inv, p.s.identify(ctx, p.rec.Workspace, inv)
		},
		Save: func(h Handle) error {
			rec, err := p.s.update(p.s.ctx, p.rec.key(), func(r *record) { r.Started, r.Handle = true, h })
			if err == nil {
				p.rec.Started, p.rec.Handle = rec.Started, rec.Handle
			}
			return err
		},
	}
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
