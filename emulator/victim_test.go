package emulator_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// victimDir and victimListen make the test binary an emulator that is there to
// be killed; victimWheels is where it has packages from.
const (
	victimDir    = "LAZULITE_TEST_VICTIM"
	victimListen = "LAZULITE_TEST_LISTEN"
	victimWheels = "LAZULITE_TEST_WHEELS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := beVictim(dir, os.Getenv(victimListen)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beVictim serves until its stdin ends, as it does when the test dies.
func beVictim(dir, listen string) error {
	cfg := emulator.Config{Dir: dir, Listen: listen, Offline: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if spark := os.Getenv("LAZULITE_SPARK"); spark != "" {
		cfg.Spark, cfg.Environment = spark, []string{"PATH=" + os.Getenv("PATH")}
	}
	if wheels := os.Getenv(victimWheels); wheels != "" {
		cfg.Environment = []string{"PATH=" + os.Getenv("PATH"), "PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + wheels, "UV_NO_INDEX=1", "UV_FIND_LINKS=" + wheels}
	}
	e, err := emulator.New(cfg)
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

// victim is an emulator in a process of its own, over all its lives.
type victim struct {
	t      testing.TB
	dir    string
	listen string

	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *bytes.Buffer
	start  uint64 // of its process, in the kernel's ticks
}

func newVictim(t testing.TB) *victim {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("counting processes needs /proc")
	}
	v := &victim{t: t, dir: t.TempDir()}
	// Not a port that an outgoing connection could be given while the emulator is down.
	for range 100 {
		addr := "127.0.0.1:" + strconv.Itoa(15000+rand.IntN(15000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			v.listen = addr
			break
		}
	}
	t.Cleanup(func() {
		if v.cmd != nil {
			_ = v.cmd.Process.Kill()
			_ = v.cmd.Wait()
		}
		// What a failed test left; an emulator's next start would do it.
		for _, p := range processesOf(v.dir) {
			if h, err := os.FindProcess(p.pid); err == nil {
				_ = h.Kill()
			}
		}
	})
	return v
}

// knocked returns when somebody has come to the address of the dead, such as a
// run on this machine, who has to bear that nobody answers.
func (v *victim) knocked() {
	v.t.Helper()
	l, err := net.Listen("tcp", v.listen)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		v.t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		v.t.Fatalf("nobody came: %v", err)
	}
	_ = c.Close()
}

// stillborn is a life that is killed in its start, at a moment of which nothing is to tell but the time.
func (v *victim) stillborn(after time.Duration) {
	v.t.Helper()
	v.begin()
	<-time.After(after)
	v.kill()
}

// live starts a life and returns when it answers.
func (v *victim) live() {
	v.t.Helper()
	out := v.begin()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = v.cmd.Wait()
		v.t.Fatalf("the emulator does not start: %q %v\n%s", line, err, v.stderr)
	}
	for _, p := range processesOf(v.dir) {
		if p.start < v.start {
			v.t.Errorf("process %d of the former life is left: %s", p.pid, p.command)
		}
	}
}

// begin starts the process, whose stdout says when it is ready.
func (v *victim) begin() io.Reader {
	v.t.Helper()
	v.cmd, v.stderr = exec.Command(os.Args[0]), &bytes.Buffer{}
	v.cmd.Env = append(os.Environ(), victimDir+"="+v.dir, victimListen+"="+v.listen)
	v.cmd.Stderr = v.stderr
	in, err := v.cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	v.stdin = in
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	p, err := readProcess(v.cmd.Process.Pid)
	if err != nil {
		v.t.Fatal(err)
	}
	v.start = p.start
	return out
}

// kill is kill -9.
func (v *victim) kill() {
	v.t.Helper()
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	v.cmd = nil
	v.complaints()
}

// complaints are what no emulator should log, however it dies.
func (v *victim) complaints() {
	for _, word := range []string{"panic", "DATA RACE", "level=ERROR"} {
		if strings.Contains(v.stderr.String(), word) {
			v.t.Errorf("it logged:\n%.8000s", v.stderr)
			return
		}
	}
}

// end is a clean end, after which nothing of it is left.
func (v *victim) end() {
	v.t.Helper()
	_ = v.stdin.Close()
	if err := v.cmd.Wait(); err != nil {
		v.t.Errorf("the emulator's end: %v\n%s", err, v.stderr)
	}
	v.cmd = nil
	v.complaints()
	for _, p := range processesOf(v.dir) {
		v.t.Errorf("process %d is left after a clean end: %s", p.pid, p.command)
	}
}

// client reaches this life.
func (v *victim) client() *client {
	v.t.Helper()
	id, err := emulator.ReadIdentity(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	c := &client{t: v.t, http: overPort(v.t, v.listen, filepath.Join(v.dir, "tls", "ca.pem")), id: id}
	if err := c.login(context.Background()); err != nil {
		v.t.Fatal(err)
	}
	return c
}

// overPort is the way of an SDK: CONNECT to the emulator's port, and TLS with its CA.
func overPort(t testing.TB, addr, caFile string) http.RoundTripper {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no CA")
	}
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr}),
		TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 32}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

type proc struct {
	pid     int
	start   uint64
	command string
}

// processesOf lists what an emulator on this folder started: by the engine's
// marker, and by working folder or command line inside the folder.
func processesOf(dir string) []proc {
	instance, _ := os.ReadFile(filepath.Join(dir, "process", "instance"))
	marker := []byte("LAZULITE_INSTANCE=" + strings.TrimSpace(string(instance)))
	names, _ := filepath.Glob("/proc/[0-9]*")
	var out []proc
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		if pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(name, "environ"))
		command, _ := os.ReadFile(filepath.Join(name, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(name, "cwd"))
		if bytes.Contains(env, []byte(victimDir+"=")) {
			continue // the emulator itself
		}
		if len(instance) > 0 && bytes.Contains(env, marker) || strings.HasPrefix(cwd, dir) || bytes.Contains(command, []byte(dir+"/")) {
			if p, err := readProcess(pid); err == nil {
				p.command = strings.ReplaceAll(string(command), "\x00", " ")
				out = append(out, p)
			}
		}
	}
	return out
}

// readProcess fails for a process that is gone or a zombie.
func readProcess(pid int) (proc, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return proc{}, fmt.Errorf("process %d has ended", pid)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return proc{pid: pid, start: start}, err
}
