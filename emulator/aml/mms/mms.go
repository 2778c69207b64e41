// Package mms is the frame of model management, which has its own host, its
// own versions and its own form of errors: routes, versions of the api, error
// body, lists and their pages, JSON patches, and what all that it registers
// (assets, models, images, services) has in common.
//
// The wire is that of azureml-core 0.1.68 (api/..., 2018-03-01-preview) and of
// SDK 1.61 (modelmanagement/v1.0); names are of modelManagement.json,
// 2019-08-01. What is registered, and what it means, is not its business.
package mms

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// Version is the one api-version of model management in October 2018.
const Version = "2018-03-01-preview"

// Error is ModelErrorResponse of modelManagement.json, 2019-08-01: the body of a refusal, and the reason of what failed later.
type Error struct {
	Code       string   `json:"code"`
	StatusCode int      `json:"statusCode"`
	Message    string   `json:"message"`
	Details    []Detail `json:"details"`
}

// Detail is ErrorDetails of the same.
type Detail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Target  string `json:"target,omitempty"`
}

// Handle adds a route as both SDKs call it: in the path of 2018 with the version in the query, and in that of SDK 1.x.
func Handle(m *plane.Mux, method, pattern string, h plane.HandlerFunc) {
	m.Handle(method, "api/{WS}"+pattern, frame(checkVersion(h)))
	m.Handle(method, "modelmanagement/v1.0/{WS}"+pattern, frame(h))
}

// Fault is an error of model management; code is the one of its only detail.
func Fault(status int, code, target, format string, args ...any) *plane.Error {
	return &plane.Error{Status: status, Code: "UserError", Inner: code, Target: target, Message: fmt.Sprintf(format, args...)}
}

// frame wraps a handler: it writes the errors.
func frame(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		err := h(w, r, c)
		var e *plane.Error
		if err == nil || !errors.As(err, &e) {
			return err
		}
		out := Error{Code: strings.ReplaceAll(http.StatusText(e.Status), " ", ""), StatusCode: e.Status,
			Details: []Detail{{Code: e.Inner, Message: e.Message, Target: e.Target}}}
		switch e.Status {
		case http.StatusBadRequest:
			out.Message = "The request is invalid"
		case http.StatusNotFound:
			out.Message = "The specified resource was not found."
		default:
			out.Message = http.StatusText(e.Status)
		}
		plane.WriteJSON(w, e.Status, out)
		return nil
	}
}

// checkVersion asks for the api-version of 2018 in the query.
func checkVersion(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		w.Header().Set("Api-Supported-Versions", Version)
		switch v := r.URL.Query().Get("api-version"); v {
		case Version:
			return h(w, r, c)
		case "":
			return Fault(http.StatusBadRequest, "ApiVersionUnspecified", "api-version", "An API version is required, but was not specified.")
		default:
			return Fault(http.StatusBadRequest, "UnsupportedApiVersion", "api-version",
				"The HTTP resource that matches the request URI '%s' does not support the API version '%s'.", r.URL.Path, v)
		}
	}
}

// ReadPayload decodes a body and refuses one in the words of model management.
func ReadPayload(w http.ResponseWriter, r *http.Request, v any) error {
	err := plane.ReadJSON(w, r, v)
	var e *plane.Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest {
		return Fault(http.StatusBadRequest, "EmptyOrInvalidPayload", e.Target,
			"The request payload was either empty or invalid. Try again with a well-formed payload. %s", e.Message)
	}
	return err
}
