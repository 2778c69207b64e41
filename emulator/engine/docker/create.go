package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// start makes the container and starts it. If it fails, c.id is what is to be removed.
func (c *container) start(ctx context.Context, spec engine.Spec) error {
	img, err := c.engine.images.resolve(ctx, spec.Image, nil)
	if err != nil {
		return err
	}
	if c.shell, err = c.engine.hasShell(ctx, img); err != nil {
		return err
	}
	if len(spec.Command) == 0 && spec.ImageCommand {
		if spec.Command = img.command; len(spec.Command) == 0 {
			return fmt.Errorf("%w: the image %s says of no command that it runs it, and none was given", engine.ErrInvalid, img.name)
		}
	}
	c.machine, c.dir = len(spec.Command) == 0, spec.Dir
	joined, err := c.engine.joined(spec.Join)
	if err != nil {
		return err
	}
	if c.machine && !c.shell {
		return fmt.Errorf("%w: a machine needs an image with a /bin/sh, %s has none", engine.ErrInvalid, img.name)
	}
	if c.docker = spec.Docker; c.docker && (!c.machine || c.engine.cfg.Dir == "") {
		return fmt.Errorf("%w: a Docker of its own is a machine's, of an engine that has a Dir", engine.ErrInvalid)
	}
	if c.docker {
		if err := os.MkdirAll(c.engine.guestDir(c.name), 0o755); err != nil {
			return err
		}
	}
	bound := published{}
	if len(spec.Ports) > 0 {
		if bound, err = c.engine.daemon.publishes(ctx); err != nil {
			return err
		}
	}
	for _, n := range spec.Networks {
		if err := c.engine.daemon.ensureNetwork(ctx, c.engine.networkName(n.Name), c.engine.instance, n.Name); err != nil {
			return err
		}
	}
	req := c.request(spec, img, bound, joined)
	created, err := c.engine.daemon.provider.CreateContainer(ctx, req)
	if errdefs.IsConflict(err) {
		// An earlier emulator's, that was not adopted.
		if err := c.engine.daemon.remove(ctx, req.Name); err != nil {
			return err
		}
		created, err = c.engine.daemon.provider.CreateContainer(ctx, req)
	}
	if created != nil {
		c.id = created.GetContainerID()
	}
	if err != nil {
		return refusal("making a container", err)
	}
	if !c.machine {
		if err := c.findCommand(ctx, spec, img); err != nil {
			return err
		}
	}
	if err := c.openGuest(ctx); err != nil {
		return err
	}
	if err := created.Start(ctx); err != nil {
		return refusal("starting a container", err)
	}
	return nil
}

// joined is the id of the container whose network is to be shared.
func (e *Engine) joined(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[name]; c != nil && c.id != "" {
		return c.id, nil
	}
	return "", fmt.Errorf("%w: no container %q runs whose network could be joined", engine.ErrInvalid, name)
}

// refusal tells what the request can't be from what the daemon can't do.
func refusal(doing string, err error) error {
	text := err.Error()
	for _, s := range []string{"invalid mount config", "bind source path does not exist", "Range of CPUs is from", "could not select device driver", "Minimum memory limit", "unable to find user"} {
		if strings.Contains(text, s) {
			return fmt.Errorf("%w: %s: %w", engine.ErrInvalid, doing, err)
		}
	}
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("docker: %s: %w", doing, err)
	}
	return wrong(doing, err)
}

// dockerName is Docker's name for a container: its alphabet is smaller than that of a Spec.
func (e *Engine) dockerName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r)) {
			return r
		}
		return '_'
	}, name)
	if clean != name || len(clean) > 100 {
		sum := sha256.Sum256([]byte(name))
		clean = clean[:min(len(clean), 80)] + "." + hex.EncodeToString(sum[:6])
	}
	return "lazulite-" + e.short() + "-" + clean
}

func (e *Engine) short() string {
	sum := sha256.Sum256([]byte(e.instance))
	return hex.EncodeToString(sum[:4])
}

// request is the library's form of a Spec. What the library would add of its
// own (ports that the image exposes, published on every address) is taken back
// in a hook that runs last.
func (c *container) request(spec engine.Spec, img image, bound published, joined string) testcontainers.ContainerRequest {
	var config *containertypes.Config
	var host *containertypes.HostConfig
	ports, bindings := network.PortSet{}, network.PortMap{}
	for _, p := range spec.Ports {
		port, _ := network.PortFrom(uint16(p), network.TCP)
		ports[port] = struct{}{}
		bindings[port] = []network.PortBinding{{HostIP: bound.bind, HostPort: "0"}}
	}
	req := testcontainers.ContainerRequest{
		Image: img.id, Name: c.engine.dockerName(spec.Name), Labels: c.labels(spec),
		ConfigModifier: func(x *containertypes.Config) {
			config = x
			c.configure(x, spec, img)
		},
		HostConfigModifier: func(x *containertypes.HostConfig) {
			host = x
			c.configureHost(x, spec, img)
			if joined != "" {
				x.NetworkMode = containertypes.NetworkMode("container:" + joined)
			}
		},
		LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{PreCreates: []testcontainers.ContainerRequestHook{
			func(context.Context, testcontainers.ContainerRequest) error {
				config.ExposedPorts, host.PortBindings = ports, bindings
				return nil
			},
		}}},
	}
	for _, n := range spec.Networks {
		if n.Name == engine.HostNetwork {
			continue
		}
		name := c.engine.networkName(n.Name)
		req.Networks = append(req.Networks, name)
		if req.NetworkAliases == nil {
			req.NetworkAliases = map[string][]string{}
		}
		req.NetworkAliases[name] = n.Aliases
	}
	return req
}

func (c *container) labels(spec engine.Spec) map[string]string {
	out := maps.Clone(spec.Labels)
	if out == nil {
		out = map[string]string{}
	}
	out[labelInstance], out[labelName] = c.engine.instance, spec.Name
	if len(spec.Limits.GPUs) > 0 {
		out[labelGPUs] = strings.Join(spec.Limits.GPUs, ",")
	}
	if c.machine {
		out[labelMachine] = "true"
	}
	if c.shell {
		out[labelShell] = "true"
	}
	if spec.Dir != "" {
		out[labelDir] = spec.Dir
	}
	if spec.Docker {
		out[labelDocker] = "true"
	}
	return out
}

func (c *container) configure(x *containertypes.Config, spec engine.Spec, img image) {
	x.Hostname, x.User, x.WorkingDir = spec.Hostname, spec.User, spec.Dir
	x.Env = environment(spec, img, c.engine.cfg.Pyenv)
	switch {
	case c.machine:
		x.Entrypoint, x.Cmd = []string{"/bin/sh", "-c", machineScript}, nil
	case c.shell:
		x.Entrypoint, x.Cmd = []string{"/bin/sh", "-c", runScript}, spec.Command
	default:
		x.Entrypoint, x.Cmd = spec.Command[:1], spec.Command[1:]
	}
	// What a container is sent by Stop is this engine's choice, not the image's.
	x.StopSignal = ""
}

// environment is the Spec's, of each name the last.
func environment(spec engine.Spec, img image, pyenv string) []string {
	all := append([]string{}, spec.Env...)
	if pyenv != "" && img.ours {
		all = append([]string{"PYENV_ROOT=" + pyenv}, all...)
	}
	last := map[string]int{}
	for i, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		last[name] = i
	}
	var out []string
	for i, kv := range all {
		if name, _, _ := strings.Cut(kv, "="); last[name] == i {
			out = append(out, kv)
		}
	}
	return out
}

func (c *container) configureHost(x *containertypes.HostConfig, spec engine.Spec, img image) {
	reap := true
	x.Init = &reap
	// Whatever the daemon's own driver is, Logs must be able to read it.
	x.LogConfig = containertypes.LogConfig{Type: "json-file"}
	limits := spec.Limits
	x.NanoCPUs = int64(limits.CPU * 1e9)
	// No swap beside it: a process that goes beyond its size ends, as on a VM.
	x.Memory, x.MemorySwap = limits.Memory, limits.Memory
	if len(limits.GPUs) > 0 && limits.Stub == nil {
		x.DeviceRequests = []containertypes.DeviceRequest{{Driver: "nvidia", DeviceIDs: slices.Clone(limits.GPUs), Capabilities: [][]string{{"gpu"}}}}
	}
	if stub := limits.Stub; stub != nil {
		for target, source := range map[string]string{hardware.StubTable: stub.Table, "/usr/bin/nvidia-smi": stub.SMI,
			// Where loaders look without being told: Debian's and Red Hat's.
			path.Join("/usr/lib", multiarch[runtime.GOARCH], "libnvidia-ml.so.1"): stub.Library, "/usr/lib64/libnvidia-ml.so.1": stub.Library} {
			x.Mounts = append(x.Mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: true})
		}
	}
	base := spec.Dir
	if base == "" {
		base = path.Join("/", img.dir)
	}
	targets := map[string]bool{}
	if c.docker {
		targets[guestFolder] = true
		x.Mounts = append(x.Mounts, mount.Mount{Type: mount.TypeBind, Source: c.engine.guestDir(c.name), Target: guestFolder})
		// What its own containers ask for as the host's is the machine's, which
		// has as much shared memory as a real one.
		x.IpcMode, x.ShmSize = containertypes.IPCModeShareable, limits.Memory/2
	}
	for _, m := range spec.Mounts {
		target := m.Target
		if !path.IsAbs(target) {
			target = path.Join(base, target)
		}
		targets[path.Clean(target)] = true
		x.Mounts = append(x.Mounts, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: target, ReadOnly: m.ReadOnly})
	}
	if img.ours {
		shared := slices.Clone(c.engine.cfg.Shared)
		if c.engine.cfg.Pyenv != "" {
			shared = append(shared, path.Join(c.engine.cfg.Pyenv, "versions"))
		}
		for _, folder := range shared {
			if folder = path.Clean(folder); !targets[folder] {
				targets[folder] = true
				x.Mounts = append(x.Mounts, mount.Mount{Type: mount.TypeBind, Source: folder, Target: folder, ReadOnly: true})
			}
		}
	}
	for _, n := range spec.Networks {
		if n.Name == engine.HostNetwork {
			x.NetworkMode = "host"
		}
	}
	if c.engine.needsHostName() {
		x.ExtraHosts = append(x.ExtraHosts, hostName+":host-gateway")
	}
}

// multiarch is Debian's name of an architecture.
var multiarch = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// findCommand looks in the container, not started yet, for what it is to run:
// under init and a shell, Docker itself no longer would.
func (c *container) findCommand(ctx context.Context, spec engine.Spec, img image) error {
	name := spec.Command[0]
	var candidates []string
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join("/", img.dir, spec.Dir, name)
		}
		candidates = []string{name}
	} else {
		for _, folder := range strings.Split(searchPath(spec.Env, img), ":") {
			candidates = append(candidates, path.Join("/", folder, name))
		}
	}
	key := img.id + "\x00" + spec.Command[0] + "\x00" + searchPath(spec.Env, img)
	plain := len(spec.Mounts) == 0
	if plain && c.engine.known(key) {
		return nil
	}
	for _, file := range candidates {
		r, err := c.engine.daemon.api.ContainerStatPath(ctx, c.id, client.ContainerStatPathOptions{Path: file})
		if errdefs.IsNotFound(err) {
			if under(file, spec.Mounts) {
				return nil // mounted only at the start
			}
			continue
		} else if err != nil {
			return wrong("looking for "+name, err)
		}
		if r.Stat.LinkTarget != "" || !r.Stat.Mode.IsDir() && r.Stat.Mode&0o111 != 0 {
			if plain {
				c.engine.know(key)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: %q, in the image %s", engine.ErrNotFound, spec.Command[0], img.name)
}

func under(file string, mounts []engine.Mount) bool {
	for _, m := range mounts {
		if t := path.Clean(m.Target); file == t || strings.HasPrefix(file, t+"/") {
			return true
		}
	}
	return false
}

// defaultPath is Docker's own for an image that has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func searchPath(env []string, img image) string {
	found := defaultPath
	for _, kv := range append(slices.Clone(img.env), env...) {
		if name, value, _ := strings.Cut(kv, "="); name == "PATH" {
			found = value
		}
	}
	return found
}

func (e *Engine) known(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.looked[key]
}

func (e *Engine) know(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked[key] = true
}

// hasShell says whether an image has a /bin/sh, by looking into a container of it that never runs.
func (e *Engine) hasShell(ctx context.Context, img image) (bool, error) {
	e.mu.Lock()
	has, known := e.looked[img.id]
	e.mu.Unlock()
	if known {
		return has, nil
	}
	r, err := e.daemon.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &containertypes.Config{Image: img.id, Cmd: []string{"/bin/sh"}, Labels: map[string]string{labelInstance: e.instance}},
	})
	if err != nil {
		return false, wrong("looking into "+img.name, err)
	}
	_, err = e.daemon.api.ContainerStatPath(ctx, r.ID, client.ContainerStatPathOptions{Path: "/bin/sh"})
	if gone := e.daemon.remove(context.WithoutCancel(ctx), r.ID); gone != nil {
		return false, gone
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return false, wrong("looking into "+img.name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked[img.id] = err == nil
	return err == nil, nil
}
