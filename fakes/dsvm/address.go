package dsvm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"syscall"

	"lazulite.dev/emulator/sshd"
)

// How many addresses a new machine tries.
const addressTries = 16

// listen opens the machine's server at its address. A new machine gets one
// first: port 22 of a loopback address of its own where the system lets us
// (root on Linux), else a high port of 127.0.0.1; from then on it stays.
func (m *machine) listen(ctx context.Context, open opener) (server, error) {
	f := m.snapshot()
	if f.Address != "" {
		return open(ctx, f.endpoint())
	}
	own := !m.fake.cfg.HighPorts
	m.mu.Lock()
	avoid := m.kept
	m.mu.Unlock()
	var last error
	for range addressTries {
		address, port := m.fake.candidate(own, avoid)
		server, err := open(ctx, machineFile{Address: address, Port: port}.endpoint())
		switch {
		case err == nil:
			if err := m.save(func(f *machineFile) { f.Address, f.Port = address, port }); err != nil {
				return nil, errors.Join(err, server.Close(ctx))
			}
			return server, nil
		case own && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EADDRNOTAVAIL)):
			own = false
		case errors.Is(err, syscall.EADDRINUSE):
			// Another try finds another; but a server of the host's own may have port 22 of them all.
			if last != nil {
				own = false
			}
		default:
			return nil, err
		}
		last = err
	}
	return nil, fmt.Errorf("dsvm: no free address after %d tries: %w", addressTries, last)
}

// opener opens a machine's server at an endpoint.
type opener func(ctx context.Context, endpoint string) (server, error)

// gateway opens the emulator's own SSH server.
func gateway(cfg sshd.Config) opener {
	return func(ctx context.Context, endpoint string) (server, error) {
		cfg := cfg
		cfg.Listen = endpoint
		s, err := sshd.New(cfg)
		if err != nil {
			return nil, err
		}
		if err := s.Open(ctx); err != nil {
			return nil, err
		}
		return s, nil
	}
}

// avoid keeps a machine without an address off places that are kept for others.
func (m *machine) avoid(places map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = places
}

// candidate draws an address that no machine of ours has, and that is not kept for another.
func (f *Fake) candidate(own bool, kept map[string]bool) (address string, port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := maps.Clone(kept)
	if taken == nil {
		taken = map[string]bool{}
	}
	for _, m := range f.machines {
		taken[m.snapshot().endpoint()] = true
	}
	for {
		if own {
			address, port = fmt.Sprintf("127.%d.%d.%d", 64+f.cfg.Rand.IntN(64), f.cfg.Rand.IntN(256), 1+f.cfg.Rand.IntN(254)), 22
		} else {
			// Below what systems give to outgoing connections.
			address, port = "127.0.0.1", 20000+f.cfg.Rand.IntN(12000)
		}
		if !taken[(machineFile{Address: address, Port: port}).endpoint()] {
			return address, port
		}
	}
}
