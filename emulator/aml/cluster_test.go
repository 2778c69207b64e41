package aml_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
)

const batchWorkspace = group + "/providers/Microsoft.BatchAI/workspaces/bai1"

// batchAI is a Batch AI whose clusters are there at once, with as many nodes as they have at least.
func batchAI() arm.Provider {
	states := &arm.States{Creating: "creating", Updating: "updating", Deleting: "deleting", Succeeded: "succeeded", Failed: "failed"}
	versions := arm.Versions{From: "2018-05-01"}
	scaled := func(_ context.Context, _ arm.View, _ arm.Call, _, next *arm.Resource) error {
		var p map[string]any
		if err := json.Unmarshal(next.Properties, &p); err != nil {
			return err
		}
		scale := p["scaleSettings"].(map[string]any)
		count := any(nil)
		if a, ok := scale["autoScale"].(map[string]any); ok {
			count = a["minimumNodeCount"]
		}
		if m, ok := scale["manual"].(map[string]any); ok {
			count = m["targetNodeCount"]
		}
		p["currentNodeCount"], p["nodeStateCounts"], p["allocationState"] = count, map[string]any{"idleNodeCount": count}, "steady"
		p["creationTime"], p["allocationStateTransitionTime"] = "2018-10-20T10:00:00Z", "2018-10-20T10:00:00Z"
		var err error
		next.Properties, err = json.Marshal(p)
		return err
	}
	logins := func(context.Context, arm.View, arm.Call, *arm.Resource) (int, any, error) {
		return http.StatusOK, map[string]any{"value": []any{map[string]any{"nodeId": "tvm-1", "ipAddress": "127.0.0.1", "port": 50000}}}, nil
	}
	return arm.Provider{Namespace: "Microsoft.BatchAI", Registered: true, Types: []arm.Type{
		{Name: "Microsoft.BatchAI/workspaces", Versions: versions, Tracked: true, States: states, PutNew: arm.LRO{Status: http.StatusOK}},
		{Name: "Microsoft.BatchAI/workspaces/clusters", Versions: versions, States: states, Admit: scaled, PutNew: arm.LRO{Status: http.StatusOK},
			Actions: map[string]arm.Action{"listRemoteLoginInformation": {ReadOnly: true, Sync: logins}}},
	}}
}

// compute waits until a compute's operation is over.
func (w *world) compute(name, version string) map[string]any {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		doc := w.want(200, "GET", workspace+"/computes/"+name+version, "")
		if state := properties(doc)["provisioningState"]; state != "Creating" && state != "Updating" {
			return doc
		}
		select {
		case <-deadline:
			w.t.Fatalf("compute %s: %v", name, doc)
		case <-tick.C:
		}
	}
}

func (w *world) gone(path string) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for w.do("GET", path, "").Code != 404 {
		select {
		case <-deadline:
			w.t.Fatalf("%s is still there", path)
		case <-tick.C:
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func TestCluster(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", batchWorkspace+"?api-version=2018-05-01", `{"location":"eastus2"}`)
	w.want(201, "PUT", workspace+v2018, `{"location":"eastus2","properties":{"storageAccount":"`+account+`","batchaiWorkspace":"`+batchWorkspace+`"}}`)
	if rec := w.do("PUT", workspace+"/computes/c1"+v2018, `{"location":"eastus2","properties":{"computeType":"BatchAI","properties":{"vmSize":"STANDARD_D2_V2","vmPriority":"lowpriority","scaleSettings":{"autoScaleEnabled":true,"minNodeCount":1,"maxNodeCount":4}}}}`); rec.Code != 201 || rec.Header().Get("Azure-AsyncOperation") == "" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	doc := w.compute("c1", v2018)
	p := properties(doc)
	id, _ := p["resourceId"].(string)
	if p["provisioningState"] != "Succeeded" || p["computeType"] != "BatchAI" || !strings.HasPrefix(id, batchWorkspace+"/clusters/c1-") {
		t.Fatalf("compute %v", doc)
	}
	if got := asJSON(t, p["properties"]); got != `{"scaleSettings":{"autoScaleEnabled":true,"maxNodeCount":4,"minNodeCount":1},"vmPriority":"lowpriority","vmSize":"STANDARD_D2_V2"}` {
		t.Errorf("properties %s", got)
	}
	if got := asJSON(t, p["status"]); got != `{"detailedStatus":{"properties.allocationState":"steady","properties.allocationStateTransitionTime":"2018-10-20T10:00:00Z","properties.creationTime":"2018-10-20T10:00:00Z","properties.currentNodeCount":1,"properties.errors":null,"properties.nodeStateCounts":{"idleNodeCount":1,"leavingNodeCount":0,"preparingNodeCount":0,"runningNodeCount":0,"unusableNodeCount":0},"properties.provisioningState":"succeeded","properties.scaleSettings":{"autoScale":{"initialNodeCount":1,"maximumNodeCount":4,"minimumNodeCount":1},"manual":null},"properties.vmPriority":"lowpriority","properties.vmSize":"STANDARD_D2_V2"}}` {
		t.Errorf("status %s", got)
	}
	// Ensure the cluster was asked for with a user of its own, whose key stays here.
	asked := properties(w.want(200, "GET", id+"?api-version=2018-05-01", ""))
	if user, _ := asked["userAccountSettings"].(map[string]any); user["adminUserName"] != "azureml" || !strings.HasPrefix(user["adminUserSshPublicKey"].(string), "ssh-") {
		t.Errorf("user %v", asked["userAccountSettings"])
	}
	if body := w.do("GET", workspace+"/computes"+v2018, "").Body.String(); strings.Contains(body, "PRIVATE KEY") {
		t.Errorf("the key goes out: %s", body)
	}
	// The same cluster to a later api-version.
	later := properties(w.want(200, "GET", workspace+"/computes/c1"+v2019, ""))
	if later["computeType"] != "AmlCompute" || later["isAttachedCompute"] != false || later["status"] != nil {
		t.Errorf("later %v", later)
	}
	if got := asJSON(t, later["properties"]); got != `{"allocationState":"Steady","allocationStateTransitionTime":"2018-10-20T10:00:00Z","currentNodeCount":1,"errors":null,"nodeStateCounts":{"idleNodeCount":1,"leavingNodeCount":0,"preemptedNodeCount":0,"preparingNodeCount":0,"runningNodeCount":0,"unusableNodeCount":0},"scaleSettings":{"maxNodeCount":4,"minNodeCount":1,"nodeIdleTimeBeforeScaleDown":"PT120S"},"subnet":null,"targetNodeCount":1,"vmPriority":"LowPriority","vmSize":"STANDARD_D2_V2"}` {
		t.Errorf("later properties %s", got)
	}
	nodes := w.want(200, "POST", workspace+"/computes/c1/listNodes"+v2019, "")
	if got := asJSON(t, nodes["nodes"]); got != `[{"ipAddress":"127.0.0.1","nodeId":"tvm-1","port":50000,"publicIpAddress":"127.0.0.1"}]` {
		t.Errorf("nodes %s", got)
	}
	// A new size goes to the cluster; another VM size does not.
	w.want(200, "PATCH", workspace+"/computes/c1"+v2019, `{"properties":{"computeType":"AmlCompute","properties":{"scaleSettings":{"minNodeCount":2,"maxNodeCount":3,"nodeIdleTimeBeforeScaleDown":"PT60S"}}}}`)
	if p := properties(w.compute("c1", v2019)); p["provisioningState"] != "Succeeded" || !strings.Contains(asJSON(t, p["properties"]), `"currentNodeCount":2`) || !strings.Contains(asJSON(t, p["properties"]), `PT60S`) {
		t.Errorf("after PATCH %v", p)
	}
	if rec := w.do("PUT", workspace+"/computes/c1"+v2018, `{"location":"eastus2","properties":{"computeType":"BatchAI","properties":{"vmSize":"Standard_DS3_v2"}}}`); rec.Code != 400 || !strings.Contains(rec.Body.String(), "cannot be changed") {
		t.Errorf("other size: %d %s", rec.Code, rec.Body)
	}
	if rec := w.do("PUT", workspace+"/computes/c1"+v2018, `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":{}}}`); rec.Code != 409 {
		t.Errorf("other type: %d %s", rec.Code, rec.Body)
	}
	w.want(202, "DELETE", workspace+"/computes/c1"+v2018, "")
	w.gone(workspace + "/computes/c1" + v2018)
	w.want(404, "GET", id+"?api-version=2018-05-01", "")
	w.want(200, "GET", batchWorkspace+"?api-version=2018-05-01", "")
}

func TestAttachedCluster(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	w.want(200, "PUT", batchWorkspace+"?api-version=2018-05-01", `{"location":"eastus2"}`)
	id := batchWorkspace + "/clusters/mine"
	w.want(200, "PUT", id+"?api-version=2018-05-01", `{"properties":{"vmSize":"STANDARD_NC6","vmPriority":"dedicated","scaleSettings":{"manual":{"targetNodeCount":2}}}}`)
	w.want(201, "PUT", workspace+"/computes/c2"+v2018, `{"location":"eastus2","tags":null,"properties":{"computeType":"BatchAI","resourceId":"`+id+`","description":""}}`)
	p := properties(w.compute("c2", v2018))
	if got := asJSON(t, p["properties"]); p["provisioningState"] != "Succeeded" || got != `{"scaleSettings":{"autoScaleEnabled":false,"maxNodeCount":2,"minNodeCount":2},"vmPriority":"dedicated","vmSize":"STANDARD_NC6"}` {
		t.Fatalf("%v", p)
	}
	if rec := w.do("DELETE", workspace+"/computes/c2"+v2019+"&underlyingResourceAction=Delete", ""); rec.Code != 400 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.want(202, "DELETE", workspace+"/computes/c2"+v2018, "")
	w.gone(workspace + "/computes/c2" + v2018)
	w.want(200, "GET", id+"?api-version=2018-05-01", "")
}

// A cluster outside of the workspace's region has a Batch AI workspace of its own, which goes with it.
func TestClusterElsewhere(t *testing.T) {
	w := newWorld(t)
	w.workspace()
	w.want(201, "PUT", workspace+"/computes/c3"+v2018, `{"location":"eastus2","properties":{"computeType":"BatchAI","computeLocation":"westus2"}}`)
	p := properties(w.compute("c3", v2018))
	id, _ := p["resourceId"].(string)
	home, _, ok := strings.Cut(id, "/clusters/")
	if p["provisioningState"] != "Succeeded" || !ok {
		t.Fatalf("%v", p)
	}
	if doc := w.want(200, "GET", home+"?api-version=2018-05-01", ""); doc["location"] != "westus2" {
		t.Errorf("%v", doc)
	}
	w.want(202, "DELETE", workspace+"/computes/c3"+v2018, "")
	w.gone(workspace + "/computes/c3" + v2018)
	w.want(404, "GET", home+"?api-version=2018-05-01", "")
}
