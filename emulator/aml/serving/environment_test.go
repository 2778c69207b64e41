package serving_test

import (
	"strings"
	"testing"
)

// environmentBody is the service request of SDK 1.x for one script in a source directory.
func (w *world) environmentBody(script string) string {
	main := w.upload("tmpdriver.py", []byte(strings.Replace(driver, "'score.py'", "os.path.join(os.path.dirname(os.path.realpath(__file__)), 'src/score.py')", 1)))
	dir := w.upload("src.tar.gz", tarred(w.t, map[string]string{"src/score.py": script}))
	return `{"driverProgram":"tmpdriver.py","modelIds":["m:1"],"assets":[{"id":"tmpdriver.py","url":"` + main + `","mimeType":"application/x-python"},{"id":"src.tar.gz","url":"` + dir + `","mimeType":"application/octet-stream","unpack":true}],` +
		`"environment":{"name":"e","environmentVariables":{"WORD":"hello"},"python":{"userManagedDependencies":false,"condaDependencies":{"name":"p","dependencies":[{"pip":[]}]}},"docker":{"baseImage":"mcr.microsoft.com/azureml/base"}}}`
}

const wordy = `import os
def init():
    assert os.listdir(os.environ['AZUREML_MODEL_DIR']) == ['weights.txt']
def run(raw):
    return os.environ['WORD'] + raw
`

func TestEnvironment(t *testing.T) {
	w := newWorld(t)
	w.model("m", "x")
	_, h := w.want(202, "POST", v1+"/services", `{"name":"svc","computeType":"ACI","keys":{"primaryKey":"mine"},"containerResourceRequirements":{"cpu":0.5},"environmentImageRequest":`+w.environmentBody(wordy)+`}`)
	if op := w.wait(h); op["state"] != "Succeeded" || op["operationDetails"].(map[string]any)["subOperationType"] != "DeployService" {
		t.Fatal(op)
	}
	s, _ := w.want(200, "GET", v1+"/services/svc?expand=true", "")
	if s["imageDetails"] != nil || s["environmentImageRequest"].(map[string]any)["environment"].(map[string]any)["name"] != "e" || !strings.Contains(s["scoringUri"].(string), ".azurecontainer.io/score") {
		t.Error(s)
	}
	if s, _ := w.want(200, "GET", api+"/services/svc?expand=true", ""); s["imageDetails"] == nil {
		t.Error("the SDK of 2018 gets no image")
	}
	if all, _ := w.want(200, "GET", v1+"/images", ""); len(all["value"].([]any)) != 0 {
		t.Error("an image that belongs to a service is listed", all)
	}
	call := func(want string) {
		t.Helper()
		if status, _, body := w.arm.call("POST", "http://"+s["publicIp"].(string)+"/score", "", "!"); status != 200 || body != want {
			t.Error(status, body)
		}
	}
	call(`"hello!"`)
	if doc, _ := w.want(200, "POST", v1+"/services/validate/name/svc", `{}`); doc["error"] == nil {
		t.Error("a taken name is valid")
	}
	w.want(409, "POST", v1+"/services", `{"name":"svc","computeType":"ACI","environmentImageRequest":`+w.environmentBody(wordy)+`}`)
	_, h = w.want(202, "PATCH", v1+"/services/svc", `[{"op":"replace","path":"/environmentImageRequest","value":`+w.environmentBody(strings.Replace(wordy, "+ raw", "+ raw + raw", 1))+`},{"op":"add","path":"/properties/a","value":"b"}]`)
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	call(`"hello!!"`)
	// With overwrite it is another service of that name.
	_, h = w.want(202, "POST", v1+"/services", `{"name":"svc","computeType":"ACI","overwrite":true,"environmentImageRequest":`+w.environmentBody(wordy)+`}`)
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	s, _ = w.want(200, "GET", v1+"/services/svc", "")
	call(`"hello!"`)
	w.want(200, "DELETE", v1+"/services/svc", "")
	if docs, err := w.store.List(t.Context(), "serving/"+workspace.GUID+"/image/", "", 0); err != nil || len(docs) != 0 {
		t.Error("images of a service that is gone are left", docs, err)
	}
}
