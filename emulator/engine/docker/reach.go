package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// hostName is the name by which containers of a daemon in a virtual machine
// of this host (Docker Desktop's) find this host's loopback.
const hostName = "host.docker.internal"

// entrance is where this host can be reached from the daemon's containers.
type entrance struct {
	bind  netip.Addr     // an address of ours to listen at; invalid: hostName leads to our loopback by itself
	peers []netip.Prefix // who may connect, besides the daemon's networks
}

// reach is what an Engine has opened for its containers.
type reach struct {
	mu       sync.Mutex
	entrance *entrance
	relays   map[string]*engine.Relay // by host address

	networks sync.Mutex
	subnets  []netip.Prefix
	asked    time.Time
}

// Reach implements engine.Reacher. Where the daemon is on this machine, a relay
// listens on the gateway of Docker's bridge, at the same port if it is free,
// and lets the daemon's own networks in and nobody else. It is there for
// containers of all networks.
func (e *Engine) Reach(ctx context.Context, hostAddr string) (string, error) {
	host, port, err := net.SplitHostPort(hostAddr)
	if err != nil {
		return "", fmt.Errorf("%w: %w", engine.ErrInvalid, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	r := &e.reach
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entrance == nil {
		if r.entrance, err = e.daemon.findEntrance(ctx); err != nil {
			return "", err
		}
	}
	if !r.entrance.bind.IsValid() {
		return net.JoinHostPort(hostName, port), nil
	}
	if open := r.relays[hostAddr]; open != nil {
		return open.Addr(), nil
	}
	cfg := engine.RelayConfig{Listen: net.JoinHostPort(r.entrance.bind.String(), port), Upstream: net.JoinHostPort(host, port), Admit: e.admits}
	relay, err := engine.OpenRelay(ctx, cfg)
	if err != nil {
		e.cfg.Logger.Warn("containers reach the host at another port than before", "address", cfg.Listen, "error", err)
		cfg.Listen = net.JoinHostPort(r.entrance.bind.String(), "0")
		if relay, err = engine.OpenRelay(ctx, cfg); err != nil {
			return "", fmt.Errorf("docker: nothing can listen for containers: %w", err)
		}
	}
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return "", errors.Join(engine.ErrStopped, relay.Close(ctx))
	}
	if r.relays == nil {
		r.relays = map[string]*engine.Relay{}
	}
	r.relays[hostAddr] = relay
	return relay.Addr(), nil
}

// needsHostName says whether containers have to be told where hostName is.
func (e *Engine) needsHostName() bool {
	e.reach.mu.Lock()
	defer e.reach.mu.Unlock()
	return e.reach.entrance != nil && !e.reach.entrance.bind.IsValid()
}

func (e *Engine) closeRelays(ctx context.Context) error {
	e.reach.mu.Lock()
	defer e.reach.mu.Unlock()
	var errs []error
	for addr, r := range e.reach.relays {
		errs = append(errs, r.Close(ctx))
		delete(e.reach.relays, addr)
	}
	return errors.Join(errs...)
}

// admits says whether an address is of a network of the daemon's, or this
// host's own: a container in the host's network comes with that.
func (e *Engine) admits(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return false
	}
	peer, ok := netip.AddrFromSlice(tcp.IP)
	peer = peer.Unmap()
	if !ok {
		return false
	}
	e.reach.mu.Lock()
	in := e.reach.entrance
	e.reach.mu.Unlock()
	if within(peer, in.peers) || within(peer, e.subnets(peer)) {
		return true
	}
	ours, err := ownAddresses()
	return err == nil && ours[peer]
}

func within(a netip.Addr, all []netip.Prefix) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// How soon the daemon is asked again for its networks because of a stranger.
const strangerPause = 50 * time.Millisecond

// subnets are those of the daemon's networks, asked for again if peer is of none that was known.
func (e *Engine) subnets(peer netip.Addr) []netip.Prefix {
	r := &e.reach
	r.networks.Lock()
	defer r.networks.Unlock()
	if within(peer, r.subnets) || time.Since(r.asked) < strangerPause {
		return r.subnets
	}
	ctx, cancel := context.WithTimeout(e.ctx, callTimeout)
	defer cancel()
	found, err := e.daemon.bridges(ctx)
	if err != nil {
		e.cfg.Logger.Warn("asking who may reach the host", "error", err)
		return r.subnets
	}
	r.subnets, r.asked = nil, time.Now()
	for _, b := range found {
		r.subnets = append(r.subnets, b.subnet)
	}
	return r.subnets
}

// bridge is a network of the daemon's machine.
type bridge struct {
	name    string
	subnet  netip.Prefix
	gateway netip.Addr
}

// bridges are the daemon's IPv4 networks, its default one first.
func (d *daemon) bridges(ctx context.Context) ([]bridge, error) {
	list, err := d.api.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("driver", "bridge")})
	if err != nil {
		return nil, wrong("listing networks", err)
	}
	var out []bridge
	for _, n := range list.Items {
		for _, c := range n.IPAM.Config {
			if !c.Subnet.IsValid() || !c.Subnet.Addr().Is4() {
				continue
			}
			b := bridge{n.Name, c.Subnet.Masked(), c.Gateway}
			if !b.gateway.IsValid() {
				// A daemon may leave it out: it is the subnet's first address then.
				b.gateway = b.subnet.Addr().Next()
			}
			if n.Name == "bridge" {
				out = append([]bridge{b}, out...)
			} else {
				out = append(out, b)
			}
		}
	}
	return out, nil
}

// ownAddresses are this host's.
func ownAddresses() (map[netip.Addr]bool, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]bool{}
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out[ip.Unmap()] = true
			}
		}
	}
	return out, nil
}

// findEntrance finds out where containers can reach this host.
func (d *daemon) findEntrance(ctx context.Context) (*entrance, error) {
	if remote, in, err := d.remoteEntrance(ctx); remote || err != nil {
		return in, err
	}
	found, err := d.bridges(ctx)
	if err != nil {
		return nil, err
	}
	ours, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		if ours[b.gateway] {
			return &entrance{bind: b.gateway}, nil // the daemon and we share this machine's network
		}
	}
	for _, b := range found {
		for a := range ours {
			if b.subnet.Contains(a) {
				return &entrance{bind: a}, nil // we run in a container of that daemon
			}
		}
	}
	return &entrance{}, nil
}

// remoteEntrance is for a daemon of another machine: the address of ours from
// which we speak to it. Its containers come under that machine's address.
func (d *daemon) remoteEntrance(ctx context.Context) (remote bool, in *entrance, err error) {
	u, err := url.Parse(d.api.DaemonHost())
	if err != nil || u.Scheme == "unix" || u.Scheme == "npipe" {
		return false, nil, err
	}
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); strings.EqualFold(host, "localhost") || err == nil && a.IsLoopback() {
		return false, nil, nil
	}
	// No packet is sent: the system is only asked for the way.
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(host, "9"))
	if err != nil {
		return true, nil, fmt.Errorf("docker: the way to the daemon's machine: %w", err)
	}
	defer c.Close()
	near, far := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), c.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return true, &entrance{bind: near, peers: []netip.Prefix{netip.PrefixFrom(far, far.BitLen())}}, nil
}
