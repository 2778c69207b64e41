package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// lsRoot is where Batch AI's own folders are on a node that is a container.
const lsRoot = "/mnt/batch/tasks/shared/LS_root"

const (
	loopback = "127.0.0.1"
	sshPort  = 22
)

// The kinds of engine.
const (
	kindProcess   = "process"
	kindDocker    = "docker"
	kindSimulated = "simulated"
)

// login takes a node's logins.
type login interface {
	Close(ctx context.Context) error
}

// engineKind opens the engine, if it wasn't, and says which it is.
func (p *Pool) engineKind(ctx context.Context) (string, error) {
	e := p.cfg.Engine
	if lazy, ok := e.(*engine.Lazy); ok {
		opened, err := lazy.Engine(ctx)
		if err != nil {
			return "", err
		}
		e = opened
	}
	return e.Name(), nil
}

// root is the node's LS_root on this host; seen is where the node has it.
func (n *node) root() string { return filepath.Join(n.dir(), "root") }

func (n *node) seen(kind string) string {
	if kind == kindDocker {
		return lsRoot
	}
	return n.root()
}

// boot gets it a container that takes logins.
func (n *node) boot(ctx context.Context) error {
	p := n.cluster.pool
	if n.dice.fails("allocate") {
		return Error{Code: "AllocationFailed", Message: "There was no capacity for a node of this size in the region."}
	}
	if n.release == nil {
		if err := n.acquire(); err != nil {
			return err
		}
	}
	kind, err := p.engineKind(ctx)
	if err != nil {
		return err
	}
	spec := engine.Spec{Name: n.containerName(), Limits: n.limits, Labels: map[string]string{"lazulite.cluster": n.cluster.spec.ID}}
	if kind == kindSimulated {
		n.ip = loopback
		n.container, err = p.cfg.Engine.Start(ctx, spec)
		return err
	}
	if err := n.prepareFolders(ctx, kind, &spec); err != nil {
		return err
	}
	container, err := p.cfg.Engine.Start(ctx, spec)
	if errors.Is(err, engine.ErrExists) {
		return fmt.Errorf("pool: the node's old container is still there: %w", err)
	} else if err != nil {
		return err
	}
	n.container, n.env = container, spec.Env
	if err := n.serve(ctx, kind); err != nil {
		failed := errors.Join(err, container.Remove(context.WithoutCancel(ctx)))
		n.container = nil
		return failed
	}
	return nil
}

// acquire books the node's hardware: the GPUs that it had, if it was there before.
func (n *node) acquire() error {
	c := n.cluster
	c.mu.Lock()
	had := n.rec.GPUs
	c.mu.Unlock()
	limits, release, err := c.pool.cfg.Hardware.Acquire(c.size, had...)
	if err != nil {
		return err
	}
	n.limits, n.release = limits, release
	c.mu.Lock()
	n.rec.GPUs = limits.GPUs
	c.mu.Unlock()
	return nil
}

func (n *node) containerName() string { return "node-" + n.rec.ID }

// prepareFolders makes what the container has of this host.
func (n *node) prepareFolders(ctx context.Context, kind string, spec *engine.Spec) error {
	c := n.cluster
	p := c.pool
	user := c.spec.User
	home := filepath.Join(n.dir(), "home", user)
	for _, dir := range []string{filepath.Join(n.root(), "jobs"), filepath.Join(n.root(), "mounts"), filepath.Join(c.dir, "shared"), filepath.Join(c.dir, "keys"), filepath.Join(home, ".ssh")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if key := c.spec.PublicKey; key != "" {
		if err := os.WriteFile(filepath.Join(home, ".ssh", "authorized_keys"), []byte(strings.TrimSpace(key)+"\n"), 0o600); err != nil {
			return err
		}
	}
	if err := c.makeKeys(); err != nil {
		return err
	}
	if p.cfg.Network != nil {
		env, mounts, err := p.cfg.Network(ctx)
		if err != nil {
			return err
		}
		spec.Env, spec.Mounts = append(spec.Env, env...), append(spec.Mounts, mounts...)
	}
	if len(n.limits.GPUs) == 0 {
		spec.Env = append(spec.Env, "CUDA_VISIBLE_DEVICES=") // the host's GPUs are not this node's
	}
	if notice := c.size.Notice(n.limits); notice != "" {
		spec.Env = append(spec.Env, hardware.NoticeVariable+"="+notice)
	}
	mounted, err := c.shared.open(ctx, p, c.spec.Volumes)
	if err != nil {
		// The node is there all the same, and unusable: prepare says why.
		p.cfg.Logger.Warn("a cluster's volume is not mounted", "cluster", c.spec.ID, "error", err)
	}
	if kind != kindDocker {
		return n.processFolders(spec, mounted, home)
	}
	spec.Image, spec.Hostname, spec.Ports = c.spec.Image, hostname(n.rec.ID), []int{sshPort}
	spec.Networks = []engine.Network{{Name: "batchai-" + c.spec.ID, Aliases: []string{hostname(n.rec.ID)}}}
	spec.Mounts = append(spec.Mounts,
		engine.Mount{Source: n.root(), Target: lsRoot},
		engine.Mount{Source: filepath.Join(c.dir, "shared"), Target: path.Join(lsRoot, "shared")},
		engine.Mount{Source: filepath.Join(c.dir, "keys"), Target: filepath.Join(c.dir, "keys")},
		engine.Mount{Source: filepath.Join(n.dir(), "home"), Target: "/home"})
	for _, v := range mounted {
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: v.Dir, Target: path.Join(lsRoot, "mounts", v.Path)})
	}
	for _, f := range p.cfg.Folders {
		if err := os.MkdirAll(f, 0o700); err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: f, Target: f})
	}
	return nil
}

// processFolders makes links of what on a container are mounts.
func (n *node) processFolders(spec *engine.Spec, mounted []mountedVolume, home string) error {
	c := n.cluster
	links := map[string]string{filepath.Join(n.root(), "shared"): filepath.Join(c.dir, "shared")}
	for _, v := range mounted {
		links[filepath.Join(n.root(), "mounts", v.Path)] = v.Dir
	}
	for link, to := range links {
		if err := symlink(to, link); err != nil {
			return err
		}
	}
	temp := filepath.Join(n.dir(), "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	spec.Dir = home
	spec.Env = append(append([]string{}, c.pool.cfg.Environment...), spec.Env...)
	tools, err := n.tools(spec.Env)
	if err != nil {
		return err
	}
	spec.Env = append(spec.Env, tools, "HOME="+home, "USER="+c.spec.User, "LOGNAME="+c.spec.User, "TMPDIR="+temp)
	return nil
}

// symlink makes a link, in the place of one that is there.
func symlink(to, link string) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(to, link)
}

// hostname of a node: a label of DNS.
func hostname(id string) string {
	name := strings.ReplaceAll(id, "_", "-")
	return name[:min(len(name), 63)]
}

// serve opens its logins, and finds out its address among the nodes.
func (n *node) serve(ctx context.Context, kind string) error {
	c := n.cluster
	p := c.pool
	execer, ok := n.container.(engine.Execer)
	if !ok {
		return fmt.Errorf("pool: the %s engine can't run commands in a node", kind)
	}
	keys := filepath.Join(c.dir, "keys", "hostkey")
	accepted := []string{"LANG", "LC_*", "AZUREML_*"}
	if kind == kindDocker {
		_, err := sshd.OpenSSH{HostKeyFile: keys, Admin: c.spec.User, Accounts: []sshd.Account{{Name: c.spec.User, PasswordHash: c.spec.PasswordHash}},
			Passwords: c.spec.PasswordHash != "", AcceptEnv: accepted}.SetUp(ctx, execer)
		if err == nil {
			return n.relay(ctx, execer)
		}
		return err
	}
	n.ip = loopback
	home := filepath.Join(n.dir(), "home", c.spec.User)
	return n.listen(ctx, func(ctx context.Context, place sshd.Place) (login, int, error) {
		s, err := sshd.New(sshd.Config{Listen: place.String(), HostKeyFile: keys, Container: execer, Home: home, Env: n.env, Shell: shell(), HostFiles: true,
			AcceptEnv: accepted, Logger: p.cfg.Logger,
			Password: func(user, password string) bool {
				return user == c.spec.User && sshd.PasswordMatches(c.spec.PasswordHash, password) && c.spec.PasswordHash != ""
			},
			PasswordLogins: func() bool { return c.spec.PasswordHash != "" },
			Keys: func(user string) []string {
				if user != c.spec.User {
					return nil
				}
				data, _ := os.ReadFile(filepath.Join(home, ".ssh", "authorized_keys"))
				return strings.Split(string(data), "\n")
			}})
		if err == nil {
			err = s.Open(ctx)
		}
		if err != nil {
			return nil, 0, err
		}
		return s, portOf(s.Addr()), nil
	})
}

// relay leads from this host to the container's own sshd.
func (n *node) relay(ctx context.Context, execer engine.Execer) error {
	addresser, ok := n.container.(engine.Addresser)
	if !ok {
		return errors.New("pool: the engine can't reach a port of a node")
	}
	upstream, err := addresser.Addr(ctx, sshPort)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	exit, err := execer.Exec(ctx, engine.Exec{Command: []string{"hostname", "-i"}, User: "root", Dir: "/", Stdout: &said})
	if err != nil {
		return err
	}
	fields := strings.Fields(said.String())
	if exit.Code != 0 || len(fields) == 0 || net.ParseIP(fields[0]) == nil {
		return fmt.Errorf("pool: a node's address among the nodes: exit status %d, %q", exit.Code, said.String())
	}
	n.ip = fields[0]
	return n.listen(ctx, func(ctx context.Context, place sshd.Place) (login, int, error) {
		r, err := engine.OpenRelay(ctx, engine.RelayConfig{Listen: place.String(), Upstream: upstream})
		if err != nil {
			return nil, 0, err
		}
		return r, portOf(r.Addr()), nil
	})
}

// listen opens the logins at the port that it had, or at one that is free.
func (n *node) listen(ctx context.Context, open func(ctx context.Context, p sshd.Place) (login, int, error)) error {
	port := n.port()
	server, got, err := open(ctx, sshd.Place{Address: loopback, Port: port})
	if err != nil && port != 0 {
		server, got, err = open(ctx, sshd.Place{Address: loopback})
	}
	if err != nil {
		return err
	}
	n.login = server
	if got != port {
		n.change(func(b *batch) {
			n.rec.Port = got
			b.node(n)
		})
	}
	return nil
}

func (n *node) port() int {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.rec.Port
}

func portOf(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	p, _ := strconv.Atoi(port)
	return p
}

func shell() string {
	if _, err := os.Stat("/bin/bash"); err == nil {
		return "/bin/bash"
	}
	return "/bin/sh"
}

// takeOver is a node whose container outlived the emulator.
func (n *node) takeOver(ctx context.Context) bool {
	p := n.cluster.pool
	if n.container == nil {
		return n.reboot(ctx)
	}
	kind, err := p.engineKind(ctx)
	if err == nil && n.release == nil {
		err = n.acquire()
	}
	if err == nil {
		_, err = n.cluster.shared.open(ctx, p, n.cluster.spec.Volumes)
	}
	if err == nil {
		err = n.serve(ctx, kind)
	}
	if err == nil {
		ready := true
		n.change(func(b *batch) {
			if ready = n.rec.State != Preparing; ready {
				n.fate(b.now)
			}
		})
		return ready
	}
	p.cfg.Logger.Warn("a node that was there is not to be had again: it is made anew", "node", n.rec.ID, "error", err)
	return n.reboot(ctx)
}

// reboot makes its container anew; its setup runs again. It never finds it ready.
func (n *node) reboot(ctx context.Context) bool {
	p := n.cluster.pool
	for try := 0; ; try++ {
		err := n.halt(ctx)
		if err == nil {
			err = n.boot(ctx)
		}
		if err == nil || n.ctx.Err() != nil {
			return n.ctx.Err() != nil
		}
		p.cfg.Logger.Warn("a node does not start again", "node", n.rec.ID, "error", err)
		if !p.sleep(n.ctx, n.task, min(time.Second<<min(try, 6), time.Minute)) {
			return true
		}
	}
}

// makeKeys makes what the cluster's nodes know each other by.
func (c *cluster) makeKeys() error {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	for _, name := range []string{"hostkey", "jobkey"} {
		file := filepath.Join(c.dir, "keys", name)
		private, lines, err := sshd.HostKeyFiles(file)
		if err != nil {
			return err
		}
		if name != "jobkey" {
			continue
		}
		if err := os.WriteFile(file+".pem", private["ssh-ed25519"], 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(file+".pub", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
