package front_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"testing"

	"lazulite.dev/emulator/front"
)

var answer = []byte(`{"id":"/subscriptions/s/resourceGroups/r","name":"r","type":"Microsoft.Resources/resourceGroups","location":"eastus2","tags":{},"properties":{"provisioningState":"Succeeded"}}`)

func answering(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// load GETs over 16 connections.
func load(b *testing.B, c *http.Client, target string) {
	b.Helper()
	b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := c.Get(target)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}

func BenchmarkGET(b *testing.B) {
	f := start(b, func(c *front.Config) {
		c.Hosts = []front.Host{{Pattern: "management.azure.com", Handler: http.HandlerFunc(answering)}}
	})
	to := func(addr string, proxy *url.URL, trust *tls.Config) *http.Client {
		tr := &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: 16, MaxConnsPerHost: 16}
		if proxy != nil {
			tr.Proxy = http.ProxyURL(proxy)
		} else {
			tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, addr)
			}
		}
		b.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	b.Run("bare", func(b *testing.B) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(answering))
		s.StartTLS()
		defer s.Close()
		trust := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		trust.ServerName = "example.com"
		load(b, to(s.Listener.Addr().String(), nil, trust), "https://management.azure.com/")
	})
	trust := &tls.Config{RootCAs: pool(b, f)}
	b.Run("TLS", func(b *testing.B) { load(b, to(f.Addr(), nil, trust), "https://management.azure.com/") })
	b.Run("CONNECT", func(b *testing.B) {
		load(b, to("", &url.URL{Scheme: "http", Host: f.Addr()}, trust), "https://management.azure.com/")
	})
	b.Run("in-process", func(b *testing.B) { load(b, &http.Client{Transport: f.Transport()}, "https://management.azure.com/") })
}

// BenchmarkCONNECT is one connection with one GET: CONNECT, TLS handshake, answer.
func BenchmarkCONNECT(b *testing.B) {
	f := start(b, func(c *front.Config) {
		c.Hosts = []front.Host{{Pattern: "management.azure.com", Handler: http.HandlerFunc(answering)}}
	})
	trust := &tls.Config{RootCAs: pool(b, f)}
	for b.Loop() {
		tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: f.Addr()}), TLSClientConfig: trust, DisableKeepAlives: true}
		if status, _ := get(b, &http.Client{Transport: tr}, "https://management.azure.com/"); status != 200 {
			b.Fatal(status)
		}
	}
}

// BenchmarkStart makes and opens a Front: cold makes the CA, warm finds it.
func BenchmarkStart(b *testing.B) {
	run := func(b *testing.B, dir string) {
		b.Helper()
		f, err := front.New(front.Config{Dir: dir})
		if err == nil {
			err = f.Open(context.Background())
		}
		if err == nil {
			err = f.Close(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			run(b, b.TempDir())
		}
	})
	b.Run("warm", func(b *testing.B) {
		dir := b.TempDir()
		run(b, dir)
		for b.Loop() {
			run(b, dir)
		}
	})
}
