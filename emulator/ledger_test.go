package emulator_test

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// want is what an answer must show; what is wrong with it, or "".
type want func(a answer) string

func absent(a answer) string {
	if a.status != http.StatusNotFound && a.status != http.StatusNoContent {
		return fmt.Sprintf("it should be gone: %s", a)
	}
	return ""
}

// fields wants dotted paths with their values: "tags.v", "3".
func fields(pairs ...string) want {
	return func(a answer) string {
		if a.status != http.StatusOK {
			return a.String()
		}
		for i := 0; i < len(pairs); i += 2 {
			if got := fmt.Sprint(a.get(pairs[i])); got != pairs[i+1] {
				return fmt.Sprintf("%s is %s, not %s: %s", pairs[i], got, pairs[i+1], a)
			}
		}
		return ""
	}
}

// whole wants exactly these bytes.
func whole(content string) want {
	return func(a answer) string {
		if a.status != http.StatusOK || string(a.body) != content {
			return fmt.Sprintf("%d with %d bytes, want %d: %.80q", a.status, len(a.body), len(content), a.body)
		}
		return ""
	}
}

// fact is one thing that can be read, and what it may read as.
type fact struct {
	url  string
	held want   // acknowledged last; nil: nothing was
	sent []want // sent since and not acknowledged: each may have come to be or not
	// read finds the final URL where it must be asked for; nil: url is it.
	read func(ctx context.Context, c *client) (answer, error)
}

// ledger is what the clients know of an emulator over all its lives.
type ledger struct {
	mu         sync.Mutex
	facts      map[string]*fact
	operations map[string]string // URL -> what
	runs       []*crashRun
	writes     int
}

// crashRun is a run with a script, and where the script takes its notes.
type crashRun struct {
	id          string
	local       bool
	mark, acked string
	count       int
}

func newLedger() *ledger {
	return &ledger{facts: map[string]*fact{}, operations: map[string]string{}}
}

// write sends what is to make a fact so, and enters it before and after. The
// statuses are those that acknowledge; another one is an error for which
// nothing may change.
func (l *ledger) write(ctx context.Context, c *client, name, url string, w want, request string, body any, header ...string) (answer, error) {
	l.begin(name, url, w)
	a, err := c.try(ctx, request, body, header...)
	if err != nil {
		return a, err
	}
	if a.status >= 300 {
		return a, &refused{request, a}
	}
	l.ack(name, w)
	return a, nil
}

// refused is an answer that a client did not expect.
type refused struct {
	request string
	answer  answer
}

func (r *refused) Error() string { return r.request + ": " + r.answer.String() }

func (l *ledger) begin(name, url string, w want) *fact {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.facts[name]
	if f == nil {
		f = &fact{url: url}
		l.facts[name] = f
	}
	f.sent = append(f.sent, w)
	return f
}

func (l *ledger) ack(name string, w want) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts[name].held, l.facts[name].sent = w, nil
	l.writes++
}

// operation enters a long operation that was acknowledged.
func (l *ledger) operation(what string, a answer) {
	u := a.header.Get("Azure-AsyncOperation")
	if u == "" {
		u = a.header.Get("Location")
	}
	if u == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.operations[u] = what
}

func (l *ledger) run(r *crashRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, r)
}

// check reads every fact. What was in flight may be so or not, and is one or the other from then on.
func (l *ledger) check(t testing.TB, c *client) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.facts))
	for name := range l.facts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		f := l.facts[name]
		var a answer
		var err error
		if f.read != nil {
			a, err = f.read(context.Background(), c)
		} else {
			a, err = c.try(context.Background(), "GET "+f.url, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		possible := append([]want{}, f.sent...)
		if f.held != nil {
			possible = append(possible, f.held)
		} else {
			possible = append(possible, absent)
		}
		var wrong []string
		for _, w := range possible {
			bad := w(a)
			if bad == "" {
				f.held, f.sent, wrong = w, nil, nil
				break
			}
			wrong = append(wrong, bad)
		}
		if wrong != nil {
			t.Errorf("%s (%s) is not as it was acknowledged: %s", name, f.url, strings.Join(wrong, "; "))
		}
	}
}

// settle waits until every operation is over, and tells how many failed with a reason.
func (l *ledger) settle(t testing.TB, c *client, limit time.Duration) (succeeded, failed int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for u, what := range l.operations {
		clocktest.Missing(t, limit, func() string {
			a, err := c.try(context.Background(), "GET "+u, nil)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			state := a.text("status")
			if state == "" { // Location: 202 until it is over
				state = map[bool]string{true: "Running", false: "Succeeded"}[a.status == http.StatusAccepted]
				if a.status >= 400 && a.status != http.StatusNotFound {
					state = "Failed"
				}
			}
			switch {
			case state == "Succeeded":
				succeeded++
			case state == "Failed", state == "Canceled":
				failed++
				if !strings.Contains(string(a.body), `"code":`) || !strings.Contains(string(a.body), `"message":`) || strings.Contains(string(a.body), "identifiers ''") {
					t.Errorf("%s ended %s with no reason: %s", what, state, a)
				}
				t.Logf("%s ended %s: %s", what, state, a)
			case a.status >= 400:
				t.Errorf("%s is lost: %s %s", what, u, a)
			default:
				return fmt.Sprintf("%s is not over: %s", what, a)
			}
			return ""
		})
	}
	l.operations = map[string]string{}
	return succeeded, failed
}

// unfinished counts the operations that are not over.
func (l *ledger) unfinished(c *client) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for u := range l.operations {
		a, err := c.try(context.Background(), "GET "+u, nil)
		if s := a.text("status"); err == nil && (a.status == http.StatusAccepted || s != "" && s != "Succeeded" && s != "Failed" && s != "Canceled") {
			n++
		}
	}
	return n
}
