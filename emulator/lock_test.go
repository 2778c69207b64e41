package emulator_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// Ensure that a second emulator on a folder is refused, at once and with no harm
// to the first, in one process and over two, and that the command says so.
func TestLock(t *testing.T) {
	refused := func(t *testing.T, dir string) {
		t.Helper()
		begun := time.Now()
		e, err := emulator.New(emulator.Config{Dir: dir})
		if !errors.Is(err, emulator.ErrLocked) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("a second emulator: %v, %v", e, err)
		}
		if err := emulator.Reset(dir); !errors.Is(err, emulator.ErrLocked) {
			t.Errorf("Reset under an emulator: %v", err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("the refusals took %s", took)
		}
	}
	t.Run("one process", func(t *testing.T) {
		dir := t.TempDir()
		cfg := func(c *emulator.Config) { c.Dir = dir }
		first, c := up(t, cfg)
		c.must(201, "PUT {G}", `{"location":"eastus2"}`)
		refused(t, dir)
		c.must(200, "GET {G}", nil)
		shut(t, first)
		_, again := up(t, cfg)
		again.must(200, "GET {G}", nil)
	})
	t.Run("two processes", func(t *testing.T) {
		v := newVictim(t)
		v.live()
		c := v.client()
		c.must(201, "PUT {G}", `{"location":"eastus2"}`)
		refused(t, v.dir)
		v.kill()
		// Free as soon as its holder is dead.
		e, err := emulator.New(emulator.Config{Dir: v.dir})
		if err != nil {
			t.Fatal(err)
		}
		shut(t, e)
		if err := emulator.Reset(v.dir); err != nil {
			t.Error(err)
		}
	})
	t.Run("command", func(t *testing.T) {
		golang, err := exec.LookPath("go")
		if err != nil {
			t.Skip("no go to build the command with")
		}
		v := newVictim(t)
		v.live()
		command := filepath.Join(t.TempDir(), "lazulite")
		if out, err := exec.Command(golang, "build", "-o", command, "lazulite.dev/cmd/lazulite").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, args := range []string{"up --listen 127.0.0.1:0", "up --listen 127.0.0.1:0 --detach", "reset"} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			cmd := exec.CommandContext(ctx, command, append([]string{"--data", v.dir}, strings.Fields(args)...)...)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			out, err := cmd.CombinedOutput()
			cancel()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "is in use by another lazulite") {
				t.Errorf("%s: %v\n%s", args, err, out)
			}
		}
		v.client()
		v.end()
	})
}

// Ensure that folders which cannot be used are refused with the reason.
func TestBadFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := place(map[string]string{"file": "", "identity/identity.json": "{"}, filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file: "not a directory", filepath.Join(filepath.Dir(file), "identity"): "identity.json"} {
		if e, err := emulator.New(emulator.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", dir, e, err)
		}
	}
	if e, err := emulator.New(emulator.Config{Lifecycle: "slow"}); err == nil {
		if err = e.Open(t.Context()); err == nil || !strings.Contains(err.Error(), `"slow"`) {
			t.Errorf("unknown lifecycle: %v", err)
		}
		shut(t, e)
	}
}
