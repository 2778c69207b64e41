package history_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// poster returns a function that posts a body and drains the reply.
func poster(b *testing.B, s *server, method, path string) func(body string) {
	return func(body string) {
		req, err := http.NewRequestWithContext(b.Context(), method, s.URL+root+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer user")
		res, err := s.Client().Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			b.Fatal(res.Status)
		}
	}
}

// BenchmarkLog is one acknowledged run.log after the other, and beside it the
// same POST to a handler that reads it and stores nothing.
func BenchmarkLog(b *testing.B) {
	b.Run("stored", func(b *testing.B) {
		s := serve(b, options{path: file(b), real: true})
		s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
		post := poster(b, s, "POST", "/experiments/exp/runs/a/metrics")
		n := 0
		for b.Loop() {
			n++
			post(scalar("a", fmt.Sprint(n), "m", "0.5"))
		}
	})
	b.Run("bare", func(b *testing.B) {
		s := &server{Server: httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}))}
		defer s.Server.Close()
		post := poster(b, s, "POST", "/experiments/exp/runs/a/metrics")
		for b.Loop() {
			post(scalar("a", "1", "m", "0.5"))
		}
	})
}

// BenchmarkLogParallel is the same from many clients at once.
func BenchmarkLogParallel(b *testing.B) {
	s := serve(b, options{path: file(b), real: true})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	s.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		post := poster(b, s, "POST", "/experiments/exp/runs/a/metrics")
		for pb.Next() {
			post(scalar("a", fmt.Sprint(n.Add(1)), "m", "0.5"))
		}
	})
}

// BenchmarkRead100k reads 100,000 metrics of one run, page by page, as get_metrics does.
func BenchmarkRead100k(b *testing.B) {
	for _, typ := range []string{"azureml.v1.scalar", "azureml.v1.table"} {
		b.Run(typ, func(b *testing.B) {
			s := serve(b, options{path: file(b), real: true})
			s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
			post := poster(b, s, "POST", "/experiments/exp/runs/a/metrics")
			for i := 0; i < 100_000; i += 250 {
				batch := make([]string, 250)
				for j := range batch {
					batch[j] = strings.Replace(scalar("a", fmt.Sprint(i+j), "m", "0.5"), "azureml.v1.scalar", typ, 1)
				}
				post(`{"values":[` + strings.Join(batch, ",") + `]}`)
			}
			b.ResetTimer()
			for b.Loop() {
				pages, cells, next := 0, 0, ""
				for {
					p := "/experiments/exp/metrics?$filter=RunId eq a"
					if next != "" {
						p += "&$continuationtoken=" + next
					}
					status, body := s.call("", "GET", p, "")
					if status != http.StatusOK {
						b.Fatal(status)
					}
					pages++
					cells += strings.Count(string(body), `"m":`)
					_, next, _ = strings.Cut(string(body[len(body)-200:]), `"continuationToken":`)
					if next, _, _ = strings.Cut(next, ","); next == "null" {
						break
					}
					next = strings.Trim(next, `"`)
				}
				if cells != 100_000 {
					b.Fatalf("%d cells", cells)
				}
				b.ReportMetric(float64(pages), "pages")
			}
		})
	}
}
