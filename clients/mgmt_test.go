package clients_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

var mgmt = client{"LAZULITE_MGMT", "mgmt"}

func TestMgmtVM(t *testing.T)         { python(t, mgmt, "mgmt_vm.py") }
func TestMgmtContainers(t *testing.T) { python(t, mgmt, "mgmt_containers.py") }

// TestGoSDK builds a stranger's module on today's Azure SDK for Go, which takes
// a while the first time, and runs it.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	bin := filepath.Join(t.TempDir(), "gosdk")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	build.Dir = filepath.Join("testdata", "gosdk")
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := build.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "dial tcp") || strings.Contains(string(out), "404 Not Found") || strings.Contains(string(out), "no such host") {
			t.Skipf("the SDK's modules can't be had here: %s", tail(out, 500))
		}
		t.Fatalf("go build: %v\n%s", err, tail(out, 4000))
	}
	e := up(t)
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = environ(t, e, filepath.Dir(bin))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Fatalf("%v\n%s", err, tail(out, 12000))
	}
}

// TestMgmtLivy has PyPI's livy use a cluster's Livy, on the Spark that `lazulite spark install` got.
func TestMgmtLivy(t *testing.T) {
	spark := sparkFolder(t)
	python(t, mgmt, "mgmt_livy.py", func(c *emulator.Config) { c.Spark = spark })
}

// TestSparkmagic has the magics that notebooks on HDInsight use.
func TestSparkmagic(t *testing.T) {
	spark := sparkFolder(t)
	python(t, client{"LAZULITE_SPARKMAGIC", "sparkmagic"}, "sparkmagic_livy.py", func(c *emulator.Config) { c.Spark = spark })
}
