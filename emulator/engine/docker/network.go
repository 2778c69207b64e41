package docker

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// networkName is Docker's name for a network of this engine.
func (e *Engine) networkName(name string) string {
	if name == engine.HostNetwork {
		return name
	}
	return e.dockerName("net-" + name)
}

// ensureNetwork makes a network with the instance's label, if it is not there.
func (d *daemon) ensureNetwork(ctx context.Context, name, instance, given string) error {
	if name == engine.HostNetwork {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Docker lets two networks have one name.
	if _, err := d.api.NetworkInspect(ctx, name, client.NetworkInspectOptions{}); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return wrong("asking for a network", err)
	}
	_, err := d.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: map[string]string{labelInstance: instance, labelName: given}})
	if err != nil && !errdefs.IsConflict(err) {
		return wrong("making a network", err)
	}
	return nil
}

// removeNetworks removes the instance's networks in which nobody is left.
func (d *daemon) removeNetworks(ctx context.Context, instance string) error {
	r, err := d.api.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("label", labelInstance+"="+instance)})
	if err != nil {
		return wrong("listing networks", err)
	}
	var errs []error
	for _, n := range r.Items {
		_, err := d.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		// One that is in use belongs to a container that is kept.
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) {
			errs = append(errs, wrong("removing a network", err))
		}
	}
	return errors.Join(errs...)
}
