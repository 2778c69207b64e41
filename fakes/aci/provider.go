package aci

import (
	"context"
	"net/http"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

const typeGroup = "Microsoft.ContainerInstance/containerGroups"

// Provider declares Microsoft.ContainerInstance, as of 2018-10-01.
func (f *Fake) Provider() arm.Provider {
	versions := arm.Versions{From: "2018-04-01", Known: []string{"2018-10-01", "2018-09-01", "2018-06-01", "2018-04-01"}}
	write := func(status int) arm.LRO {
		l := arm.ContainerInstanceStyle()
		l.Status, l.Operation = status, f.operation
		return l
	}
	return arm.Provider{
		Namespace: "Microsoft.ContainerInstance", Registered: true,
		Authorizations: []arm.Authorization{{ApplicationID: "6bb8e274-af5d-4df2-98a3-4fd78b4cafd9", RoleDefinitionID: "3c60422b-a83a-428d-9830-22609c77aa6c"}},
		Types: []arm.Type{{
			Name: typeGroup, Versions: versions, Tracked: true, Zones: true,
			PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Delete: arm.LRO{WithBody: true},
			States: &arm.States{Creating: "Pending", Updating: "Pending"},
			Schema: schema(), Admit: f.admit, Reconciler: f, Render: f.render, Live: true,
			Reads: map[string]arm.Read{"containers/{container}/logs": f.readLogs},
			Actions: map[string]arm.Action{
				"start":                         {Sync: f.start},
				"stop":                          {Sync: f.stop},
				"restart":                       {Sync: f.restart},
				"containers/{container}/exec":   {ReadOnly: true, Sync: f.exec},
				"containers/{container}/attach": {ReadOnly: true, Sync: f.attach},
			},
		}},
		Queries: []arm.Query{
			{Method: http.MethodGet, Pattern: "operations", Versions: versions, Do: f.listOperations},
			{Method: http.MethodGet, Pattern: "locations/{location}/usages", Versions: versions, Do: f.usages},
			{Method: http.MethodGet, Pattern: "locations/{location}/capabilities", Versions: versions, Do: f.capabilities},
			{Method: http.MethodGet, Pattern: "locations/{location}/cachedImages", Versions: versions, Do: f.cachedImages},
		},
	}
}

// Reconcile implements arm.Reconciler: the pod does the work, and wakes the group when it has come further.
func (f *Fake) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	p, err := privateOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	if r.Deleting {
		err := f.pod(p.ID).remove(ctx)
		return arm.Result{Done: err == nil}, err
	}
	done, err := f.drive(ctx, v, r, p)
	return arm.Result{Done: done}, err
}

// drive brings a group's pod on the way to what is wanted, and says whether it is there.
func (f *Fake) drive(ctx context.Context, v arm.View, r *arm.Resource, p private) (bool, error) {
	id := r.ID
	return f.pod(p.ID).drive(ctx, order{Resource: id.String(), Name: id.Name(), Location: r.Location, Spec: p.Spec, Generation: p.Generation, Stopped: p.Stopped},
		func() { v.Enqueue(id) })
}

func (f *Fake) start(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	return f.turn(ctx, v, r, func(p *private) {
		if p.Stopped || f.pod(p.ID).finished() {
			p.Generation++
		}
		p.Stopped = false
	})
}

func (f *Fake) stop(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	return f.turn(ctx, v, r, func(p *private) { p.Stopped = true })
}

func (f *Fake) restart(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	return f.turn(ctx, v, r, func(p *private) { p.Generation, p.Stopped = p.Generation+1, false })
}

// turn changes what is wanted of a group, and begins it before it answers.
func (f *Fake) turn(ctx context.Context, v arm.View, r *arm.Resource, change func(*private)) (int, any, error) {
	p, err := privateOf(r)
	if err != nil {
		return 0, nil, err
	}
	change(&p)
	if err := p.store(r); err != nil {
		return 0, nil, err
	}
	if _, err := f.drive(ctx, v, r, p); err != nil && !isRefusal(err) {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

type listed struct {
	Value any `json:"value"`
}

func (f *Fake) usages(ctx context.Context, c arm.Call) (any, error) {
	place, refused := findRegion(c.Vars["location"])
	if refused != nil {
		return nil, refused
	}
	subscription, err := arm.ParseID("/subscriptions/" + c.Vars["subscription"])
	if err != nil {
		return nil, err
	}
	groups, err := c.View.List(ctx, subscription, typeGroup)
	if err != nil {
		return nil, err
	}
	used := 0
	for _, g := range groups {
		if hardware.Location(g.Location) == place.Name {
			used++
		}
	}
	return listed{[]any{map[string]any{"unit": "Count", "currentValue": used, "limit": f.cfg.Groups,
		"name": map[string]string{"value": "ContainerGroups", "localizedValue": "Container Groups"}}}}, nil
}

func (f *Fake) capabilities(_ context.Context, c arm.Call) (any, error) {
	place, refused := findRegion(c.Vars["location"])
	if refused != nil {
		return nil, refused
	}
	return listed{[]any{map[string]any{"resourceType": "containerGroups", "osType": "Linux", "location": place.Display, "ipAddressType": "Public", "gpu": "None",
		"capabilities": map[string]any{"maxMemoryInGB": place.MaxMemoryInGB, "maxCpu": place.MaxCPU, "maxGpuCount": 0}}}}, nil
}

// cachedImages are those that a group gets without waiting: on the process engine what engine.HostImages names.
func (f *Fake) cachedImages(_ context.Context, c arm.Call) (any, error) {
	if _, refused := findRegion(c.Vars["location"]); refused != nil {
		return nil, refused
	}
	out := []any{}
	for _, i := range append(f.cfg.Images[:len(f.cfg.Images):len(f.cfg.Images)], engine.HostImages()...) {
		out = append(out, map[string]any{"osType": "Linux", "image": i.Match})
	}
	return listed{out}, nil
}
