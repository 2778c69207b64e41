package aad_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const (
	tenant = "11111111-2222-3333-4444-555555555555"
	app    = "00000000-1111-2222-3333-444444444444"
	secret = "S3cret"
	azApp  = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	user   = "ada@example.com"
	arm    = "https://management.core.windows.net/"
)

type world struct {
	t     *testing.T
	a     *aad.Authority
	clock *clock.Manual
	path  string
}

func newWorld(t *testing.T, change func(*aad.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)), path: filepath.Join(t.TempDir(), "db")}
	w.start(change)
	return w
}

func (w *world) start(change func(*aad.Config)) {
	w.t.Helper()
	st, err := store.Open(store.Config{Path: w.path})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = st.Close() })
	cfg := aad.Config{Store: st, Clock: w.clock, Tenant: tenant, Clients: map[string]string{app: secret},
		Users: []aad.User{{UPN: user, Password: "pw"}, {UPN: "bob@example.com"}}}
	if change != nil {
		change(&cfg)
	}
	if w.a, err = aad.New(cfg); err != nil {
		w.t.Fatal(err)
	}
}

type reply struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (r reply) text(name string) string { s, _ := r.body[name].(string); return s }

// send makes one request; form is a POST body in query syntax, empty for none.
func (w *world) send(method, target, form string, header ...string) reply {
	w.t.Helper()
	return send(w.t, w.a, method, target, form, header...)
}

func send(t *testing.T, h http.Handler, method, target, form string, header ...string) reply {
	t.Helper()
	r := httptest.NewRequest(method, "https://login.microsoftonline.com"+target, strings.NewReader(form))
	r.TLS = &tls.ConnectionState{}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	res := rec.Result()
	raw, _ := io.ReadAll(res.Body)
	out := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			t.Fatalf("%s %s: not JSON: %s", method, target, raw)
		}
	}
	return out
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func spForm(more ...string) string {
	f := form("grant_type", "client_credentials", "client_id", app, "client_secret", secret)
	if len(more) > 0 {
		f += "&" + form(more...)
	}
	return f
}
