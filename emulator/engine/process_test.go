package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/enginetest"
	"lazulite.dev/emulator/hardware"
)

func newMachine(t *testing.T, p *engine.Process, spec engine.Spec) engine.Container {
	t.Helper()
	c, err := p.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, c engine.Container, x engine.Exec) (string, engine.Exit, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	x.Stdout = &out
	exit, err := c.(engine.Execer).Exec(ctx, x)
	return out.String(), exit, err
}

func TestEnvironmentIsAsGiven(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "x")
	p := newProcess(t, t.TempDir())
	c := newMachine(t, p, engine.Spec{Name: "m", Env: []string{"A=1", "B.dot=two words", "C=old"}, Limits: hardware.Limits{GPUs: []string{"GPU-1", "GPU-2"}}})
	out, _, err := run(t, c, engine.Exec{Command: []string{"env", "-0"}, Env: []string{"C=new", "D=line\nbreak"}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimRight(out, "\x00"), "\x00")
	want := []string{"A=1", "B.dot=two words", "C=new", "CUDA_VISIBLE_DEVICES=GPU-1,GPU-2", "D=line\nbreak",
		"LAZULITE_CONTAINER=" + p.Instance() + "/m", "LAZULITE_INSTANCE=" + p.Instance(), "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2", "PATH=" + os.Getenv("PATH")}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	out, _, err = run(t, c, engine.Exec{Command: []string{"/usr/bin/env"}, Env: []string{"PATH=/only/here"}})
	if err != nil || !strings.Contains(out, "PATH=/only/here\n") || strings.Contains(out, "PATH="+os.Getenv("PATH")) {
		t.Errorf("a PATH of its own: %q, %v", out, err)
	}
}

// Simulated GPUs are found by whoever looks, also with a PATH of its own.
func TestSimulatedGPUs(t *testing.T) {
	p := newProcess(t, t.TempDir())
	stub := &hardware.Stub{Library: "/stub/libnvidia-ml.so.1", SMI: "/stub/nvidia-smi", Table: "/tables/x.gpus"}
	c := newMachine(t, p, engine.Spec{Name: "m", Env: []string{"LD_LIBRARY_PATH=/mine"}, Limits: hardware.Limits{GPUs: []string{"GPU-1"}, Stub: stub}})
	out, _, err := run(t, c, engine.Exec{Command: []string{"/usr/bin/env"}, Env: []string{"PATH=/only/here"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"PATH=/stub:/only/here", "LD_LIBRARY_PATH=/stub:/mine", "LAZULITE_GPU_TABLE=/tables/x.gpus", "CUDA_VISIBLE_DEVICES=GPU-1"} {
		if !strings.Contains("\n"+out, "\n"+line+"\n") {
			t.Errorf("the environment lacks %s:\n%s", line, out)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := newProcess(t, t.TempDir())
	sh := []string{"/bin/sh", "-c", "exit 0"}
	for _, c := range []struct {
		name string
		spec engine.Spec
		want error
	}{
		{"a path as name", engine.Spec{Name: "../x", Command: sh}, engine.ErrInvalid},
		{"an image", engine.Spec{Name: "x", Image: "ubuntu", Command: sh}, engine.ErrNoImage},
		{"no such command", engine.Spec{Name: "x", Command: []string{"no-such-command"}}, engine.ErrNotFound},
		{"no such file", engine.Spec{Name: "x", Command: []string{"/no/such/file"}}, engine.ErrNotFound},
		{"a folder as command", engine.Spec{Name: "x", Command: []string{"/usr"}}, engine.ErrNotFound},
		{"no such folder", engine.Spec{Name: "x", Command: sh, Dir: "/no/such/folder"}, engine.ErrInvalid},
		{"a mount elsewhere", engine.Spec{Name: "x", Command: sh, Mounts: []engine.Mount{{Source: "/usr", Target: "/data"}}}, engine.ErrInvalid},
		{"a mount outside", engine.Spec{Name: "x", Command: sh, Mounts: []engine.Mount{{Source: "/usr", Target: "../data"}}}, engine.ErrInvalid},
	} {
		if _, err := p.Start(t.Context(), c.spec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	c := newMachine(t, p, engine.Spec{Name: "x", Mounts: []engine.Mount{{Source: "/usr", Target: "in/data"}, {Source: "/usr", Target: "/usr"}}})
	if out, x, err := run(t, c, engine.Exec{Command: []string{"ls", "in/data"}}); err != nil || x.Code != 0 || !strings.Contains(out, "bin") {
		t.Errorf("mount: %q, %+v, %v", out, x, err)
	}
	if _, _, err := run(t, c, engine.Exec{Command: []string{"no-such-command"}}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Exec of no such command: %v", err)
	}
}

func TestStreams(t *testing.T) {
	p := newProcess(t, t.TempDir())
	c := newMachine(t, p, engine.Spec{Name: "m"})
	data := bytes.Repeat([]byte("0123456789abcdef\n"), 1<<20)
	var out, errs bytes.Buffer
	x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{
		Command: []string{"sh", "-c", "cat; echo failed >&2; exit 2"}, Stdin: bytes.NewReader(data), Stdout: &out, Stderr: &errs,
	})
	if err != nil || x.Code != 2 || !bytes.Equal(out.Bytes(), data) || errs.String() != "failed\n" {
		t.Errorf("%+v, %v, %d bytes, %q", x, err, out.Len(), errs.String())
	}
	if out, x, err := run(t, c, engine.Exec{Command: []string{"sh", "-c", "cat; echo end"}}); err != nil || x.Code != 0 || out != "end\n" {
		t.Errorf("without a Stdin: %q, %+v, %v", out, x, err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReaderThatHasGone(t *testing.T) {
	p := newProcess(t, t.TempDir())
	c := newMachine(t, p, engine.Spec{Name: "m"})
	x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: []string{"sh", "-c", "head -c 1000000 /dev/zero; exit 3"}, Stdout: brokenWriter{}})
	if err != nil || x.Code != 3 {
		t.Errorf("%+v, %v", x, err)
	}
}

func Test200MBOfOutput(t *testing.T) {
	p := newProcess(t, t.TempDir())
	c, err := p.Start(t.Context(), engine.Spec{Name: "loud", Command: []string{"head", "-c", "200000000", "/dev/zero"}})
	if err != nil {
		t.Fatal(err)
	}
	var n counter
	if err := c.Logs(t.Context(), &n, true); err != nil || n != 200000000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func TestTerminal(t *testing.T) {
	enginetest.Terminal(t, newMachine(t, newProcess(t, t.TempDir()), engine.Spec{Name: "m"}).(engine.Execer))
}

func TestTerminalInterrupt(t *testing.T) {
	p := newProcess(t, t.TempDir())
	c := newMachine(t, p, engine.Spec{Name: "m"})
	in, typed := io.Pipe()
	defer typed.Close()
	out, screen := io.Pipe()
	done := make(chan engine.Exit, 1)
	go func() {
		x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: []string{"sh", "-c", "echo ready; exec sleep 3600"}, Stdin: in, Stdout: screen, TTY: &engine.TTY{}})
		if err != nil {
			t.Error(err)
		}
		screen.Close()
		done <- x
	}()
	b := make([]byte, 64)
	if n, err := out.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "ready") {
		t.Fatalf("%q, %v", b[:n], err)
	}
	go io.Copy(io.Discard, out)
	_, _ = typed.Write([]byte{3})
	if x := <-done; x.Code != 130 || x.Signal != "INT" {
		t.Errorf("%+v", x)
	}
}

// A session whose client has gone ends, though its programs ignore SIGHUP and SIGTERM.
func TestHangUp(t *testing.T) {
	clk := clock.NewManual(time.Unix(1540000000, 0))
	dir := t.TempDir()
	p, err := engine.NewProcess(engine.Config{Dir: dir, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	c := newMachine(t, p, engine.Spec{Name: "m"})
	ctx, hangUp := context.WithCancel(t.Context())
	out, screen := io.Pipe()
	done := make(chan error, 1)
	go func() {
		x, err := c.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"sh", "-c", "trap '' HUP TERM; echo up; while :; do sleep 3600; done"}, Stdout: screen})
		if x.Code != 137 || !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", x, err)
		}
		done <- err
	}()
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	hangUp()
	for range 2 { // one grace after SIGHUP, one after SIGTERM
		for {
			n, more := clk.Waiting()
			if n > 0 {
				break
			}
			<-more
		}
		clk.Advance(time.Second)
	}
	<-done
	screen.Close()
	if files, _ := filepath.Glob(filepath.Join(dir, "sessions", "*")); len(files) != 0 {
		t.Errorf("records are left: %v", files)
	}
}

func TestStopWhileExecsComeAndGo(t *testing.T) {
	p := newProcess(t, t.TempDir())
	for range 5 {
		c := newMachine(t, p, engine.Spec{Name: "m"})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					_, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: []string{"sh", "-c", "sleep 0.01"}})
					if errors.Is(err, engine.ErrStopped) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if err := c.Stop(t.Context(), 0); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
