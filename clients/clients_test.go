// Package clients_test runs unmodified clients against the emulator: the
// azureml SDK of 2018 and of today, az of 2018 and of today. Each client is a
// virtual environment that `make clients` prepares; a test whose client is not
// there says so and is skipped.
package clients_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator"
)

// client names a virtual environment: by a variable, else in the repository's .venv folder.
type client struct{ variable, folder string }

var (
	sdk2018 = client{"LAZULITE_SDK2018", "sdk2018"}
	sdkNew  = client{"LAZULITE_SDKNEW", "sdknew"}
	az2018  = client{"LAZULITE_AZ2018", "az2018"}
	azNew   = client{"LAZULITE_AZNEW", "aznew"}
)

func (c client) bin(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(c.variable)
	if dir == "" {
		dir = filepath.Join("..", ".venv", c.folder)
	}
	bin, err := filepath.Abs(filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "python")); err != nil {
		t.Skipf("no %s environment: make clients prepares it where its Python is to be had (or set %s)", c.folder, c.variable)
	}
	return bin
}

func up(t *testing.T, change ...func(*emulator.Config)) *emulator.Emulator {
	t.Helper()
	cfg := emulator.Config{Dir: t.TempDir(), Environment: hostEnv("PATH"), Around: openapitest.Around(t)}
	for _, c := range change {
		c(&cfg)
	}
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// environ is the client's world: a home of its own, the emulator's variables, its bin first on PATH.
func environ(t *testing.T, e *emulator.Emulator, bin string) []string {
	t.Helper()
	home := t.TempDir()
	env := []string{"HOME=" + home, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "LANG=C.UTF-8", "TMPDIR=" + t.TempDir(),
		"PYTHONDONTWRITEBYTECODE=1"}
	for _, v := range e.Env() {
		env = append(env, v.Name+"="+v.Value)
	}
	return append(env, hostEnv("LAZULITE_TEST_CONDA")...)
}

// hostEnv is how packages and interpreters are found on this machine, where
// that is said by variables, and the variables named.
func hostEnv(names ...string) []string {
	var env []string
	for _, name := range append([]string{"PIP_CERT", "PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT", "PYENV_ROOT", "UV_INDEX_URL"}, names...) {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// python runs a script of testdata, with the words that follow its name.
func python(t *testing.T, c client, script string, change ...func(*emulator.Config)) {
	t.Helper()
	bin := c.bin(t)
	t.Parallel()
	e := up(t, change...)
	words := strings.Fields(script)
	path, err := filepath.Abs(filepath.Join("testdata", words[0]))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 28*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "python"), append([]string{path}, words[1:]...)...)
	cmd.Dir = t.TempDir() // the SDK leaves files where it runs
	cmd.Env = environ(t, e, bin)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Fatalf("%s: %v\n%s", script, err, tail(out, 12000))
	}
}

// sparkFolder is where Spark and YARN are on this machine.
func sparkFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LAZULITE_SPARK")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "lazulite", "spark")
	}
	if _, yarn, err := emulator.FindSpark(dir); err != nil {
		t.Skip(err)
	} else if yarn == "" {
		t.Skip("Spark was installed without YARN")
	}
	return dir
}

func tail(b []byte, n int) string {
	if len(b) > n {
		return fmt.Sprintf("... %d bytes ...\n%s", len(b)-n, b[len(b)-n:])
	}
	return string(b)
}

func TestSDK2018Workspace(t *testing.T) { python(t, sdk2018, "sdk2018_workspace.py") }
func TestSDK2018Local(t *testing.T)     { python(t, sdk2018, "sdk2018_local.py") }
func TestSDK2018VM(t *testing.T)        { python(t, sdk2018, "sdk2018_vm.py") }
func TestSDK2018BatchAI(t *testing.T)   { python(t, sdk2018, "sdk2018_batchai.py") }
func TestSDK2018ACI(t *testing.T)       { python(t, sdk2018, "sdk2018_aci.py") }
func TestSDK2018HDInsight(t *testing.T) {
	dir := sparkFolder(t)
	python(t, sdk2018, "sdk2018_hdinsight.py", func(c *emulator.Config) { c.Spark = dir })
}
func TestSDK2018Deploy(t *testing.T) { python(t, sdk2018, "sdk2018_deploy.py") }
func TestSDK2018CLI(t *testing.T)    { python(t, sdk2018, "sdk2018_cli.py") }
func TestSDK2018SSL(t *testing.T)    { python(t, sdk2018, "sdk2018_ssl.py") }
