package assets_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// dir and leaf are a tree in the form of SDK 1.x: children by name.
func leaf(name, hash string) tree {
	t := file(name, hash)
	t["children"] = tree{}
	return t
}

func dir(name string, children ...tree) tree {
	t := folder(name)
	byName := tree{}
	for _, c := range children {
		byName[c["name"].(string)] = c
	}
	t["children"] = byName
	return t
}

const content2 = "/content/v2.0/{WS}/snapshots"

// stage asks for a blob for each file and fills it, as the client does by SAS; a body of "-" is not filled.
func (b *bench) stage(files ...sent) []map[string]any {
	b.t.Helper()
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	ask, err := json.Marshal(map[string]any{"FileNames": names})
	if err != nil {
		b.t.Fatal(err)
	}
	var got struct {
		FileNodes []struct{ FullName, BlobURI string }
	}
	b.want(200, "POST", content2+"/getblob", string(ask), &got)
	out := []map[string]any{}
	for i, n := range got.FileNodes {
		u, err := url.Parse(n.BlobURI)
		if err != nil || n.FullName != files[i].name {
			b.t.Fatal(n, err)
		}
		if files[i].body != "-" {
			name := strings.TrimPrefix(u.Path, "/snapshots/")
			if _, err := b.blobs.Put(b.t.Context(), "wsstorage", "snapshots", name, "", strings.NewReader(files[i].body)); err != nil {
				b.t.Fatal(err)
			}
		}
		out = append(out, map[string]any{"FullName": n.FullName, "BlobUri": n.BlobURI, "FileSize": 1})
	}
	return out
}

func body2(t *testing.T, parent string, root tree, nodes []map[string]any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"ParentSnapshotId": parent, "Tags": nil, "Properties": nil, "DirTreeNode": root,
		"FileRevisionList": map[string]any{"FileNodes": nodes}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ensure that a snapshot by blobs is the same as one by parts, takes from its parent, and leaves nothing waiting.
func TestSnapshotBlobs(t *testing.T) {
	b := newBench(t)
	first, second := uuid.NewString(), uuid.NewString()
	root := dir("", leaf("a.py", "1"), dir("d", leaf("b.py", "2")))
	b.want(200, "POST", content2+"/"+first, body2(t, zeroID, root, b.stage(sent{"a.py", "one"}, sent{"d/b.py", "two"})), nil)
	changed := dir("", leaf("a.py", "1"), dir("d", leaf("b.py", "3")))
	b.want(200, "POST", content2+"/"+second, body2(t, first, changed, b.stage(sent{"d/b.py", "three"})), nil)
	if got := b.unzip(second); got["a.py"] != "one" || got["d/b.py"] != "three" || got["d/"] != "/" {
		t.Fatal(got)
	}
	for _, n := range b.blobs.names() {
		if strings.Contains(n, "/incoming/") {
			t.Errorf("%s was left", n)
		}
	}
	var zipped struct{ ZipSasURI string }
	b.want(200, "POST", content2+"/"+first+"/zip", "", &zipped)
	if !strings.Contains(zipped.ZipSasURI, first+".zip") {
		t.Error(zipped)
	}
	b.run([]exchange{
		{"the newest is the latest", "GET", "/content/v1.0/{WS}/snapshots/latest/metadata", "", 200, []string{second, `"b.py":{`}, nil},
		{"metadata", "GET", content2 + "/" + first + "/metadata", "", 200, []string{first}, nil},
		{"ErrZipOfNone", "POST", content2 + "/" + unkID + "/zip", "", 404, []string{unkID}, nil},
	})
}

func TestSnapshotBlobRefusals(t *testing.T) {
	b := newBench(t)
	root := dir("", leaf("a.py", "1"))
	node := func(name, uri string) []map[string]any { return []map[string]any{{"FullName": name, "BlobUri": uri}} }
	post := func(nodes []map[string]any) string { return body2(t, zeroID, root, nodes) }
	good := b.stage(sent{"a.py", "x"})
	for i, row := range []struct {
		name, body string
		has        string
	}{
		{"not uploaded", post(b.stage(sent{"a.py", "-"})), "was not uploaded"},
		{"another container", post(node("a.py", "https://wsstorage.blob.core.windows.net/azureml/x")), "handed out"},
		{"another account", post(node("a.py", strings.Replace(good[0]["BlobUri"].(string), "wsstorage", "else", 1))), "handed out"},
		{"not in the tree", post(b.stage(sent{"b.py", "x"})), "not in the directory tree"},
		{"twice", post(append(b.stage(sent{"a.py", "x"}), good...)), "comes twice"},
		{"leaves the folder", post(node("../a.py", "x")), "leaves its folder"},
		{"no tree", `{"FileRevisionList":{"FileNodes":[]}}`, "directory tree"},
		{"unknown parent", body2(t, unkID, root, nil), unkID},
	} {
		status := 400
		if row.has == unkID {
			status = 404
		}
		b.run([]exchange{{row.name, "POST", fmt.Sprintf("%s/%08d-0000-0000-0000-000000000000", content2, i+1), row.body, status, []string{row.has}, nil}})
	}
	b.run([]exchange{
		{"getblob of a bad name", "POST", content2 + "/getblob", `{"FileNames":["/etc/passwd"]}`, 400, []string{"FileNames[0]", "absolute"}, nil},
		{"nothing was stored", "GET", "/content/v1.0/{WS}/snapshots/latest/metadata", "", 200, []string{zeroID}, nil},
	})
}

// Ensure that artifact/v2.0 has the same artifacts, by the run's id and by its data container's.
func TestArtifactsV2(t *testing.T) {
	b := newBench(t)
	b.upload("ExperimentRun", "r1", "outputs/m.txt", "model")
	const v2 = "/artifact/v2.0/{WS}/artifacts"
	b.run([]exchange{
		{"list", "GET", v2 + "/ExperimentRun/dcid.r1", "", 200, []string{`"count":1`, `"path":"outputs/m.txt"`}, nil},
		{"list of a path", "GET", v2 + "/ExperimentRun/r1/outputs", "", 200, []string{`"count":1`}, nil},
		{"list with the path in the query", "GET", v2 + "/ExperimentRun/dcid.r1?path=other", "", 200, []string{`"count":0`}, nil},
		{"content information", "GET", v2 + "/contentinfo/ExperimentRun/dcid.r1/outputs/m.txt", "", 200, []string{"ExperimentRun/r1/outputs/m.txt"}, nil},
		{"by the spec", "GET", v2 + "/ExperimentRun/dcid.r1/contentinfo?path=outputs/m.txt", "", 200, []string{`"path":"outputs/m.txt"`}, nil},
		{"content by the spec", "GET", v2 + "/ExperimentRun/r1/content?path=outputs/m.txt", "", 200, []string{"model"}, nil},
		{"prefix", "GET", v2 + "/prefix/contentinfo/ExperimentRun/dcid.r1/outputs/", "", 200, []string{`"count":1`}, nil},
		{"prefix by the spec", "GET", v2 + "/ExperimentRun/dcid.r1/prefix/contentinfo?path=outputs", "", 200, []string{`"count":1`}, nil},
		{"batch", "POST", v2 + "/batch/metadata/ExperimentRun/dcid.r1", `{"paths":[{"path":"n.txt"}]}`, 200, []string{`"n.txt":{`, "ExperimentRun/r1/n.txt"}, nil},
		{"where to write", "GET", v2 + "/write/ExperimentRun/dcid.r1/w.txt", "", 200, []string{"sp=rcw"}, nil},
		{"as SDK 0.1.68 sees it", "GET", "{A}/contentinfo/ExperimentRun/r1/outputs/m.txt", "", 200, []string{`"path":"outputs/m.txt"`}, nil},
		{"a local upload keeps its name", "POST", v2 + "/metadata", `{"origin":"LocalUpload","container":"dcid.x","path":"f"}`, 200, []string{`"container":"dcid.x"`}, nil},
		{"ErrNotFound", "GET", v2 + "/contentinfo/ExperimentRun/dcid.r1/none.txt", "", 404, []string{"none.txt"}, nil},
		{"ErrPath", "GET", v2 + "/ExperimentRun/dcid.r1/content?path=../x", "", 400, []string{"leaves its container"}, nil},
	})
}

// Ensure that modelmanagement/v1.0 keeps what SDK 1.x says of a model.
func TestModelsV1(t *testing.T) {
	b := newBench(t)
	b.upload("ExperimentRun", "r1", "outputs/m.txt", "model")
	const v1 = "/modelmanagement/v1.0/{WS}"
	var a struct{ ID string }
	b.want(200, "POST", v1+"/assets", `{"name":"m","artifacts":[{"prefix":"ExperimentRun/dcid.r1/outputs"}],"runid":"r1","type":"Model"}`, &a)
	model := `{"name":"m","url":"aml://asset/` + a.ID + `","mimeType":"application/json","framework":"Custom","frameworkVersion":"1","experimentName":"e","runId":"r1","datasets":[]}`
	for range 2 {
		b.want(200, "POST", v1+"/models", model, nil)
	}
	b.want(200, "POST", v1+"/models", strings.Replace(model, `"name":"m"`, `"name":"n"`, 1), nil)
	b.run([]exchange{
		{"get", "GET", v1 + "/models/m:2", "", 200, []string{`"framework":"Custom"`, `"experimentName":"e"`, `"runId":"r1"`, `"datasets":[]`}, nil},
		{"latest versions alone", "GET", v1 + "/models?latestVersionOnly=True", "", 200, []string{`"m:2"`, `"n:1"`}, []string{`"m:1"`}},
		{"of a framework", "GET", v1 + "/models?framework=Onnx", "", 200, []string{`"value":[]`}, nil},
		{"of a run", "GET", v1 + "/models?runId=r1&name=n", "", 200, []string{`"n:1"`}, nil},
		{"patch", "PATCH", v1 + "/models/m:1", `[{"op":"replace","path":"/sampleInputData","value":"aml://dataset/1"},{"op":"add","path":"/kvTags","value":{"a":"b"}}]`, 200,
			[]string{`"sampleInputData":"aml://dataset/1"`, `"kvTags":{"a":"b"}`}, nil},
		{"ErrPatch", "PATCH", v1 + "/models/m:1", `[{"op":"remove","path":"/datasets"}]`, 400, []string{"/datasets"}, nil},
		{"ErrPatchValue", "PATCH", v1 + "/models/m:1", `[{"op":"add","path":"/datasets","value":1}]`, 400, []string{"does not fit"}, nil},
		{"ErrNotFound", "GET", v1 + "/models/none:1", "", 404, []string{"ModelNotFound"}, nil},
		{"the version of 2018 is still asked for", "GET", "/api/{WS}/models", "", 400, []string{"ApiVersionUnspecified"}, nil},
		{"datastores with their secrets", "GET", stores + "?count=100&includeSecret=true", "", 200, []string{`"accountKey":"`}, nil},
		{"and without", "GET", stores, "", 200, nil, []string{`"accountKey":"`}},
	})
}
