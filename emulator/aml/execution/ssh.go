package execution

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const hostKeyPrefix = "execution/hostkey/"

// sshDriver runs jobs on machines with SSH. One connection is kept for each
// job, since the job's way back to the emulator runs on it.
type sshDriver struct {
	store *store.Store
	clock clock.Clock
	log   *slog.Logger
	proxy func() string
	dial  Dialer

	mu    sync.Mutex
	links map[string]*link // by run id
}

// link is a job's connection. It is made by one at a time: a second one would find its port taken.
type link struct {
	mu       sync.Mutex
	c        *connection
	released bool
}

var _ Driver = (*sshDriver)(nil)

func newSSHDriver(st *store.Store, c clock.Clock, log *slog.Logger, proxy func() string, dial Dialer) *sshDriver {
	return &sshDriver{store: st, clock: c, log: log, proxy: proxy, dial: dial, links: map[string]*link{}}
}

// runFolder is where a run lives on its machine, as a shell expands it.
func runFolder(runID string) string { return `"$HOME"/azureml_runs/` + runID }

// connect logs in, knows the host by the key of the first time, and checks that it can run jobs.
func (d *sshDriver) connect(ctx context.Context, m machine) (*connection, error) {
	c, err := d.dial.dial(ctx, m.SSHTarget, func(key ssh.PublicKey) error { return d.known(ctx, m, key) })
	if err != nil {
		return nil, err
	}
	if c.python, err = c.probe(ctx); err == nil && c.python == "" {
		err = connectError(NoPython, "No Python 3.5 or later was found on the machine; the control script of a run needs one.")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (d *sshDriver) known(ctx context.Context, m machine, key ssh.PublicKey) error {
	k := hostKeyPrefix + m.Key
	now := key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
	_, err := d.store.Put(ctx, k, []byte(now), store.Absent)
	if !errors.Is(err, store.ErrConflict) {
		return err
	}
	doc, err := d.store.Get(ctx, k)
	if err != nil {
		return err
	}
	if string(doc.Value) != now {
		return connectError(HostKeyChanged, "The machine '%s' shows another host key (%s) than at the first connection. "+
			"Detach and attach it again if that is right.", m.Name, ssh.FingerprintSHA256(key))
	}
	return nil
}

// link returns the job's connection with its tunnel, made anew if it broke. port 0 takes any.
func (d *sshDriver) link(ctx context.Context, j Job, port int) (*connection, error) {
	for {
		d.mu.Lock()
		l := d.links[j.RunID]
		if l == nil {
			l = &link{}
			d.links[j.RunID] = l
		}
		d.mu.Unlock()
		l.mu.Lock()
		if l.released {
			l.mu.Unlock()
			continue
		}
		defer l.mu.Unlock()
		if l.c != nil && l.c.alive() {
			return l.c, nil
		}
		if l.c != nil {
			l.c.close()
			l.c = nil
		}
		var err error
		l.c, err = d.open(ctx, j.Target.machine, port)
		return l.c, err
	}
}

// open connects and, if there is a proxy to lead to, opens the tunnel.
func (d *sshDriver) open(ctx context.Context, m machine, port int) (*connection, error) {
	c, err := d.connect(ctx, m)
	if err != nil {
		return nil, err
	}
	if proxy := d.proxy(); proxy != "" {
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if c.tunnel, err = openTunnel(wait, c, proxy, port); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (d *sshDriver) unlink(runID string) {
	d.mu.Lock()
	l := d.links[runID]
	delete(d.links, runID)
	d.mu.Unlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	if l.c != nil {
		l.c.close()
	}
}

// linked is the job's connection if it has one.
func (d *sshDriver) linked(runID string) *connection {
	d.mu.Lock()
	l := d.links[runID]
	d.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c
}

// hands runs control/remote.py on the machine with arguments that its shell expands.
func (c *connection) hands(ctx context.Context, args string, stdout io.Writer) error {
	script, err := control.ReadFile("control/remote.py")
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	return c.run(ctx, quote(c.python)+" - "+args, bytes.NewReader(script), stdout)
}

func (c *connection) ask(ctx context.Context, args string, answer any) error {
	var b bytes.Buffer
	if err := c.hands(ctx, args, &limitedBuffer{b: &b, left: 1 << 20}); err != nil {
		return err
	}
	if err := json.Unmarshal(b.Bytes(), answer); err != nil {
		return connectError(Unreachable, "The machine's answer is broken: %s", err)
	}
	return nil
}

// Submit implements Driver.
func (d *sshDriver) Submit(ctx context.Context, j Job) (Handle, error) {
	c, err := d.link(ctx, j, 0)
	if err != nil {
		return Handle{}, err
	}
	h := Handle{}
	proxy := ""
	if c.tunnel != nil {
		h.ProxyPort = c.tunnel.port
		proxy = fmt.Sprintf("http://127.0.0.1:%d", h.ProxyPort)
	}
	inv, err := j.Invocation(ctx, proxy)
	if err != nil {
		return Handle{}, err
	}
	if err := c.upload(ctx, runFolder(j.RunID), j.Project, inv); err != nil {
		return Handle{}, err
	}
	if err := j.Save(h); err != nil {
		return Handle{}, err
	}
	return h, c.start(ctx, runFolder(j.RunID))
}

// upload brings project and control scripts to a folder of the machine.
func (c *connection) upload(ctx context.Context, folder, project string, inv *invocation) error {
	put := func(name string, r io.Reader) error {
		return c.run(ctx, fmt.Sprintf(`umask 077 && mkdir -p %s/azureml-setup && cat > %s/azureml-setup/%s`, folder, folder, name), r, nil)
	}
	if project != "" {
		f, err := os.Open(project)
		if err != nil {
			return fmt.Errorf("execution: %w", err)
		}
		defer func() { _ = f.Close() }()
		if err := put("project.zip", f); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := inv.write(&b); err != nil {
		return err
	}
	if err := put("setup.zip", &b); err != nil {
		return err
	}
	return c.hands(ctx, "unpack "+folder, nil)
}

// start leaves the control script running. A login shell starts it, so that
// the PATH is the user's own; a second one finds the first at work, and ends.
func (c *connection) start(ctx context.Context, folder string) error {
	return c.run(ctx, fmt.Sprintf(`cd %s && nohup /bin/bash -l azureml-setup/Invocation.sh </dev/null >>azureml-setup/control.out 2>&1 &`, folder), nil, nil)
}

// Resume implements Driver.
func (d *sshDriver) Resume(ctx context.Context, j Job, h Handle) error {
	c, err := d.link(ctx, j, h.ProxyPort)
	if err != nil {
		return err
	}
	var started bool
	if err := c.ask(ctx, "started "+runFolder(j.RunID), &started); err != nil || started {
		return err
	}
	// One that is about to begin, unseen yet, and this one settle between them which it is.
	return c.start(ctx, runFolder(j.RunID))
}

// Status implements Driver.
func (d *sshDriver) Status(ctx context.Context, j Job, h Handle, report func(Status)) error {
	c, err := d.link(ctx, j, h.ProxyPort)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := c.hands(ctx, "follow "+runFolder(j.RunID), w)
		_ = w.Close()
		ended <- err
	}()
	final := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Phase, Status, Said string
			Error               *StatusError
			LogsSent            bool
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Phase == "" {
			continue
		}
		report(Status{Phase: line.Phase, Result: line.Status, Error: line.Error, LogsSent: line.LogsSent, Said: line.Said})
		final = line.Phase == "ended" || line.Phase == "gone"
	}
	_ = r.Close()
	err = <-ended
	if final {
		return nil
	}
	if err == nil {
		err = connectError(Unreachable, "The machine stopped telling of the run.")
	}
	return err
}

// Cancel implements Driver.
func (d *sshDriver) Cancel(ctx context.Context, j Job, h Handle) error {
	c, err := d.link(ctx, j, h.ProxyPort)
	if err != nil {
		return err
	}
	return c.hands(ctx, "cancel "+runFolder(j.RunID)+" "+j.RunID, nil)
}

// Logs implements Driver.
func (d *sshDriver) Logs(ctx context.Context, j Job, h Handle) error {
	c, err := d.link(ctx, j, h.ProxyPort)
	if err != nil {
		return err
	}
	names, err := c.output(ctx, fmt.Sprintf("cd %s && ls azureml-logs/*.txt", runFolder(j.RunID)), nil)
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(names) {
		r, w := io.Pipe()
		go func() {
			_ = w.CloseWithError(c.run(ctx, fmt.Sprintf("cd %s && cat %s", runFolder(j.RunID), quote(name)), nil, w))
		}()
		err := j.Log(ctx, name, r)
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Release implements Driver.
func (d *sshDriver) Release(ctx context.Context, j Job, _ Handle, finished bool) error {
	if finished {
		if c := d.linked(j.RunID); c != nil {
			setup := runFolder(j.RunID) + "/azureml-setup/"
			err := c.run(ctx, "rm -f "+setup+"credentials.json "+setup+"curl.conf "+setup+"*.zip", nil, nil)
			if err != nil {
				d.log.Warn("secrets of the run stay on its machine", "run", j.RunID, "machine", j.Target.Name, "err", err)
			}
		}
	}
	d.unlink(j.RunID)
	return nil
}

// prepared asks whether the environment of a job is there, and leaves nothing behind.
func (d *sshDriver) prepared(ctx context.Context, m machine, project string, inv *invocation) (bool, error) {
	c, err := d.connect(ctx, m)
	if err != nil {
		return false, err
	}
	defer c.close()
	folder := runFolder("." + inv.job.RunID)
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
		defer cancel()
		_ = c.run(cleanup, "rm -rf "+folder, nil, nil)
	}()
	if err := c.upload(ctx, folder, project, inv); err != nil {
		return false, err
	}
	out, err := c.output(ctx, fmt.Sprintf("cd %s && /bin/bash -l azureml-setup/Invocation.sh check", folder), nil)
	if err != nil {
		return false, err
	}
	return strings.HasSuffix(strings.TrimSpace(out), "true"), nil
}

// clean removes what (a folder, or --all) and tells what it removed.
func (d *sshDriver) clean(ctx context.Context, m machine, what string) ([]string, error) {
	c, err := d.connect(ctx, m)
	if err != nil {
		return nil, err
	}
	defer c.close()
	removed := []string{}
	return removed, c.ask(ctx, "clean "+what, &removed)
}

// diagnostics writes the run's folder as a zip.
func (d *sshDriver) diagnostics(ctx context.Context, m machine, runID string, w io.Writer) error {
	c, err := d.connect(ctx, m)
	if err != nil {
		return err
	}
	defer c.close()
	err = c.hands(ctx, "diagnostics "+runFolder(runID), w)
	var failed *failedCommand
	if errors.As(err, &failed) {
		return connectError(Unreachable, "The files of the run %s cannot be had: %s", runID, failed.said)
	}
	return err
}
