package conformance

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// zipMost bounds what is unpacked of a service's zip.
const zipMost = 256 << 20

// localHost is what target:local needs of this machine.
type localHost struct{ bash string }

func (s *session) localHost() *localHost {
	return obtain(s, &s.fix.local, "this machine's shell", func() *localHost {
		bash, err := exec.LookPath("bash")
		if err != nil || !unix {
			s.skip("this machine has no bash to run Invocation.sh")
		}
		if _, err := exec.LookPath(s.cfg.Python); err != nil {
			s.skip("this machine has no %s to run the script", s.cfg.Python)
		}
		return &localHost{bash}
	})
}

// localRun is one submitted run with its directory.
type localRun struct {
	id, url, dir string
	exit         chan error
}

// submitLocal submits the project of the suite.
func (s *session) submitLocal(arguments ...any) *localRun {
	return s.submitProject(projectFile{"train.py", trainScript}, arguments...)
}

// submitProject does what Experiment.submit does for the target local: it asks
// for the control scripts, unpacks them beside the project and starts them detached.
func (s *session) submitProject(script projectFile, arguments ...any) *localRun {
	return s.submitWith(order{target: "local"}, script, arguments...)
}

// submitWith is submitProject with the environment of an order.
func (s *session) submitWith(o order, script projectFile, arguments ...any) *localRun {
	host, w := s.localHost(), s.workspace()
	run := &localRun{id: fmt.Sprintf("conformance_%d_%s", time.Now().Unix(), random()), dir: s.tempDir(), exit: make(chan error, 1)}
	run.url = w.experiment("history") + "/runs/" + run.id
	files := w.configFiles()
	r := s.multipart(w.experiment("execution")+"/localrun?runId="+run.id,
		part{filename: "definition.json", content: s.orderDefinition(o, arguments...)},
		part{filename: "aml_config.zip", content: zipped(s, files)})
	s.status(r, http.StatusOK)
	// NotStarted would be an end in the eyes of wait_for_completion.
	if d := decode[details](s, s.data(http.MethodGet, run.url+"/details", nil)); !going[d.Status] {
		s.fail("after localrun the run is %q; the SDK waits only for Starting, Preparing, Queued or Running", d.Status)
	}
	files[script.name] = script.content
	for name, content := range files {
		s.must(writeFile(filepath.Join(run.dir, filepath.FromSlash(name)), []byte(content), 0o644))
	}
	s.unpack(r.Body, run.dir)
	invocation := filepath.Join(run.dir, "azureml-setup", "Invocation.sh")
	if err := os.Chmod(invocation, 0o755); err != nil {
		s.fail("the zip has no azureml-setup/Invocation.sh")
	}
	s.start(host, run, invocation)
	return run
}

// start runs the script as the SDK does: detached, without any standard stream, in the run's directory.
func (s *session) start(host *localHost, run *localRun, script string) {
	cmd := exec.Command(host.bash, "-c", script)
	cmd.Dir = run.dir
	cmd.Env = append(os.Environ(), s.reach()...)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		s.fail("Invocation.sh did not start: %v", err)
	}
	go func() { run.exit <- cmd.Wait() }()
	s.later(func() {
		// Whatever is left of the run dies with its spec.
		killGroup(cmd.Process.Pid)
		if pid, ok := run.pid(); ok && alive(pid) {
			kill(pid)
		}
		<-run.exit
	})
}

// reach is the environment by which a user makes clients on this machine reach the implementation.
func (s *session) reach() []string {
	var env []string
	if s.cfg.Proxy != "" && s.cfg.Proxy != "env" {
		for _, k := range []string{"HTTPS_PROXY", "https_proxy"} {
			env = append(env, k+"="+s.cfg.Proxy)
		}
		for _, k := range []string{"NO_PROXY", "no_proxy"} {
			env = append(env, k+"=127.0.0.1,localhost")
		}
	}
	if s.cfg.CAFile != "" {
		bundle := s.bundle()
		for _, k := range []string{"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"} {
			env = append(env, k+"="+bundle)
		}
	}
	return env
}

// pid is that of the user's script, which it writes into its directory.
func (r *localRun) pid() (int, bool) {
	b, err := os.ReadFile(filepath.Join(r.dir, "script.pid"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil && n > 1
}

// unpack extracts the service's zip into dir; an entry that would leave it, or is no plain file, is the service's fault.
func (s *session) unpack(b []byte, dir string) {
	zr, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		s.fail("the answer to localrun is no zip: %v", err)
	}
	var total uint64
	for _, f := range zr.File {
		name := filepath.FromSlash(f.Name)
		if !filepath.IsLocal(strings.TrimSuffix(name, string(filepath.Separator))) || strings.Contains(f.Name, `\`) {
			s.fail("the zip's entry %q leads out of its directory", f.Name)
		}
		to := filepath.Join(dir, name)
		switch mode := f.Mode(); {
		case mode.IsDir():
			s.must(os.MkdirAll(to, 0o755))
			continue
		case !mode.IsRegular():
			s.fail("the zip's entry %q is no plain file but %s", f.Name, mode.Type())
		}
		if total += f.UncompressedSize64; total > zipMost {
			s.fail("the zip unpacks to more than %d bytes", zipMost)
		}
		rc, err := f.Open()
		if err != nil {
			s.fail("the zip's entry %q: %v", f.Name, err)
		}
		content, err := io.ReadAll(io.LimitReader(rc, zipMost))
		_ = rc.Close()
		if err != nil {
			s.fail("the zip's entry %q: %v", f.Name, err)
		}
		s.must(writeFile(to, content, f.Mode().Perm()|0o600))
	}
}

func writeFile(path string, content []byte, perm os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, perm)
}

// eventually waits until cond holds, or fails with what was waited for.
func (s *session) eventually(what string, limit time.Duration, cond func() bool) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, limit, fmt.Errorf("%s did not happen within %s", what, limit))
	defer cancel()
	for !cond() {
		if err := s.client.Wait(ctx, 100*time.Millisecond); err != nil {
			s.fail("%v", err)
		}
	}
}

func localSpecs() []spec {
	return []spec{
		{"local.run.completed", func(s *session) {
			run := s.submitLocal("--word", scriptWord, "--exit", 0)
			d := s.follow(run.url, nil)
			s.ended(d, "Completed")
			s.Expect(d.Target).To(gomega.Equal("local"))
			s.Expect(cells(s.metrics(run.id), "accuracy", "scalar")).To(gomega.Equal([]string{"accuracy=0.75"}))
			s.Expect(s.download("ExperimentRun", run.id, "outputs/model.txt")).To(gomega.Equal("weights of " + run.id))
			s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: hello "+scriptWord), "the script's output is in the logs, its arguments whole")
			s.Expect(d.RunDefinition).NotTo(gomega.BeEmpty(), "the details hold the run's definition")
			r := s.readRun(run.url)
			s.Expect(r.StartTimeUtc).To(gomega.MatchRegexp(isoDate))
			s.Expect(r.EndTimeUtc).To(gomega.MatchRegexp(isoDate))
		}},
		{"local.run.failed", func(s *session) {
			run := s.submitLocal("--exit", 3)
			d := s.follow(run.url, nil)
			s.ended(d, "Failed")
			s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: end"))
			s.Expect(cells(s.metrics(run.id), "accuracy", "scalar")).To(gomega.HaveLen(1), "what was logged before the failure is kept")
		}},
		{"local.run.canceled", func(s *session) {
			run := s.submitLocal("--sleep", 600)
			s.eventually("the start of the script", s.cfg.Budget.Operation, func() bool { _, ok := run.pid(); return ok })
			s.follow(run.url, func(d details) bool { return d.Status == "Running" })
			pid, _ := run.pid()
			// The SDK's cancel of a local run: a file for the control script, and an event.
			s.must(writeFile(filepath.Join(run.dir, "azureml-setup", "killfile"), []byte(run.id), 0o644))
			s.event(run.url, run.id, "Canceled", "EndTime")
			s.eventually("the end of the canceled script", time.Minute, func() bool { return !alive(pid) })
			s.eventually("the end of Invocation.sh", time.Minute, func() bool {
				select {
				case err := <-run.exit:
					run.exit <- err
					return true
				default:
					return false
				}
			})
			s.Expect(s.readRun(run.url).Status).To(gomega.Equal("Canceled"), "the run stays Canceled when its script is dead")
		}},
		{"local.run.snapshot", func(s *session) {
			run := s.submitLocal()
			// This PATCH of the SDK comes while the run is under way.
			snapshot := uuid()
			s.data(http.MethodPatch, run.url, map[string]any{"runId": run.id, "properties": map[string]string{"ContentSnapshotId": snapshot}})
			s.ended(s.follow(run.url, nil), "Completed")
			s.Expect(s.readRun(run.url).Properties).To(gomega.HaveKeyWithValue("ContentSnapshotId", snapshot))
		}},
		{"local.run.definition", func(s *session) {
			w := s.workspace()
			r := s.multipart(w.experiment("execution")+"/localrun?runId=conformance_1_"+random(),
				part{filename: "definition.json", content: `{"Configuration": `}, part{filename: "aml_config.zip", content: zipped(s, w.configFiles())})
			s.status(r, http.StatusBadRequest)
		}},
		{"local.run.scriptless", func(s *session) {
			run := s.submitProject(projectFile{"other.py", "print(1)"})
			s.ended(s.follow(run.url, nil), "Failed")
		}},
		{"local.model.register", func(s *session) {
			run := s.submitLocal()
			s.ended(s.follow(run.url, nil), "Completed")
			name := "model" + random()
			s.Expect(s.register(name, run.id, "outputs/model.txt").Text("id")).To(gomega.Equal(name + ":1"))
		}},
		{"local.run.token", func(s *session) {
			s.localHost()
			u := s.workspace().experiment("execution") + "/localrun?runId=conformance_1_" + random()
			body, ctype := multipartBody(s, part{filename: "definition.json", content: s.definition("local")})
			r := s.do(wire.Request{Method: http.MethodPost, URL: u, NoToken: true, Body: body, Header: http.Header{"Content-Type": {ctype}}})
			s.status(r, http.StatusUnauthorized)
		}},
	}
}
