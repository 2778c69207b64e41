package hardware

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// GPU is one device of this machine. Compute, CUDA's compute capability, is known of simulated ones alone.
type GPU struct {
	Index    int
	UUID     string
	Model    string
	MemoryMB int
	Compute  string
}

// Config of a Host. The zero value looks at the real machine.
type Config struct {
	// Cores and MemoryMB stand for the machine's own if they are above zero.
	Cores    int
	MemoryMB int
	// GPUs finds the devices; nil asks NVIDIA's driver through NVML.
	GPUs func() ([]GPU, error)
	// Simulation, if set, is where GPUs come from instead.
	Simulation *Simulation
	// WithoutGPUs lets a size that has GPUs start with fewer, down to none,
	// where the machine has too few free; its Limits name only what it got.
	WithoutGPUs bool
}

// Host is this machine and the account of what is held of it.
type Host struct {
	cfg Config

	probe sync.Once
	gpus  []GPU
	err   error

	mu     sync.Mutex
	holder map[string]bool // GPU UUIDs that are held
	used   Usage
}

// Usage is what is held at the moment, by the sizes' own numbers; it may be
// more than the machine has.
type Usage struct {
	Machines int
	Cores    int
	MemoryMB int
	GPUs     int
}

// NoGPU says that a size wants more GPUs than are free here.
type NoGPU struct {
	Size             string
	Want, Free, Have int
	// Cause is why the machine's GPUs could not be looked at, if they couldn't.
	Cause error
}

// Error implements error.
func (e *NoGPU) Error() string {
	s := fmt.Sprintf("size %s needs %d GPU(s), of this machine's %d there are %d free", e.Size, e.Want, e.Have, e.Free)
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *NoGPU) Unwrap() error { return e.Cause }

// New makes a Host; it looks at nothing yet.
func New(cfg Config) *Host {
	if cfg.GPUs == nil {
		cfg.GPUs = driverGPUs
	}
	return &Host{cfg: cfg, holder: map[string]bool{}}
}

// Cores is the number of logical processors.
func (h *Host) Cores() int {
	if h.cfg.Cores > 0 {
		return h.cfg.Cores
	}
	return runtime.NumCPU()
}

// MemoryMB is the machine's physical memory, 0 if the system would not say.
func (h *Host) MemoryMB() int {
	if h.cfg.MemoryMB > 0 {
		return h.cfg.MemoryMB
	}
	return memoryMB()
}

// GPUs lists the devices, looked for at the first call. The error says why
// they can't be seen; a machine without a driver has none and no error.
func (h *Host) GPUs() ([]GPU, error) {
	if h.cfg.Simulation != nil {
		return slices.Clone(h.cfg.Simulation.Devices), nil
	}
	h.probe.Do(func() { h.gpus, h.err = h.cfg.GPUs() })
	return slices.Clone(h.gpus), h.err
}

// Acquire books a machine of a size. It refuses only for GPUs (*NoGPU): CPU and
// memory are booked beyond what there is. The Limits name the size's cores and
// memory, no more than the machine has, and the GPUs that are now its own until
// release is called; release may be called more than once. The UUIDs of had,
// what the machine had before the emulator was started again, are taken first if they are free.
// Of simulated GPUs a size gets its own model alone.
func (h *Host) Acquire(s VMSize, had ...string) (l Limits, release func(), err error) {
	var gpus []GPU
	var cause error
	if s.GPUs > 0 {
		gpus, cause = h.GPUs()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	gpus = h.candidates(s, gpus, had)
	var free []GPU
	for _, g := range gpus {
		if !h.holder[g.UUID] {
			free = append(free, g)
		}
	}
	if len(free) < s.GPUs && !h.cfg.WithoutGPUs {
		return Limits{}, nil, &NoGPU{Size: s.Name, Want: s.GPUs, Free: len(free), Have: len(gpus), Cause: cause}
	}
	slices.SortStableFunc(free, func(a, b GPU) int {
		return rank(slices.Contains(had, a.UUID)) - rank(slices.Contains(had, b.UUID))
	})
	lent := free[:min(s.GPUs, len(free))]
	slices.SortFunc(lent, func(a, b GPU) int { return a.Index - b.Index })
	var held []string
	for _, g := range lent {
		held = append(held, g.UUID)
	}
	l = Limits{CPU: float64(min(s.Cores, h.Cores())), Memory: int64(s.MemoryMB) << 20, GPUs: held}
	if sim := h.cfg.Simulation; sim != nil && len(lent) > 0 {
		if l.Stub, err = sim.show(lent); err != nil {
			return Limits{}, nil, err
		}
	}
	for _, id := range held {
		h.holder[id] = true
	}
	h.used = h.used.plus(s, len(held), 1)
	if m := h.MemoryMB(); m > 0 && m < s.MemoryMB {
		l.Memory = int64(m) << 20
	}
	var once sync.Once
	return l, func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, id := range held {
				delete(h.holder, id)
			}
			h.used = h.used.plus(s, len(held), -1)
		})
	}, nil
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// candidates are the devices that a size may get, held or not. It wants mu, and probed is h.GPUs' answer.
func (h *Host) candidates(s VMSize, probed []GPU, had []string) []GPU {
	sim := h.cfg.Simulation
	switch {
	case s.GPUs == 0:
		return nil
	case sim == nil:
		return probed
	case sim.Devices != nil:
		return slices.DeleteFunc(slices.Clone(sim.Devices), func(g GPU) bool { return g.Model != s.GPUModel })
	}
	// As many as are asked for: there are always enough that nobody holds.
	out := devices(s, 0, len(h.holder)+s.GPUs)
	for _, id := range had {
		for len(out) < mostHad && !slices.ContainsFunc(out, func(g GPU) bool { return g.UUID == id }) {
			out = append(out, devices(s, len(out), 1)...)
		}
	}
	return out
}

// mostHad bounds the search for what a machine had: it may be of another model.
const mostHad = 4096

// Usage is what is held now.
func (h *Host) Usage() Usage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.used
}

func (u Usage) plus(s VMSize, gpus, sign int) Usage {
	return Usage{
		Machines: u.Machines + sign,
		Cores:    u.Cores + sign*s.Cores,
		MemoryMB: u.MemoryMB + sign*s.MemoryMB,
		GPUs:     u.GPUs + sign*gpus,
	}
}
