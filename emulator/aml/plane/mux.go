package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sort"
	"strings"

	"lazulite.dev/emulator/aad"
)

// maxJSON bounds a JSON body: run history refuses larger ones, and an
// emulator must not be filled by one request.
const maxJSON = 32 << 20

// scopeSegments is the path of a workspace below a service's prefix.
const scopeSegments = "subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.MachineLearningServices/workspaces/{ws}"

// Mux routes the data plane's paths. Literal segments match in any case, as
// the service's do; captured ones keep theirs.
type Mux struct {
	cfg    Config
	log    *slog.Logger
	routes map[string][]route // by method
}

type route struct {
	segments []string
	handler  HandlerFunc
}

// NewMux returns an empty Mux.
func NewMux(cfg Config, log *slog.Logger) *Mux {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Mux{cfg: cfg, log: log, routes: map[string][]route{}}
}

// Handle adds a route. In the pattern, {WS} stands for the workspace's scope,
// {name} captures one segment and a final {name...} all that remain:
// "history/v1.0/{WS}/experiments/{experiment}/runs/{run}". A pattern with
// more literal segments wins over one with fewer.
func (m *Mux) Handle(method, pattern string, h HandlerFunc) {
	full := strings.Trim(strings.Replace(pattern, "{WS}", scopeSegments, 1), "/")
	m.routes[method] = append(m.routes[method], route{segments: strings.Split(full, "/"), handler: h})
	sort.SliceStable(m.routes[method], func(i, j int) bool {
		return m.routes[method][i].weight() > m.routes[method][j].weight()
	})
}

func (r route) weight() int {
	n := 0
	for _, s := range r.segments {
		switch {
		case strings.HasSuffix(s, "...}"):
			n--
		case !strings.HasPrefix(s, "{"):
			n += 2
		}
	}
	return n
}

func (r route) match(path []string) (map[string]string, bool) {
	vars := map[string]string{}
	for i, s := range r.segments {
		if name, ok := strings.CutSuffix(s, "...}"); ok {
			if i >= len(path) {
				return nil, false
			}
			vars[name[1:]] = strings.Join(path[i:], "/")
			return vars, true
		}
		if i >= len(path) {
			return nil, false
		}
		if strings.HasPrefix(s, "{") {
			if path[i] == "" {
				return nil, false
			}
			vars[s[1:len(s)-1]] = path[i]
		} else if !strings.EqualFold(s, path[i]) {
			return nil, false
		}
	}
	return vars, len(path) == len(r.segments)
}

// split cuts the path before it is unescaped, so that %2F stays inside its segment.
func split(u *url.URL) ([]string, error) {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, err
		}
		parts[i] = s
	}
	if n := len(parts); n > 1 && parts[n-1] == "" {
		parts = parts[:n-1]
	}
	return parts, nil
}

func (m *Mux) find(method string, path []string) (HandlerFunc, map[string]string) {
	for _, r := range m.routes[method] {
		if vars, ok := r.match(path); ok {
			return r.handler, vars
		}
	}
	return nil, nil
}

// ServeHTTP implements http.Handler: route, token, workspace, handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, err := split(r.URL)
	if err != nil {
		m.writeError(w, nil, BadRequest("path", "The path is not validly escaped."))
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	h, vars := m.find(method, path)
	if h == nil {
		var allow []string
		for other := range m.routes {
			if h, _ := m.find(other, path); h != nil {
				allow = append(allow, other)
			}
		}
		if len(allow) > 0 {
			sort.Strings(allow)
			m.writeError(w, nil, &Error{Status: http.StatusMethodNotAllowed, Code: "UserError", Inner: "MethodNotAllowed",
				Message: "The requested resource does not support http method '" + r.Method + "'.",
				Header:  http.Header{"Allow": {strings.Join(allow, ", ")}}})
			return
		}
		m.writeError(w, nil, NotFound("No resource of the data plane is at %s %s.", r.Method, r.URL.Path))
		return
	}
	call := &Call{Vars: vars, Base: Base(r)}
	if err := m.admit(r, call); err != nil {
		m.writeError(w, nil, err)
		return
	}
	if err := h(w, r, call); err != nil {
		m.writeError(w, call, err)
	}
}

func (m *Mux) admit(r *http.Request, c *Call) error {
	token, ok := bearer(r)
	if !ok {
		return &Error{Status: http.StatusUnauthorized, Code: "UserError", Inner: "AuthenticationFailed",
			Message: "Authentication failed. The 'Authorization' header is missing or has an invalid format.",
			Header:  http.Header{"Www-Authenticate": {"Bearer"}}}
	}
	claims, err := m.cfg.Verify(r.Context(), token, aad.AudienceManagement, aad.AudienceARM, aad.AudienceRun)
	if err != nil {
		var e *aad.Error
		if !errors.As(err, &e) {
			return err
		}
		return &Error{Status: http.StatusUnauthorized, Code: "UserError", Inner: e.Code, Message: e.Message,
			Header: http.Header{"Www-Authenticate": {e.Challenge}}}
	}
	c.Caller = claims
	scope := Scope{c.Vars["sub"], c.Vars["rg"], c.Vars["ws"]}
	if scope.Workspace == "" {
		return nil
	}
	if c.Workspace, err = m.cfg.Find(r.Context(), scope); err != nil {
		return err
	}
	// A run's token opens its own workspace alone.
	if claims.RunID != "" && !strings.EqualFold(claims.Workspace, c.Workspace.GUID) {
		return &Error{Status: http.StatusForbidden, Code: "UserError", Inner: "AuthorizationFailed",
			Message: fmt.Sprintf("The token of run %s does not give access to workspace %s.", claims.RunID, scope.Workspace)}
	}
	return nil
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// Base is scheme and host of the request as its client sees them.
func Base(r *http.Request) string {
	scheme := "https"
	if r.TLS == nil && r.URL.Scheme != "https" {
		scheme = "http"
	}
	return scheme + "://" + r.Host
}

// ReadJSON decodes the body into v; bad JSON and wrong types are a 400 that names the field.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return TooLarge("The request body is larger than %d bytes.", maxJSON)
		}
		return BadRequest("body", "The request body could not be read.")
	}
	if len(b) == 0 {
		return BadRequest("body", "The request has no body.")
	}
	if err := json.Unmarshal(b, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return BadRequest(wrong.Field, "The value of '%s' is a JSON %s, which does not fit.", wrong.Field, wrong.Value)
		}
		return BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	return nil
}

// logError tells of a fault of ours; that a client went away in mid-request is none.
func (m *Mux) logError(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		m.log.Debug("data plane: given up", "err", err)
		return
	}
	m.log.Error("data plane", "err", err)
}
