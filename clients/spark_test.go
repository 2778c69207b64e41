package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// TestSDK2018Spark has runs of PySpark on one machine, or in a container group: with this host's Spark, and in the image that has one.
func TestSDK2018Spark(t *testing.T) {
	dir := sparkFolder(t)
	for _, c := range []struct {
		name, target string
		inContainers bool // the VM is one, or the group has one
		needsImage   bool
	}{
		{"local", "local", false, false},
		{"local in Docker", "local-docker", false, true},
		{"VM of processes", "vm", false, false},
		{"Docker on a VM of processes", "vm-docker", false, true},
		{"VM that is a container", "vm", true, true},
		{"Docker on a VM that is a container", "vm-docker", true, true},
		{"container group of processes", "aci", false, false},
		{"container group", "aci", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.needsImage {
				sparkImage(t)
			}
			python(t, sdk2018, "sdk2018_spark.py "+c.target, func(cfg *emulator.Config) {
				cfg.Spark, cfg.StandIn = dir, docker.DefaultTable().Lookup
				if c.inContainers {
					cfg.MakeEngine = func(dir string) (engine.Engine, error) { return dockerEngine(t, dir) }
				}
			})
		})
	}
}

// sparkImage skips the test, with the reason, where the image with Spark is not to be had.
func sparkImage(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("no Docker on this machine: %v %s", err, out)
	}
	if out, err := exec.Command("docker", "run", "--rm", docker.SparkImage, "test", "-x", "/opt/spark/bin/spark-submit").CombinedOutput(); err != nil {
		t.Skipf("no image %s with Spark: lazulite images build --spark makes it (%v %s)", docker.SparkImage, err, out)
	}
}

// TestNotebookTrainInSpark has 05.train-in-spark of the notebooks of October 2018
// run whole, on a container group and on a cluster. LAZULITE_NOTEBOOKS is a
// checkout of Azure/MachineLearningNotebooks at 2e4eb878.
func TestNotebookTrainInSpark(t *testing.T) {
	dir, notebooks := sparkFolder(t), os.Getenv("LAZULITE_NOTEBOOKS")
	if notebooks == "" {
		t.Skip("LAZULITE_NOTEBOOKS names no checkout of Azure/MachineLearningNotebooks at 2e4eb878")
	}
	runner, err := filepath.Abs(filepath.Join("..", "scripts", "notebook"))
	if err != nil {
		t.Fatal(err)
	}
	python(t, sdk2018, "sdk2018_notebook05.py "+runner+" "+notebooks, func(c *emulator.Config) { c.Spark = dir })
}
