package docker_test

import (
	"context"
	"errors"
	"testing"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

// A machine that was stopped starts again with what was written in it, with
// other limits, and after its engine has been killed as well.
func TestRestart(t *testing.T) {
	cfg := docker.Config{InstanceID: testInstance + "-restart", Keep: true}
	e := open(t, cfg)
	c := start(t, e, engine.Spec{Name: "vm"})
	if _, err := c.(engine.Restarter).Restart(t.Context(), hardware.Limits{}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("of one that runs: %v", err)
	}
	if _, _, exit, err := run(t, c, engine.Exec{Command: sh("echo kept > /opt/file")}); err != nil || exit.Code != 0 {
		t.Fatal(exit, err)
	}
	if err := c.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	check := func(c engine.Container) engine.Container {
		t.Helper()
		again, err := c.(engine.Restarter).Restart(t.Context(), hardware.Limits{CPU: 0.5, Memory: 256 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if out, _, _, err := run(t, again, engine.Exec{Command: sh("cat /opt/file")}); err != nil || out != "kept\n" {
			t.Errorf("it has %q, %v", out, err)
		}
		stats, err := again.(engine.Statser).Stats(t.Context())
		if err != nil || stats.Limit != 256<<20 {
			t.Errorf("its memory is limited to %d, %v", stats.Limit, err)
		}
		if err := again.Stop(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		return again
	}
	check(c)
	// As after a kill: the engine that comes next finds the machine as it was.
	next, err := docker.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := next.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	adopted, err := next.Adopt(t.Context(), "vm")
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := adopted.Wait(t.Context()); err != nil || exit.Code != 0 {
		t.Errorf("Wait: %v, %v", exit, err)
	}
	if err := next.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := check(adopted).Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
