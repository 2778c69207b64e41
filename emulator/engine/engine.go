// Package engine is the seam between lazulite and what really runs: a
// container of a node, of a container group, or the machine behind a VM.
//
// Two engines live here, a third in package docker. Process runs commands of this host, each container a
// folder and a set of processes of its own; Simulated runs nothing and follows
// a script on the Clock. What an Exit, a log or a state says comes from what
// ran (or, simulated, from the script), never from hope.
//
// Process is no sandbox: its containers see the host's files and network, run
// as the emulator's own user, and share the host's CPU and memory. Limits of
// CPU and memory are not enforced; of the GPUs, CUDA_VISIBLE_DEVICES and
// NVIDIA_VISIBLE_DEVICES are set, and simulated ones are shown by PATH and LD_LIBRARY_PATH. What
// it does promise is that nothing it started survives: not a Stop, not a Close,
// and not, after a kill -9 of the emulator, the next NewProcess on that folder.
//
// Package enginetest holds the tests that every Engine must pass.
package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/hardware"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrStopped  = errors.New("engine: the container is not running")
	ErrExists   = errors.New("engine: a container of that name exists")
	ErrNoImage  = errors.New("engine: no such image")
	ErrNotFound = errors.New("engine: command not found")
	ErrInvalid  = errors.New("engine: invalid specification")
	ErrGone     = errors.New("engine: the container is gone")
	ErrNoEngine = errors.New("engine: the engine does not answer")
)

// Config of an engine of this package.
type Config struct {
	// Dir is the process engine's own folder; required there.
	Dir string
	// Clock times graces and stamps exits; nil: the real one.
	Clock  clock.Clock
	Logger *slog.Logger // nil: silent
	// InstanceID marks the engine's processes. Empty: one made at the first start and kept in Dir.
	InstanceID string
	// Images are further names that mean this host, for Spec.Image.
	Images []string
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Engine starts containers. Close removes all that it started.
type Engine interface {
	// Name is "process", "docker" or "simulated".
	Name() string
	Start(ctx context.Context, spec Spec) (Container, error)
	Close(ctx context.Context) error
}

// Spec of a container.
type Spec struct {
	// Name is unique in the instance, and a file name.
	Name string
	// Image; the process engine has only the host itself: "" and the names that map to it.
	Image string
	// Command with its arguments. Without one the container is a machine: it
	// runs nothing but what Exec starts, and lives until Stop.
	Command []string
	// ImageCommand has a container without a Command run what its image runs of
	// itself, and be no machine. ErrInvalid where the image says nothing of it;
	// the process engine has no images that could.
	ImageCommand bool
	Env          []string // NAME=value; the process engine adds nothing of the host's but PATH
	Dir          string   // to start in; the process engine makes one if it is empty
	Mounts       []Mount
	Limits       hardware.Limits
	Labels       map[string]string
	// Ports of the container that Addr will be asked for. Those of the process engine are the host's own.
	Ports []int
	// Hostname and User are the container's; the process engine has its host's and ignores them.
	Hostname, User string
	// Docker gives a machine a Docker of its own: what the docker command in it
	// makes is the machine's alone, shares its network, and ends with it. It is
	// for engines of containers; a machine of the process engine has its host's.
	Docker bool
	// Networks to join, made if they are not there. None is the engine's own
	// choice. The process engine has the host's alone and refuses others.
	Networks []Network
	// Join names a container that runs: both have one network then, each finds the
	// other's ports on its loopback, and the hostname is the other's. Hostname,
	// Ports and Networks are the other's business, and ErrInvalid beside Join. On
	// the process engine all containers have the host's network in any case.
	Join string
}

// Network that containers of one emulator share, in which each finds the
// others by their aliases. HostNetwork is the host's own, without aliases.
type Network struct {
	Name    string
	Aliases []string
}

// HostNetwork as a Network's name is the network of the host: the container's
// loopback is the host's, and its ports are the host's ports.
const HostNetwork = "host"

// Mount of a host folder. The process engine makes a link for a relative
// Target, takes an absolute one only where it is the Source itself, and can't
// enforce ReadOnly.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Container is one thing started.
type Container interface {
	ID() string
	// Wait returns when the process has ended, with what the kernel said of it,
	// and its log is whole. A machine without a command ends with Stop, code 0.
	Wait(ctx context.Context) (Exit, error)
	// Logs writes what it printed so far, and goes on until its end if follow is set.
	Logs(ctx context.Context, w io.Writer, follow bool) error
	// Stop sends SIGTERM to all its processes, and SIGKILL after grace. When it
	// returns without error none is left. A second Stop does nothing.
	Stop(ctx context.Context, grace time.Duration) error
	// Remove kills what still runs and deletes what the engine kept of it.
	Remove(ctx context.Context) error
}

// Exit of a process: Code as a shell would show it (128+n for signal n).
type Exit struct {
	Code   int
	Signal string // "KILL"; empty if it exited by itself
	OOM    bool
	At     time.Time
}

// Execer is a Container in which more commands can be started.
type Execer interface {
	Exec(ctx context.Context, x Exec) (Exit, error)
}

// Exec is one command in a container. It ends with its context: its session
// gets SIGHUP, then SIGTERM, then SIGKILL, and the Exit comes with the
// context's error. Otherwise it ends when the command has, and its output is
// read to the end, as sshd does it; what the command left in the background
// lives on in the container. Stdin is read until its end, and a Read of it may
// outlive the Exec: close it.
type Exec struct {
	Command []string
	Env     []string
	Dir     string
	// User to run as; the process engine has its own alone and ignores it.
	User   string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer // unused with a TTY
	TTY    *TTY
	// Signals sent to the command while it runs.
	Signals <-chan os.Signal
}

// TTY asks for a pseudo terminal.
type TTY struct {
	Term       string
	Rows, Cols uint16
	Resize     <-chan [2]uint16 // rows, cols
}

// Addresser is a Container that has an address of its own.
type Addresser interface {
	// Addr returns host and port at which the host reaches the container's port.
	Addr(ctx context.Context, port int) (string, error)
}

// Puller is an Engine that gets images. Start does it too where nobody has.
type Puller interface {
	// Pull has the image that Start will take for the name; from a registry if it
	// is not there. ErrNoImage, with the reason, if it is not to be had.
	Pull(ctx context.Context, image string, login *RegistryLogin) error
}

// RegistryLogin is who a private registry gives images to.
type RegistryLogin struct{ Server, User, Password string }

// Timekeeper is a Container that knows when its lines were written.
type Timekeeper interface {
	// TimedLogs writes what Logs would so far, with the time of each line in front
	// of it, in UTC, as RFC 3339 has it with nine decimals, and a space.
	TimedLogs(ctx context.Context, w io.Writer) error
}

// Imager is an Engine that may have something for the names of images.
type Imager interface {
	// HasImage says whether a container of that image would start without any of it being got first.
	HasImage(ctx context.Context, name string) (bool, error)
}

// Reacher is an Engine whose containers can reach what this host keeps to itself.
type Reacher interface {
	// Reach returns host:port at which containers reach what listens at
	// hostAddr, a loopback address of this host, until the engine closes. It is
	// the same for the same hostAddr, also after a restart, if nobody else has
	// taken it. Nobody but containers gets through.
	Reach(ctx context.Context, hostAddr string) (addr string, err error)
}

// Adopter is an Engine whose containers outlive it when the emulator is
// killed: the next engine of the same instance finds them running.
type Adopter interface {
	// Found names what ran before this engine and has not been adopted yet.
	Found(ctx context.Context) ([]string, error)
	// Adopt takes over one of them by its Spec.Name; ErrGone if it isn't there. One
	// that has ended can be adopted too: its Wait returns at once with its exit, its
	// log is there, and if it is a machine it can be restarted.
	Adopt(ctx context.Context, name string) (Container, error)
	// Sweep removes what has not been adopted. Close does it too.
	Sweep(ctx context.Context) error
}

// Restarter is a machine that can be started again after a Stop, with all that
// was written in it. The Container that it was is spent then, unless there is an
// error.
type Restarter interface {
	Restart(ctx context.Context, limits hardware.Limits) (Container, error)
}

// AdopterOf is the Adopter that an engine is or, once opened, a Lazy one has
// become; nil if its containers don't outlive it.
func AdopterOf(e Engine) Adopter {
	if l, ok := e.(*Lazy); ok {
		l.mu.Lock()
		e = l.engine
		l.mu.Unlock()
	}
	a, _ := e.(Adopter)
	return a
}

// Copier is a Container into and out of which files can be copied, as tar
// streams whose headers carry mode, owner and time.
type Copier interface {
	// CopyIn unpacks a tar stream in a folder that exists.
	CopyIn(ctx context.Context, folder string, tar io.Reader) error
	// CopyOut packs a file or folder, under its base name. A link is followed.
	CopyOut(ctx context.Context, path string) (io.ReadCloser, error)
}

// Statser is a Container that knows what it uses.
type Statser interface {
	Stats(ctx context.Context) (Stats, error)
}

// Stats of a container since its start, except for Memory, which is now's.
type Stats struct {
	At               time.Time
	CPU              time.Duration // of all cores together
	Memory, Limit    int64         // bytes; without the page cache that can be dropped
	Processes        int
	Received, Sent   int64 // bytes, of all networks
	ReadBytes, Wrote int64 // bytes, of block devices
}
