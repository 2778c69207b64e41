package livy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// States of a statement, as Livy spells them.
const (
	statementWaiting    = "waiting"
	statementRunning    = "running"
	statementAvailable  = "available"
	statementCancelling = "cancelling"
	statementCancelled  = "cancelled"
	statementError      = "error"
)

// statement is one piece of code of a session. Its session's lock guards it.
type statement struct {
	id                 int
	code, kind         string
	state              string
	output             json.RawMessage
	started, completed time.Time
	now                func() time.Time
}

type statementView struct {
	ID        int             `json:"id"`
	Code      string          `json:"code"`
	State     string          `json:"state"`
	Output    json.RawMessage `json:"output"`
	Progress  float64         `json:"progress"`
	Started   int64           `json:"started"`   // ms since 1970, 0: not yet
	Completed int64           `json:"completed"` // likewise
}

func (x *statement) view() statementView {
	v := statementView{ID: x.id, Code: x.code, State: x.state, Output: x.output}
	if !x.started.IsZero() {
		v.Started = x.started.UnixMilli()
	}
	if !x.completed.IsZero() {
		v.Completed = x.completed.UnixMilli()
	}
	if x.state == statementAvailable {
		v.Progress = 1
	}
	if v.Output == nil {
		v.Output = json.RawMessage("null")
	}
	return v
}

func (x *statement) begin() {
	x.started = x.now()
	if x.state == statementWaiting {
		x.state = statementRunning
	}
}

func (x *statement) finish(t told) {
	x.completed = x.now()
	x.output, x.state = t.Output, statementAvailable
	if t.Canceled {
		x.output, x.state = nil, statementCancelled
	}
}

// lose is the end of a statement whose process is gone.
func (x *statement) lose() {
	switch x.state {
	case statementWaiting, statementCancelling:
		x.state = statementCancelled
	case statementRunning:
		x.state = statementError
	}
}

// tell passes on to the process what it has not been told yet. The session's lock is held.
func (n *session) tell() {
	for n.in != nil && n.state != stateStarting && n.sent < len(n.statements) {
		x := n.statements[n.sent]
		n.sent++
		if x.state != statementWaiting {
			continue
		}
		n.write(map[string]any{"id": x.id, "code": x.code, "kind": x.kind})
	}
}

// write sends a line. It does not wait for the process, which may be busy reading nothing.
func (n *session) write(doc any) {
	line, err := json.Marshal(doc)
	if err != nil {
		panic(err) // text and numbers alone
	}
	select {
	case n.lines <- append(line, '\n'):
	default:
		n.out.say("a statement was dropped: too many wait")
	}
}

func (s *Server) serveStatements(w http.ResponseWriter, r *http.Request, n *session, path []string) (int, any, error) {
	if len(path) == 0 {
		switch r.Method {
		case http.MethodGet:
			return listStatements(r, n)
		case http.MethodPost:
			return s.createStatement(w, r, n)
		}
		return 0, nil, refuse(http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	id, err := strconv.Atoi(path[0])
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || id < 0 || id >= len(n.statements) {
		return 0, nil, refuse(http.StatusNotFound, "Statement not found")
	}
	x := n.statements[id]
	switch {
	case len(path) == 1 && r.Method == http.MethodGet:
		return http.StatusOK, x.view(), nil
	case len(path) == 2 && path[1] == "cancel" && r.Method == http.MethodPost:
		n.cancelStatement(x)
		return http.StatusOK, map[string]string{"msg": "canceled"}, nil
	}
	return 0, nil, refuse(http.StatusNotFound, "Not found")
}

// cancelStatement has one that waits not run, and interrupts one that runs.
func (n *session) cancelStatement(x *statement) {
	switch x.state {
	case statementWaiting, statementRunning:
	default:
		return
	}
	if x.id >= n.sent || n.in == nil {
		x.state = statementCancelled
		return
	}
	x.state = statementCancelling
	n.write(map[string]any{"cancel": x.id})
}

func listStatements(r *http.Request, n *session) (int, any, error) {
	from, size, err := window(r, -1)
	if err != nil {
		return 0, nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	views := []statementView{}
	for _, x := range n.statements {
		views = append(views, x.view())
	}
	_, some := cut(views, from, size)
	return http.StatusOK, map[string]any{"total_statements": len(views), "statements": some}, nil
}

func (s *Server) createStatement(w http.ResponseWriter, r *http.Request, n *session) (int, any, error) {
	var q struct {
		Code string `json:"code"`
		Kind string `json:"kind"`
	}
	if err := read(r, "org.apache.livy.server.interactive.ExecuteRequest", &q); err != nil {
		return 0, nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if q.Kind == "" {
		q.Kind = n.kind
	}
	if q.Kind == "shared" {
		return 0, nil, refuse(http.StatusBadRequest, "Code type should be specified if session kind is shared")
	}
	if !slices.Contains(kinds(), q.Kind) {
		return 0, nil, refuse(http.StatusBadRequest, "Statements of the kind '%s' are not emulated here; 'pyspark' and 'sql' are.", q.Kind)
	}
	switch n.state {
	case stateStarting, stateIdle, stateBusy:
	default:
		return 0, nil, refuse(http.StatusBadRequest, "requirement failed: Session is in state %s", n.state)
	}
	if len(n.lines) >= statementsMost/2 {
		return 0, nil, refuse(http.StatusTooManyRequests, "Rejected, too many statements are waiting for session %d", n.id)
	}
	x := &statement{id: len(n.statements), code: q.Code, kind: q.Kind, state: statementWaiting, now: s.cfg.Clock.Now}
	n.statements = append(n.statements, x)
	if n.state == stateIdle {
		n.state = stateBusy
	}
	n.tell()
	w.Header().Set("Location", fmt.Sprintf("/sessions/%d/statements/%d", n.id, x.id))
	return http.StatusCreated, x.view(), nil
}
