package aci

import (
	"encoding/json"
	"net/http"

	"lazulite.dev/emulator/arm"
)

// envelope is a group in the order in which the service writes it.
type envelope struct {
	Properties *groupProperties  `json:"properties"`
	Identity   json.RawMessage   `json:"identity,omitempty"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags"`
	Zones      []string          `json:"zones,omitempty"`
}

// render is a group as its containers are now. A list has no instance views.
func (f *Fake) render(c arm.Call, r *arm.Resource) (any, error) {
	p, err := privateOf(r)
	if err != nil {
		return nil, err
	}
	var g groupProperties
	if err := json.Unmarshal(r.Properties, &g); err != nil {
		return nil, err
	}
	g.ProvisioningState = r.State
	if !c.List {
		f.look(c, p, r, &g)
	}
	if arm.CompareVersions(c.Version, "2019-12-01") >= 0 {
		if g.SKU == "" {
			g.SKU = "Standard"
		}
	} else {
		g.SKU = ""
	}
	e := envelope{Properties: &g, Identity: r.Identity, ID: r.ID.String(), Name: r.ID.Name(), Type: typeGroup, Location: r.Location, Tags: r.Tags, Zones: r.Zones}
	if e.Tags == nil {
		e.Tags = map[string]string{}
	}
	return e, nil
}

// look fills the instance views in.
func (f *Fake) look(c arm.Call, p private, r *arm.Resource, g *groupProperties) {
	pod := f.known(p.ID)
	if pod == nil || !pod.begun(p.Generation) || c.Method == http.MethodPut && r.State == "Pending" {
		// Accepted, and, as far as that answer says, not begun.
		g.InstanceView = &groupView{State: "Pending"}
		return
	}
	if r.State == "Pending" {
		g.ProvisioningState = "Creating"
	}
	g.InstanceView = pod.view(g)
}

// operation is the status document: the group's own id, and its containers' events.
func (f *Fake) operation(_ arm.Call, op *arm.Operation, r *arm.Resource) any {
	events := []*event{}
	if r != nil {
		if p, err := privateOf(r); err == nil {
			if pod := f.known(p.ID); pod != nil {
				events = pod.events()
			}
		}
	}
	doc := struct {
		ID         string         `json:"id"`
		Status     string         `json:"status"`
		StartTime  string         `json:"startTime"`
		Properties map[string]any `json:"properties"`
		Error      *arm.Error     `json:"error,omitempty"`
	}{op.ResourceID, op.Status, op.Start.UTC().Format("2006-01-02T15:04:05.0000000Z"), map[string]any{"events": events}, op.Error}
	return doc
}

func pointer[T any](v T) *T { return &v }
