package assets_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const scope = "subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"

var (
	workspace = plane.Workspace{Scope: plane.Scope{Subscription: "11111111-1111-1111-1111-111111111111", ResourceGroup: "rg", Workspace: "ws"},
		GUID: "aaaaaaaa-0000-0000-0000-000000000001", Location: "eastus2", StorageAccount: "wsstorage"}
	other = plane.Workspace{Scope: plane.Scope{Subscription: workspace.Subscription, ResourceGroup: "rg", Workspace: "other"},
		GUID: "aaaaaaaa-0000-0000-0000-000000000002", Location: "eastus2", StorageAccount: "wsstorage"}
)

// bench is a service with its surroundings.
type bench struct {
	t     *testing.T
	svc   *assets.Service
	blobs *memory
	st    *store.Store
	clock *clock.Manual
	mux   *plane.Mux
}

func newBench(t *testing.T) *bench { return openBench(t, "", newMemory()) }

func openBench(t *testing.T, path string, blobs *memory) *bench {
	t.Helper()
	st, err := store.Open(store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b := &bench{t: t, blobs: blobs, st: st, clock: clock.NewManual(time.Date(2018, 10, 10, 12, 0, 0, 0, time.UTC))}
	b.svc, err = assets.NewWithBlobs(assets.Config{Store: st, Clock: b.clock, TempDir: t.TempDir()}, blobs)
	if err != nil {
		t.Fatal(err)
	}
	b.mux = plane.NewMux(b.planeConfig(), nil)
	b.svc.Register(b.mux)
	for _, ws := range []plane.Workspace{workspace, other} {
		if err := b.svc.Provision(t.Context(), ws); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) planeConfig() plane.Config {
	return plane.Config{
		Clock: b.clock,
		Verify: func(_ context.Context, token string, _ ...string) (aad.Claims, error) {
			switch token {
			case "user":
				return aad.Claims{ObjectID: "user"}, nil
			case "run":
				return aad.Claims{RunID: "run1", Workspace: workspace.GUID}, nil
			}
			return aad.Claims{}, &aad.Error{Code: "InvalidAuthenticationToken", Message: "bad token", Challenge: "Bearer"}
		},
		Find: func(_ context.Context, s plane.Scope) (plane.Workspace, error) {
			for _, ws := range []plane.Workspace{workspace, other} {
				if strings.EqualFold(s.Workspace, ws.Workspace) {
					return ws, nil
				}
			}
			return plane.Workspace{}, plane.NotFound("The workspace '%s' was not found.", s.Workspace)
		},
	}
}

// request fills {WS}, {A} (artifacts) and {M} (api-version) of the path and sends.
func (b *bench) request(method, path string, body io.Reader, header http.Header) *http.Response {
	b.t.Helper()
	path = strings.NewReplacer("{A}", "/artifact/v1.0/{WS}/artifacts").Replace(path)
	path = strings.NewReplacer("{WS}", scope, "{M}", "api-version=2018-03-01-preview").Replace(path)
	r := httptest.NewRequest(method, "http://eastus2.api.azureml.ms"+path, body)
	r.Header.Set("Authorization", "Bearer user")
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	b.mux.ServeHTTP(w, r)
	return w.Result()
}

func (b *bench) do(method, path, body string) (int, string) {
	b.t.Helper()
	res := b.request(method, path, strings.NewReader(body), nil)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// want does a request and fails unless the answer has the status; it decodes the body.
func (b *bench) want(status int, method, path, body string, into any) string {
	b.t.Helper()
	got, text := b.do(method, path, body)
	if got != status {
		b.t.Fatalf("%s %s: %d, want %d: %s", method, path, got, status, text)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
	return text
}

// exchange is one request and what its answer must hold.
type exchange struct {
	name, method, path, body string
	status                   int
	has                      []string
	hasNot                   []string
}

func (b *bench) run(rows []exchange) {
	for _, row := range rows {
		b.t.Run(row.name, func(t *testing.T) {
			inner := *b
			inner.t = t
			status, text := inner.do(row.method, row.path, row.body)
			if status != row.status {
				t.Fatalf("%s %s: %d, want %d: %s", row.method, row.path, status, row.status, text)
			}
			for _, h := range row.has {
				if !strings.Contains(text, h) {
					t.Errorf("answer lacks %s: %s", h, text)
				}
			}
			for _, h := range row.hasNot {
				if strings.Contains(text, h) {
					t.Errorf("answer has %s: %s", h, text)
				}
			}
		})
	}
}

// upload does what the SDK does: metadata, then the blob itself.
func (b *bench) upload(origin, container, path, content string) {
	b.t.Helper()
	b.want(200, "POST", "{A}/batch/metadata/"+origin+"/"+container, `{"paths":[{"path":"`+path+`"}]}`, nil)
	name := origin + "/" + container + "/" + strings.TrimPrefix(path, "./")
	if _, err := b.blobs.Put(b.t.Context(), "wsstorage", "azureml", name, "", strings.NewReader(content)); err != nil {
		b.t.Fatal(err)
	}
}

func dbPath(t *testing.T) string { return filepath.Join(t.TempDir(), "state.db") }

func TestEveryRouteWantsAToken(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"{A}/origins/ExperimentRun/containers/r", "/content/v1.0/{WS}/snapshots/latest/metadata",
		"/datastore/v1.0/{WS}/datastores", "/credential/v1.0/{WS}/secrets/s", "/api/{WS}/models?{M}"} {
		for _, header := range []string{"", "Bearer forged"} {
			res := b.request("GET", path, nil, http.Header{"Authorization": {header}})
			if res.StatusCode != 401 || res.Header.Get("Www-Authenticate") == "" {
				t.Errorf("GET %s with %q: %d", path, header, res.StatusCode)
			}
		}
	}
	status, _ := b.do("GET", strings.Replace("/api/{WS}/models?{M}", "{WS}", strings.Replace(scope, "/ws", "/absent", 1), 1), "")
	if status != 404 {
		t.Errorf("unknown workspace: %d", status)
	}
}

func TestDeleteWorkspaceDropsItsRecordsAlone(t *testing.T) {
	b := newBench(t)
	b.upload("ExperimentRun", "r", "a.txt", "x")
	before := len(b.blobs.names())
	if err := b.svc.DeleteWorkspace(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
	docs, err := b.st.List(t.Context(), "assets/"+workspace.GUID, "", 0)
	if err != nil || len(docs) != 0 {
		t.Fatalf("%d records left, %v", len(docs), err)
	}
	if docs, _ = b.st.List(t.Context(), "assets/"+other.GUID, "", 0); len(docs) == 0 {
		t.Fatal("the other workspace's records are gone")
	}
	if got := len(b.blobs.names()); got != before {
		t.Fatalf("%d blobs, want %d", got, before)
	}
}

func TestStorageThatIsGoneIsNoServerError(t *testing.T) {
	b := newBench(t)
	id := b.mustSnapshot(zeroID, folder("", file("a", "1")), sent{"a", "x"})
	delete(b.blobs.accounts, "wsstorage")
	b.run([]exchange{
		{"put", "POST", "{A}/content/ExperimentRun/r/f", "x", 404, []string{"wsstorage"}, nil},
		{"append", "POST", "{A}/content/ExperimentRun/r/g?append=true", "x", 404, []string{"wsstorage"}, nil},
		{"zip", "GET", "/content/v1.0/{WS}/snapshots/" + id, "", 409, []string{"wsstorage"}, nil},
		{"list", "GET", "{A}/origins/ExperimentRun/containers/r", "", 200, []string{`"count":0`}, nil},
		{"datastore", "GET", stores + "/workspaceblobstore", "", 404, []string{"wsstorage"}, nil},
	})
	if status, text := b.snapshot(unkID, id, folder("", file("a", "2")), sent{"a", "y"}); status != 404 {
		t.Fatal(status, text)
	}
}

func TestContentDeletedBehindASnapshotsBack(t *testing.T) {
	b := newBench(t)
	id := b.mustSnapshot(zeroID, folder("", file("a", "1")), sent{"a", "x"})
	for _, n := range b.blobs.names() {
		if name, ok := strings.CutPrefix(n, "wsstorage/snapshots/"); ok {
			if err := b.blobs.Delete(t.Context(), "wsstorage", "snapshots", name); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.run([]exchange{{"zip", "GET", "/content/v1.0/{WS}/snapshots/" + id, "", 409, []string{"'a' in snapshot"}, nil}})
}

func TestNewRemovesWhatAKilledProcessLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "uploads")
	left := filepath.Join(dir, "lazulite-upload-1", "part-1")
	kept := filepath.Join(dir, "other")
	for _, f := range []string{left, kept} {
		if err := os.MkdirAll(f, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t)
	if _, err := assets.NewWithBlobs(assets.Config{Store: b.st, TempDir: dir}, b.blobs); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(left)); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Fatal(err)
	}
}
