package serving_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/aml/serving"
	"lazulite.dev/emulator/aml/serving/servingtest"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/front"
	"lazulite.dev/emulator/store"
)

const (
	scope = "subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"
	api   = "/api/" + scope
	v1    = "/modelmanagement/v1.0/" + scope
)

var workspace = plane.Workspace{Scope: plane.Scope{Subscription: "11111111-1111-1111-1111-111111111111", ResourceGroup: "rg", Workspace: "ws"},
	GUID: "aaaaaaaa-0000-0000-0000-000000000001", Location: "eastus2", StorageAccount: "wsstorage"}

// world is the service with its surroundings: storage behind a door, and containers that are processes.
type world struct {
	t      *testing.T
	store  *store.Store
	blob   *blob.Service
	assets *assets.Service
	arm    *manager
	svc    *serving.Service
	mux    *plane.Mux
	files  int // uploaded so far
}

func newWorld(t *testing.T) *world {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on the PATH: nothing can run in a container")
	}
	w := &world{t: t}
	w.store, err = store.Open(store.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, w.store.Close()) })
	w.blob, err = blob.New(blob.Config{Store: w.store, Clock: clock.Real(), Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, w.blob.Close(context.Background())) })
	door, err := front.New(front.Config{Dir: t.TempDir(), Hosts: []front.Host{{Pattern: "*.blob.core.windows.net", Handler: w.blob}}, Offline: true})
	must(t, err)
	must(t, door.Open(t.Context()))
	t.Cleanup(func() { must(t, door.Close(context.Background())) })
	w.assets, err = assets.New(assets.Config{Store: w.store, Clock: clock.Real(), Blob: w.blob, TempDir: t.TempDir()})
	must(t, err)
	must(t, w.assets.Provision(t.Context(), workspace))
	wheels := servingtest.Wheels(t)
	proxy := "http://" + door.Addr()
	w.arm = newManager(t, []string{"PATH=" + filepath.Dir(python) + ":/usr/bin:/bin", "HTTPS_PROXY=" + proxy, "https_proxy=" + proxy, "SSL_CERT_FILE=" + door.BundleFile(),
		"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + wheels, "UV_NO_INDEX=1", "UV_FIND_LINKS=" + wheels, "PYENV_ROOT=" + t.TempDir()})
	w.open()
	return w
}

// open makes the service and opens it, as a start of the emulator does.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.svc, err = serving.New(serving.Config{Store: w.store, Blob: w.blob, Assets: w.assets, ARM: w.arm, Web: w.arm, Poll: 50 * time.Millisecond})
	must(w.t, err)
	w.mux = plane.NewMux(plane.Config{Clock: clock.Real(),
		Verify: func(context.Context, string, ...string) (aad.Claims, error) { return aad.Claims{}, nil },
		Find:   func(context.Context, plane.Scope) (plane.Workspace, error) { return workspace, nil }}, nil)
	w.assets.Register(w.mux)
	w.svc.Register(w.mux)
	must(w.t, w.svc.Open(w.t.Context()))
	svc := w.svc
	w.t.Cleanup(func() { must(w.t, svc.Close(context.Background())) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) do(method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "https://eastus2.modelmanagement.azureml.net"+path, strings.NewReader(body))
	if strings.HasPrefix(path, "/api/") {
		q := req.URL.Query()
		q.Set("api-version", "2018-03-01-preview")
		req.URL.RawQuery = q.Encode()
	}
	req.Header.Set("Authorization", "Bearer x")
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, req)
	return rec
}

// want sends a request and decodes the answer, which must have the status.
func (w *world) want(status int, method, path, body string) (map[string]any, http.Header) {
	w.t.Helper()
	rec := w.do(method, path, body)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	doc := map[string]any{}
	if rec.Body.Len() > 0 {
		must(w.t, json.Unmarshal(rec.Body.Bytes(), &doc))
	}
	return doc, rec.Header()
}

// upload makes an artifact and returns its url.
func (w *world) upload(path string, content []byte) string {
	w.t.Helper()
	w.files++
	path = strconv.Itoa(w.files) + "/" + path
	req := httptest.NewRequest("POST", "/artifact/v1.0/"+scope+"/artifacts/content/LocalUpload/c/"+path, bytes.NewReader(content))
	req.Header.Set("Authorization", "Bearer x")
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		w.t.Fatalf("upload %s: %d %s", path, rec.Code, rec.Body)
	}
	return "aml://artifact/LocalUpload/c/" + path
}

// wait polls the operation of a 202 until it has ended.
func (w *world) wait(h http.Header) map[string]any {
	w.t.Helper()
	location := h.Get("Operation-Location")
	id := location[strings.LastIndexByte(location, '/')+1:]
	var doc map[string]any
	clocktest.Missing(w.t, 2*time.Minute, func() string {
		doc, _ = w.want(200, "GET", api+"/operations/"+id, "")
		if s := doc["state"]; s == "NotStarted" || s == "Running" {
			return fmt.Sprintf("the operation has not ended: %v", doc)
		}
		return ""
	})
	return doc
}

// tarred is a tar.gz of files.
func tarred(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	out := tar.NewWriter(z)
	for name, content := range files {
		h := &tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if target, ok := strings.CutPrefix(content, "link:"); ok {
			h.Size, h.Typeflag, h.Linkname, content = 0, tar.TypeSymlink, target, ""
		}
		must(t, out.WriteHeader(h))
		_, err := out.Write([]byte(content))
		must(t, err)
	}
	must(t, out.Close())
	must(t, z.Close())
	return b.Bytes()
}

// driver is a generated main as SDK 1.x makes it; score.py beside it has init and run.
const driver = `import importlib.util as imp
import os
spec = imp.spec_from_file_location('service_driver', 'score.py')
module = imp.module_from_spec(spec)
spec.loader.exec_module(module)
def run(http_body, request_headers):
    return module.run(http_body)
def init():
    module.init()
`

// model registers a file as a model and returns its id.
func (w *world) model(name, content string) string {
	w.t.Helper()
	u := w.upload(name+".tar.gz", tarred(w.t, map[string]string{"weights.txt": content}))
	doc, _ := w.want(200, "POST", api+"/models", `{"name":"`+name+`","url":"`+u+`","mimeType":"application/json","unpack":true}`)
	return doc["id"].(string)
}

// imageBody is the request for an image of one script.
func (w *world) imageBody(name, score, models string) string {
	w.t.Helper()
	main := w.upload(name+"-main.py", []byte(driver))
	tar := w.upload(name+"-score.tar.gz", tarred(w.t, map[string]string{"score.py": score}))
	return `{"name":"` + name + `","driverProgram":"driver","description":null,"tags":null,"kvTags":{"k":"v"},"properties":null,"modelIds":[` + models + `],` +
		`"assets":[{"id":"driver","url":"` + main + `","mimeType":"application/x-python"},{"id":"abc.tar.gz","url":"` + tar + `","mimeType":"application/octet-stream","unpack":true}],` +
		`"targetRuntime":{"runtimeType":"Python","targetArchitecture":"amd64","properties":{}},"dockerFileUri":null,"imageType":"Docker","imageFlavor":"WebApiContainer"}`
}
