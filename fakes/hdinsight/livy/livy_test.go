package livy_test

import (
	"context"
	"encoding/json"
	"fmt"
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
	"lazulite.dev/fakes/hdinsight/livy"
)

// node is a head node of processes, whose Spark is a stand-in: it runs the
// script, and its sessions have an object that answers as Spark's would.
type node struct {
	engine.Container
	home string
}

func (n *node) Exec(ctx context.Context, x engine.Exec) (engine.Exit, error) {
	x.Env = append(x.Env, "PATH="+filepath.Join(n.home, "bin")+":"+os.Getenv("PATH"), "PYTHONPATH="+filepath.Join(n.home, "lib"))
	return n.Container.(engine.Execer).Exec(ctx, x)
}

func (n *node) Home(context.Context) (there, here string, err error) { return n.home, n.home, nil }

const sparkSubmit = `#!/bin/sh
echo "submitted with $*" >&2
echo "Submitted application application_1500000000000_0007" >&2
while [ $# -gt 0 ]; do
  case "$1" in
  --class|--name|--jars|--py-files|--conf|--driver-memory|--executor-memory|--num-executors) shift 2;;
  *) break;;
  esac
done
exec python3 "$@"
`

const pyspark = `#!/bin/sh
echo "pyspark with $*" >&2
exec $PYSPARK_DRIVER_PYTHON $PYSPARK_DRIVER_PYTHON_OPTS
`

const module = `
import time
class Schema(object):
    def json(self): return '{"type":"struct","fields":[]}'
class Frame(object):
    schema = Schema()
    def limit(self, n): return self
    def collect(self): return [(1, "a")]
class Context(object):
    applicationId = "application_1500000000000_0001"
    uiWebUrl = "http://hn0:4040"
    def cancelAllJobs(self): pass
class Spark(object):
    sparkContext = Context()
    def sql(self, code):
        if code.startswith("drop"): raise ValueError("no such table")
        return Frame()
    def stop(self): pass
class Builder(object):
    def getOrCreate(self): return Spark()
class SparkSession(object):
    builder = Builder()
`

type client struct {
	*testing.T
	server *livy.Server
	node   *node
	home   string
	cfg    livy.Config
}

func newClient(t *testing.T, defaultFS string) *client {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on this machine")
	}
	dir := t.TempDir()
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Start(t.Context(), engine.Spec{Name: "hn0"})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{c, filepath.Join(dir, "home")}
	for name, text := range map[string]string{"bin/spark-submit": sparkSubmit, "bin/pyspark": pyspark, "lib/pyspark/__init__.py": "", "lib/pyspark/sql.py": module} {
		path := filepath.Join(n.home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cl := &client{T: t, node: n, home: n.home, cfg: livy.Config{Node: n, Dir: filepath.Join(dir, "livy"), DefaultFS: func() string { return defaultFS }}}
	cl.open()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := cl.server.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return cl
}

func (c *client) open() {
	c.Helper()
	var err error
	if c.server, err = livy.New(c.cfg); err != nil {
		c.Fatal(err)
	}
}

func (c *client) do(line, body string) (int, map[string]any) {
	c.Helper()
	method, path, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Requested-By", "test")
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	var doc map[string]any
	var bare string // what real Livy says of a body that it can't read
	if json.Unmarshal(w.Body.Bytes(), &bare) == nil {
		return w.Code, map[string]any{"": bare}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		c.Fatalf("%s: %v in %s", line, err, w.Body)
	}
	return w.Code, doc
}

func (c *client) want(status int, line, body string) map[string]any {
	c.Helper()
	got, doc := c.do(line, body)
	if got != status {
		c.Fatalf("%s %s: %d %v, want %d", line, body, got, doc, status)
	}
	return doc
}

// until polls a document until its state is one of the words.
func (c *client) until(path string, words ...string) map[string]any {
	c.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		doc := c.want(200, "GET "+path, "")
		for _, w := range words {
			if doc["state"] == w {
				return doc
			}
		}
		if time.Now().After(deadline) {
			c.Fatalf("%s: still %v, want %q", path, doc, words)
		}
		select {
		case <-c.Context().Done():
			c.Fatal("the test is over")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *client) script(name, text string) string {
	c.Helper()
	path := filepath.Join(c.home, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.Fatal(err)
	}
	return path
}

func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestBatches(t *testing.T) {
	c := newClient(t, "file:///")
	good := c.script("good.py", "import sys; print('PI', sys.argv[1:]); sys.stderr.write('warned\\n')")
	b := c.want(201, "POST /batches", quoted(map[string]any{"file": good, "args": []string{"a b", "$c"}, "name": "pi", "driverMemory": "512m", "conf": map[string]string{"spark.x": "1"}}))
	if b["id"] != 0.0 || b["name"] != "pi" || b["appInfo"] == nil {
		t.Errorf("the batch is %v", b)
	}
	b = c.until("/batches/0", "success", "dead")
	if b["state"] != "success" || b["appId"] != "application_1500000000000_0007" {
		t.Errorf("the batch is %v", b)
	}
	log := fmt.Sprint(c.want(200, "GET /batches/0/log", "")["log"])
	for _, want := range []string{"stdout: ", "PI ['a b', '$c']", "\nstderr: ", "warned", "\nYARN Diagnostics: ", "--driver-memory 512m --name pi --conf spark.x=1"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
	if one := c.want(200, "GET /batches/0/log?from=1&size=1", ""); !strings.HasPrefix(fmt.Sprint(one["log"]), "[submitted with") || one["from"] != 1.0 || one["total"].(float64) < 6 {
		t.Errorf("a window of the log: %v", one)
	}
	c.want(400, "POST /batches", quoted(map[string]any{"file": good, "name": "pi"}))

	bad := c.script("bad.py", "import sys; print('half'); sys.exit(3)")
	c.want(201, "POST /batches", quoted(map[string]any{"file": bad}))
	c.until("/batches/1", "dead")
	if log := fmt.Sprint(c.want(200, "GET /batches/1/log", "")["log"]); !strings.Contains(log, "half") || !strings.Contains(log, "code 3") {
		t.Errorf("the log of what failed: %s", log)
	}

	slow := c.script("slow.py", "import os, time; open('pid', 'w').write(str(os.getpid())); print('up', flush=True); time.sleep(600)")
	c.want(201, "POST /batches", quoted(map[string]any{"file": slow}))
	pid := filepath.Join(c.home, "pid")
	for deadline := time.Now().Add(20 * time.Second); ; {
		if b, err := os.ReadFile(pid); err == nil && len(b) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow batch did not start")
		}
	}
	if s := c.want(200, "GET /batches/2/state", ""); s["state"] != "running" || s["id"] != 2.0 {
		t.Errorf("its state is %v", s)
	}
	list := c.want(200, "GET /batches?from=1&size=1", "")
	if list["total"] != 3.0 || len(list["sessions"].([]any)) != 1 || list["from"] != 1.0 {
		t.Errorf("the list is %v", list)
	}
	if d := c.want(200, "DELETE /batches/2", ""); d["msg"] != "deleted" {
		t.Errorf("deleting said %v", d)
	}
	c.want(404, "GET /batches/2", "")
	b1, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	// A zombie is dead; whoever is process 1 here may take its time.
	if st, err := os.ReadFile("/proc/" + string(b1) + "/stat"); err == nil && !strings.Contains(string(st), ") Z ") {
		t.Errorf("process %s of a deleted batch lives: %s", b1, st)
	}
}

func TestRefusals(t *testing.T) {
	local, remote := newClient(t, "file:///"), newClient(t, "wasb://data@acct.blob.core.windows.net")
	for _, row := range []struct {
		c          *client
		line, body string
		status     int
		msg        string
	}{
		{local, "POST /batches", ``, 400, "No content to map due to end-of-input"},
		{local, "POST /batches", `{}`, 400, "requirement failed: File is required."},
		{local, "POST /batches", `{"file":"pi.py"}`, 400, "requirement failed: Path 'pi.py' is not absolute."},
		{local, "POST /batches", `{"file":"/x.py","colour":1}`, 400, `Unrecognized field "colour" (class org.apache.livy.server.batch.CreateBatchRequest), not marked as ignorable`},
		{local, "POST /batches", `{"file":`, 400, "The request is no JSON as expected: unexpected EOF"},
		{local, "POST /batches", `{"file":"/x.py","conf":{"spark.master":"local"}}`, 400, "Blacklisted configuration values in session config: spark.master"},
		{local, "POST /batches", `{"file":"/x.py","numExecutors":-1}`, 400, "The value -1 of --num-executors is not positive."},
		{remote, "POST /batches", `{"file":"file:///etc/passwd"}`, 400, "requirement failed: Local path /etc/passwd cannot be added to user sessions."},
		{remote, "POST /batches", `{"file":"/x.py","pyFiles":["file:/y.py"]}`, 400, "requirement failed: Local path /y.py cannot be added to user sessions."},
		{local, "GET /batches/7", ``, 404, "Session '7' not found."},
		{local, "DELETE /batches/x", ``, 404, "Session 'x' not found."},
		{local, "GET /batches?size=many", ``, 400, `For input string: "many"`},
		{local, "POST /sessions", `{"kind":"cobol"}`, 400, "Invalid kind: cobol"},
		{local, "POST /sessions", `{"kind":"spark"}`, 400, "Sessions of the kind 'spark' are not emulated here; 'pyspark' and 'sql' are."},
		{local, "GET /sessions/1/statements", ``, 404, "Session '1' not found."},
		{local, "GET /nothing", ``, 404, "Not found"},
	} {
		if status, doc := row.c.do(row.line, row.body); status != row.status || doc["msg"] != row.msg && doc[""] != row.msg {
			t.Errorf("%s %s: %d %v, want %d %q", row.line, row.body, status, doc, row.status, row.msg)
		}
	}
	if v := local.want(200, "GET /version", ""); v["version"] != "0.7.1-incubating" {
		t.Errorf("the version is %v", v)
	}
	w := httptest.NewRecorder()
	local.server.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/batches", strings.NewReader(`{"file":"/x.py"}`)))
	if w.Code != 400 || !strings.Contains(w.Body.String(), "Missing Required Header for CSRF protection.") {
		t.Errorf("without X-Requested-By: %d %s", w.Code, w.Body)
	}
	// A path without a scheme is on the default file system.
	remote.want(201, "POST /batches", `{"file":"/x.py"}`)
	remote.until("/batches/0", "dead")
	if log := fmt.Sprint(remote.want(200, "GET /batches/0/log", "")["log"]); !strings.Contains(log, "wasb://data@acct.blob.core.windows.net/x.py") {
		t.Errorf("the log is %s", log)
	}
}

func (c *client) statement(session int, code string) map[string]any {
	c.Helper()
	x := c.want(201, fmt.Sprintf("POST /sessions/%d/statements", session), quoted(map[string]string{"code": code}))
	return c.until(fmt.Sprintf("/sessions/%d/statements/%v", session, x["id"]), "available", "cancelled", "error")
}

func TestSession(t *testing.T) {
	c := newClient(t, "file:///")
	n := c.want(201, "POST /sessions", `{"kind":"pyspark","name":"mine","executorMemory":"1g"}`)
	if n["kind"] != "pyspark" || n["state"] != "starting" || n["name"] != "mine" {
		t.Errorf("the session is %v", n)
	}
	// What is sent before it is ready waits.
	first := c.want(201, "POST /sessions/0/statements", `{"code":"x = 20 + 1"}`)
	if first["output"] != nil || first["started"] != 0.0 {
		t.Errorf("a statement begins as %v", first)
	}
	if n = c.until("/sessions/0", "idle"); n["appId"] != "application_1500000000000_0001" {
		t.Errorf("the session is %v", n)
	}
	for _, row := range []struct{ code, want string }{
		{"print('hello')\nx * 2", `{"text/plain":"hello\n42"}`},
		{"x", `{"text/plain":"21"}`},
		{"'text'", `{"text/plain":"'text'"}`},
		{"def f(n):\n    return n + x\n\nf(1)", `{"text/plain":"22"}`},
		{"pass", `{"text/plain":""}`},
		{"import sys; sys.stderr.write('err'); print('é')", `{"text/plain":"erré"}`},
		{"rows = [{'a': 1, 'b': 'z'}]", `{"text/plain":""}`},
		{"%json rows", `{"application/json":[{"a":1,"b":"z"}]}`},
		{"%table rows", `{"application/vnd.livy.table.v1+json":{"data":[[1,"z"]],"headers":[{"name":"a","type":"INT_TYPE"},{"name":"b","type":"STRING_TYPE"}]}}`},
		{"sc.applicationId", `{"text/plain":"'application_1500000000000_0001'"}`},
	} {
		x := c.statement(0, row.code)
		out, _ := x["output"].(map[string]any)
		if x["state"] != "available" || out["status"] != "ok" || quoted(out["data"]) != row.want || x["progress"] != 1.0 {
			t.Errorf("%q gives %v, want %s", row.code, x, row.want)
		}
	}
	for _, row := range []struct{ code, name, value string }{
		{"1/0", "ZeroDivisionError", "division by zero"},
		{"nothing", "NameError", "name 'nothing' is not defined"},
		{"if", "SyntaxError", ""},
		{"%json nothing", "KeyError", "'nothing'"},
	} {
		out, _ := c.statement(0, row.code)["output"].(map[string]any)
		trace := fmt.Sprint(out["traceback"])
		if out["status"] != "error" || out["ename"] != row.name || row.value != "" && out["evalue"] != row.value || strings.Contains(trace, "session-") {
			t.Errorf("%q gives %v", row.code, out)
		}
	}
	out, _ := c.until(fmt.Sprintf("/sessions/0/statements/%v", c.want(201, "POST /sessions/0/statements", `{"code":"select 1","kind":"sql"}`)["id"]), "available")["output"].(map[string]any)
	if quoted(out["data"]) != `{"application/json":{"data":[[1,"a"]],"schema":{"fields":[],"type":"struct"}}}` {
		t.Errorf("sql gives %v", out)
	}

	// A statement that runs is interrupted, one that waits never runs, and the session goes on.
	slow := c.want(201, "POST /sessions/0/statements", `{"code":"import time\nwhile True: time.sleep(0.05)"}`)
	waiting := c.want(201, "POST /sessions/0/statements", `{"code":"y = 'ran'"}`)
	c.until(fmt.Sprintf("/sessions/0/statements/%v", slow["id"]), "running")
	if n := c.want(200, "GET /sessions/0/state", ""); n["state"] != "busy" {
		t.Errorf("with a statement running the session is %v", n)
	}
	for _, x := range []map[string]any{waiting, slow} {
		if m := c.want(200, fmt.Sprintf("POST /sessions/0/statements/%v/cancel", x["id"]), ""); m["msg"] != "canceled" {
			t.Errorf("canceling said %v", m)
		}
		c.until(fmt.Sprintf("/sessions/0/statements/%v", slow["id"]), "cancelled", "running", "cancelling")
	}
	c.until(fmt.Sprintf("/sessions/0/statements/%v", slow["id"]), "cancelled")
	c.until(fmt.Sprintf("/sessions/0/statements/%v", waiting["id"]), "cancelled")
	if out, _ := c.statement(0, "y")["output"].(map[string]any); out["ename"] != "NameError" {
		t.Errorf("a canceled statement ran: %v", out)
	}
	all := c.want(200, "GET /sessions/0/statements", "")
	if n := all["total_statements"].(float64); n < 15 || len(all["statements"].([]any)) != int(n) {
		t.Errorf("the statements are %v", all)
	}
	c.want(404, "GET /sessions/0/statements/999", "")
	if list := c.want(200, "GET /sessions", ""); list["total"] != 1.0 {
		t.Errorf("the list is %v", list)
	}
	c.want(200, "DELETE /sessions/0", "")
	c.want(404, "GET /sessions/0", "")
}

// A session whose process ends is dead, and says so.
func TestSessionDies(t *testing.T) {
	c := newClient(t, "file:///")
	c.want(201, "POST /sessions", `{"kind":"pyspark"}`)
	c.until("/sessions/0", "idle")
	x := c.want(201, "POST /sessions/0/statements", `{"code":"import os; os._exit(9)"}`)
	c.until("/sessions/0", "dead")
	c.until(fmt.Sprintf("/sessions/0/statements/%v", x["id"]), "error")
	if log := fmt.Sprint(c.want(200, "GET /sessions/0/log", "")["log"]); !strings.Contains(log, "code 9") {
		t.Errorf("the log is %s", log)
	}
	if status, doc := c.do("POST /sessions/0/statements", `{"code":"1"}`); status != 400 || doc["msg"] != "requirement failed: Session is in state dead" {
		t.Errorf("a dead session answers %d %v", status, doc)
	}
}

// After the emulator's end, clean or not, what had ended is as it was, and what ran is dead.
func TestRestart(t *testing.T) {
	for name, clean := range map[string]bool{"clean": true, "killed": false} {
		t.Run(name, func(t *testing.T) { restart(t, clean) })
	}
}

func restart(t *testing.T, clean bool) {
	c := newClient(t, "file:///")
	c.want(201, "POST /batches", quoted(map[string]any{"file": c.script("good.py", "print('PI')"), "name": "pi"}))
	c.until("/batches/0", "success")
	slow := c.script("slow.py", "import time; time.sleep(600)")
	c.want(201, "POST /batches", quoted(map[string]any{"file": slow}))
	c.want(201, "POST /batches", quoted(map[string]any{"file": slow}))
	c.want(201, "POST /sessions", `{"kind":"pyspark","name":"mine"}`)
	c.until("/sessions/0", "idle")
	// The id of an application is known by then.
	clocktest.Until(t, "application's id", time.Minute, func() bool { return c.want(200, "GET /batches/1", "")["appId"] != nil })
	c.want(200, "DELETE /batches/2", "")
	// What was shown once is shown by the next start too.
	for range 2 {
		before := c.server
		if clean {
			if err := before.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Cleanup(func() { _ = before.Close(context.Background()) })
		}
		c.open()
		log := fmt.Sprint(c.want(200, "GET /batches/0/log", "")["log"])
		if b := c.want(200, "GET /batches/0", ""); b["state"] != "success" || b["name"] != "pi" || !strings.Contains(log, "PI") {
			t.Errorf("what had ended: %v %s", b, log)
		}
		log = fmt.Sprint(c.want(200, "GET /batches/1/log", "")["log"])
		if b := c.want(200, "GET /batches/1", ""); b["state"] != "dead" || b["appId"] != "application_1500000000000_0007" || !strings.Contains(log, "the emulator ended while this ran") {
			t.Errorf("what ran: %v %s", b, log)
		}
		c.want(404, "GET /batches/2", "")
		if n := c.want(200, "GET /sessions/0", ""); n["state"] != "dead" || n["name"] != "mine" || n["appId"] != "application_1500000000000_0001" {
			t.Errorf("the session: %v", n)
		}
		c.want(400, "POST /sessions/0/statements", `{"code":"1"}`)
	}
	if b := c.want(201, "POST /batches", quoted(map[string]any{"file": slow})); b["id"] != 2.0 {
		t.Errorf("the next batch: %v", b)
	}
	for _, line := range []string{"DELETE /batches/0", "DELETE /batches/1", "DELETE /sessions/0"} {
		c.want(200, line, "")
	}
	c.open()
	if list := c.want(200, "GET /batches", ""); list["total"] != 1.0 {
		t.Errorf("the list is %v", list)
	}
}
