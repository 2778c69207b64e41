package aci

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// session is a websocket that a client has been promised.
type session struct {
	password  string
	container engine.Container
	command   string // empty: it is attached to what the container prints
	rows      uint16
	cols      uint16
	resized   chan [2]uint16
	until     time.Time
}

// sessionLife is how long a client may take to connect.
const sessionLife = 5 * time.Minute

// exec is POST containers/{container}/exec.
func (f *Fake) exec(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	var body struct {
		Command      string `json:"command"`
		TerminalSize struct {
			Rows int `json:"rows"`
			Cols int `json:"cols"`
			// As the examples of the specification have them.
			Row    int `json:"row"`
			Column int `json:"column"`
		} `json:"terminalSize"`
	}
	if len(c.Body) > 0 {
		if err := decode(c.Body, &body); err != nil {
			return 0, nil, err
		}
	}
	if strings.TrimSpace(body.Command) == "" {
		return 0, nil, absent("command")
	}
	rows, cols := max(body.TerminalSize.Rows, body.TerminalSize.Row), max(body.TerminalSize.Cols, body.TerminalSize.Column)
	if rows < 0 || cols < 0 || rows > 1<<15 || cols > 1<<15 {
		return 0, nil, refuse("InvalidTerminalSize", "terminalSize", "The terminal size '%d' x '%d' is invalid.", rows, cols)
	}
	return f.promise(c, r, &session{command: body.Command, rows: uint16(rows), cols: uint16(cols)})
}

// attach is POST containers/{container}/attach, of 2021-07-01 and later.
func (f *Fake) attach(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	return f.promise(c, r, &session{})
}

// promise makes a session in a container that runs, and tells where it is.
func (f *Fake) promise(c arm.Call, r *arm.Resource, s *session) (int, any, error) {
	pod, m, err := f.find(c, r)
	if err != nil {
		return 0, nil, err
	}
	if pod != nil && m != nil {
		pod.mu.Lock()
		// One that has ended is there until it has been put away.
		if m.file.View.CurrentState.State != "Terminated" {
			s.container = m.container
		}
		pod.mu.Unlock()
	}
	if s.container == nil {
		return 0, nil, &arm.Error{Status: http.StatusConflict, Code: "ContainerNotRunning", Message: fmt.Sprintf("The container '%s' in container group '%s' is not running.", c.Vars["container"], r.ID.Name())}
	}
	if _, ok := s.container.(engine.Execer); !ok && s.command != "" {
		return 0, nil, unsupported("", "The engine can't run commands in a container.")
	}
	id := f.hex(32)
	now := f.cfg.Clock.Now()
	s.password, s.until = rand.Text(), now.Add(sessionLife)
	f.mu.Lock()
	for key, old := range f.sessions {
		if now.After(old.until) {
			delete(f.sessions, key)
		}
	}
	f.sessions[id] = s
	f.mu.Unlock()
	kind := "attach"
	if s.command != "" {
		kind = "exec"
	}
	return 0, map[string]string{"webSocketUri": socketURI(c.Base, hardware.Location(r.Location), kind, id, s.rows, s.cols), "password": s.password}, nil
}

// socketURI is at Azure's own name, or, for a client that speaks to the emulator by its address, there.
func socketURI(base, location, kind, id string, rows, cols uint16) string {
	u := url.URL{Scheme: "wss", Host: "bridge-linux-01." + location + ".management." + Domain, Path: "/" + kind + "/caas-" + id + "/bridge-" + id[:16],
		RawQuery: fmt.Sprintf("rows=%d&cols=%d&api-version=2018-02-01-preview", rows, cols)}
	if b, err := url.Parse(base); err == nil && !strings.HasPrefix(b.Hostname(), "management.") {
		if u.Host = b.Host; b.Scheme == "http" {
			u.Scheme = "ws"
		}
	}
	return u.String()
}
