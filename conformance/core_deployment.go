package conformance

import (
	"net/http"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

const templateSchema = "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#"

// deployment is the body of a deployment of resources.
func deployment(parameters, values map[string]any, resources ...any) map[string]any {
	if resources == nil {
		resources = []any{}
	}
	if parameters == nil {
		parameters, values = map[string]any{}, map[string]any{}
	}
	return map[string]any{"properties": map[string]any{
		"mode": "Incremental", "parameters": values,
		"template": map[string]any{
			"$schema": templateSchema, "contentVersion": "1.0.0.0",
			"parameters": parameters, "variables": map[string]any{}, "resources": resources,
		}}}
}

// deploy PUTs a deployment into the group and follows it.
func (s *session) deploy(group, name string, body any) (path string, op *wire.Operation) {
	path = group + "/providers/Microsoft.Resources/deployments/" + name
	r := s.create(path, versionResources, body)
	s.status(r, http.StatusOK, http.StatusCreated)
	return path, s.await(r)
}

func deploymentSpecs() []spec {
	return []spec{
		{"core.deployment.empty", func(s *session) {
			name := "empty-" + random()
			path, op := s.deploy(s.group(), name, deployment(nil, nil))
			if !op.Succeeded() {
				s.fail("the deployment ended %q: %s", op.Status, op.Last)
			}
			if op.First.Status == http.StatusCreated && op.First.Header.Get("Azure-AsyncOperation") == "" {
				s.fail("%s; a deployment's 201 has Azure-AsyncOperation", op.First)
			}
			r := s.get(path, versionResources)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("properties", "mode")).To(gomega.Equal("Incremental"), r.String())
			if !named(s.list(s.group()+"/providers/Microsoft.Resources/deployments", versionResources), name) {
				s.fail("the group's deployments lack %s", name)
			}
		}},
		{"core.deployment.resource", func(s *session) {
			s.provider("Microsoft.Storage")
			account := "conform" + random()
			res := accountBody("[parameters('where')]")
			res["type"], res["name"], res["apiVersion"] = "Microsoft.Storage/storageAccounts", account, versionStorage
			params := map[string]any{"where": map[string]string{"type": "string"}}
			values := map[string]any{"where": map[string]string{"value": s.cfg.Location}}
			_, op := s.deploy(s.group(), "storage-"+random(), deployment(params, values, res))
			path := s.group() + "/providers/Microsoft.Storage/storageAccounts/" + account
			s.track(path, versionStorage)
			if !op.Succeeded() {
				s.fail("the deployment ended %q: %s", op.Status, op.Last)
			}
			r := s.get(path, versionStorage)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("location")).To(gomega.Equal(s.cfg.Location), r.String())
		}},
		{"core.deployment.failed", func(s *session) {
			s.provider("Microsoft.Network")
			// What the interface hangs on is not there: the deployment is taken, and fails.
			subnet := s.group() + "/providers/Microsoft.Network/virtualNetworks/absent" + random() + "/subnets/none"
			nic := map[string]any{"type": "Microsoft.Network/networkInterfaces", "name": "nic" + random(), "apiVersion": versionNetwork, "location": s.cfg.Location,
				"properties": map[string]any{"ipConfigurations": []any{map[string]any{"name": "a", "properties": map[string]any{"subnet": map[string]any{"id": subnet}}}}}}
			path, op := s.deploy(s.group(), "failed-"+random(), deployment(nil, nil, nic))
			if op.Status != "Failed" {
				s.fail("the deployment of a resource that can't be ended %q: %s", op.Status, op.Last)
			}
			if op.Last.Text("error", "code") != "DeploymentFailed" || op.Last.Text("error", "message") == "" {
				s.fail("%s; a failed operation says DeploymentFailed, and why", op.Last)
			}
			r := s.get(path, versionResources)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Failed"), r.String())
		}},
		{"core.deployment.outputs", func(s *session) {
			body := deployment(map[string]any{"word": map[string]string{"type": "string"}}, map[string]any{"word": map[string]string{"value": "aBc"}})
			template := body["properties"].(map[string]any)["template"].(map[string]any)
			template["variables"] = map[string]any{"joined": "[concat(toUpper(parameters('word')), '-', toLower(parameters('word')))]"}
			template["outputs"] = map[string]any{"text": map[string]any{"type": "string", "value": "[variables('joined')]"},
				"number": map[string]any{"type": "int", "value": "[add(length(variables('joined')), 3)]"}}
			path, op := s.deploy(s.group(), "outputs-"+random(), body)
			if !op.Succeeded() {
				s.fail("the deployment ended %q: %s", op.Status, op.Last)
			}
			r := s.get(path, versionResources)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "outputs", "text", "value")).To(gomega.Equal("ABC-abc"), r.String())
			s.Expect(r.Value("properties", "outputs", "number", "value")).To(gomega.BeNumerically("==", 10), r.String())
		}},
		{"core.deployment.function", func(s *session) {
			res := accountBody("[concat(nothing('x'), 'eastus')]")
			res["type"], res["name"], res["apiVersion"] = "Microsoft.Storage/storageAccounts", "conform"+random(), versionStorage
			path := s.group() + "/providers/Microsoft.Resources/deployments/bad-" + random()
			s.refused(s.create(path, versionResources, deployment(nil, nil, res)), http.StatusBadRequest, "InvalidTemplate")
		}},
		{"core.deployment.template", func(s *session) {
			body := deployment(nil, nil, map[string]any{"name": "x"})
			path := s.group() + "/providers/Microsoft.Resources/deployments/bad-" + random()
			s.refused(s.create(path, versionResources, body), http.StatusBadRequest, "InvalidTemplate", "InvalidRequestContent")
		}},
		{"core.deployment.parameter", func(s *session) {
			res := accountBody("[parameters('nowhere')]")
			res["type"], res["name"], res["apiVersion"] = "Microsoft.Storage/storageAccounts", "conform"+random(), versionStorage
			path := s.group() + "/providers/Microsoft.Resources/deployments/bad-" + random()
			s.refused(s.create(path, versionResources, deployment(nil, nil, res)), http.StatusBadRequest, "InvalidTemplate")
		}},
		{"core.deployment.head", func(s *session) {
			path, _ := s.deploy(s.group(), "head-"+random(), deployment(nil, nil))
			s.status(s.do(wire.Request{Method: http.MethodHead, URL: path, Version: versionResources}), http.StatusNoContent)
			s.status(s.do(wire.Request{Method: http.MethodHead, URL: path + "-absent", Version: versionResources}), http.StatusNotFound)
		}},
		{"core.deployment.unknown", func(s *session) {
			r := s.get(s.group()+"/providers/Microsoft.Resources/deployments/absent-"+random(), versionResources)
			s.refused(r, http.StatusNotFound, "DeploymentNotFound")
		}},
	}
}
