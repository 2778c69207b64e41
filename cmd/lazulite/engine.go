package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// pickEngine turns --engine into an engine, nil for the emulator's own
// (processes of this host), and the environment that its machines have of this
// host. auto takes Docker where its socket answers and the base image has been
// built; why says what it took and for what reason.
func (m *Main) pickEngine(ctx context.Context, f upFlags, log *slog.Logger) (eng engine.Engine, env []string, why string, err error) {
	switch f.engine {
	case "process":
		return nil, m.machineEnv(), "", nil
	case "simulated":
		return engine.NewSimulated(engine.Config{}), nil, "", nil
	case "auto", "", "docker":
	default:
		return nil, nil, "", fmt.Errorf("--engine %q: it is auto, process, docker or simulated", f.engine)
	}
	cfg, err := m.dockerConfig(f.dockerHost, f.imageMap)
	if err != nil {
		return nil, nil, "", err
	}
	cfg.Logger = log
	if !f.ephemeral {
		cfg.Dir = filepath.Join(m.dir(), "docker")
	}
	if f.engine != "docker" {
		if no := docker.Probe(ctx, cfg); no != nil {
			log.Info("machines are processes of this host", "reason", no)
			return nil, m.machineEnv(), " of this host, as Docker is not to be had", nil
		}
		why = ", as it answers and has the base image"
	}
	// The demo's environment is made there, and has to be on its machine too.
	if err := os.MkdirAll(m.cacheDir(), 0o700); err != nil {
		return nil, nil, "", err
	}
	cfg.Shared = []string{m.cacheDir()}
	d, err := docker.New(ctx, cfg)
	if errors.Is(err, engine.ErrNoEngine) {
		err = fmt.Errorf("%w (start Docker, name another by DOCKER_HOST or --docker-host, or use --engine process)", err)
	}
	if err != nil {
		return nil, nil, "", err
	}
	return d, nil, why, nil
}

// cacheDir keeps what can be made again.
func (m *Main) cacheDir() string {
	cache := m.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(m.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "lazulite")
}
