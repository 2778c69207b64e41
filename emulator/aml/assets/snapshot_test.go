package assets_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

const (
	zeroID = "00000000-0000-0000-0000-000000000000"
	unkID  = "99999999-9999-9999-9999-999999999999"
)

type tree map[string]any

func file(name, hash string) tree {
	return tree{"name": name, "type": "File", "timestamp": "2018-10-10T12:00:00.123456", "hash": hash, "children": []any{}}
}

func folder(name string, children ...any) tree {
	if children == nil {
		children = []any{}
	}
	return tree{"name": name, "type": "Directory", "timestamp": "2018-10-10T12:00:00", "hash": "d-" + name, "children": children}
}

type sent struct{ name, body string }

// multi builds the body as the SDK does: the files, then the tree.
func multi(t *testing.T, root any, files ...sent) (io.Reader, http.Header) {
	t.Helper()
	var buf bytes.Buffer
	m := multipart.NewWriter(&buf)
	add := func(h textproto.MIMEHeader, body string) {
		w, err := m.CreatePart(h)
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		disposition := `form-data; name="files"; filename="` + f.name + `"`
		if strings.HasPrefix(f.name, "utf-8''") {
			disposition = `form-data; name="files"; filename*=` + f.name
		}
		add(textproto.MIMEHeader{"Content-Disposition": {disposition}}, f.body)
	}
	if root != nil {
		b, ok := root.(string)
		if !ok {
			j, err := json.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			b = string(j)
		}
		add(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="files"; filename="dirTreeRootFile"`},
			"Content-Type": {"application/json"}, "Dirtreerootfile": {"true"}}, b)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf, http.Header{"Content-Type": {m.FormDataContentType()}}
}

func (b *bench) snapshot(id, parent string, root any, files ...sent) (int, string) {
	b.t.Helper()
	body, h := multi(b.t, root, files...)
	res := b.request("POST", "/content/v1.0/{WS}/snapshots/"+id+"?parentSnapshotId="+parent, body, h)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (b *bench) mustSnapshot(parent string, root any, files ...sent) string {
	b.t.Helper()
	id := uuid.NewString()
	if status, text := b.snapshot(id, parent, root, files...); status != 200 {
		b.t.Fatalf("snapshot: %d %s", status, text)
	}
	return id
}

// unzip reads a snapshot's zip; folders have the content "/".
func (b *bench) unzip(id string) map[string]string {
	b.t.Helper()
	var buf bytes.Buffer
	if err := b.svc.SnapshotZip(b.t.Context(), workspace, id, &buf); err != nil {
		b.t.Fatal(err)
	}
	return entries(b.t, buf.Bytes())
}

func entries(t *testing.T, zipped []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			out[f.Name] = "/"
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name] = string(text)
	}
	return out
}

func TestSnapshotsOfAGrowingProject(t *testing.T) {
	b := newBench(t)
	const latest = "/content/v1.0/{WS}/snapshots/latest/metadata"
	type meta struct {
		ID   string
		Root struct {
			Hash     string
			Children map[string]json.RawMessage
		}
	}
	var m meta
	text := b.want(200, "GET", latest, "", &m)
	if m.ID != zeroID || m.Root.Hash != "" || len(m.Root.Children) != 0 || !strings.Contains(text, `"children":{}`) {
		t.Fatal(text)
	}

	first := b.mustSnapshot(zeroID, folder("", file("train.py", "h1"), folder("sub", file("data.txt", "h2")), folder("empty")),
		sent{"train.py", "print(1)"}, sent{"sub/data.txt", "data"})
	b.want(200, "GET", latest, "", &m)
	if m.ID != first || !strings.Contains(string(m.Root.Children["sub"]), `"children":{"data.txt":{"name":"data.txt","type":"File"`) {
		t.Fatalf("%+v", m)
	}
	want := map[string]string{"train.py": "print(1)", "sub/": "/", "sub/data.txt": "data", "empty/": "/"}
	if got := b.unzip(first); !maps.Equal(got, want) {
		t.Fatalf("%v", got)
	}

	// Changed, removed and unchanged: only the changed file is sent.
	second := b.mustSnapshot(first, folder("", file("train.py", "h3"), folder("sub", file("data.txt", "h2"))), sent{"train.py", "print(2)"})
	want = map[string]string{"train.py": "print(2)", "sub/": "/", "sub/data.txt": "data"}
	if got := b.unzip(second); !maps.Equal(got, want) {
		t.Fatalf("%v", got)
	}
	if got := b.unzip(first)["train.py"]; got != "print(1)" {
		t.Fatalf("the parent changed: %q", got)
	}

	// The answer is the URL in quotes, byte for byte.
	status, text := b.do("GET", "/content/v1.0/{WS}/snapshots/"+second, "")
	if status != 200 || !strings.HasPrefix(text, `"https://wsstorage.blob.core.windows.net/snapshotzips/`+workspace.GUID+"/"+second+".zip?") ||
		!strings.HasSuffix(text, `sig=good"`) || strings.Contains(text, `\u0026`) {
		t.Fatal(status, text)
	}
}

func TestSnapshotContentIsKeptOnce(t *testing.T) {
	b := newBench(t)
	id := b.mustSnapshot(zeroID, folder("", file("a", "1"), file("b", "2")), sent{"a", "same"}, sent{"b", "same"})
	b.mustSnapshot(id, folder("", file("a", "1"), file("b", "2"), file("c", "3")), sent{"c", "same"})
	var contents []string
	for _, n := range b.blobs.names() {
		if strings.HasPrefix(n, "wsstorage/snapshots/") {
			contents = append(contents, n)
		}
	}
	if len(contents) != 1 {
		t.Fatal(contents)
	}
}

func TestSnapshotInSeveralBatches(t *testing.T) {
	b := newBench(t)
	base := b.mustSnapshot(zeroID, folder("", file("f0", "old")), sent{"f0", "old"})
	var nodes []any
	for i := range 1200 {
		nodes = append(nodes, file(fmt.Sprintf("f%d", i), fmt.Sprintf("h%d", i)))
	}
	parent := base
	for from := 0; from < 1200; from += 500 {
		var files []sent
		for i := from; i < min(from+500, 1200); i++ {
			files = append(files, sent{fmt.Sprintf("f%d", i), fmt.Sprint(i)})
		}
		if from == 500 {
			// Between batches: the half-sent project is neither the latest nor to be had.
			var m struct{ ID string }
			b.want(200, "GET", "/content/v1.0/{WS}/snapshots/latest/metadata", "", &m)
			if m.ID != base {
				t.Fatalf("latest is %s", m.ID)
			}
			text := b.want(409, "GET", "/content/v1.0/{WS}/snapshots/"+parent, "", nil)
			if !strings.Contains(text, "700 of its files") {
				t.Fatal(text)
			}
		}
		parent = b.mustSnapshot(parent, folder("", nodes...), files...)
	}
	got := b.unzip(parent)
	if len(got) != 1200 || got["f0"] != "0" || got["f1199"] != "1199" {
		t.Fatalf("%d files", len(got))
	}
}

func TestSnapshotRefusals(t *testing.T) {
	b := newBench(t)
	known := b.mustSnapshot(zeroID, folder("", file("a", "1")), sent{"a", "x"})
	before := b.blobs.names()
	docs := func() int {
		d, err := b.st.List(t.Context(), "assets/", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	records := docs()
	deep := folder("x")
	for range 300 {
		deep = folder("x", deep)
	}
	bad := func(names ...any) any { return folder("", names...) }
	var many []sent
	for i := range 2001 {
		many = append(many, sent{fmt.Sprintf("f%d", i), "x"})
	}
	rows := []struct {
		name   string
		id     string
		parent string
		root   any
		files  []sent
		status int
		has    string
	}{
		{"unknown parent", "", unkID, bad(file("n", "1")), []sent{{"n", "new"}}, 404, unkID},
		{"no GUID", "abc", zeroID, bad(), nil, 400, "abc"},
		{"the zero GUID", zeroID, zeroID, bad(), nil, 400, "zero GUID"},
		{"parent is no GUID", "", "abc", bad(), nil, 400, "parentSnapshotId"},
		{"id taken", known, zeroID, bad(file("n", "1")), []sent{{"n", "new"}}, 409, known},
		{"no tree", "", zeroID, nil, []sent{{"n", "new"}}, 400, "dirTreeRootFile"},
		{"tree is no JSON", "", zeroID, "{", []sent{{"n", "new"}}, 400, "not valid JSON"},
		{"tree is null", "", zeroID, "null", nil, 400, "dirTreeRootFile"},
		{"root is a file", "", zeroID, file("", "1"), nil, 400, "root"},
		{"two dots in the tree", "", zeroID, bad(file("..", "1")), nil, 400, "leaves its folder"},
		{"slash in the tree", "", zeroID, bad(file("../x", "1")), nil, 400, "../x"},
		{"absolute in the tree", "", zeroID, bad(file("/abs", "1")), nil, 400, "/abs"},
		{"drive in the tree", "", zeroID, bad(file("C:", "1")), nil, 400, "absolute"},
		{"backslash in the tree", "", zeroID, bad(file(`C:\x`, "1")), nil, 400, "separator"},
		{"empty name in the tree", "", zeroID, bad(file("", "1")), nil, 400, "empty"},
		{"a name twice", "", zeroID, bad(file("n", "1"), folder("n")), nil, 400, "twice"},
		{"a symlink", "", zeroID, bad(tree{"name": "l", "type": "Symlink", "hash": "1", "children": []any{}}), nil, 400, "Symlink"},
		{"a file with children", "", zeroID, bad(tree{"name": "f", "type": "File", "hash": "1", "children": []any{file("x", "1")}}), nil, 400, "children"},
		{"too deep", "", zeroID, bad(deep), nil, 400, "deeper"},
		{"two dots sent", "", zeroID, bad(file("n", "1")), []sent{{"n", "new"}, {"../x", "evil"}}, 400, "../x"},
		{"absolute sent", "", zeroID, bad(file("n", "1")), []sent{{"n", "new"}, {"/abs", "evil"}}, 400, "/abs"},
		{"drive sent", "", zeroID, bad(file("n", "1")), []sent{{"n", "new"}, {"utf-8''C%3A%5Cx", "evil"}}, 400, "absolute"},
		{"sent twice", "", zeroID, bad(file("n", "1")), []sent{{"n", "new"}, {"n", "newer"}}, 400, "twice"},
		{"sent and not in the tree", "", zeroID, bad(file("n", "1")), []sent{{"n", "new"}, {"m", "evil"}}, 400, "'m' is not in the directory tree"},
		{"too many files", "", zeroID, bad(), many, 413, "2000"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.id == "" {
				row.id = uuid.NewString()
			}
			status, text := b.snapshot(row.id, row.parent, row.root, row.files...)
			if status != row.status || !strings.Contains(text, row.has) || !strings.Contains(text, `"code":"UserError"`) {
				t.Fatalf("%d %s", status, text)
			}
			if after := b.blobs.names(); !slices.Equal(before, after) {
				t.Fatalf("stored: %v", after)
			}
			if n := docs(); n != records {
				t.Fatalf("%d records, want %d", n, records)
			}
		})
	}
	t.Run("not multipart", func(t *testing.T) {
		if status, text := b.do("POST", "/content/v1.0/{WS}/snapshots/"+unkID, "x"); status != 400 {
			t.Fatal(status, text)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		body, h := multi(t, bad(file("n", "1")), sent{"n", strings.Repeat("x", 1000)})
		res := b.request("POST", "/content/v1.0/{WS}/snapshots/"+unkID, io.LimitReader(body, 500), h)
		if res.StatusCode != 400 {
			t.Fatal(res.StatusCode)
		}
	})
	t.Run("unknown snapshot", func(t *testing.T) {
		b.want(404, "GET", "/content/v1.0/{WS}/snapshots/"+unkID, "", nil)
		b.want(404, "GET", "/content/v1.0/{WS}/snapshots/"+unkID+"/metadata", "", nil)
		b.want(400, "GET", "/content/v1.0/{WS}/snapshots/abc", "", nil)
		if err := b.svc.SnapshotZip(t.Context(), workspace, unkID, io.Discard); !isStatus(err, 404) {
			t.Fatal(err)
		}
		if err := b.svc.SnapshotZip(t.Context(), other, known, io.Discard); !isStatus(err, 404) {
			t.Fatalf("another workspace's snapshot: %v", err)
		}
	})
	t.Run("the same again", func(t *testing.T) {
		if status, text := b.snapshot(known, zeroID, folder("", file("a", "1")), sent{"a", "x"}); status != 200 {
			t.Fatal(status, text)
		}
	})
}

func TestSnapshotTakesNamesOfEverySystem(t *testing.T) {
	b := newBench(t)
	id := b.mustSnapshot(zeroID, folder("", folder("sub", file("ü b.txt", "1"), file("win.txt", "2"), file("raw é.txt", "3"))),
		sent{"utf-8''sub%2F%C3%BC%20b.txt", "u"}, sent{"utf-8''sub%5Cwin.txt", "w"}, sent{"sub/raw é.txt", "r"})
	want := map[string]string{"sub/": "/", "sub/ü b.txt": "u", "sub/win.txt": "w", "sub/raw é.txt": "r"}
	if got := b.unzip(id); !maps.Equal(got, want) {
		t.Fatalf("%v", got)
	}
}

func TestSnapshotSizeLimitCountsTheParent(t *testing.T) {
	b := newBench(t)
	b.blobs.discard = true
	const boundary = "frontier"
	send := func(id, parent, name string, size int64, root any) (int, string) {
		tree, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		body := io.MultiReader(
			strings.NewReader("--"+boundary+"\r\nContent-Disposition: form-data; name=\"files\"; filename=\""+name+"\"\r\n\r\n"),
			io.LimitReader(zeros{}, size),
			strings.NewReader("\r\n--"+boundary+"\r\nContent-Disposition: form-data; name=\"files\"; filename=\"dirTreeRootFile\"\r\ndirTreeRootFile: true\r\n\r\n"),
			bytes.NewReader(tree), strings.NewReader("\r\n--"+boundary+"--\r\n"))
		res := b.request("POST", "/content/v1.0/{WS}/snapshots/"+id+"?parentSnapshotId="+parent, body,
			http.Header{"Content-Type": {"multipart/form-data; boundary=" + boundary}})
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	first := uuid.NewString()
	used := allocated(func() {
		if status, text := send(first, zeroID, "a", 200<<20, folder("", file("a", "1"))); status != 200 {
			t.Fatal(status, text)
		}
	})
	if used > 16<<20 {
		t.Errorf("a file of 200 MB cost %d MB of memory", used>>20)
	}
	before := b.blobs.names()
	for _, size := range []int64{101 << 20, 301 << 20} {
		status, text := send(uuid.NewString(), first, "b", size, folder("", file("a", "1"), file("b", "2")))
		if status != 413 || !strings.Contains(text, "300 MB") {
			t.Fatal(status, text)
		}
	}
	if after := b.blobs.names(); !slices.Equal(before, after) {
		t.Fatal(after)
	}
}

func TestContentIsStreamed(t *testing.T) {
	b := newBench(t)
	b.blobs.discard = true
	for i, query := range []string{"", "?append=true", "?append=true&index=0"} {
		used := allocated(func() {
			res := b.request("POST", fmt.Sprintf("{A}/content/LocalUpload/c/big%d%s", i, query), io.LimitReader(zeros{}, 256<<20), nil)
			if res.StatusCode != 200 {
				t.Fatal(res.StatusCode)
			}
		})
		if used > 16<<20 {
			t.Errorf("%q: 256 MB cost %d MB of memory", query, used>>20)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// allocated is how many bytes f took from the heap, given back or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestZipIsBuiltOnce(t *testing.T) {
	b := newBench(t)
	id := b.mustSnapshot(zeroID, folder("", file("a", "1")), sent{"a", "x"})
	var wg sync.WaitGroup
	zips := make([]bytes.Buffer, 8)
	b.blobs.putBytes = 0
	for i := range zips {
		wg.Go(func() {
			if err := b.svc.SnapshotZip(t.Context(), workspace, id, &zips[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if int64(zips[0].Len()) != b.blobs.putBytes {
		t.Fatalf("%d bytes were put for a zip of %d", b.blobs.putBytes, zips[0].Len())
	}
}

func TestSnapshotSurvivesRestart(t *testing.T) {
	blobs, path := newMemory(), dbPath(t)
	b := openBench(t, path, blobs)
	id := b.mustSnapshot(zeroID, folder("", file("a", "1")), sent{"a", "x"})
	if err := b.st.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBench(t, path, blobs)
	next := b.mustSnapshot(id, folder("", file("a", "1"), file("b", "2")), sent{"b", "y"})
	if got := b.unzip(next); !maps.Equal(got, map[string]string{"a": "x", "b": "y"}) {
		t.Fatal(got)
	}
}
