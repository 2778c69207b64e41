package docker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// relay is a Docker host that leads to the real one, and can be cut.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	running  sync.WaitGroup
}

func socket(t *testing.T) string {
	t.Helper()
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		t.Skip("the daemon has no socket on this machine")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	return path
}

func newRelay(t *testing.T, network, address string) *relay {
	t.Helper()
	to := socket(t)
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l}
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("unix", to)
			if err != nil {
				c.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, c, d)
			r.mu.Unlock()
			lead := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				if w, ok := to.(interface{ CloseWrite() error }); ok {
					_ = w.CloseWrite()
				}
			}
			r.running.Go(func() { lead(d, c) })
			r.running.Go(func() { lead(c, d); c.Close(); d.Close() })
		}
	})
	t.Cleanup(r.cut)
	return r
}

func (r *relay) cut() {
	r.listener.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

// Each engine has a host of its own, in one process.
func TestHosts(t *testing.T) {
	over := newRelay(t, "tcp", "127.0.0.1:0")
	e := open(t, docker.Config{Host: "tcp://" + over.listener.Addr().String()})
	c := start(t, e, engine.Spec{Name: "web", Ports: []int{8000}, Command: []string{"python3", "-m", "http.server", "8000"}})
	addr, err := c.(engine.Addresser).Addr(t.Context(), 8000)
	if err != nil || !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Fatalf("%q, %v", addr, err)
	}
	if status := get(t, "http://"+addr); status != 200 {
		t.Errorf("%s answers %d", addr, status)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}

	for host, want := range map[string]error{
		"unix://" + filepath.Join(t.TempDir(), "none.sock"): engine.ErrNoEngine,
		"tcp://127.0.0.1:1":        engine.ErrNoEngine,
		"ssh://somebody@127.0.0.1": engine.ErrInvalid,
	} {
		began := time.Now()
		if _, err := docker.New(t.Context(), docker.Config{Host: host}); !errors.Is(err, want) {
			t.Errorf("%s: %v", host, err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("%s: it took %s", host, took)
		}
	}
	for _, name := range []string{"TESTCONTAINERS_RYUK_DISABLED", "TESTCONTAINERS_HOST_OVERRIDE"} {
		if v, ok := os.LookupEnv(name); ok {
			t.Errorf("%s=%s is left in the environment", name, v)
		}
	}
}

// A daemon that goes away in mid-run and comes back loses no exit code.
func TestDaemonGoneForAWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	first := newRelay(t, "unix", path)
	e := open(t, docker.Config{Host: "unix://" + path})
	c := start(t, e, engine.Spec{Name: "job", Command: sh("sleep 1; echo done; exit 5")})
	first.cut()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it is away: %v", err)
	}
	if _, err := e.Start(t.Context(), engine.Spec{Name: "other"}); !errors.Is(err, engine.ErrNoEngine) {
		t.Errorf("Start while it is away: %v", err)
	}
	newRelay(t, "unix", path)
	if x, err := c.Wait(t.Context()); err != nil || x.Code != 5 {
		t.Errorf("%+v, %v", x, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
