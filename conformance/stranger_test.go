package conformance_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/conformance"
)

// A module that isn't ours compiles the suite, runs it under Ginkgo by Describe, and gets to know what failed.
func TestStranger(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join("testdata", "stranger", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A copy, so that the requirements that go adds stay out of the source tree.
	write("go.mod", []byte(strings.Replace(string(mod), "../../..", root, 1)))
	src, err := os.ReadFile(filepath.Join("testdata", "stranger", "stranger_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	write("stranger_test.go", src)
	sums, err := os.ReadFile(filepath.Join("..", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", sums)

	binary := filepath.Join(dir, "stranger.test")
	build := exec.Command("go", "test", "-mod=mod", "-c", "-o", binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("a stranger can't compile the suite: %v\n%s", err, out)
	}
	run := func(cfg conformance.Config, filter string) (string, error) {
		cmd := exec.Command(binary, "-ginkgo.no-color", "-ginkgo.label-filter="+filter)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "AMLC_ENDPOINT=" + cfg.Endpoint, "AMLC_AUTHORITY=" + cfg.Authority, "AMLC_PROXY=" + cfg.Proxy, "AMLC_CA_FILE=" + cfg.CAFile,
			"AMLC_TENANT=" + cfg.Tenant, "AMLC_CLIENT_ID=" + cfg.ClientID, "AMLC_CLIENT_SECRET=" + cfg.ClientSecret, "AMLC_SUBSCRIPTION=" + cfg.Subscription,
			"AMLC_BUDGET_OPERATION=" + cfg.Budget.Operation.String(), "AMLC_BUDGET_COST=-1"}
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "[PANICKED]") {
			t.Errorf("a spec panicked:\n%s", out)
		}
		return string(out), err
	}

	t.Run("our emulator", func(t *testing.T) {
		out, err := run(emulated(t, ""), "core || /^local.run/")
		if err != nil || !strings.Contains(out, "0 Failed") || !strings.Contains(out, `"status": "pass"`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("the poor implementation", func(t *testing.T) {
		cfg, _ := poorConfig(t)
		out, err := run(cfg, "core")
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("Ginkgo on the poor implementation: %v", err)
		}
		for _, want := range []string{"core.auth.missing", `"status": "fail"`, `"status": "unsupported"`} {
			if !strings.Contains(out, want) {
				t.Errorf("the output lacks %q:\n%s", want, out)
			}
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		cfg, _ := poorConfig(t)
		cfg.Endpoint = "http://127.0.0.1:1"
		if out, err := run(cfg, "core"); err == nil || !strings.Contains(out, "can't be reached") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
