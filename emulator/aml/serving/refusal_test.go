package serving_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestRefusals: what is refused is refused before anything is done, in model management's words.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	ok := w.imageBody("img", "def init(): pass\ndef run(x): return x\n", "")
	image := func(change func(doc map[string]any)) string {
		var doc map[string]any
		must(t, json.Unmarshal([]byte(ok), &doc))
		change(doc)
		b, err := json.Marshal(doc)
		must(t, err)
		return string(b)
	}
	runtime := func(doc map[string]any) map[string]any { return doc["targetRuntime"].(map[string]any) }
	asset := func(doc map[string]any, i int) map[string]any { return doc["assets"].([]any)[i].(map[string]any) }
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		code, target             string
	}{
		{"ErrEmpty", "POST", api + "/images", "", 400, "EmptyOrInvalidPayload", "body"},
		{"ErrImageName", "POST", api + "/images", image(func(d map[string]any) { d["name"] = "A!" }), 400, "InvalidImageName", "name"},
		{"ErrNoRuntime", "POST", api + "/images", image(func(d map[string]any) { delete(d, "targetRuntime") }), 400, "MissingField", "targetRuntime"},
		{"ErrSpark", "POST", api + "/images", image(func(d map[string]any) { runtime(d)["runtimeType"] = "SparkPython" }), 400, "NotSupported", "targetRuntime.runtimeType"},
		{"ErrRuntime", "POST", api + "/images", image(func(d map[string]any) { runtime(d)["runtimeType"] = "Cobol" }), 400, "InvalidRuntimeType", "targetRuntime.runtimeType"},
		{"ErrArm", "POST", api + "/images", image(func(d map[string]any) { runtime(d)["targetArchitecture"] = "arm32v7" }), 400, "NotSupported", "targetRuntime.targetArchitecture"},
		{"ErrCuda", "POST", api + "/images", image(func(d map[string]any) { runtime(d)["properties"] = map[string]any{"installCuda": true} }), 400, "NotSupported", "targetRuntime.properties.installCuda"},
		{"ErrConda", "POST", api + "/images", image(func(d map[string]any) {
			runtime(d)["properties"] = map[string]any{"condaEnvFile": "aml://artifact/LocalUpload/c/none"}
		}), 400, "ArtifactNotFound", "targetRuntime.properties.condaEnvFile"},
		{"ErrDockerfile", "POST", api + "/images", image(func(d map[string]any) { d["dockerFileUri"] = "aml://artifact/x/y/z" }), 400, "NotSupported", "dockerFileUri"},
		{"ErrBaseImage", "POST", api + "/images", image(func(d map[string]any) { d["baseImage"] = "x" }), 400, "NotSupported", "baseImage"},
		{"ErrFlavor", "POST", api + "/images", image(func(d map[string]any) { d["imageFlavor"] = "AccelContainer" }), 400, "NotSupported", "imageFlavor"},
		{"ErrNoDriver", "POST", api + "/images", image(func(d map[string]any) { d["driverProgram"] = "other" }), 400, "DriverNotFound", "driverProgram"},
		{"ErrAssetOutside", "POST", api + "/images", image(func(d map[string]any) { asset(d, 1)["id"] = "../x" }), 400, "InvalidAsset", "assets"},
		{"ErrAssetUrl", "POST", api + "/images", image(func(d map[string]any) { asset(d, 1)["url"] = "wasb://c@a/b" }), 400, "InvalidUrl", "assets"},
		{"ErrAssetGone", "POST", api + "/images", image(func(d map[string]any) { asset(d, 1)["url"] = "aml://artifact/LocalUpload/c/none" }), 400, "ArtifactNotFound", "assets"},
		{"ErrModel", "POST", api + "/images", image(func(d map[string]any) { d["modelIds"] = []string{"m:7"} }), 400, "ModelNotFound", "modelIds"},
		{"ErrNoImage", "GET", api + "/images/img:1", "", 404, "ImageNotFound", "id"},
		{"ErrImageID", "GET", api + "/images/img:01", "", 404, "ImageNotFound", "id"},
		{"ErrPatchNoImage", "PATCH", api + "/images/img:1", `[]`, 404, "ImageNotFound", "id"},
		{"no image to delete", "DELETE", api + "/images/img:1", "", 204, "", ""},
		{"ErrService", "POST", api + "/services", `{"name":"svc","computeType":"ACI","imageId":"img:1"}`, 400, "ImageNotFound", "imageId"},
		{"ErrServiceNoImage", "POST", api + "/services", `{"name":"svc","computeType":"ACI"}`, 400, "MissingField", "imageId"},
		{"ErrServiceName", "POST", api + "/services", `{"name":"Svc","computeType":"ACI","imageId":"img:1"}`, 400, "InvalidServiceName", "name"},
		{"ErrAKS", "POST", api + "/services", `{"name":"svc","computeType":"AKS","imageId":"img:1"}`, 400, "NotSupported", "computeType"},
		{"ErrCPU", "POST", api + "/services", `{"name":"svc","computeType":"ACI","imageId":"img:1","containerResourceRequirements":{"cpu":-1}}`, 400, "InvalidResourceRequirements", "containerResourceRequirements.cpu"},
		{"ErrCPUType", "POST", api + "/services", `{"name":"svc","computeType":"ACI","containerResourceRequirements":{"cpu":"x"}}`, 400, "EmptyOrInvalidPayload", "containerResourceRequirements.cpu"},
		{"ErrSSL", "POST", api + "/services", `{"name":"svc","computeType":"ACI","imageId":"img:1","sslEnabled":true,"sslCertificate":"x","sslKey":"y"}`, 400, "MissingField", "cname"},
		{"ErrCertificate", "POST", api + "/services", `{"name":"svc","computeType":"ACI","imageId":"img:1","sslEnabled":true,"sslCertificate":"x","sslKey":"y","cname":"z"}`, 400, "InvalidSslCertificate", "sslCertificate"},
		{"ErrNoService", "GET", api + "/services/svc", "", 404, "ServiceNotFound", "name"},
		{"ErrNoServiceLogs", "GET", api + "/services/svc/logs", "", 404, "ServiceNotFound", "name"},
		{"ErrNoServiceKeys", "POST", api + "/services/svc/listkeys", "", 404, "ServiceNotFound", "name"},
		{"ErrNoServicePatch", "PATCH", api + "/services/svc", `[]`, 404, "ServiceNotFound", "name"},
		{"ErrNoOperation", "GET", api + "/operations/x", "", 404, "OperationNotFound", "id"},
		{"ErrPackages", "POST", v1 + "/packages", `{}`, 400, "NotSupported", ""},
		{"ErrNoCode", "POST", v1 + "/services", `{"name":"svc","computeType":"ACI","environmentImageRequest":{"modelIds":["m:1"]}}`, 400, "NotSupported", "environmentImageRequest.environment"},
		{"ErrUserManaged", "POST", v1 + "/services", `{"name":"svc","computeType":"ACI","environmentImageRequest":{"environment":{"python":{"userManagedDependencies":true}}}}`, 400, "NotSupported", "environmentImageRequest.environment.python.userManagedDependencies"},
		{"ErrBaseDockerfile", "POST", v1 + "/services", `{"name":"svc","computeType":"ACI","environmentImageRequest":{"environment":{"docker":{"baseDockerfile":"FROM x"}}}}`, 400, "NotSupported", "environmentImageRequest.environment.docker.baseDockerfile"},
		{"a name that is free", "POST", v1 + "/services/validate/name/svc", `{}`, 200, "", ""},
	} {
		rec := w.do(row.method, row.path, row.body)
		body := rec.Body.String()
		if rec.Code != row.status || row.code != "" && !strings.Contains(body, `"code":"`+row.code+`"`) || row.target != "" && !strings.Contains(body, `"target":"`+row.target+`"`) {
			t.Errorf("%s: %d %s", row.name, rec.Code, body)
		}
	}
	if w.arm.puts != 0 {
		t.Error("something was ordered")
	}
	if doc, _ := w.want(200, "GET", api+"/images", ""); len(doc["value"].([]any)) != 0 {
		t.Error(doc)
	}
}

// TestBuildsThatFail end with the reason, which is in the build log too.
func TestBuildsThatFail(t *testing.T) {
	w := newWorld(t)
	const fine = "def init(): pass\ndef run(x): return x\n"
	with := func(body, property, name, text string) string {
		u := w.upload(name, []byte(text))
		return strings.Replace(body, `"properties":{}`, `"properties":{"`+property+`":"`+u+`"}`, 1)
	}
	outside := tarred(t, map[string]string{"../../evil": "x"})
	linked := tarred(t, map[string]string{"score.py": "link:/etc/passwd"})
	plain := w.imageBody("img", fine, "")
	replaced := func(content []byte) string {
		var doc map[string]any
		must(t, json.Unmarshal([]byte(plain), &doc))
		doc["assets"].([]any)[1].(map[string]any)["url"] = w.upload("a.tar.gz", content)
		b, err := json.Marshal(doc)
		must(t, err)
		return string(b)
	}
	for name, row := range map[string]struct{ body, want string }{
		"a conda file that does not parse":      {with(plain, "condaEnvFile", "env.yml", "a: [b"), "does not parse"},
		"a conda file of something else":        {with(plain, "condaEnvFile", "env.yml", "dependencies: [{conda: x}]"), "neither a package"},
		"a package that there is not":           {with(plain, "pipRequirements", "r.txt", "no-such-package==1.0\n"), "no-such-package"},
		"an archive that writes outside":        {replaced(outside), "outside"},
		"an archive with a link that leads out": {replaced(linked), "leads out"},
		"an archive that is none":               {replaced([]byte("text")), "cannot be unpacked"},
		"no script":                             {replaced(tarred(t, map[string]string{"other.py": "x = 1\n"})), "score.py"},
	} {
		_, h := w.want(202, "POST", api+"/images", row.body)
		op := w.wait(h)
		cause, _ := op["error"].(map[string]any)
		if op["state"] != "Failed" || cause == nil || !strings.Contains(cause["message"].(string), row.want) {
			t.Errorf("%s: %v", name, op)
			continue
		}
		location := op["resourceLocation"].(string)
		img, _ := w.want(200, "GET", api+"/images/"+location[strings.LastIndexByte(location, '/')+1:], "")
		if img["creationState"] != "Failed" || img["imageLocation"] != nil {
			t.Errorf("%s: %v", name, img)
		}
		var log bytes.Buffer
		f, _, err := w.blob.Open(t.Context(), workspace.StorageAccount, "azureml-images", "images/"+strings.Replace(img["id"].(string), ":", "/", 1)+"/build.log")
		must(t, err)
		_, err = log.ReadFrom(f)
		must(t, err)
		must(t, f.Close())
		if !strings.Contains(log.String(), row.want) {
			t.Errorf("%s: the log lacks %q:\n%s", name, row.want, log.String())
		}
		if strings.Contains(log.String(), "sig=") {
			t.Errorf("%s: the log shows a signature", name)
		}
	}
	if len(w.arm.groups) != 0 {
		t.Error("groups of builds are left")
	}
}
