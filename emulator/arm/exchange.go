package arm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// maxBody bounds a request, as the real resource manager does.
const maxBody = 4 << 20

// exchange is one request under way.
type exchange struct {
	e *Engine
	w http.ResponseWriter
	r *http.Request
	// trusted requests come from the engine itself (a deployment's).
	trusted bool
	path    []string // unescaped segments
	folded  string   // the path, folded
	version string
	query   url.Values
	base    string
	listing bool // the answer is a list
}

// Values that never change, shared by all answers.
var (
	typeJSON     = []string{"application/json; charset=utf-8"}
	noCache      = []string{"no-cache"}
	expired      = []string{"-1"}
	transport    = []string{"max-age=31536000; includeSubDomains"}
	noSniff      = []string{"nosniff"}
	remainReads  = []string{"11999"}
	remainWrites = []string{"1199"}
	remainDelete = []string{"14999"}
	zeroLength   = []string{"0"}
)

// ServeHTTP answers for management.azure.com.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.serve(w, r, false) }

func (e *Engine) serve(w http.ResponseWriter, r *http.Request, trusted bool) {
	x := &exchange{e: e, w: w, r: r, trusted: trusted}
	x.stamp()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			e.log.Error("arm: panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			x.fail(errInternal())
		}
	}()
	if err := x.route(); err != nil {
		x.fail(err)
	}
}

// stamp sets the headers that every answer has. The allowance is always that
// of an hour without other requests: nothing is throttled.
func (x *exchange) stamp() {
	h := x.w.Header()
	h["Cache-Control"], h["Pragma"], h["Expires"] = noCache, noCache, expired
	h["Strict-Transport-Security"], h["X-Content-Type-Options"] = transport, noSniff
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		h["X-Ms-Ratelimit-Remaining-Subscription-Reads"] = remainReads
	case http.MethodDelete:
		h["X-Ms-Ratelimit-Remaining-Subscription-Deletes"] = remainDelete
	default:
		h["X-Ms-Ratelimit-Remaining-Subscription-Writes"] = remainWrites
	}
	id := []string{uuid.NewString()}
	h["X-Ms-Request-Id"] = id
	if sent := x.r.Header["X-Ms-Correlation-Request-Id"]; len(sent) > 0 && len(sent[0]) <= 64 && sent[0] != "" {
		h["X-Ms-Correlation-Request-Id"] = sent[:1]
	} else {
		h["X-Ms-Correlation-Request-Id"] = id
	}
	if back := x.r.Header["X-Ms-Return-Client-Request-Id"]; len(back) > 0 && strings.EqualFold(back[0], "true") {
		if sent := x.r.Header["X-Ms-Client-Request-Id"]; len(sent) > 0 {
			h["X-Ms-Client-Request-Id"] = sent[:1]
		}
	}
}

// fail is the one place where ARM's error envelope is written.
func (x *exchange) fail(err error) {
	wire, ok := asError(err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// The client is gone; what was accepted goes on.
		wire = errClosed()
	default:
		// Its text may hold what is not the client's: it goes to the log alone.
		x.e.log.Error("arm: request", "method", x.r.Method, "path", x.r.URL.Path, "err", err)
		wire = errInternal()
	}
	for k, v := range wire.Header {
		x.w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	status := wire.Status
	if status < 400 || status > 599 {
		status = http.StatusBadRequest
	}
	if wire.Phrase != "" {
		if b, err := marshal(map[string]any{"error": wire}); err == nil && x.sendPhrased(status, wire.Phrase, b) {
			return
		}
	}
	x.send(status, map[string]any{"error": wire})
}

// send writes v as JSON; nil is an empty body.
func (x *exchange) send(status int, v any) {
	if v == nil {
		x.sendBytes(status, nil)
		return
	}
	b, err := marshal(v)
	if err != nil {
		x.e.log.Error("arm: encode the answer", "method", x.r.Method, "path", x.r.URL.Path, "err", err)
		b, status = []byte(`{"error":{"code":"InternalServerError","message":"The server encountered an internal error. Please retry the request."}}`), http.StatusInternalServerError
	}
	x.sendBytes(status, b)
}

func (x *exchange) sendBytes(status int, b []byte) {
	h := x.w.Header()
	switch {
	case len(b) > 0:
		h["Content-Type"] = typeJSON
		h["Content-Length"] = []string{strconv.Itoa(len(b))}
	case status != http.StatusNoContent && status != http.StatusNotModified:
		h["Content-Length"] = zeroLength
	}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(b)
	}
}

// split cuts the path before it is unescaped, so that %2F stays inside its segment.
func (x *exchange) split() error {
	raw := strings.TrimSuffix(strings.TrimLeft(x.r.URL.EscapedPath(), "/"), "/") // SDK 1.x joins with "//"
	if raw == "" {
		return nil
	}
	for s := range strings.SplitSeq(raw, "/") {
		if n := len(x.path); s == "" && n > 1 && strings.EqualFold(x.path[n-2], "providers") {
			continue // the generic resource client's parent, of a type that has none
		}
		u, err := url.PathUnescape(s)
		if err != nil || u == "" || strings.Contains(u, "/") {
			return errInvalidPath()
		}
		x.path = append(x.path, u)
	}
	x.folded = "/" + fold(strings.Join(x.path, "/"))
	return nil
}

// readQuery finds the api-version, in the common case without parsing the
// rest. The SDK sends it twice at times: the first one counts.
func (x *exchange) readQuery() {
	raw := x.r.URL.RawQuery
	if v, ok := strings.CutPrefix(raw, "api-version="); ok && !strings.ContainsAny(v, "&%;+") {
		x.version = v
		return
	}
	x.query, _ = url.ParseQuery(raw)
	for k, v := range x.query {
		if strings.EqualFold(k, "api-version") && len(v) > 0 {
			x.version = strings.TrimSpace(v[0])
		}
	}
}

// param is the first value of a query parameter, whatever its name's case.
func (x *exchange) param(name string) string {
	for k, v := range x.query {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// host is scheme and host as the client sees them.
func (x *exchange) host() string {
	if x.base == "" {
		scheme := "https"
		if x.r.TLS == nil && x.r.URL.Scheme != "https" {
			scheme = "http"
		}
		x.base = scheme + "://" + x.r.Host
	}
	return x.base
}

func (x *exchange) call(body []byte, vars map[string]string, id ID) Call {
	if vars == nil {
		vars = map[string]string{}
	}
	vars["subscription"], vars["resourceGroup"] = id.Subscription(), id.ResourceGroup()
	return Call{Method: x.r.Method, List: x.listing, Version: x.version, Vars: vars, Query: x.query, Header: x.r.Header, Body: body, Base: x.host(), Path: x.r.URL.EscapedPath(), View: engineView{x.e}}
}

func (x *exchange) body() ([]byte, error) {
	if x.r.Body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	if err != nil {
		return nil, errContent("The request content could not be read")
	}
	if len(b) > maxBody {
		return nil, errTooLarge(maxBody)
	}
	return b, nil
}

// authenticate passes the engine's own requests.
func (x *exchange) authenticate() error {
	if x.trusted {
		return nil
	}
	return x.e.cfg.Authenticate(x.r)
}
