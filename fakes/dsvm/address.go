package dsvm

import (
	"context"
	"errors"
	"maps"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
)

// listen opens the machine's server at its address. A new machine gets one
// first; from then on it stays.
func (m *machine) listen(ctx context.Context, open opener) (server, error) {
	f := m.snapshot()
	if f.Address != "" {
		return open(ctx, f.endpoint())
	}
	m.mu.Lock()
	avoid := m.kept
	m.mu.Unlock()
	draw := func(own bool) sshd.Place { return m.fake.candidate(own, avoid) }
	server, place, err := engine.Settle(ctx, !m.fake.cfg.HighPorts, draw, func(ctx context.Context, p sshd.Place) (server, error) { return open(ctx, p.String()) })
	if err != nil {
		return nil, err
	}
	if err := m.save(func(f *machineFile) { f.Address, f.Port = place.Address, place.Port }); err != nil {
		return nil, errors.Join(err, server.Close(ctx))
	}
	return server, nil
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
func (f *Fake) candidate(own bool, kept map[string]bool) sshd.Place {
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
		if place := sshd.DrawPlace(f.cfg.Rand, own); !taken[place.String()] {
			return place
		}
	}
}
