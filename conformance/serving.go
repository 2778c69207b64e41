package conformance

import (
	"encoding/json"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// driver is the program of the suite's images: it needs nothing but Python, and
// answers with the models that it was given and the word that it is sent.
const driver = `import json, os

def init():
    global models
    models = {}
    for folder, _, files in os.walk(os.path.join(os.environ.get("AML_APP_ROOT", "."), "azureml-models")):
        for name in files:
            with open(os.path.join(folder, name)) as f:
                models[os.path.relpath(os.path.join(folder, name), os.environ.get("AML_APP_ROOT", "."))] = f.read()

def run(body, headers):
    return {"models": models, "echo": json.loads(body)["word"]}
`

// brokenDriver compiles, and fails when the service starts.
const brokenDriver = "def init():\n    raise ValueError('this model can not be loaded')\n\ndef run(body, headers):\n    return 'never'\n"

// webService is one that the specs of serving share: the second of two versions of a model, behind a key.
type webService struct {
	name, image, uri, primary string
	shown                     *wire.Response
	models                    []string // ids, the older first
}

// operated follows Operation-Location, as the SDK does, and returns the state at the end.
func (s *session) operated(r *wire.Response) string {
	s.status(r, http.StatusAccepted)
	location := r.Header.Get("Operation-Location")
	if location == "" {
		s.fail("%s; the SDK follows Operation-Location", r)
	}
	op := &wire.Operation{}
	err := s.client.Until(s.ctx, op, location+"?api-version="+versionWorkspace, func(r *wire.Response) bool {
		s.status(r, http.StatusOK)
		state := s.text(r, "state")
		return state != "NotStarted" && state != "Running"
	})
	if err != nil {
		s.fail("following %s: %v", location, err)
	}
	return op.Last.Text("state")
}

// image builds one of a driver and models, and returns its id.
func (s *session) image(program string, models ...string) string {
	id, _ := s.newRun(nil)
	s.upload("ExperimentRun", id, "score.py", program)
	s.upload("ExperimentRun", id, "conda.yml", "name: e\ndependencies:\n- python=3.6.2\n")
	name := "image" + random()
	r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().models + "/images", Version: versionWorkspace, Body: map[string]any{
		"name": name, "driverProgram": "score.py", "modelIds": models, "imageType": "Docker", "imageFlavor": "WebApiContainer",
		"assets":        []any{map[string]any{"id": "score.py", "mimeType": "application/x-python", "url": "aml://artifact/ExperimentRun/" + id + "/score.py", "unpack": false}},
		"targetRuntime": map[string]any{"runtimeType": "Python", "properties": map[string]any{"condaEnvFile": "aml://artifact/ExperimentRun/" + id + "/conda.yml"}}}})
	if state := s.operated(r); state != "Succeeded" {
		s.fail("the image's build ended %s", state)
	}
	return name + ":1"
}

// serve asks for a service of an image and returns the state in which its operation ended.
func (s *session) serve(name, image string) string {
	r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().models + "/services", Version: versionWorkspace, Body: serviceBody(name, image)})
	s.later(func() {
		if name != s.fix.serving.value.name {
			s.unserve(name)
		}
	})
	return s.operated(r)
}

func serviceBody(name, image string) map[string]any {
	return map[string]any{"name": name, "imageId": image, "computeType": "ACI", "authEnabled": true,
		"containerResourceRequirements": map[string]any{"cpu": 0.5, "memoryInGB": 0.5}}
}

// unserve deletes a service, with the container group that it runs in.
func (s *session) unserve(name string) {
	r := s.do(wire.Request{Method: http.MethodDelete, URL: s.workspace().models + "/services/" + name, Version: versionWorkspace})
	s.status(r, http.StatusOK, http.StatusNoContent)
}

func (s *session) webService() webService {
	return obtain(s, &s.fix.serving, "a web service", func() webService {
		s.provider("Microsoft.ContainerInstance")
		id, _ := s.newRun(nil)
		s.upload("ExperimentRun", id, "outputs/model.txt", "older")
		s.upload("ExperimentRun", id, "outputs/two/model.txt", "newer")
		name := "model" + random()
		w := webService{name: "service" + random()}
		for _, path := range []string{"outputs/model.txt", "outputs/two/model.txt"} {
			w.models = append(w.models, s.text(s.register(name, id, path), "id"))
		}
		w.image = s.image(driver, w.models[1])
		// The group is the service's: it goes with the workspace's resource group, should the suite end before.
		s.creates(s.workspace().group + "/providers/Microsoft.ContainerInstance/containerGroups/" + w.name)
		s.fix.serving.value.name = w.name
		if state := s.serve(w.name, w.image); state != "Succeeded" {
			s.fail("the service's deployment ended %s", state)
		}
		w.shown = s.model(http.MethodGet, "/services/"+w.name, nil)
		w.uri = s.text(w.shown, "scoringUri")
		w.primary = s.text(s.model(http.MethodPost, "/services/"+w.name+"/listkeys", nil), "primaryKey")
		return w
	})
}

// score calls a service with a key; "" is none.
func (s *session) score(uri, key string) *wire.Response {
	r := wire.Request{Method: http.MethodPost, URL: uri, NoToken: true, Body: map[string]string{"word": scriptWord}, Header: http.Header{}}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return s.do(r)
}

func servingSpecs() []spec {
	return []spec{
		{"serving.image", func(s *session) {
			r := s.model(http.MethodGet, "/images/"+s.webService().image, nil)
			s.Expect(r.Text("creationState")).To(gomega.Equal("Succeeded"), r.String())
		}},
		{"serving.service", func(s *session) {
			w := s.webService()
			s.Expect(w.shown.Text("state")).To(gomega.Equal("Healthy"), w.shown.String())
			s.Expect(w.shown.Text("imageId")).To(gomega.Equal(w.image), w.shown.String())
			if strings.Contains(string(w.shown.Body), w.primary) {
				s.fail("GET of the service shows its key")
			}
		}},
		{"serving.score", func(s *session) {
			w := s.webService()
			r := s.score(w.uri, w.primary)
			s.status(r, http.StatusOK)
			var got struct {
				Models map[string]string
				Echo   string
			}
			if err := json.Unmarshal(r.Body, &got); err != nil {
				s.fail("%s; the answer is what run() returned, as JSON: %v", r, err)
			}
			s.Expect(got.Echo).To(gomega.Equal(scriptWord))
			var contents []string
			for _, content := range got.Models {
				contents = append(contents, content)
			}
			sort.Strings(contents)
			s.Expect(contents).To(gomega.Equal([]string{"newer"}), "the image has the version of the model that was asked for: "+r.String())
		}},
		{"serving.key", func(s *session) {
			w := s.webService()
			for _, key := range []string{"", "wrong" + random(), w.primary + "x"} {
				s.status(s.score(w.uri, key), http.StatusUnauthorized)
			}
		}},
		{"serving.broken", func(s *session) {
			s.webService()
			name := "broken" + random()
			if state := s.serve(name, s.image(brokenDriver)); state != "Failed" {
				s.fail("the deployment of a score.py that can't be loaded ended %s", state)
			}
			r := s.model(http.MethodGet, "/services/"+name, nil)
			s.Expect(r.Text("state")).To(gomega.Equal("Failed"), r.String())
		}},
		{"serving.image.absent", func(s *session) {
			name := "none" + random()
			r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().models + "/services", Version: versionWorkspace, Body: serviceBody(name, "absent"+random()+":1")})
			s.status(r, http.StatusBadRequest, http.StatusNotFound)
			s.status(s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().models + "/services/" + name, Version: versionWorkspace}), http.StatusNotFound)
		}},
		{"serving.delete", func(s *session) {
			w := s.webService()
			s.unserve(w.name)
			s.status(s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().models + "/services/" + w.name, Version: versionWorkspace}), http.StatusNotFound)
			group := s.workspace().group + "/providers/Microsoft.ContainerInstance/containerGroups/" + w.name
			s.eventually("the end of the service's container group", time.Minute, func() bool { return s.get(group, versionContainers).Status == http.StatusNotFound })
		}},
	}
}
