package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/enginetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ENGINE_TEST_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	code := m.Run()
	// Every goroutine belongs to an engine that a test has closed.
	for deadline := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

func TestContract(t *testing.T) {
	t.Run("process", func(t *testing.T) {
		enginetest.Test(t, func(t *testing.T) engine.Engine { return newProcess(t, t.TempDir()) })
	})
	t.Run("simulated", func(t *testing.T) {
		enginetest.Test(t, func(t *testing.T) engine.Engine { return engine.NewSimulated(engine.Config{}) })
	})
}

func newProcess(t *testing.T, dir string) *engine.Process {
	t.Helper()
	p, err := engine.NewProcess(engine.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// Two hours of a container's life take no wall time.
func TestSimulatedTime(t *testing.T) {
	start := time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)
	clk := clock.NewManual(start)
	e := engine.NewSimulated(engine.Config{Clock: clk})
	c, err := e.Start(t.Context(), engine.Spec{Name: "job", Command: []string{"train"}, Labels: map[string]string{
		"lazulite.sim.duration": "2h", "lazulite.sim.exit": "5", "lazulite.sim.output": "epoch 1\n",
	}})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	clk.Advance(2*time.Hour - 1)
	if x, err := c.Wait(over); !errors.Is(err, context.Canceled) {
		t.Fatalf("a nanosecond early: %+v, %v", x, err)
	}
	clk.Advance(1)
	x, err := c.Wait(t.Context())
	if err != nil || x.Code != 5 || !x.At.Equal(start.Add(2*time.Hour)) {
		t.Errorf("%+v, %v", x, err)
	}

	c, err = e.Start(t.Context(), engine.Spec{Name: "big", Command: []string{"train"}, Env: []string{"LAZULITE_SIM_OOM=true"}})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := c.Wait(t.Context()); err != nil || !x.OOM || x.Code != 137 || x.Signal != "KILL" {
		t.Errorf("out of memory: %+v, %v", x, err)
	}
	for _, bad := range []string{"DURATION=soon", "DURATION=-1s", "EXIT=256", "EXIT=x", "SIGNAL=NONE", "OOM=perhaps", "TRAP=KILL"} {
		if _, err := e.Start(t.Context(), engine.Spec{Name: "bad", Command: []string{"x"}, Env: []string{"LAZULITE_SIM_" + bad}}); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
