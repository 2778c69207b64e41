package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/elazarl/goproxy"
)

// newProxy configures goproxy by hand: its constructor would read the environment.
func (f *Front) newProxy() *goproxy.ProxyHttpServer {
	p := &goproxy.ProxyHttpServer{
		Logger:             proxyLog{f.log},
		KeepAcceptEncoding: true,
		Tr: &http.Transport{
			Proxy:              func(r *http.Request) (*url.URL, error) { return f.upstream(r.URL) },
			DialContext:        f.dialDirect,
			DisableCompression: true,
			IdleConnTimeout:    90 * time.Second,
		},
		ConnectDialWithReq: func(_ *http.Request, network, addr string) (net.Conn, error) { return f.dial(network, addr) },
	}
	p.OnRequest().HandleConnectFunc(f.connect)
	p.OnResponse().DoFunc(func(resp *http.Response, ctx *goproxy.ProxyCtx) *http.Response {
		if resp == nil && ctx.Error != nil {
			return response(http.StatusBadGateway, "Bad Gateway", "BadGateway", "lazulite can't reach '"+ctx.Req.URL.Host+"': "+ctx.Error.Error())
		}
		return resp
	})
	return p
}

// connect decides what becomes of a CONNECT.
func (f *Front) connect(target string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
	name, port := hostPort(target, "443")
	h, ours := f.proxied(name, port)
	switch {
	case ours && h.Dial != nil:
		return f.connectBehind(h, name, port, ctx), target
	case ours:
		return &goproxy.ConnectAction{Action: goproxy.ConnectHijack, Hijack: func(_ *http.Request, client net.Conn, _ *goproxy.ProxyCtx) {
			if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
				_ = client.Close()
				return
			}
			f.adopt(client, name)
		}}, target
	case f.cfg.Offline:
		// Most clients show no more of a refused CONNECT than its reason phrase.
		ctx.Resp = response(http.StatusForbidden, "Forbidden (lazulite is offline)", "Offline", offline(name))
		return &goproxy.ConnectAction{Action: goproxy.ConnectReject}, target
	}
	return &goproxy.ConnectAction{Action: goproxy.ConnectAccept}, net.JoinHostPort(name, port)
}

func response(status int, reason, code, message string) *http.Response {
	body := errorBody(code, message)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, reason), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)), Close: true,
	}
}

// upstream is the proxy on the way to u, or nil.
func (f *Front) upstream(u *url.URL) (*url.URL, error) {
	if f.cfg.Upstream == nil {
		return nil, nil
	}
	p, err := f.cfg.Upstream(u)
	if err != nil || p == nil {
		return nil, err
	}
	// A shell that has our own proxy in its environment may start us again.
	if name, port := hostPort(p.Host, "80"); f.own(name, port) {
		return nil, nil
	}
	return p, nil
}

// dial opens the far end of a tunnel.
func (f *Front) dial(network, addr string) (net.Conn, error) {
	up, err := f.upstream(&url.URL{Scheme: "https", Host: addr})
	if err != nil {
		return nil, err
	}
	if up == nil {
		return f.dialDirect(f.life, network, addr)
	}
	via := &goproxy.ProxyHttpServer{Logger: proxyLog{f.log}, Tr: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := f.dialDirect(f.life, network, addr)
			if err == nil {
				// The exchange with the upstream proxy has no other limit.
				err = c.SetDeadline(time.Now().Add(dialTimeout))
			}
			return c, err
		},
	}}
	open := via.NewConnectDialToProxyWithHandler(up.String(), func(r *http.Request) {
		if up.User != nil {
			pass, _ := up.User.Password()
			r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(up.User.Username()+":"+pass)))
		}
	})
	if open == nil {
		return nil, fmt.Errorf("upstream proxy %s: can't be used", up.Redacted())
	}
	c, err := open(network, addr)
	if err != nil {
		return nil, fmt.Errorf("upstream proxy %s: %w", up.Redacted(), err)
	}
	return c, c.SetDeadline(time.Time{})
}

func (f *Front) dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, network, addr)
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

// hijacker hands a connection over together with the bytes that its request's
// parser had read ahead, such as a ClientHello that came with the CONNECT.
type hijacker struct {
	http.ResponseWriter
	front *Front
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t, ok := c.(*conn)
	if !ok {
		// The proxy itself was spoken to through TLS.
		if t = h.front.track(c); t == nil {
			return nil, nil, net.ErrClosed
		}
	}
	if n := rw.Reader.Buffered(); n > 0 {
		ahead, _ := rw.Reader.Peek(n)
		t.early = append(t.early, ahead...)
	}
	return t, bufio.NewReadWriter(bufio.NewReader(t), bufio.NewWriter(t)), nil
}

// proxyLog takes goproxy's warnings, which are about clients and hosts that went away.
type proxyLog struct{ log *slog.Logger }

func (l proxyLog) Printf(format string, v ...any) { l.log.Debug("proxy: " + fmt.Sprintf(format, v...)) }
