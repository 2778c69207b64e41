package blob_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const acct = "lazuli"

var start = time.Date(2018, 10, 15, 12, 0, 0, 0, time.UTC)

// world is one service with one account behind a real server.
type world struct {
	t     testing.TB
	s     *blob.Service
	clock clock.Clock
	url   string
	files string // the File service's URL
	keys  [2]string
	dir   string
	store *store.Store
}

func newWorld(t testing.TB, change ...func(*blob.Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.open(change...)
	return w
}

func (w *world) open(change ...func(*blob.Config)) {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(store.Config{Path: filepath.Join(w.dir, "state.db")}); err != nil {
		w.t.Fatal(err)
	}
	cfg := blob.Config{Store: w.store, Clock: clock.NewManual(start), Dir: filepath.Join(w.dir, "blobs")}
	for _, f := range change {
		f(&cfg)
	}
	w.clock = cfg.Clock
	if w.clock == nil {
		w.clock = clock.Real()
	}
	s, err := blob.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
	srv, files := httptest.NewServer(s), httptest.NewServer(s.FileHandler())
	w.url, w.files = srv.URL, files.URL
	w.t.Cleanup(func() {
		srv.Close()
		files.Close()
		if err := s.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
		_ = w.store.Close()
	})
	ctx := context.Background()
	if err := s.EnsureAccount(ctx, acct); err != nil {
		w.t.Fatal(err)
	}
	if w.keys, err = s.Keys(ctx, acct); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) code() string { return a.header.Get("x-ms-error-code") }

// hdr makes headers of name, value, name, value.
func hdr(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func (w *world) request(method, path, body string, h http.Header) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, v := range h {
		r.Header[name] = v
	}
	r.Host = acct + ".blob.core.windows.net"
	return r
}

func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// owner sends a request signed with the account's first key.
func (w *world) owner(method, path, body string, h http.Header) answer {
	w.t.Helper()
	r := w.request(method, path, body, h)
	if r.Header.Get("x-ms-version") == "" {
		r.Header.Set("x-ms-version", "2018-03-28")
	}
	signShared(r, acct, w.keys[0], int64(len(body)), w.clock.Now())
	return w.send(r)
}

// anyone sends a request without Authorization.
func (w *world) anyone(method, path, body string, h http.Header) answer {
	w.t.Helper()
	return w.send(w.request(method, path, body, h))
}

// must fails the test unless the owner's request gets the status.
func (w *world) must(status int, method, path, body string, h http.Header) answer {
	w.t.Helper()
	a := w.owner(method, path, body, h)
	if a.status != status {
		w.t.Fatalf("%s %s = %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

func mac(key, text string) string {
	raw, _ := base64.StdEncoding.DecodeString(key)
	m := hmac.New(sha256.New, raw)
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// signShared is SharedKey written from the documentation, apart from the emulator's.
func signShared(r *http.Request, account, key string, n int64, now time.Time) {
	if r.Header.Get("x-ms-date") == "" && r.Header.Get("Date") == "" {
		r.Header.Set("x-ms-date", now.UTC().Format(http.TimeFormat))
	}
	length := ""
	if n > 0 {
		length = fmt.Sprint(n)
	}
	r.Header.Set("Authorization", "SharedKey "+account+":"+mac(key, sharedText(r, account, length)))
}

func sharedText(r *http.Request, account, length string) string {
	get := r.Header.Get
	date := get("Date")
	if get("x-ms-date") != "" {
		date = ""
	}
	text := strings.Join([]string{
		r.Method, get("Content-Encoding"), get("Content-Language"), length, get("Content-MD5"), get("Content-Type"), date,
		get("If-Modified-Since"), get("If-Match"), get("If-None-Match"), get("If-Unmodified-Since"), get("Range"), "",
	}, "\n")
	text += xms(r) + "/" + account + r.URL.EscapedPath()
	q := r.URL.Query()
	var names []string
	for name := range q {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text += "\n" + strings.ToLower(name) + ":" + strings.Join(q[name], ",")
	}
	return text
}

func xms(r *http.Request) string {
	values := map[string]string{}
	var names []string
	for name, v := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			names = append(names, name)
			values[name] = v[0]
		}
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return b.String()
}

// sasURL is a signed query from parameters and the text that was signed.
func signQuery(key, text string, q url.Values) string {
	q.Set("sig", mac(key, text))
	return q.Encode()
}

func put(t testing.TB, w *world, path, body string, pairs ...string) answer {
	t.Helper()
	return w.must(201, "PUT", path, body, hdr(append([]string{"x-ms-blob-type", "BlockBlob"}, pairs...)...))
}
