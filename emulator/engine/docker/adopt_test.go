package docker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// victim is the emulator that is killed: machines, a job and what runs in them.
func victim() {
	ctx := context.Background()
	e, err := docker.New(ctx, docker.Config{InstanceID: os.Getenv("DOCKER_TEST_VICTIM"), Host: os.Getenv("DOCKER_HOST")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		c, err := e.Start(ctx, engine.Spec{Name: fmt.Sprintf("vm-%d", i), Dir: "/srv"})
		if err == nil {
			_, err = c.(engine.Execer).Exec(ctx, engine.Exec{Command: sh(fmt.Sprintf("echo %d >here; setsid sleep 777 </dev/null >/dev/null 2>&1 &", i))})
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	if _, err := e.Start(ctx, engine.Spec{Name: "job", Command: sh("echo begun; sleep 5; echo done; exit 6")}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	select {}
}

// An emulator is killed; the next finds its machines with their processes.
func TestAdopt(t *testing.T) {
	const instance = testInstance + "-victim"
	open(t, docker.Config{InstanceID: instance}).Close(t.Context())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DOCKER_TEST_VICTIM="+instance)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}

	e := open(t, docker.Config{InstanceID: instance, Keep: true})
	found, err := e.Found(t.Context())
	if err != nil || !slices.Equal(found, []string{"job", "vm-0", "vm-1", "vm-2"}) {
		t.Fatalf("found %q, %v", found, err)
	}
	c, err := e.Adopt(t.Context(), "vm-1")
	if err != nil {
		t.Fatal(err)
	}
	if out, _, x, err := run(t, c, engine.Exec{Command: []string{"cat", "here"}}); err != nil || x.Code != 0 || out != "1\n" {
		t.Errorf("its file: %q, %+v, %v", out, x, err)
	}
	if n := alive(t, c, "sleep 777"); n != 1 {
		t.Errorf("its process: %d", n)
	}
	if _, err := e.Start(t.Context(), engine.Spec{Name: "vm-1"}); !errors.Is(err, engine.ErrExists) {
		t.Errorf("Start of what was adopted: %v", err)
	}
	if _, err := e.Adopt(t.Context(), "vm-9"); !errors.Is(err, engine.ErrGone) {
		t.Errorf("Adopt of nothing: %v", err)
	}
	job, err := e.Adopt(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if x, err := job.Wait(t.Context()); err != nil || x.Code != 6 {
		t.Errorf("the job: %+v, %v", x, err)
	}

	// One that is not adopted gives way to a new one of its name.
	fresh := start(t, e, engine.Spec{Name: "vm-0", Dir: "/srv"})
	if _, _, x, err := run(t, fresh, engine.Exec{Command: []string{"cat", "here"}}); err != nil || x.Code == 0 {
		t.Errorf("a new one has the old one's file: %+v, %v", x, err)
	}
	if err := e.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if found, err := e.Found(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("after Sweep: %q, %v", found, err)
	}
	if err := c.Stop(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
	if x, err := c.Wait(t.Context()); err != nil || x.Code != 0 {
		t.Errorf("an adopted machine, stopped: %+v, %v", x, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Without Keep an engine removes what an earlier one of its instance left, and nobody else's.
func TestSweep(t *testing.T) {
	mine, other := docker.Config{InstanceID: testInstance + "-a"}, docker.Config{InstanceID: testInstance + "-b"}
	left, others := open(t, mine), open(t, other)
	a, b := start(t, left, engine.Spec{Name: "m"}), start(t, others, engine.Spec{Name: "m"})
	open(t, mine)
	if _, err := a.Wait(t.Context()); err != nil && !errors.Is(err, engine.ErrGone) {
		t.Errorf("mine: %v", err)
	}
	if _, _, x, err := run(t, b, engine.Exec{Command: []string{"true"}}); err != nil || x.Code != 0 {
		t.Errorf("another instance's: %+v, %v", x, err)
	}
}
