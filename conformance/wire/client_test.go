package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/conformance/wire"
)

// script answers each path with its answers one after the other, the last one for ever.
type script struct {
	mu      sync.Mutex
	answers map[string][]answer
	seen    []string
}

type answer struct {
	status  int
	body    string
	headers map[string]string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	s.seen = append(s.seen, key)
	list := s.answers[key]
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	a := list[0]
	if len(list) > 1 {
		s.answers[key] = list[1:]
	}
	for k, v := range a.headers {
		w.Header().Set(k, strings.ReplaceAll(v, "{base}", "http://"+r.Host))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

func newClient(t *testing.T, s *script, change func(*wire.Config)) *wire.Client {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	cfg := wire.Config{Endpoint: srv.URL, PollEvery: time.Millisecond, PollLimit: 2 * time.Second,
		Token: func(context.Context, string) (string, error) { return "t", nil }}
	if change != nil {
		change(&cfg)
	}
	c, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAwait(t *testing.T) {
	async := map[string]string{"Azure-AsyncOperation": "{base}/op", "Location": "{base}/wrong"}
	location := map[string]string{"Location": "{base}/op"}
	for _, row := range []struct {
		name    string
		method  string
		answers map[string][]answer
		status  string
		ok      bool
		polls   int
		err     string
	}{
		{"OK at once", "PUT", map[string][]answer{"PUT /x": {{200, `{}`, nil}}}, "", true, 0, ""},
		{"OK async operation", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}, "GET /op": {{200, `{"status":"InProgress"}`, nil}, {200, `{"status":"Succeeded"}`, nil}}}, "Succeeded", true, 2, ""},
		{"OK location", "DELETE", map[string][]answer{"DELETE /x": {{202, ``, location}}, "GET /op": {{202, ``, nil}, {204, ``, nil}}}, "Succeeded", true, 2, ""},
		{"OK provisioning state", "PUT", map[string][]answer{"PUT /x": {{201, `{"properties":{"provisioningState":"Creating"}}`, nil}}, "GET /x": {{200, `{"properties":{"provisioningState":"succeeded"}}`, nil}}}, "succeeded", true, 1, ""},
		{"OK after faults", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}, "GET /op": {{503, ``, nil}, {429, ``, map[string]string{"Retry-After": "0"}}, {200, `{"status":"Succeeded"}`, nil}}}, "Succeeded", true, 3, ""},
		{"ErrRefused", "PUT", map[string][]answer{"PUT /x": {{400, `{}`, async}}}, "", false, 0, ""},
		{"ErrFailed", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}, "GET /op": {{200, `{"status":"Failed"}`, nil}}}, "Failed", false, 1, ""},
		{"ErrGone", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}}, "", false, 1, ""},
		{"ErrFaults", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}, "GET /op": {{500, ``, nil}}}, "", false, 6, "faults while polling"},
		{"ErrEndless", "PUT", map[string][]answer{"PUT /x": {{201, `{}`, async}}, "GET /op": {{200, `{"status":"InProgress"}`, nil}}}, "InProgress", false, -1, "no end after"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newClient(t, &script{answers: row.answers}, func(cfg *wire.Config) {
				if row.polls < 0 {
					cfg.PollLimit = 50 * time.Millisecond
				}
			})
			first, err := c.Do(context.Background(), wire.Request{Method: row.method, URL: "/x"})
			if err != nil {
				t.Fatal(err)
			}
			op, err := c.Await(context.Background(), first)
			if row.err == "" != (err == nil) || (err != nil && !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("got the error %v, want %q", err, row.err)
			}
			if err == nil && (op.Status != row.status || op.Succeeded() != row.ok) {
				t.Errorf("it ended %q (%v), want %q (%v)", op.Status, op.Succeeded(), row.status, row.ok)
			}
			if row.polls >= 0 && op.Polls != row.polls {
				t.Errorf("%d polls, want %d", op.Polls, row.polls)
			}
		})
	}
}

func TestPauseHonoursRetryAfter(t *testing.T) {
	var moved time.Duration
	c := newClient(t, &script{}, func(cfg *wire.Config) {
		cfg.PollMost = 10 * time.Second
		cfg.Advance = func(d time.Duration) { moved += d }
	})
	for value, want := range map[string]time.Duration{"7": 7 * time.Second, "60": 10 * time.Second, "soon": time.Millisecond, "": time.Millisecond, "0": 0} {
		r := &wire.Response{Header: http.Header{"Retry-After": {value}}}
		if got := c.Pause(r); got != want {
			t.Errorf("Retry-After %q waits %s, want %s", value, got, want)
		}
	}
	if err := c.Wait(context.Background(), 5*time.Second); err != nil || moved != 5*time.Second {
		t.Errorf("the clock moved by %s, %v", moved, err)
	}
}

func TestCleanUp(t *testing.T) {
	s := &script{answers: map[string][]answer{
		"PUT /a": {{201, `{}`, nil}}, "PUT /b": {{200, `{}`, nil}}, "PUT /c": {{400, `{}`, nil}}, "PUT /d": {{200, `{}`, nil}},
		"DELETE /a": {{202, ``, map[string]string{"Location": "{base}/op"}}}, "GET /op": {{200, ``, nil}},
		"DELETE /b": {{409, `{"error":{"code":"Conflict"}}`, nil}},
	}}
	c := newClient(t, s, nil)
	for _, p := range []string{"/a", "/b", "/c", "/d"} {
		if _, err := c.Create(context.Background(), p, "1", map[string]int{}); err != nil {
			t.Fatal(err)
		}
	}
	s.seen = nil
	err := c.CleanUp(context.Background())
	// /c was refused and never was; /d is gone already; /b refuses, and that keeps nothing from being tried.
	if got := fmt.Sprint(s.seen); got != "[DELETE /d DELETE /b DELETE /a GET /op]" {
		t.Errorf("requests %s", got)
	}
	if err == nil || !strings.Contains(err.Error(), "/b was not deleted") || len(c.Tracked()) != 1 {
		t.Errorf("got %v, still tracked %v", err, c.Tracked())
	}
}

func TestToken(t *testing.T) {
	s := &script{answers: map[string][]answer{
		"POST /t/oauth2/token": {{200, `{"access_token":"one","expires_in":"3599"}`, nil}, {200, `{"access_token":"two","expires_in":3599}`, nil}, {401, `{"error":"invalid_client"}`, nil}},
		"GET /x":               {{302, ``, map[string]string{"Location": "/elsewhere"}}},
	}}
	c := newClient(t, s, func(cfg *wire.Config) {
		cfg.Token, cfg.Authority, cfg.Tenant, cfg.ClientID, cfg.ClientSecret = nil, cfg.Endpoint, "t", "id", "secret"
	})
	for i, want := range []string{"one", "one", "two"} {
		audience := "a"
		if i == 2 {
			audience = "b"
		}
		if got, err := c.Token(context.Background(), audience); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := c.Token(context.Background(), "c"); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("got %v", err)
	}
	r, err := c.Do(context.Background(), wire.Request{Method: http.MethodGet, URL: "/x", Token: "mine"})
	if err != nil || r.Status != http.StatusFound {
		t.Errorf("a redirect was followed: %v, %v", r, err)
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	body, err := json.Marshal(map[string]string{"access_token": "very-secret-1", "password": "very-secret-2", "name": "fine"})
	if err != nil {
		t.Fatal(err)
	}
	r := &wire.Response{Method: "GET", URL: "https://a.blob.core.windows.net/c/b?sv=1&sig=very-secret-3", Status: 200, Body: body}
	if s := r.String(); strings.Contains(s, "very-secret") || !strings.Contains(s, "fine") {
		t.Error(s)
	}
	c := newClient(t, &script{}, nil)
	_, err = c.Do(context.Background(), wire.Request{Method: "GET", URL: "http://127.0.0.1:1/b?sig=very-secret-4", NoToken: true})
	if err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Error(err)
	}
}
