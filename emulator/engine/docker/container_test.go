package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

func TestLimits(t *testing.T) {
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "small", Limits: hardware.Limits{CPU: 0.5, Memory: 64 << 20}})
	out, _, _, err := run(t, c, engine.Exec{Command: sh("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null")})
	if f := strings.Fields(out); err != nil || len(f) < 2 || f[0] != "67108864" || f[1] != "50000" {
		t.Errorf("as the kernel has them: %q, %v", out, err)
	}
	hungry := start(t, e, engine.Spec{Name: "hungry", Limits: hardware.Limits{Memory: 32 << 20}, Command: []string{"python3", "-c", "x = bytearray(200 << 20)"}})
	if x, err := hungry.Wait(t.Context()); err != nil || !x.OOM || x.Code != 137 || x.Signal != "KILL" {
		t.Errorf("out of memory: %+v, %v", x, err)
	}
	s, err := c.(engine.Statser).Stats(t.Context())
	if err != nil || s.Limit != 64<<20 || s.Memory <= 0 || s.Memory > s.Limit || s.CPU <= 0 || s.Processes < 2 || s.At.IsZero() {
		t.Errorf("stats: %+v, %v", s, err)
	}
	if _, err := hungry.(engine.Statser).Stats(t.Context()); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("stats of what has ended: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	e := open(t, docker.Config{})
	for _, c := range []struct {
		name string
		spec engine.Spec
		want error
		says string
	}{
		{"a path as name", engine.Spec{Name: "../x"}, engine.ErrInvalid, "no name"},
		{"no such command", engine.Spec{Name: "x", Command: []string{"no-such-command"}}, engine.ErrNotFound, "no-such-command"},
		{"no such file", engine.Spec{Name: "x", Command: []string{"/no/such/file"}}, engine.ErrNotFound, "/no/such/file"},
		{"a folder as command", engine.Spec{Name: "x", Command: []string{"/usr/lib"}}, engine.ErrNotFound, "/usr/lib"},
		{"a relative folder", engine.Spec{Name: "x", Dir: "here"}, engine.ErrInvalid, "here"},
		{"no such mount", engine.Spec{Name: "x", Mounts: []engine.Mount{{Source: "/no/such/folder", Target: "/data"}}}, engine.ErrInvalid, "/no/such/folder"},
		{"a mount outside", engine.Spec{Name: "x", Mounts: []engine.Mount{{Source: "/usr", Target: "../data"}}}, engine.ErrInvalid, "../data"},
		{"more cores than there are", engine.Spec{Name: "x", Limits: hardware.Limits{CPU: 4096}}, engine.ErrInvalid, "CPUs"},
		{"too little memory", engine.Spec{Name: "x", Limits: hardware.Limits{Memory: 1 << 10}}, engine.ErrInvalid, "memory"},
		{"a GPU that is not there", engine.Spec{Name: "x", Limits: hardware.Limits{GPUs: []string{"GPU-none"}}}, nil, ""},
		{"no such user", engine.Spec{Name: "x", User: "nosuchuser", Command: sh("true")}, engine.ErrInvalid, "nosuchuser"},
		{"no port", engine.Spec{Name: "x", Ports: []int{70000}}, engine.ErrInvalid, "70000"},
		{"aliases on the host's network", engine.Spec{Name: "x", Networks: []engine.Network{{Name: "host", Aliases: []string{"a"}}}}, engine.ErrInvalid, "alias"},
	} {
		_, err := e.Start(t.Context(), c.spec)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", c.name, err, c.want, c.says)
		}
	}
	start(t, e, engine.Spec{Name: "x"})
}

func TestMissingImage(t *testing.T) {
	e := open(t, docker.Config{Table: docker.Table{{Match: "mapped", Image: "lazulite/not-here:1"}, {Match: "", Image: docker.BaseImage}}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := e.Start(ctx, engine.Spec{Name: "x", Image: "mapped"}); !errors.Is(err, engine.ErrNoImage) || !strings.Contains(err.Error(), "lazulite/not-here:1") {
		t.Errorf("%v", err)
	}
	// A registry that surely gives none.
	if _, err := e.Start(ctx, engine.Spec{Name: "x", Image: "127.0.0.1:1/none:1"}); !errors.Is(err, engine.ErrNoImage) || !strings.Contains(err.Error(), "lazulite images build") {
		t.Errorf("%v", err)
	}
}

func TestLogKeepsTheOrder(t *testing.T) {
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "both", Command: sh("i=0; while [ $i -lt 500 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done")})
	var b bytes.Buffer
	if err := c.Logs(t.Context(), &b, true); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&want, "o%d\ne%d\n", i, i)
	}
	if b.String() != want.String() {
		t.Errorf("%d bytes, want %d", b.Len(), want.Len())
	}
}

// Stop of a machine gives what runs in it the grace to end well.
func TestStopOfAMachine(t *testing.T) {
	dir := t.TempDir()
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "vm", Hostname: "dsvm1", Mounts: []engine.Mount{{Source: dir, Target: "/out"}}})
	if out, _, _, err := run(t, c, engine.Exec{Command: []string{"hostname"}}); err != nil || out != "dsvm1\n" {
		t.Errorf("hostname %q, %v", out, err)
	}
	_, _, _, err := run(t, c, engine.Exec{Command: sh(`setsid sh -c "trap 'sleep 0.3; echo saved >/out/saved; exit' TERM; echo >/out/up; while :; do sleep 0.05; done" </dev/null >/dev/null 2>&1 & until [ -e /out/up ]; do sleep 0.02; done`)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.Stop(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it waited %s for nobody", took)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "saved")); err != nil || string(data) != "saved\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAddr(t *testing.T) {
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "web", Ports: []int{8000}, Command: []string{"python3", "-m", "http.server", "8000", "--bind", "0.0.0.0"}})
	addr, err := c.(engine.Addresser).Addr(t.Context(), 8000)
	if err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(addr); host != "127.0.0.1" {
		t.Errorf("a daemon of this machine publishes at %s", addr)
	}
	if status := get(t, "http://"+addr); status != 200 {
		t.Errorf("%s answers %d", addr, status)
	}
	if _, err := c.(engine.Addresser).Addr(t.Context(), 22); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a port that the image exposes, and the Spec does not name: %v", err)
	}
}

// get asks until something answers.
func get(t *testing.T, url string) int {
	t.Helper()
	status := 0
	clocktest.Missing(t, 20*time.Second, func() string {
		r, err := http.Get(url)
		if err != nil {
			return err.Error()
		}
		r.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		status = r.StatusCode
		return ""
	})
	return status
}

func TestNetworks(t *testing.T) {
	e := open(t, docker.Config{})
	joined := []engine.Network{{Name: "cluster", Aliases: []string{"master"}}}
	start(t, e, engine.Spec{Name: "a", Networks: joined, Command: []string{"python3", "-m", "http.server", "8000"}})
	b := start(t, e, engine.Spec{Name: "b", Networks: []engine.Network{{Name: "cluster"}, {Name: "second"}}})
	const ask = `import time, urllib.request
for i in range(200):
    try: print(urllib.request.urlopen("http://master:8000/").status); break
    except OSError: time.sleep(0.05)`
	if out, errs, _, err := run(t, b, engine.Exec{Command: []string{"python3", "-c", ask}}); err != nil || out != "200\n" {
		t.Errorf("%q, %q, %v", out, errs, err)
	}
	if out, _, _, err := run(t, b, engine.Exec{Command: sh("ip -o -4 addr | grep -c eth")}); err != nil || out != "2\n" {
		t.Errorf("networks of b: %q, %v", out, err)
	}

	port := greets(t)
	h := start(t, e, engine.Spec{Name: "h", Networks: []engine.Network{{Name: engine.HostNetwork}}})
	if out, _, _, err := run(t, h, engine.Exec{Command: []string{"python3", "-c", `import socket,sys; print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(5).decode())`, port}}); err != nil || out != "hello\n" {
		t.Errorf("the host's loopback: %q, %v", out, err)
	}
}

// greets says hello to the first that connects to a port of the host's loopback.
func greets(t *testing.T) (port string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func TestCopy(t *testing.T) {
	c := start(t, open(t, docker.Config{}), engine.Spec{Name: "m"})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := bytes.Repeat([]byte{7}, 1<<20)
	when := time.Unix(1540000000, 0)
	for _, h := range []tar.Header{
		{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 1000, Gid: 1001, ModTime: when},
		{Name: "data/big", Mode: 0o640, Uid: 1000, Gid: 1001, Size: int64(len(data)), ModTime: when},
		{Name: "data/link", Typeflag: tar.TypeSymlink, Linkname: "big"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			_, _ = w.Write(data)
		}
	}
	w.Close()
	copier := c.(engine.Copier)
	if err := copier.CopyIn(t.Context(), "/srv", bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	if out, _, _, err := run(t, c, engine.Exec{Command: []string{"stat", "-c", "%u %g %a %Y %s", "/srv/data/big"}}); err != nil || out != "1000 1001 640 1540000000 1048576\n" {
		t.Errorf("%q, %v", out, err)
	}
	for file, size := range map[string]int64{"/srv/data/big": 1 << 20, "/srv/data/link": 1 << 20, "/etc/os-release": -1} {
		r, err := copier.CopyOut(t.Context(), file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		h, err := tar.NewReader(r).Next()
		if err != nil || h.Typeflag != tar.TypeReg || size >= 0 && h.Size != size || h.Size == 0 {
			t.Errorf("%s: %+v, %v", file, h, err)
		}
		r.Close()
	}
	if _, err := copier.CopyOut(t.Context(), "/no/such"); err == nil {
		t.Error("CopyOut of nothing")
	}
	if err := copier.CopyIn(t.Context(), "/no/such", bytes.NewReader(b.Bytes())); err == nil {
		t.Error("CopyIn to nowhere")
	}
}

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := start(t, open(t, docker.Config{}), engine.Spec{Name: "m", Dir: "/work", Mounts: []engine.Mount{{Source: dir, Target: "in/data", ReadOnly: true}, {Source: dir, Target: "/rw"}}})
	if out, _, _, err := run(t, c, engine.Exec{Command: sh("cat in/data/f; echo y >in/data/f || echo refused; echo z >/rw/f; cat in/data/f")}); err != nil || out != "xrefused\nz\n" {
		t.Errorf("%q, %v", out, err)
	}
}
