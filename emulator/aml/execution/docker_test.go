package execution_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/clock/clocktest"
)

const secretWord = "hush-hush-0815"

// docker asks for a container; change is put over its section.
func docker(section map[string]any) func(map[string]any) {
	return func(c map[string]any) {
		all := map[string]any{"enabled": true, "baseImage": "an/image:1", "sharedVolumes": true, "gpuSupport": false, "arguments": []any{},
			"baseImageRegistry": map[string]any{"address": nil, "username": nil, "password": nil}}
		for k, v := range section {
			all[k] = v
		}
		c["environment"].(map[string]any)["docker"] = all
	}
}

func registry(address, user, password any) map[string]any {
	return map[string]any{"baseImageRegistry": map[string]any{"address": address, "username": user, "password": password}}
}

func TestDockerRefusals(t *testing.T) {
	w := newWorld(t)
	const at = "Configuration.environment.docker."
	for _, c := range []struct {
		name    string
		section map[string]any
		target  string
		message string
	}{
		{"no image", map[string]any{"baseImage": nil}, at + "baseImage", "must name an image"},
		{"an option for an image", map[string]any{"baseImage": "--privileged"}, at + "baseImage", "no name of an image"},
		{"image of a wrong type", map[string]any{"baseImage": 5}, at + "baseImage", "number"},
		{"arguments no list", map[string]any{"arguments": "-v"}, at + "arguments", "string"},
		{"flag of a wrong type", map[string]any{"sharedVolumes": "yes"}, at + "sharedVolumes", "string"},
		{"dockerfile", map[string]any{"baseDockerfile": "FROM x"}, at + "baseDockerfile", "not emulated"},
		{"build context", map[string]any{"buildContext": map[string]any{"location": "x"}}, at + "buildContext", "not emulated"},
		{"user without a password", registry("r.example.com", "u", nil), at + "baseImageRegistry.password", "has no password"},
		{"password without a user", registry("r.example.com", nil, "p"), at + "baseImageRegistry.username", "must be given"},
		{"address with an option", registry("--x", nil, nil), at + "baseImageRegistry.address", "no address"},
		{"user with an option", registry("r", "-x", "p"), at + "baseImageRegistry.username", "what none can"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.post("localrun?runId="+run, definitionPart(t, runconfig(docker(c.section)), nil), part{"aml_config.zip", zipped(t, configZip)})
			wantError(t, rec, 400, c.target, c.message)
			if w.runs[run] != nil {
				t.Error("a run was made")
			}
		})
	}
}

// TestDockerPassword ensures that a registry's password is nowhere but in the
// file of secrets that goes to the machine, and there for no longer than it takes.
func TestDockerPassword(t *testing.T) {
	config := func(target string) map[string]any {
		return runconfig(docker(registry("https://r.example.com/", "robot", secretWord)), set(target, "target"))
	}
	t.Run("local", func(t *testing.T) {
		w := newWorld(t)
		dir := w.localRun(run, config("local"), map[string]string{"train.py": ""})
		definition := w.runs[run].RunDefinition
		if bytes.Contains(definition, []byte(secretWord)) || !bytes.Contains(definition, []byte("robot")) || !bytes.Contains(definition, []byte(`"interpreterPath":"python3"`)) {
			t.Errorf("the definition in history: %s", definition)
		}
		if found := files(t, dir, secretWord); len(found) != 1 || filepath.Base(found[0]) != "credentials.json" {
			t.Errorf("the password is in %v", found)
		}
		job, _ := os.ReadFile(filepath.Join(dir, "azureml-setup", "job.json"))
		if !bytes.Contains(job, []byte(`"image": "r.example.com/an/image:1"`)) {
			t.Errorf("job: %s", job)
		}
	})
	t.Run("remote", func(t *testing.T) {
		w, m := newRemote(t)
		m.change(func() { m.down = true })
		id := w.submit(config("my-vm"), map[string]string{"train.py": ""})
		docs, err := w.cfg.Store.List(context.Background(), "", "", 0)
		if err != nil || len(docs) == 0 {
			t.Fatal(docs, err)
		}
		for _, d := range docs {
			if bytes.Contains(d.Value, []byte(secretWord)) {
				t.Errorf("the password is in the document %s", d.Key)
			}
		}
		found := files(t, w.cfg.Dir, secretWord)
		if len(found) != 1 {
			t.Fatalf("the password is in %v", found)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		// Another process takes the run up, and still has it.
		w.close()
		w.open()
		m.change(func() { m.down = false })
		if r := w.waitEnd(id); r.Status != "Failed" {
			t.Errorf("%s %v", r.Status, r.Error)
		}
		w.drained(t)
		for _, dir := range []string{w.cfg.Dir, m.home} {
			if found := files(t, dir, secretWord); len(found) != 0 {
				t.Errorf("the password is left in %v", found)
			}
		}
	})
}

// files lists those below a folder that hold a text.
func files(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(text)) {
				found = append(found, name)
			}
		}
		return nil
	})
	return found
}

// stand is a docker command that notes what it is asked, and does as the shell text says.
func stand(t *testing.T, body string) (path, notes string) {
	t.Helper()
	dir := t.TempDir()
	notes = filepath.Join(dir, "notes")
	writeFile(t, filepath.Join(dir, "docker"), "#!/bin/bash\necho \"$@\" >>"+notes+"\n"+body, 0o755)
	return dir + ":" + filepath.Dir(pythons(t)[0]) + ":/usr/bin:/bin", notes
}

// withoutDocker is a PATH with what the control script needs, and no docker.
func withoutDocker(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "sh", "dirname", "mkdir", "chmod", "cat"} {
		for _, from := range []string{"/bin/", "/usr/bin/"} {
			if _, err := os.Stat(from + name); err == nil {
				_ = os.Symlink(from+name, filepath.Join(dir, name))
			}
		}
	}
	if err := os.Symlink(pythons(t)[0], filepath.Join(dir, "python3")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDockerAbsent has runs fail where Docker, its daemon, its images or its registry are not to be had.
func TestDockerAbsent(t *testing.T) {
	const absent = `image) echo "Error: No such image: $3" >&2; exit 1;;
`
	const works = `case "$1" in
version) echo 20.10;;
ps) ;;
context) echo unix:///elsewhere.sock;;
`
	for _, c := range []struct {
		name, docker string
		section      map[string]any
		reason       string
		notes        []string
	}{
		{"no docker", "", nil, "there is no 'docker' command on the PATH of this machine", nil},
		{"no daemon", `echo "Cannot connect to the Docker daemon at unix:///x" >&2; exit 1`, nil, "does not answer: Cannot connect to the Docker daemon at unix:///x", nil},
		{"no image, no registry", works + absent + `pull) echo "dial tcp: lookup an: no such host ERROR" >&2; exit 1;; esac`, nil,
			`The base image an/image:1 is not on this machine, and could not be pulled (dial tcp: lookup an: no such host ERROR). Run "lazulite images build"`, []string{"pull an/image:1"}},
		{"registry refuses", works + absent + `login) cat >/dev/null; echo "unauthorized: ` + secretWord + ` is wrong" >&2; exit 1;; esac`, registry("r.example.com", "robot", secretWord),
			"The registry r.example.com refuses the user robot: unauthorized: *** is wrong", []string{"login --username robot --password-stdin r.example.com"}},
		{"registry without the image", works + absent + `login) cat >"$DOCKER_CONFIG/config.json";;
pull) grep -q ` + secretWord + ` "$DOCKER_CONFIG/config.json" && echo "error: manifest unknown, by $DOCKER_HOST" >&2; exit 1;; esac`, registry("r.example.com", "robot", secretWord),
			"could not be pulled (error: manifest unknown, by unix:///elsewhere.sock)", []string{"pull r.example.com/an/image:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			path, notes := withoutDocker(t), ""
			if c.docker != "" {
				path, notes = stand(t, c.docker)
			}
			dir := w.localRun(run, runconfig(docker(c.section)), map[string]string{"train.py": ""})
			w.invoke(dir, "PATH="+path, "HOME="+t.TempDir(), "DOCKER_HOST=")
			r := w.waitEnd(run)
			if r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v, want %q", r.Status, r.Error, c.reason)
			}
			log := w.artifact(run + "/azureml-logs/60_control_log.txt")
			if !strings.Contains(log, "The run failed: ") || strings.Contains(log, secretWord) {
				t.Errorf("control log:\n%s", log)
			}
			waitState(t, dir, `"phase": "ended"`)
			clocktest.Until(t, "secrets to go", time.Minute, func() bool { return len(files(t, dir, secretWord)) == 0 })
			asked, _ := os.ReadFile(notes)
			for _, line := range c.notes {
				if !strings.Contains(string(asked), line+"\n") {
					t.Errorf("docker was not asked %q but:\n%s", line, asked)
				}
			}
			if strings.Contains(string(asked), secretWord) {
				t.Errorf("the password is on a command line:\n%s", asked)
			}
		})
	}
}

// TestDockerStandIn ensures that a run takes the image that stands in for one that is not there.
func TestDockerStandIn(t *testing.T) {
	path, notes := stand(t, `case "$1" in
version) echo 20.10;;
image) [ "$3" = my/base ] && echo '[{"Id":"sha256:abc","Config":null}]' || { echo "Error: No such image: $3" >&2; exit 1; };;
create) echo "create refused for $*" >&2; exit 1;;
esac`)
	w := newWorld(t, func(c *execution.Config) {
		c.StandIn = func(image string) (string, bool) { return "my/base", image == "an/image:1" }
	})
	dir := w.localRun(run, runconfig(docker(map[string]any{"arguments": []any{"-v", "/a:/b", "--rm", "--shm-size=2g"}})), map[string]string{"train.py": ""})
	w.invoke(dir, "PATH="+path, "HOME="+t.TempDir())
	if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, "The container could not be made: create refused") {
		t.Errorf("%s %v", r.Status, r.Error)
	}
	if log := w.artifact(run + "/azureml-logs/60_control_log.txt"); !strings.Contains(log, "my/base stands in for it") || !strings.Contains(log, "--rm are left out") {
		t.Errorf("control log:\n%s", log)
	}
	asked, _ := os.ReadFile(notes)
	if want := " --network host --mount type=bind,source=" + dir + ",target=/azureml-run -v /a:/b --shm-size=2g sha256:abc /azureml-run/azureml-setup/container_init.py\n"; !strings.Contains(string(asked), want) {
		t.Errorf("docker was not asked %q but:\n%s", want, asked)
	}
}
