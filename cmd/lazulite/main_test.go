package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// run executes a command line in a world of its own.
func run(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	m := &Main{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv:  func(name string) string { return env[name] },
		Environ: func() []string { return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + env["HOME"]} }}
	code = m.Run(context.Background(), args)
	return code, out.String(), errs.String()
}

func TestExec(t *testing.T) {
	env := map[string]string{"HOME": t.TempDir()}
	// Ensure the command runs in the environment, and its exit code is ours.
	code, out, errs := run(t, env, "exec", "--", "sh", "-c", `echo "$HTTPS_PROXY|$AZURE_SUBSCRIPTION_ID|$MSI_ENDPOINT"; exit 7`)
	parts := strings.Split(strings.TrimSpace(out), "|")
	if code != 7 || len(parts) != 3 || !strings.HasPrefix(parts[0], "http://127.0.0.1:") || parts[1] == "" || !strings.HasSuffix(parts[2], "/msi/token") {
		t.Fatalf("%d %q %q", code, out, errs)
	}
	t.Run("a signal's code is a shell's", func(t *testing.T) {
		if code, _, _ := run(t, env, "exec", "--", "sh", "-c", "kill -9 $$"); code != 128+int(syscall.SIGKILL) {
			t.Fatal(code)
		}
	})
	t.Run("ErrNoCommand", func(t *testing.T) {
		if code, _, errs := run(t, env, "exec", "--", "no-such-command-here"); code != 1 || !strings.Contains(errs, "no-such-command-here") {
			t.Fatal(code, errs)
		}
	})
}

func TestEnvFormats(t *testing.T) {
	vars := []emulator.Var{{Name: "A", Value: `it's "$x" \ y`}}
	var out bytes.Buffer
	for _, row := range []struct{ format, want string }{
		{"json", `{"A":"it's \"$x\" \\ y"}`},
		{"powershell", "$env:A = 'it''s \"$x\" \\ y'\n"},
		{"dotenv", `A="it's \"\$x\" \\ y"` + "\n"},
	} {
		out.Reset()
		if err := printEnv(&out, vars, row.format); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if row.format == "json" {
			var compact bytes.Buffer
			if err := json.Compact(&compact, out.Bytes()); err != nil {
				t.Fatal(err)
			}
			got = compact.String()
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.format, got, row.want)
		}
	}
	// Ensure a real shell reads back what was meant.
	out.Reset()
	if err := printEnv(&out, vars, "shell"); err != nil {
		t.Fatal(err)
	}
	read, err := exec.Command("sh", "-c", out.String()+`printf %s "$A"`).Output()
	if err != nil || string(read) != vars[0].Value {
		t.Errorf("shell read %q: %v", read, err)
	}
	if err := printEnv(&out, vars, "yaml"); err == nil {
		t.Error("an unknown format was taken")
	}
}

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lazulite")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // quicker, and shows that it builds without
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestLife drives the built binary through a whole life on one folder.
func TestLife(t *testing.T) {
	binary := build(t)
	dir := filepath.Join(t.TempDir(), "data")
	lazulite := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, append([]string{"--data", dir}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	want := func(ok bool, words string, args ...string) {
		t.Helper()
		out, err := lazulite(args...)
		if (err == nil) != ok || !strings.Contains(out, words) {
			t.Fatalf("lazulite %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	defer func() { _, _ = lazulite("down") }()
	want(false, "lazulite up --detach", "env")
	want(false, "--engine", "up", "--engine", "bogus")
	want(false, "unkind", "up", "--faults", "bogus", "--listen", "127.0.0.1:0")
	want(false, "junit", "conform", "-o", "bogus")
	want(false, "recordings", "conform", "--mode", "replay")
	want(false, "no subscription", "conform", "sweep")
	want(false, "--file", "record", "--", "true")
	want(false, "DOCKER_HOST or --docker-host", "up", "--engine", "docker", "--docker-host", "unix:///no/such.sock", "--listen", "127.0.0.1:0")
	want(false, "bogus", "up", "--lifecycle", "bogus", "--listen", "127.0.0.1:0")
	want(true, "lazulite is up at http://127.0.0.1:", "up", "--detach", "--engine", "process", "--listen", "127.0.0.1:0")
	want(false, "up already", "up", "--detach", "--engine", "process", "--listen", "127.0.0.1:0")
	want(false, "in use by another lazulite", "up", "--engine", "process", "--listen", "127.0.0.1:0")
	want(false, "lazulite down", "reset")
	want(true, "process", "status")
	want(true, "export HTTPS_PROXY='http://127.0.0.1:", "env")
	want(true, `"engine": "process"`, "status", "-o", "json")
	want(false, "is not the resource id of a cluster", "preempt", "c", "n")
	want(false, "The specified cluster c is not found", "preempt", "/subscriptions/s/resourceGroups/g/providers/Microsoft.BatchAI/workspaces/w/clusters/c", "n")
	out, err := lazulite("status", "-o", "json")
	var st struct{ Address string }
	if err != nil || json.Unmarshal([]byte(out), &st) != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, path := range []string{"stop", "batchai/preempt"} {
		resp, err := http.Post("http://"+st.Address+"/lazulite/"+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without the token: %s", path, resp.Status)
		}
	}
	want(true, "down", "down")
	want(false, "no lazulite is up", "down")
	want(true, "is gone", "reset")
	if _, err := os.Stat(filepath.Join(dir, "state")); !os.IsNotExist(err) {
		t.Errorf("reset left the state: %v", err)
	}
	for _, file := range []string{"identity.json", "tls/ca-key.pem"} {
		st, err := os.Stat(filepath.Join(dir, file))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s after reset: %v %v", file, st, err)
		}
	}
}

func TestFlagsFromEnv(t *testing.T) {
	env := map[string]string{"HOME": t.TempDir(), "LAZULITE_IP": "10.9.8.7"}
	if code, out, _ := run(t, env, "hosts"); code != 0 || !strings.Contains(out, "10.9.8.7\tmanagement.azure.com") {
		t.Fatal(code, out)
	}
	if code, out, _ := run(t, env, "hosts", "--ip", "10.1.1.1"); code != 0 || strings.Contains(out, "10.9.8.7") {
		t.Fatal("a flag on the command line lost against its variable", code, out)
	}
}

// TestErrorsSayWhatToDo: those that a first try can meet.
func TestErrorsSayWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	env := map[string]string{"HOME": t.TempDir(), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"up", "--ephemeral", "--engine", "simulated", "--listen", l.Addr().String()}, "name another address by --listen"},
		{[]string{"up", "--ephemeral", "--engine", "docker", "--listen", "127.0.0.1:0"}, "or use --engine process"},
		{[]string{"images", "list"}, "make images installs and starts it"},
		{[]string{"status"}, "lazulite up --detach"},
		{[]string{"conform"}, "lazulite exec --"},
	} {
		if code, _, errs := run(t, env, row.args...); code == 0 || !strings.Contains(errs, row.want) {
			t.Errorf("%v: exit code %d, %s", row.args, code, errs)
		}
	}
}
