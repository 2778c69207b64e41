package conformance

import (
	"net/http"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

func requestSpecs() []spec {
	return []spec{
		{"core.subscription.list", func(s *session) {
			for _, item := range s.list("/subscriptions", versionSubscriptions) {
				if item["subscriptionId"] == s.cfg.Subscription {
					s.Expect(item["state"]).To(gomega.Equal("Enabled"))
					s.Expect(item["displayName"]).NotTo(gomega.BeEmpty())
					return
				}
			}
			s.fail("the list of subscriptions lacks %s", s.cfg.Subscription)
		}},
		{"core.subscription.get", func(s *session) {
			r := s.get(s.subscription(), versionSubscriptions)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("subscriptionId")).To(equalFold(s.cfg.Subscription), r.String())
		}},
		{"core.subscription.unknown", func(s *session) {
			r := s.get("/subscriptions/"+uuid()+"/resourcegroups", versionResources)
			s.refused(r, http.StatusNotFound, "SubscriptionNotFound")
		}},
		{"core.tenant.list", func(s *session) {
			list := s.list("/tenants", versionSubscriptions)
			if len(list) == 0 {
				s.fail("the list of tenants is empty")
			}
			s.Expect(list[0]["tenantId"]).NotTo(gomega.BeEmpty())
		}},
		{"core.version.missing", func(s *session) {
			s.refused(s.get(s.subscription()+"/resourcegroups", ""), http.StatusBadRequest, "MissingApiVersionParameter")
		}},
		{"core.version.unknown", func(s *session) {
			r := s.get(s.subscription()+"/resourcegroups", "1999-01-01")
			s.refused(r, http.StatusBadRequest, "InvalidApiVersionParameter", "NoRegisteredProviderFound")
		}},
		{"core.json.broken", func(s *session) {
			path := s.subscription() + "/resourceGroups/" + s.cfg.ResourceGroup + random()
			s.refused(s.create(path, versionResources, `{"location": `), http.StatusBadRequest, "InvalidRequestContent")
			s.status(s.get(path, versionResources), http.StatusNotFound)
		}},
		{"core.json.type", func(s *session) {
			path := s.subscription() + "/resourceGroups/" + s.cfg.ResourceGroup + random()
			s.refused(s.create(path, versionResources, `{"location": {"a": 1}}`), http.StatusBadRequest, "InvalidRequestContent", "LocationRequired")
			s.status(s.get(path, versionResources), http.StatusNotFound)
		}},
		{"core.method.unknown", func(s *session) {
			r := s.send(http.MethodPut, s.subscription()+"/resourcegroups", versionResources, map[string]any{})
			s.refused(r, http.StatusMethodNotAllowed)
		}},
		{"core.provider.list", func(s *session) {
			for _, item := range s.list(s.subscription()+"/providers", versionResources) {
				if ns, _ := item["namespace"].(string); ns == "Microsoft.Resources" {
					s.Expect(item["registrationState"]).To(gomega.Equal("Registered"))
					return
				}
			}
			s.fail("the list of providers lacks Microsoft.Resources")
		}},
		{"core.provider.register", func(s *session) {
			path := s.subscription() + "/providers/Microsoft.Storage"
			r := s.get(path, versionResources)
			if r.Status == http.StatusNotFound {
				s.unsupported("%s", r)
			}
			s.status(r, http.StatusOK)
			r = s.send(http.MethodPost, path+"/register", versionResources, nil)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("registrationState")).To(gomega.BeElementOf("Registering", "Registered"), r.String())
			s.registered(path)
		}},
		{"core.provider.unknown", func(s *session) {
			r := s.get(s.subscription()+"/providers/Microsoft.Nothing", versionResources)
			if r.Status != http.StatusNotFound {
				s.status(r, http.StatusNotFound)
			}
			s.refused(r, http.StatusNotFound, "InvalidResourceNamespace")
		}},
		{"core.type.unknown", func(s *session) {
			r := s.get(s.group()+"/providers/Microsoft.Nothing/things/x", versionResources)
			if r.Status == http.StatusConflict {
				// An unknown namespace may be met as one that isn't registered.
				s.refused(r, http.StatusConflict, "MissingSubscriptionRegistration")
				return
			}
			s.refused(r, http.StatusNotFound, "InvalidResourceNamespace")
		}},
		{"core.path.nowhere", func(s *session) {
			r := s.get("/"+random(), versionResources)
			if r.Status < 400 || r.Status >= 500 {
				s.fail("%s; a path that leads nowhere is the client's error", r)
			}
			s.refused(r, r.Status)
		}},
		{"core.request.id", func(s *session) {
			for _, path := range []string{s.group(), s.group() + "-absent"} {
				r := s.do(wire.Request{Method: http.MethodGet, URL: path, Version: versionResources})
				if r.Header.Get("x-ms-request-id") == "" {
					s.fail("%s; there is no x-ms-request-id", r)
				}
			}
		}},
	}
}
