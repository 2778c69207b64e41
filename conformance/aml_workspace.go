package conformance

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

const workspaceType = "Microsoft.MachineLearningServices/workspaces"

// workspace is the one that the specs share.
type workspace struct {
	path, name, group string
	deployment        *wire.Operation
	// services are the base URLs that discovery gave; models is derived from history as the SDK derives it.
	services map[string]string
	history  string
	models   string
}

// workspaceTemplate is the deployment that azureml-core 0.1.68 sends for Workspace.create.
func workspaceTemplate(group, name, location, tenant string) (body map[string]any, created []wire.Made) {
	letters := strings.ReplaceAll(name, "-", "")
	letters = letters[:min(8, len(letters))]
	var resources []any
	var depends []string
	ids := map[string]string{}
	add := func(property, typ, suffix, version, where string, extra map[string]any) {
		n := (letters + suffix + random())
		n = n[:min(24, len(n))]
		ids[property] = group + "/providers/" + typ + "/" + n
		depends = append(depends, "[resourceId('"+typ+"', '"+n+"')]")
		created = append(created, wire.Made{Path: ids[property], Version: version})
		res := map[string]any{"type": typ, "name": n, "apiVersion": version, "location": where, "dependsOn": []any{}}
		for k, v := range extra {
			res[k] = v
		}
		resources = append(resources, res)
	}
	add("keyVault", "Microsoft.KeyVault/vaults", "keyvault", "2015-06-01", location, map[string]any{"properties": map[string]any{
		"enabledForDeployment": "true", "enabledForTemplateDeployment": "true", "enabledForVolumeEncryption": "true",
		"tenantId": tenant, "accessPolicies": []any{}, "sku": map[string]string{"name": "Standard", "family": "A"}}})
	add("storageAccount", "Microsoft.Storage/storageAccounts", "storage", "2016-12-01", location, map[string]any{
		"sku": map[string]string{"name": "Standard_LRS"}, "kind": "Storage",
		"properties": map[string]any{"supportsHttpsTrafficOnly": true, "encryption": map[string]any{
			"services": map[string]any{"blob": map[string]string{"enabled": "true"}}, "keySource": "Microsoft.Storage"}}})
	add("containerRegistry", "Microsoft.ContainerRegistry/registries", "acr", "2017-10-01", location, map[string]any{
		"sku":        map[string]string{"name": "Standard", "tier": "Standard"},
		"properties": map[string]string{"adminUserEnabled": "true"}})
	add("batchaiWorkspace", "Microsoft.BatchAI/Workspaces", "batchai_", "2018-05-01", location, map[string]any{"properties": map[string]any{}})
	add("applicationInsights", "microsoft.insights/components", "insights", "2015-05-01", insightsRegion(location), map[string]any{
		"kind": "web", "properties": map[string]string{"Application_Type": "web"}})
	properties := map[string]any{"friendlyName": name}
	for k, v := range ids {
		properties[k] = v
	}
	resources = append(resources, map[string]any{
		"type": workspaceType, "name": name, "apiVersion": versionWorkspace, "identity": map[string]string{"type": "systemAssigned"},
		"location": location, "resources": []any{}, "dependsOn": depends, "properties": properties})
	created = append(created, wire.Made{Path: group + "/providers/" + workspaceType + "/" + name, Version: versionWorkspace})
	return deployment(nil, nil, resources...), created
}

// insightsRegion is the SDK's own table.
func insightsRegion(location string) string {
	switch location {
	case "eastus2":
		return "eastus"
	case "australiaeast":
		return "southeastasia"
	case "westcentralus":
		return "westus2"
	}
	return "eastus"
}

func (s *session) workspace() *workspace {
	return obtain(s, &s.fix.workspace, "a workspace", s.newWorkspace)
}

// newWorkspace creates one as Workspace.create does, in a group of its own.
func (s *session) newWorkspace() *workspace {
	s.provider("Microsoft.MachineLearningServices")
	w := &workspace{group: s.newGroup(), name: s.cfg.Workspace + random()}
	w.path = w.group + "/providers/" + workspaceType + "/" + w.name
	tenant := s.cfg.Tenant
	if tenant == "" {
		tenant = "00000000-0000-0000-0000-000000000000"
	}
	body, created := workspaceTemplate(w.group, w.name, s.cfg.Location, tenant)
	for _, m := range created {
		s.track(m.Path, m.Version)
	}
	_, w.deployment = s.deploy(w.group, "Microsoft.MachineLearningServices_"+random(), body)
	if !w.deployment.Succeeded() {
		s.fail("the deployment ended %q: %s", w.deployment.Status, w.deployment.Last)
	}
	r := s.get(w.path, versionWorkspace)
	s.status(r, http.StatusOK)
	// The SDK sends no token to discovery.
	d := s.do(wire.Request{Method: http.MethodGet, URL: s.text(r, "properties", "discoveryUrl"), NoToken: true})
	s.status(d, http.StatusOK)
	if err := d.JSON(&w.services); err != nil {
		s.fail("%v", err)
	}
	w.history = strings.TrimRight(s.text(d, "history"), "/")
	region, _, ok := strings.Cut(w.history[strings.Index(w.history, "//")+2:], ".")
	if !ok {
		s.fail("the history URL %s has no dot in its host; the SDK reads the region before the first one", w.history)
	}
	w.models = "https://" + region + ".modelmanagement.azureml.net/api" + w.path
	return w
}

// experiment is the URL of a service's path below the specs' experiment.
func (w *workspace) experiment(service string) string {
	return w.scope(service) + "/experiments/conformance"
}

// scope is the URL of a service's path below the workspace.
func (w *workspace) scope(service string) string { return w.history + "/" + service + "/v1.0" + w.path }

// data sends a request to the data plane; msrest knows no success but 200.
func (s *session) data(method, u string, body any) *wire.Response {
	r := s.do(wire.Request{Method: method, URL: u, Body: body})
	s.status(r, http.StatusOK)
	return r
}

// lost checks the data plane's refusal of something that isn't there.
func (s *session) lost(r *wire.Response) {
	s.status(r, http.StatusNotFound)
	if r.Text("error", "code") == "" || r.Text("error", "message") == "" {
		s.fail(`%s; the data plane's error is {"error":{"code","message",...}}`, r)
	}
}

// isoDate begins every time of the data plane.
const isoDate = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`

func workspaceSpecs() []spec {
	return []spec{
		{"aml.workspace.create", func(s *session) {
			w := s.workspace()
			s.status(w.deployment.First, http.StatusOK, http.StatusCreated)
			if w.deployment.Polls > 0 && w.deployment.First.Header.Get("Retry-After") == "" {
				s.fail("%s; without Retry-After Workspace.create sleeps 30 s", w.deployment.First)
			}
		}},
		{"aml.workspace.get", func(s *session) {
			w := s.workspace()
			r := s.get(w.path, versionWorkspace)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("id")).To(equalFold(w.path), r.String())
			s.Expect(r.Text("name")).To(gomega.Equal(w.name), r.String())
			s.Expect(r.Text("type")).To(equalFold(workspaceType), r.String())
			s.Expect(r.Text("location")).To(gomega.Equal(s.cfg.Location), r.String())
			for _, k := range []string{"workspaceid", "keyVault", "storageAccount", "containerRegistry", "applicationInsights", "batchaiWorkspace", "discoveryUrl"} {
				s.text(r, "properties", k)
			}
			s.Expect(r.Text("properties", "creationDate")).To(gomega.MatchRegexp(isoDate), r.String())
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("identity", "principalId")).NotTo(gomega.BeEmpty(), r.String())
		}},
		{"aml.workspace.dependents", func(s *session) {
			w := s.workspace()
			r := s.get(w.path, versionWorkspace)
			for k, version := range map[string]string{"keyVault": "2018-02-14", "storageAccount": versionStorage,
				"containerRegistry": "2017-10-01", "applicationInsights": "2015-05-01", "batchaiWorkspace": "2018-05-01"} {
				s.status(s.get(s.text(r, "properties", k), version), http.StatusOK)
			}
		}},
		{"aml.workspace.list", func(s *session) {
			w := s.workspace()
			r := s.get(w.group+"/providers/"+workspaceType, versionWorkspace)
			s.status(r, http.StatusOK)
			if r.Value("nextLink") != nil {
				s.fail("%s; the SDK asks for the first page again for as long as there is a nextLink", r)
			}
			if !named(s.list(w.group+"/providers/"+workspaceType, versionWorkspace), w.name) {
				s.fail("the group's workspaces lack %s", w.name)
			}
			filter := url.QueryEscape("resourceType eq '" + workspaceType + "'")
			for _, item := range s.list(s.subscription()+"/resources?$filter="+filter, versionResources) {
				id, _ := item["id"].(string)
				if strings.EqualFold(id, w.path) {
					s.Expect(id).To(gomega.ContainSubstring("/resourceGroups/"), "the SDK cuts the group out of the id by this word")
					return
				}
			}
			s.fail("the subscription's resources of the type lack %s", w.path)
		}},
		{"aml.workspace.absent", func(s *session) {
			s.refused(s.get(s.workspace().path+"x", versionWorkspace), http.StatusNotFound, "ResourceNotFound")
		}},
		{"aml.workspace.update", func(s *session) {
			w := s.workspace()
			body := map[string]any{"tags": map[string]string{"k": "v"}, "properties": map[string]string{"description": "words", "friendlyName": "friend"}}
			s.status(s.send(http.MethodPatch, w.path, versionWorkspace, body), http.StatusOK)
			r := s.get(w.path, versionWorkspace)
			s.Expect(r.Text("tags", "k")).To(gomega.Equal("v"), r.String())
			s.Expect(r.Text("properties", "description")).To(gomega.Equal("words"), r.String())
			s.Expect(r.Text("properties", "friendlyName")).To(gomega.Equal("friend"), r.String())
			s.text(r, "properties", "storageAccount")
			s.status(s.send(http.MethodPatch, w.path, versionWorkspace, map[string]any{"properties": map[string]string{"description": "other words"}}), http.StatusOK)
			r = s.get(w.path, versionWorkspace)
			s.Expect(r.Text("properties", "description")).To(gomega.Equal("other words"), r.String())
			s.Expect(r.Text("properties", "friendlyName")).To(gomega.Equal("friend"), "a PATCH of one property changed another: "+r.String())
		}},
		{"aml.workspace.discovery", func(s *session) {
			w := s.workspace()
			for _, k := range []string{"history", "experimentation", "experimentgraphs", "pipelines", "hyperdrive", "modelmanagement"} {
				if w.services[k] == "" {
					s.fail("discovery lacks %s; a missing one of the six is a KeyError in the SDK: %v", k, w.services)
				}
			}
		}},
		{"aml.compute.list", func(s *session) { s.list(s.workspace().path+"/computes", versionWorkspace) }},
		{"aml.compute.absent", func(s *session) {
			s.refused(s.get(s.workspace().path+"/computes/absent", versionWorkspace), http.StatusNotFound)
		}},
		{"aml.compute.type", func(s *session) {
			path := s.workspace().path + "/computes/odd" + random()
			body := map[string]any{"location": s.cfg.Location, "properties": map[string]any{"computeType": "Abacus", "properties": map[string]any{}}}
			s.refused(s.create(path, versionWorkspace, body), http.StatusBadRequest)
			s.status(s.get(path, versionWorkspace), http.StatusNotFound)
		}},
		{"aml.datastore.default", func(s *session) {
			w := s.workspace()
			r := s.data(http.MethodGet, w.scope("datastore")+"/default", nil)
			name := s.text(r, "name")
			s.Expect(r.Text("dataStoreType")).To(gomega.Equal("AzureBlob"), r.String())
			s.text(r, "azureStorageSection", "accountName")
			s.text(r, "azureStorageSection", "containerName")
			r = s.data(http.MethodGet, w.scope("datastore")+"/datastores/"+name, nil)
			s.Expect(r.Text("name")).To(gomega.Equal(name), r.String())
		}},
		{"aml.auth.missing", func(s *session) {
			r := s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().scope("history") + "/experiments", NoToken: true})
			s.status(r, http.StatusUnauthorized)
		}},
		{"aml.auth.forged", func(s *session) {
			head, sig := cutLast(s.token(wire.AudienceManagement), ".")
			w := s.workspace()
			for _, u := range []string{w.scope("history") + "/experiments", w.scope("artifact") + "/artifacts/origins/ExperimentRun/containers/x",
				w.scope("datastore") + "/datastores", w.models + "/models?api-version=" + versionWorkspace} {
				s.status(s.do(wire.Request{Method: http.MethodGet, URL: u, Token: head + "." + flip(sig)}), http.StatusUnauthorized)
			}
		}},
		{"aml.scope.token", func(s *session) {
			_, u := s.newRun(nil)
			token := s.text(s.data(http.MethodGet, u+"/token", nil), "token")
			other := s.newWorkspace()
			s.status(s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().scope("history") + "/experiments", Token: token}), http.StatusOK)
			r := s.do(wire.Request{Method: http.MethodGet, URL: other.scope("history") + "/experiments", Token: token})
			s.status(r, http.StatusForbidden, http.StatusUnauthorized)
		}},
		{"aml.scope.unknown", func(s *session) {
			w := s.workspace()
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: w.history + "/history/v1.0" + w.path + "x/experiments"}))
		}},
	}
}

// deletionSpecs are the last: they take the workspace away.
func deletionSpecs() []spec {
	return []spec{
		{"aml.workspace.delete", func(s *session) {
			w := s.workspace()
			r := s.do(wire.Request{Method: http.MethodDelete, URL: w.path, Version: versionWorkspace})
			// The SDK takes a 202 for a failure.
			s.status(r, http.StatusOK, http.StatusNoContent)
			s.done(r)
			s.client.Untrack(w.path)
			s.refused(s.get(w.path, versionWorkspace), http.StatusNotFound, "ResourceNotFound")
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: w.scope("history") + "/experiments"}))
		}},
	}
}

// decode reads a JSON body into a T.
func decode[T any](s *session, r *wire.Response) (v T) {
	if err := json.Unmarshal(r.Body, &v); err != nil {
		s.fail("%s; the body is not the JSON expected: %v", r, err)
	}
	return v
}
