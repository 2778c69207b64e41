package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// root is the path below which all requests of the tests go.
const root = "/history/v1.0/subscriptions/S/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"

var workspace = plane.Workspace{
	Scope: plane.Scope{Subscription: "S", ResourceGroup: "rg", Workspace: "ws"},
	GUID:  "6F9619FF-8B86-D011-B42D-00C04FC964FF", Location: "westeurope",
}

func noon() time.Time { return time.Date(2018, 10, 10, 12, 0, 0, 0, time.UTC) }

// server is a Service behind a listener of its own.
type server struct {
	*httptest.Server
	*history.Service
	tb    testing.TB
	store *store.Store
	clock *clock.Manual
}

type options struct {
	path string // of the database; empty: in memory
	real bool   // the machine's clock
	at   time.Time
}

func serve(tb testing.TB, o options) *server {
	tb.Helper()
	st, err := store.Open(store.Config{Path: o.path})
	if err != nil {
		tb.Fatal(err)
	}
	if o.at.IsZero() {
		o.at = noon()
	}
	s := &server{tb: tb, store: st, clock: clock.NewManual(o.at)}
	var c clock.Clock = s.clock
	if o.real {
		c = clock.Real()
	}
	s.Service, err = history.New(history.Config{
		Store: st, Clock: c, Logger: slog.New(slog.NewTextHandler(tb.Output(), nil)),
		Issue: func(_ context.Context, c aad.Claims) (string, error) {
			return "run:" + c.Workspace + ":" + c.RunID, nil
		},
		LogFiles: func(_ context.Context, _ plane.Workspace, run string) (map[string]string, error) {
			if run != "logged" {
				return nil, nil
			}
			return map[string]string{"azureml-logs/80_driver_log.txt": "https://a.blob/" + run}, nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	mux := plane.NewMux(plane.Config{Clock: c, Verify: verify, Find: find}, nil)
	s.Register(mux)
	s.Server = httptest.NewServer(mux)
	tb.Cleanup(s.stop)
	return s
}

// stop may be called more than once.
func (s *server) stop() {
	s.Server.Close()
	if err := s.Service.Close(context.Background()); err != nil {
		s.tb.Error(err)
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.tb.Error(err)
		}
		s.store = nil
	}
}

// verify knows "user" and the tokens that serve's Issue makes.
func verify(_ context.Context, token string, _ ...string) (aad.Claims, error) {
	if token == "user" {
		return aad.Claims{ObjectID: "o-1", Tenant: "t-1", UPN: "nobody@example.com"}, nil
	}
	if p := strings.Split(token, ":"); len(p) == 3 && p[0] == "run" {
		return aad.Claims{ObjectID: "o-1", Workspace: p[1], RunID: p[2]}, nil
	}
	return aad.Claims{}, &aad.Error{Code: "InvalidAuthenticationToken", Message: "no", Challenge: "Bearer"}
}

func find(_ context.Context, s plane.Scope) (plane.Workspace, error) {
	if strings.EqualFold(s.Workspace, "ws") {
		return workspace, nil
	}
	if s.Workspace == "other" {
		w := workspace
		w.GUID = "00000000-0000-0000-0000-0000000000ff"
		return w, nil
	}
	return plane.Workspace{}, plane.NotFound("Workspace %s was not found", s.Workspace)
}

func tokenOf(run string) string { return "run:" + workspace.GUID + ":" + run }

// call is one exchange: token "" is the user's. The path is below root, or
// "/metric/v2.0" for that service's, and its query is escaped here.
func (s *server) call(token, method, path, body string) (int, []byte) {
	s.tb.Helper()
	if token == "" {
		token = "user"
	}
	base := root
	if below, ok := strings.CutPrefix(path, "/metric/v2.0"); ok {
		base, path = strings.Replace(root, "/history/v1.0", "/metric/v2.0", 1), below
	}
	path, query, _ := strings.Cut(path, "?")
	if query != "" {
		var opts []string
		for _, o := range strings.Split(query, "&") {
			k, v, _ := strings.Cut(o, "=")
			opts = append(opts, k+"="+url.QueryEscape(v))
		}
		path += "?" + strings.Join(opts, "&")
	}
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.tb.Context(), method, s.URL+base+path, r)
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json-patch+json; charset=utf-8")
	res, err := s.Client().Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return res.StatusCode, b
}

// must is call for a request that has to succeed; it returns the reply decoded.
func (s *server) must(token, method, path, body string) any {
	s.tb.Helper()
	status, b := s.call(token, method, path, body)
	if status != http.StatusOK {
		s.tb.Fatalf("%s %s: %d %s", method, path, status, b)
	}
	return decode(b)
}

// decode reads a reply; the literals of Python's JSON become strings.
func decode(b []byte) any {
	b = regexp.MustCompile(`([:,\[])(-?Infinity|NaN)`).ReplaceAll(b, []byte(`$1"$2"`))
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return v
}

// at follows a path such as "value.0.tags.k"; "#" is a length, a missing step "absent".
func at(v any, path string) string {
	if path == "" {
		b, _ := json.Marshal(v)
		return string(b)
	}
	head, rest, _ := strings.Cut(path, ".")
	switch t := v.(type) {
	case map[string]any:
		if head == "#" {
			return strconv.Itoa(len(t))
		}
		// A key may have dots itself.
		if x, ok := t[path]; ok {
			return at(x, "")
		}
		x, ok := t[head]
		if !ok {
			return "absent"
		}
		return at(x, rest)
	case []any:
		if head == "#" {
			return strconv.Itoa(len(t))
		}
		i, err := strconv.Atoi(head)
		if err != nil || i >= len(t) {
			return "absent"
		}
		return at(t[i], rest)
	}
	return "absent"
}

// step is one exchange of a table, sent in the table's order.
type step struct {
	as, method, path, body string
	status                 int
	// want has "path=JSON" and, for messages, "path~part".
	want []string
}

func (s *server) play(t *testing.T, steps []step) {
	t.Helper()
	for _, st := range steps {
		if st.status == 0 {
			st.status = http.StatusOK
		}
		name := fmt.Sprintf("%s %s %s", st.method, st.path, st.body)
		status, b := s.call(st.as, st.method, st.path, st.body)
		if status != st.status {
			t.Errorf("%s: status %d, want %d: %s", name, status, st.status, b)
			continue
		}
		v := decode(b)
		for _, w := range st.want {
			if path, part, ok := strings.Cut(w, "~"); ok && !strings.Contains(path, "=") {
				if got := at(v, path); !strings.Contains(got, part) {
					t.Errorf("%s: %s is %s, want it to contain %s", name, path, got, part)
				}
				continue
			}
			path, want, _ := strings.Cut(w, "=")
			if got := at(v, path); got != want {
				t.Errorf("%s: %s is %s, want %s", name, path, got, want)
			}
		}
	}
}

func file(tb testing.TB) string { return filepath.Join(tb.TempDir(), "lazulite.db") }

func event(name, run, more string) string {
	return fmt.Sprintf(`{"timestamp":"2018-10-10T12:00:01+00:00","name":"Microsoft.MachineLearning.Run.%s","data":{"RunId":%q%s}}`, name, run, more)
}

func scalar(run, id, name, value string) string {
	return fmt.Sprintf(`{"runId":%q,"metricId":"00000000-0000-0000-0000-%012s","metricType":"azureml.v1.scalar","createdUtc":"2018-10-10T12:00:01.000Z","name":%q,"description":"","numCells":1,"cells":[{%q:%s}],"schema":{"numProperties":1,"properties":[{"propertyId":%q,"name":%q,"type":"float"}]}}`,
		run, id, name, name, value, name, name)
}

func itoa(n int) string { return strconv.Itoa(n) }
