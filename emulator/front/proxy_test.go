package front_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/front"
)

// outside is a host of the world: plain HTTP, and TLS of its own.
func outside(t *testing.T) (plain, tls *httptest.Server) {
	t.Helper()
	plain, tls = httptest.NewServer(echo("outside")), httptest.NewTLSServer(echo("outside"))
	t.Cleanup(plain.Close)
	t.Cleanup(tls.Close)
	return plain, tls
}

// through is a client with f as its proxy even for loopback addresses, which http.Transport would not use it for.
func through(t *testing.T, f *front.Front, trust *http.Client) *http.Client {
	t.Helper()
	tr := trust.Transport.(*http.Transport).Clone()
	tr.Proxy = nil
	tr.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		c := dial(t, f.Addr())
		_, _ = fmt.Fprintf(c, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", addr)
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
		if err != nil {
			return nil, err
		}
		if res.StatusCode != 200 {
			body, _ := io.ReadAll(res.Body)
			return nil, fmt.Errorf("%s: %s", res.Status, body)
		}
		return c, nil
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestTunnelIsUntouched(t *testing.T) {
	_, secure := outside(t)
	f := start(t, func(c *front.Config) { c.Hosts = c.Hosts[:1] })
	c := through(t, f, secure.Client()) // trusts the outside's certificate alone
	for range 2 {
		if status, body := get(t, c, secure.URL+"/x"); status != 200 || !strings.HasPrefix(body, "outside: GET /x") {
			t.Errorf("got %d %s", status, body)
		}
	}
}

func TestOfflineRefusesAtOnce(t *testing.T) {
	plain, secure := outside(t)
	f := start(t, func(c *front.Config) { c.Hosts, c.Offline = c.Hosts[:1], true })
	_, err := through(t, f, secure.Client()).Get(secure.URL)
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden (lazulite is offline)") || !strings.Contains(err.Error(), `"code":"Offline"`) {
		t.Errorf("got %v", err)
	}
	conn := dial(t, f.Addr())
	_, _ = fmt.Fprintf(conn, "GET %s/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", plain.URL)
	if b, _ := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 403 ") {
		t.Errorf("got %s", b)
	}
}

func TestUnreachableHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	f := start(t, func(c *front.Config) { c.Hosts = nil })
	for _, line := range []string{"CONNECT " + nobody, "GET http://" + nobody + "/x"} {
		conn := dial(t, f.Addr())
		_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", line, nobody)
		if b, _ := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 502 Bad Gateway") || !strings.Contains(string(b), "refused") {
			t.Errorf("%s: got %s", line, b)
		}
	}
}

// TestUpstreamProxy: another Front is the proxy on the way out; it asks for a password, as such proxies do.
func TestUpstreamProxy(t *testing.T) {
	plain, secure := outside(t)
	var seen atomic.Int32
	up := start(t, func(c *front.Config) { c.Hosts = nil })
	gate, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, ok := basic(r); !ok || user != "u" || pass != "p w" {
			http.Error(w, "who are you", http.StatusProxyAuthRequired)
			return
		}
		seen.Add(1)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", up.Addr())
		if err != nil {
			_ = c.Close()
			return
		}
		_ = r.WriteProxy(far)
		go func() { _, _ = io.Copy(far, rw); _ = far.Close() }()
		_, _ = io.Copy(c, far)
		_ = c.Close()
	})}
	go func() { _ = srv.Serve(gate) }()
	t.Cleanup(func() { _ = srv.Close() })

	good := &url.URL{Scheme: "http", Host: gate.Addr().String(), User: url.UserPassword("u", "p w")}
	f := start(t, func(c *front.Config) {
		c.Hosts = nil
		c.Upstream = func(*url.URL) (*url.URL, error) { return good, nil }
	})
	if status, body := get(t, through(t, f, secure.Client()), secure.URL+"/x"); status != 200 || !strings.HasPrefix(body, "outside: GET /x") {
		t.Errorf("TLS: got %d %s", status, body)
	}
	conn := dial(t, f.Addr())
	_, _ = fmt.Fprintf(conn, "GET %s/y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", plain.URL)
	if b, _ := io.ReadAll(conn); !strings.Contains(string(b), "outside: GET /y") {
		t.Errorf("plain: got %s", b)
	}
	if seen.Load() != 2 {
		t.Errorf("the upstream proxy saw %d requests", seen.Load())
	}
	bad := start(t, func(c *front.Config) {
		c.Hosts = nil
		c.Upstream = func(*url.URL) (*url.URL, error) {
			return &url.URL{Scheme: "http", Host: gate.Addr().String(), User: url.UserPassword("u", "hush")}, nil
		}
	})
	if _, err := through(t, bad, secure.Client()).Get(secure.URL); err == nil || !strings.Contains(err.Error(), "who are you") || strings.Contains(err.Error(), "hush") {
		t.Errorf("wrong password: got %v", err)
	}
}

func basic(r *http.Request) (string, string, bool) {
	return (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
}

// TestOwnProxyAsUpstream: the environment that lazulite prints, given to lazulite itself.
func TestOwnProxyAsUpstream(t *testing.T) {
	_, secure := outside(t)
	var f *front.Front
	f = start(t, func(c *front.Config) {
		c.Hosts = nil
		c.Upstream = func(*url.URL) (*url.URL, error) { return &url.URL{Scheme: "http", Host: f.Addr()}, nil }
	})
	if status, _ := get(t, through(t, f, secure.Client()), secure.URL); status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestCloseCutsTunnels(t *testing.T) {
	_, secure := outside(t)
	before := runtime.NumGoroutine()
	f := start(t, func(c *front.Config) { c.Hosts = nil })
	conn := dial(t, f.Addr())
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", strings.TrimPrefix(secure.URL, "https://"))
	expect(t, bufio.NewReader(conn), "\r\n\r\n")
	if err := f.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel lives on")
	}
	clocktest.Until(t, "no goroutine is left", 10*time.Second, func() bool { return runtime.NumGoroutine() <= before })
}

// TestTunnelHalfClose: the client says that it is done, and still gets the rest.
func TestTunnelHalfClose(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "%d bytes", len(b))
		_ = c.Close()
	}()
	f := start(t, func(c *front.Config) { c.Hosts = nil })
	conn := dial(t, f.Addr())
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\nearly", far.Addr())
	_, _ = conn.Write(make([]byte, 1<<20))
	_ = conn.(*net.TCPConn).CloseWrite()
	if b, _ := io.ReadAll(conn); !strings.HasSuffix(string(b), fmt.Sprintf("\r\n\r\n%d bytes", 1<<20+5)) {
		t.Errorf("got %s", b)
	}
}
