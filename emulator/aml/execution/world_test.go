package execution_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const (
	endpoint = "https://eastus.experiments.azureml.net"
	blobHost = "https://account.blob.core.windows.net"
	scope    = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"
	// token has the form of a signed one (exp: 2100), which today's SDK reads.
	token = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln"
)

var workspace = plane.Workspace{
	Scope: plane.Scope{Subscription: "s1", ResourceGroup: "rg", Workspace: "ws"},
	GUID:  "11111111-2222-3333-4444-555555555555", Location: "eastus", StorageAccount: "account",
}

// world is everything around the run service: history, artifacts and storage
// in memory, behind a proxy that ends TLS for Azure's names.
type world struct {
	t       *testing.T
	service *execution.Service
	cfg     execution.Config
	mux     *plane.Mux
	proxy   *httptest.Server

	mu        sync.Mutex
	changed   chan struct{}
	runs      map[string]*history.Run
	statuses  map[string][]string
	beats     int
	metrics   []string
	unknown   []string // requests that nobody serves
	artifacts map[string][]byte
	next      map[string]string // artifact -> last index that was appended
	projects  map[string][]byte
	blobs     map[string][]byte
	computes  map[string]execution.Compute
	secrets   map[string]string
	warnings  []history.Warning
	ended     map[chan history.Change]struct{}
	down      bool
}

func newWorld(t *testing.T, change ...func(*execution.Config)) *world {
	t.Helper()
	w := &world{
		t: t, changed: make(chan struct{}), runs: map[string]*history.Run{}, statuses: map[string][]string{},
		artifacts: map[string][]byte{}, next: map[string]string{}, projects: map[string][]byte{}, blobs: map[string][]byte{},
		computes: map[string]execution.Compute{}, secrets: map[string]string{}, ended: map[chan history.Change]struct{}{},
	}
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	bundle := w.serveProxy()
	w.cfg = execution.Config{
		Store: st, Runs: w, Assets: w, Computes: w, Dir: t.TempDir(), BundleFile: bundle,
		ProxyURL: func() string { return w.proxy.URL },
		Endpoint: func(plane.Workspace) string { return endpoint },
		Logger:   slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		GiveUp:   time.Minute,
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.service, err = execution.New(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.mux = plane.NewMux(plane.Config{
		Clock: clock.Real(),
		Verify: func(_ context.Context, token string, _ ...string) (aad.Claims, error) {
			return aad.Claims{ObjectID: "user"}, nil
		},
		Find: func(context.Context, plane.Scope) (plane.Workspace, error) { return workspace, nil },
	}, nil)
	w.service.Register(w.mux)
	if err := w.service.Open(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.service.Close(ctx); err != nil {
		w.t.Errorf("Close: %v", err)
	}
}

// testLog drops what comes after the test ended.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// -- the wire that control scripts see --

func (w *world) serveProxy() (bundle string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"eastus.experiments.azureml.net", "*.blob.core.windows.net"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle = filepath.Join(w.t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	w.proxy = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || w.isDown() {
			http.Error(rw, "down", http.StatusBadGateway)
			return
		}
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		w.serveTLS(tls.Server(conn, config))
	}))
	w.t.Cleanup(w.proxy.Close)
	return bundle
}

func (w *world) serveTLS(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	rec := httptest.NewRecorder()
	w.serve(rec, r)
	res := rec.Result()
	res.ContentLength = int64(rec.Body.Len())
	res.Close = true
	_ = res.Write(conn)
}

func (w *world) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

func (w *world) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.wake()
	if strings.Contains(r.Host, ".blob.") {
		w.serveBlob(rw, r, body)
		return
	}
	if r.URL.Path == "/discovery" {
		services := map[string]string{}
		for _, key := range []string{"history", "api", "modelmanagement", "experimentation", "experimentgraphs", "hyperdrive", "pipelines",
			"catalog", "gallery", "jasmine", "studio"} {
			services[key] = endpoint
		}
		_ = json.NewEncoder(rw).Encode(services)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(rw, "no token", http.StatusUnauthorized)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, "/events"):
		w.event(body)
	case strings.HasSuffix(path, "/metrics"), strings.HasPrefix(path, "/metric/"):
		w.metrics = append(w.metrics, string(body))
	case strings.HasPrefix(path, "/history/"):
		id := path[strings.LastIndex(path, "/")+1:]
		_ = json.NewEncoder(rw).Encode(w.runs[id])
	case strings.Contains(path, "/artifacts/content/ExperimentRun/"):
		name := path[strings.Index(path, "/ExperimentRun/")+len("/ExperimentRun/"):]
		if w.next[name] != r.URL.Query().Get("index") || w.next[name] == "" {
			w.artifacts[name] = append(w.artifacts[name], body...)
			w.next[name] = r.URL.Query().Get("index")
		}
		_, _ = io.WriteString(rw, "{}")
	case r.Method == http.MethodDelete && strings.Contains(path, "/artifacts/metadata/ExperimentRun/"):
		name := path[strings.Index(path, "/ExperimentRun/")+len("/ExperimentRun/"):]
		if w.artifacts[name] == nil {
			http.NotFound(rw, r)
		}
		delete(w.artifacts, name)
		delete(w.next, name)
	case strings.Contains(path, "/artifacts/batch/metadata/ExperimentRun/"):
		w.declare(rw, path[strings.LastIndex(path, "/")+1:], body)
	default:
		w.unknown = append(w.unknown, r.Method+" "+path)
		http.NotFound(rw, r)
	}
}

func (w *world) declare(rw http.ResponseWriter, run string, body []byte) {
	var in struct{ Paths []struct{ Path string } }
	_ = json.Unmarshal(body, &in)
	content, records := map[string]any{}, map[string]any{}
	for _, p := range in.Paths {
		name := strings.TrimPrefix(p.Path, "./")
		id := "ExperimentRun/" + run + "/" + name
		content[p.Path] = map[string]string{"contentUri": blobHost + "/azureml/" + id + "?sig=x", "origin": "ExperimentRun", "container": run, "path": name}
		records[p.Path] = map[string]string{"artifactId": id, "origin": "ExperimentRun", "container": run, "path": name}
	}
	_ = json.NewEncoder(rw).Encode(map[string]any{"artifacts": records, "artifactContentInformation": content, "errors": map[string]any{}})
}

func (w *world) event(body []byte) {
	var e struct {
		Name string
		Data struct {
			RunID   string `json:"RunId"`
			Error   *history.RunError
			Message string // of a warning
		}
	}
	_ = json.Unmarshal(body, &e)
	if strings.HasSuffix(e.Name, ".Warning") {
		w.warnings = append(w.warnings, history.Warning{Source: "run", Message: e.Data.Message})
		return
	}
	state := map[string]string{"Start": "Running", "Completed": "Completed", "Failed": "Failed", "Canceled": "Canceled"}[e.Name[strings.LastIndex(e.Name, ".")+1:]]
	if state == "" {
		w.beats++
		return
	}
	w.set(e.Data.RunID, state, e.Data.Error)
}

// set must be called with the lock held.
func (w *world) set(id, status string, failure *history.RunError) bool {
	run := w.runs[id]
	if run == nil || history.Terminal(run.Status) || run.Status == status {
		return false
	}
	run.Status, run.Error = status, failure
	w.statuses[id] = append(w.statuses[id], status)
	if history.Terminal(status) || status == "CancelRequested" {
		for c := range w.ended {
			c <- history.Change{Workspace: workspace, RunID: id, Status: status}
		}
	}
	return true
}

func (w *world) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) serveBlob(rw http.ResponseWriter, r *http.Request, body []byte) {
	q := r.URL.Query()
	// The SDK's storage client reads these from every answer.
	rw.Header().Set("ETag", `"1"`)
	rw.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	rw.Header().Set("x-ms-request-id", "1")
	switch {
	case r.Method == "GET" && q.Get("comp") == "list":
		type blob struct{ Name string }
		var out struct {
			XMLName    xml.Name `xml:"EnumerationResults"`
			Blobs      []blob   `xml:"Blobs>Blob"`
			NextMarker string
		}
		for name := range w.blobs {
			if rest, ok := strings.CutPrefix(name, r.URL.Path+"/"); ok && strings.HasPrefix(rest, q.Get("prefix")) {
				out.Blobs = append(out.Blobs, blob{rest})
			}
		}
		sort.Slice(out.Blobs, func(i, j int) bool { return out.Blobs[i].Name < out.Blobs[j].Name })
		_ = xml.NewEncoder(rw).Encode(out)
	case r.Method == "GET":
		b, ok := w.blobs[r.URL.Path]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(b)
	case q.Get("comp") == "block":
		w.blobs[r.URL.Path+"\x00"+q.Get("blockid")] = body
		rw.WriteHeader(http.StatusCreated)
	case q.Get("comp") == "blocklist":
		var list struct{ Latest []string }
		_ = xml.Unmarshal(body, &list)
		var all []byte
		for _, id := range list.Latest {
			all = append(all, w.blobs[r.URL.Path+"\x00"+id]...)
			delete(w.blobs, r.URL.Path+"\x00"+id)
		}
		w.blobs[r.URL.Path] = all
		rw.WriteHeader(http.StatusCreated)
	case q.Get("comp") == "appendblock":
		w.blobs[r.URL.Path] = append(w.blobs[r.URL.Path], body...)
		rw.WriteHeader(http.StatusCreated)
	case r.Header.Get("If-None-Match") == "*" && w.blobs[r.URL.Path] != nil:
		rw.WriteHeader(http.StatusConflict)
	default:
		w.blobs[r.URL.Path] = body
		rw.WriteHeader(http.StatusCreated)
	}
}

// -- execution.Runs, Assets and Computes --

func (w *world) Create(_ context.Context, _ plane.Workspace, n history.NewRun) (*history.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs[n.RunID] != nil {
		return nil, plane.Conflict("taken")
	}
	run := &history.Run{RunID: n.RunID, RootRunID: n.RunID, RunNumber: 1, Experiment: n.Experiment, ExperimentID: "e", Status: n.Status,
		Target: n.Target, ScriptName: n.ScriptName, RunType: n.RunType, RunDefinition: n.RunDefinition, Properties: n.Properties}
	w.runs[n.RunID] = run
	w.statuses[n.RunID] = []string{n.Status}
	c := *run
	return &c, nil
}

func (w *world) Get(_ context.Context, _ plane.Workspace, id string) (*history.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs[id] == nil {
		return nil, plane.NotFound("Run %s was not found.", id)
	}
	c := *w.runs[id]
	return &c, nil
}

func (w *world) SetStatus(_ context.Context, _ plane.Workspace, id, status string, failure *history.RunError) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.wake()
	return w.set(id, status, failure), nil
}

func (w *world) AddWarning(_ context.Context, _ plane.Workspace, _ string, warning history.Warning) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warnings = append(w.warnings, warning)
	return nil
}

func (w *world) Token(context.Context, plane.Workspace, string) (plane.Token, error) {
	return plane.Token{Token: token, Expires: time.Now().Add(24 * time.Hour)}, nil
}

func (w *world) Ended() (<-chan history.Change, func()) {
	c := make(chan history.Change, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ended, c)
	}
}

func (w *world) PutArtifact(_ context.Context, _ plane.Workspace, run, path, _ string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.artifacts[run+"/"+path] = b
	return nil
}

func (w *world) StoreProject(_ context.Context, _ plane.Workspace, run string, r io.Reader) error {
	b, err := io.ReadAll(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.projects[run] = b
	return err
}

func (w *world) SnapshotZip(_ context.Context, _ plane.Workspace, id string, out io.Writer) error {
	if id != "snap" {
		return plane.NotFound("Snapshot %s was not found.", id)
	}
	_, err := out.Write(zipped(w.t, map[string]string{"train.py": "print('from snapshot')"}))
	return err
}

func (w *world) Datastore(_ context.Context, _ plane.Workspace, name string, _ time.Time) (assets.Datastore, error) {
	if name != "store" {
		return assets.Datastore{}, plane.NotFound("Datastore %s was not found.", name)
	}
	return assets.Datastore{Name: name, Type: "AzureBlob", ContainerURL: blobHost + "/data?sig=x"}, nil
}

func stagedName(run, name string) string { return "/staged/" + run + "/" + name }

func (w *world) Stage(_ context.Context, _ plane.Workspace, run, name string, r io.Reader) error {
	b, err := io.ReadAll(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blobs[stagedName(run, name)] = b
	return err
}

func (w *world) StagedURL(_ context.Context, _ plane.Workspace, run, name, permissions string, _ time.Time) (string, error) {
	return blobHost + stagedName(run, name) + "?sig=secret&sp=" + permissions, nil
}

func (w *world) Staged(_ context.Context, _ plane.Workspace, run, name string, _ int64) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blobs[stagedName(run, name)], nil
}

func (w *world) Unstage(_ context.Context, _ plane.Workspace, run string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.blobs {
		if strings.HasPrefix(name, stagedName(run, "")) {
			delete(w.blobs, name)
		}
	}
	return nil
}

func (w *world) Secret(_ context.Context, _ plane.Workspace, name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.secrets[name]; ok {
		return s, nil
	}
	return "", plane.NotFound("Secret %s was not found.", name)
}

func (w *world) Find(_ context.Context, _ plane.Workspace, name string) (execution.Compute, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.computes[strings.ToLower(name)]
	if !ok {
		return c, plane.NotFound("Compute Target with name %s not found in provided workspace", name)
	}
	return c, nil
}

// -- what tests ask --

// wait blocks until cond, called with the lock held, is true.
func (w *world) wait(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	deadline := time.After(limit)
	for {
		w.mu.Lock()
		ok, changed := cond(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.mu.Lock()
			defer w.mu.Unlock()
			var logs strings.Builder
			for name, b := range w.artifacts {
				fmt.Fprintf(&logs, "--- %s\n%.3000s\n", name, b)
			}
			w.t.Fatalf("no %s after %s; statuses %v\n%s", what, limit, w.statuses, logs.String())
		}
	}
}

func (w *world) waitEnd(run string) *history.Run {
	w.t.Helper()
	w.wait("end of "+run, 90*time.Second, func() bool { return w.runs[run] != nil && history.Terminal(w.runs[run].Status) })
	r, err := w.Get(context.Background(), workspace, run)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) artifact(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.artifacts[name])
}

func (w *world) blob(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.blobs[name])
}
