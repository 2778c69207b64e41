package arm_test

import (
	"context"
	"encoding/json"
	"testing"

	"lazulite.dev/emulator/arm"
)

// walls is a provider whose walls hold their bricks, and leave a bill behind.
func walls(things *things) arm.Provider {
	versions := arm.Versions{From: "2018-01-01"}
	admit := func(_ context.Context, _ arm.View, _ arm.Call, _, next *arm.Resource) error {
		var p struct {
			Bricks []struct {
				Name       string
				Properties struct{ Color string }
			}
		}
		if err := json.Unmarshal(next.Properties, &p); err != nil {
			return err
		}
		for _, b := range p.Bricks {
			if b.Properties.Color == "" {
				return arm.InvalidParameter("properties.color", "Brick '%s' has no color.", b.Name)
			}
		}
		return nil
	}
	return arm.Provider{Namespace: "Microsoft.Walls", Registered: true, Types: []arm.Type{
		{Name: "Microsoft.Walls/walls", Versions: versions, Tracked: true, Zones: true, Profiles: map[string]string{"old": "2018-01-01"}, Admit: admit,
			PutNew: arm.NetworkStyle(201), PutOld: arm.NetworkStyle(200), Delete: arm.NetworkStyle(202), Reconciler: builder{things},
			Actions: map[string]arm.Action{"paint": {LRO: arm.ComputeStyle(202), Begin: func(context.Context, arm.View, arm.Call, *arm.Resource) error { return nil }}}},
		{Name: "Microsoft.Walls/walls/bricks", Versions: versions, Part: "bricks", PutNew: arm.NetworkStyle(201), PutOld: arm.NetworkStyle(200), Delete: arm.NetworkStyle(202),
			AdmitDelete: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
				if r.ID.Name() == "corner" {
					return arm.Errorf(400, "InUse", "The corner holds the wall.")
				}
				return nil
			}},
		{Name: "Microsoft.Walls/bills", Versions: versions, Tracked: true},
	}}
}

// builder is done when its things are, and bills each wall once.
type builder struct{ *things }

func (b builder) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	res, err := b.things.Reconcile(ctx, v, r)
	if err != nil || !res.Done || r.Deleting {
		return res, err
	}
	id, err := arm.ParseID(r.ID.Parent().String() + "/providers/Microsoft.Walls/bills/" + r.ID.Name())
	if err != nil {
		return res, err
	}
	res.Output = json.RawMessage(`{"painted":"` + r.ID.Name() + `"}`)
	res.Create = []*arm.Resource{{ID: id, Location: r.Location, Properties: json.RawMessage(`{"sum":7}`)}}
	return res, nil
}

func newWalls(t *testing.T) *rig {
	r := newRig(t, func(c *arm.Config) {
		things := &things{hold: map[string]bool{}, fail: map[string]*arm.Error{}, calls: map[string]int{}}
		c.Providers = append(c.Providers, walls(things))
	})
	r.group()
	return r
}

const wallPath = "{G}/providers/Microsoft.Walls/walls/w"

func (r *rig) settled(path string) {
	r.t.Helper()
	r.until(path+" is done", func() bool { return r.do("GET "+path, "").get("properties.provisioningState") == "Succeeded" })
}

func TestParts(t *testing.T) {
	r := newWalls(t)
	r.must(201, "PUT "+wallPath, `{"location":"eastus2","properties":{"bricks":[{"name":"corner","properties":{"color":"red"}}]}}`)
	r.settled(wallPath)
	brick := wallPath + "/bricks/"
	if a := r.must(200, "GET "+brick+"CORNER", ""); a.get("properties.color") != "red" || a.get("name") != "corner" || a.get("type") != "Microsoft.Walls/walls/bricks" || a.header.Get("Etag") == "" {
		t.Errorf("a part that was written with its parent: %s", a.body)
	}
	a := r.must(201, "PUT "+brick+"second", `{"properties":{"color":"blue","provisioningState":"Odd"}}`)
	if a.get("properties.color") != "blue" || a.get("properties.provisioningState") != "Updating" || a.header.Get("Azure-Asyncoperation") == "" {
		t.Errorf("PUT: %s, %v", a.body, a.header)
	}
	r.until("the operation ends", func() bool { return r.do("GET "+a.header.Get("Azure-Asyncoperation"), "").get("status") == "Succeeded" })
	if a := r.must(200, "GET "+wallPath, ""); a.get("properties.bricks.1.name") != "second" || a.get("properties.bricks.1.properties.color") != "blue" {
		t.Errorf("the parent: %s", a.body)
	}
	if a := r.must(200, "PATCH "+brick+"second", `{"properties":{"size":3}}`); a.get("properties.color") != "blue" || a.get("properties.size") != 3.0 {
		t.Errorf("PATCH: %s", a.body)
	}
	r.settled(wallPath)
	if a := r.must(200, "GET "+wallPath+"/bricks", ""); a.get("value.0.name") != "corner" || a.get("value.1.name") != "second" || a.get("value.2") != nil {
		t.Errorf("the list: %s", a.body)
	}
	for _, c := range []struct {
		line, body string
		status     int
		code       string
	}{
		{"GET " + brick + "absent", "", 404, "ResourceNotFound"},
		{"PATCH " + brick + "absent", `{}`, 404, "ResourceNotFound"},
		{"PUT " + brick + "pale", `{"properties":{}}`, 400, "InvalidParameter"},
		{"PUT " + brick + "odd%3Cname", `{"properties":{"color":"red"}}`, 400, "InvalidResourceName"},
		{"DELETE " + brick + "corner", "", 400, "InUse"},
		{"GET {G}/providers/Microsoft.Walls/walls/absent/bricks/x", "", 404, "ParentResourceNotFound"},
		{"GET {G}/providers/Microsoft.Walls/walls/absent/bricks", "", 404, "ParentResourceNotFound"},
		{"POST " + brick + "corner", "", 405, ""},
	} {
		if a := r.do(c.line, c.body); a.status != c.status || c.code != "" && a.get("error.code") != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.line, a.status, a.body, c.status, c.code)
		}
	}
	if a := r.do("PUT "+brick+"second", `{"properties":{"color":"green"}}`, `If-None-Match: *`); a.status != 412 {
		t.Errorf("If-None-Match: %d %s", a.status, a.body)
	}
	if a := r.do("DELETE "+brick+"absent", ""); a.status != 204 {
		t.Errorf("DELETE of none: %d", a.status)
	}
	a = r.must(202, "DELETE "+brick+"second", "")
	r.until("it is gone", func() bool { return r.do("GET "+a.header.Get("Azure-Asyncoperation"), "").get("status") == "Succeeded" })
	if a := r.do("GET "+brick+"second", ""); a.status != 404 {
		t.Errorf("after DELETE: %d", a.status)
	}
	// Hooks see parts like any resource, and so does a restarted engine.
	r.reopen()
	parent, _ := arm.ParseID("/subscriptions/" + sub + "/resourceGroups/g")
	if all, err := r.engine.View().List(t.Context(), parent, "Microsoft.Walls/walls/bricks"); err != nil || len(all) != 1 || all[0].ID.Name() != "corner" {
		t.Errorf("the view: %v, %v", all, err)
	}
	id, _ := arm.ParseID(parent.String() + "/providers/Microsoft.Walls/walls/w/bricks/corner")
	if one, err := r.engine.View().Get(t.Context(), id); err != nil || string(one.Properties) != `{"color":"red"}` {
		t.Errorf("the view: %v, %v", one, err)
	}
	r.must(202, "DELETE "+wallPath, "")
	r.until("the wall is gone", func() bool { return r.do("GET "+wallPath, "").status == 404 })
}

func TestPartsInATemplate(t *testing.T) {
	r := newWalls(t)
	r.must(201, "PUT {G}/providers/Microsoft.Resources/deployments/d", `{"properties":{"mode":"Incremental","template":{"$schema":"x","contentVersion":"1.0.0.0","resources":[
 {"type":"Microsoft.Walls/walls","name":"w","apiVersion":"2018-01-01","location":"eastus2","properties":{"bricks":[]}},
 {"type":"Microsoft.Walls/walls/bricks","name":"w/one","apiVersion":"2018-01-01","dependsOn":["Microsoft.Walls/walls/w"],"properties":{"color":"red"}}],
 "outputs":{"color":{"type":"string","value":"[reference(resourceId('Microsoft.Walls/walls/bricks','w','one'),'2018-01-01').color]"}}}}}`)
	r.until("the deployment ends", func() bool {
		s := r.do("GET {G}/providers/Microsoft.Resources/deployments/d", "").get("properties.provisioningState")
		return s == "Succeeded" || s == "Failed"
	})
	if a := r.must(200, "GET {G}/providers/Microsoft.Resources/deployments/d", ""); a.get("properties.outputs.color.value") != "red" {
		t.Errorf("the deployment: %s", a.body)
	}
}

// What comes with a resource is there when its operation ends, once, and what the operation has to show is at both of its URLs.
func TestCreateAndOutput(t *testing.T) {
	r := newWalls(t)
	bill := "{G}/providers/Microsoft.Walls/bills/w"
	a := r.must(201, "PUT "+wallPath, `{"location":"eastus2"}`)
	r.until("the operation ends", func() bool { return r.do("GET "+a.header.Get("Azure-Asyncoperation"), "").get("status") == "Succeeded" })
	first := r.must(200, "GET "+bill, "")
	if first.get("properties.sum") != 7.0 || first.get("properties.provisioningState") != "Succeeded" {
		t.Errorf("the bill: %s", first.body)
	}
	a = r.must(202, "POST "+wallPath+"/paint", "")
	r.until("it is painted", func() bool { return r.do("GET "+a.header.Get("Azure-Asyncoperation"), "").get("status") == "Succeeded" })
	if got := r.must(200, "GET "+a.header.Get("Location"), ""); got.get("painted") != "w" {
		t.Errorf("Location: %s", got.body)
	}
	if again := r.must(200, "GET "+bill, ""); again.header.Get("Etag") != first.header.Get("Etag") {
		t.Error("the bill was written twice")
	}
	r.reopen()
	if got := r.must(200, "GET "+a.header.Get("Location"), ""); got.get("painted") != "w" {
		t.Errorf("after a restart: %s", got.body)
	}
	p := r.must(200, "GET {SUB}/providers/Microsoft.Walls", "")
	if p.get("resourceTypes.0.zoneMappings.0.zones.0") != "1" || p.get("resourceTypes.0.apiProfiles.0.apiVersion") != "2018-01-01" || p.get("resourceTypes.0.defaultApiVersion") != "2018-01-01" {
		t.Errorf("the provider: %s", p.body)
	}
}

func TestBadParts(t *testing.T) {
	versions := arm.Versions{From: "2018-01-01"}
	for name, types := range map[string][]arm.Type{
		"a part of nothing":      {{Name: "Microsoft.Walls/walls", Versions: versions, Part: "x"}},
		"a part that reconciles": {{Name: "Microsoft.Walls/walls", Versions: versions}, {Name: "Microsoft.Walls/walls/b", Versions: versions, Part: "b", Reconciler: builder{}}},
		"a part of a part":       {{Name: "Microsoft.Walls/walls", Versions: versions}, {Name: "Microsoft.Walls/walls/b", Versions: versions, Part: "b"}, {Name: "Microsoft.Walls/walls/b/c", Versions: versions, Part: "c"}},
	} {
		r := newRig(t)
		if _, err := arm.New(arm.Config{Store: r.store, Providers: []arm.Provider{{Namespace: "Microsoft.Walls", Types: types}}}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
