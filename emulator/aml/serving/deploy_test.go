package serving_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const score = `import json, os
from azureml.core.model import Model
def init():
    global weights
    with open(Model.get_model_path('m')) as f:
        weights = f.read()
    print('the weights are', weights)
def run(raw):
    numbers = json.loads(raw)['data']
    return {'sum': sum(numbers), 'weights': weights}
`

func TestDeploy(t *testing.T) {
	w := newWorld(t)
	w.model("m", "old")
	id := w.model("m", "seven")
	if id != "m:2" {
		t.Fatal(id)
	}
	_, h := w.want(202, "POST", api+"/images", w.imageBody("img", score, `"m:2"`))
	op := w.wait(h)
	if op["state"] != "Succeeded" || !strings.HasSuffix(op["resourceLocation"].(string), "/images/img:1") {
		t.Fatal(op, w.do("GET", api+"/images/img:1", "").Body)
	}
	img, _ := w.want(200, "GET", api+"/images/img:1?expand=true", "")
	if img["creationState"] != "Succeeded" || img["modelDetails"].([]any)[0].(map[string]any)["id"] != "m:2" {
		t.Fatal(img)
	}
	_, h = w.want(202, "POST", api+"/services", `{"imageId":"img:1","name":"svc","containerResourceRequirements":{"cpu":null,"memoryInGB":null},"computeType":"ACI","location":null,"authEnabled":true,"kvTags":{"a":"b"}}`)
	if s, _ := w.want(200, "GET", api+"/services/svc?expand=true", ""); s["state"] != "Transitioning" || s["scoringUri"] != nil || s["imageDetails"] == nil {
		t.Fatal(s)
	}
	if op := w.wait(h); op["state"] != "Succeeded" {
		logs, _ := w.want(200, "GET", api+"/services/svc/logs", "")
		t.Fatal(op, logs["content"])
	}
	s, _ := w.want(200, "GET", api+"/services/svc", "")
	uri, _ := s["scoringUri"].(string)
	if s["state"] != "Healthy" || uri == "" {
		t.Fatal(s)
	}
	keys, _ := w.want(200, "POST", api+"/services/svc/listkeys", "")
	primary, secondary := keys["primaryKey"].(string), keys["secondaryKey"].(string)
	type row struct {
		name, method, path, key, body string
		status                        int
		want                          string
	}
	exchange := func(rows []row) {
		t.Helper()
		for _, r := range rows {
			status, _, body := w.arm.call(r.method, strings.TrimSuffix(uri, "/score")+r.path, r.key, r.body)
			if status != r.status || !strings.Contains(body, r.want) {
				t.Errorf("%s: %s %s: %d %s", r.name, r.method, r.path, status, body)
			}
		}
	}
	exchange([]row{
		{"OK", "POST", "/score", primary, `{"data":[1,2]}`, 200, `{"sum": 3, "weights": "seven"}`},
		{"OK with the other key", "POST", "/score", secondary, `{"data":[]}`, 200, `{"sum": 0`},
		{"health", "GET", "/", "", "", 200, "Healthy"},
		{"swagger", "GET", "/swagger.json", "", "", 200, `"title": "svc"`},
		{"ErrWrongKey", "POST", "/score", "wrong", `{"data":[1]}`, 401, "Unauthorized"},
		{"ErrNoKey", "POST", "/score", "", `{"data":[1]}`, 401, "Unauthorized"},
		{"ErrRun", "POST", "/score", primary, `{}`, 502, "'data'"},
		{"ErrMethod", "GET", "/score", primary, "", 405, "Method Not Allowed"},
		{"ErrPath", "GET", "/other", primary, "", 404, "Not Found"},
	})
	logs, _ := w.want(200, "GET", api+"/services/svc/logs?tail=5000", "")
	for _, text := range []string{"the weights are seven", "Traceback (most recent call last)", "KeyError: 'data'"} {
		if !strings.Contains(logs["content"].(string), text) {
			t.Errorf("the log lacks %q:\n%s", text, logs["content"])
		}
	}
	w.secretsStay(primary, secondary)

	// Tags alone need no deployment; a new key does, and the old one is worth nothing then.
	puts := w.arm.puts
	if s, _ := w.want(200, "PATCH", api+"/services/svc", `[{"op":"replace","path":"/kvTags","value":{"new":"tag"}}]`); s["kvTags"].(map[string]any)["new"] != "tag" || w.arm.puts != puts {
		t.Fatal(s)
	}
	_, h = w.want(202, "POST", api+"/services/svc/regenerateKeys", `{"keyType":"Primary"}`)
	w.want(409, "PATCH", api+"/services/svc", `[{"op":"replace","path":"/authEnabled","value":false}]`)
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	keys, _ = w.want(200, "POST", api+"/services/svc/listkeys", "")
	exchange([]row{
		{"OK", "POST", "/score", keys["primaryKey"].(string), `{"data":[1,2]}`, 200, `{"sum": 3`},
		{"ErrOldKey", "POST", "/score", primary, `{"data":[1]}`, 401, "Unauthorized"},
		{"OK with the key that stayed", "POST", "/score", secondary, `{"data":[1]}`, 200, `{"sum": 1`},
	})

	// Another image, and no keys: the same service, deployed again.
	w.want(409, "DELETE", api+"/images/img:1", "")
	_, h = w.want(202, "POST", api+"/images", w.imageBody("img", strings.Replace(score, "sum(numbers)", "-sum(numbers)", 1), `"m:1"`))
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	_, h = w.want(202, "PATCH", api+"/services/svc", `[{"op":"replace","path":"/imageId","value":"img:2"},{"op":"replace","path":"/authEnabled","value":false}]`)
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	exchange([]row{{"OK", "POST", "/score", "", `{"data":[1,2]}`, 200, `{"sum": -3, "weights": "old"}`}})
	w.want(200, "DELETE", api+"/images/img:1", "")

	w.want(200, "DELETE", api+"/services/svc", "")
	w.want(204, "DELETE", api+"/services/svc", "")
	w.want(404, "GET", api+"/services/svc", "")
	if len(w.arm.groups) != 0 {
		t.Error("groups are left", w.arm.groups)
	}
}

// A service with a certificate of its owner's shows it, is called by its name,
// and tells nobody the key; with another it shows that one, and without one none.
func TestSSL(t *testing.T) {
	w := newWorld(t)
	_, h := w.want(202, "POST", api+"/images", w.imageBody("img", "def init():\n    pass\ndef run(raw):\n    return raw[::-1]\n", ""))
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	one, oneKey := certificate(t, "one.contoso.com")
	two, twoKey := certificate(t, "two.contoso.com")
	quoted := func(text string) string {
		b, err := json.Marshal(text)
		must(t, err)
		return string(b)
	}
	// JSON has other line ends.
	middle := func(key string) string { return strings.Split(key, "\n")[1] }
	// shows is the certificate of what answers under a name; "" if nothing does.
	shows := func(name string) string {
		t.Helper()
		address, err := w.svc.Address(t.Context(), name)
		must(t, err)
		if address == "" {
			return ""
		}
		r, err := w.arm.RoundTrip(httptest.NewRequest("GET", "https://"+address+":443/", nil))
		must(t, err)
		must(t, r.Body.Close())
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.TLS.PeerCertificates[0].Raw}))
	}
	_, h = w.want(202, "POST", api+"/services", `{"imageId":"img:1","name":"svc","computeType":"ACI","sslEnabled":true,"sslCertificate":`+quoted(one)+`,"sslKey":`+quoted(oneKey)+`,"cname":"One.contoso.com"}`)
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	if s, _ := w.want(200, "GET", api+"/services/svc", ""); s["state"] != "Healthy" || s["scoringUri"] != "https://One.contoso.com:443/score" || s["sslCertificate"] != one {
		t.Error(s)
	}
	if shows("one.contoso.com") != one || shows("other.contoso.com") != "" {
		t.Error("its certificate is not shown, or under another name")
	}
	w.secretsStay(middle(oneKey))
	for _, step := range []struct{ patch, name, shown, uri string }{
		{`[{"op":"replace","path":"/sslCertificate","value":` + quoted(two) + `},{"op":"replace","path":"/sslKey","value":` + quoted(twoKey) + `},{"op":"replace","path":"/cname","value":"two.contoso.com"}]`,
			"two.contoso.com", two, "https://two.contoso.com:443/score"},
		{`[{"op":"replace","path":"/sslEnabled","value":false}]`, "two.contoso.com", "", "http://198.18."},
	} {
		_, h = w.want(202, "PATCH", api+"/services/svc", step.patch)
		if op := w.wait(h); op["state"] != "Succeeded" {
			t.Fatal(op)
		}
		if s, _ := w.want(200, "GET", api+"/services/svc", ""); !strings.HasPrefix(s["scoringUri"].(string), step.uri) {
			t.Errorf("it is at %s, not %s", s["scoringUri"], step.uri)
		}
		if shows(step.name) != step.shown || shows("one.contoso.com") != "" {
			t.Errorf("%s: another certificate is shown", step.uri)
		}
	}
	w.secretsStay(middle(oneKey), middle(twoKey))
	w.want(200, "DELETE", api+"/services/svc", "")
}

// certificate is one for a name, signed by itself, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
}

// secretsStay checks that no key is shown anywhere but where it is asked for.
func (w *world) secretsStay(secrets ...string) {
	w.t.Helper()
	for _, path := range []string{"/services/svc", "/services", "/services/svc/logs", "/images"} {
		body := w.do("GET", api+path, "").Body.String()
		for _, s := range secrets {
			if strings.Contains(body, s) {
				w.t.Errorf("%s shows a key", path)
			}
		}
		if path != "/images" && strings.Contains(body, "sig=") && !strings.Contains(body, "imageBuildLogUri") {
			w.t.Errorf("%s shows a signature", path)
		}
	}
}

func TestScriptsThatFail(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct{ score, want string }{
		"raises":     {"def init():\n    raise RuntimeError('no weights')\ndef run(x):\n    return x\n", "RuntimeError: no weights"},
		"no-imports": {"import a_module_that_is_not_there\n", "No module named 'a_module_that_is_not_there'"},
	} {
		_, h := w.want(202, "POST", api+"/images", w.imageBody(name, row.score, ""))
		if op := w.wait(h); op["state"] != "Succeeded" {
			t.Fatal(name, op)
		}
		_, h = w.want(202, "POST", api+"/services", `{"imageId":"`+name+`:1","name":"svc","computeType":"ACI"}`)
		op := w.wait(h)
		cause, _ := op["error"].(map[string]any)
		if op["state"] != "Failed" || cause["code"] != "AciDeploymentFailed" || cause["details"].([]any)[0].(map[string]any)["code"] != "CrashLoopBackOff" {
			t.Errorf("%s: %v", name, op)
		}
		s, _ := w.want(200, "GET", api+"/services/svc", "")
		if s["state"] != "Failed" || s["scoringUri"] != nil || s["error"] == nil {
			t.Errorf("%s: %v", name, s)
		}
		logs, _ := w.want(200, "GET", api+"/services/svc/logs", "")
		if text := logs["content"].(string); !strings.Contains(text, row.want) || !strings.Contains(text, "Traceback") {
			t.Errorf("%s: the log lacks %q:\n%s", name, row.want, text)
		}
		w.want(200, "DELETE", api+"/services/svc", "")
	}
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.model("m", "kept")
	_, h := w.want(202, "POST", api+"/images", w.imageBody("img", score, `"m:1"`))
	// The emulator goes away while the image is being built, and while the service is being deployed.
	must(t, w.svc.Close(t.Context()))
	w.open()
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	_, h = w.want(202, "POST", api+"/services", `{"imageId":"img:1","name":"svc","computeType":"ACI"}`)
	must(t, w.svc.Close(t.Context()))
	w.open()
	if op := w.wait(h); op["state"] != "Succeeded" {
		t.Fatal(op)
	}
	must(t, w.svc.Close(t.Context()))
	w.open()
	s, _ := w.want(200, "GET", api+"/services/svc", "")
	if status, _, body := w.arm.call("POST", s["scoringUri"].(string), "", `{"data":[4]}`); status != 200 || s["state"] != "Healthy" {
		t.Error(s, status, body)
	}
	must(t, w.svc.DeleteWorkspace(t.Context(), workspace))
	if len(w.arm.groups) != 0 {
		t.Error("groups are left")
	}
}
