package replay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazulite.dev/conformance/replay"
	"lazulite.dev/conformance/wire"
)

// playback answers as a recording does: the perfect implementation of that
// recording and of nothing else, but with operation ids of its own.
type playback struct {
	mu     sync.Mutex
	c      replay.Cassette
	used   []bool
	cursor int // nothing before the last change is answered again
	base   string
	groups map[string]bool
	// spoil changes an answer before it goes out.
	spoil func(n int, a *replay.Answer)
}

const subscription = "99999999-2222-4333-8444-555555555555"

var operationID = regexp.MustCompile(`(?i)(operationresults|operationstatuses|operations|azureasyncoperations|asyncoperations)/([0-9a-f-]{36}|[0-9]{12,})`)

func newPlayback(c replay.Cassette) *playback {
	return &playback{c: c, used: make([]bool, len(c.Exchanges)), groups: map[string]bool{}}
}

// plain is a URL without host and subscription, its operation id as the playback writes it.
func plain(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return u
	}
	s := strings.ToLower(parsed.RequestURI())
	s = regexp.MustCompile(`/subscriptions/[^/?]+`).ReplaceAllString(s, "/s")
	s = renamed(s)
	return regexp.MustCompile(`%20|\+`).ReplaceAllString(s, " ")
}

// renamed gives operations ids that differ from the recorded ones.
func renamed(s string) string {
	return operationID.ReplaceAllStringFunc(s, func(m string) string {
		kind, id, _ := strings.Cut(m, "/")
		if strings.Contains(id, "-") {
			return kind + "/ffffffff" + id[8:]
		}
		return kind + "/9999" + id[4:]
	})
}

func (p *playback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Requests to storage are signed with the recorded keys, which are none any more.
	if a := r.Header.Get("Authorization"); a != "Bearer t" && !strings.HasPrefix(a, "SharedKey ") {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	i := p.find(r.Method, plain(r.URL.RequestURI()))
	if i < 0 {
		p.unrecorded(w, r)
		return
	}
	a := p.c.Exchanges[i].Answer
	if p.spoil != nil {
		p.spoil(i+1, &a)
	}
	body := strings.ReplaceAll(a.Body, "00000000-0000-0000-0000-000000000000", subscription)
	for k, v := range a.Header {
		switch k {
		case "Azure-Asyncoperation", "Location":
			u := regexp.MustCompile(`https://management.azure.com(:443)?`).ReplaceAllString(renamed(v[0]), p.base)
			w.Header().Set(k, strings.ReplaceAll(u, "00000000-0000-0000-0000-000000000000", subscription))
		case "Content-Type", "Etag":
			w.Header()[k] = v
		}
	}
	w.Header().Set("Retry-After", "0")
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(body))
}

// find is the next exchange of the recording for a request, or the last one that there was.
func (p *playback) find(method, u string) int {
	last := -1
	for i, e := range p.c.Exchanges {
		recorded := plain(e.URL)
		if method == http.MethodGet {
			// The URL that a client polls is the header's, where the deployment still has its name.
			recorded = regexp.MustCompile(`/deployments/[^/]+/operationstatuses`).ReplaceAllString(recorded, "/deployments//operationstatuses")
			u = regexp.MustCompile(`/deployments/[^/]+/operationstatuses`).ReplaceAllString(u, "/deployments//operationstatuses")
		}
		if e.Method != method || recorded != u || e.Answer.Status >= 500 {
			continue
		}
		last = i
		if !p.used[i] && i >= p.cursor {
			break
		}
	}
	if last >= 0 {
		p.used[last] = true
		if method != http.MethodGet {
			p.cursor = max(p.cursor, last)
		}
	}
	return last
}

// unrecorded answers what the player itself asks: whether groups exist, and their creation and deletion.
func (p *playback) unrecorded(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	switch r.Method {
	case http.MethodPut:
		p.groups[path] = true
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		delete(p.groups, path)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func run(t *testing.T, p *playback, file string) replay.Report {
	t.Helper()
	return runFor(t, p, file, 5*time.Second)
}

func runFor(t *testing.T, p *playback, file string, follow time.Duration) replay.Report {
	t.Helper()
	rep, err := replay.Run(context.Background(), replay.Config{
		Wire: wire.Config{Endpoint: p.base, PollEvery: time.Millisecond, HTTPClient: &http.Client{Transport: everywhere(p.base)},
			Token: func(context.Context, string) (string, error) { return "t", nil }},
		Subscription: subscription, Follow: follow,
	}, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// everywhere answers for all hosts, those of storage accounts too, from one server.
type everywhere string

func (e everywhere) RoundTrip(r *http.Request) (*http.Response, error) {
	base, err := url.Parse(string(e))
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = base.Scheme, base.Host
	return http.DefaultTransport.RoundTrip(r)
}

// A perfect endpoint agrees with every recording, whatever the ids it makes up.
func TestRecordingsAgreeWithThemselves(t *testing.T) {
	for _, f := range recordings(t) {
		t.Run(f[strings.LastIndexAny(f, `/\`)+1:], func(t *testing.T) {
			c, err := replay.Load(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Exchanges {
				if e.Method == http.MethodPut && e.Answer.Status >= 500 {
					t.Skip("what this recording is about was made by a request whose answer was a fault of that day: it is not played, and the rest has nothing to follow")
				}
			}
			p := newPlayback(c)
			// The player looks whether the groups exist before it starts: to that look there is nothing yet.
			rep := run(t, withoutGroups(t, p), f)
			var text strings.Builder
			if err := rep.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if !rep.OK() {
				t.Errorf("%s", text.String())
			}
			if n := len(rep.Files[0].Requests); n != len(c.Exchanges) {
				t.Errorf("%d requests are told of %d", n, len(c.Exchanges))
			}
			if rep.Counted+rep.Polls+rep.Skipped != len(c.Exchanges) {
				t.Errorf("%d counted, %d polls and %d skipped are not %d", rep.Counted, rep.Polls, rep.Skipped, len(c.Exchanges))
			}
		})
	}
}

// withoutGroups hides groups from reads until something else was asked.
func withoutGroups(t *testing.T, p *playback) *playback {
	inner := http.Handler(p)
	var started atomic.Bool // a poll that its client gave up on may still be served
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		group := regexp.MustCompile(`(?i)^/subscriptions/[^/]+/resourcegroups/[^/]+$`).MatchString(r.URL.Path)
		if !started.Load() && group && r.Method == http.MethodGet && r.URL.Query().Get("api-version") == "2018-05-01" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		started.Store(true)
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	p.base = srv.URL
	return p
}

func TestSpoiledAnswersAreTold(t *testing.T) {
	c, file := synthetic(t)
	for _, row := range []struct {
		name  string
		spoil func(n int, a *replay.Answer)
		want  string
	}{
		{"OK", nil, ""},
		{"ErrStatus", at(2, func(a *replay.Answer) { a.Status = 200 }), "cassette.json #2 PUT /resourcegroups/g/providers/P/things/x?api-version=1: status: recorded 202, answered 200"},
		{"ErrHeader", at(2, func(a *replay.Answer) { a.Header = http.Header{} }), "header Azure-AsyncOperation: recorded"},
		{"ErrEnd", at(4, func(a *replay.Answer) { a.Body = `{"status":"Failed"}` }), "#2 PUT /resourcegroups/g/providers/P/things/x?api-version=1: state operation status: recorded Succeeded, answered Failed"},
		{"ErrShape", at(5, func(a *replay.Answer) { a.Body = `{"properties":{"provisioningState":"Succeeded"}}` }), "#5 GET /resourcegroups/g/providers/P/things/x?api-version=1: body name: recorded string, answered missing"},
		{"ErrCode", at(6, func(a *replay.Answer) { a.Body = `{"error":{"code":"Gone","message":"m"}}` }), "code: recorded ThingNotFound, answered Gone"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlayback(c)
			p.spoil = row.spoil
			rep := run(t, withoutGroups(t, p), file)
			var text strings.Builder
			if err := rep.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(text.String()), "\n")
			wantShare := "5 of 5 requests agree (100.0%)"
			if row.want != "" {
				wantShare = "4 of 5 requests agree (80.0%)"
				if !strings.Contains(text.String(), row.want) {
					t.Errorf("got\n%s\nwant a line with %s", text.String(), row.want)
				}
			}
			if got := lines[len(lines)-1]; got != wantShare {
				t.Errorf("the last line is %q, want %q in\n%s", got, wantShare, text.String())
			}
		})
	}
}

func at(n int, f func(*replay.Answer)) func(int, *replay.Answer) {
	return func(i int, a *replay.Answer) {
		if i == n {
			f(a)
		}
	}
}

// A group that exists is somebody's: nothing is played.
func TestExistingGroupIsLeftAlone(t *testing.T) {
	c, file := synthetic(t)
	p := newPlayback(c)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(srv.Close)
	p.base = srv.URL
	rep := run(t, p, file)
	if rep.OK() || !strings.Contains(rep.Files[0].Error, "the resource group g exists") {
		t.Errorf("got %+v", rep.Files[0])
	}
}

// An operation that never ends is told, in the time that it is given.
func TestEndlessOperation(t *testing.T) {
	c, file := synthetic(t)
	p := newPlayback(c)
	p.spoil = func(n int, a *replay.Answer) {
		if n == 3 || n == 4 {
			a.Body = `{"status":"InProgress"}`
		}
	}
	rep := runFor(t, withoutGroups(t, p), file, 100*time.Millisecond)
	if len(rep.Files[0].Requests[1].Differences) == 0 || !strings.Contains(rep.Files[0].Requests[1].Differences[0].Answered, "no end") {
		t.Errorf("got %+v", rep.Files[0].Requests[1])
	}
}
