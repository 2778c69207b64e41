package docker

import (
	"context"
	"fmt"
	"strings"

	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// Restart implements engine.Restarter for machines. GPUs are given when a
// container is made: others than it has are ErrInvalid.
func (c *container) Restart(ctx context.Context, limits hardware.Limits) (engine.Container, error) {
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	if !c.machine || !c.over() {
		return nil, fmt.Errorf("%w: %s is no machine that was stopped", engine.ErrInvalid, c.name)
	}
	api := c.engine.daemon.api
	i, err := api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, refusal("starting a container again", err)
	}
	if had := i.Container.Config.Labels[labelGPUs]; had != strings.Join(limits.GPUs, ",") {
		return nil, fmt.Errorf("%w: the GPUs of %s are %q, and are to be %q", engine.ErrInvalid, c.name, had, limits.GPUs)
	}
	if _, err := api.ContainerUpdate(ctx, c.id, client.ContainerUpdateOptions{Resources: &containertypes.Resources{
		NanoCPUs: int64(limits.CPU * 1e9), Memory: limits.Memory, MemorySwap: limits.Memory}}); err != nil {
		return nil, refusal("changing a container's limits", err)
	}
	next := newContainer(c.engine, c.name)
	next.id, next.dir, next.machine, next.shell, next.docker = c.id, c.dir, c.machine, c.shell, c.docker
	select {
	case c.engine.starts <- struct{}{}:
		defer func() { <-c.engine.starts }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := next.openGuest(ctx); err != nil {
		return nil, err
	}
	if _, err := api.ContainerStart(ctx, c.id, client.ContainerStartOptions{}); err != nil {
		next.closeGuest(ctx)
		return nil, refusal("starting a container again", err)
	}
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.engine.closed {
		return nil, engine.ErrStopped
	}
	c.engine.containers[c.name] = next
	c.engine.attend(next)
	if next.docker {
		c.engine.watch.Go(func() { next.startGuests(c.engine.ctx) })
	}
	return next, nil
}
