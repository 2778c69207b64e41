package dsvm

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
)

// compute declares Microsoft.Compute, as of 2018-10-01.
func (f *Fake) compute() arm.Provider {
	const operations = "{base}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{operation}?"
	diskOperations := strings.Replace(operations, "/operations/", "/DiskOperations/", 1)
	write := func(status int) arm.LRO {
		return arm.LRO{Status: status, AsyncOperation: operations + "api-version={version}", Operation: operationDocument}
	}
	later := write(http.StatusAccepted)
	later.NoBody, later.Location = true, operations+"monitor=true&api-version={version}"
	versions := arm.Versions{From: "2015-06-15", Known: []string{"2018-10-01", "2018-06-01", "2018-04-01", "2017-12-01", "2017-03-30", "2016-08-30", "2016-04-30-preview", "2016-03-30", "2015-06-15"}}
	diskVersions := arm.Versions{From: "2016-04-30-preview", Known: []string{"2018-09-30", "2018-06-01", "2018-04-01", "2017-03-30", "2016-04-30-preview"}}
	profiles := map[string]string{"2017-03-09-profile": "2016-03-30", "2018-03-01-hybrid": "2017-03-30"}
	disks := arm.LRO{Status: http.StatusAccepted, Operation: operationDocument,
		AsyncOperation: diskOperations + "api-version={version}", Location: diskOperations + "monitor=true&api-version={version}"}
	diskDelete := disks
	diskDelete.NoBody = true
	return arm.Provider{
		Namespace: "Microsoft.Compute", Registered: true,
		Authorizations: []arm.Authorization{{ApplicationID: "60e6cd67-9c8c-4951-9b3c-23c25a2169af", RoleDefinitionID: "e4770acb-272e-4dc8-87f3-12f44a612224"}},
		Types: []arm.Type{
			{
				Name: typeVM, Versions: versions, Tracked: true, Zones: true, Profiles: profiles,
				PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: write(http.StatusOK), Delete: later,
				Admit: f.admitVM, Reconciler: vmReconciler{f}, Render: f.renderVM, Live: true,
				Reads:   map[string]arm.Read{"instanceView": f.readInstanceView, "vmSizes": f.readSizes},
				Actions: f.vmActions(later),
			},
			{
				Name: typeExtension, Versions: versions, Tracked: true,
				PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: write(http.StatusOK), Delete: later,
				Admit: f.admitExtension, Reconciler: extensionReconciler{f}, Render: f.renderExtension, Live: true,
			},
			{
				Name: typeDisk, Versions: diskVersions, Tracked: true, Zones: true,
				PutNew: disks, PutOld: disks, Patch: disks, Delete: diskDelete,
				Admit: f.admitDisk, AdmitDelete: f.admitDiskDelete, Render: f.renderDisk, Live: true,
			},
			{
				Name: typeImage, Versions: arm.Versions{From: "2016-04-30-preview"}, Tracked: true,
				PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: write(http.StatusOK), Delete: later,
				Admit: f.admitImageResource, Reconciler: passing{},
			},
			{
				Name: typeAvailabilitySet, Versions: versions, Tracked: true, PutNew: arm.LRO{Status: http.StatusOK}, PutOld: arm.LRO{Status: http.StatusOK},
				Admit: f.admitAvailabilitySet, AdmitDelete: f.admitAvailabilitySetDelete, Render: f.renderAvailabilitySet, Live: true,
				Reads: map[string]arm.Read{"vmSizes": f.readSizes},
			},
		},
		Queries: append(append(f.imageQueries(versions), f.extensionQueries(versions)...),
			arm.Query{Method: http.MethodGet, Pattern: "locations/{location}/vmSizes", Versions: versions, Do: f.listSizes},
			arm.Query{Method: http.MethodGet, Pattern: "locations/{location}/usages", Versions: versions, Do: f.listUsages},
			arm.Query{Method: http.MethodGet, Pattern: "locations/{location}/runCommands", Versions: arm.Versions{From: "2017-03-30"}, Do: f.listRunCommands},
			arm.Query{Method: http.MethodGet, Pattern: "locations/{location}/runCommands/{command}", Versions: arm.Versions{From: "2017-03-30"}, Do: f.getRunCommand},
			f.skuQuery(),
		),
	}
}

// passing is the reconciler of what is there once it is stored, so that its creation is an operation that ends.
type passing struct{}

// Reconcile implements arm.Reconciler.
func (passing) Reconcile(context.Context, arm.View, *arm.Resource) (arm.Result, error) {
	return arm.Result{Done: true}, nil
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
	if op.Output != nil {
		doc["properties"] = object{"output": op.Output}
	}
	return doc
}

// stamp is a time as Microsoft.Compute writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000+00:00") }

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
