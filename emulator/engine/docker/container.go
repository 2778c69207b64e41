package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker/guest"
)

// How long a daemon that has gone away in mid-run may take to come back.
const patience = time.Minute

// container implements engine.Container, Execer, Addresser, Copier, Timekeeper and Statser.
type container struct {
	engine  *Engine
	name    string
	id      string
	dir     string // to start commands in; empty: the image's
	machine bool
	shell   bool
	docker  bool // it has a Docker of its own

	ended chan struct{} // closed when exit or err is set
	exit  engine.Exit
	err   error

	stopMu   sync.Mutex // one Stop at a time
	mu       sync.Mutex
	stopping bool
	sent     map[int]bool // signals that Stop has sent
	guest    *guest.Guest
}

func newContainer(e *Engine, name string) *container {
	return &container{engine: e, name: name, ended: make(chan struct{}), sent: map[int]bool{}}
}

// watch waits for its end, through a daemon that restarts. What its Docker has
// running, whose network it was, ends with it.
func (c *container) watch(ctx context.Context) {
	defer close(c.ended)
	defer c.closeGuest(ctx)
	api := c.engine.daemon.api
	var giveUp time.Time
	for {
		wait := api.ContainerWait(ctx, c.id, client.ContainerWaitOptions{Condition: containertypes.WaitConditionNotRunning})
		select {
		case r := <-wait.Result:
			c.conclude(ctx, int(r.StatusCode))
			return
		case err := <-wait.Error:
			switch {
			case ctx.Err() != nil:
				c.err = fmt.Errorf("%w: the engine was closed", engine.ErrGone)
				return
			case errdefs.IsNotFound(err):
				c.err = fmt.Errorf("%w: somebody has removed %s", engine.ErrGone, c.name)
				return
			case giveUp.IsZero():
				giveUp = time.Now().Add(patience)
				c.engine.cfg.Logger.Warn("waiting for a container", "container", c.name, "error", err)
			case time.Now().After(giveUp):
				c.err = wrong("waiting for "+c.name, err)
				return
			}
		}
		// Only to cancellation; the next round sees it.
		_ = pause(ctx, 200*time.Millisecond)
	}
}

// conclude makes the Exit of what has ended.
func (c *container) conclude(ctx context.Context, code int) {
	var killed bool
	if i, err := c.engine.daemon.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{}); err == nil && i.Container.State != nil {
		code, killed = i.Container.State.ExitCode, i.Container.State.OOMKilled
	} else if err != nil && !errdefs.IsNotFound(err) {
		c.engine.cfg.Logger.Warn("asking how a container ended", "container", c.name, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exit = exitOf(code, c.sent, c.engine.cfg.Clock.Now())
	if killed && code == 137 {
		c.exit.OOM, c.exit.Signal = true, "KILL"
	}
	if c.machine && c.stopping {
		c.exit = engine.Exit{At: c.exit.At}
	}
}

// ID implements engine.Container with Docker's own id.
func (c *container) ID() string { return c.id }

// Wait implements engine.Container. Its error is ErrGone for a container that
// somebody else has removed, ErrNoEngine if the daemon has not come back.
func (c *container) Wait(ctx context.Context) (engine.Exit, error) {
	select {
	case <-c.ended:
		return c.exit, c.err
	default:
	}
	select {
	case <-c.ended:
		return c.exit, c.err
	case <-ctx.Done():
		return engine.Exit{}, ctx.Err()
	}
}

// Logs implements engine.Container.
func (c *container) Logs(ctx context.Context, w io.Writer, follow bool) error {
	return c.copyLog(ctx, w, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow})
}

// TimedLogs implements engine.Timekeeper.
func (c *container) TimedLogs(ctx context.Context, w io.Writer) error {
	return c.copyLog(ctx, w, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true})
}

func (c *container) copyLog(ctx context.Context, w io.Writer, options client.ContainerLogsOptions) error {
	r, err := c.engine.daemon.api.ContainerLogs(ctx, c.id, options)
	if err != nil {
		return orContext(ctx, wrong("reading the log of "+c.name, err))
	}
	defer r.Close()
	if _, err := stdcopy.StdCopy(w, w, r); err != nil {
		return orContext(ctx, fmt.Errorf("docker: reading the log of %s: %w", c.name, err))
	}
	// The stream of a cancelled request may end without an error.
	return ctx.Err()
}

// orContext prefers the context's own error to what its end has done to a request.
func orContext(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Stop implements engine.Container.
func (c *container) Stop(ctx context.Context, grace time.Duration) error {
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	if c.over() {
		return nil
	}
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	if grace > 0 {
		if err := c.terminate(ctx, grace); err != nil {
			return err
		}
	}
	if c.over() {
		return nil
	}
	if err := c.stopGuests(ctx, 0); err != nil {
		return orContext(ctx, err)
	}
	c.note(sigKILL)
	_, err := c.engine.daemon.api.ContainerKill(ctx, c.id, client.ContainerKillOptions{Signal: "KILL"})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return orContext(ctx, wrong("killing "+c.name, err))
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *container) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *container) note(signal int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[signal] = true
}

// terminate sends SIGTERM to all its processes and waits until all are gone, or grace is over on the Clock.
func (c *container) terminate(ctx context.Context, grace time.Duration) error {
	timer := c.engine.cfg.Clock.NewTimer(grace)
	defer timer.Stop()
	c.note(sigTERM)
	asking, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		failed = c.askAllToEnd(asking)
	}()
	defer func() {
		cancel()
		<-done
	}()
	asked := (<-chan struct{})(done)
	for {
		select {
		case <-c.ended:
			return nil
		case <-timer.C():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-asked:
			if failed != nil || c.machine {
				return failed
			}
			asked = nil // the command's end is the container's
		}
	}
}

// askAllToEnd sends SIGTERM to all processes; of a machine it returns when they are gone.
func (c *container) askAllToEnd(ctx context.Context) error {
	var err error
	if c.shell {
		var flag string
		if c.machine {
			flag = "machine"
		}
		var guests sync.WaitGroup
		guests.Go(func() {
			if err := c.stopGuests(ctx, patience); err != nil && ctx.Err() == nil {
				c.engine.cfg.Logger.Warn("stopping what a machine's Docker runs", "machine", c.name, "error", err)
			}
		})
		_, err = c.script(ctx, endScript, flag)
		guests.Wait()
	} else {
		_, err = c.engine.daemon.api.ContainerKill(ctx, c.id, client.ContainerKillOptions{Signal: "TERM"})
	}
	// What has ended meanwhile needs no asking.
	if err == nil || errdefs.IsConflict(err) || errdefs.IsNotFound(err) || ctx.Err() != nil {
		return nil
	}
	return wrong("ending the processes of "+c.name, err)
}

// Remove implements engine.Container.
func (c *container) Remove(ctx context.Context) error {
	c.mu.Lock()
	c.stopping = true
	if !c.over() {
		c.sent[sigKILL] = true
	}
	c.mu.Unlock()
	if err := c.removeGuests(ctx); err != nil {
		return err
	}
	if err := c.engine.daemon.remove(ctx, c.id); err != nil {
		return err
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.engine.forget(c)
	return nil
}

// Addr implements engine.Addresser for the ports that Spec.Ports names.
func (c *container) Addr(ctx context.Context, port int) (string, error) {
	p, err := c.engine.daemon.publishes(ctx)
	if err != nil {
		return "", err
	}
	i, err := c.engine.daemon.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err != nil {
		return "", wrong("asking for a port of "+c.name, err)
	}
	if i.Container.HostConfig != nil && i.Container.HostConfig.NetworkMode.IsHost() {
		return net.JoinHostPort(p.host, strconv.Itoa(port)), nil
	}
	want, ok := network.PortFrom(uint16(port), network.TCP)
	if ok && i.Container.NetworkSettings != nil {
		for _, b := range i.Container.NetworkSettings.Ports[want] {
			return net.JoinHostPort(p.host, b.HostPort), nil
		}
	}
	return "", fmt.Errorf("%w: port %d of %s is not published: Spec.Ports did not name it, or it does not run", engine.ErrInvalid, port, c.name)
}
