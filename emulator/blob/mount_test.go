package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
)

// mount makes a container and mounts it.
func mount(t *testing.T, w *world, container string) *blob.Mount {
	t.Helper()
	if err := w.s.EnsureContainer(t.Context(), acct, container); err != nil {
		t.Fatal(err)
	}
	m, err := w.s.Mount(t.Context(), acct, w.keys[0], container)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) blob(name, content string) {
	w.t.Helper()
	if _, err := w.s.Put(w.t.Context(), acct, "data", name, "text/x", strings.NewReader(content)); err != nil {
		w.t.Fatal(err)
	}
}

func flush(t *testing.T, m *blob.Mount) {
	t.Helper()
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// blobs are the container's, as name=content.
func (w *world) blobs() []string {
	w.t.Helper()
	list, _, err := w.s.List(w.t.Context(), acct, "data", "", "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	out := []string{}
	for _, b := range list {
		rd, _, err := w.s.Open(w.t.Context(), acct, "data", b.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		content, err := io.ReadAll(rd)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = rd.Close()
		out = append(out, b.Name+"="+string(content))
	}
	return out
}

// files are the folder's, as path=content, and directories as path/.
func files(t testing.TB, dir string) []string {
	t.Helper()
	out := []string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			out = append(out, name+"/")
			return nil
		}
		b, err := os.ReadFile(path)
		out = append(out, name+"="+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestMount is a container's folder through what can happen on both sides.
func TestMount(t *testing.T) {
	w := newWorld(t)
	if err := w.s.EnsureContainer(t.Context(), acct, "data"); err != nil {
		t.Fatal(err)
	}
	w.blob("in/train.csv", "1,2")
	w.blob("top", "x")
	put(t, w, "/data/kept", "", "x-ms-meta-hdi_isfolder", "true")
	m := mount(t, w, "data")
	dir := m.Dir()
	at := func(name string) string { return filepath.Join(dir, name) }
	same(t, "at mount", files(t, dir), "in/", "in/train.csv=1,2", "top=x", "kept/")
	if fi, err := os.Stat(at("in/train.csv")); err != nil || fi.Mode().Perm() != 0o777 || !fi.ModTime().Equal(start) {
		t.Errorf("mode and time: %v, %v", fi, err)
	}

	for _, x := range []struct {
		name         string
		do           func()
		files, blobs []string
	}{
		{"nothing", func() {}, []string{"in/", "in/train.csv=1,2", "top=x", "kept/"}, []string{"in/train.csv=1,2", "top=x", "kept="}},
		{"a job writes", func() { write(t, at("out/model"), "m1"); write(t, at("top"), "y") },
			[]string{"in/", "in/train.csv=1,2", "top=y", "kept/", "out/", "out/model=m1"}, []string{"in/train.csv=1,2", "top=y", "kept=", "out/model=m1"}},
		{"it writes the same length at once", func() { write(t, at("out/model"), "m2") },
			[]string{"in/", "in/train.csv=1,2", "top=y", "kept/", "out/", "out/model=m2"}, []string{"in/train.csv=1,2", "top=y", "kept=", "out/model=m2"}},
		{"a client writes", func() { w.blob("in/test.csv", "3"); w.blob("top", "z") },
			[]string{"in/", "in/train.csv=1,2", "in/test.csv=3", "top=z", "kept/", "out/", "out/model=m2"}, []string{"in/train.csv=1,2", "in/test.csv=3", "top=z", "kept=", "out/model=m2"}},
		{"both write", func() { w.blob("top", "client"); write(t, at("top"), "job") },
			[]string{"in/", "in/train.csv=1,2", "in/test.csv=3", "top=job", "kept/", "out/", "out/model=m2"}, []string{"in/train.csv=1,2", "in/test.csv=3", "top=job", "kept=", "out/model=m2"}},
		{"the job deletes", func() { _ = os.Remove(at("top")); _ = os.RemoveAll(at("kept")) },
			[]string{"in/", "in/train.csv=1,2", "in/test.csv=3", "out/", "out/model=m2"}, []string{"in/train.csv=1,2", "in/test.csv=3", "out/model=m2"}},
		{"the client deletes a directory's all", func() {
			for _, name := range []string{"in/train.csv", "in/test.csv"} {
				if err := w.s.Delete(t.Context(), acct, "data", name); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"out/", "out/model=m2"}, []string{"out/model=m2"}},
		{"the job empties a directory", func() { _ = os.Remove(at("out/model")) }, []string{"out/"}, []string{}},
		{"which then is a blob", func() {}, []string{"out/"}, []string{"out="}},
		{"the job makes a file of a directory", func() { _ = os.Remove(at("out")); write(t, at("out"), "file") }, []string{"out=file"}, []string{"out=file"}},
		{"and a directory of a file", func() { _ = os.Remove(at("out")); write(t, at("out/a/b"), "deep") }, []string{"out/", "out/a/", "out/a/b=deep"}, nil},
		{"one deletes what the other writes", func() { _ = os.Remove(at("out/a/b")); w.blob("out/a/b", "client") }, []string{"out/", "out/a/", "out/a/b=client"}, nil},
	} {
		x.do()
		flush(t, m)
		same(t, x.name+": the folder", files(t, dir), x.files...)
		if x.blobs != nil {
			same(t, x.name+": the container", w.blobs(), x.blobs...)
		}
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder after Close: %v", err)
	}
	if docs, err := w.store.List(t.Context(), "blob/m/", "", 0); err != nil || len(docs) != 0 {
		t.Errorf("%d documents are left, %v", len(docs), err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestMountShared: mounts of a container are one folder, which goes with the last, and a Mount sees what is new.
func TestMountShared(t *testing.T) {
	w := newWorld(t)
	a := mount(t, w, "data")
	w.blob("x", "1")
	b := mount(t, w, "data")
	if a.Dir() != b.Dir() {
		t.Fatalf("%s and %s", a.Dir(), b.Dir())
	}
	same(t, "at the second mount", files(t, b.Dir()), "x=1")
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.Dir(), "y"), "2")
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "in the end", w.blobs(), "x=1", "y=2")
	c := mount(t, w, "data")
	same(t, "mounted again", files(t, c.Dir()), "x=1", "y=2")
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMountByItself: on the emulator's clock both sides come together without Flush.
func TestMountByItself(t *testing.T) {
	w := newWorld(t)
	clk := w.clock.(*clock.Manual)
	m := mount(t, w, "data")
	write(t, filepath.Join(m.Dir(), "log"), "line\n")
	w.blob("news", "n")
	until(t, "both are at both ends", func() bool {
		clk.Advance(2 * time.Second)
		return len(w.blobs()) == 2 && len(files(t, m.Dir())) == 2
	})
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMountIsClosed: nothing in the folder leads out of it, nor does a blob's name.
func TestMountIsClosed(t *testing.T) {
	w := newWorld(t)
	m := mount(t, w, "data")
	out := t.TempDir()
	write(t, filepath.Join(out, "secret"), "secret")
	write(t, filepath.Join(m.Dir(), "f"), "f")
	for name, target := range map[string]string{"dir": out, "file": filepath.Join(out, "secret"), "link": "f"} {
		if err := os.Symlink(target, filepath.Join(m.Dir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(m.Dir(), "pipe"), 0o777); err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	same(t, "of links", w.blobs(), "f=f", "link=f")
	for _, name := range []string{"../up", "a//b", "/abs", "./dot", "a/../../up", "dir/planted", strings.Repeat("n", 300)} {
		w.blob(name, "evil")
	}
	if err := m.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "dir/planted") {
		t.Errorf("a blob under a link out of the folder: %v", err)
	}
	same(t, "outside", files(t, out), "secret=secret")
	if entries, err := os.ReadDir(filepath.Dir(m.Dir())); err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "up" }) {
		t.Errorf("beside the folder: %v, %v", entries, err)
	}
	if err := os.Remove(filepath.Join(m.Dir(), "dir")); err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	if b, err := os.ReadFile(filepath.Join(m.Dir(), "dir/planted")); err != nil || string(b) != "evil" {
		t.Errorf("once the link is gone: %q, %v", b, err)
	}
}

// TestMountRefusals are those of who would mount, and of a container that goes meanwhile.
func TestMountRefusals(t *testing.T) {
	w := newWorld(t)
	m := mount(t, w, "data")
	for _, x := range []struct{ name, account, key, container, code string }{
		{"wrong key", acct, strings.ToUpper(w.keys[0]), "data", "AuthenticationFailed"},
		{"no account", "nobody", w.keys[0], "data", "ResourceNotFound"},
		{"no container", acct, w.keys[0], "none", "ContainerNotFound"},
	} {
		_, err := w.s.Mount(t.Context(), x.account, x.key, x.container)
		var e *blob.Error
		if !errors.As(err, &e) || e.Code != x.code {
			t.Errorf("%s: %v, want %s", x.name, err, x.code)
		}
	}
	w.must(202, "DELETE", "/data?restype=container", "", nil)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	_ = os.WriteFile(filepath.Join(m.Dir(), "late"), []byte("x"), 0o666) // unless the folder has gone already
	var e *blob.Error
	if err := m.Flush(t.Context()); !errors.As(err, &e) || e.Code != "ContainerNotFound" {
		t.Errorf("the container went: %v", err)
	}
	if err := m.Close(t.Context()); !errors.As(err, &e) {
		t.Errorf("Close: %v", err)
	}
	same(t, "the namesake", w.blobs())
}

// TestMountRestart: what an earlier process had not uploaded is uploaded when
// the container is mounted again, or when nobody did; deletions on either side
// meanwhile are what they were.
func TestMountRestart(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprint("mounted again ", again), func(t *testing.T) {
			dir := t.TempDir()
			var folder string
			t.Run("first", func(t *testing.T) {
				w := &world{t: t, dir: dir}
				w.open()
				m := mount(t, w, "data")
				folder = m.Dir()
				w.blob("old", "1")
				w.blob("gone", "1")
				w.blob("erased", "1")
				flush(t, m)
				write(t, filepath.Join(folder, "late"), "unsaved")
				if err := os.Remove(filepath.Join(folder, "gone")); err != nil {
					t.Fatal(err)
				}
				if err := w.s.Delete(t.Context(), acct, "data", "erased"); err != nil {
					t.Fatal(err)
				}
			})
			t.Run("second", func(t *testing.T) {
				w := &world{t: t, dir: dir}
				w.open()
				if again {
					m := mount(t, w, "data")
					if m.Dir() != folder {
						t.Errorf("folder %s, was %s", m.Dir(), folder)
					}
					same(t, "folder", files(t, m.Dir()), "old=1", "late=unsaved")
					if err := m.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
				} else if err := w.s.Unmount(t.Context()); err != nil {
					t.Fatal(err)
				}
				same(t, "container", w.blobs(), "old=1", "late=unsaved")
				if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the folder: %v", err)
				}
			})
		})
	}
}

// TestMountWithoutItsFolder: a folder that is lost is no deletion of all blobs.
func TestMountWithoutItsFolder(t *testing.T) {
	dir := t.TempDir()
	t.Run("first", func(t *testing.T) {
		w := &world{t: t, dir: dir}
		w.open()
		m := mount(t, w, "data")
		w.blob("x", "1")
		flush(t, m)
		if err := os.RemoveAll(m.Dir()); err != nil {
			t.Fatal(err)
		}
		if err := m.Flush(t.Context()); err == nil {
			t.Error("Flush of a lost folder does not say so")
		}
	})
	t.Run("second", func(t *testing.T) {
		w := &world{t: t, dir: dir}
		w.open()
		m := mount(t, w, "data")
		same(t, "folder", files(t, m.Dir()), "x=1")
		same(t, "container", w.blobs(), "x=1")
		if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSign: URLs that are signed with a key open the file that they name, as long as the key is the account's.
func TestSign(t *testing.T) {
	w := newWorld(t)
	dir := mounted(t, w, "team")
	write(t, filepath.Join(dir, "out/log ü.txt"), "line\n")
	mount(t, w, "data")
	w.blob("a b/c", "blob")
	sign := func(file bool, key string) string {
		t.Helper()
		var u string
		var err error
		if file {
			u, err = w.s.SignFile(acct, key, "team", "out/log ü.txt", "rl", w.clock.Now().Add(time.Hour))
		} else {
			u, err = w.s.SignBlob(acct, key, "data", "a b/c", "r", w.clock.Now().Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	get := func(u string) answer {
		t.Helper()
		path, file := strings.CutPrefix(u, "https://"+acct+".file.core.windows.net")
		if !file {
			var ok bool
			if path, ok = strings.CutPrefix(u, "https://"+acct+".blob.core.windows.net"); !ok {
				t.Fatal(u)
			}
		}
		r := w.request("GET", path, "", nil)
		if file {
			r.URL.Host = strings.TrimPrefix(w.files, "http://")
			r.Host = acct + ".file.core.windows.net"
		}
		return w.send(r)
	}
	for _, file := range []bool{true, false} {
		want := map[bool]string{true: "line\n", false: "blob"}[file]
		u := sign(file, w.keys[1])
		if a := get(u); a.status != 200 || a.body != want {
			t.Errorf("GET %s = %d %s", u, a.status, a.body)
		}
		if a := get(strings.Replace(u, "sp=r", "sp=w", 1)); a.code() != "AuthenticationFailed" {
			t.Errorf("altered: %d %s", a.status, a.code())
		}
		if a := get(sign(file, "AAAA")); a.code() != "AuthenticationFailed" {
			t.Errorf("another key: %d %s", a.status, a.code())
		}
	}
	if u := sign(true, w.keys[0]); !strings.Contains(u, "?sv=2016-05-31&sr=f&sig=") {
		t.Errorf("not as Batch AI wrote them: %s", u)
	}
	if _, err := w.s.SignFile(acct, w.keys[0], "team", "../x", "r", w.clock.Now()); err == nil {
		t.Error("a path out of the share is signed")
	}
	if _, err := w.s.SignBlob(acct, "no base64!", "data", "x", "r", w.clock.Now()); err == nil {
		t.Error("a key that is none signs")
	}
}

// BenchmarkMount is what mounts cost: a first download, and a synchronisation that finds nothing to do.
func BenchmarkMount(b *testing.B) {
	const n = 10_000
	w := newWorld(b)
	if err := w.s.EnsureContainer(b.Context(), acct, "data"); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		w.blob(fmt.Sprintf("dir%03d/f%05d", i%100, i), "some content")
	}
	began := time.Now()
	m, err := w.s.Mount(b.Context(), acct, w.keys[0], "data")
	if err != nil {
		b.Fatal(err)
	}
	rate := n / time.Since(began).Seconds()
	for b.Loop() {
		if err := m.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(rate, "downloads/s")
	b.StopTimer()
	if err := m.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
