// Package livy is the Livy server of an HDInsight Spark cluster: batches over
// spark-submit, and interactive PySpark and SQL sessions over a kept PySpark
// process, on the cluster's head node. Real Livy's sessions can't be had for
// the Spark that runs here, so this is a server of our own with its REST
// interface of 0.7 (paths, states, answers and refusals).
//
// A state is what the process did: a batch is success when spark-submit ended
// with 0, dead otherwise; a statement is available when its code has run. Processes
// that it started end with it, also when it is killed: after a restart it shows
// what there was, what ran then as dead, and no statements.
//
// Scala and R sessions are refused; sql is Spark's own through PySpark. There is
// no user impersonation: proxyUser is kept and shown. As on HDInsight, local
// files are not taken, and writes need the header X-Requested-By.
package livy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
)

// interfaceVersion is the release of Livy whose REST interface is served.
const interfaceVersion = "0.7.1-incubating"

// maxBody bounds a request.
const maxBody = 4 << 20

// Node is the head node as this package needs it.
type Node interface {
	// Exec runs a command as the cluster's user, with spark-submit and pyspark on its PATH.
	Exec(ctx context.Context, x engine.Exec) (engine.Exit, error)
	// Home is that user's home: its path on the node, and on this host.
	Home(ctx context.Context) (there, here string, err error)
}

// Config of a Server.
type Config struct {
	Node Node // required
	// DefaultFS is the cluster's default file system ("wasb://container@account.blob.core.windows.net"),
	// against which paths without a scheme are taken; with "file:///" local files are all there is, and taken.
	DefaultFS func() string
	// Dir keeps what is shown after a restart; empty: nothing is.
	Dir    string
	Clock  clock.Clock  // nil: the real one
	Logger *slog.Logger // nil: silent
}

// Server is the Livy of one cluster. It is safe for concurrent use.
type Server struct {
	cfg Config

	ctx  context.Context // of all processes
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	batches   map[int]*batch
	sessions  map[int]*session
	nextBatch int
	nextOne   int
}

// New makes a Server; it starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DefaultFS == nil {
		cfg.DefaultFS = func() string { return "file:///" }
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, ctx: ctx, stop: stop, batches: map[int]*batch{}, sessions: map[int]*session{}}
	return s, s.load()
}

// Close ends all batches and sessions and waits for their processes.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("livy: processes did not end: %w", ctx.Err())
	}
}

// refusal is an answer that is no success: {"msg": ...}, or for a body that
// Jackson could not take its message alone, as real Livy 0.7.1 was seen to answer.
type refusal struct {
	status  int
	msg     string
	jackson bool
}

func (r *refusal) Error() string { return r.msg }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, msg: fmt.Sprintf(format, args...)}
}

func unreadable(format string, args ...any) error {
	return &refusal{status: http.StatusBadRequest, msg: fmt.Sprintf(format, args...), jackson: true}
}

func unfound(id string) error { return refuse(http.StatusNotFound, "Session '%s' not found.", id) }

// ServeHTTP answers for a path below /livy.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("X-Requested-By") == "" {
		http.Error(w, "Missing Required Header for CSRF protection.", http.StatusBadRequest)
		return
	}
	status, body, err := s.route(w, r)
	var no *refusal
	switch {
	case errors.As(err, &no):
		status, body = no.status, map[string]string{"msg": no.msg}
		if no.jackson {
			body = no.msg
		}
	case err != nil:
		s.cfg.Logger.Warn("livy", "path", r.URL.Path, "err", err)
		status, body = http.StatusInternalServerError, map[string]string{"msg": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) (int, any, error) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch path[0] {
	case "batches":
		return s.serveBatches(w, r, path[1:])
	case "sessions":
		return s.serveSessions(w, r, path[1:])
	case "version":
		// By it clients choose how they speak: this is the release whose interface is served.
		return http.StatusOK, map[string]string{"version": interfaceVersion, "user": "lazulite", "url": "", "branch": "", "revision": "", "date": ""}, nil
	}
	return 0, nil, refuse(http.StatusNotFound, "Not found")
}

// read decodes a request, which Livy keeps in a class. A member that Livy does not know, or of another type, is its Jackson's error.
func read(r *http.Request, class string, into any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return refuse(http.StatusBadRequest, "The request could not be read: %v", err)
	}
	if len(b) > maxBody {
		return refuse(http.StatusRequestEntityTooLarge, "The request is larger than %d bytes.", maxBody)
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return unreadable("No content to map due to end-of-input")
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return unreadable("Unrecognized field %s (class %s), not marked as ignorable", name, class)
		}
		return unreadable("The request is no JSON as expected: %v", err)
	}
	return nil
}

// window reads from and size. Without size it is most.
func window(r *http.Request, most int) (from, size int, err error) {
	from, size = -1, most
	for name, to := range map[string]*int{"from": &from, "size": &size} {
		v := r.URL.Query().Get(name)
		if v == "" {
			continue
		}
		if *to, err = strconv.Atoi(v); err != nil {
			return 0, 0, refuse(http.StatusBadRequest, "For input string: %q", v)
		}
	}
	return from, size, nil
}

// cut is a window of a list: from its beginning without a from.
func cut[T any](all []T, from, size int) (int, []T) {
	from = min(max(from, 0), len(all))
	end := len(all)
	if size >= 0 {
		end = min(from+size, end)
	}
	return from, all[from:end]
}

// resolve takes a file of a request for one of the default file system, as Livy does.
func (s *Server) resolve(file string) (string, error) {
	fs := strings.TrimRight(s.cfg.DefaultFS(), "/")
	local := fs == "file:" || fs == ""
	scheme, rest, ok := strings.Cut(file, ":")
	switch {
	case !ok || strings.Contains(scheme, "/"):
		if !strings.HasPrefix(file, "/") {
			return "", refuse(http.StatusBadRequest, "requirement failed: Path '%s' is not absolute.", file)
		}
		if local {
			return file, nil
		}
		return fs + file, nil
	case scheme == "file" && !local:
		return "", refuse(http.StatusBadRequest, "requirement failed: Local path %s cannot be added to user sessions.", "/"+strings.TrimLeft(rest, "/"))
	}
	return file, nil
}

func (s *Server) resolveAll(files []string) ([]string, error) {
	out := make([]string, 0, len(files))
	for _, f := range files {
		r, err := s.resolve(f)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
