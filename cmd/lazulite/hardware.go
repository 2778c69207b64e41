package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/hardware"
)

// hardware turns --gpus into this machine's account. A size with GPUs starts
// with fewer where there are none to give, and its machine says so; none are made up unless that is asked for.
func (m *Main) hardware(ctx context.Context, gpus string) (*hardware.Host, error) {
	cfg := hardware.Config{WithoutGPUs: true}
	kind, devices, _ := strings.Cut(gpus, "=")
	switch kind {
	case "", "auto":
	case "none":
		cfg.GPUs = func() ([]hardware.GPU, error) { return nil, nil }
	case "simulated":
		list, err := hardware.ParseDevices(devices)
		if err != nil {
			return nil, fmt.Errorf("--gpus %s: %w", gpus, err)
		}
		folder, err := m.stub(ctx)
		if err != nil {
			return nil, fmt.Errorf("--gpus %s: %w", gpus, err)
		}
		cfg.Simulation = &hardware.Simulation{Devices: list, Folder: folder, Dir: filepath.Join(m.cacheDir(), "gpu-tables")}
		return hardware.New(cfg), nil
	default:
		return nil, fmt.Errorf("--gpus %q: it is auto, none, simulated or a number of models, as in simulated=K80:4,V100:1", gpus)
	}
	if devices != "" {
		return nil, fmt.Errorf("--gpus %q: only simulated GPUs are counted", gpus)
	}
	return hardware.New(cfg), nil
}

// stub is the folder of the library and the program that show simulated GPUs, built if it isn't there.
func (m *Main) stub(ctx context.Context) (string, error) {
	return hardware.BuildStub(ctx, m.cacheDir())
}
