package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
)

// escapes starts programs that try to outlive their container; each is a sleep of the same odd length.
func escapes(length string) string {
	return strings.ReplaceAll(`
sleep LEN &
nohup sleep LEN >/dev/null 2>&1 &
setsid sleep LEN &
( ( sleep LEN & ) & )
( setsid sh -c 'sleep LEN & sleep LEN & exit 0' & )
env -i "$(command -v sleep)" LEN &
setsid sh -c 'cd /; env -i "$(command -v sleep)" LEN' &
trap '' TERM HUP
`, "LEN", length)
}

const escaped = 9

// sleepers counts the living processes that sleep for that length.
func sleepers(length string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		args := bytes.Split(data, []byte{0})
		if len(args) >= 2 && strings.HasSuffix(string(args[0]), "sleep") && string(args[1]) == length {
			n++
		}
	}
	return n
}

func length(t *testing.T) string {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("counting processes needs /proc")
	}
	return fmt.Sprintf("%d.%d", 3600+os.Getpid(), len(t.Name()))
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

func TestStopLeavesNothing(t *testing.T) {
	p := newProcess(t, t.TempDir())
	len := length(t)
	for name, spec := range map[string]engine.Spec{
		"container": {Name: "c", Command: []string{"sh", "-c", escapes(len) + "wait; sleep " + len}},
		"machine":   {Name: "m"},
	} {
		c := newMachine(t, p, spec)
		if name == "machine" {
			go c.(engine.Execer).Exec(context.Background(), engine.Exec{Command: []string{"sh", "-c", escapes(len) + "wait"}})
		}
		within(t, "it never started them", func() bool { return sleepers(len) >= escaped-1 })
		if err := c.Stop(t.Context(), 50*time.Millisecond); err != nil {
			t.Error(err)
		}
		if n := sleepers(len); n != 0 {
			t.Errorf("%s: %d processes are left", name, n)
		}
	}
}

// What an Exec left in the background lives on until its machine stops.
func TestBackground(t *testing.T) {
	p := newProcess(t, t.TempDir())
	len := length(t)
	c := newMachine(t, p, engine.Spec{Name: "m"})
	if _, x, err := run(t, c, engine.Exec{Command: []string{"sh", "-c", "sleep " + len + " >/dev/null 2>&1 & env -i $(command -v sleep) " + len + " >/dev/null 2>&1 &"}}); err != nil || x.Code != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	within(t, "they do not run", func() bool { return sleepers(len) == 2 })
	if err := c.Stop(t.Context(), 0); err != nil || sleepers(len) != 0 {
		t.Errorf("%v, %d are left", err, sleepers(len))
	}
}

// victim is an emulator that is going to be killed.
func victim(dir string) {
	p, err := engine.NewProcess(engine.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	len := os.Getenv("ENGINE_TEST_LENGTH")
	ctx := context.Background()
	if _, err := p.Start(ctx, engine.Spec{Name: "c", Command: []string{"sh", "-c", escapes(len) + "wait"}}); err != nil {
		panic(err)
	}
	m, err := p.Start(ctx, engine.Spec{Name: "m"})
	if err != nil {
		panic(err)
	}
	go m.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"sh", "-c", escapes(len) + "wait"}})
	fmt.Println("ready")
	select {}
}

func TestKilledEmulatorLeavesNoOrphan(t *testing.T) {
	dir, len := t.TempDir(), length(t)
	for round := range 3 {
		v := exec.Command(os.Args[0])
		v.Env = append(os.Environ(), "ENGINE_TEST_VICTIM="+dir, "ENGINE_TEST_LENGTH="+len)
		v.Stderr = os.Stderr
		out, err := v.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if round > 0 { // the first time in the midst of starting
			within(t, "it never started them", func() bool { return sleepers(len) >= 2*(escaped-1) })
		}
		if err := v.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = v.Wait()
		if round > 0 && sleepers(len) == 0 {
			t.Fatal("there are no orphans to be swept")
		}
		p, err := engine.NewProcess(engine.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if n := sleepers(len); n != 0 {
			t.Errorf("round %d: %d orphans are left", round, n)
		}
		if c := newMachine(t, p, engine.Spec{Name: "m"}); c == nil {
			t.Error("the name is not free")
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A stranger that sits in the machine's folder, or has a recorded number, is
// left alone by a sweep that does find one of ours.
func TestSweepSparesStrangers(t *testing.T) {
	dir, len := t.TempDir(), length(t)
	home := filepath.Join(dir, "home")
	for _, folder := range []string{home, filepath.Join(dir, "sessions")} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(env ...string) *exec.Cmd {
		c := exec.Command("sleep", len)
		c.Dir, c.Env, c.SysProcAttr = home, append(os.Environ(), env...), &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	stranger, ours := begin("LAZULITE_INSTANCE=another"), begin("LAZULITE_INSTANCE=abc")
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	within(t, "they do not run", func() bool { return sleepers(len) == 2 })
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"instance": "abc\n", "unclean": "",
		"sessions/1.json": fmt.Sprintf(`{"pid":%d,"start":"1","boot":%q,"container":"x","dir":%q}`, stranger.Process.Pid, strings.TrimSpace(string(boot)), home),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newProcess(t, dir)
	if err := ours.Wait(); err == nil || ours.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ours ended with %v", err)
	}
	if n := sleepers(len); n != 1 {
		t.Errorf("%d are left, want the stranger alone", n)
	}
}
