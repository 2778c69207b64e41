package livy

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"lazulite.dev/emulator/engine"
)

//go:embed driver.py
var driver []byte

// sessionRequest is the body of POST /sessions.
type sessionRequest struct {
	submission
	Kind             string  `json:"kind"`
	HeartbeatTimeout int     `json:"heartbeatTimeoutInSecond"`
	TTL              *string `json:"ttl"`
}

// statementsMost is how many statements and cancels may wait for a session that is not ready.
const statementsMost = 10000

// kinds of sessions that run here.
func kinds() []string { return []string{"pyspark", "shared", "sql", ""} }

// session is a kept PySpark process and its statements.
type session struct {
	id     int
	name   *string
	proxy  string
	kind   string
	out    *output
	cancel context.CancelFunc
	done   chan struct{}

	mu         sync.Mutex
	state      string
	ui         string
	killed     bool
	statements []*statement
	sent       int // how many of them the process has been told
	in         *io.PipeWriter
	// lines go to the process, by a goroutine that waits for it.
	lines chan []byte
}

type sessionView struct {
	ID        int      `json:"id"`
	Name      *string  `json:"name"`
	AppID     *string  `json:"appId"`
	Owner     *string  `json:"owner"`
	ProxyUser *string  `json:"proxyUser"`
	State     string   `json:"state"`
	Kind      string   `json:"kind"`
	AppInfo   appInfo  `json:"appInfo"`
	Log       []string `json:"log"`
}

func (n *session) view() sessionView {
	n.mu.Lock()
	defer n.mu.Unlock()
	return sessionView{ID: n.id, Name: n.name, AppID: n.out.application(), ProxyUser: optional(n.proxy), State: n.state, Kind: n.kind,
		AppInfo: appInfo{SparkUIURL: optional(n.ui)}, Log: last(n.out.log(), logLinesShown)}
}

func (n *session) record() record {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := record{ID: n.id, Name: n.name, Proxy: n.proxy, Kind: n.kind, State: n.state, Log: n.out.kept()}
	if app := n.out.application(); app != nil {
		r.App = *app
	}
	return r
}

func (s *Server) serveSessions(w http.ResponseWriter, r *http.Request, path []string) (int, any, error) {
	if len(path) == 0 {
		switch r.Method {
		case http.MethodGet:
			return s.listSessions(r)
		case http.MethodPost:
			return s.createSession(w, r)
		}
		return 0, nil, refuse(http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	id, err := strconv.Atoi(path[0])
	s.mu.Lock()
	n := s.sessions[id]
	s.mu.Unlock()
	if err != nil || n == nil {
		return 0, nil, unfound(path[0])
	}
	switch {
	case len(path) == 1 && r.Method == http.MethodGet:
		return http.StatusOK, n.view(), nil
	case len(path) == 1 && r.Method == http.MethodDelete:
		return s.deleteSession(r.Context(), n)
	case len(path) == 2 && path[1] == "state" && r.Method == http.MethodGet:
		return http.StatusOK, map[string]any{"id": n.id, "state": n.view().State}, nil
	case len(path) == 2 && path[1] == "log" && r.Method == http.MethodGet:
		return logOf(r, n.id, n.out)
	case len(path) == 2 && path[1] == "connect" && r.Method == http.MethodPost:
		return http.StatusOK, n.view(), nil
	case len(path) >= 2 && path[1] == "statements":
		return s.serveStatements(w, r, n, path[2:])
	}
	return 0, nil, refuse(http.StatusNotFound, "Not found")
}

func (s *Server) listSessions(r *http.Request) (int, any, error) {
	from, size, err := window(r, 100)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	var views []sessionView
	for _, id := range sortedKeys(s.sessions) {
		views = append(views, s.sessions[id].view())
	}
	s.mu.Unlock()
	at, some := cut(views, from, size)
	return http.StatusOK, map[string]any{"from": at, "total": len(views), "sessions": append([]sessionView{}, some...)}, nil
}

func (s *Server) createSession(w http.ResponseWriter, r *http.Request) (int, any, error) {
	var q sessionRequest
	if err := read(r, "org.apache.livy.server.interactive.CreateInteractiveRequest", &q); err != nil {
		return 0, nil, err
	}
	if !slices.Contains(kinds(), q.Kind) {
		switch q.Kind {
		case "spark", "sparkr", "pyspark3":
			return 0, nil, refuse(http.StatusBadRequest, "Sessions of the kind '%s' are not emulated here; 'pyspark' and 'sql' are.", q.Kind)
		}
		return 0, nil, unreadable("Invalid kind: %s", q.Kind)
	}
	if q.Kind == "" {
		q.Kind = "shared"
	}
	options, err := q.options(s)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, refuse(http.StatusServiceUnavailable, "The server is shutting down.")
	}
	for _, other := range s.sessions {
		if q.Name != nil && other.name != nil && *other.name == *q.Name {
			return 0, nil, refuse(http.StatusBadRequest, "Duplicate session name: Some(%s) for session %d", *q.Name, s.nextOne)
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	n := &session{id: s.nextOne, name: q.Name, proxy: q.ProxyUser, kind: q.Kind, out: newOutput(), cancel: cancel, done: make(chan struct{}), state: stateStarting, lines: make(chan []byte, statementsMost)}
	if err := s.keepRecord("session", n.record()); err != nil {
		cancel()
		return 0, nil, err
	}
	s.nextOne++
	s.sessions[n.id] = n
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer close(n.done)
		defer cancel()
		err := s.keep(ctx, n, options)
		if s.ctx.Err() != nil {
			err = errors.New(lost)
		}
		n.end(err)
		s.note("session", n.record())
	}()
	w.Header().Set("Location", fmt.Sprintf("/sessions/%d", n.id))
	return http.StatusCreated, n.view(), nil
}

// keep runs the session's process until it ends.
func (s *Server) keep(ctx context.Context, n *session, options []string) error {
	there, here, err := s.cfg.Node.Home(ctx)
	if err != nil {
		return err
	}
	folder := filepath.Join(here, ".livy")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("session-%d.py", n.id)
	// World-readable, since on the node another user may run it.
	if err := os.WriteFile(filepath.Join(folder, name), driver, 0o644); err != nil {
		return err
	}
	defer func() { _ = os.Remove(filepath.Join(folder, name)) }()
	in, hold := io.Pipe()
	defer func() { _ = hold.Close() }()
	defer func() { _ = in.Close() }()
	told, answers := io.Pipe()
	n.mu.Lock()
	n.in = hold
	n.mu.Unlock()
	go func() {
		for {
			select {
			case line := <-n.lines:
				if _, err := hold.Write(line); err != nil {
					return
				}
			case <-n.done:
				return
			}
		}
	}()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		n.hear(told, func() { s.note("session", n.record()) })
	}()
	exit, err := s.cfg.Node.Exec(ctx, engine.Exec{
		Command: append([]string{"pyspark"}, options...), Dir: there,
		Env:   []string{"PYSPARK_DRIVER_PYTHON=python3", "PYSPARK_DRIVER_PYTHON_OPTS=-u " + there + "/.livy/" + name, "PYTHONIOENCODING=utf-8", "PYTHONDONTWRITEBYTECODE=1"},
		Stdin: in, Stdout: answers, Stderr: n.out.into(&n.out.err)})
	_ = answers.Close()
	<-heard
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("the session's process exited with code %d", exit.Code)
	}
	return err
}

// told is one line of the process's answers.
type told struct {
	Ready       bool            `json:"ready"`
	Application string          `json:"application"`
	UI          string          `json:"ui"`
	Running     *int            `json:"running"`
	ID          *int            `json:"id"`
	Output      json.RawMessage `json:"output"`
	Canceled    bool            `json:"canceled"`
}

// hear follows the process's answers, and calls ready at the first. What is no
// answer was printed by Spark, and is log.
func (n *session) hear(from io.Reader, ready func()) {
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		var t told
		switch {
		case len(line) == 0:
		case line[0] != '{' || json.Unmarshal(line, &t) != nil:
			_, _ = n.out.into(&n.out.out).Write(line)
		default:
			n.take(t)
			if t.Ready {
				ready()
			}
		}
		if err != nil {
			return
		}
	}
}

func (n *session) take(t told) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case t.Ready:
		n.out.setApplication(t.Application)
		n.ui = t.UI
		n.state = stateIdle
		n.tell()
	case t.Running != nil:
		n.state = stateBusy
		n.statements[*t.Running].begin()
	case t.ID != nil:
		n.statements[*t.ID].finish(t)
		n.state = stateIdle
		for _, x := range n.statements {
			if x.state == statementWaiting {
				n.state = stateBusy
			}
		}
	}
}

// end is the end of the process: statements that have not ended never will.
func (n *session) end(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.killed || errors.Is(err, context.Canceled):
		n.state = stateKilled
	case err != nil:
		n.out.say(err.Error())
		if n.state == stateStarting {
			n.state = stateError // it never was there
		} else {
			n.state = stateDead
		}
	default:
		n.state = stateSuccess
	}
	for _, x := range n.statements {
		x.lose()
	}
	n.in = nil
}

func (s *Server) deleteSession(ctx context.Context, n *session) (int, any, error) {
	n.mu.Lock()
	n.killed = true
	if n.in != nil {
		n.state = stateShuttingDown
	}
	n.mu.Unlock()
	n.cancel()
	select {
	case <-n.done:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	if err := s.dropRecord("session", n.id); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	delete(s.sessions, n.id)
	s.mu.Unlock()
	return http.StatusOK, map[string]string{"msg": "deleted"}, nil
}
