// Package dsvm is Microsoft.Compute/virtualMachines and the Microsoft.Network
// types that a VM needs: what a Data Science VM of 2018 was to its user, a
// Linux machine reached over SSH.
//
// A VM here is a folder (its disk), a machine of the engine (its processes),
// and an address of its own: there a relay leads to OpenSSH's server inside the
// container or, on the process engine and in images that have no sshd, an
// emulator/sshd answers. It is "running" only while
// that server takes logins, and what it is told to do it has done when the
// operation ends; delays are data (lifecycle.json) on the Clock, and chaos
// fails allocations by its dice. After a restart of the emulator the VMs that
// ran are listening again, with their host keys, addresses and homes; after one
// that was killed their containers are taken over as they run. What is installed
// in a container beside the homes stays over stops, restarts and resizes, until
// the VM is deleted or the emulator ends in good order.
//
// The image is not booted: on the process engine every Linux image is this
// host. Windows is refused. What runs in a machine by ARM's order (run
// commands, extensions, custom data) runs for real: as root in a container, else
// as the emulator's own user.
// Of the network, security rules about SSH hold; all else is shown, not built:
// private addresses have Azure's shape and reach nobody. A data disk is an
// account of itself, no device. Marketplace terms are kept, and never asked for.
package dsvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/lifecycle"
)

// Config of a Fake.
type Config struct {
	// Engine runs the machines; required.
	Engine engine.Engine
	// Dir keeps the machines' disks and keys; required.
	Dir   string
	Clock clock.Clock // nil: the real one
	// Rand decides jitter, chaos and addresses; nil: seeded by chance.
	Rand *rand.Rand
	// Lifecycle is "fast" (also empty), "real" or "chaos", or the name of another of Lifecycles.
	Lifecycle string
	// Lifecycles replace the embedded ones.
	Lifecycles map[string]Lifecycle
	// Hardware gives out CPU, memory and GPUs; nil: a plain account of this host.
	Hardware *hardware.Host
	// Cores limits the vCPUs of a subscription in a region, and of one family; 0: 100.
	Cores int
	// Environment is NAME=value of what machines have of this host besides
	// their own HOME, USER and the like: PATH, and how packages are fetched here.
	Environment []string
	// Network is what each machine in a container of its own gets so that it, and who logs in to it, reaches
	// emulated Azure by Azure's own names; nil: nothing.
	Network func(ctx context.Context) (env []string, mounts []engine.Mount, err error)
	// Transport fetches the files that extensions name; nil: the network.
	Transport http.RoundTripper
	// KeepLog puts a machine's serial log at a URL of a storage account; nil: serial logs stay on the machine.
	KeepLog func(ctx context.Context, url string, log io.Reader) error
	// SignLog gives the URL of a log with a signature by which it can be read until then; nil: none can be had.
	SignLog func(ctx context.Context, url string, until time.Time) (string, error)
	// HighPorts keeps machines off port 22 of loopback addresses of their own.
	HighPorts bool
	Logger    *slog.Logger // nil: silent
}

// Fake is the two resource providers and the machines behind them.
type Fake struct {
	cfg       Config
	lifecycle Lifecycle
	err       error // in Config; told by Open and by every PUT

	// epoch tells what this Fake began from what one before it did.
	epoch      string
	agreements sync.Mutex // of their file

	mu       sync.Mutex // also of cfg.Rand
	machines map[string]*machine
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
	if cfg.Network == nil {
		cfg.Network = func(context.Context) ([]string, []engine.Mount, error) { return nil, nil, nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Cores == 0 {
		cfg.Cores = 100
	}
	if cfg.Lifecycle == "" {
		cfg.Lifecycle = "fast"
	}
	f := &Fake{cfg: cfg, machines: map[string]*machine{}, epoch: fmt.Sprintf("%016x", rand.Uint64())}
	if cfg.Engine == nil || cfg.Dir == "" {
		f.err = errors.New("dsvm: an Engine and a Dir are needed")
		return f
	}
	var err error
	if f.cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		f.err = err
		return f
	}
	all := cfg.Lifecycles
	if all == nil {
		if all, err = lifecycle.Read(lifecycleJSON); err != nil {
			f.err = err
			return f
		}
	}
	var known bool
	if f.lifecycle, known = all[cfg.Lifecycle]; !known {
		f.err = fmt.Errorf("dsvm: there is no lifecycle %q", cfg.Lifecycle)
	}
	return f
}

// Providers declares Microsoft.Compute, Microsoft.Network and Microsoft.MarketplaceOrdering.
func (f *Fake) Providers() []arm.Provider {
	return []arm.Provider{f.compute(), f.network(), f.marketplace()}
}

// Open starts the machines that were running when the emulator ended. One that
// can't be started stays off, and is logged; its VM shows as stopped.
func (f *Fake) Open(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	files, err := filepath.Glob(filepath.Join(f.cfg.Dir, "vms", "*", "machine.json"))
	if err != nil {
		return err
	}
	var starting sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, file := range files {
		m, err := f.load(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		starting.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := m.resume(ctx); err != nil {
				f.cfg.Logger.Error("a VM does not start again", "vm", m.file.VM, "error", err)
			}
		})
	}
	starting.Wait()
	return ctx.Err()
}

// Close takes every machine off the network and ends its processes; they are
// started again by the next Open.
func (f *Fake) Close(ctx context.Context) error {
	f.mu.Lock()
	var all []*machine
	for _, m := range f.machines {
		all = append(all, m)
	}
	f.mu.Unlock()
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, m := range all {
		closing.Go(func() { errs[i] = m.suspend(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// machine finds one by its id, or makes it.
func (f *Fake) machine(id string) *machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[id]
	if m == nil {
		m = &machine{fake: f, dir: filepath.Join(f.cfg.Dir, "vms", id), file: machineFile{ID: id}}
		f.machines[id] = m
	}
	return m
}

func (f *Fake) load(id string) (*machine, error) {
	m := f.machine(id)
	data, err := os.ReadFile(filepath.Join(m.dir, "machine.json"))
	if err != nil {
		return nil, err
	}
	if err := m.file.parse(data); err != nil {
		return nil, fmt.Errorf("dsvm: machine %s: %w", id, err)
	}
	return m, nil
}

func (f *Fake) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.machines, id)
}

// newID is a GUID by the Fake's own dice, so that a seed repeats it.
func (f *Fake) newID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, b := f.cfg.Rand.Uint64(), f.cfg.Rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

func (f *Fake) hex(digits int) string {
	return strings.ReplaceAll(f.newID(), "-", "")[:digits]
}
