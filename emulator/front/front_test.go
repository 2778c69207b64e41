package front_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/front"
)

// TestHostTable: each row is one GET, by proxy and as if the name resolved to us.
func TestHostTable(t *testing.T) {
	f := start(t, func(c *front.Config) { c.Offline = true })
	byProxy, bySNI := proxied(t, f), direct(t, f)
	for _, row := range []struct {
		url          string
		proxyStatus  int
		proxyBody    string // empty: the CONNECT is refused
		directStatus int
		directBody   string
	}{
		{"https://management.azure.com/subscriptions?api-version=1", 200, "arm: GET /subscriptions?api-version=1 host=management.azure.com tls=true", 200, "arm: GET /sub"},
		{"http://management.azure.com/x", 200, "arm: GET /x host=management.azure.com tls=false", 200, "arm: GET /x"},
		{"https://MANAGEMENT.azure.com./x", 200, "arm: ", 200, "arm: "},
		{"https://acct.blob.core.windows.net/c/b", 200, "blob: ", 200, "blob: "},
		{"https://a.b.blob.core.windows.net/", 0, "", 200, "any: "},
		{"https://eastus2.experiments.azureml.net/x", 200, "aml: ", 200, "aml: "},
		{"https://vault.azure.com/x", 501, `"code":"NotImplemented"`, 501, "does not emulate 'vault.azure.com'"},
		{"https://deep.under.azure.com/x", 501, `"code":"NotImplemented"`, 501, "does not emulate 'deep.under.azure.com'"},
		{"https://azureml.net/", 0, "", 200, "any: "},
		{"https://example.com/", 0, "", 200, "any: "},
		{"http://example.com/", 403, `"code":"Offline"`, 200, "any: "},
	} {
		t.Run(row.url, func(t *testing.T) {
			if row.proxyBody == "" {
				_, err := byProxy.Get(row.url)
				if err == nil || !strings.Contains(err.Error(), "lazulite is offline") {
					t.Errorf("by proxy: got %v", err)
				}
			} else if status, body := get(t, byProxy, row.url); status != row.proxyStatus || !strings.Contains(body, row.proxyBody) {
				t.Errorf("by proxy: got %d %s", status, body)
			}
			if status, body := get(t, bySNI, row.url); status != row.directStatus || !strings.Contains(body, row.directBody) {
				t.Errorf("direct: got %d %s", status, body)
			}
		})
	}
}

func TestManagementRequests(t *testing.T) {
	f := start(t, nil)
	c := direct(t, f)
	for _, url := range []string{"http://" + f.Addr() + "/x", "https://" + f.Addr() + "/x", "https://127.0.0.1/x", "https://localhost/x"} {
		if status, body := get(t, c, url); status != 200 || !strings.HasPrefix(body, "local: GET /x") {
			t.Errorf("%s: got %d %s", url, status, body)
		}
	}
}

func TestNoRowIsMisdirected(t *testing.T) {
	f := start(t, func(c *front.Config) { c.Hosts = c.Hosts[:1] })
	status, body := get(t, direct(t, f), "https://example.com/")
	if status != 421 || !strings.Contains(body, "lazulite serves no host 'example.com'.") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestFirstMatchWins(t *testing.T) {
	f := start(t, func(c *front.Config) {
		c.Hosts = []front.Host{{Pattern: "**.x.net", Handler: echo("deep")}, {Pattern: "a.x.net", Handler: echo("exact")}, {Pattern: "*.x.net", Handler: echo("one")}}
	})
	if _, body := get(t, direct(t, f), "https://a.x.net/"); !strings.HasPrefix(body, "deep: ") {
		t.Errorf("got %s", body)
	}
}

func TestBadPatternsAreRefused(t *testing.T) {
	for _, p := range []string{"", "a..b", "*", "***.a", "a.*.b", "https://x", "x:443", "**"} {
		_, err := front.New(front.Config{Dir: t.TempDir(), Hosts: []front.Host{{Pattern: p}}})
		if (err == nil) != (p == "*") {
			t.Errorf("%q: got %v", p, err)
		}
	}
}

// TestLoopbackIsPassedOn: a notebook server on another port of localhost is not ours, even if localhost is.
func TestLoopbackIsPassedOn(t *testing.T) {
	other := start(t, func(c *front.Config) { c.Hosts = []front.Host{{Pattern: "127.0.0.1", Handler: echo("other")}} })
	f := start(t, nil)
	c := proxied(t, f)
	// http.Transport does not use a proxy for loopback addresses.
	c.Transport.(*http.Transport).Proxy = nil
	req := func(target string) string {
		conn := dial(t, f.Addr())
		_, _ = fmt.Fprintf(conn, "GET http://%s/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, target)
		b, _ := io.ReadAll(conn)
		return string(b)
	}
	if got := req(other.Addr()); !strings.Contains(got, "other: GET /x") {
		t.Errorf("another port: got %s", got)
	}
	if got := req(f.Addr()); !strings.Contains(got, "local: GET /x") {
		t.Errorf("our port: got %s", got)
	}
	conn := dial(t, f.Addr())
	_, _ = fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", other.Addr())
	r := bufio.NewReader(conn)
	expect(t, r, "\r\n\r\n")
	_, _ = fmt.Fprintf(conn, "GET /y HTTP/1.1\r\nHost: %s\r\n\r\n", other.Addr())
	expect(t, r, "other: GET /y")
}

func TestKeepAliveThroughConnect(t *testing.T) {
	f := start(t, nil)
	conn := dial(t, f.Addr())
	_, _ = io.WriteString(conn, "CONNECT management.azure.com:443 HTTP/1.1\r\nHost: management.azure.com:443\r\nProxy-Connection: keep-alive\r\n\r\n")
	r := bufio.NewReader(conn)
	expect(t, r, "HTTP/1.1 200 Connection established\r\n\r\n")
	c := tls.Client(conn, &tls.Config{RootCAs: pool(t, f), ServerName: "management.azure.com", NextProtos: []string{"h2", "http/1.1"}})
	r = bufio.NewReader(c)
	for i := range 3 {
		_, _ = fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: management.azure.com\r\n\r\n", i)
		expect(t, r, fmt.Sprintf("arm: GET /%d host=management.azure.com tls=true body=", i))
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol %q", p)
	}
}

// TestEarlyBytes: the ClientHello comes in one write with the CONNECT, and there is no SNI.
func TestEarlyBytes(t *testing.T) {
	f := start(t, nil)
	conn := dial(t, f.Addr())
	w := &glue{Conn: conn, before: "CONNECT management.azure.com:443 HTTP/1.1\r\nHost: management.azure.com:443\r\n\r\n", skip: "\r\n\r\n"}
	cfg := &tls.Config{InsecureSkipVerify: true}
	c := tls.Client(w, cfg)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: management.azure.com\r\n\r\n")
	expect(t, bufio.NewReader(c), "arm: GET /")
	if err := c.ConnectionState().PeerCertificates[0].VerifyHostname("management.azure.com"); err != nil {
		t.Errorf("without SNI, the certificate is not the CONNECT's: %v", err)
	}
}

// glue sends before together with the first write, and skips what comes back up to skip.
type glue struct {
	net.Conn
	before, skip string
	skipped      bool
}

func (g *glue) Write(p []byte) (int, error) {
	n := len(p)
	p = append([]byte(g.before), p...)
	g.before = ""
	_, err := g.Conn.Write(p)
	return n, err
}

func (g *glue) Read(p []byte) (int, error) {
	var seen []byte
	for b := make([]byte, 1); !g.skipped; {
		if _, err := g.Conn.Read(b); err != nil {
			return 0, err
		}
		seen = append(seen, b...)
		g.skipped = bytes.HasSuffix(seen, []byte(g.skip))
	}
	return g.Conn.Read(p)
}

func TestUpgradeThroughConnect(t *testing.T) {
	f := start(t, func(c *front.Config) {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	conn := dial(t, f.Addr())
	_, _ = io.WriteString(conn, "CONNECT exec.azure.com:443 HTTP/1.1\r\nHost: exec.azure.com:443\r\n\r\n")
	expect(t, bufio.NewReaderSize(conn, 16), "\r\n\r\n")
	c := tls.Client(conn, &tls.Config{RootCAs: pool(t, f), ServerName: "exec.azure.com"})
	// The first frame comes along with the upgrade.
	_, _ = io.WriteString(c, "GET /exec HTTP/1.1\r\nHost: exec.azure.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello\n")
	r := bufio.NewReader(c)
	expect(t, r, "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHELLO\n")
	_, _ = io.WriteString(c, "more\n")
	expect(t, r, "MORE\n")
}

func TestExpectContinue(t *testing.T) {
	f := start(t, func(c *front.Config) {
		c.Hosts = []front.Host{{Pattern: "yes.net", Handler: echo("yes")}, {Pattern: "no.net", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusRequestEntityTooLarge)
		})}}
	})
	for name, want := range map[string]string{"yes.net": "HTTP/1.1 100 Continue\r\n\r\n", "no.net": "HTTP/1.1 413 Request Entity Too Large\r\n"} {
		c := tls.Client(dial(t, f.Addr()), &tls.Config{RootCAs: pool(t, f), ServerName: name})
		_, _ = fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", name)
		r := bufio.NewReader(c)
		expect(t, r, want)
		if name == "yes.net" {
			_, _ = io.WriteString(c, "body")
			expect(t, r, "body=body")
		}
	}
}

func TestCloseWaitsForRequests(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	f := start(t, func(c *front.Config) {
		c.Hosts = []front.Host{{Pattern: "slow.net", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(in)
			<-out
			_, _ = io.WriteString(w, "done")
		})}}
	})
	idle := dial(t, f.Addr()) // never says anything
	answer := make(chan string)
	c := direct(t, f)
	go func() {
		res, err := c.Get("https://slow.net/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-in
	closed := make(chan error)
	go func() { closed <- f.Close(context.Background()) }()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection was not closed")
	}
	select {
	case err := <-closed:
		t.Fatalf("closed before the request was done: %v", err)
	default:
	}
	close(out)
	if got := <-answer; got != "done" {
		t.Errorf("got %s", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := net.DialTimeout("tcp", f.Addr(), time.Second); err == nil {
		t.Error("it still listens")
	}
}

func TestCloseCutsAtTheDeadline(t *testing.T) {
	in, stop := make(chan struct{}), make(chan struct{})
	f, err := front.New(front.Config{Dir: t.TempDir(), Hosts: []front.Host{{Pattern: "slow.net", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(in)
		<-stop
	})}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(dial(t, f.Addr()), &tls.Config{RootCAs: pool(t, f), ServerName: "slow.net"})
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: slow.net\r\n\r\n")
	<-in
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
	close(stop)
	if err := f.Close(context.Background()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestListenOnATakenPort(t *testing.T) {
	f := start(t, nil)
	g, err := front.New(front.Config{Dir: t.TempDir(), Also: []string{f.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Open(context.Background()); err == nil || !strings.Contains(err.Error(), f.Addr()) {
		t.Errorf("got %v", err)
	}
	if err := g.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAlsoServesTheSame(t *testing.T) {
	f := start(t, func(c *front.Config) { c.Also = []string{"127.0.0.1:0"} })
	addrs := f.Addrs()
	if len(addrs) != 2 || addrs[0] == addrs[1] {
		t.Fatalf("got %v", addrs)
	}
	c := tls.Client(dial(t, addrs[1]), &tls.Config{RootCAs: pool(t, f), ServerName: "management.azure.com"})
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: management.azure.com\r\n\r\n")
	expect(t, bufio.NewReader(c), "arm: GET /x")
}

func TestLogHasNoSecrets(t *testing.T) {
	var log lockedBuffer
	f := start(t, func(c *front.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	req, _ := http.NewRequest("PUT", "https://acct.blob.core.windows.net/c/b?sv=2018&SIG=h%2Fush&se=x", strings.NewReader("h/ush"))
	req.Header.Set("Authorization", "Bearer h/ush")
	res, err := proxied(t, f).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	clocktest.Until(t, "the request is logged", 10*time.Second, func() bool { return strings.Contains(log.String(), "method=PUT") })
	got := log.String()
	if strings.Contains(got, "ush") || !strings.Contains(got, `query="sv=2018&SIG=-&se=x"`) || !strings.Contains(got, "status=200") {
		t.Errorf("got %s", got)
	}
}

func TestLogSaysWhoDoesNotTrustUs(t *testing.T) {
	var log lockedBuffer
	f := start(t, func(c *front.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	c := tls.Client(dial(t, f.Addr()), &tls.Config{ServerName: "management.azure.com", RootCAs: x509.NewCertPool()})
	if err := c.Handshake(); err == nil {
		t.Fatal("an empty pool trusts us")
	}
	clocktest.Until(t, "the refusal is logged", 10*time.Second, func() bool {
		return strings.Contains(log.String(), "a client does not trust the local certificate authority")
	})
}
