package assets_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/blob"
)

// newStorageBench is a bench over the real storage service.
func newStorageBench(t *testing.T) (*bench, *blob.Service) {
	t.Helper()
	b := newBench(t)
	storage, err := blob.New(blob.Config{Store: b.st, Clock: b.clock, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := storage.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	b.svc, err = assets.New(assets.Config{Store: b.st, Clock: b.clock, Blob: storage, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b.blobs = nil
	if err := b.svc.DeleteWorkspace(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
	if err := b.svc.Provision(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
	b.mux = plane.NewMux(b.planeConfig(), nil)
	b.svc.Register(b.mux)
	return b, storage
}

// storageCall sends to a URL that the service handed out, as a client would.
func storageCall(t *testing.T, storage http.Handler, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	storage.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestArtifactsOverStorage(t *testing.T) {
	b, storage := newStorageBench(t)
	var batch struct {
		ArtifactContentInformation map[string]struct{ ContentURI string }
	}
	const path = "./outputs/a b#é.txt"
	b.want(200, "POST", "{A}/batch/metadata/ExperimentRun/r", `{"paths":[{"path":"`+path+`"},{"path":"never"}]}`, &batch)
	up := batch.ArtifactContentInformation[path].ContentURI
	if status, text := storageCall(t, storage, "PUT", up, "weights", "x-ms-blob-type", "BlockBlob"); status != 201 {
		t.Fatal(status, text)
	}
	var info struct{ ContentURI string }
	b.want(200, "GET", "{A}/contentinfo/ExperimentRun/r/outputs/a%20b%23%C3%A9.txt", "", &info)
	if status, text := storageCall(t, storage, "GET", info.ContentURI, ""); status != 200 || text != "weights" {
		t.Fatal(status, text)
	}
	if status, _ := storageCall(t, storage, "PUT", info.ContentURI, "x", "x-ms-blob-type", "BlockBlob"); status != 403 {
		t.Fatalf("a URL to read took a write: %d", status)
	}
	b.want(404, "GET", "{A}/contentinfo/ExperimentRun/r/never", "", nil)
	for i, line := range []string{"one\n", "two\n", "two\n"} {
		b.want(200, "POST", fmt.Sprintf("{A}/content/ExperimentRun/r/azureml-logs/80_driver_log.txt?append=true&index=%d", min(i, 1)), line, nil)
	}
	logs, err := b.svc.LogFiles(t.Context(), workspace, "r")
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	if status, text := storageCall(t, storage, "GET", logs["azureml-logs/80_driver_log.txt"], ""); status != 200 || text != "one\ntwo\n" {
		t.Fatal(status, text)
	}
	b.run([]exchange{
		{"list", "GET", "{A}/origins/ExperimentRun/containers/r", "", 200, []string{`"count":2`, "a b#é.txt"}, []string{"never"}},
		{"append to a whole one", "POST", "{A}/content/ExperimentRun/r/outputs/a%20b%23%C3%A9.txt?append=true", "x", 409, nil, nil},
		{"deep", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("d/", 251) + "f", "x", 200, nil, nil},
		{"deeper", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("d/", 252) + "f", "x", 400, []string{"folders"}, nil},
		{"long", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("é", 1008), "x", 200, nil, nil},
		{"long by surrogates", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("😀", 504), "x", 200, nil, nil},
		{"longer by surrogates", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("😀", 505), "x", 400, []string{"1024"}, nil},
		{"longer", "POST", "{A}/content/ExperimentRun/r/" + strings.Repeat("é", 1009), "x", 400, []string{"1024"}, nil},
	})
	b.clock.Advance(25 * time.Hour)
	if status, _ := storageCall(t, storage, "GET", info.ContentURI, ""); status != 403 {
		t.Fatalf("a URL outlived its day: %d", status)
	}
}

func TestSnapshotsOverStorage(t *testing.T) {
	b, storage := newStorageBench(t)
	id := b.mustSnapshot(zeroID, folder("", file("train.py", "1"), file("copy.py", "2")), sent{"train.py", "print(1)"}, sent{"copy.py", "print(1)"})
	_, quoted := b.do("GET", "/content/v1.0/{WS}/snapshots/"+id, "")
	status, zipped := storageCall(t, storage, "GET", strings.Trim(quoted, `"`), "")
	if status != 200 {
		t.Fatal(status, zipped)
	}
	if got := entries(t, []byte(zipped)); got["train.py"] != "print(1)" || got["copy.py"] != "print(1)" {
		t.Fatal(got)
	}
	if err := b.svc.SnapshotZip(t.Context(), workspace, unkID, io.Discard); !isStatus(err, 404) {
		t.Fatal(err)
	}
	project := zipOf(t, packed{name: "train.py", body: "x"})
	if err := b.svc.StoreProject(t.Context(), workspace, "r", bytes.NewReader(project)); err != nil {
		t.Fatal(err)
	}
	u, err := b.svc.ProjectURL(t.Context(), workspace, "r", b.clock.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if status, text := storageCall(t, storage, "GET", u, ""); status != 200 || text != string(project) {
		t.Fatal(status)
	}
}

func TestDatastoresOverStorage(t *testing.T) {
	b, storage := newStorageBench(t)
	var own struct {
		AzureStorageSection struct{ AccountKey string }
	}
	b.want(200, "GET", "/datastore/v1.0/{WS}/default", "", &own)
	key := own.AzureStorageSection.AccountKey
	b.want(400, "POST", stores, blobStore("mine", "credentialType", "AccountKey", "credential", key), nil)
	b.want(200, "POST", stores+"?createIfNotExists=true", blobStore("mine", "credentialType", "AccountKey", "credential", key), nil)
	for _, name := range []string{"mine", "workspaceblobstore"} {
		d, err := b.svc.Datastore(t.Context(), workspace, name, b.clock.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		base, sas, _ := strings.Cut(d.ContainerURL, "?")
		if status, text := storageCall(t, storage, "PUT", base+"/sub/f.txt?"+sas, "data", "x-ms-blob-type", "BlockBlob"); status != 201 {
			t.Fatal(name, status, text)
		}
		if status, text := storageCall(t, storage, "GET", d.ContainerURL+"&restype=container&comp=list", ""); status != 200 || !strings.Contains(text, "<Name>sub/f.txt</Name>") {
			t.Fatal(name, status, text)
		}
		in := func(sas string) string {
			return `{"containerSas":"` + sas + `","containerUri":"` + base + `","prefix":"sub","artifactPrefix":"outputs"}`
		}
		b.run([]exchange{
			{"ingest from " + name, "POST", "{A}/batch/ingest/containersas/ExperimentRun/" + name, in(sas), 200, []string{"outputs/f.txt"}, nil},
			{"content from " + name, "GET", "{A}/content/ExperimentRun/" + name + "/outputs/f.txt", "", 200, []string{"data"}, nil},
			{"forged SAS of " + name, "POST", "{A}/batch/ingest/containersas/ExperimentRun/forged", in(strings.Replace(sas, "sig=", "sig=AAAA", 1)), 403, []string{"containerSas"}, nil},
		})
	}
}
