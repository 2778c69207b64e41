package execution_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// imageWorld is a machine whose package clients ask no index, and with a home of its own.
func imageWorld(t *testing.T, packages ...string) (w *world, env []string) {
	t.Helper()
	dir := wheels(t, packages...)
	return newWorld(t), []string{"HOME=" + t.TempDir(), "PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + dir, "UV_NO_INDEX=1", "UV_FIND_LINKS=" + dir, "PYENV_ROOT="}
}

var imageTag = regexp.MustCompile(`azureml/azureml_[0-9a-f]{32}`)

// removeImage has the image that a log names removed when the test ends.
func removeImage(t *testing.T, log string) (tag string) {
	t.Helper()
	if tag = imageTag.FindString(log); tag == "" {
		t.Fatalf("no image is named in\n%s", log)
	}
	t.Cleanup(func() { dockerOut(t, "rmi", "-f", tag) })
	return tag
}

func TestDockerEnvironment(t *testing.T) {
	base := baseImage(t)
	w, env := imageWorld(t, "scikit_probe", "other", "third", "fourth")
	// No other run of any test has these dependencies.
	config := runconfig(docker(map[string]any{"baseImage": base}),
		managed("scikit_probe=1", map[string]any{"pip": []any{"other==1.0", "-r more/requirements.txt"}}))
	project := map[string]string{"train.py": importing + "import third, fourth\nprint('also', third.WHO, fourth.WHO)\n",
		"more/requirements.txt": "third\n-r nested.txt\n", "more/nested.txt": fmt.Sprintf("fourth # %d\n", time.Now().UnixNano())}
	control := func(id string) string { return w.artifact(id + "/azureml-logs/60_control_log.txt") }
	ids := []string{"first-run", "second-run"}
	for _, id := range ids {
		w.invoke(w.localRun(id, config, project), env...)
	}
	made, logs := 0, ""
	for _, id := range ids {
		if r := w.waitEnd(id); r.Status != "Completed" {
			t.Fatalf("%s %v\n%s", r.Status, r.Error, control(id))
		}
		if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); !strings.Contains(log, "got scikit_probe other /azureml-envs/azureml_") || !strings.Contains(log, "also third fourth") {
			t.Errorf("%s: %s", id, log)
		}
		made += strings.Count(control(id), "Making the image")
		logs += control(id)
	}
	tag := removeImage(t, logs)
	if made != 1 || !strings.Contains(logs, "Using the image "+tag+", made before from the same base image and dependencies.") {
		t.Errorf("made %d times:\n%s", made, logs)
	}
	if labels := dockerOut(t, "image", "inspect", "--format", "{{json .Config.Labels}}", tag); !strings.Contains(labels, `"dev.lazulite.image":"environment"`) || !strings.Contains(labels, `"dev.lazulite.setup":""`) {
		t.Errorf("labels %s", labels)
	}
	of := func(image, what string) string {
		return dockerOut(t, "image", "inspect", "--format", "{{json .Config."+what+"}}", image)
	}
	for _, what := range []string{"Cmd", "Env", "User"} {
		if of(tag, what) != of(base, what) {
			t.Errorf("%s: %s, not %s as the base image's", what, of(tag, what), of(base, what))
		}
	}
	if left := dockerOut(t, "run", "--rm", "--entrypoint", "ls", tag, "/"); strings.Contains(left, "azureml-build") {
		t.Errorf("in the image are %s", left)
	}
	// What another file says makes another image.
	project["more/nested.txt"] += "scikit_probe\n"
	w.invoke(w.localRun("third-run", config, project), env...)
	w.waitEnd("third-run")
	if other := removeImage(t, control("third-run")); other == tag {
		t.Errorf("the same image %s", tag)
	}
}

func TestDockerBrokenEnvironment(t *testing.T) {
	base := baseImage(t)
	for _, c := range []struct {
		name, reason string
		change       func(map[string]any)
	}{
		{"unknown package", "no-such-package", managed("no-such-package")},
		{"no such Python", "no Python 9 is on this machine", managed("python=9.1", "other")},
		{"no specification", "is not a conda package specification", managed("=1.0=")},
		{"not prepared", "is not prepared, and autoPrepareEnvironment is false", func(c map[string]any) {
			managed("other", "scikit_probe>0.5")(c)
			c["autoPrepareEnvironment"] = false
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, env := imageWorld(t, "other")
			dir := w.localRun(run, runconfig(docker(map[string]any{"baseImage": base}), c.change), map[string]string{"train.py": ""})
			w.invoke(dir, env...)
			if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v, want %q\n%s", r.Status, r.Error, c.reason, w.artifact(run+"/azureml-logs/60_control_log.txt"))
			}
			wantNoContainer(t, dir)
		})
	}
}

// slowSource is a package that comes as its source and takes its time to be made.
func slowSource(t *testing.T, dir string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	archive := tar.NewWriter(z)
	for name, content := range map[string]string{
		"slow-1.0/setup.py": "import time\ntime.sleep(300)\n", "slow-1.0/PKG-INFO": "Metadata-Version: 1.0\nName: slow\nVersion: 1.0\n",
	} {
		_ = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		_, _ = archive.Write([]byte(content))
	}
	_, _ = archive.Close(), z.Close()
	writeFile(t, filepath.Join(dir, "slow-1.0.tar.gz"), b.String(), 0o644)
}

// TestDockerBuildEnds ensures that nothing of an image's making is left when its run is cancelled in its midst, or dies.
func TestDockerBuildEnds(t *testing.T) {
	base := baseImage(t)
	for _, by := range []string{"killfile", "kill -9"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			w, env := imageWorld(t, "other")
			for _, v := range env {
				if dir, ok := strings.CutPrefix(v, "PIP_FIND_LINKS="); ok {
					slowSource(t, dir)
				}
			}
			dir := w.localRun(run, runconfig(docker(map[string]any{"baseImage": base}), managed(map[string]any{"pip": []any{"slow"}})), map[string]string{"train.py": ""})
			w.invoke(dir, env...)
			w.wait("the build", 60*time.Second, func() bool {
				return strings.Contains(string(w.artifacts[run+"/azureml-logs/60_control_log.txt"]), "pip install")
			})
			want := "Canceled"
			if by == "killfile" {
				writeFile(t, filepath.Join(dir, "azureml-setup", "killfile"), run, 0o644)
			} else {
				want = "Failed"
				kill9(t, dir, "control.py")
			}
			if r := w.waitEnd(run); r.Status != want {
				t.Errorf("%s %v", r.Status, r.Error)
			}
			wantNoContainer(t, dir)
			clocktest.Until(t, "end of the kit", time.Minute, func() bool {
				left, _ := filepath.Glob(filepath.Join(dir, "azureml-setup", "image-*"))
				return len(left) == 0
			})
			if _, err := os.Stat(filepath.Join(dir, "train.py")); err != nil {
				t.Error(err)
			}
		})
	}
}
