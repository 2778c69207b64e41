package clients_test

import (
	"os/exec"
	"testing"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// TestSDK2018Spark has runs of PySpark on one machine: with this host's Spark, and in the image that has one.
func TestSDK2018Spark(t *testing.T) {
	dir := sparkFolder(t)
	for _, c := range []struct {
		name, target string
		inContainers bool // the VM is one
		needsImage   bool
	}{
		{"local", "local", false, false},
		{"local in Docker", "local-docker", false, true},
		{"VM of processes", "vm", false, false},
		{"Docker on a VM of processes", "vm-docker", false, true},
		{"VM that is a container", "vm", true, true},
		{"Docker on a VM that is a container", "vm-docker", true, true},
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
