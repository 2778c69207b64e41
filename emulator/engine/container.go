package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// processContainer is a folder, a marker, and the sessions that were begun in it.
type processContainer struct {
	engine *Process
	spec   Spec
	folder string
	dir    string // to start commands in
	log    *logFile

	begun   sync.WaitGroup // commands that are waited for
	ended   chan struct{}  // closed when exit is set
	exit    Exit
	stopped chan struct{} // closed when a Stop has left nothing

	stopMu   sync.Mutex // one Stop at a time
	mu       sync.Mutex
	stopping bool
	live     map[int]session // by process id of the leader
}

func (c *processContainer) start() (err error) {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return err
	}
	if c.dir = c.spec.Dir; c.dir == "" {
		c.dir = filepath.Join(c.folder, "work")
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return err
		}
	}
	for _, m := range c.spec.Mounts {
		if filepath.IsAbs(m.Target) {
			continue
		}
		link := filepath.Join(c.dir, m.Target)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			return err
		}
		if err := os.Symlink(m.Source, link); err != nil {
			return err
		}
	}
	if c.log, err = newLogFile(filepath.Join(c.folder, "log"), c.engine.cfg.Clock.Now); err != nil {
		return err
	}
	if len(c.spec.Command) == 0 {
		return nil
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p, err := c.begin(c.spec.Command, nil, "", &os.ProcAttr{Files: []*os.File{null, w, w}, Sys: &syscall.SysProcAttr{Setsid: true}})
	w.Close()
	if err != nil {
		r.Close()
		c.log.end()
		return err
	}
	go c.run(p, r)
	return nil
}

// run waits for the container's own command. With it, as in any container, all else ends.
func (c *processContainer) run(p *os.Process, output *os.File) {
	copied := make(chan error, 1)
	go func() {
		copied <- copyOutput(c.log, output)
	}()
	exit := c.wait(p)
	// The rest holds the pipe open, and must be gone before the log is whole.
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	if err := c.family().kill(ctx); err != nil {
		c.engine.cfg.Logger.Error("container leaves processes", "container", c.spec.Name, "error", err)
		output.Close()
	}
	if err := <-copied; err != nil && !errors.Is(err, os.ErrClosed) {
		c.engine.cfg.Logger.Error("container log is not whole", "container", c.spec.Name, "error", err)
	}
	output.Close()
	c.end(exit)
}

// gather is how long more output is waited for before it is copied.
const gather = 4 * time.Millisecond

// copyOutput copies to the end, the first piece at once. What comes soon after the last is
// waited for: a server that prints a line for each request would else wake us, and be interrupted, as often.
func copyOutput(log io.Writer, output io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := output.Read(buf)
		if _, failed := log.Write(buf[:n]); failed != nil {
			return failed
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n < len(buf):
			time.Sleep(gather)
		}
	}
}

func (c *processContainer) end(x Exit) {
	c.log.end()
	c.exit = x
	close(c.ended)
}

// begin starts a command and records its session before anybody can wait for it.
func (c *processContainer) begin(command, env []string, dir string, attr *os.ProcAttr) (*os.Process, error) {
	attr.Env = c.environment(env)
	if attr.Dir = dir; dir == "" {
		attr.Dir = c.dir
	} else if !filepath.IsAbs(dir) {
		attr.Dir = filepath.Join(c.dir, dir)
	}
	if s, err := os.Stat(attr.Dir); err != nil {
		return nil, fmt.Errorf("%w: folder to start in: %w", ErrInvalid, err)
	} else if !s.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a folder", ErrInvalid, attr.Dir)
	}
	path, err := lookPath(command[0], attr.Dir, attr.Env)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, ErrStopped
	}
	p, err := os.StartProcess(path, command, attr)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	s := session{PID: p.Pid, Boot: bootID(), Container: c.spec.Name, Dir: attr.Dir}
	if real, err := filepath.EvalSymlinks(attr.Dir); err == nil {
		s.Dir = real
	}
	// Not yet waited for, it is in the table, if only as a zombie.
	row, err := processByID(p.Pid)
	if err == nil {
		s.Start = row.start
		var data []byte
		if data, err = json.Marshal(s); err == nil {
			err = os.WriteFile(c.record(p.Pid), data, 0o600)
		}
	}
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return nil, fmt.Errorf("engine: recording a process: %w", err)
	}
	c.live[p.Pid] = s
	c.begun.Add(1)
	return p, nil
}

func (c *processContainer) record(pid int) string {
	return filepath.Join(c.engine.cfg.Dir, "sessions", strconv.Itoa(pid)+".json")
}

// wait collects a command's end. Its session is kept in mind while others are in it.
func (c *processContainer) wait(p *os.Process) Exit {
	defer c.begun.Done()
	state, err := p.Wait()
	x := Exit{At: c.engine.cfg.Clock.Now()}
	if err != nil {
		c.engine.cfg.Logger.Error("waiting for a process", "container", c.spec.Name, "error", err)
		x.Code = -1
	} else if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		x.Code, x.Signal = 128+int(status.Signal()), signalName(status.Signal())
	} else {
		x.Code = status.ExitStatus()
	}
	c.prune()
	return x
}

// prune forgets the sessions in which nobody is left.
func (c *processContainer) prune() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Read under the lock, the table has every leader that live has.
	table, err := processes()
	if err != nil {
		return
	}
	peopled := map[int]bool{}
	for _, p := range table {
		if !p.dead {
			peopled[p.session] = true
		}
	}
	for sid := range c.live {
		if _, leader := table[sid]; !leader && !peopled[sid] {
			delete(c.live, sid)
			_ = os.Remove(c.record(sid))
		}
	}
}

// ID implements Container.
func (c *processContainer) ID() string { return c.spec.Name }

// Wait implements Container.
func (c *processContainer) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-c.ended:
		return c.exit, nil
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Logs implements Container.
func (c *processContainer) Logs(ctx context.Context, w io.Writer, follow bool) error {
	return c.log.copy(ctx, w, follow)
}

// TimedLogs implements Timekeeper.
func (c *processContainer) TimedLogs(_ context.Context, w io.Writer) error { return c.log.copyTimed(w) }

func (c *processContainer) family() *family {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &family{marker: c.marker()}
	for _, s := range c.live {
		f.sessions = append(f.sessions, s)
	}
	return f
}

func (c *processContainer) marker() string {
	return ContainerVariable + "=" + c.engine.instance + "/" + c.spec.Name
}

// Stop implements Container.
func (c *processContainer) Stop(ctx context.Context, grace time.Duration) error {
	c.stopMu.Lock()
	defer c.stopMu.Unlock()
	select {
	case <-c.stopped:
		return nil
	default:
	}
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	f := c.family()
	if _, err := f.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if grace > 0 {
		if err := c.patience(ctx, f, grace); err != nil {
			return err
		}
	}
	if err := f.kill(ctx); err != nil {
		return err
	}
	if len(c.spec.Command) == 0 {
		c.end(Exit{At: c.engine.cfg.Clock.Now()})
	}
	if _, err := c.Wait(ctx); err != nil {
		return err
	}
	for _, s := range f.sessions {
		_ = os.Remove(c.record(s.PID))
	}
	close(c.stopped)
	return nil
}

// patience waits until all are gone or grace is over on the Clock.
func (c *processContainer) patience(ctx context.Context, f *family, grace time.Duration) error {
	timer := c.engine.cfg.Clock.NewTimer(grace)
	defer timer.Stop()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan error, 1)
	go func() { gone <- f.await(waiting) }()
	select {
	case err := <-gone:
		return err
	case <-timer.C():
		cancel()
		<-gone
		return nil
	}
}

// Remove implements Container.
func (c *processContainer) Remove(ctx context.Context) error {
	if err := c.Stop(ctx, 0); err != nil {
		return err
	}
	c.begun.Wait()
	c.log.close()
	if err := os.RemoveAll(c.folder); err != nil {
		return err
	}
	c.engine.forget(c.spec.Name)
	return nil
}

// Addr implements Addresser: a port of a process is a port of this host.
func (c *processContainer) Addr(_ context.Context, port int) (string, error) {
	return "127.0.0.1:" + strconv.Itoa(port), nil
}
