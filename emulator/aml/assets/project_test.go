package assets_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"
)

type packed struct {
	name, body string
	mode       fs.FileMode
	flags      uint16
}

func zipOf(t *testing.T, files ...packed) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Flags: f.flags}
		if f.mode != 0 {
			h.SetMode(f.mode)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, f.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestStoreProject(t *testing.T) {
	b := newBench(t)
	good := zipOf(t, packed{name: "./"}, packed{name: "sub/"}, packed{name: "sub/a.py", body: "print(1)"}, packed{name: "train.py", body: "x", mode: 0o755}, packed{name: "aml_config/project.json", body: "{}"})
	if err := b.svc.StoreProject(t.Context(), workspace, "run1", bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := b.svc.ProjectZip(t.Context(), workspace, "run1", &got); err != nil || !bytes.Equal(got.Bytes(), good) {
		t.Fatalf("%v, %d bytes", err, got.Len())
	}
	u, err := b.svc.ProjectURL(t.Context(), workspace, "run1", time.Now().Add(time.Hour))
	if err != nil || !strings.Contains(u, "run1.zip?") || !strings.Contains(u, "sp=r&") {
		t.Fatal(u, err)
	}
	if err := b.svc.ProjectZip(t.Context(), workspace, "none", io.Discard); !isStatus(err, 404) {
		t.Fatal(err)
	}
	if _, err := b.svc.ProjectURL(t.Context(), workspace, "none", time.Now()); !isStatus(err, 404) {
		t.Fatal(err)
	}
	if err := b.svc.ProjectZip(t.Context(), other, "run1", io.Discard); !isStatus(err, 404) {
		t.Fatalf("another workspace's project: %v", err)
	}
}

func TestStoreProjectRefuses(t *testing.T) {
	b := newBench(t)
	damaged := zipOf(t, packed{name: "a.bin", body: strings.Repeat("abcdefgh", 100)})
	damaged[50] ^= 0xff
	many := make([]packed, 10001)
	for i := range many {
		many[i].name = fmt.Sprintf("f%d", i)
	}
	ok := packed{name: "train.py", body: "x"}
	zeros := strings.Repeat("\x00", 20<<20)
	rows := []struct {
		name   string
		zip    []byte
		status int
		has    string
	}{
		{"no zip", []byte("not a zip"), 400, "not a zip"},
		{"empty", nil, 400, "not a zip"},
		{"two dots", zipOf(t, ok, packed{name: "../x"}), 400, "../x"},
		{"two dots within", zipOf(t, ok, packed{name: "a/../../x"}), 400, "leaves"},
		{"absolute", zipOf(t, ok, packed{name: "/abs"}), 400, "/abs"},
		{"backslash", zipOf(t, ok, packed{name: `..\x`}), 400, "separator"},
		{"drive", zipOf(t, ok, packed{name: "C:/x"}), 400, "absolute"},
		{"symlink", zipOf(t, ok, packed{name: "l", body: "/etc/passwd", mode: fs.ModeSymlink | 0o777}), 400, "link"},
		{"device", zipOf(t, ok, packed{name: "d", mode: fs.ModeDevice | 0o600}), 400, "device"},
		{"named pipe", zipOf(t, ok, packed{name: "p", mode: fs.ModeNamedPipe | 0o600}), 400, "special"},
		{"twice", zipOf(t, ok, ok), 400, "twice"},
		{"below a file", zipOf(t, packed{name: "a", body: "x"}, packed{name: "a/b", body: "x"}), 400, "below a file"},
		{"file over a folder", zipOf(t, packed{name: "a/b", body: "x"}, packed{name: "a", body: "x"}), 400, "twice"},
		{"encrypted", zipOf(t, packed{name: "e", body: "x", flags: 1}), 400, "encrypted"},
		{"damaged", damaged, 400, "damaged"},
		{"too many entries", zipOf(t, many...), 413, "10000"},
		{"bomb by its ratio", zipOf(t, packed{name: "zeros", body: zeros}), 400, "unpacks to more than 250 times"},
	}
	before := len(b.blobs.names())
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := b.svc.StoreProject(t.Context(), workspace, "run1", bytes.NewReader(row.zip))
			if !isStatus(err, row.status) || !strings.Contains(err.Error(), row.has) {
				t.Fatal(err)
			}
			if n := len(b.blobs.names()); n != before {
				t.Fatal("something was stored")
			}
		})
	}
	t.Run("bomb by its sum", func(t *testing.T) {
		// Each entry is below what the ratio looks at; together they are too much.
		err := b.svc.StoreProject(t.Context(), workspace, "run1", bytes.NewReader(copies(t, 16<<20, 20, nil)))
		if !isStatus(err, 413) {
			t.Fatal(err)
		}
	})
	t.Run("sizes that lie", func(t *testing.T) {
		lie := func(h *zip.FileHeader) { h.UncompressedSize64 = 10 }
		err := b.svc.StoreProject(t.Context(), workspace, "run1", bytes.NewReader(copies(t, 1<<20, 1, lie)))
		if !isStatus(err, 400) || !strings.Contains(err.Error(), "damaged") {
			t.Fatal(err)
		}
	})
	t.Run("a run id that is a path", func(t *testing.T) {
		if err := b.svc.StoreProject(t.Context(), workspace, "../x", bytes.NewReader(zipOf(t, ok))); !isStatus(err, 400) {
			t.Fatal(err)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		r := io.MultiReader(strings.NewReader("PK"), errReader{})
		if err := b.svc.StoreProject(t.Context(), workspace, "run1", r); !isStatus(err, 400) {
			t.Fatal(err)
		}
	})
}

// copies packs one file of zeros and writes its packed form n times.
func copies(t *testing.T, size, n int, change func(*zip.FileHeader)) []byte {
	t.Helper()
	one := zipOf(t, packed{name: "zeros", body: strings.Repeat("\x00", size)})
	r, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for i := range n {
		h := r.File[0].FileHeader
		h.Name = fmt.Sprintf("f%d", i)
		if change != nil {
			change(&h)
		}
		w, err := z.CreateRaw(&h)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := r.File[0].OpenRaw()
		if err == nil {
			_, err = io.Copy(w, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
