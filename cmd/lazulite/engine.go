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
// (processes of this host). auto decides when the first machine is started, so
// that the start looks for no daemon: Docker where its socket answers and the
// base image has been built, else processes of this host; the log says which
// and why. A data folder that had containers opens Docker at once, to see to
// what an earlier emulator left.
func (m *Main) pickEngine(ctx context.Context, f upFlags, log *slog.Logger, dir string) (engine.Engine, error) {
	process := func() (engine.Engine, error) {
		e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "process"), Logger: log})
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	switch f.engine {
	case "process":
		return process()
	case "simulated":
		return engine.NewSimulated(engine.Config{}), nil
	case "auto", "", "docker":
	default:
		return nil, fmt.Errorf("--engine %q: it is auto, process, docker or simulated", f.engine)
	}
	cfg, err := m.dockerConfig(f.dockerHost, f.imageMap)
	if err != nil {
		return nil, err
	}
	cfg.Logger = log
	cfg.Dir = filepath.Join(dir, "docker")
	cfg.Keep = true // the emulator adopts its machines, and sweeps the rest
	// The demo's environment is made there, and has to be on its machine too.
	if err := os.MkdirAll(m.cacheDir(), 0o700); err != nil {
		return nil, err
	}
	cfg.Shared = []string{m.cacheDir()}
	containers := func(ctx context.Context) (engine.Engine, error) {
		e, err := docker.New(ctx, cfg)
		if errors.Is(err, engine.ErrNoEngine) {
			return nil, fmt.Errorf("%w\nstart Docker, name another by DOCKER_HOST or --docker-host, or use --engine process", err)
		}
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	if f.engine == "docker" {
		return containers(ctx)
	}
	lazy := engine.NewLazy(func(ctx context.Context) (engine.Engine, error) {
		if no := docker.Probe(ctx, cfg); no != nil {
			log.Info("machines are processes of this host", "reason", no)
			return process()
		}
		log.Info("machines are containers, as Docker answers and has the base image")
		return containers(ctx)
	})
	for _, engine := range []string{"docker", "process"} {
		if _, err := os.Stat(filepath.Join(dir, engine)); err == nil {
			_, err := lazy.Engine(ctx)
			return lazy, err
		}
	}
	return lazy, nil
}

// cacheDir keeps what can be made again.
func (m *Main) cacheDir() string {
	cache := m.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(m.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "lazulite")
}

// standIn says which image stands for which, for runs in Docker.
func (m *Main) standIn(table string) (func(string) (string, bool), error) {
	cfg, err := m.dockerConfig("", table)
	if err != nil {
		return nil, err
	}
	if cfg.Table == nil {
		cfg.Table = docker.DefaultTable()
	}
	return cfg.Table.Lookup, nil
}
