package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/elazarl/goproxy"
)

// newBehind makes the way to hosts that have a Dial. What listens there has
// whatever certificate it was given: who wants to check it opens a tunnel.
func (f *Front) newBehind() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			name, port := hostPort(addr, "80")
			h, ok := f.find(name)
			if !ok || h.Dial == nil {
				return nil, fmt.Errorf("front: nothing to dial for %q", name)
			}
			return f.dialBehind(ctx, h, name, port)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		DisableCompression: true,
		// A service that is called by many at once is not dialled anew for each call.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
	}
}

func (f *Front) dialBehind(ctx context.Context, h Host, name, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := h.Dial(ctx, name, port)
	if err != nil {
		return nil, err
	}
	t := f.track(c)
	if t == nil {
		return nil, net.ErrClosed
	}
	t.served.Store(true) // it is the far end of a request
	return t, nil
}

// connectBehind answers a CONNECT with a tunnel to what listens behind the name.
func (f *Front) connectBehind(h Host, name, port string, ctx *goproxy.ProxyCtx) *goproxy.ConnectAction {
	far, err := f.dialBehind(f.life, h, name, port)
	if err != nil {
		ctx.Resp = response(http.StatusBadGateway, "Bad Gateway", "BadGateway", "lazulite can't reach '"+net.JoinHostPort(name, port)+"': "+err.Error())
		return &goproxy.ConnectAction{Action: goproxy.ConnectReject}
	}
	return &goproxy.ConnectAction{Action: goproxy.ConnectHijack, Hijack: func(_ *http.Request, client net.Conn, _ *goproxy.ProxyCtx) {
		if t, ok := client.(*conn); ok {
			t.served.Store(true)
		}
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			_, _ = client.Close(), far.Close()
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.state == closed {
			_, _ = client.Close(), far.Close()
			return
		}
		f.loops.Go(func() { splice(client, far) })
	}}
}

// splice copies both ways until both ends have said all, or one is gone.
func splice(a, b net.Conn) {
	done := make(chan struct{}, 2)
	half := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if h, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			err = h.CloseWrite()
		} else if err == nil {
			err = io.ErrClosedPipe
		}
		if err != nil {
			_, _ = a.Close(), b.Close()
		}
		done <- struct{}{}
	}
	go half(a, b)
	go half(b, a)
	<-done
	<-done
	_, _ = a.Close(), b.Close()
}

// passBehind passes a request on to what listens behind the name.
func (f *Front) passBehind(w http.ResponseWriter, r *http.Request, host string) {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	(&httputil.ReverseProxy{
		Transport:     f.behind,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = scheme, host, host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			writeError(w, http.StatusBadGateway, "BadGateway", "lazulite can't reach '"+host+"': "+err.Error())
		},
	}).ServeHTTP(w, r)
}
