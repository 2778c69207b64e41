package arm

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is ARM's error envelope, and a Go error.
type Error struct {
	Status  int     `json:"-"`
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Target  string  `json:"target,omitempty"`
	Details []Error `json:"details,omitempty"`
	// Phrase is the answer's reason phrase; empty: the status's usual one.
	Phrase string `json:"-"`
	// Header goes out with the answer (WWW-Authenticate, Retry-After).
	Header http.Header `json:"-"`
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// NotFound is the 404 that ARM gives for an absent resource.
func NotFound(id ID) *Error {
	return Errorf(http.StatusNotFound, "ResourceNotFound", "The Resource '%s' under resource group '%s' was not found.", typedName(id), orNull(id.ResourceGroup()))
}

// Conflict is 409 with code "Conflict".
func Conflict(format string, args ...any) *Error {
	return Errorf(http.StatusConflict, "Conflict", format, args...)
}

// InvalidParameter is 400 with code "InvalidParameter"; target is the field's JSON path.
func InvalidParameter(target, format string, args ...any) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidParameter", format, args...)
	e.Target = target
	return e
}

// asError finds the *Error in err; anything else is not for the client.
func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok && e != nil
}

// storedError keeps the status too, which the wire has in its first line.
type storedError struct {
	Status  int           `json:"status,omitempty"`
	Code    string        `json:"code"`
	Message string        `json:"message"`
	Target  string        `json:"target,omitempty"`
	Details []storedError `json:"details,omitempty"`
}

func storeError(e *Error) *storedError {
	if e == nil {
		return nil
	}
	s := &storedError{Status: e.Status, Code: e.Code, Message: e.Message, Target: e.Target}
	for i := range e.Details {
		s.Details = append(s.Details, *storeError(&e.Details[i]))
	}
	return s
}

func (s *storedError) load() *Error {
	if s == nil {
		return nil
	}
	e := &Error{Status: s.Status, Code: s.Code, Message: s.Message, Target: s.Target}
	for i := range s.Details {
		e.Details = append(e.Details, *s.Details[i].load())
	}
	return e
}
