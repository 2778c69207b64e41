package execution_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wheels makes a folder of tiny packages, so that no index is asked.
func wheels(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		info := name + "-1.0.dist-info/"
		b := zipped(t, map[string]string{
			name + ".py":      "WHO = '" + name + "'\n",
			info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
			info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
			info + "RECORD":   name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n",
		})
		writeFile(t, filepath.Join(dir, name+"-1.0-py3-none-any.whl"), string(b), 0o644)
	}
	return dir
}

func managed(deps ...any) func(map[string]any) {
	return func(c map[string]any) {
		python := c["environment"].(map[string]any)["python"].(map[string]any)
		python["userManagedDependencies"] = false
		python["condaDependencies"] = map[string]any{"name": "project_environment", "dependencies": deps}
	}
}

// offline is an environment in which pip asks no index and the home is empty.
func offline(t *testing.T, home, dir string, path ...string) []string {
	t.Helper()
	python := pythons(t)[0]
	bin := append(path, filepath.Dir(python), "/usr/bin", "/bin")
	return []string{"HOME=" + home, "PATH=" + strings.Join(bin, ":"), "PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + dir, "PYENV_ROOT=" + os.Getenv("PYENV_ROOT")}
}

func minor(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(pythons(t)[0], "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

const importing = "import sys, scikit_probe, other\nprint('got', scikit_probe.WHO, other.WHO, sys.prefix)\n"

func TestManagedEnvironment(t *testing.T) {
	dir, home := wheels(t, "scikit_probe", "other"), t.TempDir()
	env := offline(t, home, dir)
	config := runconfig(managed("python="+minor(t)+".99", "scikit_probe=1", map[string]any{"pip": []any{"other==1.0"}}))
	control := func(w *world, id string) string { return w.artifact(id + "/azureml-logs/60_control_log.txt") }
	start := func(w *world, id string) {
		w.invoke(w.localRun(id, config, map[string]string{"train.py": importing}), env...)
	}

	// A builder that died left this behind.
	w := newWorld(t)
	start(w, "first-run")
	start(w, "second-run")
	made := 0
	for _, id := range []string{"first-run", "second-run"} {
		if r := w.waitEnd(id); r.Status != "Completed" {
			t.Fatalf("%s %v\n%s", r.Status, r.Error, control(w, id))
		}
		log := w.artifact(id + "/azureml-logs/80_driver_log.txt")
		if !strings.Contains(log, "got scikit_probe other "+filepath.Join(home, ".azureml", "envs", "azureml_")) {
			t.Errorf("%s: %s", id, log)
		}
		made += strings.Count(control(w, id), "Making the environment")
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	logs := control(w, "first-run") + control(w, "second-run")
	if !strings.Contains(logs, "made before from the same dependencies") {
		t.Errorf("no word of the reuse:\n%s", logs)
	}
	if !strings.Contains(logs, "python="+minor(t)+".99 is not to be had here: using "+minor(t)) {
		t.Errorf("no word of the other Python:\n%s", logs)
	}
	if locks, _ := filepath.Glob(filepath.Join(home, ".azureml", "locks", "azureml_*.lock")); len(locks) != 1 {
		t.Errorf("locks %v", locks)
	}

	// What a builder that died left is not used.
	ready, _ := filepath.Glob(filepath.Join(home, ".azureml", "envs", "*", "azureml-environment.json"))
	if len(ready) != 1 {
		t.Fatalf("environments %v", ready)
	}
	if err := os.Remove(ready[0]); err != nil {
		t.Fatal(err)
	}
	start(w, "third-run")
	if r := w.waitEnd("third-run"); r.Status != "Completed" || !strings.Contains(control(w, "third-run"), "Making the environment") {
		t.Errorf("%s %v\n%s", r.Status, r.Error, control(w, "third-run"))
	}
}

func TestBrokenEnvironment(t *testing.T) {
	dir := wheels(t, "other")
	for _, c := range []struct {
		name, reason string
		change       func(map[string]any)
		env          []string
	}{
		{"unknown package", "No matching distribution found for no-such-package", managed("python="+minor(t), "no-such-package"), nil},
		{"unknown version", "No matching distribution found for other==7", managed("python="+minor(t), map[string]any{"pip": []any{"other==7"}}), nil},
		{"no index", "no package index answers", managed("python="+minor(t), "no-such-package"),
			[]string{"PIP_NO_INDEX=", "PIP_RETRIES=1", "PIP_INDEX_URL=http://127.0.0.1:1/simple", "UV_INDEX_URL=http://127.0.0.1:1/simple", "UV_HTTP_RETRIES=0"}},
		{"no such Python", "no Python 9 is on this machine", managed("python=9.1", "other"), nil},
		{"no specification", "is not a conda package specification", managed("python="+minor(t), "=1.0="), nil},
		{"not prepared", "autoPrepareEnvironment is false", func(c map[string]any) {
			managed("python="+minor(t), "other")(c)
			c["autoPrepareEnvironment"] = false
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, home := newWorld(t), t.TempDir()
			w.invoke(w.localRun(run, runconfig(c.change), map[string]string{"train.py": ""}), append(offline(t, home, dir), c.env...)...)
			if r := w.waitEnd(run); r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v\n%s", r.Status, r.Error, w.artifact(run+"/azureml-logs/60_control_log.txt"))
			}
			if left, _ := filepath.Glob(filepath.Join(home, ".azureml", "envs", "*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestConda ensures that a conda whose channels answer is used, and one whose channels do not is not.
func TestConda(t *testing.T) {
	python := pythons(t)[0]
	conda := func(t *testing.T, search, create string) string {
		bin := t.TempDir()
		writeFile(t, filepath.Join(bin, "conda"), fmt.Sprintf("#!/bin/sh\ncase $1 in search) %s;; esac\n[ \"$1 $2 $3 $5\" = 'env create -p -f' ] || exit 64\ngrep -q '\"dependencies\"' \"$6\" || exit 65\n%s\n", search, create), 0o755)
		return bin
	}
	for _, c := range []struct{ name, search, create, status, reason, log string }{
		{"used", "exit 0", `mkdir -p "$4/bin" && ln -s ` + python + ` "$4/bin/python"; echo solved`, "Completed", "", "solved"},
		{"fails", "exit 0", "echo 'ResolvePackageNotFound: - nothing'; exit 1", "Failed", "ResolvePackageNotFound: - nothing", ""},
		{"no channels", "exit 1", "exit 1", "Completed", "", "its channels do not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			env := offline(t, t.TempDir(), wheels(t, "other"), conda(t, c.search, c.create))
			w.invoke(w.localRun(run, runconfig(managed("python="+minor(t))), map[string]string{"train.py": "print('x')"}), env...)
			r := w.waitEnd(run)
			log := w.artifact(run + "/azureml-logs/60_control_log.txt")
			if r.Status != c.status || c.reason != "" && !strings.Contains(r.Error.Message, c.reason) || !strings.Contains(log, c.log) {
				t.Errorf("%s %v\n%s", r.Status, r.Error, log)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		w := newWorld(t)
		home := t.TempDir()
		dir := w.localRun(run, runconfig(managed("python="+minor(t))), map[string]string{"train.py": ""})
		w.invoke(dir, offline(t, home, t.TempDir(), conda(t, "exit 0", `mkdir -p "$4"; echo building; sleep 300`))...)
		w.wait("building", 0x7fffffff, func() bool {
			return strings.Contains(string(w.artifacts[run+"/azureml-logs/60_control_log.txt"]), "building")
		})
		writeFile(t, filepath.Join(dir, "azureml-setup", "killfile"), run, 0o644)
		if r := w.waitEnd(run); r.Status != "Canceled" {
			t.Errorf("%s %v", r.Status, r.Error)
		}
		if left, _ := filepath.Glob(filepath.Join(home, ".azureml", "envs", "*")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestSpecifications checks the translation from conda's names and versions to pip's, and the choice of a Python.
func TestSpecifications(t *testing.T) {
	script := `
import sys; sys.path.insert(0, sys.argv[1])
import interpreters, packages
assert packages.of_processor("tensorflow-gpu==1.10.0") == ("tensorflow==1.10.0", "tensorflow-gpu: no NVIDIA GPU is on this machine; installing tensorflow")
assert packages.of_processor("tensorflow_gpu") == ("tensorflow", "tensorflow_gpu: no NVIDIA GPU is on this machine; installing tensorflow")
for line in ("tensorflow==1.10.0", "-r file.txt", "", "./wheel.whl"): assert packages.of_processor(line) == (line, None), line
missing = "ERROR: Could not find a version that satisfies the requirement %s%s\nERROR: No matching distribution found"
versions = ["1.0.0", "1.0.1"]
assert packages.missed(missing % ("torch==0.4.0.*", " (from versions: 0.1.2.post2, 1.0.0, 1.0.1)")) == ("torch==0.4.0.*", versions)
assert packages.missed(missing % ("torch==0.4.0", " (from -r r.txt (line 1)) (from versions: none)")) == ("torch==0.4.0", [])
assert packages.missed(missing % ("torch==0.4.0.*", "")) == ("torch==0.4.0.*", None)
assert packages.missed("ERROR: no network") == (None, None)
for requirement, want in (("torch==0.4.0.*", "torch==1.0.0"), ("torch==0.4.0", "torch==1.0.0"), ("torch==3.1", "torch==1.0.1"), ("torch>=3", None), ("torch", None)):
    assert packages.nearest(requirement, versions) == want, requirement
assert packages.nearest("torch==9", []) is None and packages.nearest("torch==9", None) is None
def pip(text, gpu=False): return packages.to_pip(packages.Spec(text), gpu)[0]
for text, want in [
    ("scikit-learn", "scikit-learn"), ("numpy=1.15", "numpy==1.15.*"), ("numpy==1.15.4", "numpy==1.15.4"),
    ("numpy=1.15.4=py36_0", "numpy==1.15.4"), ("numpy 1.15.4", "numpy==1.15.4"), ("numpy 1.15.*", "numpy==1.15.*"),
    ("numpy>=1.11,<2", "numpy>=1.11,<2"), ("numpy >=1.11", "numpy>=1.11"), ("conda-forge::PyYAML=3", "PyYAML==3.*"),
    ("pytorch=0.4", "torch==0.4.*"), ("opencv", "opencv-python"), ("py-xgboost", "xgboost"), ("mkl", None),
    ("tensorflow-gpu=1.10", "tensorflow==1.10.*")]:
    assert pip(text) == want, (text, pip(text))
assert pip("tensorflow-gpu", True) == "tensorflow-gpu"
for lines, want in [(["torch", "azureml-core"], True), (["azureml-core==0.1.68"], False), (["azureml-core", "azureml-sdk>=1.0"], False), (["torch"], False), ([], False)]:
    assert packages.of_2018(lines) is want, lines
have = [((2, 7, 18), "a"), ((3, 6, 15), "b"), ((3, 7, 1), "c"), ((3, 7, 16), "d"), ((3, 10, 2), "e")]
for text, want in [("python=3.6.2", "b"), ("python=3.7", "d"), ("python==3.7.1", "c"), ("python=3.5", "b"), ("python=3.8.1", "e"),
                   ("python=3.12", "e"), ("python>=3.6,<3.8", "d"), ("python=2.7", "a"), ("python", "e"), ("python=3", "e")]:
    assert interpreters.choose(packages.Spec(text).bounds, have)[1] == want, text
try:
    interpreters.choose([("=", "4.0")], have); raise SystemExit("python 4 was found")
except interpreters.NoInterpreter: pass
for bad in ("", "=1", "a b c d", "x>>1"):
    try: packages.Spec(bad)
    except packages.BadSpec: continue
    raise SystemExit("accepted " + repr(bad))
`
	for _, python := range pythons(t) {
		if out, err := exec.Command(python, "-B", "-c", script, "control").CombinedOutput(); err != nil && !strings.Contains(python, "2.7") {
			t.Errorf("%s: %s", python, out)
		}
	}
}
