package dsvm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
)

// compute declares Microsoft.Compute.
func (f *Fake) compute() arm.Provider {
	const operations = "{base}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{operation}?"
	write := func(status int) arm.LRO {
		return arm.LRO{Status: status, AsyncOperation: operations + "api-version={version}", Operation: operationDocument}
	}
	later := write(http.StatusAccepted)
	later.NoBody, later.Location = true, operations+"monitor=true&api-version={version}"
	want := func(power string) arm.Action {
		return arm.Action{LRO: later, Begin: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
			p, err := privateOf(r)
			if err != nil {
				return err
			}
			if power == "stopped" && p.Want == "deallocated" {
				return nil // it is off already, and stays without cost
			}
			p.Want = power
			return p.store(r)
		}}
	}
	versions := arm.Versions{From: "2018-06-01"}
	return arm.Provider{
		Namespace: "Microsoft.Compute", Registered: true,
		Types: []arm.Type{{
			Name: typeVM, Versions: versions, Tracked: true,
			PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: write(http.StatusOK), Delete: later,
			Admit: f.admitVM, Reconciler: vmReconciler{f}, Render: f.renderVM, Live: true,
			Reads: map[string]arm.Read{"instanceView": f.readInstanceView},
			Actions: map[string]arm.Action{
				"start": want("running"), "powerOff": want("stopped"), "deallocate": want("deallocated"),
				"restart": {LRO: later, Begin: beginRestart},
			},
		}},
		Queries: []arm.Query{
			{Method: http.MethodGet, Pattern: "locations/{location}/vmSizes", Versions: versions, Do: f.listSizes},
			{Method: http.MethodGet, Pattern: "locations/{location}/usages", Versions: versions, Do: f.listUsages},
		},
	}
}

func beginRestart(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
	p, err := privateOf(r)
	if err != nil {
		return err
	}
	if p.Want == "deallocated" {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation 'restart' is not allowed on VM '%s' since the VM is either deallocated or marked to be deallocated.", nameOf(r.ID))}
	}
	p.Want = "running"
	p.Restarts++
	return p.store(r)
}

// operationDocument is what Azure-AsyncOperation shows of Microsoft.Compute.
func operationDocument(_ arm.Call, op *arm.Operation, _ *arm.Resource) any {
	doc := object{"startTime": stamp(op.Start), "status": op.Status, "name": op.ID}
	if !op.End.IsZero() {
		doc["endTime"] = stamp(op.End)
	}
	if op.Error != nil {
		doc["error"] = object{"code": op.Error.Code, "message": op.Error.Message}
	}
	return doc
}

// stamp is a time as Microsoft.Compute writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000+00:00") }

// readInstanceView is GET {id}/instanceView.
func (f *Fake) readInstanceView(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	o, err := parse(r.Properties)
	if err != nil {
		return 0, nil, err
	}
	p, err := privateOf(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, f.instanceView(r, o, p), nil
}

// renderVM is the wire form; with $expand=instanceView it says what is really so.
func (f *Fake) renderVM(c arm.Call, r *arm.Resource) (any, error) {
	o, err := parse(r.Properties)
	if err != nil {
		return nil, err
	}
	p, err := privateOf(r)
	if err != nil {
		return nil, err
	}
	if r.State != "" {
		o["provisioningState"] = r.State
	}
	for _, expand := range c.Query["$expand"] {
		if strings.EqualFold(expand, "instanceView") {
			o["instanceView"] = f.instanceView(r, o, p)
		}
	}
	return envelope(r, typeVM, o, portTag(r.Tags, p.Port)), nil
}

// instanceView is that of VirtualMachineInstanceView, without what there is nothing of.
func (f *Fake) instanceView(r *arm.Resource, o object, p private) object {
	word := f.machine(p.ID).power()
	switch step := p.Step; {
	case word != "running" && (step == "create" || step == "start" || step == "restart" || step == "resize"):
		word = "starting"
	case word == "running" && step == "powerOff":
		word = "stopping"
	case word == "running" && step == "deallocate":
		word = "deallocating"
	}
	state := strings.ToLower(r.State)
	provisioning := object{"code": "ProvisioningState/" + state, "level": "Info", "displayStatus": "Provisioning " + state}
	if !p.Provisioned.IsZero() {
		provisioning["time"] = stamp(p.Provisioned)
	}
	if why := p.LastFailure; state == "failed" && why != nil {
		provisioning["code"], provisioning["level"], provisioning["message"] = "ProvisioningState/failed/"+why.Code, "Error", why.Message
	}
	view := object{"statuses": []object{provisioning, {"code": "PowerState/" + word, "level": "Info", "displayStatus": "VM " + word}}}
	if disk := o.child("storageProfile").child("osDisk").text("name"); disk != "" {
		view["disks"] = []object{{"name": disk, "statuses": []object{{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}}}}
	}
	return view
}

// envelope is ARM's around properties.
func envelope(r *arm.Resource, kind string, properties object, tags map[string]string) object {
	out := object{"id": r.ID.String(), "name": nameOf(r.ID), "type": kind, "location": r.Location, "properties": properties}
	if tags != nil {
		out["tags"] = tags
	}
	if r.ETag != "" && strings.HasPrefix(kind, "Microsoft.Network/") {
		out["etag"] = r.ETag
	}
	if len(r.Zones) > 0 {
		out["zones"] = r.Zones
	}
	for name, raw := range map[string]json.RawMessage{"sku": r.SKU, "plan": r.Plan, "identity": r.Identity} {
		if len(raw) > 0 && string(raw) != "null" {
			out[name] = raw
		}
	}
	return out
}

// portTag adds the tag that names a port other than SSH's own.
func portTag(tags map[string]string, port int) map[string]string {
	if port == 0 || port == 22 {
		return tags
	}
	out := map[string]string{PortTag: strconv.Itoa(port)}
	for k, v := range tags {
		out[k] = v
	}
	return out
}
