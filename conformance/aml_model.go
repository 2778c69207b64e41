package conformance

import (
	"net/http"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// model sends a request to model management; its clients require 200.
func (s *session) model(method, path string, body any) *wire.Response {
	r := s.do(wire.Request{Method: method, URL: s.workspace().models + path, Version: versionWorkspace, Body: body})
	s.status(r, http.StatusOK)
	return r
}

// register registers what a run left under a path, as Run.register_model does.
func (s *session) register(name, runID, path string) *wire.Response {
	asset := s.model(http.MethodPost, "/assets", map[string]any{
		"name": name, "description": name + " saved during run " + runID, "artifacts": []any{map[string]string{"prefix": "ExperimentRun/" + runID + "/" + path}},
		"kvTags": nil, "properties": nil, "runid": runID, "projectid": nil, "meta": nil, "CreatedTime": "2018-10-20 10:00:00.000000"})
	return s.model(http.MethodPost, "/models", map[string]any{
		"name": name, "tags": nil, "properties": nil, "description": nil, "url": "aml://asset/" + s.text(asset, "id"),
		"mimeType": "application/json", "unpack": false})
}

func modelSpecs() []spec {
	return []spec{
		{"aml.model.register", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/model.txt", "weights")
			name := "model" + random()
			r := s.register(name, id, "outputs/model.txt")
			keys := decode[map[string]any](s, r)
			for _, k := range []string{"createdTime", "description", "id", "mimeType", "name", "kvTags", "properties", "unpack", "url", "version"} {
				if _, ok := keys[k]; !ok {
					s.fail("%s; the key %s must be there, if only as null", r, k)
				}
			}
			s.Expect(r.Text("id")).To(gomega.Equal(name+":1"), r.String())
			s.Expect(s.register(name, id, "outputs/model.txt").Text("id")).To(gomega.Equal(name+":2"), "versions count up for each name")
			s.Expect(s.model(http.MethodGet, "/models/"+name+":1", nil).Text("name")).To(gomega.Equal(name))
		}},
		{"aml.model.list", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/model.txt", "weights")
			name := "model" + random()
			s.register(name, id, "outputs/model.txt")
			s.register(name, id, "outputs/model.txt")
			type page struct{ Value []struct{ ID string } }
			r := s.model(http.MethodGet, "/models?orderBy=CreatedAtDesc&count=1&name="+name, nil)
			newest := decode[page](s, r)
			if len(newest.Value) == 0 || newest.Value[0].ID != name+":2" {
				s.fail("%s; the newest model comes first", r)
			}
			r = s.model(http.MethodGet, "/models?name="+name, nil)
			s.Expect(decode[page](s, r).Value).To(gomega.HaveLen(2), r.String())
			if strings.Contains(string(r.Body), "nextLink") {
				s.fail("%s; the SDK loops while the key nextLink is there, even as null", r)
			}
		}},
		{"aml.model.download", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/model.txt", "weights")
			m := s.register("model"+random(), id, "outputs/model.txt")
			asset := s.model(http.MethodGet, "/assets/"+strings.TrimPrefix(s.text(m, "url"), "aml://asset/"), nil)
			list := decode[struct{ Artifacts []struct{ ID, Prefix string } }](s, asset)
			if len(list.Artifacts) != 1 || list.Artifacts[0].Prefix == "" {
				s.fail("%s; the asset has one artifact with its prefix", asset)
			}
			infos := paged[contentInfo](s, s.workspace().artifacts()+"/prefix/contentinfo/"+list.Artifacts[0].Prefix)
			s.Expect(infos).To(gomega.HaveLen(1))
			s.Expect(string(s.blob(http.MethodGet, infos[0].ContentURI, "", http.StatusOK).Body)).To(gomega.Equal("weights"))
		}},
		{"aml.model.artifacts", func(s *session) {
			id, _ := s.newRun(nil)
			asset := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().models + "/assets", Version: versionWorkspace, Body: map[string]any{
				"name": "model", "artifacts": []any{map[string]string{"prefix": "ExperimentRun/" + id + "/outputs/absent.txt"}}, "runid": id}})
			if asset.Status >= 400 && asset.Status < 500 {
				return
			}
			s.status(asset, http.StatusOK)
			r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().models + "/models", Version: versionWorkspace, Body: map[string]any{
				"name": "model" + random(), "url": "aml://asset/" + s.text(asset, "id"), "mimeType": "application/json", "unpack": false}})
			if r.Status < 400 || r.Status >= 500 {
				s.fail("%s; a model of files that are not there is refused", r)
			}
		}},
		{"aml.model.tags", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/model.txt", "weights")
			m := s.text(s.register("model"+random(), id, "outputs/model.txt"), "id")
			s.model(http.MethodPatch, "/models/"+m, []any{map[string]any{"op": "replace", "path": "/kvTags", "value": map[string]string{"k": "v"}}})
			r := s.model(http.MethodGet, "/models/"+m, nil)
			s.Expect(r.Text("kvTags", "k")).To(gomega.Equal("v"), r.String())
		}},
		{"aml.model.delete", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/model.txt", "weights")
			m := s.text(s.register("model"+random(), id, "outputs/model.txt"), "id")
			s.model(http.MethodDelete, "/models/"+m, nil)
			r := s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().models + "/models/" + m, Version: versionWorkspace})
			s.status(r, http.StatusNotFound)
		}},
	}
}
