package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Simulated is the engine that runs nothing. What a container or an Exec
// "does" is told by variables of its environment, or by labels of the same
// meaning; time passes on the Clock alone.
//
//	LAZULITE_SIM_OUTPUT    lazulite.sim.output    what it prints, at its start
//	LAZULITE_SIM_DURATION  lazulite.sim.duration  how long it runs ("90s"; none: it ends at once)
//	LAZULITE_SIM_EXIT      lazulite.sim.exit      exit code, 0 to 255
//	LAZULITE_SIM_SIGNAL    lazulite.sim.signal    signal it dies of at its end instead ("SEGV")
//	LAZULITE_SIM_OOM       lazulite.sim.oom       "true": it dies of SIGKILL for want of memory
//	LAZULITE_SIM_TRAP      lazulite.sim.trap      "TERM": it ignores SIGTERM
type Simulated struct {
	cfg Config

	mu         sync.Mutex
	closed     bool
	containers map[string]*simulatedContainer
}

// NewSimulated needs nothing of its Config.
func NewSimulated(cfg Config) *Simulated {
	return &Simulated{cfg: cfg.withDefaults(), containers: map[string]*simulatedContainer{}}
}

// Name implements Engine.
func (s *Simulated) Name() string { return "simulated" }

// Reach implements Reacher: what runs nothing reaches everything.
func (s *Simulated) Reach(_ context.Context, hostAddr string) (string, error) {
	return hostAddr, checkAddr(hostAddr)
}

// script is what a simulated process will do.
type script struct {
	output   string
	duration time.Duration
	exit     Exit
	trap     bool
}

func readScript(env []string, labels map[string]string) (sc script, err error) {
	get := func(name string) string {
		if v := getenv(env, "LAZULITE_SIM_"+strings.ToUpper(name)); v != "" {
			return v
		}
		return labels["lazulite.sim."+name]
	}
	bad := func(name, value string) error {
		return fmt.Errorf("%w: simulated %s %q", ErrInvalid, name, value)
	}
	sc.output = get("output")
	if v := get("duration"); v != "" {
		if sc.duration, err = time.ParseDuration(v); err != nil || sc.duration < 0 {
			return sc, bad("duration", v)
		}
	}
	if v := get("exit"); v != "" {
		if sc.exit.Code, err = strconv.Atoi(v); err != nil || sc.exit.Code < 0 || sc.exit.Code > 255 {
			return sc, bad("exit", v)
		}
	}
	if v := get("signal"); v != "" {
		sig := unix.SignalNum("SIG" + v)
		if sig == 0 {
			return sc, bad("signal", v)
		}
		sc.exit = killedBy(sig)
	}
	if v := get("oom"); v != "" {
		oom, err := strconv.ParseBool(v)
		if err != nil {
			return sc, bad("oom", v)
		}
		if oom {
			sc.exit = killedBy(syscall.SIGKILL)
			sc.exit.OOM = true
		}
	}
	switch v := get("trap"); v {
	case "", "TERM":
		sc.trap = v == "TERM"
	default:
		return sc, bad("trap", v)
	}
	return sc, nil
}

func killedBy(sig syscall.Signal) Exit {
	return Exit{Code: 128 + int(sig), Signal: signalName(sig)}
}

// Start implements Engine.
func (s *Simulated) Start(ctx context.Context, spec Spec) (Container, error) {
	sc, err := readScript(spec.Env, spec.Labels)
	if err != nil {
		return nil, err
	}
	if spec.Name == "" {
		return nil, fmt.Errorf("%w: a container needs a name", ErrInvalid)
	}
	if err := checkJoin(spec); err != nil {
		return nil, err
	}
	c := &simulatedContainer{
		engine: s, spec: spec, script: sc, log: &logFile{file: &memoryFile{}, now: s.cfg.Clock.Now, more: make(chan struct{})},
		term: make(chan struct{}), kill: make(chan struct{}), ended: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrStopped
	}
	if s.containers[spec.Name] != nil {
		return nil, fmt.Errorf("%w: %s", ErrExists, spec.Name)
	}
	if spec.Join != "" && s.containers[spec.Join] == nil {
		return nil, errNoJoin(spec.Join)
	}
	s.containers[spec.Name] = c
	if len(spec.Command) > 0 || spec.ImageCommand {
		if _, err := io.WriteString(c.log, sc.output); err != nil {
			return nil, err
		}
		timer := s.cfg.Clock.NewTimer(sc.duration)
		go func() {
			defer timer.Stop()
			c.end(c.run(context.Background(), sc, timer.C(), nil))
		}()
	}
	return c, nil
}

// Close implements Engine.
func (s *Simulated) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	var all []*simulatedContainer
	for _, c := range s.containers {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		if err := c.Remove(ctx); err != nil {
			return err
		}
	}
	return nil
}

type simulatedContainer struct {
	engine *Simulated
	spec   Spec
	script script
	log    *logFile

	begun      sync.WaitGroup
	term, kill chan struct{}
	ended      chan struct{}
	exit       Exit

	stopMu sync.Mutex
	mu     sync.Mutex
	state  int  // of 0 running, 1 told to stop, 2 killed
	told   bool // a Stop was first
}

// run ends as the script says, or earlier by the container's or its own signals.
func (c *simulatedContainer) run(ctx context.Context, sc script, due <-chan time.Time, signals <-chan os.Signal) Exit {
	term := c.term
	for {
		select {
		case <-due:
			return sc.exit
		case <-term:
			if !sc.trap {
				return killedBy(syscall.SIGTERM)
			}
			term = nil
		case <-c.kill:
			if term != nil && !sc.trap && c.toldToStop() {
				return killedBy(syscall.SIGTERM) // which came first
			}
			return killedBy(syscall.SIGKILL)
		case <-ctx.Done():
			return killedBy(syscall.SIGHUP)
		case sig, ok := <-signals:
			if !ok {
				signals = nil
			} else if n, isNumber := sig.(syscall.Signal); isNumber && !(sc.trap && n == syscall.SIGTERM) {
				return killedBy(n)
			}
		}
	}
}

func (c *simulatedContainer) end(x Exit) {
	c.advance(2)
	c.begun.Wait()
	x.At = c.engine.cfg.Clock.Now()
	c.exit = x
	c.log.end()
	close(c.ended)
}

func (c *simulatedContainer) toldToStop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// advance moves the state forward, never back.
func (c *simulatedContainer) advance(to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.state
	if from < 1 && to >= 1 {
		c.told = to == 1
		close(c.term)
	}
	if from < 2 && to >= 2 {
		close(c.kill)
	}
	c.state = max(from, to)
}

// ID implements Container.
func (c *simulatedContainer) ID() string { return c.spec.Name }

// Wait implements Container.
func (c *simulatedContainer) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-c.ended:
		return c.exit, nil
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Logs implements Container.
func (c *simulatedContainer) Logs(ctx context.Context, w io.Writer, follow bool) error {
	return c.log.copy(ctx, w, follow)
}

// Stop implements Container.
func (c *simulatedContainer) Stop(ctx context.Context, grace time.Duration) error {
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	select {
	case <-c.ended:
		return nil
	default:
	}
	c.advance(1)
	gone := make(chan struct{})
	go func() {
		c.begun.Wait()
		if len(c.spec.Command) > 0 {
			<-c.ended
		}
		close(gone)
	}()
	timer := c.engine.cfg.Clock.NewTimer(grace)
	defer timer.Stop()
	var err error
	select {
	case <-gone:
	case <-timer.C():
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.advance(2)
	<-gone
	if len(c.spec.Command) == 0 {
		c.end(Exit{})
	}
	return err
}

// Remove implements Container.
func (c *simulatedContainer) Remove(ctx context.Context) error {
	if err := c.Stop(ctx, 0); err != nil {
		return err
	}
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	delete(c.engine.containers, c.spec.Name)
	return nil
}

// Exec implements Execer.
func (c *simulatedContainer) Exec(ctx context.Context, x Exec) (Exit, error) {
	if len(x.Command) == 0 {
		return Exit{}, fmt.Errorf("%w: no command", ErrInvalid)
	}
	sc, err := readScript(append(append([]string{}, c.spec.Env...), x.Env...), c.spec.Labels)
	if err != nil {
		return Exit{}, err
	}
	if err := ctx.Err(); err != nil {
		return Exit{}, err
	}
	c.mu.Lock()
	if c.state > 0 {
		c.mu.Unlock()
		return Exit{}, ErrStopped
	}
	c.begun.Add(1)
	c.mu.Unlock()
	defer c.begun.Done()
	if x.Stdout != nil {
		if _, err := io.WriteString(x.Stdout, sc.output); err != nil {
			return Exit{}, err
		}
	}
	timer := c.engine.cfg.Clock.NewTimer(sc.duration)
	defer timer.Stop()
	exit := c.run(ctx, sc, timer.C(), x.Signals)
	exit.At = c.engine.cfg.Clock.Now()
	if exit.Signal == "HUP" && ctx.Err() != nil {
		return exit, ctx.Err()
	}
	return exit, nil
}

// TimedLogs implements Timekeeper.
func (c *simulatedContainer) TimedLogs(_ context.Context, w io.Writer) error {
	return c.log.copyTimed(w)
}
