package execution_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// baseImage is the image that runs are tested in: it has a Python as "python".
func baseImage(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker command on the PATH")
	}
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("Docker does not answer: %s", out)
	}
	name := os.Getenv("LAZULITE_TEST_IMAGE")
	if name == "" {
		name = "lazulite/base:latest"
	}
	if exec.Command("docker", "image", "inspect", name).Run() != nil {
		t.Skipf("no image %s: lazulite images build makes it (or set LAZULITE_TEST_IMAGE)", name)
	}
	return name
}

func dockerOut(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// containersOf lists the containers of a folder's run; other emulators' runs may have its id.
func containersOf(t *testing.T, dir string) []string {
	t.Helper()
	return strings.Fields(dockerOut(t, "ps", "-aq", "--filter", "label=dev.lazulite.setup="+filepath.Join(dir, "azureml-setup")))
}

func wantNoContainer(t *testing.T, dir string) {
	t.Helper()
	clocktest.Until(t, "end of the containers of "+dir, time.Minute, func() bool { return len(containersOf(t, dir)) == 0 })
}

const inContainer = `import os, sys, ssl, json
try:
    import urllib.request
except ImportError: pass
print(json.dumps(sys.argv), os.getcwd(), os.path.exists("/.dockerenv"), __name__)
print(os.environ["EXAMPLE_ENV_VAR"], os.environ.get("ONLY_HERE"), repr(os.environ["TWO_LINES"]), os.environ["AZUREML_RUN_ID"])
c = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
r = urllib.request.Request(os.environ["AZUREML_SERVICE_ENDPOINT"] + "/history/v1.0/x/runs/" + os.environ["AZUREML_RUN_ID"], headers={"Authorization": "Bearer " + os.environ["AZUREML_RUN_TOKEN"]})
print("reached:", json.loads(urllib.request.urlopen(r, context=c).read().decode())["status"])
import helper
d = os.environ["AZUREML_DATAREFERENCE_data"]
print("data", open(os.path.join(d, "a.txt")).read(), sys.argv[1] == d)
m = os.environ["AZUREML_DATAREFERENCE_outside"]
print("outside", sorted(os.listdir(m)))
open(os.path.join(m, "new.txt"), "w").write("new")
os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)
open(sys.argv[2], "w").write("result")
os.makedirs("outputs/deep", exist_ok=True)
open("outputs/deep/model.txt", "w").write("weights")
open("logs/mine.txt", "w").write("log")
`

func TestDockerRun(t *testing.T) {
	image := baseImage(t)
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.blobs["/data/set/a.txt"], w.blobs["/data/out/old.txt"] = []byte("content of a"), []byte("old")
			outside := t.TempDir()
			ref := func(mode, path, onCompute string) map[string]any {
				return map[string]any{"dataStoreName": "store", "pathOnDataStore": path, "mode": mode, "pathOnCompute": onCompute, "overwrite": true}
			}
			result := filepath.Join(outside, "results", "r.txt")
			config := runconfig(docker(map[string]any{"baseImage": image, "sharedVolumes": shared, "gpuSupport": true, "arguments": []any{"--shm-size=128m", "--env", "EXAMPLE=1"}}),
				set("python", "environment", "python", "interpreterPath"), set([]any{"$AZUREML_DATAREFERENCE_data", result, "b c", 1}, "arguments"),
				set(map[string]any{"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "TWO_LINES": "a\nb"}, "environment", "environmentVariables"),
				set(map[string]any{"data": ref("download", "set", ""), "outside": ref("mount", "out", filepath.Join(outside, "kept")), "file": ref("upload", "result", result)}, "dataReferences"))
			dir := w.localRun(run, config, map[string]string{"train.py": inContainer, "helper.py": "print('helper imported')"})
			w.invoke(dir, "ONLY_HERE=yes")
			r := w.waitEnd(run)
			log, control := w.artifact(run+"/azureml-logs/80_driver_log.txt"), w.artifact(run+"/azureml-logs/60_control_log.txt")
			if r.Status != "Completed" {
				t.Fatalf("%s %v\n%s\n%s", r.Status, r.Error, log, control)
			}
			for _, line := range []string{`["train.py", "/azureml-run/azureml-data/data", "` + result + `", "b c", "1"] /azureml-run True __main__`,
				`EXAMPLE_VALUE None 'a\nb' ` + run, "reached: Running", "helper imported", "data content of a True", "outside ['old.txt']", "The experiment completed successfully. Finalizing run..."} {
				if !strings.Contains(log, line+"\n") {
					t.Errorf("no %q in the driver log:\n%s", line, log)
				}
			}
			for name, want := range map[string]string{"/azureml/ExperimentRun/" + run + "/outputs/deep/model.txt": "weights", "/azureml/ExperimentRun/" + run + "/logs/mine.txt": "log",
				"/data/out/new.txt": "new", "/data/result": "result"} {
				if got := w.blob(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
			if !strings.Contains(control, "--shm-size=128m") || strings.Contains(control, token) {
				t.Errorf("control log:\n%s", control)
			}
			if _, err := os.Stat("/dev/nvidiactl"); err != nil && !strings.Contains(fmt.Sprint(w.warnings), "no NVIDIA GPU: the run is on the CPU") {
				t.Errorf("warnings %v", w.warnings)
			}
			waitState(t, dir, `"phase": "ended"`)
			wantNoContainer(t, dir)
		})
	}
}

// TestDockerSecrets ensures that what docker inspect shows has no token in it.
func TestDockerSecrets(t *testing.T) {
	image := baseImage(t)
	w := newWorld(t)
	dir := w.localRun(run, runconfig(docker(map[string]any{"baseImage": image}), set("python", "environment", "python", "interpreterPath")),
		map[string]string{"train.py": "import os, time\nprint('up', os.environ['AZUREML_RUN_TOKEN'], flush=True)\ntime.sleep(300)"})
	w.invoke(dir)
	w.waitLog("up " + token)
	id := containersOf(t, dir)
	if len(id) != 1 {
		t.Fatalf("containers %v", id)
	}
	if shown := dockerOut(t, "inspect", id[0]); strings.Contains(shown, token) || !strings.Contains(shown, `"dev.lazulite.run": "`+run) {
		t.Errorf("docker inspect: %s", shown)
	}
	writeFile(t, filepath.Join(dir, "azureml-setup", "killfile"), run, 0o644)
	w.waitEnd(run)
	wantNoContainer(t, dir)
}

func TestDockerEndings(t *testing.T) {
	image := baseImage(t)
	for _, c := range []struct {
		name, script string
		section      map[string]any
		change       func(map[string]any)
		status       string
		reason, log  string
	}{
		{"exit 3", "import sys; sys.exit(3)", nil, nil, "Failed", "exited with code 3", ""},
		{"exit 137 by itself", "import sys; sys.exit(137)", nil, nil, "Failed", "exited with code 137", ""},
		{"exception", "raise ValueError('boom')", nil, nil, "Failed", "ValueError: boom", "line 1, in <module>"},
		{"os._exit", "import os; print('x', flush=True); os._exit(7)", nil, nil, "Failed", "exited with code 7", "x"},
		{"kills itself", "import os; os.kill(os.getpid(), 9)", nil, nil, "Failed", "killed by signal 9 (SIGKILL)", ""},
		{"out of memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", map[string]any{"arguments": []any{"--memory", "64m", "--memory-swap", "64m"}}, nil, "Failed", "killed by signal 9 (SIGKILL) (out of memory)", ""},
		{"no script", "", nil, set("absent.py", "script"), "Failed", "'absent.py' is not in the project", ""},
		{"no interpreter", "", nil, set("python-of-nowhere", "environment", "python", "interpreterPath"), "Failed", "with the interpreter 'python-of-nowhere' of the image", ""},
		{"unknown option", "", map[string]any{"arguments": []any{"--no-such-option"}}, nil, "Failed", "The container could not be made", ""},
		{"too long", "import time; time.sleep(60)", nil, set(1, "maxRunDurationSeconds"), "Failed", "maxRunDurationSeconds (1)", ""},
		{"no outputs shared, exit 4", "import os; os.makedirs('outputs', exist_ok=True); open('outputs/x', 'w').write('x'); os._exit(4)", map[string]any{"sharedVolumes": false}, nil, "Failed", "exited with code 4", ""},
		{"leaves a process", "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)", nil, nil, "Completed", "", ""},
		{"a command", "", nil, func(c map[string]any) {
			set("", "script")(c)
			set("python -c 'import sys; print(sys.argv)' a; id -u; exit 5", "command")(c)
		}, "Failed", "exited with code 5", "['-c', 'a']\n0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			section := map[string]any{"baseImage": image}
			for k, v := range c.section {
				section[k] = v
			}
			config := runconfig(docker(section), set("python", "environment", "python", "interpreterPath"))
			if c.change != nil {
				c.change(config)
			}
			dir := w.localRun(run, config, map[string]string{"train.py": c.script})
			w.invoke(dir)
			r, reason := w.waitEnd(run), ""
			if r.Error != nil {
				reason = r.Error.Message
			}
			log := w.artifact(run + "/azureml-logs/80_driver_log.txt")
			if r.Status != c.status || !strings.Contains(reason, c.reason) || !strings.Contains(log, c.log) {
				t.Errorf("%s %q, want %s %q\n%s", r.Status, reason, c.status, c.reason, log)
			}
			wantNoContainer(t, dir)
		})
	}
}

func TestDockerCancel(t *testing.T) {
	image := baseImage(t)
	stubborn := "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + longScript
	polite := "import signal, sys\ndef end(*a):\n    print('told to end', flush=True); sys.exit(0)\nsignal.signal(signal.SIGTERM, end)\n" + longScript
	for _, c := range []struct{ name, script, said string }{{"killfile", longScript, ""}, {"told first", polite, "told to end"}, {"ignores SIGTERM", stubborn, ""}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := w.localRun(run, runconfig(docker(map[string]any{"baseImage": image}), set("python", "environment", "python", "interpreterPath")), map[string]string{"train.py": c.script})
			w.invoke(dir)
			w.waitLog("pid=")
			writeFile(t, filepath.Join(dir, "azureml-setup", "killfile"), run, 0o644)
			if r := w.waitEnd(run); r.Status != "Canceled" {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			if log := w.artifact(run + "/azureml-logs/80_driver_log.txt"); !strings.Contains(log, c.said) {
				t.Errorf("no %q in %s", c.said, log)
			}
			wantNoContainer(t, dir)
		})
	}
}

// kill9 kills processes of a run's folder at once, so that none sees the end of another.
func kill9(t *testing.T, dir string, scripts ...string) {
	t.Helper()
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, link := range links {
		line, _ := os.ReadFile(link)
		for _, script := range scripts {
			if strings.Contains(string(line), filepath.Join(dir, "azureml-setup", script)) {
				pids = append(pids, atoi(t, filepath.Base(filepath.Dir(link))))
			}
		}
	}
	if len(pids) != len(scripts) {
		t.Fatalf("processes %v of %v", pids, scripts)
	}
	for _, number := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range pids {
			_ = syscall.Kill(pid, number)
		}
	}
}

// TestDockerCrash ensures that a container does not outlive its control script, nor that and its guard.
func TestDockerCrash(t *testing.T) {
	image := baseImage(t)
	for _, guard := range []bool{true, false} {
		t.Run(fmt.Sprintf("guard %t", guard), func(t *testing.T) {
			w := newWorld(t)
			start := func(id, script string) string {
				dir := w.localRun(id, runconfig(docker(map[string]any{"baseImage": image}), set("python", "environment", "python", "interpreterPath")), map[string]string{"train.py": script})
				w.invoke(dir)
				return dir
			}
			dir := start(run, longScript)
			w.waitLog("pid=")
			if guard {
				kill9(t, dir, "control.py")
			} else {
				kill9(t, dir, "control.py", "guard.py")
			}
			if guard {
				if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, "killed before it could tell") && !strings.Contains(r.Error.Message, "are gone and left no result") {
					t.Errorf("%s %v", r.Status, r.Error)
				}
				wantNoContainer(t, dir)
				clocktest.Until(t, "secrets to go", time.Minute, func() bool { return len(files(t, dir, token)) == 0 })
				return
			}
			// Nobody is left to remove it, but it ends by itself; the next run clears it away.
			clocktest.Until(t, "end of the container", time.Minute, func() bool {
				return dockerOut(t, "ps", "-q", "--filter", "label=dev.lazulite.setup="+filepath.Join(dir, "azureml-setup")) == ""
			})
			if len(containersOf(t, dir)) != 1 {
				t.Error("the container is gone already: nothing shows that it is swept")
			}
			next := "myexp_1540000001_0a1b2c3d"
			start(next, "")
			if r := w.waitEnd(next); r.Status != "Completed" {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			wantNoContainer(t, dir)
		})
	}
}

// TestDockerGone has Docker go away in the middle of a run: the run fails, and what is left ends by itself.
func TestDockerGone(t *testing.T) {
	image := baseImage(t)
	real := strings.TrimPrefix(dockerOut(t, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"), "unix://")
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		real = strings.TrimPrefix(host, "unix://")
	}
	if !filepath.IsAbs(real) {
		t.Skipf("the daemon is not on a local socket: %s", real)
	}
	dir, err := os.MkdirTemp("", "lz") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", real)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			pipe := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_ = to.(*net.UnixConn).CloseWrite()
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	w := newWorld(t)
	folder := w.localRun(run, runconfig(docker(map[string]any{"baseImage": image}), set("python", "environment", "python", "interpreterPath")), map[string]string{"train.py": longScript})
	w.invoke(folder, "DOCKER_HOST=unix://"+filepath.Join(dir, "s"))
	w.waitLog("pid=")
	_ = listener.Close()
	mu.Lock()
	for _, c := range open {
		_ = c.Close()
	}
	mu.Unlock()
	if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, "The connection to Docker on this machine broke in the middle of the run") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	clocktest.Until(t, "end of the container", time.Minute, func() bool {
		return dockerOut(t, "ps", "-q", "--filter", "label=dev.lazulite.setup="+filepath.Join(folder, "azureml-setup")) == ""
	})
	dockerOut(t, append([]string{"rm", "-f"}, containersOf(t, folder)...)...)
}

// TestDockerOwner ensures that a user who is not root can delete what root wrote in the container.
func TestDockerOwner(t *testing.T) {
	image := baseImage(t)
	socket, err := os.Stat("/var/run/docker.sock")
	if err != nil || os.Getuid() != 0 || os.Getenv("DOCKER_HOST") != "" {
		t.Skip("this test is root's, who becomes another user of the local daemon")
	}
	const user = 12345
	group := socket.Sys().(*syscall.Stat_t).Gid
	home, err := os.MkdirTemp("", "lazulite-owner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	w := newWorld(t)
	dir := w.localRun(run, runconfig(docker(map[string]any{"baseImage": image}), set("python", "environment", "python", "interpreterPath")),
		map[string]string{"train.py": "import os\nos.makedirs('outputs/deep')\nopen('outputs/deep/x', 'w').write('x')\nprint(os.getuid())"})
	mine := filepath.Join(home, "run")
	for _, args := range [][]string{{"cp", "-r", dir, mine}, {"chown", "-R", fmt.Sprintf("%d:%d", user, user), home}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
	cmd := exec.Command("/bin/bash", filepath.Join(mine, "azureml-setup", "Invocation.sh"))
	cmd.Dir, cmd.Env = mine, []string{"HOME=" + home, "PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, Groups: []uint32{group}}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if r := w.waitEnd(run); r.Status != "Completed" || w.artifact(run + "/azureml-logs/80_driver_log.txt")[:2] != "0\n" {
		t.Fatalf("%s %v\n%s", r.Status, r.Error, w.artifact(run+"/azureml-logs/60_control_log.txt"))
	}
	waitState(t, mine, `"phase": "ended"`)
	remove := exec.Command("rm", "-r", filepath.Join(mine, "outputs"))
	remove.SysProcAttr = cmd.SysProcAttr
	if out, err := remove.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRemoteDocker is a run in a container on a machine reached by SSH.
func TestRemoteDocker(t *testing.T) {
	image := baseImage(t)
	w, m := newRemote(t)
	config := runconfig(docker(map[string]any{"baseImage": image}), set("my-vm", "target"), set("python", "environment", "python", "interpreterPath"), set(map[string]any{"TWO_LINES": "a\nb", "EXAMPLE_ENV_VAR": "E"}, "environment", "environmentVariables"))
	script := strings.Split(inContainer, "import helper")[0] + "os.makedirs('outputs', exist_ok=True); open('outputs/m', 'w').write('m')\n"
	id := w.submit(config, map[string]string{"train.py": script})
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Fatalf("%s %v\n%s", r.Status, r.Error, w.artifact(id+"/azureml-logs/80_driver_log.txt"))
	}
	if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); !strings.Contains(log, "/azureml-run True __main__") || !strings.Contains(log, "reached: Running") {
		t.Errorf("log %s", log)
	}
	if got := w.blob("/azureml/ExperimentRun/" + id + "/outputs/m"); got != "m" {
		t.Errorf("outputs %q", got)
	}
	w.drained(t)
	wantNoContainer(t, m.file(id))

	check := func(change ...func(map[string]any)) string {
		c := runconfig(append([]func(map[string]any){docker(map[string]any{"baseImage": image}), set("my-vm", "target")}, change...)...)
		rec := w.post("checkprepare", definitionPart(t, c, nil), part{"project.zip", zipped(t, map[string]string{"train.py": ""})})
		return strings.TrimSpace(rec.Body.String())
	}
	if got := check(); got != `{"environmentPrepared":true}` {
		t.Errorf("check: %s", got)
	}
	if got := check(managed("never-asked-for")); got != `{"environmentPrepared":false}` {
		t.Errorf("check of an image that was not made: %s", got)
	}

	lost := w.submit(config, map[string]string{"train.py": longScript})
	remoteLog(w, lost, "pid=")
	kill9(t, m.file(lost), "control.py", "guard.py")
	if r := w.waitEnd(lost); r.Status != "Failed" || !strings.Contains(r.Error.Message, "are gone and left no result") {
		t.Errorf("%s %v", r.Status, r.Error)
	}

	long := w.submit(config, map[string]string{"train.py": longScript})
	remoteLog(w, long, "pid=")
	if rec := w.postJSON("cancel", map[string]any{"RunId": long, "Target": "my-vm"}); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if r := w.waitEnd(long); r.Status != "Canceled" {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	wantNoContainer(t, m.file(long))
	wantNoContainer(t, m.file(lost)) // the next run's, here
}
