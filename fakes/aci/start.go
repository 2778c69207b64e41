package aci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// cannotRun is a command that the image has not: the container ends as Docker's would.
type cannotRun struct {
	code int
	why  string
}

func (e *cannotRun) Error() string { return e.why }

// onHost says whether the engine has this host's processes for containers.
func onHost(e engine.Engine) bool { return e.Name() == "process" }

// pull has the image; false if it can't be had, or ctx ends. An image that was
// there for the first start is waited for at a later one.
func (m *member) pull(ctx context.Context) bool {
	image := m.item.Properties.Image
	for n := 1; ; n++ {
		m.note(normal, "Pulling", "pulling image \"%s\"", image)
		err := m.fetch(ctx)
		if err == nil {
			m.note(normal, "Pulled", "Successfully pulled image \"%s\"", image)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		now := m.pod.fake.cfg.Clock.Now()
		m.change(func(f *memberFile) {
			f.View.Events = note(f.View.Events, now, warning, "Failed", "Failed to pull image \"%s\": %v", image, err)
			f.View.Events = note(f.View.Events, now, normal, "BackOff", "Back-off pulling image \"%s\"", image)
			f.become(&containerState{State: "Waiting", DetailStatus: fmt.Sprintf("ImagePullBackOff: Back-off pulling image \"%s\"", image)})
		})
		m.pod.mu.Lock()
		first := !m.file.Started
		m.pod.mu.Unlock()
		if first {
			m.pod.fail(inaccessible(image, m.pod.file.Order.Name))
			return false
		}
		if !m.pause(ctx, backoff(n)) {
			return false
		}
	}
}

// fetch gets the image from wherever the engine has images.
func (m *member) fetch(ctx context.Context) error {
	e, err := m.pod.fake.engine(ctx)
	if err != nil {
		return err
	}
	image := m.item.Properties.Image
	if onHost(e) {
		if _, ok := engine.FindHostImage(image, m.pod.fake.cfg.Images...); !ok {
			return fmt.Errorf("%w: containers are processes of this host here, which stands for images of Python and of plain distributions alone: run lazulite with Docker for others", engine.ErrNoImage)
		}
		return nil
	}
	p, ok := e.(engine.Puller)
	if !ok {
		return nil
	}
	var login *engine.RegistryLogin
	for _, c := range m.pod.file.Order.Spec.ImageRegistryCredentials {
		if matchesServer(image, c.Server) {
			login = &engine.RegistryLogin{Server: c.Server, User: c.Username, Password: c.Password}
		}
	}
	return p.Pull(ctx, image, login)
}

// start makes the container and starts it.
func (m *member) start(ctx context.Context) (engine.Container, error) {
	p := m.pod
	e, err := p.fake.engine(ctx)
	if err != nil {
		return nil, err
	}
	// Written down first: the next emulator must know that it may be there.
	if err := p.save(func(*podFile) {
		m.file.Run++
		m.file.Launched = true
	}); err != nil {
		return nil, err
	}
	c, err := m.launch(ctx, e)
	if err != nil {
		_ = p.save(func(*podFile) { m.file.Launched = false })
		if errors.Is(err, engine.ErrNotFound) {
			name := ""
			if len(m.item.Properties.Command) > 0 {
				name = m.item.Properties.Command[0]
			}
			return nil, &cannotRun{127, fmt.Sprintf("exec: \\\"%s\\\": executable file not found in $PATH", name)}
		}
		return nil, err
	}
	now := p.fake.cfg.Clock.Now()
	p.mu.Lock()
	m.container = c
	p.reached = nil
	m.file.View.Events = note(m.file.View.Events, now, normal, "Created", "Created container")
	p.mu.Unlock()
	return c, nil
}

func (m *member) launch(ctx context.Context, e engine.Engine) (engine.Container, error) {
	p := m.pod
	props := m.item.Properties
	env, mounts, err := p.fake.cfg.Network(ctx)
	if err != nil {
		return nil, err
	}
	volumes, err := p.mounts(m.item, e)
	if err != nil {
		return nil, err
	}
	spec := engine.Spec{Name: p.containerName(m.item.Name, m.file.Run), Image: props.Image, Command: props.Command, ImageCommand: len(props.Command) == 0,
		Env: slices.Clone(env), Mounts: append(slices.Clone(mounts), volumes...), Limits: p.fake.limits(p.file.Order.Spec, props.Resources),
		Labels: map[string]string{"lazulite.group": p.file.Order.Resource}}
	switch {
	case onHost(e):
		if err := m.hostSpec(&spec); err != nil {
			return nil, err
		}
	case p.sandboxed() && !m.initial:
		spec.Join = p.sandboxName()
	default:
		spec.Hostname = p.file.Hostname
		if !m.initial {
			spec.Ports = p.allPorts()
		}
	}
	for _, v := range props.Environment {
		switch {
		case v.SecureValue != nil:
			spec.Env = append(spec.Env, v.Name+"="+*v.SecureValue)
		case v.Value != nil:
			spec.Env = append(spec.Env, v.Name+"="+*v.Value)
		default:
			spec.Env = append(spec.Env, v.Name+"=")
		}
	}
	return e.Start(ctx, spec)
}

// hostSpec makes a Spec one of this host: its image is what the table says.
func (m *member) hostSpec(spec *engine.Spec) error {
	row, ok := engine.FindHostImage(spec.Image, m.pod.fake.cfg.Images...)
	if !ok {
		return fmt.Errorf("%w: %s", engine.ErrNoImage, spec.Image)
	}
	spec.Image, spec.ImageCommand = "", false
	if len(spec.Command) == 0 {
		if len(row.Command) == 0 {
			return fmt.Errorf("%w: the image table has no command for %s, and the container gives none", engine.ErrInvalid, m.item.Properties.Image)
		}
		spec.Command = row.Command
	}
	home := filepath.Join(m.pod.dir, "homes", m.item.Name)
	if err := os.MkdirAll(filepath.Join(home, "tmp"), 0o700); err != nil {
		return err
	}
	spec.Env = append(spec.Env, "HOME="+home, "TMPDIR="+filepath.Join(home, "tmp"), "HOSTNAME="+m.pod.file.Hostname, "CUDA_VISIBLE_DEVICES=")
	moved, err := m.pod.takePorts(m.item, row.MovesPorts)
	for port, to := range moved {
		spec.Env = append(spec.Env, fmt.Sprintf("LAZULITE_LISTEN_%d=%s", port, to))
	}
	return err
}

// limits are a container's own, or what it requests; no more processors than there are.
func (f *Fake) limits(g *groupProperties, r *resources) hardware.Limits {
	var l hardware.Limits
	if r == nil {
		// An init container may use what the group has.
		cpu, memory := total(g)
		return hardware.Limits{CPU: min(cpu, float64(f.cfg.Hardware.Cores())), Memory: int64(memory * (1 << 30))}
	}
	cpu, memory := number(r.Requests.CPU), number(r.Requests.MemoryInGB)
	if r.Limits != nil {
		if r.Limits.CPU != "" {
			cpu = number(r.Limits.CPU)
		}
		if r.Limits.MemoryInGB != "" {
			memory = number(r.Limits.MemoryInGB)
		}
	}
	l.CPU, l.Memory = min(cpu, float64(f.cfg.Hardware.Cores())), int64(memory*(1<<30))
	return l
}

// prepare has what all containers share before the first of them: volumes, and the network.
func (p *pod) prepare(ctx context.Context) bool {
	err := p.makeVolumes(ctx)
	if err == nil {
		err = p.makeSandbox(ctx)
	}
	if err == nil {
		err = p.expose(ctx)
	}
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		return false
	}
	name := "FailedCreatePodSandBox"
	var mount *mountError
	if errors.As(err, &mount) {
		name = "FailedMount"
	}
	p.note(warning, name, "%v", err)
	p.fail(refuse("ContainerGroupCreationFailed", "", "The container group '%s' can't be created: %v", p.file.Order.Name, err))
	return false
}

// makeSandbox starts the container that holds the network of several.
func (p *pod) makeSandbox(ctx context.Context) error {
	e, err := p.fake.engine(ctx)
	if err != nil {
		return err
	}
	if onHost(e) || !p.needsSandbox() || p.sandboxed() {
		return nil
	}
	c, err := e.Start(ctx, engine.Spec{Name: p.sandboxName(), Hostname: p.file.Hostname, Ports: p.allPorts(), Labels: map[string]string{"lazulite.group": p.file.Order.Resource}})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.sandbox = c
	p.mu.Unlock()
	return nil
}

func (p *pod) sandboxed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sandbox != nil
}

// takeDown removes the network, once no container is left in it.
func (p *pod) takeDown(ctx context.Context) error {
	p.mu.Lock()
	sandbox := p.sandbox
	p.sandbox = nil
	p.mu.Unlock()
	p.fake.releasePorts(p.id)
	err := p.conceal(ctx)
	if sandbox == nil {
		return err
	}
	return errors.Join(err, sandbox.Remove(ctx))
}

// allPorts are those that the host must reach: the containers' and their probes'.
func (p *pod) allPorts() []int {
	seen := map[int]bool{}
	p.file.Order.Spec.every(func(c *containerItem, _ bool) {
		for _, x := range c.Properties.Ports {
			if x.Protocol != udp {
				seen[x.Port] = true
			}
		}
		for _, x := range []*probe{c.Properties.LivenessProbe, c.Properties.ReadinessProbe} {
			if x != nil && x.HTTPGet != nil {
				seen[x.HTTPGet.Port] = true
			}
		}
	})
	out := make([]int, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
