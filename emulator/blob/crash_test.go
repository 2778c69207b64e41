package blob_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const crashDir = "LAZULITE_TEST_CRASH_DIR"

// TestCrashChild is the process that TestCrash kills; by itself it does nothing.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("only TestCrash starts it")
	}
	w := &world{t: t, dir: dir}
	w.open(realTime)
	ctx := context.Background()
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nserving %s %s\n", w.url, w.keys[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed, or the parent is gone
}

// writer is one client and what was acknowledged to it.
type writer struct {
	id       int
	puts     map[string]int // name -> version
	lines    int
	blocks   int
	deleted  []string
	inFlight string // the name that is being written
	target   int    // the version that it is to have, 0 for none
}

// content is of a length and bytes that the name and version decide.
func content(name string, version int) []byte {
	r := rand.New(rand.NewPCG(uint64(len(name)), uint64(version)))
	line := []byte(fmt.Sprintf("%s %d\n", name, version))
	return bytes.Repeat(line, 1+r.IntN(20_000))
}

// run writes until the server dies.
func (x *writer) run(send func(method, path string, body []byte, h http.Header) int) {
	for n := 0; ; n++ {
		var ok func()
		var method, path string
		var body []byte
		h := block
		switch n % 5 {
		case 0, 1:
			name := fmt.Sprintf("w%d-%d", x.id, n%7)
			version := x.puts[name] + 1
			x.inFlight, x.target = name, version
			method, path, body, ok = "PUT", "/data/"+name, content(name, version), func() { x.puts[name] = version }
		case 2:
			method, path, body = "PUT", fmt.Sprintf("/data/log%d?comp=appendblock", x.id), fmt.Appendf(nil, "line %06d of a log that is written to\n", x.lines)
			h, ok = nil, func() { x.lines++ }
		case 3:
			method, path = "PUT", fmt.Sprintf("/data/staged%d?comp=block&blockid=%s", x.id, esc(id64(fmt.Sprintf("%06d", x.blocks))))
			body, h, ok = content("block", x.blocks), nil, func() { x.blocks++ }
		case 4:
			method, path, h = "DELETE", fmt.Sprintf("/data/w%d-%d", x.id, n%7), nil
			name := path[len("/data/"):]
			if x.puts[name] == 0 {
				continue
			}
			x.inFlight, x.target = name, 0
			ok = func() { delete(x.puts, name); x.deleted = append(x.deleted, name) }
		}
		status := send(method, path, body, h)
		if status == 0 {
			return
		}
		if status/100 == 2 {
			ok()
			x.inFlight = ""
		}
	}
}

func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes for some seconds")
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	writers := make([]*writer, 4)
	for i := range writers {
		writers[i] = &writer{id: i, puts: map[string]int{}}
	}
	for round := range 5 {
		crashRound(t, dir, round, writers, time.Duration(50+random.IntN(400))*time.Millisecond)
		if t.Failed() {
			return
		}
	}
}

func crashRound(t *testing.T, dir string, round int, writers []*writer, life time.Duration) {
	v := startVictim(t, "TestCrashChild", crashDir, dir)
	send := func(method, path string, body []byte, h http.Header) int {
		status, answer := v.send("blob", "2019-12-12", method, path, body, h)
		if status >= 400 {
			t.Errorf("%s %s = %d %s", method, path, status, answer)
		}
		return status
	}
	var g sync.WaitGroup
	for _, x := range writers {
		if round == 0 {
			send("PUT", fmt.Sprintf("/data/log%d", x.id), nil, hdr("x-ms-blob-type", "AppendBlob"))
		}
		g.Go(func() { x.run(send) })
	}
	v.killAfter(life)
	v.wait()
	g.Wait()
	for _, x := range writers {
		t.Logf("round %d after %v: writer %d has %d blobs, %d lines, %d blocks acknowledged", round, life, x.id, len(x.puts), x.lines, x.blocks)
	}
	verify(t, dir, writers)
}

// verify opens what the killed process left.
func verify(t *testing.T, dir string, writers []*writer) {
	w := &world{t: t, dir: dir}
	t.Run("verify", func(t *testing.T) {
		w.t = t
		w.open(realTime)
		ctx := context.Background()
		for _, x := range writers {
			for name, version := range x.puts {
				if name == x.inFlight {
					continue // settled below
				}
				got := read(t, w, name)
				if got == string(content(name, version)) {
					continue
				}
				t.Errorf("%s is not version %d whole: %d bytes %.20q", name, version, len(got), got)
			}
			for _, name := range x.deleted {
				_, _, err := w.s.Open(ctx, acct, "data", name)
				if err == nil && x.puts[name] == 0 && name != x.inFlight {
					t.Errorf("%s was deleted and is there", name)
				}
			}
			x.deleted = nil
			log := strings.SplitAfter(read(t, w, fmt.Sprint("log", x.id)), "\n")
			log = log[:len(log)-1]
			if len(log) != x.lines && len(log) != x.lines+1 {
				t.Errorf("log%d has %d lines, acknowledged %d", x.id, len(log), x.lines)
			}
			for i, l := range log {
				if l != fmt.Sprintf("line %06d of a log that is written to\n", i) {
					t.Errorf("log%d line %d is %q", x.id, i, l)
				}
			}
			x.lines = len(log)
			if x.blocks == 0 {
				continue
			}
			a := w.must(200, "GET", fmt.Sprintf("/data/staged%d?comp=blocklist&blocklisttype=all", x.id), "", nil)
			for i := range x.blocks {
				want := fmt.Sprintf("<Name>%s</Name><Size>%d</Size>", id64(fmt.Sprintf("%06d", i)), len(content("block", i)))
				if !strings.Contains(a.body, want) {
					t.Errorf("staged%d lacks block %d", x.id, i)
				}
			}
		}
		// What the process did not finish goes: one file for each blob and block, and no more.
		want := 0
		docs, err := w.store.List(ctx, "blob/", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			if bytes.Contains(d.Value, []byte(`"file":"`)) || bytes.Contains(d.Value, []byte(`"f":"`)) {
				want++
			}
		}
		until(t, "orphans swept", func() bool { return countFiles(t, filepath.Join(dir, "blobs")) == want })
		// A deletion or first write whose answer was lost is settled by what is there.
		for _, x := range writers {
			for i := range 7 {
				name := fmt.Sprintf("w%d-%d", x.id, i)
				if name != x.inFlight {
					continue
				}
				had, has := x.puts[name], settle(t, w, name)
				if has != had && has != x.target {
					t.Errorf("%s is version %d; %d was acknowledged and %d under way", name, has, had, x.target)
				}
				if x.puts[name] = has; has == 0 {
					delete(x.puts, name)
				}
			}
			x.inFlight = ""
		}
	})
}

// settle is the version of a blob that is there, 0 if none is.
func settle(t *testing.T, w *world, name string) int {
	f, _, err := w.s.Open(context.Background(), acct, "data", name)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	version := 0
	if _, err := fmt.Sscanf(string(b), name+" %d", &version); err != nil || string(b) != string(content(name, version)) {
		t.Errorf("%s is not whole: %d bytes %.20q", name, len(b), b)
	}
	return version
}
