package hdinsight_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/fakes/hdinsight"
)

// sparkClass stands for Spark's master and workers: the one counts the others.
const sparkClass = `#!/usr/bin/env python3
import http.server, json, os, re, signal, sys
state = re.search(r"recoveryDirectory=(\S+)", os.environ["SPARK_DAEMON_JAVA_OPTS"]).group(1)
os.makedirs(state, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

class Master(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"aliveworkers": sum(os.path.exists("/proc/" + pid) for pid in os.listdir(state))}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

if sys.argv[1] == "org.apache.spark.deploy.master.Master":
    port = int(sys.argv[sys.argv.index("--webui-port") + 1])
    http.server.HTTPServer((sys.argv[sys.argv.index("--host") + 1], port), Master).serve_forever()
assert sys.argv[1] == "org.apache.spark.deploy.worker.Worker" and sys.argv[-1].startswith("spark://127.0.0.1:"), sys.argv
file = os.path.join(state, str(os.getpid()))
open(file, "w").close()
try:
    while True:
        signal.pause()
finally:
    os.unlink(file)
`

const sparkSubmit = `#!/bin/sh
echo "Connected to Spark cluster with app ID app-20181124000000-0001"
case "$*" in *bad.py*) exit 3;; esac
`

// get asks the cluster's gateway; the answer's status and text.
func (s *service) get(method, host, path, password, body string) (int, string) {
	s.Helper()
	r := httptest.NewRequest(method, "https://"+host+".azurehdinsight.net"+path, strings.NewReader(body))
	r.SetBasicAuth("admin", password)
	r.Header.Set("X-Requested-By", "admin")
	w := httptest.NewRecorder()
	s.fake.Gateway().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestGatewayWithoutYARN has a Spark without YARN: the gateway has Livy and
// Ambari, and says of YARN that it is not there, and what gets it.
func TestGatewayWithoutYARN(t *testing.T) {
	for _, program := range []string{"python3", "java"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	spark := filepath.Join(dir, "spark")
	for name, text := range map[string]string{"release.json": `{"spark":"3.5.9"}`, "spark/bin/spark-class": sparkClass, "spark/bin/spark-submit": sparkSubmit} {
		file := filepath.Join(spark, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, e, func(c *hdinsight.Config) { c.Spark = spark })
	c := clusters + "alone1"
	s.must(200, "PUT "+c, body("spark", "2"))
	for _, row := range []struct {
		method, path, password, body string
		status                       int
		text                         string
	}{
		{http.MethodGet, "/ws/v1/cluster/apps", secret, ``, 404, "the cluster has no YARN: its jobs run on Spark's own master; run: lazulite spark install"},
		{http.MethodGet, "/yarnui/hn/cluster", secret, ``, 404, "the cluster has no YARN"},
		{http.MethodGet, "/ws/v1/cluster/apps", "Wrong-Horse7", ``, 401, "Unauthorized"},
		{http.MethodGet, "/api/v1/clusters/alone1/services/SPARK2", secret, ``, 200, `"state": "STARTED"`},
		{http.MethodGet, "/api/v1/clusters/alone1/services/YARN", secret, ``, 404, "doesn't exist"},
		{http.MethodGet, "/api/v1/clusters/alone1/hosts", secret, ``, 200, "wn1-alone1"},
		{http.MethodPost, "/livy/batches", secret, `{"file":"/good.py"}`, 201, `"id":0`},
		{http.MethodPost, "/livy/batches", secret, `{"file":"/bad.py"}`, 201, `"id":1`},
		{http.MethodPost, "/livy/batches", secret, `{"file":"file:///good.py"}`, 400, "Local path"},
	} {
		if status, text := s.get(row.method, "alone1", row.path, row.password, row.body); status != row.status || !strings.Contains(text, row.text) {
			t.Errorf("%s %s: %d %s, want %d %q", row.method, row.path, status, text, row.status, row.text)
		}
	}
	for path, state := range map[string]string{"/livy/batches/0": "success", "/livy/batches/1": "dead"} {
		clocktest.Missing(t, 20*time.Second, func() string {
			_, text := s.get(http.MethodGet, "alone1", path, secret, "")
			if strings.Contains(text, `"state":"`+state+`"`) && strings.Contains(text, "app-20181124000000-0001") {
				return ""
			}
			return path + " is not " + state + ": " + text
		})
	}
	s.must(202, "POST "+c+"/roles/workernode/resize", `{"targetInstanceCount":1}`)
	if _, text := s.get(http.MethodGet, "alone1", "/api/v1/clusters/alone1/hosts", secret, ""); strings.Contains(text, "wn1-alone1") {
		t.Errorf("after the resize the hosts are %s", text)
	}
	s.must(202, "DELETE "+c, "")
}
