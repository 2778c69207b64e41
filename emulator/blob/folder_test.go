package blob_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/blob"
)

// mounted makes a share and returns its folder.
func mounted(t *testing.T, w *world, share string) string {
	t.Helper()
	if err := w.s.EnsureShare(t.Context(), acct, share); err != nil {
		t.Fatal(err)
	}
	dir, err := w.s.Share(t.Context(), acct, w.keys[1], share)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// share writes a file as the Files clients do: Create File, Put Range.
func (w *world) share(path, body string, pairs ...string) {
	w.t.Helper()
	h := hdr(append(pairs, "x-ms-type", "file", "x-ms-content-length", strconv.Itoa(len(body)))...)
	if a := w.file("PUT", path, "", h); a.status != 201 {
		w.t.Fatalf("create %s = %d %s", path, a.status, a.body)
	}
	if body == "" {
		return
	}
	h = hdr("x-ms-range", "bytes=0-"+strconv.Itoa(len(body)-1), "x-ms-write", "update")
	if a := w.file("PUT", path+"?comp=range", body, h); a.status != 201 {
		w.t.Fatalf("put range %s = %d %s", path, a.status, a.body)
	}
}

// TestShareFolder: what a job writes in the folder is in the API at once, and the reverse.
func TestShareFolder(t *testing.T) {
	w := newWorld(t)
	dir := mounted(t, w, "team")
	write(t, filepath.Join(dir, "out/Log.txt"), "epoch 1\n")
	write(t, filepath.Join(dir, "out/loss: 0.1?"), "x")
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []exchange{
		{name: "list root", method: "GET", path: "/team?restype=directory&comp=list", status: 200, holds: []string{"<Entries><Directory><Name>empty</Name>", "<Directory><Name>out</Name>"}},
		{name: "list", method: "GET", path: "/team/OUT?restype=directory&comp=list", status: 200,
			holds: []string{"<File><Name>Log.txt</Name><Properties><Content-Length>8</Content-Length>", "<Name>loss\uf022 0.1\uf025</Name>"}},
		{name: "get", method: "GET", path: "/team/out/log.TXT", status: 200, exact: "epoch 1\n", want: map[string]string{"Content-Type": "application/octet-stream", "x-ms-type": "File"}},
		{name: "get by the name that it is listed under", method: "GET", path: "/team/out/loss%EF%80%A2%200.1%EF%80%A5", status: 200, exact: "x"},
		{name: "ranges", method: "GET", path: "/team/out/log.txt?comp=rangelist", status: 200, holds: []string{"<Range><Start>0</Start><End>7</End></Range>"}},
		{name: "usage", method: "GET", path: "/team?restype=share&comp=stats", status: 200, holds: []string{"<ShareUsageBytes>9</ShareUsageBytes>"}},
		{name: "metadata", method: "PUT", path: "/team/out/log.txt?comp=metadata", header: hdr("x-ms-meta-k", "v"), status: 200},
		{name: "metadata is kept", method: "HEAD", path: "/team/out/log.txt", status: 200, want: map[string]string{"x-ms-meta-k": "v", "Content-Length": "8"}},
		{name: "directory metadata", method: "PUT", path: "/team/out?restype=directory&comp=metadata", header: hdr("x-ms-meta-k", "v"), status: 200},
		{name: "range over it", method: "PUT", path: "/team/out/log.txt?comp=range", body: "EPOCH", header: hdr("x-ms-range", "bytes=0-4", "x-ms-write", "update"), status: 201},
		{name: "delete", method: "DELETE", path: "/team/empty?restype=directory", status: 202},
		{name: "full", method: "DELETE", path: "/team/out?restype=directory", status: 409, code: "DirectoryNotEmpty"},
		{name: "create directory", method: "PUT", path: "/team/in?restype=directory", status: 201},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := w.file(x.method, x.path, x.body, x.header)
			if a.status != x.status || a.code() != x.code || x.exact != "" && a.body != x.exact {
				t.Fatalf("%d %s\n%s", a.status, a.code(), a.body)
			}
			for name, v := range x.want {
				if got := a.header.Get(name); got != v {
					t.Errorf("header %s = %q, want %q", name, got, v)
				}
			}
			for _, s := range x.holds {
				if !strings.Contains(a.body, s) {
					t.Errorf("body lacks %q:\n%s", s, a.body)
				}
			}
		})
	}
	if b, err := os.ReadFile(filepath.Join(dir, "out/Log.txt")); err != nil || string(b) != "EPOCH 1\n" {
		t.Errorf("the job reads %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "empty")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the deleted directory: %v", err)
	}
	w.share("/team/in/data.csv", "1,2\n", "x-ms-content-type", "text/csv")
	path := filepath.Join(dir, "in/data.csv")
	if b, err := os.ReadFile(path); err != nil || string(b) != "1,2\n" {
		t.Errorf("the job reads %q, %v", b, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o777 {
		t.Errorf("mode %v, %v: whoever the job runs as may write it", fi, err)
	}
	before := w.file("HEAD", "/team/in/data.csv", "", nil)
	if before.header.Get("Content-Type") != "text/csv" || before.header.Get("Last-Modified") != start.Format(http.TimeFormat) {
		t.Errorf("uploaded: %v", before.header)
	}

	// A write of the job's changes time and etag, and leaves what the client set.
	stamp := time.Date(2019, 1, 2, 3, 4, 5, 0, time.UTC)
	write(t, path, "1,2\n3,4\n")
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	a := w.file("HEAD", "/team/in/data.csv", "", nil)
	if a.header.Get("ETag") == before.header.Get("ETag") || a.header.Get("Last-Modified") != stamp.Format(http.TimeFormat) ||
		a.header.Get("Content-Length") != "8" || a.header.Get("Content-Type") != "text/csv" {
		t.Errorf("after the job's write: %v, before %v", a.header, before.header)
	}
	// What comes in its place is another file.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a := w.file("HEAD", "/team/in/data.csv", "", nil); a.status != 404 {
		t.Errorf("removed by the job: %d", a.status)
	}
	write(t, path, "new")
	if a := w.file("HEAD", "/team/in/data.csv", "", nil); a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("the file in its place: %v", a.header)
	}
}

// TestShareFolderIsClosed: nothing that a job plants leads out of the folder, and nothing blocks.
func TestShareFolderIsClosed(t *testing.T) {
	w := newWorld(t)
	dir := mounted(t, w, "team")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "secret")
	write(t, filepath.Join(dir, "real/f"), "inside")
	for name, target := range map[string]string{"out": secret, "up": filepath.Dir(secret), "dots": "../../../..", "in": "real/f", "dirin": "real", "self": "self", "gone": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o777); err != nil {
		t.Fatal(err)
	}
	a := w.file("GET", "/team?restype=directory&comp=list", "", nil)
	for _, name := range []string{"out", "up", "dots", "self", "gone", "pipe"} {
		if strings.Contains(a.body, "<Name>"+name+"</Name>") {
			t.Errorf("%s is listed", name)
		}
		for _, suffix := range []string{"", "?comp=rangelist", "?restype=directory&comp=list"} {
			if a := w.file("GET", "/team/"+name+suffix, "", nil); a.status != 404 {
				t.Errorf("GET %s%s = %d", name, suffix, a.status)
			}
		}
		if a := w.file("PUT", "/team/"+name+"?comp=range", "y", hdr("x-ms-range", "bytes=0-0", "x-ms-write", "update")); a.status != 404 {
			t.Errorf("write through %s = %d", name, a.status)
		}
		if a := w.file("PUT", "/team/"+name, "", hdr("x-ms-type", "file", "x-ms-content-length", "3")); a.status != 409 {
			t.Errorf("create over %s = %d %s", name, a.status, a.body)
		}
		if a := w.file("PUT", "/team/"+name+"/f", "", hdr("x-ms-type", "file", "x-ms-content-length", "3")); a.code() != "ParentNotFound" {
			t.Errorf("create under %s = %d %s", name, a.status, a.code())
		}
	}
	if a := w.file("GET", "/team/up/secret", "", nil); a.status != 404 {
		t.Errorf("through a link to a directory: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/team/in", "/team/dirin/f"} {
		if a := w.file("GET", path, "", nil); a.body != "inside" {
			t.Errorf("GET %s, a link that stays inside: %d %s", path, a.status, a.body)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
	if a := w.file("DELETE", "/team?restype=share", "", nil); a.status != 202 {
		t.Fatalf("delete the share: %d", a.status)
	}
	until(t, "the folder is gone", func() bool { _, err := os.Stat(dir); return errors.Is(err, os.ErrNotExist) })
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the file outside after the share's end: %q, %v", b, err)
	}
}

// TestShareRefusals are those of who would mount.
func TestShareRefusals(t *testing.T) {
	w := newWorld(t)
	dir := mounted(t, w, "team")
	other := strings.Replace(w.keys[0], w.keys[0][:4], "AAAA", 1)
	for _, x := range []struct{ name, account, key, share, code string }{
		{"wrong key", acct, other, "team", "AuthenticationFailed"},
		{"no key", acct, "", "team", "AuthenticationFailed"},
		{"wrong key and no share", acct, other, "none", "AuthenticationFailed"},
		{"no account", "nobody", w.keys[0], "team", "ResourceNotFound"},
		{"no share", acct, w.keys[0], "none", "ShareNotFound"},
		{"odd share", acct, w.keys[0], "../x", "InvalidResourceName"},
	} {
		t.Run(x.name, func(t *testing.T) {
			got, err := w.s.Share(t.Context(), x.account, x.key, x.share)
			var e *blob.Error
			if got != "" || !errors.As(err, &e) || e.Code != x.code {
				t.Errorf("%q, %v; want %s", got, err, x.code)
			}
		})
	}
	if err := w.s.RegenerateKey(t.Context(), acct, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Share(t.Context(), acct, w.keys[0], "team"); err == nil {
		t.Error("the old key still mounts")
	}
	if again, err := w.s.Share(t.Context(), acct, w.keys[1], "team"); err != nil || again != dir {
		t.Errorf("a second time: %q, %v; first %q", again, err, dir)
	}
}

// TestShareRestart: after a start the folder is where it was, with all that is in it and was noted.
func TestShareRestart(t *testing.T) {
	dir := t.TempDir()
	var folder string
	var etag string
	t.Run("first", func(t *testing.T) {
		w := &world{t: t, dir: dir}
		w.open()
		folder = mounted(t, w, "team")
		w.share("/team/a", "rest", "x-ms-content-type", "text/x")
		w.share("/team/b", "rest")
		write(t, filepath.Join(folder, "job/c"), "job")
		etag = w.file("HEAD", "/team/a", "", nil).header.Get("ETag")
		if err := os.Remove(filepath.Join(folder, "b")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("second", func(t *testing.T) {
		w := &world{t: t, dir: dir}
		w.open()
		if again := mounted(t, w, "team"); again != folder {
			t.Errorf("folder %q, was %q", again, folder)
		}
		if a := w.file("GET", "/team/a", "", nil); a.body != "rest" || a.header.Get("Content-Type") != "text/x" || a.header.Get("ETag") != etag {
			t.Errorf("a: %q %v, etag was %s", a.body, a.header, etag)
		}
		if a := w.file("GET", "/team/job/c", "", nil); a.body != "job" {
			t.Errorf("c: %d %q", a.status, a.body)
		}
		until(t, "the note of the deleted file is gone", func() bool {
			docs, err := w.store.List(context.Background(), "blob/f/", "", 0)
			return err == nil && len(docs) == 1 && bytes.Contains([]byte(docs[0].Key), []byte("//a"))
		})
	})
}

// TestShareSparse: holes that a job leaves are no ranges.
func TestShareSparse(t *testing.T) {
	w := newWorld(t)
	dir := mounted(t, w, "team")
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 1<<20); err != nil {
		t.Fatal(err)
	}
	a := w.file("GET", "/team/sparse?comp=rangelist", "", nil)
	if a.status != 200 || !strings.Contains(a.body, "<End>1048576</End>") || strings.Contains(a.body, "<Start>0</Start>") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
