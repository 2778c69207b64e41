package aci

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"lazulite.dev/emulator/engine"
)

// probe watches a run until ctx ends.
func (m *member) probe(ctx context.Context, c engine.Container) *sync.WaitGroup {
	var all sync.WaitGroup
	if x := m.item.Properties.LivenessProbe; x != nil {
		all.Go(func() {
			m.ask(ctx, x, c, func(ok bool, why error) bool {
				if ok {
					return true
				}
				m.note(warning, "Unhealthy", "Liveness probe failed: %v", why)
				m.note(normal, "Killing", "Killing container with id %s:Container failed liveness probe.. Container will be killed and recreated.", c.ID())
				if err := c.Stop(context.WithoutCancel(ctx), stopGrace); err != nil {
					m.pod.fake.cfg.Logger.Error("killing a container that is not alive", "container", m.item.Name, "error", err)
				}
				return false
			})
		})
	}
	if x := m.item.Properties.ReadinessProbe; x != nil {
		all.Go(func() {
			m.ask(ctx, x, c, func(ok bool, why error) bool {
				if !ok {
					m.note(warning, "Unhealthy", "Readiness probe failed: %v", why)
				}
				m.change(func(f *memberFile) { f.Ready = ok })
				return true
			})
		})
	}
	return &all
}

// ask puts a probe's question in its period, and tells what its thresholds make of the answers.
func (m *member) ask(ctx context.Context, x *probe, c engine.Container, tell func(ok bool, why error) bool) {
	or := func(n, usual int) int {
		if n <= 0 {
			return usual
		}
		return n
	}
	period, limit := time.Duration(or(x.PeriodSeconds, 10))*time.Second, time.Duration(or(x.TimeoutSeconds, 1))*time.Second
	if !m.pause(ctx, time.Duration(x.InitialDelaySeconds)*time.Second) {
		return
	}
	good, bad, told := 0, 0, false
	for {
		err := m.try(ctx, x, c, limit)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			good, bad = good+1, 0
			if good >= or(x.SuccessThreshold, 1) && !told {
				told = true
				if !tell(true, nil) {
					return
				}
			}
		} else if good, bad = 0, bad+1; bad >= or(x.FailureThreshold, 3) {
			told = false
			if !tell(false, err) {
				return
			}
		}
		if !m.pause(ctx, period) {
			return
		}
	}
}

// try is one question.
func (m *member) try(ctx context.Context, x *probe, c engine.Container, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if x.Exec != nil {
		e, ok := c.(engine.Execer)
		if !ok {
			return fmt.Errorf("the engine can't run commands in a container")
		}
		exit, err := e.Exec(ctx, engine.Exec{Command: x.Exec.Command})
		if err == nil && exit.Code != 0 {
			err = fmt.Errorf("exit code %d", exit.Code)
		}
		return err
	}
	addr, err := m.pod.addr(ctx, x.HTTPGet.Port, false)
	if err != nil {
		return err
	}
	scheme, path := x.HTTPGet.Scheme, x.HTTPGet.Path
	if scheme == "" {
		scheme = "http"
	}
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "kube-probe/1.11")
	resp, err := m.pod.fake.prober.Do(r)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	}
	return nil
}
