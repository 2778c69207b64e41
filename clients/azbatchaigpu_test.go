package clients_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

// TestAz2018BatchAIGPU is a job on a node of a size with a GPU, as processes and in a
// container: nvidia-smi's output is the job's, of the model that the size had.
func TestAz2018BatchAIGPU(t *testing.T) {
	bin := az2018.bin(t)
	for _, kind := range []string{"process", "docker"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stub, err := hardware.BuildStub(t.Context(), dir)
			if err != nil {
				t.Skipf("simulated GPUs take a C compiler: %v", err)
			}
			devices, err := hardware.ParseDevices("K80:1")
			if err != nil {
				t.Fatal(err)
			}
			host := hardware.New(hardware.Config{Simulation: &hardware.Simulation{Devices: devices, Folder: stub, Dir: filepath.Join(dir, "tables")}})
			e := up(t, func(c *emulator.Config) {
				c.Hardware = host
				if kind == "docker" {
					c.MakeEngine = func(dir string) (engine.Engine, error) { return dockerEngine(t, dir) }
				}
			})
			a := azure{t, bin, append(environ(t, e, bin), "AZURE_CONFIG_DIR="+t.TempDir())}
			gpuJob(t, a, e)
		})
	}
}

// dockerEngine is an engine of Docker's, or skips the test with the reason why there can be none.
func dockerEngine(t *testing.T, dir string) (engine.Engine, error) {
	t.Helper()
	d, err := docker.New(context.Background(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: filepath.Join(dir, "docker"), Pyenv: pyenv()})
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		return nil, err
	}
	if has, err := d.Images().HasBase(context.Background()); err != nil || !has {
		_ = d.Close(context.Background())
		t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
	}
	return d, nil
}

// pyenv is the folder of this host's Pythons, which containers are lent as "lazulite up" does it.
func pyenv() string {
	root := os.Getenv("PYENV_ROOT")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		root = filepath.Join(home, ".pyenv")
	}
	if _, err := os.Stat(filepath.Join(root, "versions")); err != nil {
		return ""
	}
	return root
}

func gpuJob(t *testing.T, a azure, e *emulator.Emulator) {
	login(a, e, "Gpu", "eastus2")
	in := []string{"-g", "Gpu", "-w", "W"}
	ai := func(words string, more ...string) []string {
		return append(append(append([]string{"batchai"}, strings.Fields(words)...), more...), in...)
	}
	a.run("storage", "account", "create", "-n", "azbatchgpu1", "-g", "Gpu", "-l", "eastus2", "--sku", "Standard_LRS")
	key, _ := a.run("storage", "account", "keys", "list", "-n", "azbatchgpu1", "-g", "Gpu", "--query", "[0].value").(string)
	a.run("storage", "share", "create", "-n", "share", "--account-name", "azbatchgpu1", "--account-key", key)
	a.run("batchai", "workspace", "create", "-n", "W", "-g", "Gpu", "-l", "eastus2")
	a.run(ai("cluster create -n C -s Standard_NC6 -t 1 --user-name me --afs-name share --afs-mount-path afs --storage-account-name azbatchgpu1", "--password", "Secret-Pass-9", "--storage-account-key", key)...)
	a.run(ai("experiment create -n E")...)
	file := filepath.Join(t.TempDir(), "job.json")
	if err := os.WriteFile(file, []byte(`{"properties":{"nodeCount":1,"stdOutErrPathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs","customToolkitSettings":{"commandLine":"nvidia-smi -L; nvidia-smi"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.run(ai("job create -n J -e E -c C -f", file)...)
	a.run(ai("job wait -n J -e E")...)
	out, err := a.try(ai("job file stream -j J -e E -f stdout.txt")...)
	if text := string(out); err != nil || !strings.Contains(text, "GPU 0: Tesla K80 (UUID: GPU-") || !strings.Contains(text, "11441MiB") || strings.Contains(text, "GPU 1") {
		t.Errorf("nvidia-smi: %v\n%s", err, out)
	}
	if out, err := a.try(ai("job file stream -j J -e E -f execution.log")...); err != nil || !strings.Contains(string(out), "are simulated: NVML and nvidia-smi show them, and they compute nothing") {
		t.Errorf("execution.log: %v\n%s", err, out)
	}
}
