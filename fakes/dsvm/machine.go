package dsvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/durable"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// machine is what stands behind one VM: a disk always, and while it is on, a
// container of the engine with an sshd in front.
type machine struct {
	fake *Fake
	dir  string

	change sync.Mutex // one start or stop at a time

	mu        sync.Mutex // of all below
	file      machineFile
	container engine.Container
	parked    engine.Container // stopped, with what was written in it beside the disk
	server    server
	release   func() // of its hardware
	limits    hardware.Limits
	env       []string // of what runs in it
	network   []string // of that, how it reaches emulated Azure
	gone      bool     // its disk is removed: nothing is to be written any more
	tasks     map[string]*task
	kept      map[string]bool // places that its first start must not take
	life      context.Context // of the tasks
	endLife   context.CancelFunc
	working   sync.WaitGroup
}

// machineFile is machine.json: what a start needs, kept on the disk itself so
// that the machine comes up again before anybody asks for its VM.
type machineFile struct {
	ID           string // the VM's vmId
	VM           string // resource id
	Subscription string
	Location     string
	Size         string
	User         string
	PasswordHash string   `json:",omitempty"`
	Keys         []string `json:",omitempty"` // put into authorized_keys at the first start
	Users        []login  `json:",omitempty"` // besides User
	Computer     string
	Image        string `json:",omitempty"` // of the marketplace, publisher:offer:sku:version
	CustomData   []byte `json:",omitempty"` // for the first boot; gone after it
	System       system // as the agent found it
	Address      string // stays the same once it has been listened at
	Port         int
	Firewall     firewall
	SerialBlob   string   `json:",omitempty"` // URL at which the serial log is to be kept
	Held         bool     // it has its hardware: it is not deallocated
	GPUs         []string `json:",omitempty"` // UUIDs of those that it last had
	On           bool
	OwnSSH       bool `json:",omitempty"` // its container has an SSH server of its own
}

func (m *machineFile) parse(data []byte) error { return json.Unmarshal(data, m) }

// How long stopping gives processes after SIGTERM, and a login may take.
const (
	stopGrace  = 5 * time.Second
	loginLimit = 30 * time.Second
)

// power is what is really so: "running", "stopped" or "deallocated".
func (m *machine) power() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.server != nil:
		return "running"
	case m.file.Held:
		return "stopped"
	}
	return "deallocated"
}

func (m *machine) snapshot() machineFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.file
}

// save writes machine.json after applying a change.
func (m *machine) save(change func(*machineFile)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil
	}
	change(&m.file)
	return writeJSON(filepath.Join(m.dir, "machine.json"), m.file)
}

// writeJSON puts a file in the place of another, whole or not at all.
func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(file, data, 0o600)
}

// start brings it up, if it isn't, and returns once it has logged in to itself.
func (m *machine) start(ctx context.Context) error {
	m.change.Lock()
	defer m.change.Unlock()
	if m.power() == "running" {
		return nil
	}
	if err := m.hold(); err != nil {
		return err
	}
	if err := m.boot(ctx); err != nil {
		return err
	}
	return m.save(func(f *machineFile) { f.On = true })
}

// resume brings it to where the last run of the emulator left it.
func (m *machine) resume(ctx context.Context) error {
	f := m.snapshot()
	if err := m.adopt(ctx, f); err != nil {
		return err
	}
	if f.On {
		return m.start(ctx)
	}
	if !f.Held {
		return nil
	}
	m.change.Lock()
	defer m.change.Unlock()
	return m.hold()
}

// hold books its hardware, if it hasn't.
func (m *machine) hold() error {
	m.mu.Lock()
	held := m.release != nil
	size, had := m.file.Size, m.file.GPUs
	m.mu.Unlock()
	if held {
		return nil
	}
	s, ok := hardware.Size(size)
	if !ok {
		return fmt.Errorf("dsvm: there is no size %q", size)
	}
	limits, release, err := m.fake.cfg.Hardware.Acquire(s, had...)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.limits, m.release = limits, release
	m.mu.Unlock()
	if notice := s.Notice(limits); notice != "" {
		m.fake.cfg.Logger.Warn("a VM's GPUs", "vm", m.file.VM, "notice", notice)
	}
	return m.save(func(f *machineFile) { f.Held, f.GPUs = true, limits.GPUs })
}

func (m *machine) boot(ctx context.Context) (err error) {
	f := m.snapshot()
	home, err := m.prepareDisk(f)
	if err != nil {
		return err
	}
	m.mu.Lock()
	limits := m.limits
	m.mu.Unlock()
	shell := "/bin/bash"
	if _, err := os.Stat(shell); err != nil {
		shell = "/bin/sh"
	}
	env := []string{"HOME=" + home, "USER=" + f.User, "LOGNAME=" + f.User, "TMPDIR=" + filepath.Join(m.dir, "tmp"), "SHELL=" + shell}
	env = append(env, m.hostEnv()...)
	if len(limits.GPUs) == 0 {
		env = append(env, "CUDA_VISIBLE_DEVICES=") // the host's GPUs are not this machine's
	}
	if size, ok := hardware.Size(f.Size); ok && size.Notice(limits) != "" {
		env = append(env, hardware.NoticeVariable+"="+size.Notice(limits))
	}
	mounts := []engine.Mount{{Source: m.dir, Target: m.dir}}
	if !m.onHost() {
		network, bundle, err := m.fake.cfg.Network(ctx)
		if err != nil {
			return err
		}
		env, mounts = append(env, network...), append(mounts, bundle...)
		m.mu.Lock()
		m.network = network
		m.mu.Unlock()
	}
	image, err := m.image(ctx, f)
	if err != nil {
		return err
	}
	container, server, err := m.bringUp(ctx, f, engine.Spec{
		Name: m.containerName(), Image: image, Dir: home, Env: env, Limits: limits, Labels: map[string]string{"lazulite.vm": f.VM},
		Mounts: mounts,
	}, sshd.Config{
		HostKeyFile: m.hostKeyFile(), Home: home, Shell: shell, Env: env,
		HostFiles: true, Admit: m.admits, Homes: m.homes(home), Password: m.password, PasswordLogins: m.passwordLogins, Keys: m.authorizedKeys,
		AcceptEnv: acceptedEnv, Logger: m.fake.cfg.Logger, Clock: m.fake.cfg.Clock,
	})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	if err := server.Check(limited); err != nil {
		clean := context.WithoutCancel(ctx)
		return errors.Join(err, server.Close(clean), container.Remove(clean))
	}
	if m.snapshot().OwnSSH {
		// There its agent is root, as on a machine of Azure's.
		env = append([]string{"HOME=/root", "USER=root", "LOGNAME=root", "TMPDIR=/tmp"}, env[4:]...)
	}
	m.mu.Lock()
	m.container, m.parked, m.server, m.env, m.tasks = container, nil, server, env, map[string]*task{}
	m.life, m.endLife = context.WithCancel(context.WithoutCancel(ctx))
	m.mu.Unlock()
	return m.booted(ctx)
}

// prepareDisk makes what of the disk is not there yet.
func (m *machine) prepareDisk(f machineFile) (home string, err error) {
	home = filepath.Join(m.dir, "home", f.User)
	if err := m.prepareTools(); err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Join(home, ".ssh"), filepath.Join(m.dir, "tmp"), filepath.Join(m.dir, "mnt")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
	}
	if !m.onHost() {
		// As /tmp and /mnt they are for all users of the machine.
		if err := errors.Join(os.Chmod(filepath.Join(m.dir, "tmp"), 0o777|os.ModeSticky), os.Chmod(filepath.Join(m.dir, "mnt"), 0o755)); err != nil {
			return "", err
		}
	}
	if err := m.writeProfile(home); err != nil {
		return "", err
	}
	if len(f.Keys) == 0 {
		return home, nil
	}
	file, err := os.OpenFile(filepath.Join(home, ".ssh", "authorized_keys"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return home, nil
	} else if err != nil {
		return "", err
	}
	_, err = io.WriteString(file, strings.Join(f.Keys, "\n")+"\n")
	return home, errors.Join(err, file.Close())
}

// halt takes it down: nobody gets in any more, and its processes end. What can
// be started again is kept if park is set.
func (m *machine) halt(ctx context.Context, grace time.Duration, park bool) error {
	m.mu.Lock()
	server, container := m.server, m.container
	if m.endLife != nil {
		m.endLife()
	}
	m.mu.Unlock()
	if server != nil {
		if err := server.Close(ctx); err != nil {
			return err
		}
	}
	if container != nil {
		if err := container.Stop(ctx, grace); err != nil {
			return err
		}
		if _, again := container.(engine.Restarter); park && again {
			m.mu.Lock()
			m.parked = container
			m.mu.Unlock()
		} else if err := container.Remove(ctx); err != nil {
			return err
		}
	}
	if !park {
		if err := m.unpark(ctx); err != nil {
			return err
		}
	}
	m.working.Wait() // what they ran in is gone
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server, m.container, m.tasks, m.endLife = nil, nil, nil, nil
	return nil
}

// stop is a VM's powerOff: its hardware stays its own.
func (m *machine) stop(ctx context.Context) error {
	m.change.Lock()
	defer m.change.Unlock()
	if err := m.halt(ctx, stopGrace, true); err != nil {
		return err
	}
	return m.save(func(f *machineFile) { f.On = false })
}

// deallocate stops it and gives its hardware back.
func (m *machine) deallocate(ctx context.Context) error {
	if err := m.stop(ctx); err != nil {
		return err
	}
	return m.giveBack()
}

func (m *machine) giveBack() error {
	m.mu.Lock()
	release := m.release
	m.release, m.limits = nil, hardware.Limits{}
	m.mu.Unlock()
	if release != nil {
		release()
	}
	return m.save(func(f *machineFile) { f.Held = false })
}

// suspend halts it for the emulator's own end, and leaves machine.json as it is.
func (m *machine) suspend(ctx context.Context) error {
	m.change.Lock()
	defer m.change.Unlock()
	if err := m.halt(ctx, 0, false); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.release != nil {
		m.release()
		m.release = nil
	}
	return nil
}

// erase makes the disk as it was before the first start.
func (m *machine) erase(ctx context.Context) error {
	return errors.Join(m.unpark(ctx), os.RemoveAll(filepath.Join(m.dir, "home")), os.RemoveAll(filepath.Join(m.dir, "tmp")), os.RemoveAll(filepath.Join(m.dir, "mnt")), m.removeAgentFiles())
}

// remove takes it down and its disk away.
func (m *machine) remove(ctx context.Context) error {
	if _, err := os.Stat(m.dir); err == nil {
		if err := m.deallocate(ctx); err != nil {
			return err
		}
	}
	if err := m.unpark(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.gone = true
	err := os.RemoveAll(m.dir)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	m.fake.forget(m.file.ID)
	return nil
}

func (f machineFile) endpoint() string {
	return net.JoinHostPort(f.Address, strconv.Itoa(f.Port))
}
