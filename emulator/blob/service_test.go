package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/store"
)

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, n := range []string{"ab", "Upper", "with-hyphen", strings.Repeat("a", 25), ""} {
		var e *blob.Error
		if err := w.s.EnsureAccount(ctx, n); !errors.As(err, &e) || e.Code != "AccountNameInvalid" {
			t.Errorf("EnsureAccount(%q) = %v", n, err)
		}
	}
	if err := w.s.EnsureAccount(ctx, acct); err != nil {
		t.Errorf("again: %v", err)
	}
	if keys, err := w.s.Keys(ctx, acct); err != nil || keys != w.keys || keys[0] == keys[1] || len(keys[0]) != 88 {
		t.Errorf("Keys = %v", err)
	}
	if err := w.s.RegenerateKey(ctx, acct, 2); err == nil {
		t.Error("RegenerateKey 2: no error")
	}
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Put(ctx, acct, "data", "x", "", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.s.DeleteAccount(ctx, acct); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Keys":            second(w.s.Keys(ctx, acct)),
		"RegenerateKey":   w.s.RegenerateKey(ctx, acct, 0),
		"DeleteAccount":   w.s.DeleteAccount(ctx, acct),
		"EnsureContainer": w.s.EnsureContainer(ctx, acct, "data"),
		"Put":             second(w.s.Put(ctx, acct, "data", "x", "", strings.NewReader(""))),
		"Delete":          w.s.Delete(ctx, acct, "data", "x"),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s after delete = %v", name, err)
		}
	}
	if err := w.s.EnsureAccount(ctx, acct); err != nil {
		t.Fatal(err)
	}
	if keys, _ := w.s.Keys(ctx, acct); keys == w.keys {
		t.Error("a new account has the old one's keys")
	}
	if _, _, err := w.s.Open(ctx, acct, "data", "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a new account has the old one's contents: %v", err)
	}
	until(t, "contents removed", func() bool { return countFiles(t, filepath.Join(w.dir, "blobs")) == 0 })
}

func second[T any](_ T, err error) error { return err }

// until waits for a condition with a deadline.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func countFiles(t testing.TB, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInProcess(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if _, err := w.s.Put(ctx, acct, "data", "x", "", strings.NewReader("")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Put without container = %v", err)
	}
	for range 2 {
		if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.s.Put(ctx, acct, "data", "a/x", "text/plain", strings.NewReader("0123456789"))
	if err != nil || p.Name != "a/x" || p.Size != 10 || p.ContentType != "text/plain" || p.Append || !p.LastModified.Equal(start) || p.ETag == "" {
		t.Fatalf("Put = %+v %v", p, err)
	}
	f, q, err := w.s.Open(ctx, acct, "data", "a/x")
	if err != nil || q != p {
		t.Fatalf("Open = %+v %v", q, err)
	}
	if err := iotest.TestReader(f, []byte("0123456789")); err != nil {
		t.Error(err)
	}
	// What is open stays whole while the blob is replaced and deleted.
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Put(ctx, acct, "data", "a/x", "", strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Delete(ctx, acct, "data", "a/x"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "0123456789" {
		t.Errorf("read = %q %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if n := countFiles(t, filepath.Join(w.dir, "blobs")); n != 0 {
		t.Errorf("%d files left", n)
	}
	if err := w.s.Delete(ctx, acct, "data", "a/x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Delete = %v", err)
	}

	// A reader that fails changes nothing.
	if _, err := w.s.Put(ctx, acct, "data", "y", "", strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := w.s.Put(ctx, acct, "data", "y", "", broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Put of a broken reader = %v", err)
	}
	if got := read(t, w, "y"); got != "kept" {
		t.Errorf("y = %q", got)
	}

	for i := range 3 {
		if p, err = w.s.Append(ctx, acct, "data", "log", strings.NewReader(fmt.Sprintf("line %d\n", i))); err != nil || !p.Append {
			t.Fatal(err)
		}
	}
	if p, err = w.s.Append(ctx, acct, "data", "log", bytes.NewReader(make([]byte, 1<<20))); err != nil || p.Size != 21+1<<20 {
		t.Fatalf("Append = %+v %v", p, err)
	}
	broken = io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("gone")))
	if _, err := w.s.Append(ctx, acct, "data", "log", broken); err == nil {
		t.Error("Append of a broken reader: no error")
	}
	if got := read(t, w, "log"); !strings.HasPrefix(got, "line 0\nline 1\nline 2\n\x00") || int64(len(got)) != p.Size {
		t.Errorf("log = %d bytes", len(got))
	}
	if _, err := w.s.Append(ctx, acct, "data", "y", strings.NewReader("x")); err == nil {
		t.Error("Append to a block blob: no error")
	}
	if p, err = w.s.Append(ctx, acct, "data", "bare", strings.NewReader("")); err != nil || p.Size != 0 {
		t.Errorf("Append of nothing = %+v %v", p, err)
	}
	if err := w.s.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := w.s.Put(ctx, acct, "data", "z", "", strings.NewReader("")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Put after Close = %v", err)
	}
}

func read(t testing.TB, w *world, name string) string {
	t.Helper()
	f, _, err := w.s.Open(context.Background(), acct, "data", name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConcurrent appends from many sides and replaces a blob under its readers.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	fill := func(c byte) io.Reader { return bytes.NewReader(bytes.Repeat([]byte{c}, 300<<10)) }
	if _, err := w.s.Put(ctx, acct, "data", "x", "", fill('0')); err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			for j := range 40 {
				if _, err := w.s.Append(ctx, acct, "data", "log", strings.NewReader(fmt.Sprintf("%d-%02d\n", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
		g.Go(func() {
			for range 10 {
				if _, err := w.s.Put(ctx, acct, "data", "x", "", fill(byte('a'+i))); err != nil {
					t.Error(err)
				}
				b := read(t, w, "x")
				if len(b) != 300<<10 || strings.Trim(b, b[:1]) != "" {
					t.Errorf("x is a mixture of %d bytes", len(b))
				}
			}
		})
	}
	g.Wait()
	lines := strings.Fields(read(t, w, "log"))
	next := map[string]int{}
	for _, l := range lines {
		who, n, _ := strings.Cut(l, "-")
		if n != fmt.Sprintf("%02d", next[who]) {
			t.Errorf("line %s, want number %d", l, next[who])
		}
		next[who]++
	}
	if len(lines) != 320 {
		t.Errorf("%d lines", len(lines))
	}
	if n := countFiles(t, filepath.Join(w.dir, "blobs")); n != 2 {
		t.Errorf("%d files for two blobs", n)
	}
}

// TestManyAppendBlobs has more of them than are kept open.
func TestManyAppendBlobs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for i := range 300 {
			p, err := w.s.Append(ctx, acct, "data", fmt.Sprint("log", i), strings.NewReader("ab"))
			if err != nil || p.Size != int64(2*round+2) {
				t.Fatalf("round %d, log %d: %+v %v", round, i, p, err)
			}
		}
	}
	list, _, err := w.s.List(ctx, acct, "data", "", "", 0)
	if err != nil || len(list) != 300 {
		t.Fatalf("List = %d %v", len(list), err)
	}
	for _, p := range list {
		if p.Size != 4 {
			t.Errorf("%s has %d bytes", p.Name, p.Size)
		}
	}
}

// Ensure that an account has one owner: the first to claim it, or the first after it was only ensured.
func TestOwners(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	claim := func(name, owner string, want error) {
		t.Helper()
		if err := w.s.ClaimAccount(ctx, name, owner); !errors.Is(err, want) {
			t.Errorf("%s claims %s: %v, want %v", owner, name, err, want)
		}
	}
	claim("first", "a", nil)
	claim("first", "b", blob.ErrOwned)
	claim("first", "a", nil)
	if err := w.s.EnsureAccount(ctx, "first"); err != nil {
		t.Error(err)
	}
	if err := w.s.EnsureAccount(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	keys, err := w.s.Keys(ctx, "second")
	if err != nil {
		t.Fatal(err)
	}
	claim("second", "b", nil)
	claim("second", "a", blob.ErrOwned)
	if now, err := w.s.Keys(ctx, "second"); err != nil || now != keys {
		t.Errorf("the claim changed the keys: %v", err)
	}
	if owner, err := w.s.AccountOwner(ctx, "second"); owner != "b" || err != nil {
		t.Errorf("owner %q, %v", owner, err)
	}
	if _, err := w.s.AccountOwner(ctx, "third"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an owner of nothing: %v", err)
	}
}
