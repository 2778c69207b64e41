package aci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/durable"
	"lazulite.dev/emulator/engine"
)

// maxLog is what one answer holds: the end of a longer log.
const maxLog = 4 << 20

// find is the pod and the container of a request.
func (f *Fake) find(c arm.Call, r *arm.Resource) (*pod, *member, error) {
	p, err := privateOf(r)
	if err != nil {
		return nil, nil, err
	}
	name := c.Vars["container"]
	known := false
	p.Spec.every(func(x *containerItem, _ bool) { known = known || x.Name == name })
	if !known {
		return nil, nil, containerNotFound(name, r.ID.Name())
	}
	pod := f.known(p.ID)
	if pod == nil {
		return nil, nil, nil
	}
	pod.mu.Lock()
	defer pod.mu.Unlock()
	for _, m := range pod.members {
		if m.item.Name == name {
			return pod, m, nil
		}
	}
	return pod, nil, nil
}

// readLogs is GET containers/{container}/logs.
func (f *Fake) readLogs(ctx context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	param := func(name string) string {
		for k, v := range c.Query {
			if strings.EqualFold(k, name) && len(v) > 0 {
				return v[0]
			}
		}
		return ""
	}
	tail := -1
	if text := param("tail"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, nil, refuse("InvalidTailParameter", "tail", "The value '%s' of the query parameter 'tail' is invalid: it must be a number of lines.", text)
		}
		tail = n
	}
	timed := strings.EqualFold(param("timestamps"), "true")
	pod, _, err := f.find(c, r)
	if err != nil {
		return 0, nil, err
	}
	content := []byte{}
	if pod != nil {
		end := &tailBuffer{limit: maxLog}
		if err := pod.log(ctx, c.Vars["container"], end, timed); err != nil {
			return 0, nil, err
		}
		content = end.bytes()
	}
	return 0, map[string]string{"content": strings.ToValidUTF8(string(lastLines(content, tail)), "\uFFFD")}, nil
}

// log writes what the last run of a container has printed.
func (p *pod) log(ctx context.Context, container string, w io.Writer, timed bool) error {
	p.mu.Lock()
	var running engine.Container
	for _, m := range p.members {
		if m.item.Name == container {
			running = m.container
		}
	}
	p.mu.Unlock()
	if running != nil {
		err := copyLog(ctx, running, w, timed)
		if !errors.Is(err, engine.ErrGone) {
			return err
		}
	}
	file, err := os.Open(p.logFile(container, timed))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

func copyLog(ctx context.Context, c engine.Container, w io.Writer, timed bool) error {
	if k, ok := c.(engine.Timekeeper); ok && timed {
		return k.TimedLogs(ctx, w)
	}
	return c.Logs(ctx, w, false)
}

func (p *pod) logFile(container string, timed bool) string {
	suffix := ".log"
	if timed {
		suffix = ".times"
	}
	return filepath.Join(p.dir, "logs", container+suffix)
}

// putAway keeps the log of a run that has ended, and removes its container.
func (m *member) putAway(ctx context.Context, c engine.Container) {
	p := m.pod
	errs := []error{os.MkdirAll(filepath.Join(p.dir, "logs"), 0o700)}
	for _, timed := range []bool{false, true} {
		errs = append(errs, durable.Replace(p.logFile(m.item.Name, timed), 0o600, func(w io.Writer) error { return copyLog(ctx, c, w, timed) }))
	}
	p.mu.Lock()
	m.container = nil
	suspended := p.end == endSuspend && m.file.View.CurrentState.State != "Terminated"
	p.mu.Unlock()
	errs = append(errs, c.Remove(ctx))
	if err := errors.Join(errs...); err != nil {
		p.fake.cfg.Logger.Error("putting a container away", "container", m.item.Name, "error", err)
	}
	if !suspended {
		m.change(func(f *memberFile) { f.Launched = false })
	}
}

// lastLines cuts all but the last n lines off; n below zero is all.
func lastLines(b []byte, n int) []byte {
	if n < 0 {
		return b
	}
	end := len(b)
	if end > 0 && b[end-1] == '\n' {
		end--
	}
	if n == 0 {
		return nil
	}
	for at := end; n > 0; n-- {
		i := bytes.LastIndexByte(b[:at], '\n')
		if i < 0 {
			return b
		}
		if n == 1 {
			return b[i+1:]
		}
		at = i
	}
	return b
}

// tailBuffer keeps the end of what is written.
type tailBuffer struct {
	limit int
	data  []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) > 2*t.limit {
		t.data = append(t.data[:0], t.data[len(t.data)-t.limit:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) bytes() []byte { return t.data[max(0, len(t.data)-t.limit):] }
