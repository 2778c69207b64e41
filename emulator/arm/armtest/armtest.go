// Package armtest sends requests to a resource manager from the tests of its providers.
package armtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Answer is what came back.
type Answer struct {
	Status int
	Line   string // status with its reason phrase
	Header http.Header
	Body   []byte
	// Doc is the body decoded; nil where there is none.
	Doc any
}

// Do sends "METHOD path", with version as its api-version where the path has
// none. The test ends where nothing comes back, or a body that is no JSON.
func Do(t testing.TB, way http.RoundTripper, version, line, body string) Answer {
	t.Helper()
	method, url, _ := strings.Cut(line, " ")
	if strings.HasPrefix(url, "/") {
		url = "https://management.azure.com" + url
	}
	if !strings.Contains(url, "api-version") {
		sep := "?"
		if strings.Contains(url, "?") {
			sep = "&"
		}
		url += sep + "api-version=" + version
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := way.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := Answer{Status: res.StatusCode, Line: res.Status, Header: res.Header}
	if a.Body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if len(a.Body) > 0 {
		if err := json.Unmarshal(a.Body, &a.Doc); err != nil {
			t.Fatalf("%s: %v: %s", line, err, a.Body)
		}
	}
	return a
}

// Object is the body of an answer that is an object or nothing.
func (a Answer) Object() map[string]any {
	if doc, ok := a.Doc.(map[string]any); ok {
		return doc
	}
	return map[string]any{}
}
