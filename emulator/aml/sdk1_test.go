package aml_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const v2021 = "?api-version=2021-01-01"

// Ensure that each range of api-versions has its own names for what the service sets, and its own settings.
func TestWorkspaceShapes(t *testing.T) {
	w := newWorld(t)
	w.want(201, "PUT", workspace+v2021, `{"location":"eastus2","properties":{"storageAccount":"`+account+`","hbiWorkspace":true,"imageBuildCompute":"c"}}`)
	old, later := properties(w.want(200, "GET", workspace+v2018, "")), properties(w.want(200, "GET", workspace+v2021, ""))
	if old["workspaceid"] == nil || old["workspaceid"] != later["workspaceId"] || later["workspaceid"] != nil {
		t.Fatalf("%v and %v", old, later)
	}
	if old["creationDate"] == nil || old["creationDate"] != later["creationTime"] {
		t.Fatalf("%v and %v", old, later)
	}
	if _, shown := old["hbiWorkspace"]; shown || later["hbiWorkspace"] != true || later["imageBuildCompute"] != "c" {
		t.Fatalf("%v and %v", old, later)
	}
	// What a client read it may send back: what the service sets is not for the client to change.
	p := properties(w.want(200, "PATCH", workspace+v2021, `{"properties":{"description":"d","workspaceId":"x"}}`))
	if p["workspaceId"] != later["workspaceId"] || p["description"] != "d" || p["hbiWorkspace"] != true {
		t.Fatal(p)
	}
}

// Ensure that the region's own host shows workspaces and computes as the resource manager does.
func TestRegionsDoorToARM(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	for _, row := range []struct {
		path   string
		status int
		has    string
	}{
		{"/rp/workspaces" + workspace + v2021, 200, `"workspaceId"`},
		{"/RP/Workspaces" + workspace + "/computes?api-version=2020-02-02", 200, `"value":[]`},
		{"/rp/workspaces" + workspace + "/computes/none?api-version=2020-02-02", 404, "ResourceNotFound"},
		{"/rp/workspaces", 404, "error"},
		{"/rp/workspacesx" + workspace + v2021, 404, "error"},
	} {
		req := httptest.NewRequest(http.MethodGet, "https://eastus2.experiments.azureml.net"+row.path, nil)
		req.Header.Set("Authorization", "Bearer x")
		rec := httptest.NewRecorder()
		w.aml.ServeHTTP(rec, req)
		if rec.Code != row.status || !strings.Contains(rec.Body.String(), row.has) {
			t.Errorf("%s: %d %s", row.path, rec.Code, rec.Body)
		}
	}
}

// Ensure that DELETE of later versions says what becomes of the machine, and that of 2018 need not.
func TestUnderlyingResourceAction(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	attach := `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":{"address":"127.0.0.1","sshPort":1,"administratorAccount":{"username":"u","password":"p"}}}}`
	const c1, v2020 = workspace + "/computes/c1", "?api-version=2020-02-02"
	w.want(201, "PUT", c1+v2020, attach)
	for _, row := range []struct{ query, words string }{
		{"", "is required"},
		{"&underlyingResourceAction=Forget", "'Forget'"},
		{"&underlyingResourceAction=delete", "was attached"},
	} {
		if rec := w.do("DELETE", c1+v2020+row.query, ""); rec.Code != 400 || !strings.Contains(rec.Body.String(), row.words) || !strings.Contains(rec.Body.String(), "underlyingResourceAction") {
			t.Errorf("%q: %d %s", row.query, rec.Code, rec.Body)
		}
	}
	w.want(200, "GET", c1+v2020, "")
	w.want(202, "DELETE", c1+v2020+"&UnderlyingResourceAction=Detach", "")
	w.want(201, "PUT", workspace+"/computes/c2"+v2018, attach)
	w.want(202, "DELETE", workspace+"/computes/c2"+v2018, "")
}
