package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// How long a session whose context has ended gets to obey SIGHUP, and then SIGTERM.
const hangupGrace = time.Second

// Exec implements Execer.
func (c *processContainer) Exec(ctx context.Context, x Exec) (Exit, error) {
	if len(x.Command) == 0 {
		return Exit{}, fmt.Errorf("%w: no command", ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return Exit{}, err
	}
	var p *os.Process
	var streams *streams
	var err error
	if x.TTY != nil {
		p, streams, err = c.beginTTY(x)
	} else {
		p, streams, err = c.beginPiped(x)
	}
	if err != nil {
		return Exit{}, err
	}
	return c.attend(ctx, x, p, streams)
}

// streams are the emulator's ends of a command's input and output.
type streams struct {
	input  io.Closer
	output []io.Closer
	done   chan struct{} // closed when all output has been passed on
}

func (s *streams) close() {
	for _, o := range s.output {
		o.Close()
	}
	if s.input != nil {
		s.input.Close()
	}
}

func (c *processContainer) beginTTY(x Exec) (*os.Process, *streams, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("engine: no pseudo terminal: %w", err)
	}
	defer slave.Close()
	if err := resize(master, [2]uint16{x.TTY.Rows, x.TTY.Cols}); err != nil {
		master.Close()
		return nil, nil, err
	}
	env := append([]string{}, x.Env...)
	if x.TTY.Term != "" {
		env = append(env, "TERM="+x.TTY.Term)
	}
	p, err := c.begin(x.Command, env, x.Dir, &os.ProcAttr{
		Files: []*os.File{slave, slave, slave},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true},
	})
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	s := &streams{output: []io.Closer{master}, done: make(chan struct{})}
	if x.Stdin != nil {
		// At its end a terminal gets no end of file: a person would have typed one.
		go func() { _, _ = io.Copy(master, x.Stdin) }()
	}
	go func() {
		defer close(s.done)
		pass(x.Stdout, master)
	}()
	return p, s, nil
}

func resize(master *os.File, size [2]uint16) error {
	if size[0] == 0 && size[1] == 0 {
		return nil
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: size[0], Cols: size[1]}); err != nil {
		return fmt.Errorf("engine: size of the terminal: %w", err)
	}
	return nil
}

func (c *processContainer) beginPiped(x Exec) (_ *os.Process, _ *streams, err error) {
	var theirs, ours []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = append(theirs, null)
	files := []*os.File{null, null, null}
	pipe := func(fd int) (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		if fd == 0 {
			r, w = w, r
		}
		files[fd] = w
		theirs, ours = append(theirs, w), append(ours, r)
		return r, nil
	}
	s := &streams{done: make(chan struct{})}
	var in *os.File
	if x.Stdin != nil {
		if in, err = pipe(0); err != nil {
			return nil, nil, err
		}
		s.input = in
	}
	type flow struct {
		w io.Writer
		r *os.File
	}
	var flows []flow
	for fd, w := range []io.Writer{1: x.Stdout, 2: x.Stderr} {
		if w == nil {
			continue
		}
		r, err := pipe(fd)
		if err != nil {
			return nil, nil, err
		}
		flows = append(flows, flow{w, r})
		s.output = append(s.output, r)
	}
	p, err := c.begin(x.Command, x.Env, x.Dir, &os.ProcAttr{Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return nil, nil, err
	}
	if in != nil {
		go func() {
			_, _ = io.Copy(in, x.Stdin)
			in.Close()
		}()
	}
	passed := make(chan struct{}, len(flows))
	for _, f := range flows {
		go func() {
			pass(f.w, f.r)
			passed <- struct{}{}
		}()
	}
	go func() {
		for range flows {
			<-passed
		}
		close(s.done)
	}()
	return p, s, nil
}

// pass copies to the end. A reader that has gone away must not block the
// command: the rest is thrown away, as a closed window would.
func pass(w io.Writer, r io.Reader) {
	if w == nil {
		w = io.Discard
	}
	if _, err := io.Copy(w, r); err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
}

// attend sees a running command through to its end.
func (c *processContainer) attend(ctx context.Context, x Exec, p *os.Process, s *streams) (Exit, error) {
	over := make(chan Exit, 1)
	go func() { over <- c.wait(p) }()
	var sizes <-chan [2]uint16
	if x.TTY != nil {
		sizes = x.TTY.Resize
	}
	signals := x.Signals
	var exit Exit
	var cause error
loop:
	for {
		select {
		case exit = <-over:
			break loop
		case size, ok := <-sizes:
			if !ok {
				sizes = nil
			} else if err := resize(s.output[0].(*os.File), size); err != nil {
				c.engine.cfg.Logger.Debug("resizing a terminal", "error", err)
			}
		case sig, ok := <-signals:
			if !ok {
				signals = nil
			} else if sig, ok := sig.(syscall.Signal); ok {
				_ = syscall.Kill(-p.Pid, sig)
			}
		case <-ctx.Done():
			cause = ctx.Err()
			exit = c.hangUp(p, over)
			break loop
		}
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		// Output that others of the session still hold open, if the end came while it was read.
		if cause == nil {
			cause = ctx.Err()
			c.hangUp(p, nil)
		}
	case <-c.stopped:
	}
	s.close()
	<-s.done
	return exit, cause
}

// hangUp ends the session that p leads, gently and then not. With over it returns p's exit.
func (c *processContainer) hangUp(p *os.Process, over <-chan Exit) (exit Exit) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if c.signalSession(p.Pid, sig) == 0 {
			break
		}
		timer := c.engine.cfg.Clock.NewTimer(hangupGrace)
		gone := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer close(gone)
			for c.signalSession(p.Pid, 0) > 0 && pause(ctx, 5*time.Millisecond) == nil {
			}
		}()
		select {
		case <-gone:
		case <-timer.C():
		}
		timer.Stop()
		cancel()
		<-gone
	}
	for c.signalSession(p.Pid, syscall.SIGKILL) > 0 {
		_ = pause(context.Background(), time.Millisecond)
	}
	if over != nil {
		exit = <-over
	}
	c.prune()
	return exit
}

// signalSession signals every living member of a session of ours and counts them.
func (c *processContainer) signalSession(sid int, sig syscall.Signal) int {
	table, err := processes()
	if err != nil {
		return 0
	}
	c.mu.Lock()
	s, ours := c.live[sid]
	c.mu.Unlock()
	if !ours {
		return 0
	}
	f := &family{sessions: []session{s}}
	n := 0
	for _, p := range table {
		if p.dead || !f.inSession(table, p) {
			continue
		}
		n++
		if sig != 0 {
			p.signal(sig)
		}
	}
	return n
}
