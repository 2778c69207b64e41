// Package wire is the small HTTP client that the conformance suite and the
// replayer share: tokens by client credentials, ARM requests, long-running
// operations followed as clients follow them, and a list of everything created
// so that it can be deleted again.
//
// It is no SDK: it hides no status, follows no redirect and retries nothing but
// what was throttled, because the one who judges an implementation must see each answer as
// it was given.
package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// maxBody bounds what is read of one answer: an implementation under test must not fill our memory.
const maxBody = 64 << 20

// Config of a Client. Endpoint is required; everything else has a usable zero value.
type Config struct {
	// Endpoint is the URL of Azure Resource Manager.
	Endpoint string
	// Authority is the URL that tokens come from; one that ends in /adfs has no tenant in its paths.
	Authority string
	// Tenant, ClientID and ClientSecret are the service principal's.
	Tenant, ClientID, ClientSecret string
	// Token, if set, is asked for every token instead of Authority.
	Token func(ctx context.Context, audience string) (string, error)
	// HTTPClient, if set, sends everything; Proxy and CAFile must then be empty.
	HTTPClient *http.Client
	// Proxy is the URL of the HTTPS CONNECT proxy that reaches hosts other
	// than loopback ones; "env" takes HTTPS_PROXY and NO_PROXY from the environment.
	Proxy string
	// CAFile is a PEM bundle trusted beside the system's roots.
	CAFile string
	// Watch, if set, is put around what sends the requests.
	Watch func(http.RoundTripper) http.RoundTripper
	// Journal, if set, is a file that names what was created and is not yet deleted, see Journal.
	Journal string
	// Advance, if set, moves the implementation's clock: waits call it instead of sleeping.
	Advance func(time.Duration)
	// PollEvery is the wait between polls when the answer has no Retry-After. Default 1 s.
	PollEvery time.Duration
	// PollMost caps a Retry-After. Default 30 s.
	PollMost time.Duration
	// PollLimit ends a poll that comes to no end. Default 20 min.
	PollLimit time.Duration
	// Request bounds one request with its answer. Default 2 min.
	Request time.Duration
}

// Client sends requests to one implementation. It is safe for concurrent use.
type Client struct {
	cfg     Config
	http    *http.Client
	sockets *http.Client // http, which nobody watches
	base    *url.URL
	mu      sync.Mutex
	tokens  map[string]token
	made    []Made
	journal *journal
}

// New checks cfg and makes a Client; it sends nothing.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("endpoint %q is not a URL with a host", cfg.Endpoint)
	}
	cfg.Endpoint = strings.TrimRight(cfg.Endpoint, "/")
	cfg.Authority = strings.TrimRight(cfg.Authority, "/")
	setDefault(&cfg.PollEvery, time.Second)
	setDefault(&cfg.PollMost, 30*time.Second)
	setDefault(&cfg.PollLimit, 20*time.Minute)
	setDefault(&cfg.Request, 2*time.Minute)
	hc, err := newHTTP(cfg)
	if err != nil {
		return nil, err
	}
	unwatched := *hc
	if cfg.Watch != nil {
		base := hc.Transport
		if base == nil {
			base = http.DefaultTransport
		}
		hc.Transport = cfg.Watch(base)
	}
	c := &Client{cfg: cfg, http: hc, sockets: &unwatched, base: base, tokens: map[string]token{}}
	if cfg.Journal != "" {
		c.journal = &journal{file: cfg.Journal, endpoint: cfg.Endpoint}
	}
	return c, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

func newHTTP(cfg Config) (*http.Client, error) {
	noFollow := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if cfg.HTTPClient != nil {
		if cfg.Proxy != "" || cfg.CAFile != "" {
			return nil, errors.New("an HTTP client of your own excludes proxy and CA file: give it those yourself")
		}
		c := *cfg.HTTPClient
		c.CheckRedirect = noFollow
		return &c, nil
	}
	tr := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	switch cfg.Proxy {
	case "":
	case "env":
		tr.Proxy = http.ProxyFromEnvironment
	default:
		u, err := url.Parse(cfg.Proxy)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("proxy %q is not a URL with a host", cfg.Proxy)
		}
		tr.Proxy = func(r *http.Request) (*url.URL, error) {
			if loopback(r.URL.Hostname()) {
				return nil, nil
			}
			return u, nil
		}
	}
	if cfg.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", cfg.CAFile)
		}
		tr.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: tr, CheckRedirect: noFollow}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// Request is one request to send.
type Request struct {
	Method string
	// URL is absolute, or a path below the endpoint; its query is kept as written.
	URL string
	// Version is added as api-version unless the URL has one.
	Version string
	Header  http.Header
	// Body is nil, []byte or string (sent as they are), or a value to encode as JSON.
	Body any
	// Token replaces our own; NoToken sends none.
	Token   string
	NoToken bool
}

// Response is an answer, read to its end.
type Response struct {
	Method, URL string
	Status      int
	Header      http.Header
	Body        []byte
	// Truncated says that the body was longer than is read.
	Truncated bool
}

// Do sends one request, again after 429 as Retry-After asks, for a service may
// always throttle. The error is about the way (no connection, no token, no end in time), never about the status.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	for tries := 1; ; tries++ {
		resp, err := c.once(ctx, r)
		if err != nil || resp.Status != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || tries > faultsMost {
			return resp, err
		}
		if err := c.Wait(ctx, c.Pause(resp)); err != nil {
			return nil, err
		}
	}
}

func (c *Client) once(ctx context.Context, r Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Request)
	defer cancel()
	body, ctype, err := encode(r.Body)
	if err != nil {
		return nil, err
	}
	u := c.Absolute(r.URL)
	if r.Version != "" && !strings.Contains(strings.ToLower(u), "api-version=") {
		sep := "?"
		if strings.Contains(u, "?") {
			sep = "&"
		}
		u += sep + "api-version=" + r.Version
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, body)
	if err != nil {
		return nil, err
	}
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	req.Header.Set("Accept", "application/json")
	for k, v := range r.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	switch {
	case r.NoToken:
	case r.Token != "":
		req.Header.Set("Authorization", "Bearer "+r.Token)
	default:
		t, err := c.Token(ctx, AudienceManagement)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+t)
	}
	return c.send(req)
}

func (c *Client) send(req *http.Request) (*Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, scrub(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", req.Method, Redact(req.URL.String()), err)
	}
	out := &Response{Method: req.Method, URL: req.URL.String(), Status: resp.StatusCode, Header: resp.Header, Body: b}
	if len(b) > maxBody {
		out.Body, out.Truncated = b[:maxBody], true
	}
	return out, nil
}

// scrub takes a SAS out of the URL that net/http puts in its errors.
func scrub(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		ue.URL = Redact(ue.URL)
	}
	return err
}

// Absolute returns u itself, or a path below the endpoint.
func (c *Client) Absolute(u string) string {
	if strings.HasPrefix(u, "/") {
		return c.cfg.Endpoint + u
	}
	return u
}

// Owns says whether u is on the endpoint's host.
func (c *Client) Owns(u string) bool {
	p, err := url.Parse(u)
	return err == nil && strings.EqualFold(p.Host, c.base.Host)
}

func encode(body any) (io.Reader, string, error) {
	const ctype = "application/json; charset=utf-8"
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return bytes.NewReader(b), ctype, nil
	case string:
		return strings.NewReader(b), ctype, nil
	}
	b, err := json.Marshal(body)
	return bytes.NewReader(b), ctype, err
}
