package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// How long a session whose context has ended gets to obey SIGHUP, and then SIGTERM.
const hangupGrace = time.Second

// execution is one command in a container.
type execution struct {
	c    *container
	x    engine.Exec
	id   string
	conn client.HijackedResponse
	pid  string // of the command in its container; empty where the image has no shell
	// output is closed when all output has been passed on.
	output chan struct{}
	sent   map[int]bool
}

// Exec implements engine.Execer.
func (c *container) Exec(ctx context.Context, x engine.Exec) (engine.Exit, error) {
	if len(x.Command) == 0 {
		return engine.Exit{}, fmt.Errorf("%w: no command", engine.ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return engine.Exit{}, err
	}
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	if stopping || c.over() {
		return engine.Exit{}, engine.ErrStopped
	}
	// Once Docker is told to start it nobody can say whether it runs: it is
	// started whole, and ended after that if the context has.
	begin, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	e := &execution{c: c, x: x, output: make(chan struct{}), sent: map[int]bool{}}
	if err := e.begin(begin); err != nil {
		return engine.Exit{}, err
	}
	defer e.conn.Close()
	return e.attend(ctx)
}

func (e *execution) begin(ctx context.Context) error {
	c, x, api := e.c, e.x, e.c.engine.daemon.api
	command, env := x.Command, x.Env
	if c.shell {
		script := execScript
		if x.TTY != nil {
			script = ttyScript
		}
		command = append([]string{"/bin/sh", "-c", script}, command...)
	}
	if x.TTY != nil && x.TTY.Term != "" {
		env = append(append([]string{}, env...), "TERM="+x.TTY.Term)
	}
	dir := x.Dir
	if dir == "" {
		dir = c.dir
	} else if !strings.HasPrefix(dir, "/") && c.dir != "" {
		dir = c.dir + "/" + dir
	}
	made, err := api.ExecCreate(ctx, c.id, client.ExecCreateOptions{
		User: x.User, TTY: x.TTY != nil, Env: env, WorkingDir: dir, Cmd: command,
		AttachStdin: x.Stdin != nil || x.TTY != nil, AttachStdout: true, AttachStderr: x.TTY == nil,
	})
	if err == nil {
		e.id = made.ID
		var attached client.ExecAttachResult
		attached, err = api.ExecAttach(ctx, e.id, client.ExecAttachOptions{TTY: x.TTY != nil})
		e.conn = attached.HijackedResponse
	}
	switch {
	case errdefs.IsConflict(err), errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", engine.ErrStopped, err)
	case err != nil && strings.Contains(err.Error(), "executable file not found"):
		return fmt.Errorf("%w: %w", engine.ErrNotFound, err)
	case err != nil:
		return refusal("running a command in "+c.name, err)
	}
	if err := e.meet(ctx); err != nil {
		e.conn.Close()
		return err
	}
	return nil
}

// meet reads the process id that the script tells before the command's output, and leads that on.
func (e *execution) meet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { e.conn.Close() })
	defer stop()
	first := e.conn.Reader
	copied := make(chan struct{})
	if e.x.TTY == nil {
		r, w := io.Pipe()
		first = bufio.NewReader(r)
		go func() {
			defer close(copied)
			_, err := stdcopy.StdCopy(lenient{e.x.Stdout}, w, e.conn.Reader)
			w.CloseWithError(err)
		}()
	}
	if e.c.shell {
		line, err := first.ReadString('\n')
		line = strings.TrimSpace(line)
		if err != nil || len(line) < 2 || line[0] != '+' {
			go drain(first)
			if strings.HasPrefix(line, "-") {
				return fmt.Errorf("%w: %q", engine.ErrNotFound, e.x.Command[0])
			}
			return e.neverBegan(ctx, line, err)
		}
		e.pid = line[1:]
	}
	if e.x.TTY != nil {
		if err := e.beginTerminal(ctx, first); err != nil {
			return err
		}
	} else {
		go func() {
			defer close(e.output)
			drain(io.TeeReader(first, lenient{e.x.Stderr}))
			<-copied
		}()
	}
	if e.x.Stdin != nil {
		go func() {
			_, _ = io.Copy(e.conn.Conn, e.x.Stdin)
			// At its end a terminal gets no end of file: a person would have typed one.
			if e.x.TTY == nil {
				_ = e.conn.CloseWrite()
			}
		}()
	}
	return nil
}

// beginTerminal gives the terminal its size and lets the command begin.
func (e *execution) beginTerminal(ctx context.Context, r *bufio.Reader) error {
	if e.x.TTY.Rows != 0 || e.x.TTY.Cols != 0 {
		if err := e.resize(ctx, [2]uint16{e.x.TTY.Rows, e.x.TTY.Cols}); err != nil {
			return err
		}
	}
	if e.c.shell {
		if _, err := io.WriteString(e.conn.Conn, "\n"); err != nil {
			return fmt.Errorf("docker: beginning on a terminal: %w", err)
		}
		// The terminal's echo of it.
		if _, err := r.ReadString('\n'); err != nil {
			return e.neverBegan(ctx, "", err)
		}
	}
	go func() {
		defer close(e.output)
		_, _ = io.Copy(lenient{e.x.Stdout}, r)
	}()
	return nil
}

// neverBegan says why a command gave no sign of life.
func (e *execution) neverBegan(ctx context.Context, said string, err error) error {
	if e.c.over() {
		return engine.ErrStopped
	}
	if i, failed := e.c.engine.daemon.api.ContainerInspect(ctx, e.c.id, client.ContainerInspectOptions{}); errdefs.IsNotFound(failed) ||
		failed == nil && i.Container.State != nil && !i.Container.State.Running {
		return engine.ErrStopped
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("it ended at once")
	}
	if said != "" {
		err = fmt.Errorf("%s: %w", said, err)
	}
	return fmt.Errorf("%w: a command in %s did not begin: %w", engine.ErrInvalid, e.c.name, err)
}

func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// lenient never fails: what nobody reads any more is thrown away, as a closed
// window would, so that the command isn't blocked.
type lenient struct{ w io.Writer }

// Write implements io.Writer.
func (l lenient) Write(p []byte) (int, error) {
	if l.w != nil {
		_, _ = l.w.Write(p)
	}
	return len(p), nil
}

func (e *execution) resize(ctx context.Context, size [2]uint16) error {
	_, err := e.c.engine.daemon.api.ExecResize(ctx, e.id, client.ExecResizeOptions{Height: uint(size[0]), Width: uint(size[1])})
	if err != nil {
		return wrong("size of a terminal", err)
	}
	return nil
}

// attend sees a running command through to its end.
func (e *execution) attend(ctx context.Context) (engine.Exit, error) {
	var sizes <-chan [2]uint16
	if e.x.TTY != nil {
		sizes = e.x.TTY.Resize
	}
	signals := e.x.Signals
	background := context.WithoutCancel(ctx)
	for {
		select {
		case <-e.output:
			exit, err := e.exit(ctx)
			if ctx.Err() != nil && err != nil {
				return e.hangUp(background, ctx.Err())
			}
			return exit, err
		case size, ok := <-sizes:
			if !ok {
				sizes = nil
			} else if err := e.resize(ctx, size); err != nil {
				e.c.engine.cfg.Logger.Debug("resizing a terminal", "error", err)
			}
		case sig, ok := <-signals:
			if !ok {
				signals = nil
			} else if sig, ok := sig.(syscall.Signal); ok {
				e.signal(ctx, sig)
			}
		case <-ctx.Done():
			return e.hangUp(background, ctx.Err())
		}
	}
}

func (e *execution) signal(ctx context.Context, sig os.Signal) {
	n := sig.(syscall.Signal)
	log := e.c.engine.cfg.Logger
	if e.pid == "" {
		log.Warn("no signal for a command of an image without a shell", "container", e.c.name, "signal", signalName(n))
		return
	}
	e.sent[int(n)] = true
	if _, err := e.c.script(ctx, signalScript, strconv.Itoa(int(n)), e.pid); err != nil {
		log.Debug("sending a signal", "container", e.c.name, "error", err)
	}
}

// exit asks how the command ended. Docker closes its output a little before it knows.
func (e *execution) exit(ctx context.Context) (engine.Exit, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		i, err := e.c.engine.daemon.api.ExecInspect(ctx, e.id, client.ExecInspectOptions{})
		if errdefs.IsNotFound(err) {
			// It went with its container.
			return engine.Exit{}, engine.ErrStopped
		} else if err != nil {
			return engine.Exit{}, orContext(ctx, wrong("asking how a command ended", err))
		}
		if !i.Running {
			return e.exitOf(i.ExitCode), nil
		}
		if err := pause(ctx, wait); err != nil {
			return engine.Exit{}, err
		}
	}
}

func (e *execution) exitOf(code int) engine.Exit {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	for n := range e.c.sent {
		e.sent[n] = true
	}
	return exitOf(code, e.sent, e.c.engine.cfg.Clock.Now())
}

// hangUp ends the command's session, gently and then not.
func (e *execution) hangUp(ctx context.Context, cause error) (engine.Exit, error) {
	if e.pid == "" {
		return engine.Exit{}, fmt.Errorf("docker: a command in %s, whose image has no shell, goes on: %w", e.c.name, cause)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGKILL} {
		e.sent[int(sig)] = true
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if _, err := e.c.script(ctx, hangUpScript, signalName(sig), e.pid); err != nil {
				e.c.engine.cfg.Logger.Debug("ending a session", "container", e.c.name, "error", err)
			}
		}()
		if sig == syscall.SIGKILL {
			<-gone
			break
		}
		timer := e.c.engine.cfg.Clock.NewTimer(hangupGrace)
		var over bool
		select {
		case <-gone:
			over = true
		case <-timer.C():
		}
		timer.Stop()
		if over {
			break
		}
	}
	select {
	case <-e.output:
	case <-ctx.Done():
	}
	exit, err := e.exit(ctx)
	return exit, errors.Join(cause, err)
}

// script runs a program of this package's under the image's shell, as root, and waits for it.
func (c *container) script(ctx context.Context, program string, args ...string) (code int, err error) {
	api := c.engine.daemon.api
	made, err := api.ExecCreate(ctx, c.id, client.ExecCreateOptions{User: "0", AttachStdout: true, AttachStderr: true, WorkingDir: "/",
		Cmd: append([]string{"/bin/sh", "-c", program, "sh"}, args...)})
	if err != nil {
		return 0, err
	}
	conn, err := api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.Copy(io.Discard, conn.Reader); err != nil {
		return 0, orContext(ctx, err)
	}
	i, err := api.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return 0, err
	}
	return i.ExitCode, nil
}
