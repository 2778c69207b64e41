package batchai

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"lazulite.dev/emulator/arm"
)

// The types' names. Those of 2018-03-01 and before hang off a resource group.
const (
	namespace         = "Microsoft.BatchAI"
	typeWorkspace     = namespace + "/workspaces"
	typeCluster       = typeWorkspace + "/clusters"
	typeFileServer    = typeWorkspace + "/fileServers"
	typeExperiment    = typeWorkspace + "/experiments"
	typeJob           = typeExperiment + "/jobs"
	typeOldCluster    = namespace + "/clusters"
	typeOldFileServer = namespace + "/fileServers"
	typeOldJob        = namespace + "/jobs"
)

// The kinds as the service's words and members.json have them.
const (
	kindWorkspace  = "Workspace"
	kindCluster    = "Cluster"
	kindFileServer = "FileServer"
	kindExperiment = "Experiment"
	kindJob        = "Job"
	kindFile       = "File"
)

// states are the words of provisioningState. A changed cluster is never anything but succeeded.
func states() *arm.States {
	return &arm.States{Creating: "creating", Updating: "succeeded", Deleting: "deleting", Succeeded: "succeeded", Failed: "failed", Canceled: "failed"}
}

// Providers declares Microsoft.BatchAI.
func (f *Fake) Providers() []arm.Provider {
	now := arm.Versions{From: latestVersion}
	before := arm.Versions{From: firstVersion, To: groupVersion, Known: []string{groupVersion, firstVersion}}
	every := arm.Versions{From: firstVersion, Known: []string{latestVersion, groupVersion, firstVersion}}
	types := []arm.Type{f.folder(typeWorkspace, kindWorkspace), f.folder(typeExperiment, kindExperiment)}
	for _, t := range []struct {
		name     string
		versions arm.Versions
		make     func() arm.Type
	}{{typeCluster, now, f.cluster}, {typeFileServer, now, f.fileServerType}, {typeJob, now, f.job},
		{typeOldCluster, before, f.cluster}, {typeOldFileServer, before, f.fileServerType}, {typeOldJob, before, f.job}} {
		made := t.make()
		made.Name, made.Versions, made.Tracked = t.name, t.versions, !strings.HasPrefix(t.name, typeWorkspace)
		types = append(types, made)
	}
	return []arm.Provider{{Namespace: namespace, Registered: true, Types: types, Queries: []arm.Query{
		{Method: http.MethodGet, Pattern: "locations/{location}/usages", Versions: arm.Versions{From: groupVersion}, Do: f.usages},
		{Method: http.MethodGet, Pattern: "operations", Versions: every, Do: operations},
	}}}
}

// nameRule is that of all names of Batch AI.
func nameRule() *regexp.Regexp { return regexp.MustCompile(`^[-\w]{1,64}$`) }

// long is how Batch AI answers what takes time.
func (f *Fake) long() arm.LRO {
	l := arm.BatchAIStyle()
	l.Operation = operation
	return l
}

// operation is the document of an operation; the resource in it is named as in the service's own tables.
func operation(c arm.Call, op *arm.Operation, _ *arm.Resource) any {
	doc := map[string]any{"id": c.Base + c.Path, "name": op.ID, "status": op.Status, "startTime": stamp(op.Start)}
	if !op.End.IsZero() {
		doc["endTime"] = stamp(op.End)
	}
	if id, err := arm.ParseID(op.ResourceID); err == nil {
		parts := []string{id.Subscription(), id.ResourceGroup()}
		segments := strings.Split(strings.TrimPrefix(strings.TrimPrefix(id.String(), groupPath(id)), "/"), "/")
		for i := 1; i < len(segments); i += 2 {
			parts = append(parts, segments[i])
		}
		doc["properties"] = map[string]any{"resourceId": strings.Join(parts, "$")}
	}
	if op.Error != nil {
		doc["error"] = op.Error
	}
	return doc
}

func (f *Fake) folder(name, kind string) arm.Type {
	return arm.Type{Name: name, Versions: arm.Versions{From: latestVersion}, Tracked: name == typeWorkspace, NameRule: nameRule(), States: states(),
		PutNew: arm.LRO{Status: http.StatusOK}, PutOld: arm.LRO{Status: http.StatusOK}, Patch: arm.LRO{Status: http.StatusOK}, Delete: f.long(),
		Without: without(kind), Admit: f.admitFolder, Render: f.renderFolder, NotFound: absent(kind)}
}

// without are the methods that a kind lacks in BatchAI.json.
func without(kind string) []string {
	if kind == kindWorkspace || kind == kindCluster {
		return nil
	}
	return []string{http.MethodPatch}
}

// base is what clusters, file servers and jobs have in common.
func (f *Fake) base(kind string) arm.Type {
	return arm.Type{NameRule: nameRule(), States: states(), PutNew: f.long(), PutOld: f.long(), Patch: arm.LRO{Status: http.StatusOK}, Delete: f.long(),
		Without: without(kind), Live: true, NotFound: absent(kind)}
}

func (f *Fake) cluster() arm.Type {
	t := f.base(kindCluster)
	t.Schema, t.Admit, t.Render, t.Reconciler = clusterSchema(), f.admitCluster, f.renderCluster, clusterReconciler{f}
	t.Actions = map[string]arm.Action{"listRemoteLoginInformation": {ReadOnly: true, Sync: f.clusterLogins}}
	return t
}

func (f *Fake) fileServerType() arm.Type {
	t := f.base(kindFileServer)
	t.Schema, t.Admit, t.Render, t.Reconciler = fileServerSchema(), f.admitFileServer, f.renderFileServer, serverReconciler{f}
	return t
}

func (f *Fake) job() arm.Type {
	t := f.base(kindJob)
	t.Schema, t.Admit, t.Render, t.Reconciler = jobSchema(), f.admitJob, f.renderJob, jobReconciler{f}
	t.Actions = map[string]arm.Action{
		"listRemoteLoginInformation": {ReadOnly: true, Sync: f.jobLogins},
		"listOutputFiles":            {ReadOnly: true, Sync: f.listOutputFiles},
		"terminate":                  {LRO: f.long(), Begin: f.terminate},
	}
	t.Reads = map[string]arm.Read{"listOutputFiles": f.listOutputFiles} // further pages, which some clients GET
	return t
}

// newID is a GUID by the Fake's own dice, so that a seed repeats it.
func (f *Fake) newID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, b := f.cfg.Rand.Uint64(), f.cfg.Rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

func (f *Fake) draw(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg.Rand.IntN(n)
}
