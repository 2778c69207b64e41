package plane

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Error is the data plane's error envelope
// {"error":{"code","message","target","details","innerError"},"correlation",...}
// (azure-rest-api-specs, machinelearningservices data-plane 2019-08-01, ErrorResponse), and a Go error.
type Error struct {
	Status  int
	Code    string // UserError, ServiceError, NotFound, ... as run history words it
	Message string
	Target  string
	// Inner is the more precise code, shown as innerError.code.
	Inner  string
	Header http.Header
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// NotFound is 404 with code "UserError", inner "NotFound".
func NotFound(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: "UserError", Inner: "NotFound", Message: fmt.Sprintf(format, args...)}
}

// BadRequest is 400 with code "UserError", inner "BadArgument"; target names the field.
func BadRequest(target, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "UserError", Inner: "BadArgument", Target: target, Message: fmt.Sprintf(format, args...)}
}

// Conflict is 409 with code "UserError", inner "Conflict".
func Conflict(format string, args ...any) *Error {
	return &Error{Status: http.StatusConflict, Code: "UserError", Inner: "Conflict", Message: fmt.Sprintf(format, args...)}
}

// TooLarge is 413 with code "UserError", inner "RequestTooLarge".
func TooLarge(format string, args ...any) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: "UserError", Inner: "RequestTooLarge", Message: fmt.Sprintf(format, args...)}
}

type wireError struct {
	Code       string      `json:"code"`
	Message    string      `json:"message"`
	Target     string      `json:"target,omitempty"`
	Details    []any       `json:"details"`
	InnerError *innerError `json:"innerError,omitempty"`
}

type innerError struct {
	Code       string      `json:"code"`
	InnerError *innerError `json:"innerError"`
}

func (m *Mux) writeError(w http.ResponseWriter, c *Call, err error) {
	var e *Error
	if !errors.As(err, &e) {
		// Its text may hold what is not the client's: it goes to the log alone.
		m.logError(err)
		e = &Error{Status: http.StatusInternalServerError, Code: "ServiceError", Message: "InternalServerError"}
	}
	body := wireError{Code: e.Code, Message: e.Message, Target: e.Target, Details: []any{}}
	if e.Inner != "" {
		body.InnerError = &innerError{Code: e.Inner}
	}
	doc := map[string]any{
		"error":       body,
		"correlation": map[string]string{"operation": uuid.NewString(), "request": uuid.NewString()},
		"environment": "lazulite",
		"time":        m.cfg.Clock.Now().Format(time.RFC3339Nano),
	}
	if c != nil {
		doc["location"] = c.Workspace.Location
	}
	for k, v := range e.Header {
		w.Header()[k] = v
	}
	if w.Header().Get("Content-Type") != "" {
		w.Header().Del("Content-Type")
	}
	WriteJSON(w, e.Status, doc)
}

// WriteJSON writes v with the status and its Content-Length. A nil v is an empty body.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	if v == nil {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		// Only our own types come here; one that can't be marshalled is a bug.
		panic(fmt.Sprintf("plane: %T: %v", v, err))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
