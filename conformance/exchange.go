package conformance

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/conformance/wire"
)

// api-versions as the clients of 2018 send them.
const (
	versionResources     = "2018-05-01"
	versionSubscriptions = "2016-06-01"
	versionStorage       = "2018-02-01"
	versionNetwork       = "2018-08-01"
	versionWorkspace     = "2018-03-01-preview"
)

// absent are the codes by which an ARM says that it lacks a provider or a type.
var absent = map[string]bool{
	"InvalidResourceNamespace": true, "InvalidResourceType": true, "NoRegisteredProviderFound": true,
	"MissingSubscriptionRegistration": true, "NotImplemented": true, "ResourceTypeNotSupported": true,
}

// do sends a request. No answer at all is the implementation's failure.
func (s *session) do(r wire.Request) *wire.Response {
	resp, err := s.client.Do(s.ctx, r)
	if err != nil {
		s.fail("%s %s: %v", r.Method, wire.Redact(r.URL), err)
	}
	return resp
}

func (s *session) get(path, version string) *wire.Response {
	return s.do(wire.Request{Method: http.MethodGet, URL: path, Version: version})
}

// send sends a body to ARM.
func (s *session) send(method, path, version string, body any) *wire.Response {
	return s.do(wire.Request{Method: method, URL: path, Version: version, Body: body})
}

// create sends a PUT of something that must be deleted again.
func (s *session) create(path, version string, body any) *wire.Response {
	resp, err := s.client.Create(s.ctx, path, version, body)
	if err == nil && resp.OK() {
		s.creates(path)
	}
	if err != nil {
		s.fail("PUT %s: %v", path, err)
	}
	return resp
}

// status ends the spec unless the answer has one of the statuses.
func (s *session) status(r *wire.Response, want ...int) {
	for _, w := range want {
		if r.Status == w {
			return
		}
	}
	if r.Status == http.StatusNotImplemented || (r.Status >= 400 && absent[r.ErrorCode()]) {
		s.unsupported("%s", r)
	}
	words := make([]string, len(want))
	for i, w := range want {
		words[i] = fmt.Sprint(w)
	}
	s.fail("%s; the status should be %s", r, strings.Join(words, " or "))
}

// refused checks a refusal by ARM: status, envelope, and one of the codes if any are given.
func (s *session) refused(r *wire.Response, status int, codes ...string) {
	if r.Status != status {
		s.status(r, status)
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		s.fail("%s; an error has Content-Type application/json, this has %q", r, r.Header.Get("Content-Type"))
	}
	code, message := r.Text("error", "code"), r.Text("error", "message")
	if code == "" || message == "" {
		s.fail(`%s; an error is {"error":{"code","message"}}`, r)
	}
	if len(codes) > 0 && !contains(codes, code) {
		s.fail("%s; the code should be %s", r, strings.Join(codes, " or "))
	}
}

// done follows an operation to its end, which must be a good one.
func (s *session) done(r *wire.Response) *wire.Operation {
	op := s.await(r)
	if !op.Succeeded() {
		s.fail("the operation ended %q: %s; it was begun by %s", op.Status, op.Last, op.First)
	}
	return op
}

func (s *session) await(r *wire.Response) *wire.Operation {
	op, err := s.client.Await(s.ctx, r)
	if err != nil {
		s.fail("%s: following it: %v", r, err)
	}
	return op
}

// text returns the string at keys, which must be there.
func (s *session) text(r *wire.Response, keys ...string) string {
	v := r.Text(keys...)
	if v == "" {
		s.fail("%s; %s should be a string", r, strings.Join(keys, "."))
	}
	return v
}

// list returns the value array of a list, with all its pages.
func (s *session) list(path, version string) []map[string]any {
	var all []map[string]any
	for pages := 0; path != ""; pages++ {
		if pages > 100 {
			s.fail("%s: the list has no end after %d pages", path, pages)
		}
		r := s.get(path, version)
		s.status(r, http.StatusOK)
		var doc struct {
			Value    []map[string]any
			NextLink string
		}
		if err := r.JSON(&doc); err != nil {
			s.fail("%v", err)
		}
		if doc.Value == nil {
			s.fail("%s; a list has a value array, also when it is empty", r)
		}
		all = append(all, doc.Value...)
		path, version = doc.NextLink, ""
	}
	return all
}

// named says whether a list holds an item with the name.
func named(list []map[string]any, name string) bool {
	for _, item := range list {
		if n, _ := item["name"].(string); strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// reachable tells an endpoint that isn't there from one that answers badly.
func (su *suite) reachable(ctx context.Context) error {
	if _, err := su.client.Do(ctx, wire.Request{Method: http.MethodGet, URL: "/subscriptions", Version: versionSubscriptions, NoToken: true}); err != nil {
		return fmt.Errorf("the endpoint can't be reached: %w", err)
	}
	return nil
}
