package aci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/engine"
)

// Names and addresses that lead to groups.
const (
	// Domain is what all DNS labels are below, with their region between.
	Domain = "azurecontainer.io"
	// Addresses are this host's own, at which whoever is on it reaches a group's ports.
	Addresses = "127.128.0.0/10"
	// Unrouted are addresses that lead to groups by way of Dial alone: what a group
	// gets where the host does not let it listen at its ports.
	Unrouted = "198.18.0.0/15"
)

// block is Addresses.
const block engine.LoopbackBlock = 128

// udp is the protocol that no port is reached by.
const udp = "UDP"

// Errors of Dial.
var (
	ErrNoGroup = errors.New("aci: no container group has that name or address")
	ErrClosed  = errors.New("aci: nothing listens there")
)

// Dial opens a connection to a port of the group that has a name or an address.
func (f *Fake) Dial(ctx context.Context, host, port string) (net.Conn, error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	for _, p := range f.all() {
		if p.answersTo(host) {
			return p.connect(ctx, n)
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNoGroup, host)
}

// connect opens a connection to a port of the group's address.
func (p *pod) connect(ctx context.Context, n int) (net.Conn, error) {
	addr, err := p.addr(ctx, n, true)
	if err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: port %d of %s: %w", ErrClosed, n, p.file.Order.Name, err)
	}
	return c, nil
}

// opens says whether an address has a port.
func (a *ipAddress) opens(n int) bool {
	return slices.ContainsFunc(a.Ports, func(x port) bool { return x.Port == n && x.Protocol != udp })
}

func (p *pod) answersTo(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file.Order.Spec == nil || p.file.Order.Spec.IPAddress == nil {
		return false
	}
	a := p.file.Order.Spec.IPAddress
	return a.IP == host || a.FQDN != "" && strings.EqualFold(a.FQDN, host)
}

// addr is where this host reaches a port of the group. From outside only those
// of its address are there, and of containers that are ready.
func (p *pod) addr(ctx context.Context, n int, outside bool) (string, error) {
	p.mu.Lock()
	spec := p.file.Order.Spec
	exposed := !outside || spec.IPAddress.opens(n)
	holder := p.sandbox
	serves := false
	for _, m := range p.members {
		for _, x := range m.item.Properties.Ports {
			if x.Port == n && !m.initial && (!outside || m.file.Ready) {
				serves = true
			}
		}
		if !m.initial && holder == nil && m.container != nil {
			holder = m.container
		}
	}
	at, isMoved := p.places[n]
	p.mu.Unlock()
	switch {
	case !exposed || outside && !serves:
		return "", fmt.Errorf("%w: port %d is not open", ErrClosed, n)
	case isMoved:
		return at.dialled(), nil
	case holder == nil:
		return "", fmt.Errorf("%w: the group does not run", ErrClosed)
	}
	a, ok := holder.(engine.Addresser)
	if !ok {
		return "", fmt.Errorf("%w: the engine's containers have no addresses", ErrClosed)
	}
	// The engine's answer is the same for as long as the container runs.
	key := reached{holder.ID(), n}
	p.mu.Lock()
	addr := p.reached[key]
	p.mu.Unlock()
	if addr != "" {
		return addr, nil
	}
	addr, err := a.Addr(ctx, n)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reached == nil {
		p.reached = map[reached]string{}
	}
	p.reached[key] = addr
	return addr, nil
}

// reached is a port of one of the engine's containers.
type reached struct {
	container string
	port      int
}

// newAddress is one that no group has: of this host, if its ports can be listened
// at there, else one that leads to the group by way of Dial alone.
func (f *Fake) newAddress(ctx context.Context, taken map[string]bool, ports []port) (string, error) {
	draw := func(own bool) (a string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for a == "" || taken[a] {
			if own {
				a = engine.DrawLoopback(f.cfg.Rand, block)
			} else {
				n := f.cfg.Rand.Uint32()
				a = fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&0xff, 1+n%254)
			}
		}
		return a
	}
	_, address, err := engine.Settle(ctx, true, draw, func(_ context.Context, a string) (none struct{}, err error) {
		for _, x := range ports {
			if isOwn(a) && x.Protocol != udp && err == nil {
				err = place{a, x.Port}.try()
			}
		}
		return none, err
	})
	return address, err
}

// isOwn says whether an address is of this host.
func isOwn(address string) bool { return strings.HasPrefix(address, "127.") }

// expose listens at the group's address, where that is of this host. Processes of
// the host listen there by themselves.
func (p *pod) expose(ctx context.Context) error {
	e, err := p.fake.engine(ctx)
	a := p.file.Order.Spec.IPAddress
	if err != nil || onHost(e) || a == nil || !isOwn(a.IP) {
		return err
	}
	for _, x := range a.Ports {
		if x.Protocol == udp {
			continue
		}
		r, err := engine.OpenRelay(p.fake.life, engine.RelayConfig{Listen: net.JoinHostPort(a.IP, strconv.Itoa(x.Port)), Dial: func(ctx context.Context) (net.Conn, error) { return p.connect(ctx, x.Port) }})
		if err != nil {
			p.fake.cfg.Logger.Warn("a container group's port is reached by the proxy alone", "group", p.file.Order.Name, "address", a.IP, "port", x.Port, "error", err)
			continue
		}
		p.relays = append(p.relays, r)
	}
	return nil
}

// conceal ends what expose began.
func (p *pod) conceal(ctx context.Context) (err error) {
	for _, r := range p.relays {
		err = errors.Join(err, r.Close(ctx))
	}
	p.relays = nil
	return err
}

// matchesServer says whether an image is of a registry.
func matchesServer(image, server string) bool {
	return strings.HasPrefix(strings.ToLower(image), strings.ToLower(strings.TrimSuffix(server, "/"))+"/")
}
