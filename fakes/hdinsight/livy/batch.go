package livy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// batchRequest is the body of POST /batches.
type batchRequest struct {
	submission
	File      string   `json:"file"`
	ClassName string   `json:"className"`
	Args      []string `json:"args"`
}

// States of batches and sessions, as Livy spells them.
const (
	stateStarting     = "starting"
	stateRunning      = "running"
	stateIdle         = "idle"
	stateBusy         = "busy"
	stateShuttingDown = "shutting_down"
	stateError        = "error"
	stateDead         = "dead"
	stateKilled       = "killed"
	stateSuccess      = "success"
)

// batch is one spark-submit.
type batch struct {
	id     int
	name   *string
	proxy  string
	out    *output
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	state string
}

type appInfo struct {
	DriverLogURL *string `json:"driverLogUrl"`
	SparkUIURL   *string `json:"sparkUiUrl"`
}

type batchView struct {
	ID        int      `json:"id"`
	Name      *string  `json:"name"`
	Owner     *string  `json:"owner"`
	ProxyUser *string  `json:"proxyUser"`
	State     string   `json:"state"`
	AppID     *string  `json:"appId"`
	AppInfo   appInfo  `json:"appInfo"`
	Log       []string `json:"log"`
}

// logLinesShown are how many lines a listing shows of each.
const logLinesShown = 10

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (b *batch) current() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *batch) set(state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = state
}

func (b *batch) view() batchView {
	return batchView{ID: b.id, Name: b.name, ProxyUser: optional(b.proxy), State: b.current(), AppID: b.out.application(), Log: last(b.out.log(), logLinesShown)}
}

func (b *batch) record() record {
	r := record{ID: b.id, Name: b.name, Proxy: b.proxy, State: b.current(), Log: b.out.kept()}
	if app := b.out.application(); app != nil {
		r.App = *app
	}
	return r
}

func (s *Server) serveBatches(w http.ResponseWriter, r *http.Request, path []string) (int, any, error) {
	if len(path) == 0 {
		switch r.Method {
		case http.MethodGet:
			return s.listBatches(r)
		case http.MethodPost:
			return s.createBatch(w, r)
		}
		return 0, nil, refuse(http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	id, err := strconv.Atoi(path[0])
	s.mu.Lock()
	b := s.batches[id]
	s.mu.Unlock()
	if err != nil || b == nil {
		return 0, nil, unfound(path[0])
	}
	switch {
	case len(path) == 1 && r.Method == http.MethodGet:
		return http.StatusOK, b.view(), nil
	case len(path) == 1 && r.Method == http.MethodDelete:
		return s.deleteBatch(r.Context(), b)
	case len(path) == 2 && path[1] == "state" && r.Method == http.MethodGet:
		return http.StatusOK, map[string]any{"id": b.id, "state": b.current()}, nil
	case len(path) == 2 && path[1] == "log" && r.Method == http.MethodGet:
		return logOf(r, b.id, b.out)
	}
	return 0, nil, refuse(http.StatusNotFound, "Not found")
}

// logOf is a window of the log: the last lines without a from.
func logOf(r *http.Request, id int, o *output) (int, any, error) {
	from, size, err := window(r, 100)
	if err != nil {
		return 0, nil, err
	}
	all := o.log()
	if from < 0 {
		from = max(0, len(all)-size)
	}
	from, some := cut(all, from, size)
	return http.StatusOK, map[string]any{"id": id, "from": from, "total": len(all), "log": some}, nil
}

func (s *Server) listBatches(r *http.Request) (int, any, error) {
	from, size, err := window(r, 100)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	var views []batchView
	for _, id := range sortedKeys(s.batches) {
		views = append(views, s.batches[id].view())
	}
	s.mu.Unlock()
	at, some := cut(views, from, size)
	return http.StatusOK, map[string]any{"from": at, "total": len(views), "sessions": append([]batchView{}, some...)}, nil
}

func sortedKeys[T any](m map[int]T) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (s *Server) createBatch(w http.ResponseWriter, r *http.Request) (int, any, error) {
	var q batchRequest
	if err := read(r, "org.apache.livy.server.batch.CreateBatchRequest", &q); err != nil {
		return 0, nil, err
	}
	if q.File == "" {
		return 0, nil, refuse(http.StatusBadRequest, "requirement failed: File is required.")
	}
	file, err := s.resolve(q.File)
	if err != nil {
		return 0, nil, err
	}
	options, err := q.options(s)
	if err != nil {
		return 0, nil, err
	}
	command := append([]string{"spark-submit"}, options...)
	if q.ClassName != "" {
		command = append(command, "--class", q.ClassName)
	}
	command = append(append(command, file), q.Args...)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, refuse(http.StatusServiceUnavailable, "The server is shutting down.")
	}
	for _, other := range s.batches {
		if q.Name != nil && other.name != nil && *other.name == *q.Name {
			return 0, nil, refuse(http.StatusBadRequest, "Duplicate session name: Some(%s) for session %d", *q.Name, s.nextBatch)
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	b := &batch{id: s.nextBatch, name: q.Name, proxy: q.ProxyUser, out: newOutput(), cancel: cancel, done: make(chan struct{}), state: stateStarting}
	if err := s.keepRecord("batch", b.record()); err != nil {
		cancel()
		return 0, nil, err
	}
	b.out.found = func() { s.note("batch", b.record()) }
	s.nextBatch++
	s.batches[b.id] = b
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer close(b.done)
		defer cancel()
		b.set(stateRunning)
		exit, err := s.run(ctx, command, nil, b.out)
		switch {
		case s.ctx.Err() != nil:
			b.out.say(lost)
			b.set(stateDead)
		case ctx.Err() != nil:
			b.set(stateKilled)
		case err != nil:
			b.out.say("spark-submit could not be run: " + err.Error())
			b.set(stateDead)
		case exit.Code != 0:
			b.out.say(fmt.Sprintf("spark-submit exited with code %d", exit.Code))
			b.set(stateDead)
		default:
			b.set(stateSuccess)
		}
		s.note("batch", b.record())
	}()
	w.Header().Set("Location", fmt.Sprintf("/batches/%d", b.id))
	return http.StatusCreated, b.view(), nil
}

func (s *Server) deleteBatch(ctx context.Context, b *batch) (int, any, error) {
	b.cancel()
	select {
	case <-b.done:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	if err := s.dropRecord("batch", b.id); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	delete(s.batches, b.id)
	s.mu.Unlock()
	return http.StatusOK, map[string]string{"msg": "deleted"}, nil
}
