package blob_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// names lists the blobs and prefixes of an answer and its marker.
func names(t *testing.T, body string) (string, string) {
	t.Helper()
	var x struct {
		Blobs struct {
			Any []struct {
				Name struct {
					Text    string `xml:",chardata"`
					Encoded bool   `xml:"Encoded,attr"`
				}
			} `xml:",any"`
		}
		NextMarker string
	}
	if err := xml.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &x); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var out []string
	for _, e := range x.Blobs.Any {
		n := e.Name.Text
		if e.Name.Encoded {
			var err error
			if n, err = url.PathUnescape(n); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, n)
	}
	return strings.Join(out, " "), x.NextMarker
}

func TestListBlobs(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	for _, n := range []string{"a", "a-b", "a/1", "a/2", "a/b/3", "a0", "b", "ü", "𝛼/x"} {
		put(t, w, "/data/"+url.PathEscape(n), n, "x-ms-meta-of", "m")
	}
	w.must(201, "PUT", "/data/draft?comp=block&blockid=MQ%3D%3D", "x", nil)
	base := "/data?restype=container&comp=list"
	for q, want := range map[string]string{
		"":                           "a a-b a/1 a/2 a/b/3 a0 b ü 𝛼/x",
		"&delimiter=/":               "a a-b a/ a0 b ü 𝛼/",
		"&prefix=a/&delimiter=/":     "a/1 a/2 a/b/",
		"&prefix=a/":                 "a/1 a/2 a/b/3",
		"&prefix=a&delimiter=-":      "a a- a/1 a/2 a/b/3 a0",
		"&prefix=zz":                 "",
		"&include=uncommittedblobs":  "a a-b a/1 a/2 a/b/3 a0 b draft ü 𝛼/x",
		"&include=snapshots,copy":    "a a-b a/1 a/2 a/b/3 a0 b ü 𝛼/x",
		"&prefix=%C3%BC&delimiter=/": "ü",
	} {
		if got, next := names(t, w.must(200, "GET", base+q, "", nil).body); got != want || next != "" {
			t.Errorf("list %s = %q next %q, want %q", q, got, next, want)
		}
		for size := 1; size <= 3; size++ {
			var all []string
			marker := ""
			for range 20 {
				a := w.must(200, "GET", fmt.Sprintf("%s%s&maxresults=%d&marker=%s", base, q, size, url.QueryEscape(marker)), "", nil)
				got, next := names(t, a.body)
				if got != "" {
					all = append(all, got)
				}
				if n := len(strings.Fields(got)); n > size {
					t.Errorf("page of %d has %d", size, n)
				}
				if marker = next; marker == "" {
					break
				}
			}
			if got := strings.Join(all, " "); got != want {
				t.Errorf("pages of %d of %s = %q, want %q", size, q, got, want)
			}
		}
	}
	if a := w.must(200, "GET", base+"&include=metadata&prefix=b", "", nil); !strings.Contains(a.body, "<Metadata><of>m</of></Metadata>") || !strings.Contains(a.body, `ContainerName="data"`) {
		t.Error(a.body)
	}
	for _, q := range []string{"&include=everything", "&maxresults=-1", "&marker=x"} {
		if a := w.owner("GET", base+q, "", nil); a.status != 400 {
			t.Errorf("list %s = %d", q, a.status)
		}
	}
	if a := w.owner("GET", "/none?restype=container&comp=list", "", nil); a.code() != "ContainerNotFound" {
		t.Errorf("absent = %s", a.code())
	}
}

// TestLongList has more under one prefix than the store gives at once.
func TestLongList(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	for i := range 1100 {
		if _, err := w.s.Put(ctx, acct, "data", fmt.Sprintf("in/%04d", i), "", strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	put(t, w, "/data/last", "x")
	if got, _ := names(t, w.must(200, "GET", "/data?restype=container&comp=list&delimiter=/", "", nil).body); got != "in/ last" {
		t.Errorf("by delimiter = %s", got)
	}
	if got, _ := names(t, w.must(200, "GET", "/data?restype=container&comp=list", "", nil).body); len(strings.Fields(got)) != 1101 {
		t.Errorf("flat = %d", len(strings.Fields(got)))
	}
	list, next, err := w.s.List(ctx, acct, "data", "in/", "in/0500", 10)
	if err != nil || len(list) != 10 || list[0].Name != "in/0501" || next != "in/0510" {
		t.Errorf("List = %v %q %v", list, next, err)
	}
}

// TestNames puts blobs under names that would leave the folder or break XML, and finds them and nothing else.
func TestNames(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	good := []string{"../../../../etc/passwd", "..", "a/../b", "/lead", "a//b", "trail/", "c:\\windows", "\x01\x02", "line\nbreak", " space ", "%41", "ß", "日本語/ファイル", "a<b>&\"'", "\ufffe", strings.Repeat("x", 1024)}
	for _, n := range good {
		put(t, w, "/data/"+url.PathEscape(n), "of "+n)
	}
	for _, n := range good {
		if a := w.must(200, "GET", "/data/"+url.PathEscape(n), "", nil); a.body != "of "+n {
			t.Errorf("%q = %q", n, a.body)
		}
	}
	list, _, err := w.s.List(context.Background(), acct, "data", "", "", 0)
	if err != nil || len(list) != len(good) {
		t.Errorf("List = %d %v", len(list), err)
	}
	got, _ := names(t, w.must(200, "GET", "/data?restype=container&comp=list&prefix=%01", "", nil).body)
	if got != "\x01\x02" {
		t.Errorf("encoded = %q", got)
	}
	for n, code := range map[string]string{strings.Repeat("x", 1025): "OutOfRangeInput", strings.Repeat("a/", 255) + "a": "OutOfRangeInput", "nul%00": "InvalidUri", "bad%ff": "InvalidUri", "end%F4%8F%BF%BF": "InvalidUri"} {
		if a := w.owner("PUT", "/data/"+n, "", block); a.status != 400 || a.code() != code {
			t.Errorf("%.20s = %d %s, want %s", n, a.status, a.code(), code)
		}
	}
	err = filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "passwd") {
			t.Errorf("a name is on the disk: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	etag := put(t, w, "/data/x", "one").header.Get("ETag")
	const before, at, after = "Mon, 15 Oct 2018 11:59:59 GMT", "Mon, 15 Oct 2018 12:00:00 GMT", "Mon, 15 Oct 2018 12:00:01 GMT"
	get := func(pairs ...string) answer { return w.owner("GET", "/data/x", "", hdr(pairs...)) }
	for _, x := range []struct {
		name   string
		got    answer
		status int
	}{
		{"match", get("If-Match", etag), 200},
		{"match unquoted", get("If-Match", strings.Trim(etag, `"`)), 200},
		{"match star", get("If-Match", "*"), 200},
		{"match one of", get("If-Match", `"0x1", `+etag), 200},
		{"match other", get("If-Match", `"0x1"`), 412},
		{"none match other", get("If-None-Match", `"0x1"`), 200},
		{"none match", get("If-None-Match", etag), 304},
		{"modified since before", get("If-Modified-Since", before), 200},
		{"modified since", get("If-Modified-Since", at), 304},
		{"unmodified since", get("If-Unmodified-Since", at), 200},
		{"unmodified since after", get("If-Unmodified-Since", after), 200},
		{"unmodified since before", get("If-Unmodified-Since", before), 412},
		{"etag over date", get("If-None-Match", `"0x1"`, "If-Modified-Since", at), 200},
		{"odd date", get("If-Modified-Since", "yesterday"), 400},
		{"put none match star", w.owner("PUT", "/data/x", "two", hdr("x-ms-blob-type", "BlockBlob", "If-None-Match", "*")), 409},
		{"put match absent", w.owner("PUT", "/data/y", "two", hdr("x-ms-blob-type", "BlockBlob", "If-Match", etag)), 412},
		{"put match other", w.owner("PUT", "/data/x", "two", hdr("x-ms-blob-type", "BlockBlob", "If-Match", `"0x1"`)), 412},
		{"delete unmodified since before", w.owner("DELETE", "/data/x", "", hdr("If-Unmodified-Since", before)), 412},
		{"metadata none match", w.owner("PUT", "/data/x?comp=metadata", "", hdr("If-None-Match", etag)), 412},
		{"commit none match star", w.owner("PUT", "/data/x?comp=blocklist", "<BlockList/>", hdr("If-None-Match", "*")), 409},
		{"still", get("If-Match", etag), 200},
		{"put match", w.owner("PUT", "/data/x", "two", hdr("x-ms-blob-type", "BlockBlob", "If-Match", etag)), 201},
		{"etag of the past", get("If-Match", etag), 412},
	} {
		if x.got.status != x.status {
			t.Errorf("%s = %d %s, want %d", x.name, x.got.status, x.got.code(), x.status)
		}
	}
	a := w.owner("HEAD", "/data/x", "", hdr("If-None-Match", "*"))
	if a.status != 304 || a.header.Get("ETag") == "" || a.body != "" {
		t.Errorf("304 = %d %v", a.status, a.header)
	}
}

func TestCopy(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, c := range []string{"from", "into"} {
		w.must(201, "PUT", "/"+c+"?restype=container", "", nil)
	}
	put(t, w, "/from/a%20b", "hello", "Content-Type", "text/x", "x-ms-meta-k", "v")
	w.must(201, "PUT", "/from/blocks?comp=block&blockid=MQ%3D%3D", "abc", nil)
	w.must(201, "PUT", "/from/blocks?comp=block&blockid=Mg%3D%3D", "def", nil)
	w.must(201, "PUT", "/from/blocks?comp=blocklist", "<BlockList><Latest>MQ==</Latest><Latest>Mg==</Latest></BlockList>", nil)
	sas, err := w.s.SAS(ctx, acct, "from", "a b", "r", start.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	write, err := w.s.SAS(ctx, acct, "from", "a b", "w", start.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.s.EnsureAccount(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	const host = "https://lazuli.blob.core.windows.net"
	src := func(u string, pairs ...string) http.Header {
		return hdr(append([]string{"x-ms-copy-source", u}, pairs...)...)
	}
	w.play(t, []exchange{
		{name: "copy", method: "PUT", path: "/into/a", header: src(host + "/from/a%20b"), status: 202, want: map[string]string{"x-ms-copy-status": "success"}},
		{name: "copied", method: "GET", path: "/into/a", status: 200, exact: "hello", want: map[string]string{"Content-Type": "text/x", "x-ms-meta-k": "v", "x-ms-copy-source": host + "/from/a%20b", "x-ms-copy-progress": "5/5"}},
		{name: "copy by sas with metadata", method: "PUT", path: "/into/b", header: src(sas, "x-ms-meta-n", "1"), status: 202},
		{name: "copied by sas", method: "GET", path: "/into/b", status: 200, exact: "hello", want: map[string]string{"x-ms-meta-k": "-", "x-ms-meta-n": "1", "x-ms-copy-source": host + "/from/a%20b"}},
		{name: "copy by a sas to write", method: "PUT", path: "/into/c", header: src(write), status: 403, code: "CannotVerifyCopySource"},
		{name: "copy by a forged sas", method: "PUT", path: "/into/c", header: src(sas + "x"), status: 403, code: "CannotVerifyCopySource"},
		{name: "copy of blocks", method: "PUT", path: "/into/blocks", header: src(host + "/from/blocks"), status: 202},
		{name: "delete source", method: "DELETE", path: "/from/blocks", status: 202},
		{name: "copied blocks", method: "GET", path: "/into/blocks", status: 200, exact: "abcdef"},
		{name: "block list of the copy", method: "GET", path: "/into/blocks?comp=blocklist", status: 200, holds: []string{"<Name>MQ==</Name><Size>3</Size>"}},
		{name: "copy onto itself", method: "PUT", path: "/into/blocks", header: src(host + "/into/blocks"), status: 202},
		{name: "same", method: "GET", path: "/into/blocks", status: 200, exact: "abcdef"},
		{name: "copy of nothing", method: "PUT", path: "/into/c", header: src(host + "/from/none"), status: 404, code: "CannotVerifyCopySource"},
		{name: "copy from elsewhere", method: "PUT", path: "/into/c", header: src("https://example.com/from/none"), status: 404, code: "CannotVerifyCopySource"},
		{name: "copy of no url", method: "PUT", path: "/into/c", header: src("from/none"), status: 400, code: "InvalidHeaderValue"},
		{name: "copy if none", method: "PUT", path: "/into/a", header: src(host+"/from/a%20b", "If-None-Match", "*"), status: 409, code: "BlobAlreadyExists"},
		{name: "copy if source is", method: "PUT", path: "/into/a", header: src(host+"/from/a%20b", "x-ms-source-if-match", `"0x1"`), status: 412, code: "ConditionNotMet"},
		{name: "put from url", method: "PUT", path: "/into/d", header: src(sas, "x-ms-blob-type", "BlockBlob", "x-ms-blob-content-type", "text/y"), status: 201},
		{name: "put from url is", method: "GET", path: "/into/d", status: 200, exact: "hello", want: map[string]string{"Content-Type": "text/y", "x-ms-copy-id": "-"}},
		{name: "block from url", method: "PUT", path: "/into/e?comp=block&blockid=MQ%3D%3D", header: src(sas, "x-ms-source-range", "bytes=1-2"), status: 201},
		{name: "commit it", method: "PUT", path: "/into/e?comp=blocklist", body: "<BlockList><Latest>MQ==</Latest></BlockList>", status: 201},
		{name: "block from url is", method: "GET", path: "/into/e", status: 200, exact: "el"},
		{name: "abort", method: "PUT", path: "/into/a?comp=copy&copyid=1", header: hdr("x-ms-copy-action", "abort"), status: 409, code: "NoPendingCopyOperation"},
	})
	keys, err := w.s.Keys(ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	r := w.request("PUT", "/mine?restype=container", "", hdr("x-ms-version", "2018-03-28"))
	r.Host = "other.blob.core.windows.net"
	signShared(r, "other", keys[0], 0, start)
	if a := w.send(r); a.status != 201 {
		t.Fatal(a.body)
	}
	r = w.request("PUT", "/mine/x", "", src(host+"/from/a%20b", "x-ms-version", "2018-03-28"))
	r.Host = "other.blob.core.windows.net"
	signShared(r, "other", keys[0], 0, start)
	if a := w.send(r); a.status != 404 || a.code() != "CannotVerifyCopySource" {
		t.Errorf("copy of another account's private blob = %d %s", a.status, a.code())
	}
}
