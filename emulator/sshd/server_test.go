package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
)

func TestMain(m *testing.M) {
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

const user, password = "azureuser", "Correct-Horse-7"

// host is a server over a machine of the process engine.
type host struct {
	*sshd.Server
	home    string
	machine engine.Container
	engine  *engine.Process
	key     gossh.Signer // that may log in
	private ed25519.PrivateKey
}

func newHost(t testing.TB, change func(*sshd.Config)) *host {
	t.Helper()
	h := &host{home: t.TempDir()}
	var err error
	if h.engine, err = engine.NewProcess(engine.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if h.machine, err = h.engine.Start(context.Background(), engine.Spec{Name: "vm", Dir: h.home}); err != nil {
		t.Fatal(err)
	}
	hash, err := sshd.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	h.private, h.key = newKey(t)
	cfg := sshd.Config{
		Password:  func(u, p string) bool { return u == user && sshd.PasswordMatches(hash, p) },
		Keys:      func(u string) []string { return map[string][]string{user: {"# a comment", line(h.key)}}[u] },
		Container: h.machine.(engine.Execer), Home: h.home, HostFiles: true, FailDelay: -1,
		Env:       []string{"HOME=" + h.home, "USER=" + user, "PATH=" + os.Getenv("PATH")},
		AcceptEnv: []string{"LANG", "LC_*", "AZUREML_*"},
	}
	if change != nil {
		change(&cfg)
	}
	if h.Server, err = sshd.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := h.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(h.Close(ctx), h.engine.Close(ctx)); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

func newKey(t testing.TB) (ed25519.PrivateKey, gossh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

func line(s gossh.Signer) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(s.PublicKey())))
}

func (h *host) dial(u string, auth ...gossh.AuthMethod) (*gossh.Client, error) {
	return gossh.Dial("tcp", h.Addr(), &gossh.ClientConfig{User: u, Auth: auth, HostKeyCallback: func(_ string, _ net.Addr, key gossh.PublicKey) error {
		for _, k := range h.HostKeys() {
			if k == strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))) {
				return nil
			}
		}
		return errors.New("strange host key")
	}})
}

func (h *host) login(t testing.TB) *gossh.Client {
	t.Helper()
	c, err := h.dial(user, gossh.PublicKeys(h.key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newSession(t testing.TB, c *gossh.Client) *gossh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogin(t *testing.T) {
	h := newHost(t, nil)
	_, other := newKey(t)
	failed := 0
	for _, c := range []struct {
		name, user string
		auth       gossh.AuthMethod
		ok         bool
		counted    int
	}{
		{"password", user, gossh.Password(password), true, 0},
		{"key", user, gossh.PublicKeys(h.key), true, 0},
		{"wrong password", user, gossh.Password("correct-horse-7"), false, 1},
		{"empty password", user, gossh.Password(""), false, 1},
		{"wrong user", "root", gossh.Password(password), false, 1},
		{"other key", user, gossh.PublicKeys(other), false, 0},
		{"another user's key", "root", gossh.PublicKeys(h.key), false, 0},
		{"nothing", user, nil, false, 0},
	} {
		var auth []gossh.AuthMethod
		if c.auth != nil {
			auth = append(auth, c.auth)
		}
		client, err := h.dial(c.user, auth...)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			client.Close()
		}
		failed += c.counted
		if got := h.FailedLogins(); got != int64(failed) {
			t.Errorf("%s: %d failed logins counted, want %d", c.name, got, failed)
		}
	}
}

func TestNoPasswordLogins(t *testing.T) {
	h := newHost(t, func(c *sshd.Config) { c.Password = nil })
	if c, err := h.dial(user, gossh.Password(password)); err == nil {
		c.Close()
		t.Error("a password was taken")
	} else if !strings.Contains(err.Error(), "attempted methods [none]") {
		t.Errorf("passwords were offered: %v", err)
	}
	h.login(t)
}

func TestWrongPasswordCostsTime(t *testing.T) {
	clk := clock.NewManual(time.Unix(1540000000, 0))
	h := newHost(t, func(c *sshd.Config) { c.Clock, c.FailDelay, c.MaxAuthTries = clk, time.Second, 2 })
	tries := 0
	over := make(chan error, 1)
	go func() {
		c, err := h.dial(user, gossh.RetryableAuthMethod(gossh.PasswordCallback(func() (string, error) { tries++; return "wrong", nil }), 10))
		if err == nil {
			c.Close()
		}
		over <- err
	}()
	for range 2 {
		for {
			n, more := clk.Waiting()
			if n > 0 {
				break
			}
			select {
			case <-more:
			case err := <-over:
				t.Fatalf("it did not wait: %v", err)
			}
		}
		clk.Advance(time.Second)
	}
	if err := <-over; err == nil || tries != 2 || h.FailedLogins() != 2 {
		t.Errorf("%v after %d tries, %d counted", err, tries, h.FailedLogins())
	}
}

func TestEnv(t *testing.T) {
	h := newHost(t, nil)
	s := newSession(t, h.login(t))
	for name, ok := range map[string]bool{"LANG": true, "LC_ALL": true, "AZUREML_RUN_ID": true, "LD_PRELOAD": false, "HOME": false, "": false} {
		if err := s.Setenv(name, "value of it"); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, err := s.Output(`echo "$LC_ALL,$AZUREML_RUN_ID,$LD_PRELOAD,$HOME,$SSH_CONNECTION"`)
	if !strings.HasPrefix(string(out), "value of it,value of it,,"+h.home+",127.0.0.1 ") || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMuchInput(t *testing.T) {
	h := newHost(t, nil)
	s := newSession(t, h.login(t))
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	s.Stdin = bytes.NewReader(data)
	out, err := s.Output("md5sum")
	if want := fmt.Sprintf("%x  -\n", md5.Sum(data)); string(out) != want || err != nil {
		t.Errorf("%q, want %q, %v", out, want, err)
	}
	s = newSession(t, h.login(t))
	out, err = s.Output("head -c 67108864 /dev/zero | tr '\\0' x")
	if len(out) != 64<<20 || err != nil {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

// read takes from r until it has seen text.
func read(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var seen bytes.Buffer
	b := make([]byte, 256)
	for !strings.Contains(seen.String(), text) {
		n, err := r.Read(b)
		seen.Write(b[:n])
		if err != nil {
			t.Fatalf("%q never came: %q, %v", text, seen.String(), err)
		}
	}
	return seen.String()
}

// A client that goes away takes its session's processes with it.
func TestDisconnect(t *testing.T) {
	h := newHost(t, nil)
	for _, tty := range []bool{false, true} {
		c := h.login(t)
		s := newSession(t, c)
		out, _ := s.StdoutPipe()
		if tty {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		mark := filepath.Join(h.home, fmt.Sprintf("ended-%v", tty))
		if err := s.Start("trap 'echo hung up > " + mark + "; exit 1' HUP; echo pid $$; while :; do sleep 0.02; done"); err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Sscanf(read(t, out, "\n"), "pid %d", &pid); err != nil {
			t.Fatal(err)
		}
		c.Close()
		within(t, "it got no SIGHUP", func() bool { data, _ := os.ReadFile(mark); return string(data) == "hung up\n" })
		within(t, "it is still there", func() bool { p, err := os.FindProcess(pid); return err != nil || p.Signal(nil2) != nil })
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestHostKeyIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hostkey")
	keep := func(c *sshd.Config) { c.HostKeyFile = file }
	first := newHost(t, keep).HostKeys()
	if again := newHost(t, keep).HostKeys(); len(first) != 2 || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("%v became %v", first, again)
	}
	if s, err := os.Stat(file); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", s.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sshd.New(sshd.Config{HostKeyFile: file, Container: engine.Execer(nil2container{})}); err == nil {
		t.Error("a broken file was taken")
	}
}

type nil2container struct{}

func (nil2container) Exec(context.Context, engine.Exec) (engine.Exit, error) {
	return engine.Exit{}, engine.ErrStopped
}

func TestCheck(t *testing.T) {
	h := newHost(t, nil)
	if err := h.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := h.machine.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context()); err == nil {
		t.Error("a machine that is stopped passes")
	}
	s := newSession(t, h.login(t))
	var exit *gossh.ExitError
	if err := s.Run("true"); !errors.As(err, &exit) || exit.ExitStatus() != 255 {
		t.Errorf("a command on what is stopped: %v", err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context()); err == nil {
		t.Error("a server that is closed passes")
	}
	if h.Open(t.Context()) == nil {
		t.Error("a server that is closed opens")
	}
}

func TestFiftyAtOnce(t *testing.T) {
	h := newHost(t, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			c, err := h.dial(user, gossh.PublicKeys(h.key))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for j := range 3 {
				s, err := c.NewSession()
				if err != nil {
					t.Error(err)
					return
				}
				want := fmt.Sprintf("%d-%d\n", i, j)
				if out, err := s.Output("echo " + strings.TrimSpace(want)); string(out) != want || err != nil {
					t.Errorf("%q, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
}

// Close ends what is half made, idle and busy alike.
func TestClose(t *testing.T) {
	h := newHost(t, nil)
	raw, err := net.Dial("tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	read(t, raw, "SSH-2.0-")
	busy := newSession(t, h.login(t))
	out, _ := busy.StdoutPipe()
	if err := busy.Start("echo up; exec sleep 3600"); err != nil {
		t.Fatal(err)
	}
	read(t, out, "up")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := busy.Wait(); err == nil {
		t.Error("the session ended well")
	}
	if _, err := net.Dial("tcp", h.Addr()); err == nil {
		t.Error("it still listens")
	}
	if _, err := io.Copy(io.Discard, raw); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the half-made connection: %v", err)
	}
}
