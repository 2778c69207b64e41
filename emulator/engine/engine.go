// Package engine is the seam between lazulite and what really runs: a
// container of a node, of a container group, or the machine behind a VM.
package engine

import (
	"context"
	"io"
	"os"
	"time"

	"lazulite.dev/emulator/hardware"
)

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
	Image   string
	Command []string
	Env     []string // NAME=value; the process engine adds nothing of the host's but PATH
	Dir     string
	Mounts  []Mount
	Limits  hardware.Limits
	Labels  map[string]string
}

// Mount of a host folder.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Container is one thing started.
type Container interface {
	ID() string
	// Wait returns when the process has ended, with what the kernel said of it.
	Wait(ctx context.Context) (Exit, error)
	// Logs writes what it printed so far, and goes on until its end if follow is set.
	Logs(ctx context.Context, w io.Writer, follow bool) error
	// Stop sends SIGTERM to all its processes, and SIGKILL after grace.
	Stop(ctx context.Context, grace time.Duration) error
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

// Exec is one command in a container. It ends with its context.
type Exec struct {
	Command []string
	Env     []string
	Dir     string
	User    string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer // unused with a TTY
	TTY     *TTY
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
