package pool_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/fakes/batchai/pool"
)

// openDocker is an engine for a test, or skips it with the reason why there can be none.
func openDocker(t testing.TB, dir string) *docker.Engine {
	t.Helper()
	e, err := docker.New(context.Background(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: filepath.Join(dir, "docker"), Keep: true})
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if has, err := e.Images().HasBase(context.Background()); err != nil || !has {
		_ = e.Close(context.Background())
		t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=dev.lazulite.instance="+e.Instance()).Output(); err == nil && len(out) > 0 {
			t.Errorf("containers are left: %s", out)
		}
	})
	return e
}

func TestDocker(t *testing.T) {
	dir := t.TempDir()
	e := openDocker(t, dir)
	r := newReal(t, e, dir)
	defer r.shut()
	suite(t, r, "", mpiLibrary(t, r))

	t.Run("nodes reach each other", func(t *testing.T) {
		r.submit(task("ssh", 3, shell(`for h in $(echo $AZ_BATCH_HOST_LIST | tr , ' '); do ssh $h hostname; done`)))
		if s := r.done("ssh"); s.State != pool.JobSucceeded || strings.Count(r.output("ssh", "stdout.txt"), "tvm-") != 3 || !strings.Contains(r.output("ssh", "stderr.txt"), "Permanently added") {
			t.Errorf("%+v\n%s\n%s", s, r.output("ssh", "stdout.txt"), r.output("ssh", "stderr.txt"))
		}
	})
	t.Run("container", func(t *testing.T) {
		j := task("image", 1, shell("ls $AZ_BATCHAI_JOB_MOUNT_ROOT $AZ_BATCHAI_MOUNT_ROOT | tr '\n' ' '; cat $AZ_BATCHAI_JOB_TEMP/p"))
		j.Preparation = "echo prepared >$AZ_BATCHAI_JOB_TEMP/p"
		j.Container = &pool.Container{Image: "ubuntu"}
		r.submit(j)
		if s := r.done("image"); s.State != pool.JobSucceeded || !strings.HasSuffix(r.output("image", "stdout.txt"), "data prepared\n") {
			t.Errorf("%+v: %q %s", s, r.output("image", "stdout.txt"), r.output("image", "stderr.txt"))
		}
		j = task("image2", 2, pool.Toolkit{Type: pool.CustomMPI, CommandLine: "hostname"})
		j.Container = &pool.Container{Image: "ubuntu"}
		r.submit(j)
		if s := r.done("image2"); s.State != pool.JobSucceeded || strings.Count(r.output("image2", "stdout.txt"), "tvm-") != 2 {
			t.Errorf("%+v: %q %s", s, r.output("image2", "stdout.txt"), r.output("image2", "stderr.txt"))
		}
		j = task("nowhere", 1, shell("true"))
		j.Container = &pool.Container{Image: "nobody.invalid/none:1"}
		r.submit(j)
		if s := r.done("nowhere"); errorCode(s) != "FailedStartingContainer" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a node dies", func(t *testing.T) {
		r.submit(task("dies", 2, shell("echo begun; sleep 300")))
		r.await("its first line", time.Minute, func() bool { return r.output("dies", "stdout.txt") == "begun\n" })
		node := r.job("dies").Nodes[0]
		id, err := exec.Command("docker", "ps", "-q", "--filter", "label=dev.lazulite.instance="+e.Instance(), "--filter", "label=dev.lazulite.name=node-"+node).Output()
		if err != nil || len(id) == 0 {
			t.Skipf("docker ps: %v", err)
		}
		if out, err := exec.Command("docker", "kill", strings.TrimSpace(string(id))).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if s := r.done("dies"); s.State != pool.JobFailed || errorCode(s) != "NodeLost" {
			t.Errorf("%+v", s)
		}
		t.Logf("%+v", r.job("dies").Errors)
		r.await("an unusable node", time.Minute, func() bool { return counts(r.cluster("c")) == "2 idle 1 unusable" })
		if err := r.SetScale("c", manual(2, "")); err != nil {
			t.Fatal(err)
		}
		r.await("it is gone", time.Minute, func() bool { return counts(r.cluster("c")) == "2 idle" })
	})
}

// mpiLibrary puts mpi4py for the image's Python on the volume and gives that Python's name; "" if it isn't to be had.
func mpiLibrary(t *testing.T, r *real) string {
	t.Helper()
	if testing.Short() {
		return ""
	}
	lib := filepath.Join(r.volumes, "data", "lib")
	out, err := exec.Command("python3", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", lib, "--python-version", "3.11", "--only-binary=:all:", "mpi4py").CombinedOutput()
	if err != nil {
		t.Logf("mpi4py: %v %s", err, out)
		return ""
	}
	wrapper := "#!/bin/sh\nPYTHONPATH=$AZ_BATCHAI_MOUNT_ROOT/data/lib exec python3 \"$@\"\n"
	if err := os.WriteFile(filepath.Join(r.volumes, "data", "python"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	return "$AZ_BATCHAI_MOUNT_ROOT/data/python"
}
