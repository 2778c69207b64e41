package front_test

import (
	"io"
	"net/http"
	"runtime"
	"strconv"
	"testing"

	"lazulite.dev/emulator/front"
)

// zeros is a body of n bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBodiesAreStreamed sends and gets more than may stay in memory, through CONNECT and in process.
func TestBodiesAreStreamed(t *testing.T) {
	const size = 256 << 20
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, zeros(n))
	})
	f := start(t, func(c *front.Config) { c.Hosts = []front.Host{{Pattern: "big.net", Handler: h}} })
	for name, c := range map[string]*http.Client{"through CONNECT": proxied(t, f), "in process": {Transport: f.Transport()}} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			req, _ := http.NewRequest("PUT", "https://big.net/", zeros(size))
			req.ContentLength = size
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			n, err := io.Copy(io.Discard, res.Body)
			if err != nil || n != size {
				t.Fatalf("got %d bytes, %v", n, err)
			}
			runtime.ReadMemStats(&after)
			// Under the race detector, pools of buffers forget some on purpose.
			if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > size/2 {
				t.Errorf("%d MiB were allocated for %d MiB each way", grown>>20, size>>20)
			}
		})
	}
}
