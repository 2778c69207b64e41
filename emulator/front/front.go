// Package front is the door: the local certificate authority, the CONNECT
// proxy, TLS by SNI, and the table from host names to handlers.
//
// One port speaks plain HTTP, proxy requests and TLS, told apart by the first
// byte, and a CONNECT to a host of the table ends at the same place: a
// net/http server, HTTP/1.1 only, that streams and lets handlers hijack.
// Every other host is tunnelled untouched, or refused at once when offline.
//
// CONNECT requests, tunnels, plain proxying and the way through an upstream
// proxy are github.com/elazarl/goproxy's. Its own interception is not used: it
// answers through a RoundTripper, so that a handler could neither hijack (the
// websockets of a container's exec) nor send its headers before its body ends
// without a copy in between. A matched CONNECT is therefore taken over by its
// ConnectHijack action, with the bytes that came along with the request, which
// that action would lose. In goproxy 1.9.3 a plain proxied request that asks
// for 100-continue has its body sent on at once.
//
// It is no reverse proxy, it logs no secret, and it trusts who can reach its
// port: listen on loopback unless all on the network may tunnel.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
)

// How long a client may take to say what it wants, and keep a connection without wanting anything.
const (
	headerTimeout = time.Minute
	idleTimeout   = 5 * time.Minute
	dialTimeout   = 30 * time.Second
)

// Config of a Front.
type Config struct {
	// Listen is host:port; the one port speaks HTTP, CONNECT and TLS, told apart by the first byte. Empty: 127.0.0.1:0.
	Listen string
	// Also are more addresses that are served in the same way, such as :443 for names that resolve to this machine.
	Also []string
	// Dir holds ca.pem, ca-key.pem (0600) and bundle.pem; empty: a temporary folder, removed by Close.
	Dir string
	// Roots are files of public roots in PEM, of which the first that exists goes into the bundle; nil: the usual places.
	Roots []string
	// Hosts, first match wins.
	Hosts []Host
	// Alias is the name or address of a Host that a name which no Host matches stands for now, as
	// a CNAME record does; empty: none.
	Alias func(ctx context.Context, name string) string
	// Offline refuses tunnels to hosts that no Host matches.
	Offline bool
	// Upstream names the proxy for a URL outside the table, or nil for none, as http.Transport's
	// Proxy and httpproxy's ProxyFunc do. A proxy that is this Front itself is taken as none.
	Upstream func(*url.URL) (*url.URL, error)
	// Now is the time for certificates; nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Host maps a pattern of names to its handler.
type Host struct {
	// Pattern is "management.azure.com", "*.blob.core.windows.net" (one label), "**.azureml.net" (any
	// depth), "localhost", an IP address, a range of them ("127.128.0.0/10"), or "*": whatever name a direct, unproxied request comes under.
	Pattern string
	// Handler answers requests on ports 80, 443 and our own; nil: a name of Azure
	// that lazulite does not emulate, whose requests are answered 501 and never tunnelled.
	Handler http.Handler
	// Dial, instead of a Handler, connects to what really listens behind the host's
	// ports, whichever they are: a CONNECT is a tunnel there, a request is passed on.
	Dial func(ctx context.Context, name, port string) (net.Conn, error)
	// Tunnel, beside a Handler, connects a CONNECT to any other port, as of SSH;
	// nil: that is no business of ours.
	Tunnel func(ctx context.Context, name, port string) (net.Conn, error)
	// Only are the paths that the Handler answers; all others are fetched from the
	// real host, or refused if Offline. Empty: every path is the Handler's.
	Only []string
}

// Front is the listening door.
type Front struct {
	cfg   Config
	log   *slog.Logger
	table *table
	ca    *authority
	tmp   string // folder to remove

	tls    *tls.Config
	proxy  *goproxy.ProxyHttpServer
	behind *http.Transport // to the hosts that have a Dial
	server *http.Server
	feed   *feed

	life context.Context // ends the dials under way
	end  context.CancelFunc

	serving sync.RWMutex // read-held by each request under way
	loops   sync.WaitGroup

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*conn]struct{}
	state     state
}

type state int

const (
	made state = iota
	opened
	closed
)

// New makes the CA if Dir has none.
func New(cfg Config) (*Front, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Roots == nil {
		cfg.Roots = usualRoots()
	}
	t, err := newTable(cfg.Hosts)
	if err != nil {
		return nil, err
	}
	f := &Front{cfg: cfg, log: cfg.Logger, table: t, conns: map[*conn]struct{}{}}
	dir := cfg.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lazulite-ca-"); err != nil {
			return nil, fmt.Errorf("front: %w", err)
		}
		f.tmp = dir
	}
	f.ca, err = openAuthority(dir, cfg.Roots, cfg.Now, cfg.Logger)
	if err != nil {
		if f.tmp != "" {
			_ = os.RemoveAll(f.tmp)
		}
		return nil, err
	}
	f.life, f.end = context.WithCancel(context.Background())
	f.tls = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: f.certificate}
	f.proxy = f.newProxy()
	f.behind = f.newBehind()
	f.feed = newFeed()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	f.server = &http.Server{
		Handler:           http.HandlerFunc(f.serve),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(serverLog{cfg.Logger}, "", 0),
		ConnContext:       withConn,
	}
	return f, nil
}

// Listen takes the addresses, so that Addr is known; who connects waits until Open.
func (f *Front) Listen(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != made || len(f.listeners) > 0 {
		return errors.New("front: Listen after Listen, Open or Close")
	}
	return f.listen(ctx)
}

func (f *Front) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, addr := range append([]string{f.cfg.Listen}, f.cfg.Also...) {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			for _, l := range f.listeners {
				_ = l.Close()
			}
			f.listeners = nil
			return fmt.Errorf("front: listen on %s: %w", addr, err)
		}
		f.listeners = append(f.listeners, l)
	}
	return nil
}

// Open listens, unless Listen has, and serves; when it returns, the first request would be answered.
func (f *Front) Open(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != made {
		return errors.New("front: Open after Open or Close")
	}
	if len(f.listeners) == 0 {
		if err := f.listen(ctx); err != nil {
			return err
		}
	}
	f.state = opened
	for _, l := range f.listeners {
		f.feed.addr = f.listeners[0].Addr()
		f.loops.Go(func() { f.accept(l) })
	}
	f.loops.Go(func() { _ = f.server.Serve(f.feed) })
	return nil
}

// Close stops listening and waits for the requests under way until ctx ends;
// then it cuts what is left, tunnels among it.
func (f *Front) Close(ctx context.Context) error {
	f.mu.Lock()
	was := f.state
	f.state = closed
	for _, l := range f.listeners {
		_ = l.Close()
	}
	f.mu.Unlock()
	if was == closed {
		return nil
	}
	f.end()
	var err error
	if was == opened {
		// A connection that never had a request would hold Shutdown up.
		f.cut(func(c *conn) bool { return !c.served.Load() })
		if err = f.server.Shutdown(ctx); err != nil {
			_ = f.server.Close()
		}
		f.cut(func(*conn) bool { return true })
		if werr := f.drain(ctx); err == nil {
			err = werr
		}
		f.proxy.Tr.CloseIdleConnections()
		f.behind.CloseIdleConnections()
	}
	if f.tmp != "" {
		err = errors.Join(err, os.RemoveAll(f.tmp))
	}
	if err != nil {
		return fmt.Errorf("front: close: %w", err)
	}
	return nil
}

// drain waits for the handlers, hijackers among them, and for the loops.
func (f *Front) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		f.serving.Lock()
		defer f.serving.Unlock()
		f.loops.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Addr is host:port that it listens on; before Open, what it will be asked to listen on.
func (f *Front) Addr() string { return f.Addrs()[0] }

// Addrs are the host:port of Listen and of each of Also.
func (f *Front) Addrs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) == 0 {
		return append([]string{f.cfg.Listen}, f.cfg.Also...)
	}
	out := make([]string, len(f.listeners))
	for i, l := range f.listeners {
		out[i] = l.Addr().String()
	}
	return out
}

// CAFile is the path of our root alone, in PEM.
func (f *Front) CAFile() string { return f.ca.file }

// BundleFile is the path of the public roots of this machine plus ours, in PEM.
func (f *Front) BundleFile() string { return f.ca.bundle }

// PublicRoots is the file whose roots the bundle has beside ours; empty if none was found.
func (f *Front) PublicRoots() string { return f.ca.roots }

// own reports whether host:port is this Front's, as far as can be told without looking a name up.
func (f *Front) own(host, port string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		a, ok := l.Addr().(*net.TCPAddr)
		if !ok || strconv.Itoa(a.Port) != port {
			continue
		}
		ip := net.ParseIP(host)
		if host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified() || ip.Equal(a.IP)) {
			return true
		}
	}
	return false
}
