package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	containertypes "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"lazulite.dev/emulator/engine"
)

// daemon is a connection to one Docker daemon.
type daemon struct {
	provider *testcontainers.DockerProvider
	api      client.APIClient

	mu        sync.Mutex
	published *published
}

// published is where ports are published: the daemon's side and ours.
type published struct {
	bind netip.Addr
	host string
}

// How long connect waits for a daemon's first answer.
const connectTimeout = 5 * time.Second

// How long Probe waits for a daemon's answer.
const probeTimeout = 2 * time.Second

func madeUpID() string { return rand.Text() }

// libraryMu guards what the library makes global: its configuration, read once
// from the environment of the process, and its logger.
var libraryMu sync.Mutex

// connect finds the daemon and asks it whether it is there.
func connect(ctx context.Context, host string, log *slog.Logger) (*daemon, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if host != "" {
		// Asked first by a client of our own: the library would take its time.
		if err := ping(ctx, host); err != nil {
			return nil, err
		}
	}
	type result struct {
		provider *testcontainers.DockerProvider
		err      error
	}
	found := make(chan result, 1)
	go func() {
		p, err := newProvider(host, log)
		found <- result{p, err}
	}()
	var r result
	select {
	case r = <-found:
	case <-ctx.Done():
		r.err = ctx.Err()
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: no Docker daemon answers%s: %w", engine.ErrNoEngine, at(host), r.err)
	}
	d := &daemon{provider: r.provider, api: r.provider.Client()}
	if host != "" && d.api.DaemonHost() != host {
		// The library has one daemon for the process, found first; this engine has its own.
		api, err := newClient(host)
		if err != nil {
			return nil, err
		}
		d.api = api
		d.provider.SetClient(api)
	}
	return d, nil
}

func at(host string) string {
	if host == "" {
		return ""
	}
	return " at " + host
}

func newClient(host string) (*client.Client, error) {
	if u, err := url.Parse(host); err != nil || u.Scheme != "unix" && u.Scheme != "tcp" && u.Scheme != "npipe" {
		return nil, fmt.Errorf("%w: a Docker host is unix:// or tcp://, not %q (of one behind ssh, forward the socket: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST)", engine.ErrInvalid, host)
	}
	return client.New(client.FromEnv, client.WithHost(host))
}

func ping(ctx context.Context, host string) error {
	c, err := newClient(host)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
		return fmt.Errorf("%w: no Docker daemon answers%s: %w", engine.ErrNoEngine, at(host), err)
	}
	return nil
}

// newProvider makes the library's provider without its reaper. The library
// takes that from the environment alone, the first time that it is used.
func newProvider(host string, log *slog.Logger) (*testcontainers.DockerProvider, error) {
	libraryMu.Lock()
	defer libraryMu.Unlock()
	tclog.SetDefault(libraryLog{log})
	set := map[string]string{"TESTCONTAINERS_RYUK_DISABLED": "true"}
	if host != "" {
		set["DOCKER_HOST"] = host
	}
	for name, value := range set {
		before, was := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
		defer func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
	}
	p, err := testcontainers.NewDockerProvider(testcontainers.Generic2DockerOptions(testcontainers.WithLogger(libraryLog{log}))...)
	if err != nil {
		return nil, err
	}
	if !p.Config().Config.RyukDisabled {
		return nil, errors.New("docker: the library was configured before, with its reaper")
	}
	return p, nil
}

// libraryLog is the library's logger: what it says is of use to its developers.
type libraryLog struct{ log *slog.Logger }

// Printf implements the library's Logger.
func (l libraryLog) Printf(format string, v ...any) {
	l.log.Debug("testcontainers", "message", strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (d *daemon) close() error { return d.api.Close() }

// list gives the containers of an instance, whatever their state.
func (d *daemon) list(ctx context.Context, instance string) ([]containertypes.Summary, error) {
	r, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelInstance+"="+instance)})
	if err != nil {
		return nil, wrong("listing containers", err)
	}
	return r.Items, nil
}

// remove kills and removes a container; one that isn't there is removed.
func (d *daemon) remove(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	for {
		_, err := d.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err):
			return wrong("removing a container", err)
		}
		// Somebody else removes it: done when it is gone.
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		if _, err := d.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); errdefs.IsNotFound(err) {
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishes says where to bind a published port, and where it is found.
//
// A daemon on this machine publishes on loopback. The library guesses from
// /.dockerenv whether it is: here the question is put to the network. Where the
// gateway of Docker's bridge is an address of ours, daemon and we share it.
func (d *daemon) publishes(ctx context.Context) (published, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.published != nil {
		return *d.published, nil
	}
	p, err := d.findPublished(ctx)
	if err != nil {
		return published{}, err
	}
	d.published = &p
	return p, nil
}

func (d *daemon) findPublished(ctx context.Context) (published, error) {
	loopback := published{netip.AddrFrom4([4]byte{127, 0, 0, 1}), "127.0.0.1"}
	u, err := url.Parse(d.api.DaemonHost())
	if err != nil {
		return published{}, err
	}
	if u.Scheme == "tcp" || u.Scheme == "http" || u.Scheme == "https" {
		host := u.Hostname()
		if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && a.IsLoopback() {
			return loopback, nil
		}
		return published{netip.IPv4Unspecified(), host}, nil
	}
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return loopback, nil
	}
	found, err := d.bridges(ctx)
	if err != nil {
		return published{}, err
	}
	ours, err := ownAddresses()
	if err != nil {
		return published{}, err
	}
	for _, b := range found {
		if ours[b.gateway] {
			return loopback, nil
		}
	}
	if len(found) > 0 {
		// The daemon's socket was mounted into the container that we run in.
		return published{found[0].gateway, found[0].gateway.String()}, nil
	}
	return published{}, errors.New("docker: the bridge network has no address, so published ports can't be reached")
}

// wrong makes a daemon's error ours.
func wrong(doing string, err error) error {
	kind := error(nil)
	switch {
	case client.IsErrConnectionFailed(err):
		kind = engine.ErrNoEngine
	case errdefs.IsInvalidArgument(err):
		kind = engine.ErrInvalid
	case errdefs.IsNotFound(err):
		kind = engine.ErrGone
	}
	if kind != nil {
		return fmt.Errorf("%w: %s: %w", kind, doing, err)
	}
	return fmt.Errorf("docker: %s: %w", doing, err)
}

// Probe says whether a daemon on this machine answers and has the base image,
// and if not, why. It is quick: it opens one socket, without the library.
func Probe(ctx context.Context, cfg Config) error {
	host := cfg.Host
	if host == "" {
		host = client.DefaultDockerHost
	}
	path, local := strings.CutPrefix(host, "unix://")
	if !local {
		return fmt.Errorf("%w: %s is not a socket of this machine", engine.ErrNoEngine, host)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNoEngine, err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	api, err := newClient(host)
	if err != nil {
		return err
	}
	defer api.Close()
	_, err = api.ImageInspect(ctx, BaseImage)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %s has not been built (lazulite images build)", engine.ErrNoImage, BaseImage)
	} else if err != nil {
		return wrong("asking for the base image", err)
	}
	return nil
}
