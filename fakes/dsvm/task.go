package dsvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lazulite.dev/emulator/engine"
)

// shownOutput is how much of a script's output its status shows: the end of it.
const shownOutput = 4096

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - shownOutput; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(b), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

// task is what the machine's agent runs in it, apart from any login.
type task struct {
	done           chan struct{}
	stdout, stderr tail
	exit           engine.Exit
	err            error // it was not run, or cut off
}

// agentDir is where the machine's agent keeps scripts and their output.
func (m *machine) agentDir(parts ...string) string {
	return filepath.Join(append([]string{m.dir, "waagent"}, parts...)...)
}

// agentFile writes a file for a task, to be run if that is its mode.
func (m *machine) agentFile(dir, name string, content []byte, mode os.FileMode) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, content, mode); err != nil {
		return "", err
	}
	return file, os.Chmod(file, mode)
}

// launch begins a task unless it has begun; it ends with the machine. Its
// output is kept in dir, in stdout and stderr, and goes to log too if there is one.
func (m *machine) launch(name, dir string, log io.Writer, command ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tasks[name] != nil {
		return nil
	}
	execer, ok := m.container.(engine.Execer)
	if m.server == nil || !ok {
		return errors.New("dsvm: the machine is off")
	}
	t := &task{done: make(chan struct{})}
	m.tasks[name] = t
	ctx, env := m.life, m.env
	m.working.Go(func() {
		defer close(t.done)
		t.exit, t.err = runIn(ctx, execer, dir, env, io.MultiWriter(&t.stdout, orNothing(log)), io.MultiWriter(&t.stderr, orNothing(log)), command)
	})
	return nil
}

func orNothing(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func runIn(ctx context.Context, execer engine.Execer, dir string, env []string, stdout, stderr io.Writer, command []string) (exit engine.Exit, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit, err
	}
	var files [2]*os.File
	for i, name := range []string{"stdout", "stderr"} {
		if files[i], err = os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return exit, err
		}
		defer func() { err = errors.Join(err, files[i].Close()) }()
	}
	return execer.Exec(ctx, engine.Exec{Command: command, Env: env, Dir: dir,
		Stdout: io.MultiWriter(files[0], stdout), Stderr: io.MultiWriter(files[1], stderr)})
}

// task finds one by its name, nil if there is none.
func (m *machine) task(name string) *task {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tasks[name]
}

// forgetTask drops one that is over.
func (m *machine) forgetTask(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tasks, name)
}

// How long a look at a task may take, and how often one is looked at.
const (
	taskLook  = 50 * time.Millisecond
	taskPause = 100 * time.Millisecond
)

// over waits a moment for the task's end.
func (t *task) over(ctx context.Context) bool {
	look := time.NewTimer(taskLook) // what runs in a machine runs in real time
	defer look.Stop()
	select {
	case <-t.done:
		return true
	case <-look.C:
	case <-ctx.Done():
	}
	return false
}

// output is how the agent words what a script printed.
func (t *task) output() string {
	return fmt.Sprintf("\n[stdout]\n%s\n[stderr]\n%s", t.stdout.String(), t.stderr.String())
}

// failure is what the agent says of a script that did not go well, "" of one that did.
func (t *task) failure() string {
	switch {
	case t.err != nil:
		return fmt.Sprintf("failed to execute command: %v", t.err)
	case t.exit.Signal != "":
		return "failed to execute command: command terminated by signal=" + t.exit.Signal
	case t.exit.Code != 0:
		return fmt.Sprintf("failed to execute command: command terminated with exit status=%d", t.exit.Code)
	}
	return ""
}
