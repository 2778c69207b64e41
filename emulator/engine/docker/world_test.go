package docker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/engine/enginetest"
)

const testInstance = "lazulite-test"

func TestMain(m *testing.M) {
	if os.Getenv("DOCKER_TEST_VICTIM") != "" {
		victim()
		return
	}
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// open makes an engine, or skips the test with the reason why there can be none.
func open(t *testing.T, cfg docker.Config) *docker.Engine {
	t.Helper()
	if cfg.InstanceID == "" {
		cfg.InstanceID = testInstance + "-" + strings.ReplaceAll(t.Name(), "/", "-")
	}
	if cfg.Host == "" {
		cfg.Host = os.Getenv("DOCKER_HOST")
	}
	e, err := docker.New(t.Context(), cfg)
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=dev.lazulite.instance="+cfg.InstanceID).Output(); err == nil && len(out) > 0 && !cfg.Keep {
			t.Errorf("containers are left: %s", out)
		}
	})
	if has, err := e.Images().HasBase(t.Context()); err != nil {
		t.Fatal(err)
	} else if !has {
		t.Skipf("there is no %s: run lazulite images build", docker.BaseImage)
	}
	return e
}

func start(t *testing.T, e *docker.Engine, spec engine.Spec) engine.Container {
	t.Helper()
	c, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("Start %s: %v", spec.Name, err)
	}
	return c
}

// run executes a shell command and gives both its outputs.
func run(t *testing.T, c engine.Container, x engine.Exec) (stdout, stderr string, exit engine.Exit, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	x.Stdout, x.Stderr = &out, &errs
	exit, err = c.(engine.Execer).Exec(ctx, x)
	return out.String(), errs.String(), exit, err
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestContract(t *testing.T) {
	enginetest.Test(t, func(t *testing.T) engine.Engine { return open(t, docker.Config{}) })
}
