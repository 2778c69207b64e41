// Package guest is the Docker daemon of a machine that is itself a container:
// the host's daemon behind a filter, at a socket that is the machine's alone.
//
// What `docker` in the machine makes is the machine's: it carries its labels,
// is not seen by other machines, and sees nothing of theirs. Its containers are
// in the machine's network, so that localhost is one and the same inside and
// outside, as on the host network of a real machine; they get no more memory,
// CPUs and GPUs than the machine has; and of files they can be given what lies
// on the machine's disk, at whatever path the machine has it. What would lead
// out of the machine (privileges, devices, the host's folders and namespaces,
// another machine's containers) is refused: a HostConfig is let through by the
// list of what is known to be harmless. It keeps machines out of each other's
// way, and is no wall against an attacker: a link that is put in a file's place
// in the moment between the look at it and its mounting is followed. Images are the daemon's, seen by all
// its machines; each removes only those that it built itself.
//
// It speaks Docker's API (1.24 and later) as JSON and streams, of which it
// changes what it must, so that clients and daemons of any age get along.
// Networks, plugins and swarms are not offered, nor is BuildKit: clients fall
// back to the classic builder. Credentials pass through, and are never logged.
package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config of a Guest. All but Logger and the limits is required.
type Config struct {
	// Dial connects to the daemon.
	Dial func(ctx context.Context) (net.Conn, error)
	// Socket is the file to listen at. Who can open it has the machine's Docker.
	Socket string
	// Machine is the id of the container that the machine is.
	Machine string
	// Hostname is the machine's own.
	Hostname string
	// Prefix of the names of its containers and volumes on the daemon, which machines share.
	Prefix string
	// Owner is the label, and its value, by which the machine's are known.
	Owner [2]string
	// Labels besides, that its containers and volumes get. Those that are empty they can't have.
	Labels map[string]string
	// Mounts are the folders of the host that the machine has.
	Mounts []Mount
	// Limits of each container; zero: none. GPUs are the daemon's names for the machine's.
	Memory, NanoCPUs int64
	GPUs             []string
	Logger           *slog.Logger // nil: silent
}

// Mount is a folder that the machine has of the host.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Guest serves one machine.
type Guest struct {
	cfg      Config
	daemon   *http.Transport
	server   *http.Server
	listener net.Listener
	serving  sync.WaitGroup
}

// How long a call of the filter's own to the daemon may take.
const callTimeout = time.Minute

// Open listens, in the place of what an earlier Guest of the machine left.
func Open(cfg Config) (*Guest, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guest{cfg: cfg}
	g.daemon = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return cfg.Dial(ctx) }, DisableCompression: true}
	var err error
	if g.listener, err = listen(cfg.Socket); err != nil {
		return nil, fmt.Errorf("guest: a machine's Docker: %w", err)
	}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: callTimeout, ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)}
	g.serving.Go(func() { _ = g.server.Serve(g.listener) })
	return g, nil
}

// maxSocketPath is what a socket's address has room for, on the smallest of systems.
const maxSocketPath = 100

func listen(file string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path := file
	if len(path) > maxSocketPath {
		// A link that is short enough leads there.
		dir, err := os.MkdirTemp("", "lazulite-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		link := filepath.Join(dir, "d")
		if err := os.Symlink(filepath.Dir(file), link); err != nil {
			return nil, err
		}
		path = filepath.Join(link, filepath.Base(file))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by a name that may be gone
	// Every user of the machine may use its Docker, as on a Data Science VM; on
	// the host the folder above keeps others out.
	if err := os.Chmod(file, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close cuts what is under way, and removes the socket.
func (g *Guest) Close(context.Context) error {
	err := g.server.Close()
	g.serving.Wait()
	g.daemon.CloseIdleConnections()
	if gone := os.Remove(g.cfg.Socket); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// refusal is an answer of the filter's own.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, format string, v ...any) error {
	return &refusal{status, fmt.Sprintf(format, v...)}
}
