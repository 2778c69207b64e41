package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// terminal runs az on a terminal, types, and gives what is shown.
func (a azure) terminal(keys string, args ...string) string {
	a.t.Helper()
	script, err := filepath.Abs("testdata/terminal.py")
	if err != nil {
		a.t.Fatal(err)
	}
	python := filepath.Join(a.bin, "python")
	cmd := exec.Command(python, append([]string{script, keys, python, "-m", "azure.cli"}, args...)...)
	cmd.Env = a.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Errorf("az %s on a terminal: %v\n%s", strings.Join(args, " "), err, tail(out, 2000))
	}
	return string(out)
}

// until runs a command until its answer is as wanted.
func (a azure) until(want string, args ...string) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		out, err := a.try(append(args, "-o", "tsv")...)
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("az %s: %v, never %q:\n%s", strings.Join(args, " "), err, want, tail(out, 2000))
		}
	}
}

// containers is a container group's life by az.
func containers(t *testing.T, a azure, e *emulator.Emulator, today bool) {
	login(a, e, "Containers", "westus")
	in := []string{"-g", "Containers", "-n", "hello"}
	with := func(verb string, more ...string) []string {
		return append(append([]string{"container", verb}, in...), more...)
	}
	create := with("create", "--image", "python:3.6", "--cpu", "1", "--memory", "1", "--restart-policy", "Never", "-e", "NAME=world", "--secure-environment-variables", "KEY=not-to-be-seen",
		"--command-line", `python3 -u -c 'import os, time; print("hello", os.environ["NAME"], len(os.environ["KEY"])); time.sleep(600)'`)
	if today {
		create = append(create, "--os-type", "Linux")
	}
	if got := a.query("[provisioningState, instanceView.state, containers[0].instanceView.currentState.state]", create...); got != `["Succeeded","Running","Running"]` {
		t.Errorf("create: %s", got)
	}
	if out, err := a.try(with("show")...); err != nil || strings.Contains(string(out), "not-to-be-seen") {
		t.Errorf("show: %v %s", err, out)
	}
	if got := a.query("[].name", "container", "list", "-g", "Containers"); got != `["hello"]` {
		t.Errorf("list: %s", got)
	}
	a.until("hello world 14", with("logs")...)
	if shown := a.terminal(`echo $((40+2)); stty size; exit\n`, with("exec", "--exec-command", "/bin/sh")...); !strings.Contains(shown, "42") {
		t.Errorf("exec shows %q", shown)
	}
	file := filepath.Join(t.TempDir(), "hello.yaml")
	if out, err := a.try(with("export", "-f", file)...); err != nil {
		t.Errorf("export: %v %s", err, out)
	} else if yaml, err := os.ReadFile(file); err != nil || !strings.Contains(string(yaml), "python:3.6") || strings.Contains(string(yaml), "not-to-be-seen") {
		t.Errorf("exported %s, %v", yaml, err)
	}
	step := func(verb, state string) {
		if out, err := a.try(with(verb)...); err != nil {
			t.Errorf("%s: %v %s", verb, err, out)
		}
		a.until(state, with("show", "--query", "instanceView.state")...)
	}
	step("stop", "Stopped")
	if today {
		step("start", "Running")
	}
	step("restart", "Running")
	if out, err := a.try("container", "create", "-g", "Containers", "-f", file, "--no-wait"); err != nil {
		t.Errorf("create from what was exported: %v %s", err, out)
	}
	// What attach shows ends with the container.
	short := []string{"container", "create", "-g", "Containers", "-n", "short", "--image", "alpine", "--cpu", "1", "--memory", "1", "--restart-policy", "Never", "--command-line", `/bin/sh -c "echo attached; sleep 20"`}
	if today {
		short = append(short, "--os-type", "Linux")
	}
	a.run(short...)
	if out, err := a.try("container", "attach", "-g", "Containers", "-n", "short"); err != nil || !strings.Contains(string(out), "attached") || !strings.Contains(string(out), "Started container") {
		t.Errorf("attach: %v %s", err, out)
	}
	bad := append([]string{}, create...)
	bad[5] = "elsewhere"
	a.fails("is not available for resource type", append(bad, "-l", "brazilsouth")...)
	for _, name := range []string{"hello", "short"} {
		if out, err := a.try("container", "delete", "-g", "Containers", "-n", name, "--yes"); err != nil {
			t.Errorf("delete: %v %s", err, out)
		}
	}
	if got := a.query("length(@)", "container", "list"); got != "0" {
		t.Errorf("after delete there are %s", got)
	}
}

func TestAz2018Containers(t *testing.T) {
	a, e := throughProxy(t, az2018)
	containers(t, a, e, false)
}

func TestAzNewContainers(t *testing.T) {
	a, e := throughProxy(t, azNew)
	containers(t, a, e, true)
}

// A terminal is reached at the emulator's own address where no proxy is used.
func TestAzNewContainersRegisteredCloud(t *testing.T) {
	a, e := registeredCloud(t, azNew)
	containers(t, a, e, true)
}

// Azure's SDK for Python of today, as az brings it along.
func TestAzNewContainersSDK(t *testing.T) { python(t, azNew, "aznew_containers.py") }

// Azure's SDK for Go of today, in a module of its own.
func TestGoSDKContainers(t *testing.T) {
	program := filepath.Join(t.TempDir(), "client")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "armcontainerinstance")
	if out, err := build.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "dial tcp") || strings.Contains(string(out), "proxyconnect") {
			t.Skipf("the SDK's modules can't be fetched: %s", tail(out, 300))
		}
		t.Fatalf("%v: %s", err, tail(out, 2000))
	}
	e := up(t)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = environ(t, e, filepath.Dir(program))
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "done" {
		t.Errorf("%v: %s", err, out)
	}
}
