package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine/docker/guest"
)

// guestFolder is where a machine that has a Docker of its own finds its socket.
const guestFolder = "/run/docker"

// guestDir is the host's folder of a machine's socket. It is mounted as a
// whole, so that the next emulator's socket is seen in it.
func (e *Engine) guestDir(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(e.cfg.Dir, "guests", hex.EncodeToString(sum[:6]))
}

// guestPrefix begins the names of what a machine's Docker makes.
func (e *Engine) guestPrefix(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "lazulite-" + e.short() + "-" + hex.EncodeToString(sum[:6]) + "-in-"
}

// openGuest serves the container its Docker, if it is to have one. The container is made, and need not run yet.
func (c *container) openGuest(ctx context.Context) error {
	if !c.docker {
		return nil
	}
	e := c.engine
	i, err := e.daemon.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err != nil {
		return wrong("asking for "+c.name, err)
	}
	cfg := guest.Config{
		Dial: e.daemon.api.Dialer(), Socket: filepath.Join(e.guestDir(c.name), "docker.sock"), Machine: c.id, Prefix: e.guestPrefix(c.name),
		Owner:  [2]string{labelWithin, c.name},
		Labels: map[string]string{labelInstance: e.instance, labelName: "", labelMachine: "", labelDir: "", labelShell: "", labelDocker: ""},
		Logger: e.cfg.Logger,
	}
	if i.Container.Config != nil {
		cfg.Hostname = i.Container.Config.Hostname
	}
	if h := i.Container.HostConfig; h != nil {
		cfg.Memory, cfg.NanoCPUs = h.Memory, h.NanoCPUs
		for _, d := range h.DeviceRequests {
			cfg.GPUs = append(cfg.GPUs, d.DeviceIDs...)
		}
		for _, m := range h.Mounts {
			if m.Target != guestFolder {
				cfg.Mounts = append(cfg.Mounts, guest.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
			}
		}
	}
	g, err := guest.Open(cfg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.guest = g
	c.mu.Unlock()
	return nil
}

// closeGuest ends the container's Docker, with what it runs. That which an
// engine without a Close leaves running, its successor finds.
func (c *container) closeGuest(ctx context.Context) {
	c.mu.Lock()
	g := c.guest
	c.guest = nil
	c.mu.Unlock()
	if g == nil {
		return
	}
	if err := g.Close(ctx); err != nil {
		c.engine.cfg.Logger.Warn("closing a machine's Docker", "machine", c.name, "error", err)
	}
	if ctx.Err() != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.stopGuests(limited, 0); err != nil {
		c.engine.cfg.Logger.Warn("stopping what a machine's Docker runs", "machine", c.name, "error", err)
	}
}

// guests are the containers that its Docker has made.
func (c *container) guests(ctx context.Context, all bool) ([]containertypes.Summary, error) {
	if !c.docker {
		return nil, nil
	}
	filters := make(client.Filters).Add("label", labelInstance+"="+c.engine.instance, labelWithin+"="+c.name)
	r, err := c.engine.daemon.api.ContainerList(ctx, client.ContainerListOptions{All: all, Filters: filters})
	if err != nil {
		return nil, wrong("listing what a machine's Docker has made", err)
	}
	return r.Items, nil
}

// stopGuests ends what its Docker runs, with SIGTERM and after grace with SIGKILL.
func (c *container) stopGuests(ctx context.Context, grace time.Duration) error {
	seconds := int(grace / time.Second)
	return c.eachGuest(ctx, false, func(id string) error {
		_, err := c.engine.daemon.api.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
		return err
	})
}

// removeGuests leaves nothing of what its Docker has made but images.
func (c *container) removeGuests(ctx context.Context) error {
	if !c.docker {
		return nil
	}
	c.mu.Lock()
	g := c.guest
	c.guest = nil
	c.mu.Unlock()
	var errs []error
	if g != nil { // first, so that nothing comes after
		errs = append(errs, g.Close(ctx))
	}
	errs = append(errs, c.eachGuest(ctx, true, func(id string) error { return c.engine.daemon.remove(ctx, id) }),
		c.engine.removeVolumes(ctx, c.name), os.RemoveAll(c.engine.guestDir(c.name)))
	return errors.Join(errs...)
}

// startGuests starts what is to run whenever its machine does.
func (c *container) startGuests(ctx context.Context) {
	err := c.eachGuest(ctx, true, func(id string) error {
		i, err := c.engine.daemon.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil || i.Container.HostConfig == nil {
			return err
		}
		if p := i.Container.HostConfig.RestartPolicy; p.IsAlways() || p.IsUnlessStopped() {
			c.mu.Lock()
			g := c.guest
			c.mu.Unlock()
			if g == nil {
				return nil // the machine has been stopped again
			}
			if err := g.Check(ctx, id); err != nil {
				return err
			}
			_, err = c.engine.daemon.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.engine.cfg.Logger.Warn("starting what a machine's Docker is to run", "machine", c.name, "error", err)
	}
}

// eachGuest does something to all of them at once; those that are gone meanwhile need nothing.
func (c *container) eachGuest(ctx context.Context, all bool, do func(id string) error) error {
	found, err := c.guests(ctx, all)
	if err != nil {
		return err
	}
	errs := make([]error, len(found))
	var each sync.WaitGroup
	for i, s := range found {
		each.Go(func() {
			if err := do(s.ID); err != nil && !errdefs.IsNotFound(err) {
				errs[i] = err
			}
		})
	}
	each.Wait()
	return errors.Join(errs...)
}

// removeVolumes removes the volumes of one machine's Docker; without a name those of all machines that the engine has not.
func (e *Engine) removeVolumes(ctx context.Context, name string) error {
	prefix := "lazulite-" + e.short() + "-"
	kept := map[string]bool{}
	if name != "" {
		prefix = e.guestPrefix(name)
	} else {
		e.mu.Lock()
		for has := range e.containers {
			kept[e.guestPrefix(has)] = true
		}
		e.mu.Unlock()
	}
	r, err := e.daemon.api.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("name", prefix)})
	if err != nil {
		return wrong("listing volumes", err)
	}
	var errs []error
	for _, v := range r.Items {
		of, _, ok := strings.Cut(v.Name, "-in-")
		if !ok || !strings.HasPrefix(v.Name, prefix) || kept[of+"-in-"] {
			continue
		}
		if _, err := e.daemon.api.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, wrong("removing a volume", err))
		}
	}
	return errors.Join(errs...)
}
