package docker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/engine/enginetest"
)

func TestExecStreams(t *testing.T) {
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "m", Env: []string{"A=1", "B=old", "B=new"}, Dir: "/srv"})
	data := bytes.Repeat([]byte("0123456789abcdef\n"), 1<<18)
	var out, errs bytes.Buffer
	x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{
		Command: sh("cat; echo failed >&2; exit 2"), Stdin: bytes.NewReader(data), Stdout: &out, Stderr: &errs,
	})
	if err != nil || x.Code != 2 || !bytes.Equal(out.Bytes(), data) || errs.String() != "failed\n" {
		t.Errorf("%+v, %v, %d bytes, %q", x, err, out.Len(), errs.String())
	}
	for _, c2 := range []struct {
		name           string
		exec           engine.Exec
		stdout, stderr string
		code           int
	}{
		{"without a Stdin", engine.Exec{Command: sh("cat; echo end")}, "end\n", "", 0},
		{"environment", engine.Exec{Command: sh(`echo "$A $B $C"`), Env: []string{"C=two words\nand a line"}}, "1 new two words\nand a line\n", "", 0},
		{"the container's folder", engine.Exec{Command: []string{"pwd"}}, "/srv\n", "", 0},
		{"another folder", engine.Exec{Command: []string{"pwd"}, Dir: "/etc"}, "/etc\n", "", 0},
		{"a user", engine.Exec{Command: sh("id -un; id -u"), User: "nobody"}, "nobody\n65534\n", "", 0},
		{"its own stderr first", engine.Exec{Command: sh("echo +1 >&2; exit 4")}, "", "+1\n", 4},
		{"odd arguments", engine.Exec{Command: []string{"printf", "%s|", "", "a b", "$HOME", "'", "-"}}, "|a b|$HOME|'|-|", "", 0},
		{"a fault", engine.Exec{Command: sh("kill -SEGV $$")}, "", "", 139},
	} {
		out, errs, x, err := run(t, c, c2.exec)
		if err != nil || x.Code != c2.code || out != c2.stdout || errs != c2.stderr {
			t.Errorf("%s: %+v, %v, %q, %q", c2.name, x, err, out, errs)
		}
	}
	if _, _, _, err := run(t, c, engine.Exec{Command: []string{"no-such-command"}}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("no such command: %v", err)
	}
	if _, _, _, err := run(t, c, engine.Exec{Command: []string{"true"}, User: "nosuchuser"}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("no such user: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReaderThatHasGone(t *testing.T) {
	c := start(t, open(t, docker.Config{}), engine.Spec{Name: "m"})
	x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: sh("head -c 1000000 /dev/zero; exit 3"), Stdout: brokenWriter{}})
	if err != nil || x.Code != 3 {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestTerminal(t *testing.T) {
	enginetest.Terminal(t, start(t, open(t, docker.Config{}), engine.Spec{Name: "m"}).(engine.Execer))
}

func TestTerminalInterrupt(t *testing.T) {
	c := start(t, open(t, docker.Config{}), engine.Spec{Name: "m"})
	in, typed := io.Pipe()
	defer typed.Close()
	out, screen := io.Pipe()
	done := make(chan engine.Exit, 1)
	go func() {
		x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: sh("echo ready; exec sleep 3600"), Stdin: in, Stdout: screen, TTY: &engine.TTY{}})
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
	if x := <-done; x.Code != 130 {
		t.Errorf("%+v", x)
	}
}

// alive counts the processes of a container whose command line has a word.
func alive(t *testing.T, c engine.Container, word string) int {
	t.Helper()
	out, _, _, err := run(t, c, engine.Exec{Command: []string{"ps", "-eo", "args="}})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(out, word)
}

// A session whose client has gone ends with all that is in it, though its
// programs ignore SIGHUP and SIGTERM; what runs beside it does not.
func TestHangUp(t *testing.T) {
	clk := clock.NewManual(time.Unix(1540000000, 0))
	c := start(t, open(t, docker.Config{Clock: clk}), engine.Spec{Name: "m"})
	if _, _, _, err := run(t, c, engine.Exec{Command: sh("setsid sleep 4242 </dev/null >/dev/null 2>&1 &")}); err != nil {
		t.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	out, screen := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x, err := c.(engine.Execer).Exec(ctx, engine.Exec{Command: sh("trap '' HUP TERM; sleep 5151 & echo up; while :; do sleep 5252; done"), Stdout: screen})
		if x.Code != 137 || x.Signal != "KILL" || !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", x, err)
		}
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
	if n := alive(t, c, "sleep 5"); n != 0 {
		t.Errorf("%d of the session are left", n)
	}
	if n := alive(t, c, "sleep 4242"); n != 1 {
		t.Errorf("what runs in the background: %d", n)
	}
}

func TestSignals(t *testing.T) {
	c := start(t, open(t, docker.Config{}), engine.Spec{Name: "m"})
	signals := make(chan os.Signal)
	out, said := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: sh("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"), Stdout: said, Signals: signals})
		if err != nil || x.Code != 143 || x.Signal != "TERM" {
			t.Errorf("%+v, %v", x, err)
		}
	}()
	b := make([]byte, 64)
	if n, _ := out.Read(b); string(b[:n]) != "ready\n" {
		t.Fatalf("%q", b[:n])
	}
	signals <- syscall.SIGUSR1
	if n, _ := out.Read(b); string(b[:n]) != "usr1\n" {
		t.Fatalf("%q", b[:n])
	}
	signals <- syscall.SIGTERM
	<-done
}

func TestStopWhileExecsComeAndGo(t *testing.T) {
	e := open(t, docker.Config{})
	for range 2 {
		c := start(t, e, engine.Spec{Name: "m"})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					_, err := c.(engine.Execer).Exec(t.Context(), engine.Exec{Command: sh("sleep 0.01")})
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
