package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/durable"
)

// Process is the engine that runs commands of this host.
type Process struct {
	cfg      Config
	instance string

	mu         sync.Mutex
	begun      bool // something was started
	closed     bool
	containers map[string]*processContainer
}

// The markers in the environment of all that a Process starts.
const (
	InstanceVariable  = "LAZULITE_INSTANCE"
	ContainerVariable = "LAZULITE_CONTAINER"
)

// How long NewProcess tries to end what an earlier run left.
const sweepTimeout = 30 * time.Second

// NewProcess takes over Dir, which no other Process may use: it kills whatever
// an earlier one started there that still runs, and forgets its containers.
func NewProcess(cfg Config) (*Process, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, fmt.Errorf("%w: the process engine needs a Dir", ErrInvalid)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Process{cfg: cfg, instance: cfg.InstanceID, containers: map[string]*processContainer{}}
	if p.instance == "" {
		if p.instance, err = InstanceID(filepath.Join(dir, "instance")); err != nil {
			return nil, err
		}
	}
	// Looking through all processes takes milliseconds: it is done where an
	// earlier engine started something and did not come to its Close.
	if _, err := os.Stat(p.unclean()); !errors.Is(err, os.ErrNotExist) {
		if err := p.sweep(); err != nil {
			return nil, fmt.Errorf("engine: sweeping what an earlier run left: %w", err)
		}
	}
	return p, nil
}

// unclean is the file that is there from the first Start to the end of Close.
func (p *Process) unclean() string { return filepath.Join(p.cfg.Dir, "unclean") }

// InstanceID reads the file's id, or makes one and keeps it there.
func InstanceID(file string) (string, error) {
	data, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(data)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := rand.Text()
	return id, durable.WriteFile(file, []byte(id+"\n"), 0o600)
}

func (p *Process) sweep() error {
	sessions, err := p.records()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	f := &family{marker: InstanceVariable + "=" + p.instance, sessions: sessions}
	table, err := processes()
	if err != nil {
		return err
	}
	if left := f.members(table); len(left) > 0 {
		p.cfg.Logger.Warn("killing processes that an earlier run left", "count", len(left))
		if err := f.kill(ctx); err != nil {
			return err
		}
	}
	for _, sub := range folders {
		if err := os.RemoveAll(filepath.Join(p.cfg.Dir, sub)); err != nil {
			return err
		}
	}
	return os.Remove(p.unclean())
}

// folders hold the containers' files and the records of what they started.
var folders = []string{"containers", "sessions"}

// begin notes, before the first process, that this engine's Dir has to be swept.
func (p *Process) begin() error {
	for _, sub := range folders {
		if err := os.MkdirAll(filepath.Join(p.cfg.Dir, sub), 0o700); err != nil {
			return err
		}
	}
	return durable.WriteFile(p.unclean(), nil, 0o600)
}

// records reads the sessions that an earlier run of this boot had begun.
func (p *Process) records() ([]session, error) {
	files, err := filepath.Glob(filepath.Join(p.cfg.Dir, "sessions", "*.json"))
	if err != nil {
		return nil, err
	}
	var out []session
	boot := bootID()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var s session
		// A record cut short by a crash is of a process that the marker finds.
		if json.Unmarshal(data, &s) == nil && s.Boot == boot && s.PID > 1 {
			out = append(out, s)
		}
	}
	return out, nil
}

// Name implements Engine.
func (p *Process) Name() string { return "process" }

// Reach implements Reacher: its containers have the host's own network.
func (p *Process) Reach(_ context.Context, hostAddr string) (string, error) {
	return hostAddr, checkAddr(hostAddr)
}

func checkAddr(addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Instance is the id that marks this engine's processes.
func (p *Process) Instance() string { return p.instance }

// Start implements Engine.
func (p *Process) Start(ctx context.Context, spec Spec) (Container, error) {
	if err := p.check(spec); err != nil {
		return nil, err
	}
	c := &processContainer{
		engine: p, spec: spec,
		folder: filepath.Join(p.cfg.Dir, "containers", spec.Name),
		live:   map[int]session{}, ended: make(chan struct{}), stopped: make(chan struct{}),
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrStopped
	}
	if p.containers[spec.Name] != nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: %s", ErrExists, spec.Name)
	}
	if spec.Join != "" && p.containers[spec.Join] == nil {
		p.mu.Unlock()
		return nil, errNoJoin(spec.Join)
	}
	if !p.begun {
		if err := p.begin(); err != nil {
			p.mu.Unlock()
			return nil, err
		}
		p.begun = true
	}
	p.containers[spec.Name] = c
	p.mu.Unlock()
	if err := c.start(); err != nil {
		p.forget(spec.Name)
		if c.log != nil {
			c.log.close()
		}
		return nil, errors.Join(err, os.RemoveAll(c.folder))
	}
	return c, nil
}

func (p *Process) check(spec Spec) error {
	switch {
	case spec.Name == "" || spec.Name == "." || spec.Name == ".." || strings.ContainsAny(spec.Name, "/\x00") || len(spec.Name) > 200:
		return fmt.Errorf("%w: %q is no name for a container", ErrInvalid, spec.Name)
	case spec.Image != "" && !slices.Contains(p.cfg.Images, spec.Image):
		return fmt.Errorf("%w: the process engine has this host alone, not %q", ErrNoImage, spec.Image)
	}
	if spec.ImageCommand && len(spec.Command) == 0 {
		return fmt.Errorf("%w: the process engine has no images, so none that says what it runs", ErrInvalid)
	}
	if err := checkJoin(spec); err != nil {
		return err
	}
	for _, n := range spec.Networks {
		if n.Name != HostNetwork {
			return fmt.Errorf("%w: the process engine has the host's network alone, not %q", ErrInvalid, n.Name)
		}
	}
	for _, m := range spec.Mounts {
		if !filepath.IsAbs(m.Source) {
			return fmt.Errorf("%w: mount source %q is not absolute", ErrInvalid, m.Source)
		}
		if filepath.IsAbs(m.Target) && filepath.Clean(m.Target) != filepath.Clean(m.Source) || !filepath.IsAbs(m.Target) && !filepath.IsLocal(m.Target) {
			return fmt.Errorf("%w: the process engine can't mount %q at %q", ErrInvalid, m.Source, m.Target)
		}
	}
	return nil
}

func (p *Process) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.containers, name)
}

// Close implements Engine: every container is killed and removed, at once.
func (p *Process) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	var all []*processContainer
	for _, c := range p.containers {
		all = append(all, c)
	}
	p.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = c.Remove(ctx) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.begun {
		p.begun = false
		err = os.Remove(p.unclean())
	}
	return err
}
