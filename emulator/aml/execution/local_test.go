package execution_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

const run = "myexp_1540000000_0a1b2c3d"

func TestLocalRun(t *testing.T) {
	script := `import os, sys, json
print(json.dumps(sys.argv))
print("%s %s %s" % (os.getcwd() == os.environ["RUN_DIR"], __name__, os.environ["EXAMPLE_ENV_VAR"]))
for n in ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME", "PROJECT_NAME"): print(os.environ["AZUREML_ARM_" + n])
print("mode %o" % (os.stat("azureml-setup/credentials.json").st_mode & 511))
print(" ".join(os.environ["AZUREML_" + n] for n in ("RUN_ID", "RUN_TOKEN", "SERVICE_ENDPOINT")))
os.makedirs("outputs/deep")
open("outputs/deep/model.txt", "w").write("weights")
open("logs/mine.txt", "w").write("x" * (9 << 20))
import helper
`
	for _, python := range pythons(t) {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(python))), func(t *testing.T) {
			w := newWorld(t)
			args := []any{"--data folder", "ü\"'$HOME\\", "", 0.5, 1, true, "--x=`id`\n2"}
			dir := w.localRun(run, runconfig(set(args, "arguments"), set(python, "environment", "python", "interpreterPath")),
				map[string]string{"train.py": script, "helper.py": "print('helper imported')"})
			w.invoke(dir, "RUN_DIR="+dir)
			if r := w.waitEnd(run); r.Status != "Completed" {
				t.Fatalf("%s %v\n%s", r.Status, r.Error, w.artifact(run+"/azureml-logs/60_control_log.txt"))
			}
			if got := strings.Join(w.statuses[run], " "); got != "Preparing Running Completed" {
				t.Errorf("statuses: %s", got)
			}
			log := w.artifact(run + "/azureml-logs/80_driver_log.txt")
			want := []string{"train.py", "--data folder", "ü\"'$HOME\\", "", "0.5", "1", "True", "--x=`id`\n2"}
			var got []string
			if err := json.Unmarshal([]byte(strings.SplitN(log, "\n", 2)[0]), &got); err != nil || !slices.Equal(got, want) {
				t.Errorf("arguments %q, want %q", got, want)
			}
			for _, line := range []string{"True __main__ EXAMPLE_VALUE", "s1\nrg\nws\nmyexp\n", run + " " + token + " " + endpoint, "mode 600", "helper imported", "The experiment completed successfully. Finalizing run..."} {
				if !strings.Contains(log, line) {
					t.Errorf("no %q in the driver log:\n%s", line, log)
				}
			}
			if got := w.blob("/azureml/ExperimentRun/" + run + "/outputs/deep/model.txt"); got != "weights" {
				t.Errorf("outputs: %q", got)
			}
			if got := len(w.blob("/azureml/ExperimentRun/" + run + "/logs/mine.txt")); got != 9<<20 {
				t.Errorf("logs: %d bytes", got)
			}
			if w.beats == 0 {
				t.Error("no heartbeat")
			}
			clocktest.Until(t, "credentials to go", time.Minute, func() bool {
				_, err := os.Stat(filepath.Join(dir, "azureml-setup", "credentials.json"))
				return os.IsNotExist(err)
			})
		})
	}
}

// TestLocalRunAnswer ensures that the run is there, in a running state, before the SDK gets the zip.
func TestLocalRunAnswer(t *testing.T) {
	w := newWorld(t)
	parts := []part{definitionPart(t, runconfig(), nil), {"aml_config.zip", zipped(t, configZip)}}
	rec := w.post("localrun?runId="+run, parts...)
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "application/zip" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	r := w.runs[run]
	if r.Status != "Preparing" || r.Target != "local" || r.ScriptName != "train.py" || r.RunType != "azureml.scriptrun" || !bytes.Contains(r.RunDefinition, []byte(`"interpreterPath":"python3"`)) {
		t.Errorf("run %+v", r)
	}
	dir := t.TempDir()
	unzip(t, rec.Body.Bytes(), dir)
	for _, name := range []string{"Invocation.sh", "Invocation.bat", "control.py", "run_script.py", "job.json", "credentials.json", "ca-bundle.pem"} {
		if _, err := os.Stat(filepath.Join(dir, "azureml-setup", name)); err != nil {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "azureml-setup", "job.json")); bytes.Contains(b, []byte(token)) {
		t.Error("the token is in job.json")
	}
	// The answer to a first try may have been lost.
	if again := w.post("localrun?runId="+run, parts...); again.Code != http.StatusOK {
		t.Errorf("again: %d %s", again.Code, again.Body)
	}
	if other := w.post("localrun?runId="+run, definitionPart(t, runconfig(set("other.py", "script")), nil), parts[1]); other.Code != http.StatusConflict {
		t.Errorf("another definition: %d %s", other.Code, other.Body)
	}
}

func TestLocalRunRefusals(t *testing.T) {
	config := func(files map[string]string) part { return part{"aml_config.zip", zipped(t, files)} }
	good := config(configZip)
	def := func(change ...func(map[string]any)) part { return definitionPart(t, runconfig(change...), nil) }
	deps := []string{"environment", "python", "condaDependencies"}
	for _, c := range []struct {
		name    string
		parts   []part
		query   string
		status  int
		target  string
		message string
	}{
		{"no run id", []part{def(), good}, "", 400, "runId", "no run id"},
		{"run id with a path", []part{def(), good}, "?runId=..%2Fx", 400, "runId", "no run id"},
		{"no definition", []part{good}, "", 400, "files", "definition.json"},
		{"no zip", []part{def()}, "", 400, "files", "no zip"},
		{"bad JSON", []part{{"definition.json", []byte("{")}, good}, "", 400, "definition.json", "not valid JSON"},
		{"no configuration", []part{{"definition.json", []byte("{}")}, good}, "", 400, "Configuration", "no 'Configuration'"},
		{"no script", []part{def(set(nil, "script")), good}, "", 400, "Configuration.script", "must name a file"},
		{"script outside", []part{def(set("../x.py", "script")), good}, "", 400, "Configuration.script", "not inside"},
		{"script of a wrong type", []part{def(set(5, "script")), good}, "", 400, "Configuration.script", "number"},
		{"arguments no list", []part{def(set("x", "arguments")), good}, "", 400, "Configuration.arguments", "string"},
		{"argument an object", []part{def(set([]any{map[string]any{}}, "arguments")), good}, "", 400, "Configuration.arguments", "object"},
		{"variable null", []part{def(set(map[string]any{"A": nil}, "environment", "environmentVariables")), good}, "", 400, "Configuration.environment.environmentVariables", "null"},
		{"flag of a wrong type", []part{def(set("yes", "environment", "docker", "enabled")), good}, "", 400, "Configuration.environment.docker.enabled", "string"},
		{"framework", []part{def(set("Fortran", "framework")), good}, "", 400, "Configuration.framework", "Fortran"},
		{"dependency of a wrong type", []part{def(set(map[string]any{"dependencies": []any{5}}, deps...)), good}, "", 400, "Configuration.environment.python.condaDependencies.dependencies[0]", "neither"},
		{"data reference without a mode", []part{def(set(map[string]any{"d": map[string]any{"dataStoreName": "store"}}, "dataReferences")), good}, "", 400, "Configuration.dataReferences.d.mode", "none of"},
		{"unknown datastore", []part{def(set(map[string]any{"d": map[string]any{"dataStoreName": "no", "mode": "mount"}}, "dataReferences")), good}, "", 404, "", "Datastore no"},
		{"remote target", []part{def(set("my-vm", "target")), good}, "", 400, "Configuration.target", "not local"},
		{"not a zip", []part{def(), {"aml_config.zip", []byte("PKxx")}}, "", 400, "files", "not a zip"},
		{"zip slip", []part{def(), config(map[string]string{"../evil": "x"})}, "", 400, "files", "outside"},
		{"zip slip by backslash", []part{def(), config(map[string]string{`a\..\..\evil`: "x"})}, "", 400, "files", "outside"},
		{"absolute entry", []part{def(), config(map[string]string{"/etc/evil": "x"})}, "", 400, "files", "outside"},
		{"symlink", []part{def(), config(map[string]string{"aml_config/l": "link:/etc/passwd"})}, "", 400, "files", "link"},
		{"too large", []part{def(), {"aml_config.zip", make([]byte, 27<<20)}}, "", 413, "", "larger than 26 MB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			query := c.query
			if query == "" && c.name != "no run id" {
				query = "?runId=" + run
			}
			wantError(t, w.post("localrun"+query, c.parts...), c.status, c.target, c.message)
			if len(w.runs) != 0 {
				t.Errorf("a run was made: %v", w.runs)
			}
			if left, _ := os.ReadDir(w.cfg.Dir); len(left) != 0 {
				t.Errorf("files are left: %v", left)
			}
		})
	}
}

// TestLocalEndings ensures that the state, the exit code and the reason are those of what really ran.
func TestLocalEndings(t *testing.T) {
	python := pythons(t)[0]
	for _, c := range []struct {
		name, script string
		change       func(map[string]any)
		status       string
		reason, log  string
	}{
		{"exit 3", "import sys; sys.exit(3)", nil, "Failed", "exited with code 3", ""},
		{"exit 0", "import sys; sys.exit(0)", nil, "Completed", "", ""},
		{"exit with text", "import sys; sys.exit('no data')", nil, "Failed", "sys.exit('no data')", "no data"},
		{"exception", "def f():\n    raise ValueError('boom')\nf()", nil, "Failed", "ValueError: boom", `File "train.py", line 2, in f`},
		{"syntax error", "def", nil, "Failed", "SyntaxError", "invalid syntax"},
		{"os._exit", "import os; print('x', flush=True); os._exit(7)", nil, "Failed", "exited with code 7", "x"},
		{"kills itself", "import os; os.kill(os.getpid(), 9)", nil, "Failed", "killed by signal 9 (SIGKILL)", ""},
		{"no script", "", set("absent.py", "script"), "Failed", "'absent.py' is not in the project", ""},
		{"no interpreter", "", set("python-of-nowhere", "environment", "python", "interpreterPath"), "Failed", "'python-of-nowhere' was not found", ""},
		{"too long", "import time; time.sleep(60)", set(1, "maxRunDurationSeconds"), "Failed", "maxRunDurationSeconds (1)", ""},
		{"leaves a process", "import subprocess; p = subprocess.Popen(['sleep', '300'], start_new_session=True); print('pid=%d' % p.pid)", nil, "Completed", "", "pid="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			config := runconfig(set(python, "environment", "python", "interpreterPath"))
			if c.change != nil {
				c.change(config)
			}
			dir := w.localRun(run, config, map[string]string{"train.py": c.script})
			w.invoke(dir)
			r := w.waitEnd(run)
			reason := ""
			if r.Error != nil {
				reason = r.Error.Message
			}
			log := w.artifact(run + "/azureml-logs/80_driver_log.txt")
			if r.Status != c.status || !strings.Contains(reason, c.reason) || !strings.Contains(log, c.log) {
				t.Errorf("%s %q, want %s %q\n%s", r.Status, reason, c.status, c.reason, log)
			}
			if c.reason != "" && !strings.Contains(w.artifact(run+"/azureml-logs/60_control_log.txt"), "The run failed: ") {
				t.Errorf("the control log does not say why:\n%s", w.artifact(run+"/azureml-logs/60_control_log.txt"))
			}
			if _, pid, ok := strings.Cut(log, "pid="); ok {
				wantGone(t, strings.Fields(pid)[0])
			}
		})
	}
}

const longScript = `import subprocess, sys, time
p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
print("pid=%d" % p.pid, flush=True)
time.sleep(300)
`

func (w *world) waitLog(text string) string {
	w.t.Helper()
	name := run + "/azureml-logs/80_driver_log.txt"
	w.wait("log with "+text, 60*time.Second, func() bool { return strings.Contains(string(w.artifacts[name]), text) })
	return w.artifact(name)
}

// TestLocalCancel ensures that the kill file ends the whole process tree, whatever the run is doing.
func TestLocalCancel(t *testing.T) {
	python := pythons(t)[0]
	stubborn := "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + longScript
	for _, c := range []struct{ name, script, by string }{
		{"killfile", longScript, "file"}, {"ignores SIGTERM", stubborn, "file"}, {"state in history", longScript, "history"}, {"execution/cancel", longScript, "cancel"}, {"before the script", longScript, "early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := w.localRun(run, runconfig(set(python, "environment", "python", "interpreterPath")), map[string]string{"train.py": c.script})
			killfile := filepath.Join(dir, "azureml-setup", "killfile")
			if c.by == "early" {
				writeFile(t, killfile, run, 0o644)
			}
			w.invoke(dir)
			pid := ""
			if c.by != "early" {
				_, pid, _ = strings.Cut(w.waitLog("pid="), "pid=")
			}
			switch c.by {
			case "file":
				writeFile(t, killfile, run, 0o644)
			case "history":
				_, _ = w.SetStatus(t.Context(), workspace, run, "CancelRequested", nil)
			case "cancel":
				if rec := w.postJSON("cancel", map[string]any{"RunId": run, "Target": "local"}); rec.Code != http.StatusOK {
					t.Fatalf("%d %s", rec.Code, rec.Body)
				}
			}
			if r := w.waitEnd(run); r.Status != "Canceled" {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			if pid != "" {
				wantGone(t, strings.Fields(pid)[0])
			}
			waitState(t, dir, `"phase": "ended"`)
		})
	}
}

// TestControlKilled ensures that the death of the control script ends the user's processes and fails the run.
func TestControlKilled(t *testing.T) {
	w := newWorld(t)
	dir := w.localRun(run, runconfig(set(pythons(t)[0], "environment", "python", "interpreterPath")), map[string]string{"train.py": longScript})
	cmd := w.invoke(dir)
	_, pid, _ := strings.Cut(w.waitLog("pid="), "pid=")
	if err := cmd.Process.Kill(); err != nil { // Invocation.sh became the control script
		t.Fatal(err)
	}
	r := w.waitEnd(run)
	if r.Status != "Failed" || r.Error == nil || !strings.Contains(r.Error.Message, "killed before it could tell") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	wantGone(t, strings.Fields(pid)[0])
	waitState(t, dir, `"phase": "ended"`)
	clocktest.Until(t, "the secrets' end", time.Minute, func() bool {
		_, err := os.Stat(filepath.Join(dir, "azureml-setup", "curl.conf"))
		return os.IsNotExist(err)
	})
}

// TestServiceDown ensures that a run goes on while the emulator is away, and that nothing of it is lost.
func TestServiceDown(t *testing.T) {
	w := newWorld(t)
	script := "import os, time\nprint('begin', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)\nfor i in range(20000): print('line %d' % i)\n"
	dir := w.localRun(run, runconfig(set(pythons(t)[0], "environment", "python", "interpreterPath")), map[string]string{"train.py": script})
	w.invoke(dir)
	w.waitLog("begin")
	w.setDown(true)
	writeFile(t, filepath.Join(dir, "go"), "", 0o644)
	log := filepath.Join(dir, "azureml-logs", "80_driver_log.txt")
	clocktest.Until(t, "script's end", time.Minute, func() bool {
		b, _ := os.ReadFile(log)
		return bytes.Contains(b, []byte("line 19999"))
	})
	clocktest.Until(t, "complaint", time.Minute, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "azureml-logs", "60_control_log.txt"))
		return bytes.Contains(b, []byte("does not answer"))
	})
	w.setDown(false)
	if r := w.waitEnd(run); r.Status != "Completed" {
		t.Fatalf("%s %v", r.Status, r.Error)
	}
	want, _ := os.ReadFile(log)
	if got := w.artifact(run + "/azureml-logs/80_driver_log.txt"); got != string(want) {
		t.Errorf("%d bytes of log, want %d", len(got), len(want))
	}
}

// TestLargeOutput ensures that 200 MB of output pass whole, and take the control script little memory.
func TestLargeOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	w := newWorld(t)
	script := "line = 'x' * 99\nfor i in range(2 << 20): print(line)\n"
	dir := w.localRun(run, runconfig(set(pythons(t)[0], "environment", "python", "interpreterPath")), map[string]string{"train.py": script})
	cmd := w.invoke(dir)
	peak := func() int {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
		_, v, _ := strings.Cut(string(b), "VmHWM:")
		kb, _ := strconv.Atoi(strings.Fields(v + " 0")[0])
		return kb >> 10
	}
	top := 0
	w.wait("end", 3*time.Minute, func() bool {
		top = max(top, peak())
		return w.runs[run].Status == "Completed" || w.runs[run].Status == "Failed"
	})
	if got := len(w.artifact(run + "/azureml-logs/80_driver_log.txt")); got < 200<<20 {
		t.Errorf("%d bytes of log", got)
	}
	if top > 80 {
		t.Errorf("the control script took %d MB", top)
	}
	t.Logf("control script: %d MB", top)
}

// TestNoPython ensures that a machine without a Python for the control script fails the run with that reason.
func TestNoPython(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	w := newWorld(t)
	dir := w.localRun(run, runconfig(), map[string]string{"train.py": ""})
	// A PATH and a home without any Python cannot hide those in fixed places; so none of the candidates may be usable.
	script := filepath.Join(dir, "azureml-setup", "Invocation.sh")
	b, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, script, strings.ReplaceAll(string(b), "3, 5", "99, 0"), 0o755)
	w.invoke(dir)
	if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, "No Python 3.5 or later") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
}

func waitState(t *testing.T, dir, text string) {
	t.Helper()
	clocktest.Until(t, text, time.Minute, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "azureml-setup", "state.json"))
		return bytes.Contains(b, []byte(text))
	})
}

func wantGone(t *testing.T, pid string) {
	t.Helper()
	n := atoi(t, pid)
	clocktest.Until(t, "end of process "+pid, time.Minute, func() bool { return syscall.Kill(n, 0) != nil || zombie(pid) })
}

func zombie(pid string) bool {
	b, _ := os.ReadFile("/proc/" + pid + "/stat")
	i := bytes.LastIndexByte(b, ')')
	return i > 0 && bytes.HasPrefix(b[i:], []byte(") Z"))
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
