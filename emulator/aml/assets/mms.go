package assets

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// mmsVersion is the one api-version of model management in October 2018.
const mmsVersion = "2018-03-01-preview"

// mmsError is ModelErrorResponse of modelManagement.json, 2019-08-01.
type mmsError struct {
	Code       string      `json:"code"`
	StatusCode int         `json:"statusCode"`
	Message    string      `json:"message"`
	Details    []mmsDetail `json:"details"`
}

type mmsDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Target  string `json:"target,omitempty"`
}

// registerModels adds the routes of model management, which has its own
// host, its own versions and its own form of errors.
func (s *Service) registerModels(m *plane.Mux) {
	handle := func(method, pattern string, h plane.HandlerFunc) {
		m.Handle(method, "api/{WS}"+pattern, mms(checkVersion(h)))
		// SDK 1.x has the version in the path.
		m.Handle(method, "modelmanagement/v1.0/{WS}"+pattern, mms(h))
	}
	handle(http.MethodPost, "/assets", s.createAsset)
	handle(http.MethodGet, "/assets", s.listAssets)
	handle(http.MethodGet, "/assets/{id}", s.getAsset)
	handle(http.MethodPatch, "/assets/{id}", s.patchAsset)
	handle(http.MethodDelete, "/assets/{id}", s.deleteAsset)
	handle(http.MethodPost, "/models", s.createModel)
	handle(http.MethodGet, "/models", s.listModels)
	handle(http.MethodGet, "/models/{id}", s.getModel)
	handle(http.MethodPatch, "/models/{id}", s.patchModel)
	handle(http.MethodDelete, "/models/{id}", s.deleteModel)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, part := range []string{"/images", "/services", "/profiles", "/operations", "/packages", "/environments"} {
			handle(method, part, unsupported)
			handle(method, part+"/{rest...}", unsupported)
		}
	}
}

// unsupported answers with a status that no client repeats and that no client takes for "free to create".
func unsupported(_ http.ResponseWriter, _ *http.Request, c *plane.Call) error {
	return mmsFault(http.StatusBadRequest, "NotSupported", "",
		"Images, web services and their operations are not supported for workspace '%s': lazulite runs and registers models, it does not deploy them.", c.Workspace.Workspace)
}

// mmsFault is an error of model management; code is the one of its only detail.
func mmsFault(status int, code, target, format string, args ...any) *plane.Error {
	return &plane.Error{Status: status, Code: "UserError", Inner: code, Target: target, Message: fmt.Sprintf(format, args...)}
}

// mms wraps a handler: it writes the errors.
func mms(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		err := h(w, r, c)
		var e *plane.Error
		if err == nil || !errors.As(err, &e) {
			return err
		}
		out := mmsError{Code: strings.ReplaceAll(http.StatusText(e.Status), " ", ""), StatusCode: e.Status,
			Details: []mmsDetail{{Code: e.Inner, Message: e.Message, Target: e.Target}}}
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
		w.Header().Set("Api-Supported-Versions", mmsVersion)
		switch v := r.URL.Query().Get("api-version"); v {
		case mmsVersion:
			return h(w, r, c)
		case "":
			return mmsFault(http.StatusBadRequest, "ApiVersionUnspecified", "api-version", "An API version is required, but was not specified.")
		default:
			return mmsFault(http.StatusBadRequest, "UnsupportedApiVersion", "api-version",
				"The HTTP resource that matches the request URI '%s' does not support the API version '%s'.", r.URL.Path, v)
		}
	}
}

// readPayload decodes a body and refuses one in the words of model management.
func readPayload(w http.ResponseWriter, r *http.Request, v any) error {
	err := plane.ReadJSON(w, r, v)
	var e *plane.Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest {
		return mmsFault(http.StatusBadRequest, "EmptyOrInvalidPayload", e.Target,
			"The request payload was either empty or invalid. Try again with a well-formed payload. %s", e.Message)
	}
	return err
}

// stringMap is a dictionary of strings. Numbers and booleans are taken as
// their text, as the service's decoder took them.
type stringMap map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *stringMap) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if raw == nil {
		*m = nil
		return nil
	}
	out := stringMap{}
	for k, v := range raw {
		text := string(v)
		switch {
		case text[0] == '"':
			if err := json.Unmarshal(v, &text); err != nil {
				return err
			}
		case text[0] == '{' || text[0] == '[' || text == "null":
			return fmt.Errorf("the value of '%s' is not a string", k)
		}
		out[k] = text
	}
	*m = out
	return nil
}

func (m stringMap) clone() stringMap {
	out := stringMap{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
