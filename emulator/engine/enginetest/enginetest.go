// Package enginetest is the contract of engine.Engine as tests: every engine
// must pass Test. What a container does is said twice, as a command for the
// engines that run one and as the script of the simulated engine, so that one
// set of expectations holds for all.
//
// It tests what callers rely on: exit codes and signals, whole logs, Stop with
// its grace, names, Exec, and that Close leaves nothing. What only one engine
// can do (environments, orphans) is tested beside that engine; Terminal is for those that have terminals.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
)

// Test runs the contract; open makes an engine with nothing in it, which the
// contract closes.
func Test(t *testing.T, open func(t *testing.T) engine.Engine) {
	for _, c := range []struct {
		name string
		run  func(s *suite)
	}{
		{"exits", exits},
		{"stops", stops},
		{"logs", logs},
		{"names", names},
		{"execs", execs},
		{"machine", machine},
		{"joins", joins},
		{"times", times},
		{"reaches", reaches},
		{"close", closes},
		{"fifty at once", fifty},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			e := open(t)
			defer func() {
				if err := e.Close(ctx); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			c.run(&suite{T: t, ctx: ctx, engine: e})
		})
	}
}

type suite struct {
	*testing.T
	ctx    context.Context
	engine engine.Engine
}

// act is one behaviour in both languages.
type act struct {
	sh  string
	sim []string
}

func (a act) command() []string { return []string{"/bin/sh", "-c", a.sh} }

var (
	forever = act{"exec sleep 3600", []string{"LAZULITE_SIM_DURATION=1h"}}
	deaf    = act{"trap '' TERM; echo up; while :; do sleep 1; done", []string{"LAZULITE_SIM_DURATION=1h", "LAZULITE_SIM_TRAP=TERM", "LAZULITE_SIM_OUTPUT=up\n"}}
)

func exit(code int) act {
	return act{fmt.Sprintf("exit %d", code), []string{fmt.Sprintf("LAZULITE_SIM_EXIT=%d", code)}}
}

func (s *suite) start(name string, a act) engine.Container {
	s.Helper()
	c, err := s.engine.Start(s.ctx, engine.Spec{Name: name, Command: a.command(), Env: a.sim})
	if err != nil {
		s.Fatalf("Start %s: %v", name, err)
	}
	return c
}

func (s *suite) wait(c engine.Container, code int, signal string) {
	s.Helper()
	x, err := c.Wait(s.ctx)
	if err != nil || x.Code != code || x.Signal != signal || x.At.IsZero() {
		s.Errorf("Wait of %s: %+v, %v; want code %d, signal %q", c.ID(), x, err, code, signal)
	}
}

func (s *suite) text(c engine.Container, follow bool) string {
	s.Helper()
	var b bytes.Buffer
	if err := c.Logs(s.ctx, &b, follow); err != nil {
		s.Errorf("Logs: %v", err)
	}
	return b.String()
}

func exits(s *suite) {
	for _, c := range []struct {
		act    act
		code   int
		signal string
	}{
		{exit(0), 0, ""},
		{exit(3), 3, ""},
		{exit(255), 255, ""},
		{act{"kill -SEGV $$; sleep 60", []string{"LAZULITE_SIM_SIGNAL=SEGV"}}, 139, "SEGV"},
		{act{"kill -KILL $$; sleep 60", []string{"LAZULITE_SIM_SIGNAL=KILL"}}, 137, "KILL"},
		{act{"exit 143", []string{"LAZULITE_SIM_EXIT=143"}}, 143, ""},
	} {
		x := s.start("exits", c.act)
		s.wait(x, c.code, c.signal)
		s.wait(x, c.code, c.signal)
		if err := x.Stop(s.ctx, 0); err != nil {
			s.Errorf("Stop of what has ended: %v", err)
		}
		if err := x.Remove(s.ctx); err != nil {
			s.Errorf("Remove: %v", err)
		}
	}
}

func stops(s *suite) {
	c := s.start("obeys", forever)
	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Wait gave up with %v", err)
	}
	if err := c.Stop(s.ctx, 30*time.Second); err != nil {
		s.Errorf("Stop: %v", err)
	}
	s.wait(c, 143, "TERM")

	c = s.start("deaf", deaf)
	s.until(func() bool { return strings.Contains(s.text(c, false), "up") })
	if err := c.Stop(s.ctx, 100*time.Millisecond); err != nil {
		s.Errorf("Stop: %v", err)
	}
	s.wait(c, 137, "KILL")
	if err := c.Stop(s.ctx, 0); err != nil {
		s.Errorf("second Stop: %v", err)
	}
}

// until waits for a condition that a real process brings about.
func (s *suite) until(ok func() bool) {
	s.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatal("it never came about")
		}
	}
}

func logs(s *suite) {
	c := s.start("prints", act{"echo one; echo two >&2; exit 4", []string{"LAZULITE_SIM_OUTPUT=one\ntwo\n", "LAZULITE_SIM_EXIT=4"}})
	if got := s.text(c, true); got != "one\ntwo\n" {
		s.Errorf("followed to the end: %q", got)
	}
	s.wait(c, 4, "")
	if got := s.text(c, false); got != "one\ntwo\n" {
		s.Errorf("after the end: %q", got)
	}

	c = s.start("goes on", forever)
	if got := s.text(c, false); got != "" {
		s.Errorf("it has printed nothing, the log has %q", got)
	}
	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if err := c.Logs(short, &bytes.Buffer{}, true); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Logs gave up with %v", err)
	}
}

func names(s *suite) {
	c := s.start("taken", forever)
	if c.ID() == "" {
		s.Error("no ID")
	}
	if _, err := s.engine.Start(s.ctx, engine.Spec{Name: "taken", Command: forever.command(), Env: forever.sim}); !errors.Is(err, engine.ErrExists) {
		s.Errorf("a second of that name: %v", err)
	}
	if err := c.Remove(s.ctx); err != nil {
		s.Fatalf("Remove: %v", err)
	}
	s.wait(s.start("taken", exit(0)), 0, "")
	if _, err := s.engine.Start(s.ctx, engine.Spec{Command: forever.command(), Env: forever.sim}); !errors.Is(err, engine.ErrInvalid) {
		s.Errorf("without a name: %v", err)
	}
}

func (s *suite) execer(c engine.Container) engine.Execer {
	s.Helper()
	e, ok := c.(engine.Execer)
	if !ok {
		s.Skip("this engine has no Exec")
	}
	return e
}

func execs(s *suite) {
	c := s.start("host", forever)
	e := s.execer(c)
	var out bytes.Buffer
	a := act{"echo here; exit 7", []string{"LAZULITE_SIM_OUTPUT=here\n", "LAZULITE_SIM_EXIT=7", "LAZULITE_SIM_DURATION=0s"}}
	x, err := e.Exec(s.ctx, engine.Exec{Command: a.command(), Env: a.sim, Stdout: &out})
	if err != nil || x.Code != 7 || x.Signal != "" || x.At.IsZero() || out.String() != "here\n" {
		s.Errorf("Exec: %+v, %v, %q", x, err, out.String())
	}

	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGINT
	if x, err := e.Exec(s.ctx, engine.Exec{Command: forever.command(), Env: forever.sim, Signals: signals}); err != nil || x.Code != 130 || x.Signal != "INT" {
		s.Errorf("interrupted: %+v, %v", x, err)
	}

	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if x, err := e.Exec(short, engine.Exec{Command: forever.command(), Env: forever.sim}); !errors.Is(err, context.DeadlineExceeded) || x.Code != 129 {
		s.Errorf("its context ended: %+v, %v", x, err)
	}
	if _, err := e.Exec(s.ctx, engine.Exec{}); !errors.Is(err, engine.ErrInvalid) {
		s.Errorf("no command: %v", err)
	}

	if err := c.Stop(s.ctx, 10*time.Second); err != nil {
		s.Errorf("Stop: %v", err)
	}
	if _, err := e.Exec(s.ctx, engine.Exec{Command: a.command(), Env: a.sim}); !errors.Is(err, engine.ErrStopped) {
		s.Errorf("Exec in what was stopped: %v", err)
	}
}

func machine(s *suite) {
	c, err := s.engine.Start(s.ctx, engine.Spec{Name: "machine"})
	if err != nil {
		s.Fatalf("Start: %v", err)
	}
	e := s.execer(c)
	ended := make(chan engine.Exit, 1)
	var begun sync.WaitGroup
	begun.Add(1)
	go func() {
		begun.Done()
		x, err := e.Exec(s.ctx, engine.Exec{Command: forever.command(), Env: forever.sim})
		if err != nil && !errors.Is(err, engine.ErrStopped) {
			s.Errorf("Exec: %v", err)
		}
		ended <- x
	}()
	begun.Wait()
	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("a machine ends only with Stop: %v", err)
	}
	if err := c.Stop(s.ctx, 10*time.Second); err != nil {
		s.Errorf("Stop: %v", err)
	}
	s.wait(c, 0, "")
	if x := <-ended; x.Code != 143 {
		s.Errorf("what ran on it: %+v", x)
	}
}

func joins(s *suite) {
	host, err := s.engine.Start(s.ctx, engine.Spec{Name: "shared"})
	if err != nil {
		s.Fatalf("Start: %v", err)
	}
	c, err := s.engine.Start(s.ctx, engine.Spec{Name: "guest", Join: "shared", Command: exit(0).command()})
	if err != nil {
		s.Fatalf("Start of what joins: %v", err)
	}
	s.wait(c, 0, "")
	for _, spec := range []engine.Spec{
		{Name: "alone", Join: "nobody", Command: exit(0).command()},
		{Name: "double", Join: "shared", Ports: []int{80}, Command: exit(0).command()},
		{Name: "named", Join: "shared", Hostname: "own", Command: exit(0).command()},
		{Name: "split", Join: "shared", Networks: []engine.Network{{Name: engine.HostNetwork}}, Command: exit(0).command()},
	} {
		if _, err := s.engine.Start(s.ctx, spec); !errors.Is(err, engine.ErrInvalid) {
			s.Errorf("%s: %v", spec.Name, err)
		}
	}
	if err := host.Remove(s.ctx); err != nil {
		s.Errorf("Remove: %v", err)
	}
	if _, err := s.engine.Start(s.ctx, engine.Spec{Name: "late", Join: "shared", Command: exit(0).command()}); !errors.Is(err, engine.ErrInvalid) {
		s.Errorf("joins what is gone: %v", err)
	}
}

func times(s *suite) {
	c := s.start("clocked", act{"echo one; echo two", []string{"LAZULITE_SIM_OUTPUT=one\ntwo\n"}})
	s.wait(c, 0, "")
	k, ok := c.(engine.Timekeeper)
	if !ok {
		s.Skip("this engine does not know when lines were written")
	}
	var b bytes.Buffer
	if err := k.TimedLogs(s.ctx, &b); err != nil {
		s.Fatalf("TimedLogs: %v", err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"one", "two"} {
		at, line, _ := strings.Cut(lines[i], " ")
		if _, err := time.Parse("2006-01-02T15:04:05.000000000Z", at); err != nil || line != want {
			s.Errorf("line %d: %q", i, lines[i])
		}
	}
	if len(lines) != 3 || lines[2] != "" {
		s.Errorf("%d lines: %q", len(lines), b.String())
	}
}

func reaches(s *suite) {
	r, ok := s.engine.(engine.Reacher)
	if !ok {
		s.Skip("this engine's containers reach nothing of the host")
	}
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the host") }))
	defer host.Close()
	for range 2 {
		addr, err := r.Reach(s.ctx, host.Listener.Addr().String())
		if err != nil {
			s.Fatalf("Reach: %v", err)
		}
		c := s.start("reaches", act{"exec curl -fsS --noproxy '*' http://" + addr + "/", []string{"LAZULITE_SIM_OUTPUT=the host"}})
		s.wait(c, 0, "")
		if got := s.text(c, true); got != "the host" {
			s.Errorf("at %s the container found %q", addr, got)
		}
		if err := c.Remove(s.ctx); err != nil {
			s.Errorf("Remove: %v", err)
		}
	}
	if addr, err := r.Reach(s.ctx, "nowhere"); !errors.Is(err, engine.ErrInvalid) {
		s.Errorf("no port: %q, %v", addr, err)
	}
}

func closes(s *suite) {
	c := s.start("left", forever)
	d := s.start("deaf", deaf)
	if err := s.engine.Close(s.ctx); err != nil {
		s.Fatalf("Close: %v", err)
	}
	for _, c := range []engine.Container{c, d} {
		if x, err := c.Wait(s.ctx); err != nil || x.Code == 0 {
			s.Errorf("after Close: %+v, %v", x, err)
		}
	}
	if _, err := s.engine.Start(s.ctx, engine.Spec{Name: "late", Command: forever.command(), Env: forever.sim}); !errors.Is(err, engine.ErrStopped) {
		s.Errorf("Start after Close: %v", err)
	}
}

func fifty(s *suite) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprintf("c%d", i)
			a := act{fmt.Sprintf("echo %s; exit %d", name, i), []string{"LAZULITE_SIM_OUTPUT=" + name + "\n", fmt.Sprintf("LAZULITE_SIM_EXIT=%d", i)}}
			c, err := s.engine.Start(s.ctx, engine.Spec{Name: name, Command: a.command(), Env: a.sim})
			if err != nil {
				s.Errorf("Start %s: %v", name, err)
				return
			}
			s.wait(c, i, "")
			if got := s.text(c, true); got != name+"\n" {
				s.Errorf("%s printed %q", name, got)
			}
			if err := c.Remove(s.ctx); err != nil {
				s.Errorf("Remove %s: %v", name, err)
			}
		})
	}
	wg.Wait()
}
