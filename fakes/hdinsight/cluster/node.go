package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// node is a machine of the cluster: a disk, and a container of the engine.
type node struct {
	cluster *Cluster
	name    string
	role    Role
	size    string

	container engine.Container
	door      door // of logins; nil: it has none
	release   func()
	limits    hardware.Limits
	env       []string
}

// shared is the folder that all nodes have at the same path.
func (c *Cluster) shared() string { return filepath.Join(c.dir, "machine") }

func (n *node) disk() string { return filepath.Join(n.cluster.shared(), "nodes", n.name) }

func (n *node) containerName() string { return "hdi-" + n.cluster.file.Spec.ID + "-" + n.name }

// host is the node's name among the others.
func (n *node) host() string {
	name := strings.ToLower(n.cluster.file.Spec.Name)
	return n.name + "-" + name[:min(len(name), 6)]
}

// home of the cluster's user on the node.
func (n *node) home() string { return filepath.Join(n.disk(), "home", n.cluster.file.Spec.User) }

func (n *node) logins() bool { return n.role != Worker }

// memoryForJobs is how many MiB of the node jobs may have.
func (n *node) memoryForJobs() int64 { return max(1024, n.limits.Memory>>20*3/4) }

func (n *node) coresForJobs() int { return max(1, int(n.limits.CPU)) }

// start makes the node, or takes over the container that an emulator which was
// killed has left of it, with all that runs in it.
func (n *node) start(ctx context.Context, h *hadoop) (err error) {
	c := n.cluster
	size, ok := hardware.Size(n.size)
	if !ok {
		return fmt.Errorf("there is no size %q", n.size)
	}
	if n.limits, n.release, err = c.fleet.cfg.Hardware.Acquire(size); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop(context.WithoutCancel(ctx), 0))
		}
	}()
	if err := n.prepareDisk(); err != nil {
		return err
	}
	n.env = n.environment(h)
	if n.container, err = n.adopt(ctx); err != nil {
		return err
	}
	if n.container == nil {
		if n.container, err = c.fleet.cfg.Engine.Start(ctx, n.spec(h)); err != nil {
			return h.explain(err)
		}
	}
	if err := h.prepare(ctx, n); err != nil {
		return err
	}
	if n.logins() {
		if n.door, err = n.open(ctx, h); err != nil {
			return err
		}
	}
	return h.start(ctx, n)
}

func (n *node) adopt(ctx context.Context) (engine.Container, error) {
	left := engine.AdopterOf(n.cluster.fleet.cfg.Engine)
	if left == nil {
		return nil, nil
	}
	container, err := left.Adopt(ctx, n.containerName())
	if errors.Is(err, engine.ErrGone) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := container.Wait(now); errors.Is(err, context.Canceled) {
		return container, nil // it runs
	}
	return nil, container.Remove(ctx)
}

func (n *node) spec(h *hadoop) engine.Spec {
	c := n.cluster
	s := engine.Spec{Name: n.containerName(), Dir: n.home(), Env: n.env, Limits: n.limits,
		Labels: map[string]string{"lazulite.hdinsight": c.file.Spec.Resource, "lazulite.node": n.name},
		Mounts: append([]engine.Mount{{Source: c.shared(), Target: c.shared()}}, h.mounts...)}
	if h.host {
		return s
	}
	s.Image, s.Hostname = c.fleet.cfg.Image, n.host()
	s.Networks = []engine.Network{{Name: "hdi-" + c.file.Spec.ID, Aliases: []string{n.host(), n.name}}}
	if n.logins() {
		s.Ports = append(s.Ports, sshPort)
		s.Mounts = append(s.Mounts, engine.Mount{Source: filepath.Join(n.disk(), "home"), Target: "/home"})
	}
	if n.role == Head && h.manager != nil {
		s.Ports = append(s.Ports, h.manager.ports()["web"])
	}
	return s
}

func (n *node) environment(h *hadoop) []string {
	home, user := n.home(), n.cluster.file.Spec.User
	if !h.host {
		home = "/home/" + user
	}
	env := []string{"HOME=" + home, "USER=" + user, "LOGNAME=" + user, "SHELL=" + shell(), "CUDA_VISIBLE_DEVICES="}
	if h.host {
		env = append(env, "TMPDIR="+filepath.Join(n.disk(), "tmp"))
		env = append(env, n.cluster.fleet.cfg.Environment...)
	}
	return append(env, h.env...)
}

func (n *node) prepareDisk() error {
	for _, dir := range []string{filepath.Join(n.home(), ".ssh"), filepath.Join(n.disk(), "tmp"), filepath.Join(n.disk(), "run"), filepath.Join(n.disk(), "log")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(n.disk(), "tmp"), 0o1777|os.ModeSticky); err != nil {
		return err
	}
	keys := n.cluster.Spec().Keys
	if len(keys) == 0 || !n.logins() {
		return nil
	}
	file, err := os.OpenFile(filepath.Join(n.home(), ".ssh", "authorized_keys"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(keys, "\n") + "\n")
	return errors.Join(err, file.Close())
}

// stop takes the node down: nobody gets in any more, and its processes end.
func (n *node) stop(ctx context.Context, grace time.Duration) error {
	if n.door != nil {
		if err := n.door.Close(ctx); err != nil {
			return err
		}
		n.door = nil
	}
	if n.container != nil {
		if err := n.container.Stop(ctx, grace); err != nil {
			return err
		}
		if err := n.container.Remove(ctx); err != nil {
			return err
		}
		n.container = nil
	}
	if n.release != nil {
		n.release()
		n.release = nil
	}
	return nil
}

// exec runs a command on the node as root, or as the emulator's own user where that is all there is.
func (n *node) exec(ctx context.Context, x engine.Exec) (engine.Exit, error) {
	execer, ok := n.container.(engine.Execer)
	if !ok {
		return engine.Exit{}, fmt.Errorf("the %s engine can't run commands on a node", n.cluster.fleet.cfg.Engine.Name())
	}
	if x.User == "" {
		x.User = "root"
	}
	return execer.Exec(ctx, x)
}

func shell() string {
	if _, err := os.Stat("/bin/bash"); err != nil {
		return "/bin/sh"
	}
	return "/bin/bash"
}

// door takes the logins of a node.
type door interface {
	Check(ctx context.Context) error
	Close(ctx context.Context) error
}

var _ door = (*sshd.Server)(nil)
