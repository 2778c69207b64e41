package docker_test

import (
	"errors"
	"strings"
	"testing"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

// A container shows the simulated GPUs that it was given, and keeps them when it starts again.
func TestSimulatedGPUs(t *testing.T) {
	folder, err := hardware.BuildStub(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	host := hardware.New(hardware.Config{Simulation: &hardware.Simulation{Folder: folder, Dir: t.TempDir()}})
	size, _ := hardware.Size("Standard_NC12")
	e := open(t, docker.Config{})
	limits, release, err := host.Acquire(size)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	limits.CPU, limits.Memory = 0, 0
	c := start(t, e, engine.Spec{Name: "gpus", Limits: limits})
	// What any NVML client does first: find the library by its name alone.
	const count = `python3 -c "import ctypes
n = ctypes.CDLL('libnvidia-ml.so.1')
x = ctypes.c_uint()
assert n.nvmlInit_v2() == 0 and n.nvmlDeviceGetCount_v2(ctypes.byref(x)) == 0
print(x.value)"`
	check := func(c engine.Container) {
		t.Helper()
		out, errs, exit, err := run(t, c, engine.Exec{Command: sh("env -i nvidia-smi -L && env -i nvidia-smi --query-gpu=memory.total --format=csv,noheader -i 0 && " + count)})
		want := "GPU 0: Tesla K80 (UUID: " + limits.GPUs[0] + ")\nGPU 1: Tesla K80 (UUID: " + limits.GPUs[1] + ")\n11441 MiB\n2\n"
		if err != nil || exit.Code != 0 || out != want {
			t.Fatalf("%d %v: %s%s", exit.Code, err, out, errs)
		}
	}
	check(c)
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	other, give, err := host.Acquire(size)
	if err != nil {
		t.Fatal(err)
	}
	defer give()
	if _, err := c.(engine.Restarter).Restart(t.Context(), other); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("with other GPUs: %v", err)
	}
	again, err := c.(engine.Restarter).Restart(t.Context(), limits)
	if err != nil {
		t.Fatal(err)
	}
	check(again)

	plain := start(t, e, engine.Spec{Name: "plain"})
	if out, _, exit, err := run(t, plain, engine.Exec{Command: sh("nvidia-smi")}); err != nil || exit.Code == 0 || strings.Contains(out, "Tesla") {
		t.Errorf("a container without: %d %v %s", exit.Code, err, out)
	}
}
