package blob_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shareCrashDir = "LAZULITE_TEST_SHARE_CRASH_DIR"

// TestShareCrashChild is the process that TestShareCrash kills; by itself it does nothing.
func TestShareCrashChild(t *testing.T) {
	dir := os.Getenv(shareCrashDir)
	if dir == "" {
		t.Skip("only TestShareCrash starts it")
	}
	w := &world{t: t, dir: dir}
	w.open(realTime)
	ctx := context.Background()
	if err := w.s.EnsureShare(ctx, acct, "team"); err != nil {
		t.Fatal(err)
	}
	m := mount(t, w, "data")
	fmt.Printf("\nserving %s %s %s\n", w.files, w.keys[0], m.Dir())
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed, or the parent is gone
}

// TestShareCrash kills the service while a client writes files to a share and
// a job writes to a mounted container: what was acknowledged is whole, and what the job wrote is in the container at last.
func TestShareCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes for some seconds")
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	done := map[string]string{} // path: what was acknowledged
	jobs := map[string]string{}
	for round := range 4 {
		inFlight := shareCrashRound(t, dir, round, time.Duration(50+random.IntN(300))*time.Millisecond, done, jobs)
		t.Run(fmt.Sprint("verify ", round), func(t *testing.T) {
			w := &world{t: t, dir: dir}
			w.open(realTime)
			for path, want := range done {
				if path == inFlight {
					continue
				}
				a := w.file("GET", path, "", nil)
				if a.status != 200 || a.body != want || a.header.Get("Content-Type") != "text/x" {
					t.Errorf("%s is %d, %d bytes of %s; acknowledged were %d", path, a.status, len(a.body), a.header.Get("Content-Type"), len(want))
				}
			}
			delete(done, inFlight)
			if err := w.s.Unmount(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(w.blobs(), "\n")
			for name, want := range jobs {
				if !strings.Contains(got+"\n", name+"="+want+"\n") {
					t.Errorf("the container lacks %s=%.20s", name, want)
				}
			}
			until(t, "no folder is left", func() bool {
				left, _ := filepath.Glob(filepath.Join(dir, "blobs", "*", "*", "*"))
				for _, f := range left {
					if strings.HasPrefix(filepath.Base(f), "job") {
						return false
					}
				}
				return true
			})
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d files and %d of jobs", len(done), len(jobs))
}

// shareCrashRound writes until the child is killed, and says which path was being written.
func shareCrashRound(t *testing.T, dir string, round int, life time.Duration, done, jobs map[string]string) (inFlight string) {
	v := startVictim(t, "TestShareCrashChild", shareCrashDir, dir)
	folder := v.rest[0]
	send := func(path, body string, h http.Header) bool {
		status, answer := v.send("file", "2018-03-28", "PUT", path, []byte(body), h)
		if status != 0 && status != 201 {
			t.Errorf("%s = %d %s", path, status, answer)
		}
		return status == 201
	}
	v.killAfter(life)
	for n := 0; ; n++ {
		name := fmt.Sprintf("job-%d-%d", round, n)
		if n < 50 {
			write(t, filepath.Join(folder, name), name)
			jobs[name] = name
		}
		path := fmt.Sprintf("/team/f%d", n%9)
		inFlight = path
		body := strings.Repeat(fmt.Sprintf("%d.%d ", round, n), 1+n%5000)
		if !send(path, "", hdr("x-ms-type", "file", "x-ms-content-type", "text/x", "x-ms-content-length", fmt.Sprint(len(body)))) ||
			!send(path+"?comp=range", body, hdr("x-ms-range", fmt.Sprintf("bytes=0-%d", len(body)-1), "x-ms-write", "update")) {
			v.wait()
			return inFlight
		}
		done[path] = body
	}
}
