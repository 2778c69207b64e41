package livy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestBesideRealLivy sends the same to a real Livy server, whose URL
// LAZULITE_LIVY gives, and wants the same answers. The server has to be 0.7.1
// with CSRF protection, and to take files of the folder LAZULITE_LIVY_FILES.
func TestBesideRealLivy(t *testing.T) {
	url, files := os.Getenv("LAZULITE_LIVY"), os.Getenv("LAZULITE_LIVY_FILES")
	if url == "" || files == "" {
		t.Skip("no real Livy server at hand: LAZULITE_LIVY names one")
	}
	remote, local := newClient(t, "wasb://data@acct.blob.core.windows.net"), newClient(t, "file:///")
	ask := func(line, body string) (int, any) {
		method, path, _ := strings.Cut(line, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Requested-By", "test")
		r.Header.Set("Content-Type", "application/json")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Body.Close() }()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			doc = string(b)
		}
		return a.StatusCode, doc
	}
	for _, row := range []struct{ line, body string }{
		{"POST /batches", `{}`},
		{"POST /batches", `{"file":"pi.py"}`},
		{"POST /batches", `{"file":"file:///etc/passwd"}`},
		{"GET /batches/70007", ``},
		{"GET /batches/70007/state", ``},
		{"GET /batches/70007/log", ``},
		{"DELETE /batches/70007", ``},
		{"GET /batches/x", ``},
		{"GET /batches?size=many", ``},
		{"GET /sessions/70009/statements", ``},
		{"GET /sessions", ``},
	} {
		status, want := ask(row.line, row.body)
		got, doc := remote.do(row.line, row.body)
		if got != status || !reflect.DeepEqual(any(doc), want) {
			t.Errorf("%s %s: %d %v, real Livy says %d %v", row.line, row.body, got, doc, status, want)
		}
	}
	// Bodies that Jackson refuses: the same status, and a bare text that begins alike.
	for _, body := range []string{``, `{"file":"/x.py","colour":1}`} {
		status, want := ask("POST /batches", body)
		got, doc := remote.do("POST /batches", body)
		text, _ := doc[""].(string)
		if real, _ := want.(string); got != status || text == "" || !strings.HasPrefix(real, text) {
			t.Errorf("%q: %d %q, real Livy says %d %v", body, got, text, status, want)
		}
	}
	// Two batches, to their ends.
	for name, script := range map[string]string{"good": "print('hello')", "bad": "import sys; print('half'); sys.exit(3)"} {
		path := files + "/" + name + ".py"
		if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		body := `{"file":"` + path + `"}`
		status, want := ask("POST /batches", body)
		created, _ := want.(map[string]any)
		got, doc := local.do("POST /batches", body)
		if got != status || created == nil {
			t.Fatalf("%s: %d %v, real Livy says %d %v", name, got, doc, status, want)
		}
		for _, k := range []string{"name", "owner", "proxyUser", "state", "appId", "appInfo"} {
			if k != "state" && k != "appId" && !reflect.DeepEqual(doc[k], created[k]) {
				t.Errorf("%s: %s is %v, real Livy says %v", name, k, doc[k], created[k])
			}
			if _, ok := doc[k]; !ok {
				t.Errorf("%s lacks %s", name, k)
			}
		}
		realPath := "/batches/" + quoted(created["id"])
		deadline := time.Now().Add(2 * time.Minute)
		var state any
		for state = "starting"; state == "starting" || state == "running"; {
			_, s := ask("GET "+realPath+"/state", "")
			state = s.(map[string]any)["state"]
			if time.Now().After(deadline) {
				t.Fatal("real Livy's batch does not end")
			}
		}
		mine := local.until("/batches/"+quoted(doc["id"]), "success", "dead")
		if mine["state"] != state {
			t.Errorf("%s ended %v, at real Livy %v", name, mine["state"], state)
		}
		if s, d := ask("DELETE "+realPath, ""); s != 200 || !reflect.DeepEqual(d, any(local.want(200, "DELETE /batches/"+quoted(doc["id"]), ""))) {
			t.Errorf("deleting: %d %v", s, d)
		}
	}
}
