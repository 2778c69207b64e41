package openapi

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
)

// maxBody is the largest answer that is looked at; what is larger is passed on unread.
const maxBody = 4 << 20

// Watch collects the deviations of the answers that pass by. It is safe for concurrent use.
type Watch struct {
	docs  *Documents
	known []Known

	mu         sync.Mutex
	fresh      map[string]bool
	deviations map[string]Deviation
	answers    map[string]int
	beyond     int
}

// NewWatch uses the documents and this package's own list of known deviations.
func NewWatch(docs *Documents) (*Watch, error) {
	known, err := KnownDeviations()
	if err != nil {
		return nil, err
	}
	return &Watch{docs: docs, known: known, fresh: map[string]bool{}, deviations: map[string]Deviation{}, answers: map[string]int{}}, nil
}

// See checks an answer and returns what is new about it: deviations that are neither known nor notes.
func (w *Watch) See(e Exchange) []Deviation {
	found, documented := w.docs.Check(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !documented {
		w.beyond++
		return nil
	}
	w.answers[w.docs.find(e.Method, e.URL).id+" "+e.URL.Query().Get("api-version")]++
	var fresh []Deviation
	for _, d := range found {
		if d.Kind == Undeclared || w.isKnown(d) {
			continue
		}
		fresh = append(fresh, d)
		w.fresh[d.String()] = true
		w.deviations[d.Operation+d.Version+d.Kind+d.At] = d
	}
	return fresh
}

func (w *Watch) isKnown(d Deviation) bool {
	for _, k := range w.known {
		if k.Covers(d) {
			return true
		}
	}
	return false
}

// Fresh returns the deviations seen since it was last asked, in order. A nil Watch has none.
func (w *Watch) Fresh() []string {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Sorted(maps.Keys(w.fresh))
	w.fresh = map[string]bool{}
	return list
}

// Deviations returns each kind of deviation once, in order.
func (w *Watch) Deviations() []Deviation {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Deviation, 0, len(w.deviations))
	for _, d := range w.deviations {
		list = append(list, d)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].String() < list[j].String() })
	return list
}

// Sums returns how many answers were checked, of how many operations, and how many no document describes.
func (w *Watch) Sums() (answers, operations, beyond int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.answers {
		answers += n
	}
	return answers, len(w.answers), w.beyond
}

// Transport returns a RoundTripper that looks at what base answers.
func (w *Watch) Transport(base http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil || !strings.Contains(resp.Header.Get("Content-Type"), "json") && resp.ContentLength != 0 {
			return resp, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
		if err != nil {
			return resp, err
		}
		rest := resp.Body
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), rest), rest}
		if len(body) <= maxBody {
			w.See(Exchange{Method: r.Method, URL: r.URL, Status: resp.StatusCode, Header: resp.Header, Body: body})
		}
		return resp, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// Handler returns a handler that looks at what next answers.
func (w *Watch) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c := &copying{ResponseWriter: rw, status: http.StatusOK}
		url := *r.URL
		next.ServeHTTP(c, r)
		if c.body.Len() <= maxBody && !c.taken {
			w.See(Exchange{Method: r.Method, URL: &url, Status: c.status, Header: rw.Header(), Body: c.body.Bytes()})
		}
	})
}

// copying keeps what is written through it.
type copying struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	taken  bool // its connection; what is answered then isn't seen here
}

// Hijack implements http.Hijacker.
func (c *copying) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(c.ResponseWriter).Hijack()
	c.taken = err == nil
	return conn, buffered, err
}

func (c *copying) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *copying) Write(b []byte) (int, error) {
	if c.body.Len() <= maxBody {
		c.body.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *copying) Unwrap() http.ResponseWriter { return c.ResponseWriter }
