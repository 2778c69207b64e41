// Package aci is Microsoft.ContainerInstance: container groups as Azure ran
// them in 2018 (api-versions 2018-04-01 to 2018-10-01, and today's of the same
// types), whose containers really run.
//
// A group is a set of containers of the engine that share a network: with more
// than one, a container that does nothing holds it, and its name, for as long as
// the group runs. Restart policies, back-off, init containers, probes and events
// are kubelet's, on the Clock; what a state, an exit code, an event or a log
// says comes from the engine alone. What a group is and how far it has come is
// kept in a file of its own, so that after a kill -9 of the emulator its
// containers are taken over as they run, and where they can't be they count as
// killed, and the restart policy decides.
//
// An address is one of this host's loopback, at which a relay leads to the group's
// ports; where the host does not allow that (ports below 1024 are root's, other
// systems than Linux have 127.0.0.1 alone), it is one of 198.18.0.0/15, which no
// network routes. That, and the DNS label's name, lead to the group through the front (Dial). On the
// process engine an image is this host where engine.HostImages says so, its ports are
// the host's, and volumes can't be mounted: what can't be done is refused, and
// the group's events say why.
//
// Not emulated: Windows, GPUs, virtual networks, UDP, log analytics, container
// groups of spot and confidential SKUs. Identities are shown; the token that a
// container gets is the emulator's own.
package aci

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// Config of a Fake.
type Config struct {
	// Engine runs the containers; required.
	Engine engine.Engine
	// Dir keeps the groups' state, logs and volumes; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand makes addresses and ids; nil: seeded by chance.
	Rand *rand.Rand
	// Hardware says how many processors there are; nil: this host.
	Hardware *hardware.Host
	// Network is what each container gets so that it reaches emulated Azure; nil: nothing.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Share gives the folder that an Azure file share is; nil: file shares can't be mounted.
	// ErrShareKey and ErrShareAbsent are told apart.
	Share func(ctx context.Context, account, key, share string) (dir string, err error)
	// Environment is NAME=value of git, which fetches gitRepo volumes: PATH and the like.
	Environment []string
	// Images are further rows of images that the process engine has, before those of engine.HostImages.
	Images []engine.HostImage
	// Tenant is shown as that of identities.
	Tenant string
	// Groups limits the groups of a subscription in a region; 0: 100.
	Groups int
	Logger *slog.Logger // nil: silent
}

// Errors that Config.Share may return.
var (
	ErrShareKey    = errors.New("aci: the key is not the storage account's")
	ErrShareAbsent = errors.New("aci: no such storage account or file share")
)

// Fake is the resource provider and the groups behind it.
type Fake struct {
	cfg Config
	err error // in Config; told by Open and by every PUT

	prober *http.Client

	life    context.Context // of all that runs in groups
	endLife context.CancelFunc

	mu       sync.Mutex // also of cfg.Rand
	closed   bool
	pods     map[string]*pod  // by id
	places   map[place]string // of this host that groups of the process engine have, by pod id
	sessions map[string]*session
	attended sync.WaitGroup // sessions that are connected
}

// New checks the Config; what is wrong with it Open says.
func New(cfg Config) *Fake {
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Hardware == nil {
		cfg.Hardware = hardware.New(hardware.Config{})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Groups == 0 {
		cfg.Groups = 100
	}
	if cfg.Network == nil {
		cfg.Network = func(context.Context) ([]string, []engine.Mount, error) { return nil, nil, nil }
	}
	f := &Fake{cfg: cfg, pods: map[string]*pod{}, places: map[place]string{}, sessions: map[string]*session{}}
	// As kubelet does, a probe takes any certificate, and a connection of its own.
	f.prober = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	f.life, f.endLife = context.WithCancel(context.Background())
	if cfg.Engine == nil || cfg.Dir == "" {
		f.err = errors.New("aci: an Engine and a Dir are needed")
		return f
	}
	f.cfg.Dir, f.err = filepath.Abs(cfg.Dir)
	return f
}

// Open takes up the groups that were there when the emulator ended. It must
// come before the engine's Sweep.
func (f *Fake) Open(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	files, err := filepath.Glob(filepath.Join(f.cfg.Dir, "groups", "*", "group.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		p := f.pod(filepath.Base(filepath.Dir(file)))
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := p.file.parse(data); err != nil {
			return fmt.Errorf("aci: group %s: %w", p.id, err)
		}
	}
	for _, p := range f.all() {
		if err := p.resume(ctx); err != nil {
			return fmt.Errorf("aci: group %s: %w", p.id, err)
		}
	}
	return nil
}

// Close ends what runs in the groups; the next Open goes on with them.
func (f *Fake) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.endLife()
	f.attended.Wait()
	all := f.all()
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, p := range all {
		closing.Go(func() { errs[i] = p.suspend(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

func (f *Fake) all() []*pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*pod, 0, len(f.pods))
	for _, p := range f.pods {
		out = append(out, p)
	}
	return out
}

// pod finds a group's by its id, or makes it.
func (f *Fake) pod(id string) *pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pods[id]
	if p == nil {
		p = &pod{fake: f, id: id, dir: filepath.Join(f.cfg.Dir, "groups", id)}
		f.pods[id] = p
	}
	return p
}

// known finds a group's pod, nil if there is none.
func (f *Fake) known(id string) *pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pods[id]
}

func (f *Fake) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, id)
}

// engine is the engine itself, opened if it was not yet.
func (f *Fake) engine(ctx context.Context) (engine.Engine, error) {
	if lazy, ok := f.cfg.Engine.(*engine.Lazy); ok {
		return lazy.Engine(ctx)
	}
	return f.cfg.Engine, nil
}

// newID is a GUID by the Fake's own dice, so that a seed repeats it.
func (f *Fake) newID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, b := f.cfg.Rand.Uint64(), f.cfg.Rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

// hex is random digits.
func (f *Fake) hex(digits int) string {
	return strings.ReplaceAll(f.newID()+f.newID(), "-", "")[:digits]
}
