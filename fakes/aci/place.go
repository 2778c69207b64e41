package aci

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"lazulite.dev/emulator/engine"
)

// place is where of this host a container listens that is its processes; without a host, at all addresses.
type place struct {
	host string
	port int
}

func (a place) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// dialled is host:port at which it is reached.
func (a place) dialled() string {
	if a.host == "" {
		a.host = "127.0.0.1"
	}
	return a.String()
}

// overlaps says whether two can't be listened at at once.
func (a place) overlaps(b place) bool {
	return a.port == b.port && (a.host == b.host || a.host == "" || b.host == "")
}

// try listens there for a moment.
func (a place) try() error {
	l, err := net.Listen("tcp4", a.String())
	if err != nil {
		return err
	}
	return l.Close()
}

// takePorts books the places of a container's ports, where containers are
// processes of this host. What listens where it is told does at the group's own
// address, or if that has not the port, at another of the loopback's.
func (p *pod) takePorts(c *containerItem, moves bool) (moved map[int]place, err error) {
	f := p.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	moved = map[int]place{}
	for _, x := range c.Properties.Ports {
		if x.Protocol == udp {
			continue
		}
		at := place{port: x.Port}
		if !moves {
			if !f.vacant(p.id, at) {
				return nil, fmt.Errorf("%w: port %d of this host is taken, and containers are processes of this host here: run lazulite with Docker for groups that have one port", engine.ErrInvalid, x.Port)
			}
		} else if at, err = p.settle(x.Port); err != nil {
			return nil, err
		} else {
			moved[x.Port] = at
		}
		f.places[at] = p.id
		p.mu.Lock()
		if p.places == nil {
			p.places = map[int]place{}
		}
		p.places[x.Port] = at
		p.mu.Unlock()
	}
	return moved, nil
}

// settle finds a place for a port of what listens where it is told: the same as before a restart.
func (p *pod) settle(n int) (place, error) {
	p.mu.Lock()
	at, had := p.places[n]
	a := p.file.Order.Spec.IPAddress
	p.mu.Unlock()
	if had && p.fake.vacant(p.id, at) {
		return at, nil
	}
	if a != nil && isOwn(a.IP) && a.opens(n) {
		if at = (place{a.IP, n}); p.fake.vacant(p.id, at) && at.try() == nil {
			return at, nil
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return at, err
	}
	defer l.Close()
	return place{"127.0.0.1", l.Addr().(*net.TCPAddr).Port}, nil
}

// vacant says whether a pod may book a place. f.mu is held.
func (f *Fake) vacant(pod string, at place) bool {
	for has, holder := range f.places {
		if has.overlaps(at) && holder != pod {
			return false
		}
	}
	if f.places[at] == pod {
		return true
	}
	// One below 1024 that this user may not have is the container's own trouble.
	err := at.try()
	return err == nil || at.port < 1024 && errors.Is(err, syscall.EACCES)
}

func (f *Fake) releasePorts(pod string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at, holder := range f.places {
		if holder == pod {
			delete(f.places, at)
		}
	}
}
