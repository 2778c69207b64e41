package arm_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func benchRequest(method, path string, body io.Reader) *http.Request {
	req := httptest.NewRequest(method, host+path+"?api-version="+vapi, body)
	req.Header.Set("Authorization", "Bearer x")
	return req
}

const thingPath = "/subscriptions/" + sub + "/resourceGroups/g/providers/Microsoft.Things/plain/p"

// sink keeps no body, as a socket's buffer would not.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkGet(b *testing.B) {
	r := newRig(b)
	r.group()
	r.must(201, "PUT {P}/plain/p", plainBody)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := benchRequest("GET", thingPath, nil)
		for pb.Next() {
			r.engine.ServeHTTP(&sink{http.Header{}}, req)
		}
	})
}

// BenchmarkGetTLS and BenchmarkBareTLS compare the engine with a handler that only writes the same bytes.
func BenchmarkGetTLS(b *testing.B) {
	r := newRig(b)
	r.group()
	r.must(201, "PUT {P}/plain/p", plainBody)
	overTLS(b, r.engine)
}

func BenchmarkBareTLS(b *testing.B) {
	r := newRig(b)
	r.group()
	body := []byte(r.must(201, "PUT {P}/plain/p", plainBody).body)
	overTLS(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body)
	}))
}

func overTLS(b *testing.B, h http.Handler) {
	srv := httptest.NewTLSServer(h)
	defer srv.Close()
	client := srv.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequest("GET", srv.URL+thingPath+"?api-version="+vapi, nil)
			req.Header.Set("Authorization", "Bearer x")
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				b.Error(resp.Status, err)
			}
			_ = resp.Body.Close()
		}
	})
}

func BenchmarkPut(b *testing.B) {
	r := newRig(b)
	r.group()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		w := httptest.NewRecorder()
		r.engine.ServeHTTP(w, benchRequest("PUT", fmt.Sprintf("%s%d", thingPath, n), strings.NewReader(plainBody)))
		if w.Code != 201 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkPutParallel shows how writers share commits.
func BenchmarkPutParallel(b *testing.B) {
	r := newRig(b)
	r.group()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprintf("%s%p", thingPath, pb)
		for pb.Next() {
			w := httptest.NewRecorder()
			r.engine.ServeHTTP(w, benchRequest("PUT", name, strings.NewReader(plainBody)))
			if w.Code > 201 {
				b.Error(w.Body)
			}
		}
	})
}
