// Package openapitest has a test's traffic held against Azure's OpenAPI
// documents, where they are at hand: in the folder that LAZULITE_SHARED names,
// or in a folder "shared" beside the repository. Without them a test runs as
// it would, and its log says so.
package openapitest

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"lazulite.dev/conformance/openapi"
)

// Folder of the documents, "" where there is none.
func Folder(t testing.TB) string {
	t.Helper()
	if dir := Shared(); dir != "" {
		docs := filepath.Join(dir, "specs", "specification")
		if _, err := os.Stat(docs); err == nil {
			return docs
		}
	}
	t.Log("no OpenAPI documents beside the repository (LAZULITE_SHARED names them elsewhere): answers are not held against them")
	return ""
}

// Shared is the folder of recordings and documents, "" where there is none.
func Shared() string {
	if dir := os.Getenv("LAZULITE_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			shared := filepath.Join(filepath.Dir(dir), "shared")
			if _, err := os.Stat(shared); err == nil {
				return shared
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// documents are read once in a test binary.
var documents = sync.OnceValues(func() (*openapi.Documents, error) {
	return openapi.Load(filepath.Join(Shared(), "specs", "specification"))
})

// Around returns what to put around a resource manager. When the test ends, it
// fails for each deviation that is not known of the real service.
func Around(t testing.TB) func(http.Handler) http.Handler {
	t.Helper()
	if w := watch(t); w != nil {
		return w.Handler
	}
	return func(h http.Handler) http.Handler { return h }
}

// Transport is Around for a test that asks a resource manager through base.
func Transport(t testing.TB, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	if w := watch(t); w != nil {
		return w.Transport(base)
	}
	return base
}

func watch(t testing.TB) *openapi.Watch {
	t.Helper()
	if Folder(t) == "" {
		return nil
	}
	docs, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	w, err := openapi.NewWatch(docs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range w.Deviations() {
			t.Errorf("not as its OpenAPI document has it: %s", d)
		}
	})
	return w
}
