package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// deployTime is how long an image's build or a service's deployment may take.
const deployTime = 25 * time.Minute

// driverProgram stands between the server and score.py, as the SDK generates one; it needs no package of Azure's.
const driverProgram = `import importlib.util as imp
spec = imp.spec_from_file_location('service_driver', 'score.py')
module = imp.module_from_spec(spec)
spec.loader.exec_module(module)

def run(http_body, request_headers):
    return module.run(http_body)

def init():
    module.init()
`

// scoreScript multiplies what it is sent by the number that the model is.
const scoreScript = `import json
import os

def init():
    global factor
    folder = 'azureml-models'
    for _ in range(2):
        folder = os.path.join(folder, os.listdir(folder)[0])
    with open(os.path.join(folder, os.listdir(folder)[0])) as f:
        factor = int(f.read())
    print('the factor is', factor)

def run(raw):
    return [factor * n for n in json.loads(raw)['data']]
`

const crashScript = `def init():
    raise ValueError('no model was found')

def run(raw):
    return raw
`

// webService is the service that specs share.
type webService struct {
	name, uri          string
	primary, secondary string
}

// mms sends a request to model management, of which any status may come.
func (s *session) mms(method, path string, body any) *wire.Response {
	return s.do(wire.Request{Method: method, URL: s.workspace().models + path, Version: versionWorkspace, Body: body})
}

// operation follows the operation of a 202 to its end, as the SDK does: by the last segment of Operation-Location.
func (s *session) operation(r *wire.Response) *wire.Response {
	s.status(r, http.StatusAccepted)
	location := r.Header.Get("Operation-Location")
	if location == "" {
		s.fail("%s; the SDK gives up without Operation-Location", r)
	}
	path := "/operations/" + location[strings.LastIndexByte(location, '/')+1:]
	op := s.model(http.MethodGet, path, nil)
	if s.text(op, "resourceLocation") == "" {
		s.fail("%s; resourceLocation must be there at the first look", op)
	}
	s.eventually("the end of the operation "+path, deployTime, func() bool {
		op = s.model(http.MethodGet, path, nil)
		state := s.text(op, "state")
		return state != "Running" && state != "NotStarted"
	})
	return op
}

func (s *session) ask(script string, models ...string) *wire.Response {
	id := random()
	s.upload("LocalUpload", id, "driver.py", driverProgram)
	s.upload("LocalUpload", id, "score.py", script)
	return s.mms(http.MethodPost, "/images", map[string]any{
		"name": "img" + id, "driverProgram": "driver", "description": nil, "tags": nil, "kvTags": map[string]string{"suite": "conformance"}, "properties": nil, "modelIds": models,
		"assets": []any{map[string]any{"id": "driver", "url": "aml://artifact/LocalUpload/" + id + "/driver.py", "mimeType": "application/x-python"},
			map[string]any{"id": "score.py", "url": "aml://artifact/LocalUpload/" + id + "/score.py", "mimeType": "application/octet-stream", "unpack": false}},
		"targetRuntime": map[string]any{"runtimeType": "Python", "targetArchitecture": "amd64", "properties": map[string]any{}},
		"dockerFileUri": nil, "imageType": "Docker", "imageFlavor": "WebApiContainer"})
}

// build has an image made, and returns its id.
func (s *session) build(script string, models ...string) string {
	op := s.operation(s.ask(script, models...))
	if s.text(op, "state") != "Succeeded" {
		s.fail("%s; the image should be built", op)
	}
	location := s.text(op, "resourceLocation")
	return location[strings.LastIndexByte(location, '/')+1:]
}

// image is one of the script and a model.
func (s *session) image() string {
	return obtain(s, &s.fix.image, "an image", func() string {
		id, _ := s.newRun(nil)
		s.upload("ExperimentRun", id, "./outputs/old/factor.txt", "5")
		s.upload("ExperimentRun", id, "./outputs/factor.txt", "3")
		// Of the two versions of the model the image has the one that is asked for.
		name := "factor" + random()
		s.register(name, id, "outputs/old/factor.txt")
		return s.build(scoreScript, s.text(s.register(name, id, "outputs/factor.txt"), "id"))
	})
}

func (s *session) askService(name, image string, auth bool) *wire.Response {
	return s.mms(http.MethodPost, "/services", map[string]any{
		"imageId": image, "name": name, "containerResourceRequirements": map[string]any{"cpu": 1, "memoryInGB": 1}, "tags": nil,
		"kvTags": map[string]string{"a": "b"}, "properties": nil, "description": "of the suite", "computeType": "ACI", "location": nil, "authEnabled": auth})
}

func (s *session) keys(name string) (primary, secondary string) {
	r := s.model(http.MethodPost, "/services/"+name+"/listkeys", nil)
	return s.text(r, "primaryKey"), s.text(r, "secondaryKey")
}

// webService is a service of the image, with keys.
func (s *session) webService() *webService {
	return obtain(s, &s.fix.service, "a web service", func() *webService {
		v := &webService{name: "svc" + random()}
		r := s.askService(v.name, s.image(), true)
		s.status(r, http.StatusAccepted)
		soon := s.model(http.MethodGet, "/services/"+v.name+"?expand=true", nil)
		keys := decode[map[string]any](s, soon)
		for _, k := range []string{"name", "description", "kvTags", "properties", "createdTime", "computeType", "containerResourceRequirements", "imageId", "imageDetails",
			"scoringUri", "location", "authEnabled", "sslEnabled", "appInsightsEnabled", "sslCertificate", "sslKey", "cname", "publicIp"} {
			if _, ok := keys[k]; !ok {
				s.fail("%s; the key %s must be there, if only as null", soon, k)
			}
		}
		if op := s.operation(r); s.text(op, "state") != "Succeeded" {
			s.fail("%s; the service should be deployed", op)
		}
		r = s.model(http.MethodGet, "/services/"+v.name, nil)
		s.Expect(s.text(r, "state")).To(gomega.Equal("Healthy"), r.String())
		v.uri = s.text(r, "scoringUri")
		v.primary, v.secondary = s.keys(v.name)
		return v
	})
}

// score calls a service with a key; empty: none.
func (s *session) score(v *webService, key, body string) *wire.Response {
	r := wire.Request{Method: http.MethodPost, URL: v.uri, NoToken: true, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return s.do(r)
}

func (s *session) serviceLog(name string) string {
	return s.text(s.model(http.MethodGet, "/services/"+name+"/logs?tail=5000", nil), "content")
}

func deploySpecs() []spec {
	return []spec{
		{"deploy.image.create", func(s *session) {
			r := s.model(http.MethodGet, "/images/"+s.image()+"?expand=true", nil)
			keys := decode[map[string]any](s, r)
			for _, k := range []string{"assets", "createdTime", "creationState", "description", "driverProgram", "id", "imageLocation", "imageType", "modelIds", "name",
				"kvTags", "properties", "targetRuntime", "version"} {
				if _, ok := keys[k]; !ok {
					s.fail("%s; the key %s must be there, if only as null", r, k)
				}
			}
			s.Expect(s.text(r, "creationState")).To(gomega.Equal("Succeeded"), r.String())
			if len(s.blob(http.MethodGet, s.text(r, "imageBuildLogUri"), "", http.StatusOK).Body) == 0 {
				s.fail("the build log is empty")
			}
		}},
		{"deploy.image.list", func(s *session) {
			name, _, _ := strings.Cut(s.image(), ":")
			r := s.model(http.MethodGet, "/images?expand=true&name="+name, nil)
			page := decode[struct {
				Value []struct {
					ID           string
					ModelDetails []struct{ ID string }
				}
			}](s, r)
			if len(page.Value) != 1 || page.Value[0].ID != s.image() || len(page.Value[0].ModelDetails) != 1 {
				s.fail("%s; the image should be listed, with its model", r)
			}
		}},
		{"deploy.image.absent", func(s *session) {
			s.status(s.mms(http.MethodGet, "/images/absent:1", nil), http.StatusNotFound)
			s.status(s.mms(http.MethodGet, "/operations/"+uuid(), nil), http.StatusNotFound)
		}},
		{"deploy.image.model", func(s *session) {
			s.status(s.ask(scoreScript, "absent:1"), http.StatusBadRequest, http.StatusNotFound)
		}},
		{"deploy.service.create", func(s *session) {
			v := s.webService()
			if !strings.HasSuffix(v.uri, "/score") {
				s.fail("the scoringUri %q should end with /score", v.uri)
			}
			if r := s.model(http.MethodGet, "/services/"+v.name, nil); strings.Contains(string(r.Body), v.primary) {
				s.fail("GET of the service shows its key")
			}
		}},
		{"deploy.service.score", func(s *session) {
			v := s.webService()
			r := s.score(v, v.primary, `{"data": [1, 2, 14]}`)
			s.status(r, http.StatusOK)
			var numbers []int
			s.must(json.Unmarshal(r.Body, &numbers))
			s.Expect(numbers).To(gomega.Equal([]int{3, 6, 42}), r.String())
		}},
		{"deploy.service.auth", func(s *session) {
			v := s.webService()
			s.status(s.score(v, v.secondary, `{"data": []}`), http.StatusOK)
			s.status(s.score(v, "", `{"data": []}`), http.StatusUnauthorized)
			s.status(s.score(v, v.primary[1:], `{"data": []}`), http.StatusUnauthorized)
		}},
		{"deploy.service.large", func(s *session) {
			v := s.webService()
			r := s.score(v, v.primary, `{"data": [1], "more": "`+strings.Repeat("x", 50<<20)+`"}`)
			s.status(r, http.StatusOK)
			s.Expect(strings.TrimSpace(string(r.Body))).To(gomega.Equal("[3]"), "what 50 MB are answered with")
			s.status(s.score(v, v.primary, strings.Repeat("x", 101<<20)), http.StatusRequestEntityTooLarge)
			s.status(s.score(v, v.primary, `{"data": [1]}`), http.StatusOK)
		}},
		{"deploy.service.log", func(s *session) {
			v := s.webService()
			s.status(s.score(v, v.primary, `{}`), http.StatusBadGateway, http.StatusInternalServerError)
			s.eventually("the traceback in the log", time.Minute, func() bool {
				log := s.serviceLog(v.name)
				return strings.Contains(log, "the factor is 3") && strings.Contains(log, "KeyError")
			})
		}},
		{"deploy.service.tags", func(s *session) {
			v := s.webService()
			s.model(http.MethodPatch, "/services/"+v.name, []any{map[string]any{"op": "replace", "path": "/kvTags", "value": map[string]string{"k": "v"}}})
			r := s.model(http.MethodGet, "/services/"+v.name, nil)
			s.Expect(r.Text("kvTags", "k")).To(gomega.Equal("v"), r.String())
			s.Expect(s.text(r, "state")).To(gomega.Equal("Healthy"), r.String())
		}},
		{"deploy.service.taken", func(s *session) {
			s.status(s.askService(s.webService().name, s.image(), false), http.StatusConflict)
		}},
		{"deploy.service.keys", func(s *session) {
			v := s.webService()
			if op := s.operation(s.mms(http.MethodPost, "/services/"+v.name+"/regenerateKeys", map[string]string{"keyType": "Primary"})); s.text(op, "state") != "Succeeded" {
				s.fail("%s; the key should be made anew", op)
			}
			old := v.primary
			v.primary, _ = s.keys(v.name)
			s.status(s.score(v, v.primary, `{"data": []}`), http.StatusOK)
			s.status(s.score(v, old, `{"data": []}`), http.StatusUnauthorized)
		}},
		{"deploy.service.crash", func(s *session) {
			name := "bad" + random()
			op := s.operation(s.askService(name, s.build(crashScript), false))
			s.Expect(s.text(op, "state")).To(gomega.Equal("Failed"), op.String())
			if r := s.model(http.MethodGet, "/services/"+name, nil); s.text(r, "state") != "Failed" && s.text(r, "state") != "Unhealthy" {
				s.fail("%s; the service should not be healthy", r)
			}
			log := s.serviceLog(name)
			s.model(http.MethodDelete, "/services/"+name, nil)
			if !strings.Contains(log, "Traceback") || !strings.Contains(log, "no model was found") {
				s.fail("the log lacks the traceback of init():\n%s", log)
			}
		}},
		{"deploy.service.delete", func(s *session) {
			path := "/services/" + s.webService().name
			s.model(http.MethodDelete, path, nil)
			s.status(s.mms(http.MethodGet, path, nil), http.StatusNotFound)
			s.status(s.mms(http.MethodDelete, path, nil), http.StatusNoContent)
		}},
	}
}
