package aml_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

const (
	subscription = "11111111-2222-4333-8444-555555555555"
	group        = "/subscriptions/" + subscription + "/resourceGroups/g"
	account      = group + "/providers/Microsoft.Storage/storageAccounts/acct1"
	workspace    = group + "/providers/Microsoft.MachineLearningServices/workspaces/ws1"
	v2018        = "?api-version=2018-03-01-preview"
	v2019        = "?api-version=2019-05-01"
)

// world is the service on an ARM engine that has a storage account and two VM sizes, and no machines.
type world struct {
	t       *testing.T
	arm     *arm.Engine
	manager http.Handler
	aml     *aml.Service
	blob    *blob.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st, err := store.Open(store.Config{})
	must(t, err)
	w := &world{t: t}
	w.blob, err = blob.New(blob.Config{Store: st, Clock: clock.Real(), Dir: t.TempDir()})
	must(t, err)
	w.aml, err = aml.New(aml.Config{Store: st, Clock: clock.Real(), Blob: w.blob, Dir: t.TempDir(), Tenant: "t",
		Issue:    func(context.Context, aad.Claims) (string, error) { return "head.claims.signature", nil },
		Verify:   func(context.Context, string, ...string) (aad.Claims, error) { return aad.Claims{}, nil },
		ARM:      trip(func(r *http.Request) (*http.Response, error) { return w.arm.Transport().RoundTrip(r) }),
		ARMToken: func(context.Context) (string, error) { return "token", nil },
		Web:      http.DefaultTransport,
	})
	must(t, err)
	sizes := arm.Query{Method: http.MethodGet, Pattern: "locations/{location}/vmSizes", Versions: arm.Versions{From: "2018-06-01"},
		Do: func(context.Context, arm.Call) (any, error) {
			return map[string]any{"value": []any{map[string]string{"name": "Standard_D2_v2"}, map[string]string{"name": "Standard_DS3_v2"}}}, nil
		}}
	w.arm, err = arm.New(arm.Config{Store: st, Clock: clock.Real(), Tenant: "t", Subscriptions: []arm.Subscription{{ID: subscription}},
		Providers: []arm.Provider{w.aml.Provider(), batchAI(), {Namespace: "Microsoft.Compute", Registered: true, Queries: []arm.Query{sizes}},
			{Namespace: "Microsoft.Storage", Registered: true, Types: []arm.Type{{Name: "Microsoft.Storage/storageAccounts", Tracked: true, PutNew: arm.LRO{Status: http.StatusOK}}}}},
		Authenticate: func(*http.Request) error { return nil }})
	must(t, err)
	w.manager = openapitest.Around(t)(w.arm)
	must(t, w.arm.Open(context.Background()))
	must(t, w.aml.Open(context.Background(), w.arm))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, w.aml.Close(ctx))
		must(t, w.arm.Close(ctx))
		must(t, w.blob.Close(ctx))
		must(t, st.Close())
	})
	must(t, w.blob.EnsureAccount(context.Background(), "acct1"))
	w.want(201, "PUT", group+"?api-version=2018-05-01", `{"location":"eastus2"}`)
	w.want(200, "PUT", account+"?api-version=2018-02-01", `{"location":"eastus2"}`)
	return w
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) do(method, path, body string) *httptest.ResponseRecorder {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "https://management.azure.com"+path, r)
	req.Header.Set("Authorization", "Bearer x")
	rec := httptest.NewRecorder()
	w.manager.ServeHTTP(rec, req)
	return rec
}

func (w *world) want(status int, method, path, body string) map[string]any {
	w.t.Helper()
	rec := w.do(method, path, body)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	doc := map[string]any{}
	if rec.Body.Len() > 0 {
		must(w.t, json.Unmarshal(rec.Body.Bytes(), &doc))
	}
	return doc
}

func (w *world) workspace() {
	w.t.Helper()
	w.want(201, "PUT", workspace+v2018, `{"location":"eastus2","identity":{"type":"systemAssigned"},"properties":{"storageAccount":"`+account+`"}}`)
}

func properties(doc map[string]any) map[string]any {
	p, _ := doc["properties"].(map[string]any)
	return p
}

func TestWorkspace(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	doc := w.want(200, "GET", workspace+v2018, "")
	p := properties(doc)
	if p["provisioningState"] != "Succeeded" || p["discoveryUrl"] != "https://eastus2.experiments.azureml.net/discovery" || p["friendlyName"] != "ws1" {
		t.Fatal(doc)
	}
	first := p["workspaceid"]
	// Ensure a PUT over it keeps what identifies it, and the dependents that it leaves out.
	p = properties(w.want(200, "PUT", workspace+v2018, `{"location":"eastus2","properties":{"friendlyName":"new"}}`))
	if p["workspaceid"] != first || p["storageAccount"] != account || p["friendlyName"] != "new" {
		t.Fatal(p)
	}
	keys := w.want(200, "POST", workspace+"/listKeys"+v2018, "")
	if keys["userStorageKey"] == "" || keys["userStorageResourceId"] != account {
		t.Fatal(keys)
	}
	w.want(200, "POST", workspace+"/resynckeys"+v2018, "")
	// Ensure one made again under the name starts anew.
	w.want(200, "DELETE", workspace+v2018, "")
	w.want(404, "GET", workspace+v2018, "")
	w.workspace()
	if p := properties(w.want(200, "GET", workspace+v2018, "")); p["workspaceid"] == first {
		t.Fatal("the new workspace has the old one's identity")
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	vm := func(inner string) string {
		return `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":` + inner + `}}`
	}
	batch := func(more string) string {
		return `{"location":"eastus2","properties":{"computeType":"BatchAI",` + more + `}}`
	}
	login := `"administratorAccount":{"username":"u","password":"p"}`
	for _, row := range []struct {
		name, path, body string
		status           int
		code, words      string
	}{
		{"ErrWorkspaceName", strings.Replace(workspace, "ws1", "w", 1), `{"location":"eastus2","properties":{"storageAccount":"` + account + `"}}`, 400, "", "workspace"},
		{"ErrNoStorage", workspace + "2", `{"location":"eastus2","properties":{}}`, 400, "ValidationError", "storageAccount"},
		{"ErrStorageAbsent", workspace + "2", `{"location":"eastus2","properties":{"storageAccount":"` + account + `x"}}`, 400, "ValidationError", "acct1x"},
		{"ErrStorageOfOtherType", workspace + "2", `{"location":"eastus2","properties":{"storageAccount":"` + workspace + `"}}`, 400, "ValidationError", "storageAccount"},
		{"ErrDependentChanges", workspace, `{"location":"eastus2","properties":{"storageAccount":"` + account + `","keyVault":"` + account + `"}}`, 400, "ValidationError", "keyVault"},
		{"ErrWrongType", workspace, `{"location":"eastus2","properties":{"friendlyName":[]}}`, 400, "", "friendlyName"},
		{"ErrComputeName", workspace + "/computes/9", vm(`{}`), 400, "BadRequest", "'9'"},
		{"ErrNoComputeType", workspace + "/computes/c1", `{"location":"eastus2","properties":{}}`, 400, "", "computeType"},
		{"ErrComputeType", workspace + "/computes/c1", `{"location":"eastus2","properties":{"computeType":"AKS"}}`, 400, "BadRequest", "AKS"},
		{"ErrSize", workspace + "/computes/c1", vm(`{"virtualMachineSize":"Standard_Huge"}`), 400, "BadRequest", "Standard_Huge"},
		{"ErrNoAddress", workspace + "/computes/c1", vm(`{` + login + `}`), 400, "BadRequest", "address"},
		{"ErrAddress", workspace + "/computes/c1", vm(`{"address":"a b",` + login + `}`), 400, "BadRequest", "'a b'"},
		{"ErrPort", workspace + "/computes/c1", vm(`{"address":"a","sshPort":"x",` + login + `}`), 400, "BadRequest", "port"},
		{"ErrPortRange", workspace + "/computes/c1", vm(`{"address":"a","sshPort":70000,` + login + `}`), 400, "BadRequest", "70000"},
		{"ErrNoUser", workspace + "/computes/c1", vm(`{"address":"a","administratorAccount":{"password":"p"}}`), 400, "BadRequest", "user name"},
		{"ErrNoCredential", workspace + "/computes/c1", vm(`{"address":"a","administratorAccount":{"username":"u"}}`), 400, "BadRequest", "password or a private key"},
		{"ErrResourceID", workspace + "/computes/c1", `{"location":"eastus2","properties":{"computeType":"VirtualMachine","resourceId":"/x","properties":{` + login + `}}}`, 400, "BadRequest", "'/x'"},
		{"ErrClusterType", workspace + "/computes/c1", `{"location":"eastus2","properties":{"computeType":"AmlCompute","properties":{}}}`, 400, "BadRequest", "AmlCompute"},
		{"ErrClusterSize", workspace + "/computes/c1", batch(`"properties":{"vmSize":"Standard_Huge"}`), 400, "BadRequest", "Standard_Huge"},
		{"ErrPriority", workspace + "/computes/c1", batch(`"properties":{"vmPriority":"urgent"}`), 400, "BadRequest", "urgent"},
		{"ErrScale", workspace + "/computes/c1", batch(`"properties":{"scaleSettings":{"minNodeCount":3,"maxNodeCount":2,"autoScaleEnabled":true}}`), 400, "BadRequest", "larger than the maximum"},
		{"ErrManualScale", workspace + "/computes/c1", batch(`"properties":{"scaleSettings":{"minNodeCount":1,"maxNodeCount":2,"autoScaleEnabled":false}}`), 400, "BadRequest", "must be equal"},
		{"ErrNegative", workspace + "/computes/c1", batch(`"properties":{"scaleSettings":{"minNodeCount":-1,"maxNodeCount":2}}`), 400, "BadRequest", "0 or more"},
		{"ErrClusterID", workspace + "/computes/c1", batch(`"resourceId":"/subscriptions/s/resourceGroups/g/providers/Microsoft.BatchAI/clusters/c"`), 400, "BadRequest", "not that of a Batch AI cluster"},
		{"ErrClusterAbsent", workspace + "/computes/c1", batch(`"resourceId":"` + group + `/providers/Microsoft.BatchAI/workspaces/w/clusters/c"`), 404, "", "clusters/w/c"},
		{"ErrNoWorkspace", strings.Replace(workspace, "ws1", "none", 1) + "/computes/c1", vm(`{}`), 404, "", "none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := w.do("PUT", row.path+v2018, row.body)
			var doc struct {
				Error struct{ Code, Message string }
			}
			must(t, json.Unmarshal(rec.Body.Bytes(), &doc))
			if rec.Code != row.status || row.code != "" && doc.Error.Code != row.code || !strings.Contains(rec.Body.String(), row.words) {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
		})
	}
	if doc := w.want(200, "GET", workspace+"/computes"+v2018, ""); len(doc["value"].([]any)) != 0 {
		t.Fatalf("a refused compute was made: %v", doc)
	}
}

// TestAttachWithBadKey has the attach fail by what is wrong with the key, and no part of it shown.
func TestAttachWithBadKey(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	const hush = "-----BEGIN RSA PRIVATE KEY-----\\nhush-hush\\n-----END RSA PRIVATE KEY-----"
	rec := w.do("PUT", workspace+"/computes/keyed"+v2018, `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":{"address":"127.0.0.1","sshPort":"1","administratorAccount":{"username":"u","privateKeyData":"`+hush+`"}}}}`)
	if rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	body := w.ended(t, rec.Header().Get("Azure-AsyncOperation"))
	outer, _ := body["error"].(map[string]any)
	inner, _ := outer["error"].(map[string]any)
	if text, _ := inner["message"].(string); body["status"] != "Failed" || !strings.Contains(text, "private key cannot be read") || strings.Contains(text, "hush") {
		t.Errorf("operation: %v", body)
	}
	if shown := w.do("GET", workspace+"/computes/keyed"+v2018, "").Body.String(); strings.Contains(shown, "hush") || !strings.Contains(shown, `"provisioningState":"Failed"`) {
		t.Error(shown)
	}
}

// ended waits for an operation's end and gives its last answer.
func (w *world) ended(t *testing.T, poll string) map[string]any {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		op := w.want(200, "GET", strings.TrimPrefix(poll, "https://management.azure.com"), "")
		if op["status"] != "InProgress" {
			return op
		}
		select {
		case <-deadline:
			t.Fatal("the operation does not end")
		case <-tick.C:
		}
	}
}

// TestShapes pins what each range of api-versions sees of one compute, and that no secret is in it.
func TestShapes(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	rec := w.do("PUT", workspace+"/computes/gone"+v2018, `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":{"address":"127.0.0.1","sshPort":"1","administratorAccount":{"username":"u","password":"hush-hush"}}}}`)
	poll := rec.Header().Get("Azure-AsyncOperation")
	if rec.Code != 201 || poll == "" {
		t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	op := w.ended(t, poll)
	outer, _ := op["error"].(map[string]any)
	inner, _ := outer["error"].(map[string]any)
	if op["status"] != "Failed" || inner["code"] != "SshUnreachable" || inner["statusCode"] == nil {
		t.Fatalf("operation: %v", op)
	}
	old := w.want(200, "GET", workspace+"/computes/gone"+v2018, "")
	later := w.want(200, "GET", workspace+"/computes/gone"+v2019, "")
	if old["id"] != "gone" || later["id"] != workspace+"/computes/gone" || later["name"] != "gone" {
		t.Fatalf("ids %v and %v", old["id"], later["id"])
	}
	if _, ok := properties(old)["isAttachedCompute"]; ok || properties(later)["isAttachedCompute"] != true {
		t.Fatalf("isAttachedCompute: %v and %v", properties(old), properties(later))
	}
	if p := properties(old); p["provisioningState"] != "Failed" || p["provisioningErrors"] == nil {
		t.Fatal(p)
	}
	for _, path := range []string{"/computes/gone", "/computes"} {
		if body := w.do("GET", workspace+path+v2018, "").Body.String(); strings.Contains(body, "hush-hush") {
			t.Fatalf("the password goes out: %s", body)
		}
	}
	if keys := w.want(200, "POST", workspace+"/computes/gone/listKeys"+v2018, ""); keys["password"] != "hush-hush" {
		t.Fatal(keys)
	}
	w.want(202, "DELETE", workspace+"/computes/gone"+v2018, "")
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.aml.ServeHTTP(rec, httptest.NewRequest("GET", "https://westeurope.experiments.azureml.net/discovery?flight=x", nil))
	var doc map[string]string
	must(t, json.Unmarshal(rec.Body.Bytes(), &doc))
	for _, key := range []string{"history", "experimentation", "experimentgraphs", "pipelines", "hyperdrive", "modelmanagement"} {
		if !strings.HasPrefix(doc[key], "https://westeurope.") {
			t.Errorf("%s: %q", key, doc[key])
		}
	}
	w.workspace()
	for _, method := range []string{"GET", "POST"} {
		req := httptest.NewRequest(method, "https://westeurope.experiments.azureml.net/hyperdrive/v1.0"+workspace+"/experiments/e/runs", nil)
		req.Header.Set("Authorization", "Bearer x")
		rec := httptest.NewRecorder()
		w.aml.ServeHTTP(rec, req)
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "HyperDrive is not emulated") {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
	}
	rec = httptest.NewRecorder()
	w.aml.ServeHTTP(rec, httptest.NewRequest("POST", "https://westeurope.experiments.azureml.net/discovery", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", rec.Code)
	}
}
