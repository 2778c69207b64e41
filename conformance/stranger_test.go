package conformance_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/conformance/testdata/poor"
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

	srv := httptest.NewServer(poor.New())
	defer srv.Close()
	binary := filepath.Join(dir, "stranger.test")
	build := exec.Command("go", "test", "-mod=mod", "-c", "-o", binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("a stranger can't compile the suite: %v\n%s", err, out)
	}
	run := exec.Command(binary, "-ginkgo.no-color", "-ginkgo.label-filter=core")
	run.Dir = dir
	run.Env = append(os.Environ(), "STRANGER_ENDPOINT="+srv.URL)
	out, err := run.CombinedOutput()
	if err == nil {
		t.Error("Ginkgo passed the poor implementation")
	}
	for _, want := range []string{"core.auth.missing", `"status": "fail"`, `"status": "unsupported"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "[PANICKED]") {
		t.Errorf("a spec panicked:\n%s", out)
	}
}
