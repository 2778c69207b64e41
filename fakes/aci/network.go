package aci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"lazulite.dev/emulator/engine"
)

// Names and addresses that lead to groups.
const (
	// Domain is what all DNS labels are below, with their region between.
	Domain = "azurecontainer.io"
	// Addresses are all that groups get.
	Addresses = "198.18.0.0/15"
)

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
		if !p.answersTo(host) {
			continue
		}
		addr, err := p.addr(ctx, n, true)
		if err != nil {
			return nil, err
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("%w: port %d of %s: %w", ErrClosed, n, host, err)
		}
		return c, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoGroup, host)
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
	exposed := !outside
	if outside {
		for _, x := range spec.IPAddress.Ports {
			exposed = exposed || x.Port == n && x.Protocol != "UDP"
		}
	}
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
	moved, isMoved := p.ports[n]
	p.mu.Unlock()
	switch {
	case !exposed || outside && !serves:
		return "", fmt.Errorf("%w: port %d is not open", ErrClosed, n)
	case isMoved:
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(moved)), nil
	case holder == nil:
		return "", fmt.Errorf("%w: the group does not run", ErrClosed)
	}
	a, ok := holder.(engine.Addresser)
	if !ok {
		return "", fmt.Errorf("%w: the engine's containers have no addresses", ErrClosed)
	}
	return a.Addr(ctx, n)
}

// takePorts books a container's ports of this host, where containers are its
// processes. What listens where it is told gets others in place of taken ones.
func (p *pod) takePorts(c *containerItem, moves bool) (moved map[int]int, err error) {
	f := p.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	moved = map[int]int{}
	for _, x := range c.Properties.Ports {
		if x.Protocol == "UDP" {
			continue
		}
		to := x.Port
		if holder, taken := f.ports[to]; taken && holder != p.id || !taken && !free(to) {
			if !moves {
				return nil, fmt.Errorf("%w: port %d of this host is taken, and containers are processes of this host here: run lazulite with Docker for groups that have one port", engine.ErrInvalid, to)
			}
			if to, err = freePort(); err != nil {
				return nil, err
			}
		}
		f.ports[to] = p.id
		p.mu.Lock()
		if p.ports == nil {
			p.ports = map[int]int{}
		}
		if old, had := p.ports[x.Port]; had && moves {
			to = old // the same as before a restart
		}
		p.ports[x.Port] = to
		p.mu.Unlock()
		if moves || to != x.Port {
			moved[x.Port] = to
		}
	}
	return moved, nil
}

func (f *Fake) releasePorts(pod string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, holder := range f.ports {
		if holder == pod {
			delete(f.ports, n)
		}
	}
}

// free says whether a port of this host can be listened at. One below 1024 that
// may not be is the container's own trouble.
func free(n int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n)))
	if err != nil {
		return n < 1024 && strings.Contains(err.Error(), "permission denied")
	}
	_ = l.Close()
	return true
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// matchesServer says whether an image is of a registry.
func matchesServer(image, server string) bool {
	return strings.HasPrefix(strings.ToLower(image), strings.ToLower(strings.TrimSuffix(server, "/"))+"/")
}
