package conformance

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

func accountBody(location string) map[string]any {
	return map[string]any{
		"location": location, "kind": "Storage", "sku": map[string]string{"name": "Standard_LRS"},
		"properties": map[string]any{"supportsHttpsTrafficOnly": true},
	}
}

// storageAccount creates an account and returns its path.
func (s *session) storageAccount() string { return s.accountIn(s.group()) }

func (s *session) accountIn(group string) string {
	s.provider("Microsoft.Storage")
	path := group + "/providers/Microsoft.Storage/storageAccounts/conform" + random()
	r := s.create(path, versionStorage, accountBody(s.cfg.Location))
	s.status(r, http.StatusOK, http.StatusAccepted)
	s.done(r)
	return path
}

func resourceSpecs() []spec {
	return []spec{
		{"core.resource.life", func(s *session) {
			path := s.storageAccount()
			name := path[strings.LastIndex(path, "/")+1:]
			r := s.get(path, versionStorage)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("id")).To(equalFold(path), r.String())
			s.Expect(r.Text("name")).To(gomega.Equal(name), r.String())
			s.Expect(r.Text("type")).To(gomega.Equal("Microsoft.Storage/storageAccounts"), r.String())
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("sku", "name")).To(gomega.Equal("Standard_LRS"), r.String())
			s.status(s.get(shout(path), versionStorage), http.StatusOK)
			for _, where := range []string{s.group(), s.subscription()} {
				if !named(s.list(where+"/providers/Microsoft.Storage/storageAccounts", versionStorage), name) {
					s.fail("the accounts of %s lack %s", where, name)
				}
			}
			r = s.do(wire.Request{Method: http.MethodDelete, URL: path, Version: versionStorage})
			s.status(r, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
			s.done(r)
			s.client.Untrack(path)
			s.refused(s.get(path, versionStorage), http.StatusNotFound, "ResourceNotFound")
			s.status(s.do(wire.Request{Method: http.MethodDelete, URL: path, Version: versionStorage}), http.StatusNoContent, http.StatusOK)
		}},
		{"core.resource.action", func(s *session) {
			r := s.send(http.MethodPost, s.storageAccount()+"/listKeys", versionStorage, nil)
			s.status(r, http.StatusOK)
			if keys, _ := r.Value("keys").([]any); len(keys) != 2 {
				s.fail("%s; an account has two keys", r)
			}
		}},
		{"core.resource.generic-list", func(s *session) {
			path := s.storageAccount()
			filter := url.QueryEscape("resourceType eq 'Microsoft.Storage/storageAccounts'")
			list := s.list(s.subscription()+"/resources?$filter="+filter, versionResources)
			if !named(list, path[strings.LastIndex(path, "/")+1:]) {
				s.fail("the subscription's resources of the type lack %s", path)
			}
			for _, item := range list {
				if typ, _ := item["type"].(string); !strings.EqualFold(typ, "Microsoft.Storage/storageAccounts") {
					s.fail("the filter by type let a %s through", typ)
				}
			}
			none := s.list(s.group()+"/resources?$filter="+url.QueryEscape("resourceType eq 'Microsoft.Network/loadBalancers'"), versionResources)
			if len(none) > 0 {
				s.fail("the filter by a type of which there is none let %v through", none[0]["id"])
			}
		}},
		{"core.resource.groupless", func(s *session) {
			s.provider("Microsoft.Storage")
			path := s.group() + "-absent/providers/Microsoft.Storage/storageAccounts/conform" + random()
			s.refused(s.create(path, versionStorage, accountBody(s.cfg.Location)), http.StatusNotFound, "ResourceGroupNotFound")
			s.refused(s.get(path, versionStorage), http.StatusNotFound, "ResourceGroupNotFound")
		}},
		{"core.resource.locationless", func(s *session) {
			s.provider("Microsoft.Storage")
			body := accountBody("")
			delete(body, "location")
			path := s.group() + "/providers/Microsoft.Storage/storageAccounts/conform" + random()
			s.refused(s.create(path, versionStorage, body), http.StatusBadRequest, "LocationRequired")
			s.status(s.get(path, versionStorage), http.StatusNotFound)
		}},
		{"core.resource.version", func(s *session) {
			s.provider("Microsoft.Storage")
			r := s.get(s.group()+"/providers/Microsoft.Storage/storageAccounts/conform"+random(), "1999-01-01")
			if r.Status == http.StatusBadRequest && contains([]string{"NoRegisteredProviderFound", "InvalidApiVersionParameter", "InvalidResourceType"}, r.ErrorCode()) {
				s.refused(r, http.StatusBadRequest)
				return
			}
			s.fail("%s; an api-version that the type lacks is 400 NoRegisteredProviderFound", r)
		}},
		{"core.resource.type", func(s *session) {
			s.provider("Microsoft.Storage")
			r := s.get(s.group()+"/providers/Microsoft.Storage/nothings/x", versionStorage)
			if r.ErrorCode() != "InvalidResourceType" {
				s.fail("%s; a type that the provider lacks is InvalidResourceType", r)
			}
			s.refused(r, r.Status, "InvalidResourceType")
		}},
		{"core.resource.etag", func(s *session) {
			s.provider("Microsoft.Network")
			path := s.group() + "/providers/Microsoft.Network/virtualNetworks/conform" + random()
			body := map[string]any{"location": s.cfg.Location, "properties": map[string]any{
				"addressSpace": map[string]any{"addressPrefixes": []string{"10.0.0.0/16"}}}}
			r := s.create(path, versionNetwork, body)
			s.status(r, http.StatusOK, http.StatusCreated)
			s.done(r)
			r = s.get(path, versionNetwork)
			s.status(r, http.StatusOK)
			tag := r.Header.Get("ETag")
			if tag == "" {
				s.fail("%s; a virtual network has an ETag header", r)
			}
			put := func(match string) *wire.Response {
				return s.do(wire.Request{Method: http.MethodPut, URL: path, Version: versionNetwork, Body: body, Header: http.Header{"If-Match": {match}}})
			}
			s.refused(put(`W/"`+uuid()+`"`), http.StatusPreconditionFailed, "PreconditionFailed")
			body["tags"] = map[string]string{"a": "1"}
			r = put(tag)
			s.status(r, http.StatusOK, http.StatusCreated)
			s.done(r)
			// What was right is stale once the resource has changed.
			s.refused(put(tag), http.StatusPreconditionFailed, "PreconditionFailed")
		}},
		{"core.resource.patch", func(s *session) {
			path := s.storageAccount()
			want := s.get(path, versionStorage)
			s.status(want, http.StatusOK)
			s.status(s.send(http.MethodPatch, path, versionStorage, map[string]any{"tags": map[string]string{"a": "1"}}), http.StatusOK)
			r := s.get(path, versionStorage)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("tags", "a")).To(gomega.Equal("1"), r.String())
			for _, k := range [][]string{{"location"}, {"kind"}, {"sku", "name"}, {"properties", "primaryEndpoints", "blob"}} {
				s.Expect(r.Text(k...)).To(gomega.Equal(want.Text(k...)), "a PATCH of the tags alone changed "+strings.Join(k, ".")+": "+r.String())
			}
		}},
		{"core.resource.again", func(s *session) {
			path := s.storageAccount()
			want := s.get(path, versionStorage)
			// In other letters it is the same resource, and keeps the letters that it had.
			r := s.send(http.MethodPut, shout(path), versionStorage, accountBody(s.cfg.Location))
			s.status(r, http.StatusOK, http.StatusAccepted)
			s.done(r)
			r = s.get(path, versionStorage)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("id")).To(gomega.Equal(want.Text("id")), r.String())
			s.Expect(r.Text("location")).To(gomega.Equal(want.Text("location")), r.String())
			s.Expect(r.Text("properties", "creationTime")).To(gomega.Equal(want.Text("properties", "creationTime")), "a PUT of what is there creates nothing: "+r.String())
		}},
	}
}
