package execution_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/clock/clocktest"
)

func newRemote(t *testing.T, change ...func(*execution.Config)) (*world, *sshMachine) {
	t.Helper()
	w, m := newWorld(t, change...), newMachine(t)
	w.computes["my-vm"] = m.compute()
	// A machine that vanishes while a run reports its end would be looked for.
	t.Cleanup(func() { w.drained(t) })
	return w, m
}

func remoteConfig(t *testing.T, change ...func(map[string]any)) map[string]any {
	all := append([]func(map[string]any){set("my-vm", "target"), set(pythons(t)[0], "environment", "python", "interpreterPath")}, change...)
	return runconfig(all...)
}

// submit sends a run and returns its id.
func (w *world) submit(config map[string]any, project map[string]string) string {
	w.t.Helper()
	return runID(w.t, w.post("run", definitionPart(w.t, config, nil), part{"project.zip", zipped(w.t, project)}).Body.Bytes())
}

func runID(t *testing.T, body []byte) string {
	t.Helper()
	var answer struct{ RunID string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.RunID == "" {
		t.Fatalf("answer %s", body)
	}
	return answer.RunID
}

func TestRemoteRun(t *testing.T) {
	script := `import os, sys, urllib.request, ssl, json
print(sys.argv[1:], os.environ["AZUREML_RUN_ID"])
c = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
r = urllib.request.Request(os.environ["AZUREML_SERVICE_ENDPOINT"] + "/history/v1.0/x/runs/" + os.environ["AZUREML_RUN_ID"], headers={"Authorization": "Bearer " + os.environ["AZUREML_RUN_TOKEN"]})
print("reached:", json.loads(urllib.request.urlopen(r, context=c).read().decode())["status"])
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write(open("data/in.txt").read())
`
	w, m := newRemote(t)
	id := w.submit(remoteConfig(t, set([]any{"--a", "b c"}, "arguments")), map[string]string{"train.py": script, "data/in.txt": "in"})
	if !regexp.MustCompile(`^myexp_\d{10}_[0-9a-f]{8}$`).MatchString(id) {
		t.Errorf("run id %q", id)
	}
	if r := w.waitEnd(id); r.Status != "Completed" || r.Target != "my-vm" {
		t.Fatalf("%+v\n%s", r, w.artifact(id+"/azureml-logs/80_driver_log.txt"))
	}
	log := w.artifact(id + "/azureml-logs/80_driver_log.txt")
	if !strings.Contains(log, "['--a', 'b c'] "+id) || !strings.Contains(log, "reached: Running") {
		t.Errorf("log %s", log)
	}
	if got := w.blob("/azureml/ExperimentRun/" + id + "/outputs/model.txt"); got != "in" {
		t.Errorf("outputs %q", got)
	}
	if len(w.projects[id]) == 0 {
		t.Error("the project was not kept")
	}
	w.drained(t)
	if left := m.secrets(); len(left) != 0 {
		t.Errorf("the token is left in %v", left)
	}
	if _, err := os.Stat(m.file(id, "train.py")); err != nil {
		t.Errorf("the run's folder: %v", err)
	}
}

// What a machine has to say of its GPUs is among the run's warnings.
func TestRemoteNotice(t *testing.T) {
	w, m := newRemote(t)
	m.env = []string{"LAZULITE_NOTICE=A Standard_NC6 has 1 GPU(s); this host had none to give: it runs on the CPU."}
	id := w.submit(remoteConfig(t), map[string]string{"train.py": "print(1)"})
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Fatalf("%+v\n%s", r, w.artifact(id+"/azureml-logs/60_control_log.txt"))
	}
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0].Message, "it runs on the CPU") {
		t.Errorf("warnings %v", w.warnings)
	}
}

// drained waits until no record and no file of a run is left.
func (w *world) drained(t *testing.T) {
	t.Helper()
	clocktest.Until(t, "end of bookkeeping", time.Minute, func() bool {
		docs, err := w.cfg.Store.List(context.Background(), "execution/run/", "", 0)
		left, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*.*"))
		return err == nil && len(docs) == 0 && len(left) == 0
	})
}

func TestRemoteSnapshotRun(t *testing.T) {
	w, _ := newRemote(t)
	body := map[string]any{"Configuration": remoteConfig(t), "SnapshotId": "snap"}
	id := runID(t, w.postJSON("snapshotrun", body).Body.Bytes())
	r := w.waitEnd(id)
	if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); r.Status != "Completed" || !strings.Contains(log, "from snapshot") || r.Properties["ContentSnapshotId"] != "snap" {
		t.Errorf("%+v %s", r, log)
	}
	body["SnapshotId"] = "other"
	wantError(t, w.postJSON("snapshotrun", body), 404, "", "Snapshot other")
	body["SnapshotId"] = ""
	wantError(t, w.postJSON("snapshotrun", body), 400, "SnapshotId", "must name a snapshot")
}

// sparkSet is a run of PySpark with one setting.
func sparkSet(value any, path ...string) func(map[string]any) {
	return func(config map[string]any) {
		set("PySpark", "framework")(config)
		set(value, path...)(config)
	}
}

func TestRemoteRefusals(t *testing.T) {
	details := func(typ string) map[string]any {
		return map[string]any{"type": typ, "address": "127.0.0.1:1", "username": "u", "password": "p"}
	}
	for _, c := range []struct {
		name           string
		target         string
		change         func(map[string]any)
		details        any
		status         int
		field, message string
		typ, state     string
	}{
		{"unknown target", "nowhere", nil, nil, 404, "", "nowhere not found", "", ""},
		{"not ready", "c", nil, nil, 400, "Configuration.target", "provisioning state is Creating", "VirtualMachine", "Creating"},
		{"Batch AI", "c", nil, nil, 400, "Configuration.target", "no resource manager", "BatchAI", "Succeeded"},
		{"HDInsight in docker", "c", set(true, "environment", "docker", "enabled"), nil, 400, "Configuration.environment.docker.baseImage", "must name an image", "HDInsight", "Succeeded"},
		{"HDInsight with MPI", "c", set("PythonMpi", "framework"), nil, 400, "Configuration.framework", "HDInsight cluster", "HDInsight", "Succeeded"},
		{"a deploy mode", "c", sparkSet("sideways", "hdi", "yarnDeployMode"), nil, 400, "Configuration.hdi.yarnDeployMode", "none of client, cluster", "HDInsight", "Succeeded"},
		{"a setting of another", "c", sparkSet(map[string]any{"yarn.x": 1}, "spark", "configuration"), nil, 400, "Configuration.spark.configuration.yarn.x", "must begin with 'spark.'", "HDInsight", "Succeeded"},
		{"the target's master", "c", sparkSet(map[string]any{"spark.master": "local"}, "spark", "configuration"), nil, 400, "Configuration.spark.configuration.spark.master", "is the target's", "HDInsight", "Succeeded"},
		{"a package without a version", "c", sparkSet([]any{map[string]any{"group": "g", "artifact": "a"}}, "environment", "spark", "packages"), nil, 400, "Configuration.environment.spark.packages", "is no version", "HDInsight", "Succeeded"},
		{"a repository like an option", "c", sparkSet([]any{"--conf"}, "environment", "spark", "repositories"), nil, 400, "Configuration.environment.spark.repositories", "no URL", "HDInsight", "Succeeded"},
		{"container instance", "containerinstance", nil, nil, 400, "Configuration.target", "no resource manager", "", ""},
		{"local", "local", nil, nil, 400, "Configuration.target", "client's own machine", "", ""},
		{"docker without an image", "c", set(true, "environment", "docker", "enabled"), nil, 400, "Configuration.environment.docker.baseImage", "must name an image", "VirtualMachine", "Succeeded"},
		{"legacy kind", "old", nil, details("mainframe"), 400, "TargetDetails.type", "mainframe", "", ""},
		{"legacy without address", "old", nil, map[string]any{"type": "remote", "username": "u"}, 400, "TargetDetails.address", "no address", "", ""},
		{"legacy with an unknown secret", "old", nil, map[string]any{"type": "remote", "address": "a", "username": "u", "password": "AzureMlSecret=no"}, 404, "", "Secret no", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.typ != "" {
				w.computes["c"] = execution.Compute{Name: "c", Type: c.typ, State: c.state}
			}
			config := runconfig(set(c.target, "target"))
			if c.change != nil {
				c.change(config)
			}
			wantError(t, w.post("run", definitionPart(t, config, c.details), part{"project.zip", zipped(t, map[string]string{"train.py": ""})}), c.status, c.field, c.message)
			left, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "*"))
			if len(w.runs) != 0 || len(left) != 0 {
				t.Errorf("runs %v, files %v", w.runs, left)
			}
		})
	}
}

// TestRemoteFailures ensures that a run whose machine cannot be used fails with the reason.
func TestRemoteFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*sshMachine, *execution.Compute)
		script string
		reason string
	}{
		{"wrong password", func(_ *sshMachine, c *execution.Compute) { c.Password = "wrong" }, "train.py", "refuses to log in the user 'azureuser'"},
		{"unreadable key", func(_ *sshMachine, c *execution.Compute) { c.PrivateKey = "x" }, "train.py", "private key cannot be read"},
		{"unreachable", func(_ *sshMachine, c *execution.Compute) { c.SSHPort = 1 }, "train.py", "cannot be reached"},
		{"not Linux", func(m *sshMachine, _ *execution.Compute) { m.uname = "Darwin" }, "train.py", "not Linux (uname says: Darwin)"},
		{"no forwarding", func(m *sshMachine, _ *execution.Compute) { m.forwards = false }, "train.py", "refuses remote port forwarding"},
		{"no script", func(*sshMachine, *execution.Compute) {}, "absent.py", "'absent.py' is not in the project"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, m := newWorld(t), newMachine(t)
			compute := m.compute()
			c.spoil(m, &compute)
			w.computes["my-vm"] = compute
			id := w.submit(remoteConfig(t, set(c.script, "script")), map[string]string{"train.py": ""})
			if r := w.waitEnd(id); r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			w.drained(t)
			if left, _ := filepath.Glob(m.file("*")); len(left) != 0 {
				t.Errorf("left on the machine: %v", left)
			}
		})
	}
}

func TestTestConnection(t *testing.T) {
	m := newMachine(t)
	good := m.compute().SSHTarget
	for _, c := range []struct {
		name   string
		change func(*execution.SSHTarget)
		uname  string
		reason execution.Reason
	}{
		{"password", func(*execution.SSHTarget) {}, "", ""},
		{"key", func(s *execution.SSHTarget) { s.Password, s.PrivateKey = "", m.clientPEM }, "", ""},
		{"wrong password", func(s *execution.SSHTarget) { s.Password = "not-it" }, "", execution.LoginRefused},
		{"wrong user", func(s *execution.SSHTarget) { s.Username = "root" }, "", execution.LoginRefused},
		{"wrong key", func(s *execution.SSHTarget) { s.Password, s.PrivateKey = "", m.hostPEM }, "", execution.LoginRefused},
		{"broken key", func(s *execution.SSHTarget) { s.PrivateKey = "x" }, "", execution.BadKey},
		{"closed port", func(s *execution.SSHTarget) { s.SSHPort = 1 }, "", execution.Unreachable},
		{"no such host", func(s *execution.SSHTarget) { s.Address = "host.invalid" }, "", execution.Unreachable},
		{"not Linux", func(*execution.SSHTarget) {}, "FreeBSD", execution.NotLinux},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.change(func() { m.uname = c.uname })
			target := good
			c.change(&target)
			err := execution.TestConnection(t.Context(), nil, target)
			var e *execution.ConnectError
			if c.reason == "" && err != nil || c.reason != "" && (!errors.As(err, &e) || e.Reason != c.reason) {
				t.Errorf("%v, want %s", err, c.reason)
			}
			if err != nil && strings.Contains(err.Error(), target.Password) && target.Password != "" {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

// TestHostKey ensures that another key than the first time's is refused, until the compute is another one.
func TestHostKey(t *testing.T) {
	w, m := newRemote(t)
	project := map[string]string{"train.py": ""}
	if r := w.waitEnd(w.submit(remoteConfig(t), project)); r.Status != "Completed" {
		t.Fatalf("%s %v", r.Status, r.Error)
	}
	other, _ := newKey(t)
	m.change(func() { m.signer = other })
	if r := w.waitEnd(w.submit(remoteConfig(t), project)); r.Status != "Failed" || !strings.Contains(r.Error.Message, "another host key") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	again := m.compute()
	again.Generation = "2"
	w.mu.Lock()
	w.computes["my-vm"] = again
	w.mu.Unlock()
	if r := w.waitEnd(w.submit(remoteConfig(t), project)); r.Status != "Completed" {
		t.Errorf("%s %v", r.Status, r.Error)
	}
}

func remoteLog(w *world, id, text string) string {
	w.t.Helper()
	name := id + "/azureml-logs/80_driver_log.txt"
	w.wait("log with "+text, 60*time.Second, func() bool { return strings.Contains(string(w.artifacts[name]), text) })
	return w.artifact(name)
}

func TestRemoteCancel(t *testing.T) {
	w, m := newRemote(t)
	id := w.submit(remoteConfig(t), map[string]string{"train.py": longScript})
	_, pid, _ := strings.Cut(remoteLog(w, id, "pid="), "pid=")
	if rec := w.postJSON("cancel", map[string]any{"RunId": id, "Target": "my-vm", "CustomTarget": nil}); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if r := w.waitEnd(id); r.Status != "Canceled" {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	wantGone(t, strings.Fields(pid)[0])
	w.drained(t)
	if left := m.secrets(); len(left) != 0 {
		t.Errorf("the token is left in %v", left)
	}
	// A run that has ended stays as it is; one that never was is not found.
	if rec := w.postJSON("cancel", map[string]any{"RunId": id, "Target": "my-vm"}); rec.Code != http.StatusOK {
		t.Errorf("again: %d %s", rec.Code, rec.Body)
	}
	wantError(t, w.postJSON("cancel", map[string]any{"RunId": "nobody"}), 404, "", "nobody")
	wantError(t, w.postJSON("cancel", map[string]any{}), 400, "RunId", "must name a run")
}

// TestRemoteQueue ensures that a bounded machine queues, and that a queued run can be cancelled.
func TestRemoteQueue(t *testing.T) {
	w, _ := newRemote(t, func(c *execution.Config) { c.RunsPerTarget = 1 })
	first := w.submit(remoteConfig(t), map[string]string{"train.py": longScript})
	remoteLog(w, first, "pid=")
	second := w.submit(remoteConfig(t), map[string]string{"train.py": ""})
	third := w.submit(remoteConfig(t), map[string]string{"train.py": ""})
	w.wait("queue", 20*time.Second, func() bool { return w.runs[second].Status == "Queued" && w.runs[third].Status == "Queued" })
	_, _ = w.SetStatus(t.Context(), workspace, third, "CancelRequested", nil)
	if r := w.waitEnd(third); r.Status != "Canceled" {
		t.Errorf("third: %s %v", r.Status, r.Error)
	}
	_, _ = w.SetStatus(t.Context(), workspace, first, "CancelRequested", nil)
	if r := w.waitEnd(second); r.Status != "Completed" {
		t.Errorf("second: %s %v", r.Status, r.Error)
	}
}

const gated = `import os, time
print("begin", flush=True)
while not os.path.exists("go"): time.sleep(0.05)
print("finish")
`

// TestRemoteInterrupted ensures that a run outlives its connection, and the service that watches it.
func TestRemoteInterrupted(t *testing.T) {
	for _, c := range []struct {
		name      string
		interrupt func(*world, *sshMachine)
		status    string
	}{
		{"connection lost", func(_ *world, m *sshMachine) { m.cut() }, "Completed"},
		{"service restarted", func(w *world, _ *sshMachine) { w.close(); w.open() }, "Completed"},
		{"machine away for a while", func(w *world, m *sshMachine) {
			m.change(func() { m.down = true })
			m.cut()
			time.AfterFunc(2*time.Second, func() { m.change(func() { m.down = false }) })
		}, "Completed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m := newRemote(t)
			id := w.submit(remoteConfig(t), map[string]string{"train.py": gated})
			remoteLog(w, id, "begin")
			c.interrupt(w, m)
			writeFile(t, m.file(id, "go"), "", 0o644)
			if r := w.waitEnd(id); r.Status != c.status {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); strings.Count(log, "finish") != 1 {
				t.Errorf("log %q", log)
			}
			w.drained(t)
		})
	}
}

// TestRemoteTakenUp ensures that a service that stops between its answer and
// the start on the machine starts the run once, when it is back.
func TestRemoteTakenUp(t *testing.T) {
	w, m := newRemote(t)
	// Long enough an upload to be interrupted by the close that follows.
	project := map[string]string{"train.py": "print('ran')", "data": strings.Repeat("x", 64<<20)}
	id := w.submit(remoteConfig(t), project)
	w.close()
	// A record whose run never came to be is nobody's.
	if _, err := w.cfg.Store.Put(t.Context(), "execution/run/"+workspace.GUID+"/never", []byte(`{"RunID":"never","Workspace":{"GUID":"`+workspace.GUID+`"}}`), -1); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.cfg.Dir, workspace.GUID, "never.zip"), "", 0o600)
	w.open()
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); strings.Count(log, "ran\n") != 1 {
		t.Errorf("log %q", log)
	}
	w.drained(t)
	if left := m.secrets(); len(left) != 0 {
		t.Errorf("the token is left in %v", left)
	}
}

// TestRemoteStartLost ensures that a run whose start on the machine was lost, after it was noted, is started, and once.
func TestRemoteStartLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart bool
	}{{"connection broke", false}, {"service ended", true}} {
		t.Run(c.name, func(t *testing.T) {
			w, m := newRemote(t)
			m.change(func() { m.lose = "Invocation.sh" })
			id := w.submit(remoteConfig(t), map[string]string{"train.py": "print('ran')"})
			clocktest.Until(t, "the loss", time.Minute, m.isDown)
			if c.restart {
				w.close()
			}
			m.change(func() { m.down = false })
			if c.restart {
				w.open()
			}
			if r := w.waitEnd(id); r.Status != "Completed" {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); strings.Count(log, "ran\n") != 1 {
				t.Errorf("log %q", log)
			}
			w.drained(t)
		})
	}
}

// TestRemoteGone ensures that a run whose processes are no more fails with that reason, while the service is away too.
func TestRemoteGone(t *testing.T) {
	w, m := newRemote(t)
	id := w.submit(remoteConfig(t), map[string]string{"train.py": longScript})
	remoteLog(w, id, "pid=")
	w.close()
	w.setDown(true)
	killAll(t, m, id)
	w.setDown(false)
	w.open()
	if r := w.waitEnd(id); r.Status != "Failed" || !strings.Contains(r.Error.Message, "are gone and left no result") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	w.drained(t)
}

// killAll kills control script, guard and script at once, as a machine that restarts does.
func killAll(t *testing.T, m *sshMachine, id string) {
	t.Helper()
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for range 2 {
		for _, link := range links {
			if cwd, err := os.Readlink(link); err == nil && cwd == m.file(id) {
				if p, err := os.FindProcess(atoi(t, filepath.Base(filepath.Dir(link)))); err == nil {
					_ = p.Kill()
				}
			}
		}
	}
}

func TestRemotePrepare(t *testing.T) {
	w, m := newRemote(t)
	check := func(config map[string]any) string {
		rec := w.post("checkprepare", definitionPart(t, config, nil), part{"project.zip", zipped(t, map[string]string{"train.py": ""})})
		return strings.TrimSpace(rec.Body.String())
	}
	if got := check(remoteConfig(t)); got != `{"environmentPrepared":true}` {
		t.Errorf("check: %s", got)
	}
	if got := check(remoteConfig(t, set("python-of-nowhere", "environment", "python", "interpreterPath"))); got != `{"environmentPrepared":false}` {
		t.Errorf("check of a missing interpreter: %s", got)
	}
	id := runID(t, w.post("prepare", definitionPart(t, remoteConfig(t, set("", "script")), nil), part{"project.zip", zipped(t, map[string]string{"x": ""})}).Body.Bytes())
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Errorf("prepare: %s %v", r.Status, r.Error)
	}
	if left, _ := filepath.Glob(m.file(".check*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDiagnosticsAndClean(t *testing.T) {
	w, m := newRemote(t)
	id := w.submit(remoteConfig(t), map[string]string{"train.py": "print('x')"})
	w.waitEnd(id)
	w.drained(t)
	body := map[string]any{"RunId": id, "Target": "my-vm", "CustomTarget": nil}
	rec := w.postJSON("diagnostics", body)
	z, err := zip.NewReader(bytes.NewReader(rec.Body.Bytes()), int64(rec.Body.Len()))
	if err != nil {
		t.Fatalf("%d %v", rec.Code, err)
	}
	names := map[string]bool{}
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, id+"/") {
			t.Errorf("entry %s", f.Name)
		}
		names[strings.TrimPrefix(f.Name, id+"/")] = true
	}
	if !names["azureml-logs/80_driver_log.txt"] || !names["train.py"] || names["azureml-setup/credentials.json"] {
		t.Errorf("entries %v", names)
	}
	rec = w.postJSON("clean?all=False", body)
	var removed []string
	if err := json.Unmarshal(rec.Body.Bytes(), &removed); err != nil || len(removed) != 1 || removed[0] != "Removed temporary run directory "+m.file(id) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if _, err := os.Stat(m.file(id)); err == nil {
		t.Error("the folder is still there")
	}
	if rec = w.postJSON("clean?all=True", map[string]any{"RunId": "null", "Target": "my-vm"}); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	wantError(t, w.postJSON("clean?all=False", map[string]any{"RunId": "../x", "Target": "my-vm"}), 400, "RunId", "must name a run")
}

// TestWorkspaceKey ensures that a legacy target without a password is reached by the workspace's own key.
func TestWorkspaceKey(t *testing.T) {
	w, m := newRemote(t)
	var key, again struct{ PublicKey, PrivateKey string }
	for _, k := range []any{&key, &again} {
		if err := json.Unmarshal(w.postJSON("getorcreateworkspacesshkey", nil).Body.Bytes(), k); err != nil {
			t.Fatal(err)
		}
	}
	if key != again || !strings.HasPrefix(key.PublicKey, "ssh-rsa ") || !strings.Contains(key.PrivateKey, "RSA PRIVATE KEY") {
		t.Fatalf("%+v, then %+v", key, again)
	}
	m.trust(key.PublicKey)
	details := map[string]any{"type": "remote", "address": m.listener.Addr().String(), "username": "azureuser"}
	project := part{"project.zip", zipped(t, map[string]string{"train.py": "print('by key')"})}
	id := runID(t, w.post("run", definitionPart(t, remoteConfig(t, set("old", "target")), details), project).Body.Bytes())
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	w.secrets["pw#u#1"] = "right"
	details["password"] = "AzureMlSecret=pw#u#1"
	id = runID(t, w.post("run", definitionPart(t, remoteConfig(t, set("old", "target")), details), project).Body.Bytes())
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Errorf("by secret: %s %v", r.Status, r.Error)
	}
}
