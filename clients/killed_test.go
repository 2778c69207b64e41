package clients_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// mortalDir makes the test binary an emulator on that folder that is there to be killed.
const mortalDir, mortalListen = "LAZULITE_TEST_MORTAL", "LAZULITE_TEST_LISTEN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(mortalDir); dir != "" {
		if err := beMortal(dir, os.Getenv(mortalListen)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beMortal serves until its stdin ends, as it does when the test dies.
func beMortal(dir, listen string) error {
	e, err := emulator.New(emulator.Config{Dir: dir, Listen: listen, Environment: hostEnv("PATH")})
	if err != nil {
		return err
	}
	if err := e.Open(context.Background()); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return e.Close(ctx)
}

// mortal is an emulator in a process of its own, over its lives.
type mortal struct {
	t           *testing.T
	dir, listen string
	cmd         *exec.Cmd
	stdin       io.Closer
}

func (m *mortal) live() {
	m.t.Helper()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), mortalDir+"="+m.dir, mortalListen+"="+m.listen)
	m.cmd.Stderr = os.Stderr
	in, err := m.cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.stdin = in
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		m.t.Fatalf("the emulator does not start: %q %v", line, err)
	}
}

func (m *mortal) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// end is a clean one.
func (m *mortal) end() {
	_ = m.stdin.Close()
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("the emulator's end: %v", err)
	}
}

// environ is Env of an emulator of another process.
func (m *mortal) environ() []string {
	m.t.Helper()
	id, err := emulator.ReadIdentity(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	var env []string
	for _, v := range emulator.EnvFor(m.listen, m.dir, filepath.Join(m.dir, "tls", "ca.pem"), filepath.Join(m.dir, "tls", "bundle.pem"), id) {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// TestSDK2018Killed kills the emulator, with kill -9, while the SDK waits for runs
// on Batch AI: one whose script is at work, and one that is queued behind it. The
// client goes on with the same objects after the restart; what ran has failed and says why,
// as its processes ended with the emulator's, the other runs, and no script runs twice.
func TestSDK2018Killed(t *testing.T) {
	bin := sdk2018.bin(t)
	if testing.Short() {
		t.Skip("it kills processes")
	}
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{t: t, dir: t.TempDir(), listen: l.Addr().String()}
	_ = l.Close()
	m.live()
	defer func() { m.kill() }()
	script, err := filepath.Abs(filepath.Join("testdata", "sdk2018_killed.py"))
	if err != nil {
		t.Fatal(err)
	}
	traces := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "python"), script, traces)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "LANG=C.UTF-8", "TMPDIR=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}, m.environ()...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for ready := filepath.Join(traces, "waiting"); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("before the kill: %v\n%s", err, tail([]byte(said.String()), 8000))
		default:
		}
	}
	m.kill()
	m.live()
	if err := <-done; err != nil || !strings.HasSuffix(strings.TrimSpace(said.String()), "ok") {
		t.Fatalf("%v\n%s", err, tail([]byte(said.String()), 12000))
	}
	m.end()
	for name, want := range map[string]string{"first": "begun\n", "second": "begun\ndone\n"} {
		if got, err := os.ReadFile(filepath.Join(traces, name)); string(got) != want {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
	}
}
