package front_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/front"
)

// echo answers with what it sees of a request.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s: %s %s host=%s tls=%v body=%s", name, r.Method, r.URL, r.Host, r.TLS != nil, body)
	})
}

// upgrade hijacks, and repeats each line in capitals.
func upgrade(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, strings.ToUpper(line))
	}
}

func hosts() []front.Host {
	return []front.Host{
		{Pattern: "management.azure.com", Handler: echo("arm")},
		{Pattern: "exec.azure.com", Handler: http.HandlerFunc(upgrade)},
		{Pattern: "*.blob.core.windows.net", Handler: echo("blob")},
		{Pattern: "**.azureml.net", Handler: echo("aml")},
		{Pattern: "**.azure.com"},
		{Pattern: "localhost", Handler: echo("local")},
		{Pattern: "127.0.0.1", Handler: echo("local")},
		{Pattern: "::1", Handler: echo("local")},
		{Pattern: "*", Handler: echo("any")},
	}
}

func start(t testing.TB, change func(*front.Config)) *front.Front {
	t.Helper()
	cfg := front.Config{Dir: t.TempDir(), Hosts: hosts()}
	if change != nil {
		change(&cfg)
	}
	f, err := front.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

func pool(t testing.TB, f *front.Front) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(f.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in CAFile")
	}
	return p
}

// proxied is a client that has f as its proxy and trusts our root alone.
func proxied(t testing.TB, f *front.Front) *http.Client {
	t.Helper()
	u := &url.URL{Scheme: "http", Host: f.Addr()}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: pool(t, f)}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// direct is a client for whom every name resolves to f, as through a hosts file.
func direct(t testing.TB, f *front.Front) *http.Client {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool(t, f)},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, f.Addr())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func get(t testing.TB, c *http.Client, target string) (int, string) {
	t.Helper()
	res, err := c.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// expect reads up to and with the piece.
func expect(t testing.TB, r *bufio.Reader, piece string) {
	t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), piece) {
		b, err := r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q, want %q", err, got.String(), piece)
		}
		got.WriteByte(b)
	}
}
