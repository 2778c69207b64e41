// Package unkind answers as a service may answer and seldom does, for those who
// test their clients: within the protocol, and without mercy.
//
// What it does to the answers of the handler that it is put around: the members
// of JSON objects come in another order, with some that no version knows; an
// operation that has ended shows as in progress once or twice more; one request
// in ten is told 429 with Retry-After, though never twice in a row; headers that
// a client can't rely on are missing. The dice are seeded, so a failure can be
// had again by the seed that the emulator logs.
//
// It changes no state: what it holds back has happened, what it refuses with
// 429 has not. It sends nothing that Azure's guidelines forbid a service.
package unkind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Chances of Config's zero value.
const (
	throttled = 0.1
	extra     = 0.3
	held      = 2
)

// Config of a Host.
type Config struct {
	// Rand decides everything; required.
	Rand *rand.Rand
}

// Host is one unkind service, whatever handlers it is put around. It is safe for concurrent use.
type Host struct {
	mu   sync.Mutex
	rand *rand.Rand
	// refused are requests that got 429 last time.
	refused map[string]bool
	// withheld counts the answers yet to be held back, by operation.
	withheld map[string]int
}

// New makes a Host.
func New(cfg Config) *Host {
	return &Host{rand: cfg.Rand, refused: map[string]bool{}, withheld: map[string]int{}}
}

// Handler is next, unkindly.
func (h *Host) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.throttle(r) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"code":"TooManyRequests","message":"The request is being throttled as the limit has been reached for this operation type. Please try again after 1 second."}}`)
			return
		}
		// Streams are none of ours: what is flushed or upgraded goes as it comes.
		if r.Header.Get("Upgrade") != "" || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		got := &kept{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(got, r)
		h.answer(w, r, got)
	})
}

// throttle says whether a request is told 429: never the same one twice in a row.
func (h *Host) throttle(r *http.Request) bool {
	key := r.Method + " " + r.URL.String()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused[key] {
		delete(h.refused, key)
		return false
	}
	if h.rand.Float64() >= throttled {
		return false
	}
	h.refused[key] = true
	return true
}

// kept is an answer before it goes out.
type kept struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (k *kept) Header() http.Header { return k.header }

func (k *kept) WriteHeader(status int) {
	if !k.wrote {
		k.status, k.wrote = status, true
	}
}

func (k *kept) Write(b []byte) (int, error) {
	k.wrote = true
	return k.body.Write(b)
}

func (h *Host) answer(w http.ResponseWriter, r *http.Request, got *kept) {
	for name, values := range got.header {
		if !unreliable(name) {
			w.Header()[name] = values
		}
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(got.body.Bytes()))
	dec.UseNumber()
	if !strings.Contains(got.header.Get("Content-Type"), "json") || dec.Decode(&doc) != nil {
		w.WriteHeader(got.status)
		_, _ = w.Write(got.body.Bytes())
		return
	}
	h.mu.Lock()
	if h.hold(r, got.status, doc) {
		w.Header().Set("Retry-After", "1")
	}
	h.add(doc)
	var out bytes.Buffer
	h.write(&out, doc)
	h.mu.Unlock()
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(got.status)
	_, _ = w.Write(out.Bytes())
}

// unreliable are headers that no client may count on.
func unreliable(name string) bool {
	name = strings.ToLower(name)
	return name == "content-length" || name == "x-ms-request-id" || name == "x-ms-correlation-request-id" || name == "x-ms-routing-request-id" || strings.HasPrefix(name, "x-ms-ratelimit-")
}

// hold shows an operation that has ended as in progress, the first once or twice that it is asked for.
func (h *Host) hold(r *http.Request, status int, doc any) bool {
	object, _ := doc.(map[string]any)
	word, _ := object["status"].(string)
	if r.Method != http.MethodGet || status != http.StatusOK || !strings.Contains(strings.ToLower(r.URL.Path), "operation") {
		return false
	}
	switch strings.ToLower(word) {
	case "succeeded", "failed", "canceled":
	default:
		return false
	}
	left, known := h.withheld[r.URL.Path]
	if !known {
		left = h.rand.IntN(held + 1)
	}
	if left == 0 {
		h.withheld[r.URL.Path] = 0
		return false
	}
	h.withheld[r.URL.Path] = left - 1
	object["status"] = "InProgress"
	for _, name := range []string{"endTime", "error", "properties", "percentComplete"} {
		delete(object, name)
	}
	return true
}

// add puts members that no version knows where a service would add them: in
// resources, their properties and errors. Maps of the user's own stay as they are.
func (h *Host) add(doc any) {
	object, ok := doc.(map[string]any)
	if !ok {
		return
	}
	if list, ok := object["value"].([]any); ok {
		for _, item := range list {
			h.add(item)
		}
	}
	for _, name := range []string{"properties", "error"} {
		h.add(object[name])
	}
	if !isMap(object) && h.rand.Float64() < extra {
		values := []any{json.Number("7"), "of a later version", true, nil, []any{}, map[string]any{"kind": "Unknown"}}
		object[fmt.Sprintf("addedLater%d", h.rand.IntN(1000))] = values[h.rand.IntN(len(values))]
	}
}

// isMap tells a map of the user's own, whose values are all text, from an object of the service.
func isMap(object map[string]any) bool {
	for _, v := range object {
		if _, text := v.(string); !text {
			return false
		}
	}
	return true
}

// write encodes a value with the members of objects in an order of chance.
func (h *Host) write(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names) // so that the seed decides, not the map
		h.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			h.write(b, name)
			b.WriteByte(':')
			h.write(b, v[name])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			h.write(b, item)
		}
		b.WriteByte(']')
	default:
		enc, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was decoded from JSON
		}
		b.Write(enc)
	}
}
