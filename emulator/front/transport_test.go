package front_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/front"
)

func inProcess(t *testing.T, h http.HandlerFunc) *http.Client {
	t.Helper()
	f, err := front.New(front.Config{Dir: t.TempDir(), Hosts: []front.Host{{Pattern: "a.net", Handler: h}, {Pattern: "azure.net"}, {Pattern: "*", Handler: h}}})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: f.Transport()}
}

// TestTransport: each row is what a handler does, and what its client sees.
func TestTransport(t *testing.T) {
	for _, row := range []struct {
		name, method, url string
		handler           http.HandlerFunc
		status            int
		body              string
		length            int64
	}{
		{"request", "POST", "https://a.net:443/p?q=1", echo("h").ServeHTTP, 200, "h: POST /p?q=1 host=a.net:443 tls=true body=in", -1},
		{"plain", "POST", "http://A.NET/p", echo("h").ServeHTTP, 200, "h: POST /p host=A.NET tls=false body=in", -1},
		{"nothing written", "POST", "https://a.net/", func(http.ResponseWriter, *http.Request) {}, 200, "", 0},
		{"no content", "DELETE", "https://a.net/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, "", 0},
		{"informational", "POST", "https://a.net/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(102); w.WriteHeader(201) }, 201, "", -1},
		{"head", "HEAD", "https://a.net/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}, 200, "", 5},
		{"length", "GET", "https://a.net/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}, 200, "hello", 5},
		{"not emulated", "GET", "https://azure.net/", nil, 501, `{"error":{"code":"NotImplemented","message":"lazulite does not emulate 'azure.net', and does not pass requests for Azure's names on."}}`, 135},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := http.NewRequest(row.method, row.url, strings.NewReader("in"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := inProcess(t, row.handler).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != row.status || string(body) != row.body || res.ContentLength != row.length {
				t.Errorf("got %d, length %d, %s, %v", res.StatusCode, res.ContentLength, body, err)
			}
		})
	}
}

func TestTransportErrors(t *testing.T) {
	before := runtime.NumGoroutine()
	c := inProcess(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("boom")
		case "/abort":
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		case "/wait":
			<-r.Context().Done()
		}
	})
	for url, want := range map[string]string{"https://b.net/": `no host "b.net"`, "https://a.net/panic": "boom"} {
		if _, err := c.Get(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", url, err)
		}
	}
	res, err := c.Get("https://a.net/abort")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err == nil || string(b) != "half" {
		t.Errorf("abort: got %s, %v", b, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.net/wait", nil)
	go cancel()
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("cancel: got %v", err)
	}
	clocktest.Until(t, "no goroutine is left", 10*time.Second, func() bool { return runtime.NumGoroutine() <= before })
}

// TestTransportStreams: the handler answers each line while the request goes on, and ends when its reader leaves.
func TestTransportStreams(t *testing.T) {
	left := make(chan struct{})
	c := inProcess(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = fmt.Fprintf(w, "<%s>", buf[:n])
				w.(http.Flusher).Flush()
			}
			if err != nil {
				return
			}
		}
	})
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("PUT", "https://a.net/", pr)
	go func() { _, _ = io.WriteString(pw, "one") }()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range []string{"one", "two", "three"} {
		if i > 0 {
			if _, err := io.WriteString(pw, word); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(word)+2)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "<"+word+">" {
			t.Fatalf("got %s, %v", got, err)
		}
	}
	_ = pw.Close()
	<-left
	_ = res.Body.Close()
}
