package dsvm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
)

// server is what takes a machine's logins: the emulator's own SSH server, or
// a relay to the one that runs inside.
type server interface {
	// Check returns nil when a client would get in.
	Check(ctx context.Context) error
	HostKeys() []string
	Close(ctx context.Context) error
}

// acceptedEnv is what a client may set.
var acceptedEnv = []string{"LANG", "LC_*", "AZUREML_*"}

// diskFolders are parts of a machine's disk, and where its container has them.
var diskFolders = map[string]string{"home": "/home", "tmp": "/tmp", "mnt": "/mnt"}

func (m *machine) containerName() string { return "vm-" + m.file.ID }

func (m *machine) hostKeyFile() string { return filepath.Join(m.dir, "hostkey") }

// admits says whether the firewall lets a client in.
func (m *machine) admits(from net.Addr) bool { return m.snapshot().Firewall.passes(from) }

// adopt takes over the container that an emulator which was killed has left of
// the machine, running or stopped. One that should be off is stopped.
func (m *machine) adopt(ctx context.Context, f machineFile) error {
	left := engine.AdopterOf(m.fake.cfg.Engine)
	if left == nil {
		return nil
	}
	container, err := left.Adopt(ctx, m.containerName())
	if errors.Is(err, engine.ErrGone) {
		return nil
	} else if err != nil {
		return err
	}
	if !f.On {
		if err := container.Stop(ctx, 0); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parked = container
	return nil
}

// image is the machine's own where the engine has something for it; else the engine's for any machine.
func (m *machine) image(ctx context.Context, f machineFile) (string, error) {
	e, ok := m.fake.cfg.Engine.(engine.Imager)
	if !ok || f.Image == "" {
		return "", nil
	}
	has, err := e.HasImage(ctx, f.Image)
	if err != nil || !has {
		return "", err
	}
	return f.Image, nil
}

// unpark removes the container that is kept for the next start.
func (m *machine) unpark(ctx context.Context) error {
	m.mu.Lock()
	parked := m.parked
	m.mu.Unlock()
	if parked == nil {
		return nil
	}
	if err := parked.Remove(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parked = nil
	return nil
}

// bringUp gets a container for the machine, and opens its server. The
// container that it had before is taken if it can be: what runs goes on, and
// what was stopped has all that was installed in it.
func (m *machine) bringUp(ctx context.Context, f machineFile, spec engine.Spec, cfg sshd.Config) (engine.Container, server, error) {
	if container := m.takeParked(ctx, spec); container != nil {
		server, err := m.serve(ctx, f.OwnSSH, container, cfg)
		if err == nil {
			return container, server, nil
		}
		m.fake.cfg.Logger.Warn("a VM gets a new container", "vm", f.VM, "error", err)
		if err := errors.Join(container.Remove(ctx), ctx.Err()); err != nil {
			return nil, nil, err
		}
	}
	// In a container of its own network its own SSH server serves it, if its image has one.
	if !m.onHost() {
		own := spec
		own.Ports, own.Hostname = []int{sshPort}, f.Computer
		own.Docker = true
		for folder, target := range diskFolders {
			own.Mounts = append(own.Mounts, engine.Mount{Source: filepath.Join(m.dir, folder), Target: target})
		}
		container, server, err := m.startWith(ctx, true, own, cfg)
		if !errors.Is(err, sshd.ErrNoOpenSSH) {
			return container, server, err
		}
		m.fake.cfg.Logger.Info("a VM's image has no SSH server: the emulator's own serves it", "vm", f.VM)
	}
	// The sshd in front of it listens on the host's loopback, also for what a
	// login forwards to the machine, and serves the disk as the host has it.
	spec.Networks = []engine.Network{{Name: engine.HostNetwork}}
	return m.startWith(ctx, false, spec, cfg)
}

func (m *machine) startWith(ctx context.Context, own bool, spec engine.Spec, cfg sshd.Config) (engine.Container, server, error) {
	// Written down first: who adopts the container must know what it is.
	if err := m.save(func(f *machineFile) { f.OwnSSH = own }); err != nil {
		return nil, nil, err
	}
	container, err := m.fake.cfg.Engine.Start(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	server, err := m.serve(ctx, own, container, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, container.Remove(context.WithoutCancel(ctx)))
	}
	return container, server, nil
}

// serve opens the machine's server.
func (m *machine) serve(ctx context.Context, own bool, container engine.Container, cfg sshd.Config) (server, error) {
	execer, ok := container.(engine.Execer)
	if !ok {
		return nil, fmt.Errorf("dsvm: the %s engine can't run commands in a machine", m.fake.cfg.Engine.Name())
	}
	if own {
		return m.serveOwn(ctx, container, execer)
	}
	cfg.Container = execer
	return m.listen(ctx, gateway(cfg))
}

// takeParked gives the container that was kept, running; nil if there is none that can be used.
func (m *machine) takeParked(ctx context.Context, spec engine.Spec) engine.Container {
	m.mu.Lock()
	parked := m.parked
	m.parked = nil
	m.mu.Unlock()
	if parked == nil {
		return nil
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := parked.Wait(now); errors.Is(err, context.Canceled) {
		return parked // it runs
	}
	if again, ok := parked.(engine.Restarter); ok {
		container, err := again.Restart(ctx, spec.Limits)
		if err == nil {
			return container
		}
		m.fake.cfg.Logger.Warn("a VM's container does not start again, it gets a new one", "vm", spec.Labels["lazulite.vm"], "error", err)
	}
	if err := parked.Remove(context.WithoutCancel(ctx)); err != nil {
		m.fake.cfg.Logger.Warn("a VM's old container", "vm", spec.Labels["lazulite.vm"], "error", err)
	}
	return nil
}
