package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/store"
)

func mustOpen(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Open(store.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func eachKind(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Run("memory", func(t *testing.T) { f(t, mustOpen(t, "")) })
	t.Run("file", func(t *testing.T) { f(t, mustOpen(t, filepath.Join(t.TempDir(), "deep", "s.db"))) })
}

func TestPut(t *testing.T) {
	ctx := context.Background()
	eachKind(t, func(t *testing.T, s *store.Store) {
		// Ensure a document comes back as it was written, at the revision that Put told.
		d, err := s.Put(ctx, "a/1", []byte("x"), store.Absent)
		if err != nil || d.Rev == 0 {
			t.Fatalf("%+v %v", d, err)
		}
		got, err := s.Get(ctx, "a/1")
		if err != nil || string(got.Value) != "x" || got.Rev != d.Rev {
			t.Fatalf("%+v %v", got, err)
		}
		// Ensure revisions order writes over all keys.
		e, err := s.Put(ctx, "b/1", []byte("y"), store.Any)
		if err != nil || e.Rev <= d.Rev {
			t.Fatalf("%+v %v", e, err)
		}
		if _, err := s.Put(ctx, "a/1", []byte("z"), d.Rev); err != nil {
			t.Fatal(err)
		}
		t.Run("ErrConflict", func(t *testing.T) {
			for _, rev := range []int64{store.Absent, d.Rev} {
				if _, err := s.Put(ctx, "a/1", []byte("late"), rev); !errors.Is(err, store.ErrConflict) {
					t.Fatalf("at %d: %v", rev, err)
				}
			}
			if got, _ := s.Get(ctx, "a/1"); string(got.Value) != "z" {
				t.Fatalf("a refused write changed the document to %q", got.Value)
			}
		})
		t.Run("ErrNotFound", func(t *testing.T) {
			if _, err := s.Get(ctx, "none"); !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			if err := s.Delete(ctx, "none", store.Any); !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
		})
	})
}

func TestBatchIsAllOrNothing(t *testing.T) {
	ctx := context.Background()
	eachKind(t, func(t *testing.T, s *store.Store) {
		if _, err := s.Put(ctx, "taken", []byte("1"), store.Absent); err != nil {
			t.Fatal(err)
		}
		_, err := s.Batch(ctx, []store.Op{{Key: "new", Value: []byte("n"), If: store.Absent}, {Key: "taken", Value: []byte("2"), If: store.Absent}})
		if !errors.Is(err, store.ErrConflict) {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, "new"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal("half a batch was written")
		}
		docs, err := s.Batch(ctx, []store.Op{{Key: "new", Value: []byte("n"), If: store.Absent}, {Key: "taken", If: store.Any}})
		if err != nil || len(docs) != 2 {
			t.Fatal(docs, err)
		}
		if _, err := s.Get(ctx, "taken"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal("the delete of a batch was lost")
		}
	})
}

func TestListPages(t *testing.T) {
	ctx := context.Background()
	eachKind(t, func(t *testing.T, s *store.Store) {
		for i := range 25 {
			if _, err := s.Put(ctx, fmt.Sprintf("p/%02d", i), []byte{1}, store.Any); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range []string{"o", "p", "p0", "q/1"} {
			if _, err := s.Put(ctx, k, []byte{1}, store.Any); err != nil {
				t.Fatal(err)
			}
		}
		var keys []string
		for after := ""; ; {
			docs, err := s.List(ctx, "p/", after, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				keys = append(keys, d.Key)
			}
			if len(docs) < 10 {
				break
			}
			after = docs[len(docs)-1].Key
		}
		if len(keys) != 25 || keys[0] != "p/00" || keys[24] != "p/24" {
			t.Fatalf("%d keys: %v", len(keys), keys)
		}
	})
}

func TestWatch(t *testing.T) {
	ctx := context.Background()
	s := mustOpen(t, "")
	events, stop := s.Watch("w/")
	for _, k := range []string{"w/1", "v/1", "w/2"} {
		if _, err := s.Put(ctx, k, []byte(k), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "w/1", store.Any); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"w/1", "w/2", "w/1"} {
		if e := <-events; e.Key != want {
			t.Fatalf("got %s, want %s", e.Key, want)
		}
	}
	stop()
	if _, open := <-events; open {
		t.Fatal("a stopped watch goes on")
	}
}

func TestConcurrentWriters(t *testing.T) {
	ctx := context.Background()
	s := mustOpen(t, filepath.Join(t.TempDir(), "s.db"))
	var wg sync.WaitGroup
	won := make(chan int, 64)
	for i := range 64 {
		wg.Go(func() {
			if _, err := s.Put(ctx, "one", fmt.Append(nil, i), store.Absent); err == nil {
				won <- i
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
			for j := range 20 {
				if _, err := s.Put(ctx, fmt.Sprintf("own/%d/%d", i, j), []byte("v"), store.Absent); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d writers made the same document", len(won))
	}
	if docs, err := s.List(ctx, "own/", "", 0); err != nil || len(docs) != 64*20 {
		t.Fatal(len(docs), err)
	}
}

// TestPutWaitsForLock has another connection hold the lock of writers, as a
// reader does for a moment: the write must wait for it, not fail.
func TestPutWaitsForLock(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "s.db")
	s := mustOpen(t, path)
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	lock, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	put := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, "a", []byte("1"), store.Absent)
		put <- err
	}()
	select {
	case err := <-put:
		t.Fatalf("a write came back while another connection had the lock: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	if d, err := s.Get(ctx, "a"); err != nil || string(d.Value) != "1" {
		t.Fatal(d, err)
	}
}

// TestKill starts this binary again as a writer and kills it without warning:
// every write that it was told of must be there.
func TestKill(t *testing.T) {
	if path := os.Getenv("STORE_TEST_WRITER"); path != "" {
		writeForEver(path)
	}
	path := filepath.Join(t.TempDir(), "s.db")
	acknowledged := 0
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "STORE_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			keys = append(keys, strings.TrimSpace(lines.Text()))
			if len(keys) == 20+37*round {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		s, err := store.Open(store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if _, err := s.Get(context.Background(), k); err != nil {
				t.Fatalf("round %d: acknowledged %s: %v", round, k, err)
			}
		}
		acknowledged += len(keys)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged writes, all kept", acknowledged)
}

func writeForEver(path string) {
	s, err := store.Open(store.Config{Path: path})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("k/%d/%d/%d", os.Getpid(), w, i)
				if _, err := s.Put(context.Background(), key, []byte(key), store.Absent); err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Println(key)
				mu.Unlock()
			}
		}()
	}
	select {}
}

func BenchmarkPut(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "s.db"))
	value := make([]byte, 400)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Put(context.Background(), fmt.Sprintf("b/%p/%d", pb, i), value, store.Any); err != nil {
				b.Error(err)
			}
		}
	})
}
