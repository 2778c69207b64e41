// Package docker is the engine.Engine over a Docker daemon, by
// testcontainers-go: each container of the engine is one of Docker's.
//
// Every container and network carries the emulator's instance as a label, and
// that is what finds them again: New adopts or removes what an earlier
// emulator of the same instance left, Close removes all. No reaper image runs
// beside them.
//
// A container is given Docker's init, so that zombies are reaped and SIGTERM
// ends what has no handler for it; its command runs under the image's /bin/sh,
// which makes one stream of both outputs in the order of their writing, and
// then replaces itself. An image without /bin/sh works too, less exactly: its
// commands get no signals but those of Stop, and its two outputs may swap.
//
// Docker tells how a process ended by a shell's number alone (139). Exit.Signal
// is set where that can't be the program's own: for a signal that was sent from
// here, for want of memory, and for faults (SEGV, ABRT, KILL and so on).
//
// The package also has the images: the base image, built from Ubuntu or from
// Debian's packages (base.go), what it stands for (table.go), and images with
// dependencies, cached by content (recipe.go).
package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	containertypes "github.com/moby/moby/api/types/container"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
)

// Config of an Engine. Every field may be left zero.
type Config struct {
	// Host is where the daemon listens (unix:///..., tcp://...); empty: where Docker's own clients look.
	Host string
	// InstanceID is the label of all that the engine makes. Empty: kept in Dir, or made up.
	InstanceID string
	// Dir keeps the InstanceID over restarts, and the sockets of machines that
	// have a Docker of their own, which none has without it.
	Dir string
	// Keep leaves what still runs at New to Adopt and Sweep. Otherwise New removes it.
	Keep bool
	// Table maps image names; nil: DefaultTable.
	Table Table
	// Pyenv is a folder of pyenv's on the daemon's machine: its versions are
	// mounted, read-only and at the same path, into containers of images that
	// were built here, which get it as PYENV_ROOT. Empty: none.
	Pyenv string
	// Shared are more folders of the daemon's machine that such containers get in the same way.
	Shared []string
	Clock  clock.Clock  // times graces and stamps exits; nil: the real one
	Logger *slog.Logger // nil: silent
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Table == nil {
		c.Table = DefaultTable()
	}
	return c
}

// Labels of all that an engine makes.
const (
	labelInstance = "dev.lazulite.instance"
	labelName     = "dev.lazulite.name"
	labelGPUs     = "dev.lazulite.gpus"    // UUIDs of those that it has
	labelMachine  = "dev.lazulite.machine" // it has no command of its own
	labelDir      = "dev.lazulite.dir"
	labelShell    = "dev.lazulite.shell"  // its image has a /bin/sh
	labelDocker   = "dev.lazulite.docker" // it has a Docker of its own
	labelWithin   = "dev.lazulite.within" // the Spec.Name of the machine in whose Docker it was made
)

// How long a single call to the daemon may take that no caller's context bounds.
const callTimeout = time.Minute

// Engine implements engine.Engine and engine.Adopter.
type Engine struct {
	cfg      Config
	instance string
	daemon   *daemon
	images   *Images

	ctx    context.Context // of what watches containers; ends with Close
	cancel context.CancelFunc
	watch  sync.WaitGroup
	reach  reach
	starts chan struct{} // limits how many start at once

	mu         sync.Mutex
	closed     bool
	containers map[string]*container
	looked     map[string]bool // what was found in images: a /bin/sh, commands
}

// New connects to the daemon, and removes or, with Config.Keep, finds what an
// earlier engine of the same instance left. ErrNoEngine if no daemon answers.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	e := &Engine{cfg: cfg, instance: cfg.InstanceID, containers: map[string]*container{}, looked: map[string]bool{},
		starts: make(chan struct{}, 2*runtime.NumCPU())}
	var err error
	if cfg.Dir != "" {
		if e.cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(e.cfg.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	if e.instance == "" && cfg.Dir != "" {
		if e.instance, err = engine.InstanceID(filepath.Join(e.cfg.Dir, "instance")); err != nil {
			return nil, err
		}
	} else if e.instance == "" {
		e.instance = madeUpID()
	}
	if e.daemon, err = connect(ctx, cfg.Host, cfg.Logger); err != nil {
		return nil, err
	}
	e.images = &Images{daemon: e.daemon, table: cfg.Table, log: cfg.Logger}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.sweep(ctx, cfg.Keep); err != nil {
		e.cancel()
		return nil, errors.Join(fmt.Errorf("docker: sweeping what an earlier run left: %w", err), e.daemon.close())
	}
	return e, nil
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return "docker" }

// Instance is the value of the label that marks this engine's containers.
func (e *Engine) Instance() string { return e.instance }

// Images are those of the engine's daemon.
func (e *Engine) Images() *Images { return e.images }

// HasImage implements engine.Imager.
func (e *Engine) HasImage(ctx context.Context, name string) (bool, error) {
	return e.images.Has(ctx, name)
}

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, spec engine.Spec) (engine.Container, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	c := newContainer(e, spec.Name)
	if err := e.reserve(c); err != nil {
		return nil, err
	}
	select {
	case e.starts <- struct{}{}:
		defer func() { <-e.starts }()
	case <-ctx.Done():
		e.forget(c)
		return nil, ctx.Err()
	}
	if err := c.start(ctx, spec); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		err = errors.Join(err, c.removeGuests(clean), e.daemon.remove(clean, c.id))
		e.forget(c)
		return nil, err
	}
	e.attend(c)
	return c, nil
}

func check(spec engine.Spec) error {
	switch {
	case spec.Name == "" || spec.Name == "." || spec.Name == ".." || strings.ContainsAny(spec.Name, "/\x00") || len(spec.Name) > 200:
		return fmt.Errorf("%w: %q is no name for a container", engine.ErrInvalid, spec.Name)
	case spec.Dir != "" && !strings.HasPrefix(spec.Dir, "/"):
		return fmt.Errorf("%w: folder to start in %q is not absolute", engine.ErrInvalid, spec.Dir)
	}
	for _, m := range spec.Mounts {
		if !strings.HasPrefix(m.Source, "/") {
			return fmt.Errorf("%w: mount source %q is not absolute", engine.ErrInvalid, m.Source)
		}
		if m.Target == "" || !strings.HasPrefix(m.Target, "/") && !filepath.IsLocal(m.Target) {
			return fmt.Errorf("%w: can't mount %q at %q", engine.ErrInvalid, m.Source, m.Target)
		}
	}
	if spec.Join != "" && (spec.Hostname != "" || len(spec.Ports) > 0 || len(spec.Networks) > 0) {
		return fmt.Errorf("%w: a container that joins %s has that one's hostname, ports and networks", engine.ErrInvalid, spec.Join)
	}
	for _, p := range spec.Ports {
		if p < 1 || p > 65535 {
			return fmt.Errorf("%w: there is no port %d", engine.ErrInvalid, p)
		}
	}
	for _, n := range spec.Networks {
		if n.Name == "" || n.Name == engine.HostNetwork && (len(n.Aliases) > 0 || len(spec.Networks) > 1) {
			return fmt.Errorf("%w: the host's network has no aliases and no others beside it", engine.ErrInvalid)
		}
	}
	return nil
}

func (e *Engine) reserve(c *container) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return engine.ErrStopped
	}
	if e.containers[c.name] != nil {
		return fmt.Errorf("%w: %s", engine.ErrExists, c.name)
	}
	e.containers[c.name] = c
	return nil
}

func (e *Engine) forget(c *container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[c.name] == c {
		delete(e.containers, c.name)
	}
}

// attend watches a container until its end.
func (e *Engine) attend(c *container) {
	e.watch.Go(func() { c.watch(e.ctx) })
}

// Found implements engine.Adopter.
func (e *Engine) Found(ctx context.Context) ([]string, error) {
	all, err := e.daemon.list(ctx, e.instance)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, s := range all {
		if name := s.Labels[labelName]; name != "" && e.containers[name] == nil && s.State == "running" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Adopt implements engine.Adopter. Commands that an earlier emulator had begun
// by Exec go on, with nobody to read what they print.
func (e *Engine) Adopt(ctx context.Context, name string) (engine.Container, error) {
	c := newContainer(e, name)
	if err := e.reserve(c); err != nil {
		return nil, err
	}
	all, err := e.daemon.list(ctx, e.instance)
	if err != nil {
		e.forget(c)
		return nil, err
	}
	for _, s := range all {
		if s.Labels[labelName] == name && lasts(s.State) {
			c.id = s.ID
			c.machine, c.shell, c.dir = s.Labels[labelMachine] != "", s.Labels[labelShell] != "", s.Labels[labelDir]
			c.docker = s.Labels[labelDocker] != ""
			if s.State != "running" {
				c.stopping = c.machine
				c.conclude(ctx, 0)
				close(c.ended)
				return c, nil
			}
			if err := c.openGuest(ctx); err != nil {
				e.forget(c)
				return nil, err
			}
			e.attend(c)
			return c, nil
		}
	}
	e.forget(c)
	return nil, fmt.Errorf("%w: nothing named %s runs", engine.ErrGone, name)
}

// Sweep implements engine.Adopter.
func (e *Engine) Sweep(ctx context.Context) error { return e.sweep(ctx, false) }

// lasts says whether a container is worth keeping: it runs, or ran and has its exit and its log.
func lasts(state containertypes.ContainerState) bool { return state == "running" || state == "exited" }

// sweep removes the instance's containers that this engine does not have; with keep, those alone that can't be adopted.
func (e *Engine) sweep(ctx context.Context, keep bool) error {
	all, err := e.daemon.list(ctx, e.instance)
	if err != nil {
		return err
	}
	var stale []string
	e.mu.Lock()
	for _, s := range all {
		name, guests := s.Labels[labelName], false
		if within := s.Labels[labelWithin]; within != "" {
			name, guests = within, true
		}
		// One that is being started has no id yet, and may be this one. What a
		// machine's Docker made is kept as long as the machine.
		if e.containers[name] == nil && !(keep && (guests || lasts(s.State))) {
			stale = append(stale, s.ID)
		}
	}
	e.mu.Unlock()
	if len(stale) > 0 {
		e.cfg.Logger.Warn("removing containers that an earlier run left", "count", len(stale))
	}
	errs := make([]error, len(stale))
	var wg sync.WaitGroup
	for i, id := range stale {
		wg.Go(func() { errs[i] = e.daemon.remove(ctx, id) })
	}
	wg.Wait()
	if !keep {
		errs = append(errs, e.daemon.removeNetworks(ctx, e.instance), e.removeVolumes(ctx, ""))
	}
	return errors.Join(errs...)
}

// Close implements engine.Engine: every container is killed and removed, at once.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	var all []*container
	for _, c := range e.containers {
		all = append(all, c)
	}
	e.mu.Unlock()
	if !first {
		return nil
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = c.Remove(ctx) })
	}
	wg.Wait()
	errs = append(errs, e.sweep(ctx, false), e.closeRelays(ctx))
	e.cancel()
	e.watch.Wait()
	return errors.Join(append(errs, e.daemon.close())...)
}
