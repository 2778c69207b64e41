package conformance

import (
	"net/http"
	"strings"

	"github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"

	"lazulite.dev/conformance/wire"
)

func equalFold(want string) gomegatypes.GomegaMatcher {
	return gomega.WithTransform(strings.ToLower, gomega.Equal(strings.ToLower(want)))
}

func groupSpecs() []spec {
	return []spec{
		{"core.group.create", func(s *session) {
			name := s.cfg.ResourceGroup + random()
			path := s.subscription() + "/resourcegroups/" + name
			body := map[string]any{"location": s.cfg.Location, "tags": map[string]string{"a": "1"}}
			s.refused(s.get(path, versionResources), http.StatusNotFound, "ResourceGroupNotFound")
			r := s.create(path, versionResources, body)
			s.status(r, http.StatusCreated)
			s.Expect(r.Text("id")).To(gomega.HaveSuffix("/resourceGroups/"+name), r.String())
			s.Expect(r.Text("name")).To(gomega.Equal(name), r.String())
			s.Expect(r.Text("location")).To(gomega.Equal(s.cfg.Location), r.String())
			s.Expect(r.Text("tags", "a")).To(gomega.Equal("1"), r.String())
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.status(s.create(path, versionResources, body), http.StatusOK)
			if !named(s.list(s.subscription()+"/resourcegroups", versionResources), name) {
				s.fail("the list of resource groups lacks %s", name)
			}
		}},
		{"core.group.location", func(s *session) {
			other := "westus"
			if s.cfg.Location == other {
				other = "eastus"
			}
			g := s.group()
			r := s.send(http.MethodPut, g, versionResources, map[string]any{"location": other})
			s.refused(r, http.StatusConflict, "InvalidResourceGroupLocation")
			s.Expect(s.get(g, versionResources).Text("location")).To(gomega.Equal(s.cfg.Location), "the refused PUT changed the group")
		}},
		{"core.group.locationless", func(s *session) {
			path := s.subscription() + "/resourceGroups/" + s.cfg.ResourceGroup + random()
			r := s.create(path, versionResources, map[string]any{})
			s.refused(r, http.StatusBadRequest, "LocationRequired")
			s.status(s.get(path, versionResources), http.StatusNotFound)
		}},
		{"core.group.head", func(s *session) {
			head := func(path string) *wire.Response {
				return s.do(wire.Request{Method: http.MethodHead, URL: path, Version: versionResources})
			}
			s.status(head(s.group()), http.StatusNoContent)
			s.status(head(s.group()+"-absent"), http.StatusNotFound)
		}},
		{"core.group.tags", func(s *session) {
			g := s.newGroup()
			r := s.send(http.MethodPatch, g, versionResources, map[string]any{"tags": map[string]string{"b": "2"}})
			s.status(r, http.StatusOK)
			r = s.get(g, versionResources)
			s.Expect(r.Text("tags", "b")).To(gomega.Equal("2"), r.String())
			s.Expect(r.Text("location")).To(gomega.Equal(s.cfg.Location), "PATCH of tags changed the location")
		}},
		{"core.group.case", func(s *session) {
			g := s.group()
			want := s.get(g, versionResources)
			s.status(want, http.StatusOK)
			r := s.get(shout(g), versionResources)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("id")).To(gomega.Equal(want.Text("id")), "the id keeps the case of its creation: "+r.String())
		}},
		{"core.group.paging", func(s *session) {
			a, b := s.newGroup(), s.newGroup()
			r := s.get(s.subscription()+"/resourcegroups?$top=1", versionResources)
			s.status(r, http.StatusOK)
			if items, _ := r.Value("value").([]any); len(items) > 1 {
				s.fail("$top=1 gave %d groups", len(items))
			}
			s.text(r, "nextLink")
			all := s.list(s.subscription()+"/resourcegroups?$top=1", versionResources)
			for _, g := range []string{a, b} {
				if !named(all, g[strings.LastIndex(g, "/")+1:]) {
					s.fail("nextLink was followed through %d groups, and %s was not among them", len(all), g)
				}
			}
		}},
		{"core.group.delete", func(s *session) {
			g := s.newGroup()
			r := s.do(wire.Request{Method: http.MethodDelete, URL: g, Version: versionResources})
			s.status(r, http.StatusAccepted, http.StatusOK)
			if r.Status == http.StatusAccepted && r.Header.Get("Location") == "" {
				s.fail("%s; a 202 has a Location to poll", r)
			}
			s.done(r)
			s.refused(s.get(g, versionResources), http.StatusNotFound, "ResourceGroupNotFound")
			s.client.Untrack(g)
			r = s.do(wire.Request{Method: http.MethodDelete, URL: g, Version: versionResources})
			s.refused(r, http.StatusNotFound, "ResourceGroupNotFound")
		}},
		{"core.group.contents", func(s *session) {
			g := s.newGroup()
			inside := s.accountIn(g)
			r := s.do(wire.Request{Method: http.MethodDelete, URL: g, Version: versionResources})
			s.status(r, http.StatusAccepted, http.StatusOK)
			s.done(r)
			s.client.Untrack(inside)
			// A group of that name begins empty.
			s.status(s.create(g, versionResources, map[string]any{"location": s.cfg.Location}), http.StatusCreated)
			s.refused(s.get(inside, versionStorage), http.StatusNotFound, "ResourceNotFound")
		}},
		{"core.operation.retry-after", func(s *session) {
			g := s.newGroup()
			r := s.do(wire.Request{Method: http.MethodDelete, URL: g, Version: versionResources})
			if r.Status != http.StatusAccepted {
				s.skip("deleting a group is no long-running operation here: %s", r)
			}
			if n := r.Header.Get("Retry-After"); n == "" || strings.Trim(n, "0123456789") != "" {
				s.fail("%s; without Retry-After in whole seconds clients wait 30 s, it is %q", r, n)
			}
			s.done(r)
			s.client.Untrack(g)
		}},
	}
}

// shout writes the fixed segments and the names of a path in upper case; the subscription's id has no case worth keeping.
func shout(path string) string { return strings.ToUpper(path) }
