package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func benchWorld(b *testing.B) *world {
	w := newWorld(b, realTime)
	if err := w.s.EnsureContainer(context.Background(), acct, "data"); err != nil {
		b.Fatal(err)
	}
	return w
}

// upload sends n zero bytes as one Put Blob.
func (w *world) upload(name string, n int64) error {
	r, err := http.NewRequest("PUT", w.url+"/data/"+name, io.LimitReader(zeroReader{}, n))
	if err != nil {
		return err
	}
	r.ContentLength = n
	r.Host = acct + ".blob.core.windows.net"
	r.Header.Set("x-ms-version", "2020-12-06")
	r.Header.Set("x-ms-blob-type", "BlockBlob")
	signShared(r, acct, w.keys[0], n, time.Now())
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode != 201 {
		return errors.New(res.Status)
	}
	return nil
}

func (w *world) download(name string) (int64, error) {
	r, err := http.NewRequest("GET", w.url+"/data/"+name, nil)
	if err != nil {
		return 0, err
	}
	r.Host = acct + ".blob.core.windows.net"
	r.Header.Set("x-ms-version", "2020-12-06")
	signShared(r, acct, w.keys[0], 0, time.Now())
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.Copy(io.Discard, res.Body)
}

func BenchmarkPut64MiB(b *testing.B) {
	w := benchWorld(b)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if err := w.upload("x", 64<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet64MiB(b *testing.B) {
	w := benchWorld(b)
	if err := w.upload("x", 64<<20); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(64 << 20)
	for b.Loop() {
		if n, err := w.download("x"); err != nil || n != 64<<20 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendInProcess(b *testing.B) {
	w := benchWorld(b)
	line := strings.Repeat("x", 99) + "\n"
	for b.Loop() {
		if _, err := w.s.Append(context.Background(), acct, "data", "log", strings.NewReader(line)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendHTTP(b *testing.B) {
	w := benchWorld(b)
	line := strings.Repeat("x", 99) + "\n"
	n := 0
	for b.Loop() {
		if n%50_000 == 0 { // the service's limit
			w.must(201, "PUT", "/data/log", "", hdr("x-ms-blob-type", "AppendBlob"))
		}
		n++
		if a := w.owner("PUT", "/data/log?comp=appendblock", line, nil); a.status != 201 {
			b.Fatal(a.body)
		}
	}
}

func BenchmarkPutSmall(b *testing.B) {
	w := benchWorld(b)
	n := 0
	for b.Loop() {
		n++
		if _, err := w.s.Put(context.Background(), acct, "data", fmt.Sprint(n), "", strings.NewReader("small")); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMemory uploads and downloads a large blob, 1 GiB where
// LAZULITE_TEST_LARGE is set and 256 MiB else, and holds the heap to 32 MiB.
func TestMemory(t *testing.T) {
	w := newWorld(t, realTime)
	if err := w.s.EnsureContainer(context.Background(), acct, "data"); err != nil {
		t.Fatal(err)
	}
	size := int64(256 << 20)
	if os.Getenv("LAZULITE_TEST_LARGE") != "" {
		size = 1 << 30
	}
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	err := w.upload("large", size)
	n, derr := w.download("large")
	close(stop)
	most := <-peak
	if err != nil || derr != nil || n != size {
		t.Fatal(err, derr, n)
	}
	t.Logf("peak heap %d KiB for %d MiB, client and server together", most>>10, size>>20)
	if most > 32<<20 {
		t.Errorf("peak heap %d MiB", most>>20)
	}
}
