package unkind_test

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"lazulite.dev/emulator/unkind"
)

func host(seed uint64) *unkind.Host {
	return unkind.New(unkind.Config{Rand: rand.New(rand.NewPCG(seed, 0))})
}

// service answers as its paths say.
func service(calls *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*calls++
		w.Header().Set("x-ms-request-id", "1")
		w.Header().Set("ETag", `"7"`)
		switch {
		case strings.HasPrefix(r.URL.Path, "/operations/"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":"Succeeded","endTime":"x","name":"y"}`)
		case r.URL.Path == "/text":
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "plain")
		default:
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"a":1,"b":9007199254740993,"tags":{"x":"y"},"properties":{"c":[1,2,3],"d":{"e":null,"f":"<&>"}}}`)
		}
	})
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	for range 3 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != http.StatusTooManyRequests {
			return rec
		}
		if rec.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	t.Fatalf("%s was throttled three times in a row", path)
	return nil
}

// What it adds and shuffles leaves everything that was there as it was.
func TestAnswers(t *testing.T) {
	calls := 0
	h := host(1).Handler(service(&calls))
	orders, added := map[string]bool{}, 0
	for range 200 {
		rec := get(t, h, "/x")
		if rec.Code != http.StatusCreated || rec.Header().Get("ETag") != `"7"` || rec.Header().Get("x-ms-request-id") != "" {
			t.Fatalf("%d %v", rec.Code, rec.Header())
		}
		var doc map[string]any
		dec := json.NewDecoder(strings.NewReader(rec.Body.String()))
		dec.UseNumber()
		if err := dec.Decode(&doc); err != nil {
			t.Fatalf("%v in %s", err, rec.Body)
		}
		orders[strings.SplitN(rec.Body.String(), ":", 2)[0]] = true
		for _, o := range []map[string]any{doc, doc["properties"].(map[string]any)} {
			for name := range o {
				if strings.HasPrefix(name, "addedLater") {
					added++
					delete(o, name)
				}
			}
		}
		want := map[string]any{"a": json.Number("1"), "b": json.Number("9007199254740993"), "tags": map[string]any{"x": "y"},
			"properties": map[string]any{"c": []any{json.Number("1"), json.Number("2"), json.Number("3")}, "d": map[string]any{"e": nil, "f": "<&>"}}}
		if !reflect.DeepEqual(doc, want) {
			t.Fatalf("the answer became %v", doc)
		}
	}
	if len(orders) < 4 || added < 50 {
		t.Errorf("%d members came first, %d were added", len(orders), added)
	}
	if rec := get(t, h, "/text"); rec.Code != http.StatusAccepted || rec.Body.String() != "plain" {
		t.Errorf("text became %d %q", rec.Code, rec.Body)
	}
}

// An operation is late, and ends.
func TestOperations(t *testing.T) {
	calls := 0
	h := host(2).Handler(service(&calls))
	late := 0
	for _, path := range []string{"/operations/a", "/operations/b", "/operations/c", "/operations/d", "/operations/e", "/operations/f"} {
		for polls := 0; ; polls++ {
			rec := get(t, h, path)
			var doc struct{ Status, EndTime string }
			if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			if doc.Status == "Succeeded" {
				break
			}
			late++
			if doc.Status != "InProgress" || doc.EndTime != "" || rec.Header().Get("Retry-After") == "" || polls > 2 {
				t.Fatalf("poll %d: %+v", polls, doc)
			}
		}
		if rec := get(t, h, path); !strings.Contains(rec.Body.String(), "Succeeded") {
			t.Errorf("%s went back: %s", path, rec.Body)
		}
	}
	if late == 0 {
		t.Error("nothing was late")
	}
}

// What is throttled did not happen; what is asked again does.
func TestThrottle(t *testing.T) {
	calls, refused := 0, 0
	h := host(3).Handler(service(&calls))
	for range 500 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPut, "/x", nil))
		if rec.Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused+calls != 500 || refused < 20 || refused > 100 {
		t.Errorf("%d refused, %d done, of 500", refused, calls)
	}
}

// The same seed is as unkind again.
func TestSeed(t *testing.T) {
	said := func() string {
		calls := 0
		h := host(4).Handler(service(&calls))
		var b strings.Builder
		for range 50 {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x", nil))
			b.WriteString(rec.Body.String())
		}
		return b.String()
	}
	if one, other := said(), said(); one != other {
		t.Error("two hosts of one seed answer differently")
	}
}
