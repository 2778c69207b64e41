package assets_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"lazulite.dev/emulator/aml/plane"
)

func TestArtifactExchanges(t *testing.T) {
	b := newBench(t)
	b.upload("ExperimentRun", "r1", "./outputs/m.txt", "weights")
	b.upload("ExperimentRun", "r1", "outputs/model/a.bin", "a")
	b.upload("ExperimentRun", "r1", "outputs/model2/b.bin", "b")
	long := strings.Repeat("x", 1025)
	b.run([]exchange{
		{"batch keeps the keys as sent", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"./outputs/n.txt"}]}`, 200,
			[]string{`"artifacts":{"./outputs/n.txt":{"artifactId":"ExperimentRun/r1/outputs/n.txt"`, `"path":"outputs/n.txt"`, `"errors":{}`,
				`"createdTime":"2018-10-10T12:00:00.0000000Z"`, `wsstorage.blob.core.windows.net/azureml/ExperimentRun/r1/outputs/n.txt?`, `sp=rcw`}, nil},
		{"batch again", "POST", "{A}/batch/metadata/experimentrun/r1", `{"paths":[{"path":"outputs/n.txt"},{"path":"./outputs/n.txt"}]}`, 200,
			[]string{`"outputs/n.txt":{"artifactId":"ExperimentRun/r1/outputs/n.txt"`, `"./outputs/n.txt":{`}, nil},
		{"create one", "POST", "{A}/metadata", `{"origin":"LocalUpload","container":"c","path":"f.tar.gz"}`, 200, []string{`"artifactId":"LocalUpload/c/f.tar.gz"`}, nil},
		{"metadata", "GET", "{A}/metadata/ExperimentRun/r1/outputs/n.txt", "", 200, []string{`"artifactId":"ExperimentRun/r1/outputs/n.txt"`}, nil},
		{"list has what was uploaded", "GET", "{A}/origins/ExperimentRun/containers/r1", "", 200,
			[]string{`"path":"outputs/m.txt"`, `"continuationToken":null`, `"count":3`}, []string{"n.txt"}},
		{"list of nothing", "GET", "{A}/origins/ExperimentRun/containers/none", "", 200, []string{`{"value":[],"continuationToken":null,"count":0}`}, nil},
		{"list below a path", "GET", "{A}/origins/ExperimentRun/containers/r1/outputs/model", "", 200, []string{`"count":1`, "a.bin"}, nil},
		{"contentinfo", "GET", "{A}/contentinfo/ExperimentRun/r1/outputs/m.txt", "", 200, []string{`"path":"outputs/m.txt"`, "sp=r"}, []string{"sp=rcw"}},
		{"contentinfo with %2F", "GET", "{A}/contentinfo/ExperimentRun/r1/outputs%2Fm.txt", "", 200, []string{`"path":"outputs/m.txt"`}, nil},
		{"prefix is a file", "GET", "{A}/prefix/contentinfo/ExperimentRun/r1/outputs/m.txt", "", 200, []string{`"count":1`, "m.txt"}, nil},
		{"prefix is a folder", "GET", "{A}/prefix/contentinfo/ExperimentRun/r1/outputs/model/", "", 200, []string{`"count":1`, "model/a.bin"}, []string{"model2"}},
		{"content", "GET", "{A}/content/ExperimentRun/r1/outputs/m.txt", "", 200, []string{"weights"}, nil},
		{"content put", "POST", "{A}/content/ExperimentRun/r1/put.txt", "whole", 200, []string{`"path":"put.txt"`}, nil},
		{"content put again", "POST", "{A}/content/ExperimentRun/r1/put.txt?append=false", "new", 200, nil, nil},
		{"content of the second", "GET", "{A}/content/ExperimentRun/r1/put.txt", "", 200, []string{"new"}, []string{"whole"}},
		{"append to what was put", "POST", "{A}/content/ExperimentRun/r1/put.txt?append=true", "x", 409, []string{"ExperimentRun/r1/put.txt", "Conflict"}, nil},

		{"never registered", "GET", "{A}/contentinfo/ExperimentRun/r1/no.txt", "", 404, []string{`"code":"UserError"`, "ExperimentRun/r1/no.txt", `"innerError":{"code":"NotFound"`}, nil},
		{"never uploaded", "GET", "{A}/contentinfo/ExperimentRun/r1/outputs/n.txt", "", 404, []string{"outputs/n.txt"}, nil},
		{"never uploaded content", "GET", "{A}/content/ExperimentRun/r1/outputs/n.txt", "", 404, []string{"outputs/n.txt"}, nil},
		{"no metadata", "GET", "{A}/metadata/ExperimentRun/r1/no.txt", "", 404, []string{"no.txt"}, nil},
		{"delete nothing", "DELETE", "{A}/metadata/ExperimentRun/r1/no.txt", "", 404, []string{"no.txt"}, nil},
		{"unknown origin", "GET", "{A}/origins/Elsewhere/containers/r1", "", 400, []string{"Elsewhere", `"target":"origin"`}, nil},
		{"traversal", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"ok"},{"path":"a/../../r2/x"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "a/../../r2/x", `"target":"paths[1].path"`}, nil},
		{"and nothing of it was registered", "GET", "{A}/metadata/ExperimentRun/r1/ok", "", 404, nil, nil},
		{"absolute becomes relative", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"/tmp/p.png"}]}`, 200, []string{`"/tmp/p.png":{`, `"artifactId":"ExperimentRun/r1/tmp/p.png"`, `"errors":{}`}, nil},
		{"backslash", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"a\\b"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, `a\\b`, "backslash"}, nil},
		{"empty path", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":""}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "empty"}, nil},
		{"a dot", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"./."}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "names no file"}, nil},
		{"a folder", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"a/"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "folder"}, nil},
		{"too long", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"` + long + `"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "1024", "xxxx"}, nil},
		{"too long with its container", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"` + long[:1020] + `"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "1024", "xxxx"}, nil},
		{"too deep", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"` + strings.Repeat("a/", 300) + `b"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "folders"}, nil},
		{"NUL", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":[{"path":"a\u0000b"}]}`, 200, []string{`"artifacts":{},`, `"errors":{"`, `"error":{"code":"UserError"`, "control"}, nil},
		{"encoded traversal", "POST", "{A}/content/ExperimentRun/r1/a%2F..%2F..%2Fb", "x", 400, []string{"a/../../b"}, nil},
		{"container with a slash", "POST", "{A}/batch/metadata/ExperimentRun/a%2Fb", `{"paths":[{"path":"x"}]}`, 400, []string{`"target":"container"`}, nil},
		{"container of dots", "POST", "{A}/metadata", `{"origin":"LocalUpload","container":"..","path":"f"}`, 400, []string{`"target":"container"`}, nil},
		{"no container", "POST", "{A}/metadata", `{"origin":"LocalUpload","path":"f"}`, 400, []string{`"target":"container"`}, nil},
		{"no paths", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{}`, 400, []string{`"target":"paths"`}, nil},
		{"wrong type", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{"paths":"x"}`, 400, []string{"paths"}, nil},
		{"bad JSON", "POST", "{A}/batch/metadata/ExperimentRun/r1", `{`, 400, []string{"not valid JSON"}, nil},
		{"append is no boolean", "POST", "{A}/content/ExperimentRun/r1/x?append=maybe", "x", 400, []string{`"target":"append"`}, nil},
		{"index is no number", "POST", "{A}/content/ExperimentRun/r1/x?append=true&index=-1", "x", 400, []string{`"target":"index"`}, nil},
		{"method", "PUT", "{A}/metadata", "", 405, []string{"MethodNotAllowed"}, nil},
	})
}

func TestBatchTakes500(t *testing.T) {
	b := newBench(t)
	body := func(n int) string {
		var p []string
		for i := range n {
			p = append(p, fmt.Sprintf(`{"path":"f%d"}`, i))
		}
		return `{"paths":[` + strings.Join(p, ",") + `]}`
	}
	var out struct{ Artifacts map[string]any }
	b.want(200, "POST", "{A}/batch/metadata/ExperimentRun/r", body(500), &out)
	if len(out.Artifacts) != 500 {
		t.Fatalf("%d artifacts", len(out.Artifacts))
	}
	text := b.want(400, "POST", "{A}/batch/metadata/ExperimentRun/big", body(501), nil)
	if !strings.Contains(text, "501") {
		t.Fatal(text)
	}
}

func TestContentRange(t *testing.T) {
	b := newBench(t)
	b.want(200, "POST", "{A}/content/ExperimentRun/r/f.txt", "0123456789", nil)
	res := b.request("GET", "{A}/content/ExperimentRun/r/f.txt", nil, http.Header{"Range": {"bytes=3-5"}})
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != 206 || string(text) != "345" || res.Header.Get("Content-Range") != "bytes 3-5/10" {
		t.Fatalf("%d %q %v", res.StatusCode, text, res.Header)
	}
	res = b.request("GET", "{A}/content/ExperimentRun/r/f.txt", nil, http.Header{"Range": {"bytes=20-"}})
	if res.StatusCode != 416 {
		t.Fatalf("beyond the end: %d", res.StatusCode)
	}
	res = b.request("HEAD", "{A}/content/ExperimentRun/r/f.txt", nil, nil)
	if res.StatusCode != 200 || res.Header.Get("Content-Length") != "10" {
		t.Fatalf("HEAD: %d %v", res.StatusCode, res.Header)
	}
}

func TestIndexedAppend(t *testing.T) {
	b := newBench(t)
	const at = "{A}/content/ExperimentRun/r/azureml-logs/80_driver_log.txt?append=true"
	content := func() string {
		_, text := b.do("GET", "{A}/content/ExperimentRun/r/azureml-logs/80_driver_log.txt", "")
		return text
	}
	steps := []struct {
		index, body string
		status      int
		want        string
	}{
		{"0", "a", 200, "a"},
		{"1", "b", 200, "ab"},
		{"1", "b", 200, "ab"},
		{"0", "a", 200, "ab"},
		{"3", "d", 409, "ab"},
		{"2", "c", 200, "abc"},
		{"3", "d", 200, "abcd"},
	}
	for i, s := range steps {
		b.want(s.status, "POST", at+"&index="+s.index, s.body, nil)
		if got := content(); got != s.want {
			t.Fatalf("step %d: %q, want %q", i, got, s.want)
		}
	}

	// The answer to a block is lost after its bytes came in: the repetition adds nothing.
	b.blobs.failAppend = errors.New("killed")
	b.want(500, "POST", at+"&index=4", "e", nil)
	b.want(200, "POST", at+"&index=4", "e", nil)
	b.want(200, "POST", at+"&index=5", "f", nil)
	if got := content(); got != "abcdef" {
		t.Fatalf("%q", got)
	}
	b.want(409, "POST", "{A}/content/ExperimentRun/r/other.txt?append=true&index=7", "x", nil)
	if status, _ := b.do("GET", "{A}/metadata/ExperimentRun/r/other.txt", ""); status != 404 {
		t.Fatalf("a refused block left a record: %d", status)
	}
}

func TestAppendsFromManyDoNotGetLost(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := b.svc.AppendArtifact(t.Context(), workspace, "r", "azureml-logs/60_control_log.txt", strings.NewReader("line\n")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, text := b.do("GET", "{A}/content/ExperimentRun/r/azureml-logs/60_control_log.txt", "")
	if strings.Count(text, "line\n") != 16 || len(text) != 16*5 {
		t.Fatalf("%q", text)
	}
}

func TestDeleteArtifact(t *testing.T) {
	b := newBench(t)
	for _, f := range []string{"soft", "hard", "sub/a", "sub/b"} {
		b.upload("ExperimentRun", "r", f, "x")
	}
	b.want(400, "DELETE", "{A}/metadata/ExperimentRun/r/soft?hardDelete=perhaps", "", nil)
	b.want(200, "DELETE", "{A}/metadata/ExperimentRun/r/soft", "", nil)
	b.want(200, "DELETE", "{A}/metadata/ExperimentRun/r/hard?hardDelete=true", "", nil)
	if got := b.blobs.names(); !slices.Contains(got, "wsstorage/azureml/ExperimentRun/r/soft") || slices.Contains(got, "wsstorage/azureml/ExperimentRun/r/hard") {
		t.Fatal(got)
	}
	b.want(404, "GET", "{A}/contentinfo/ExperimentRun/r/soft", "", nil)
	b.upload("ExperimentRun", "r2", "stays", "x")
	b.want(200, "DELETE", "{A}/batch/ExperimentRun/r?hardDelete=True", "", nil)
	if got := b.blobs.names(); len(got) != 2 {
		t.Fatal(got)
	}
}

func TestLogFiles(t *testing.T) {
	b := newBench(t)
	for _, p := range []string{"azureml-logs/60_control_log.txt", "logs/extra.log", "outputs/m.txt", "driver_log", "logs2/x"} {
		b.upload("ExperimentRun", "r", p, "x")
	}
	b.want(200, "POST", "{A}/batch/metadata/ExperimentRun/r", `{"paths":[{"path":"logs/never.log"}]}`, nil)
	got, err := b.svc.LogFiles(t.Context(), workspace, "r")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"azureml-logs/60_control_log.txt", "logs/extra.log"}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Fatalf("%v", keys)
	}
	if u := got["logs/extra.log"]; !strings.HasPrefix(u, "https://wsstorage.blob.core.windows.net/azureml/ExperimentRun/r/logs/extra.log?") || !strings.Contains(u, "sp=r&") {
		t.Fatal(u)
	}
	if none, err := b.svc.LogFiles(t.Context(), workspace, "none"); err != nil || none == nil || len(none) != 0 {
		t.Fatalf("%v %v", none, err)
	}
	if err := b.svc.PutArtifact(t.Context(), workspace, "r", "../x", "text/plain", strings.NewReader("")); !isStatus(err, 400) {
		t.Fatal(err)
	}
}

func isStatus(err error, status int) bool {
	var e *plane.Error
	return errors.As(err, &e) && e.Status == status
}

func TestWorkspacesDoNotSeeEachOther(t *testing.T) {
	b := newBench(t)
	b.upload("ExperimentRun", "r", "f", "x")
	status, text := b.do("GET", strings.Replace("/artifact/v1.0/{WS}/artifacts/origins/ExperimentRun/containers/r", "{WS}", strings.TrimSuffix(scope, "ws")+"other", 1), "")
	if status != 200 || !strings.Contains(text, `"count":0`) {
		t.Fatal(status, text)
	}
}

func TestIngest(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if err := b.blobs.EnsureAccount(ctx, "hdi"); err != nil {
		t.Fatal(err)
	}
	if err := b.blobs.EnsureContainer(ctx, "hdi", "cluster"); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"runs/r/outputs/a.txt": "A", "runs/r/outputs/sub/b.txt": "B", "runs/r/outputs2/c.txt": "C"} {
		if _, err := b.blobs.Put(ctx, "hdi", "cluster", name, "text/plain", strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	body := func(uri, sas string) string {
		return `{"containerSas":"` + sas + `","containerUri":"` + uri + `","prefix":"runs/r/outputs","artifactPrefix":"outputs"}`
	}
	const at, uri = "{A}/batch/ingest/containersas/ExperimentRun/r", "https://hdi.blob.core.windows.net/cluster"
	b.run([]exchange{
		{"copies", "POST", at, body(uri, "?sv=2018-03-28&sp=rl&sig=good"), 200, []string{`"outputs/a.txt":{"artifactId":"ExperimentRun/r/outputs/a.txt"`, `"outputs/sub/b.txt":{`, `"errors":{}`}, []string{"c.txt"}},
		{"content", "GET", "{A}/content/ExperimentRun/r/outputs/sub/b.txt", "", 200, []string{"B"}, nil},
		{"wrong signature", "POST", at, body(uri, "sv=2018-03-28&sp=rl&sig=bad"), 403, []string{`"target":"containerSas"`}, []string{"sig=bad"}},
		{"no list permission", "POST", at, body(uri, "sv=2018-03-28&sp=r&sig=good"), 400, []string{`"target":"containerSas"`}, nil},
		{"no SAS", "POST", at, body(uri, ""), 400, []string{`"target":"containerSas"`}, nil},
		{"elsewhere", "POST", at, body("https://example.com/c", "sp=rl&sig=good"), 400, []string{"example.com", `"target":"containerUri"`}, nil},
		{"unknown account", "POST", at, body("https://nobody.blob.core.windows.net/c", "sp=rl&sig=good"), 400, []string{"nobody"}, nil},
		{"unknown container", "POST", at, body("https://hdi.blob.core.windows.net/none", "sp=rl&sig=good"), 400, []string{"none"}, nil},
		{"no container", "POST", at, body("https://hdi.blob.core.windows.net/", "sp=rl&sig=good"), 400, []string{"containerUri"}, nil},
		{"no URL", "POST", at, body("", "sp=rl&sig=good"), 400, []string{"containerUri"}, nil},
	})
}

// FuzzArtifactPath holds that no path that is accepted leads out of its container.
func FuzzArtifactPath(f *testing.F) {
	for _, p := range []string{"a", "./a", "a/../b", "..", "/a", `a\b`, "a//b", "a/./b", "a/", "", "...", "a/..", ". /x", "\x00", "a/\u2025/b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		b := newBench(t)
		in, err := json.Marshal(map[string]string{"origin": "ExperimentRun", "container": "r", "path": path})
		if err != nil {
			t.Fatal(err)
		}
		status, text := b.do("POST", "{A}/metadata", string(in))
		if status == 400 {
			return
		}
		var out struct{ ArtifactID, Path string }
		if err := json.Unmarshal([]byte(text), &out); status != 200 || err != nil {
			t.Fatalf("%d %s", status, text)
		}
		if out.ArtifactID != "ExperimentRun/r/"+out.Path || strings.Contains(out.Path, `\`) {
			t.Fatalf("%q became %q", path, out.ArtifactID)
		}
		for _, seg := range strings.Split(out.Path, "/") {
			if seg == "" || seg == "." || seg == ".." {
				t.Fatalf("%q became %q", path, out.ArtifactID)
			}
		}
	})
}
