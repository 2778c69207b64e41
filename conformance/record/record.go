// Package record is the reverse of package replay: a handler that passes
// requests on to the real service and writes what was said, without its
// secrets, as the VCR JSON that replay plays. With it users pin the real
// service's behaviour themselves.
//
// It is put behind a proxy that ends TLS (lazulite record does so) and gets
// requests with their absolute host. Nothing is written of the authority's
// traffic. Elsewhere tokens, keys, passwords, SAS signatures and whatever
// Secrets names are replaced by SECRET, each also where else it occurs; subscription,
// tenant and the login's own ids become zeros. Times and names stay.
//
// It is no guarantee: what a service calls a secret under a name that nobody
// knows is written. Read a recording before it is given away.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxBody is the largest body that is written; of a larger one the recording says how large it was.
const maxBody = 4 << 20

// Config of a Recorder.
type Config struct {
	// File is written anew after each exchange, so that a killed recorder loses none that was answered; required.
	File string
	// Transport reaches the real service; nil: http.DefaultTransport, which takes the environment's proxy.
	Transport http.RoundTripper
	// Zero are ids to replace by zeros, such as the subscription and the tenant.
	Zero []string
	// Secrets are texts to replace wherever they occur.
	Secrets []string
	// Silent says that nothing of a host's traffic is written; nil: the authority's hosts.
	Silent func(host string) bool
}

// Recorder is an http.Handler. It is safe for concurrent use.
type Recorder struct {
	cfg   Config
	proxy *httputil.ReverseProxy
	scrub *scrubber

	mu        sync.Mutex
	exchanges []exchange
	err       error
}

// The layout of azure-cli's recordings.
type (
	exchange struct {
		Request  request  `json:"request"`
		Response response `json:"response"`
	}
	request struct {
		Method  string              `json:"method"`
		URI     string              `json:"uri"`
		Headers map[string][]string `json:"headers"`
		Body    *string             `json:"body"`
	}
	response struct {
		Status  status              `json:"status"`
		Headers map[string][]string `json:"headers"`
		Body    content             `json:"body"`
	}
	status struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	content struct {
		String string `json:"string"`
	}
)

// New makes a Recorder and writes its first, empty file, so that a place that can't be written is told at once.
func New(cfg Config) (*Recorder, error) {
	if cfg.File == "" {
		return nil, errors.New("record: a File is needed")
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Silent == nil {
		cfg.Silent = authority
	}
	r := &Recorder{cfg: cfg, scrub: newScrubber(cfg.Zero, cfg.Secrets)}
	r.proxy = &httputil.ReverseProxy{
		// The request goes on as it came, under its own host.
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "https", p.In.Host
			p.Out.Host = p.In.Host
		},
		Transport:      cfg.Transport,
		ModifyResponse: r.answered,
		ErrorHandler: func(w http.ResponseWriter, q *http.Request, err error) {
			http.Error(w, "the real service could not be reached: "+r.scrub.text(err.Error()), http.StatusBadGateway)
		},
	}
	return r, r.write()
}

// authority names the hosts that logins go to.
func authority(host string) bool {
	switch strings.ToLower(host) {
	case "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net":
		return true
	}
	return false
}

// ServeHTTP implements http.Handler.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	host := q.Host
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	if r.cfg.Silent(host) || q.Header.Get("Upgrade") != "" {
		r.proxy.ServeHTTP(w, q)
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	// An answer that is packed could not be read.
	q.Header.Set("Accept-Encoding", "identity")
	q = q.WithContext(withSent(q.Context(), sent{uri: "https://" + q.Host + q.URL.RequestURI(), body: body}))
	r.proxy.ServeHTTP(w, q)
}

// answered writes an exchange before its answer is passed on.
func (r *Recorder) answered(a *http.Response) error {
	s, ok := sentOf(a.Request.Context())
	if !ok {
		return nil
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return err
	}
	_ = a.Body.Close()
	a.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scrub.learn(s.body)
	r.scrub.learn(body)
	x := exchange{
		Request:  request{Method: a.Request.Method, URI: s.uri, Headers: r.scrub.headers(a.Request.Header)},
		Response: response{Status: status{a.StatusCode, http.StatusText(a.StatusCode)}, Headers: r.scrub.headers(a.Header), Body: content{text(body)}},
	}
	if len(s.body) > 0 {
		b := text(s.body)
		x.Request.Body = &b
	}
	r.exchanges = append(r.exchanges, x)
	if err := r.write(); err != nil && r.err == nil {
		r.err = err
	}
	return nil
}

// text is a body as it is written.
func text(b []byte) string {
	switch {
	case len(b) > maxBody:
		return fmt.Sprintf("(%d bytes, not recorded)", len(b))
	case !utf8.Valid(b):
		return fmt.Sprintf("(%d bytes that are no text, not recorded)", len(b))
	}
	return string(b)
}

// write replaces the file. All that was learned of secrets so far holds for all exchanges.
func (r *Recorder) write() error {
	doc := struct {
		Interactions []exchange `json:"interactions"`
		Version      int        `json:"version"`
	}{make([]exchange, 0, len(r.exchanges)), 1}
	for _, x := range r.exchanges {
		x.Request.URI = r.scrub.uri(x.Request.URI)
		if x.Request.Body != nil {
			b := r.scrub.body(*x.Request.Body)
			x.Request.Body = &b
		}
		x.Request.Headers, x.Response.Headers = r.scrub.values(x.Request.Headers), r.scrub.values(x.Response.Headers)
		x.Response.Body.String = r.scrub.body(x.Response.Body.String)
		doc.Interactions = append(doc.Interactions, x)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.cfg.File), 0o700); err != nil {
		return err
	}
	next := r.cfg.File + ".part"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, r.cfg.File)
}

// Close returns how many exchanges were written, and the first error of writing them.
func (r *Recorder) Close() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.exchanges), r.err
}

// Count is how many exchanges were written so far.
func (r *Recorder) Count() int {
	n, _ := r.Close()
	return n
}

func parseQuery(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	return u, err == nil && u.RawQuery != ""
}
