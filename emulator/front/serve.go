package front

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve answers one request, however it came.
func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	f.serving.RLock()
	defer f.serving.RUnlock()
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && !c.served.Load() {
		c.served.Store(true)
	}
	if !f.log.Enabled(r.Context(), slog.LevelDebug) {
		f.route(w, r)
		return
	}
	rec := &recorder{ResponseWriter: w}
	start := time.Now()
	// The handler may change the request.
	method, host, path, query := r.Method, r.Host, r.URL.Path, redact(r.URL.RawQuery)
	defer func() {
		f.log.Debug("request", "method", method, "host", host, "path", path, "query", query,
			"status", rec.status, "bytes", rec.bytes, "took", time.Since(start), "from", r.RemoteAddr)
	}()
	f.route(rec, r)
}

func (f *Front) route(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		f.proxy.ServeHTTP(&hijacker{w, f}, r)
		return
	}
	if r.URL.IsAbs() {
		f.pass(w, r)
		return
	}
	name, _ := hostPort(r.Host, "")
	h, ok := f.table.direct(name)
	switch {
	case !ok:
		writeError(w, http.StatusMisdirectedRequest, "HostNotServed", "lazulite serves no host '"+name+"'.")
	case h.Dial != nil:
		f.passBehind(w, r, r.Host)
	case h.Handler == nil:
		notEmulated(w, name)
	case !h.answers(r.URL.Path):
		f.onward(w, r, name)
	default:
		h.Handler.ServeHTTP(w, r)
	}
}

// answers says whether a path is the handler's.
func (h Host) answers(path string) bool { return len(h.Only) == 0 || slices.Contains(h.Only, path) }

// onward fetches what is not the handler's from the real host.
func (f *Front) onward(w http.ResponseWriter, r *http.Request, name string) {
	if f.cfg.Offline {
		writeError(w, http.StatusForbidden, "Offline", offline(name))
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	(&httputil.ReverseProxy{
		Transport: f.proxy.Tr,
		ErrorLog:  slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = scheme, p.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			writeError(w, http.StatusBadGateway, "BadGateway", "lazulite can't reach '"+name+"': "+err.Error())
		},
	}).ServeHTTP(w, r)
}

// pass answers an absolute-form request, which a client sends to its proxy for an http:// URL.
func (f *Front) pass(w http.ResponseWriter, r *http.Request) {
	port := "80"
	if r.URL.Scheme == "https" {
		port = "443"
	}
	name, port := hostPort(r.URL.Host, port)
	h, ok := f.proxied(name, port)
	switch {
	case ok && h.Dial != nil:
		f.passBehind(w, r, r.URL.Host)
	case ok && h.Handler == nil:
		notEmulated(w, name)
	case ok && !h.answers(r.URL.Path):
		r.Host = r.URL.Host
		f.onward(w, r, name)
	case ok:
		for _, k := range []string{"Proxy-Connection", "Proxy-Authorization"} {
			r.Header.Del(k)
		}
		r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, "", ""
		h.Handler.ServeHTTP(w, r)
	case f.cfg.Offline:
		writeError(w, http.StatusForbidden, "Offline", offline(name))
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

func offline(name string) string {
	return "lazulite is offline: it passes nothing on to '" + name + "'."
}

// writeError is the only writer of the Front's own errors, in the envelope that Azure's clients read.
func writeError(w http.ResponseWriter, status int, code, message string) {
	body := errorBody(code, message)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func errorBody(code, message string) []byte {
	body, _ := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	return body
}

// secretParameters are query parameters whose values must not be logged.
var secretParameters = []string{"sig", "code", "token", "access_token", "refresh_token", "id_token", "client_secret", "password", "secret", "assertion", "client_assertion", "device_code"}

// redact hides the secrets of a raw query.
func redact(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		k, _, ok := strings.Cut(p, "=")
		for _, s := range secretParameters {
			if ok && strings.EqualFold(k, s) {
				parts[i] = k + "=-"
			}
		}
	}
	return strings.Join(parts, "&")
}

// recorder notes what a handler answered, for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 || r.status < 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}

func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// serverLog takes net/http's messages: a handler's panic, a client that does
// not trust us, and what is only worth knowing when one looks for it.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	switch {
	case strings.HasPrefix(text, "http: panic"):
		l.log.Error(text)
	case strings.Contains(text, "unknown certificate"), strings.Contains(text, "bad certificate"):
		l.log.Warn("a client does not trust the local certificate authority; give it the bundle (lazulite env)", "error", text)
	default:
		l.log.Debug(text)
	}
	return len(p), nil
}
