package emulator_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// processesWith counts the processes that have this in their environment.
func processesWith(entry string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if env, err := os.ReadFile(file); err == nil && bytes.Contains(env, []byte(entry+"\x00")) {
			n++
		}
	}
	return n
}

// Ensure that what a script on a machine did is what its run says, with the reason and its output.
func TestScripts(t *testing.T) {
	needPython(t)
	_, c := up(t)
	c.workspace()
	c.put("{WS}/computes/target", vmBody)
	lines := 2 << 20 // of 100 bytes: 200 MB
	if slow || testing.Short() {
		lines /= 20
	}
	for _, row := range []struct{ name, script, status, reason string }{
		{"ends well", "print('hello')", "Completed", ""},
		{"exits 3", "import sys; sys.exit(3)", "Failed", "exited with code 3"},
		{"raises", "raise ValueError('no data')", "Failed", "ValueError: no data"},
		{"is killed", "import os; os.kill(os.getpid(), 9)", "Failed", "killed by signal 9 (SIGKILL)"},
		{"kills its session", "import os; print('bye', flush=True); os.killpg(0, 9)", "Failed", "killed by signal 9 (SIGKILL)"},
		{"kills its control script", "import os, time; pid = os.getppid(); os.kill(pid, 9); time.sleep(60)", "Failed", "killed before it could tell"},
		{"is absent", "", "Failed", "'train.py' is not in the project folder"},
		{"is no Python", "\x7fELF", "Failed", "SyntaxError"},
		{"leaves a process behind", "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)", "Completed", ""},
		{"prints much", fmt.Sprintf("import sys\nline = 'x' * 99 + '\\n'\nfor i in range(%d): sys.stdout.write(line)\n", lines), "Completed", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &client{t: t, http: c.http, id: c.id, token: c.token}
			files := map[string]string{"train.py": row.script}
			if row.name == "is absent" {
				files = map[string]string{"other.py": ""}
			}
			if row.name != "prints much" { // that one takes the machine to itself
				t.Parallel()
			}
			id := c.started("target", files)
			d := c.runEnd(id, 3*time.Minute)
			if d.text("status") != row.status || !strings.Contains(d.text("error.error.message"), row.reason) {
				t.Errorf("want %s %q: %s\n%s", row.status, row.reason, d, c.logs(d))
			}
			clocktest.Missing(t, 10*time.Second, func() string {
				if n := processesWith("AZUREML_RUN_ID=" + id); n > 0 {
					return fmt.Sprintf("%d processes of the run are left", n)
				}
				return ""
			})
			if row.name == "prints much" {
				log := c.do("GET "+d.get("logFiles").(map[string]any)["azureml-logs/80_driver_log.txt"].(string), nil)
				if got := bytes.Count(log.body, []byte(strings.Repeat("x", 99)+"\n")); got != lines {
					t.Errorf("%d of %d lines are in the log", got, lines)
				}
			}
		})
	}
}

// Ensure that a cancel does what it says in each state of a run, on a machine
// and here, and leaves no process.
func TestCancel(t *testing.T) {
	needPython(t)
	_, c := up(t)
	c.workspace()
	c.put("{WS}/computes/target", vmBody)
	files := project(t)
	stubborn := map[string]string{"train.py": "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('began', flush=True)\ntime.sleep(600)"}
	quick := map[string]string{"train.py": "print(1)"}
	wrong := map[string]string{"train.py": "import sys; sys.exit(3)"}
	for _, row := range []struct {
		name  string
		local bool
		files map[string]string
		// state is what the run must have reached; "began": its script has said so.
		state, want string
	}{
		{"machine, at once", false, files, "", "Canceled"},
		{"machine, running", false, files, "Running", "Canceled"},
		{"machine, script at work", false, stubborn, "began", "Canceled"},
		{"machine, completed", false, quick, "Completed", "Completed"},
		{"machine, failed", false, wrong, "Failed", "Failed"},
		{"here, not started", true, nil, "", "Canceled"},
		{"here, running", true, files, "Running", "Canceled"},
		{"here, script at work", true, stubborn, "began", "Canceled"},
		{"here, completed", true, quick, "Completed", "Completed"},
		{"here, failed", true, wrong, "Failed", "Failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := &client{t: t, http: c.http, id: c.id, token: c.token}
			target, id := "target", ""
			long := []string{"--count", "6000", "--pause", "0.1"}
			if row.local {
				target, id = "local", "cancel_"+guid()
				dir := filepath.Join(t.TempDir(), "run")
				if err := c.localRun(t.Context(), id, dir, row.files, long...); err != nil {
					t.Fatal(err)
				}
				if row.files != nil {
					invoke(t, dir)
				}
			} else {
				id = c.started(target, row.files, long...)
			}
			clocktest.Missing(t, time.Minute, func() string {
				d := c.must(200, "GET "+runURL(id)+"/details", nil)
				if row.state == "began" && !strings.Contains(c.logs(d), "began") || row.state != "" && row.state != "began" && d.text("status") != row.state {
					return d.String()
				}
				return ""
			})
			body := map[string]any{"RunId": id, "Target": target, "CustomTarget": nil}
			c.must(200, "POST {execution}/experiments/exp/cancel", body)
			d := c.runEnd(id, time.Minute)
			if d.text("status") != row.want {
				t.Errorf("want %s: %s\n%s", row.want, d, c.logs(d))
			}
			clocktest.Missing(t, 30*time.Second, func() string {
				if n := processesWith("AZUREML_RUN_ID=" + id); n > 0 {
					return fmt.Sprintf("%d processes of the run are left", n)
				}
				return ""
			})
			// Once more: it stays as it is.
			c.must(200, "POST {execution}/experiments/exp/cancel", body)
			if d := c.must(200, "GET "+runURL(id)+"/details", nil); d.text("status") != row.want {
				t.Errorf("after a second cancel: %s", d)
			}
		})
	}
	t.Run("nothing to cancel", func(t *testing.T) {
		if a := c.do("POST {execution}/experiments/exp/cancel", map[string]any{"RunId": "nobody", "Target": "target"}); a.status != http.StatusNotFound {
			t.Errorf("%s", a)
		}
	})
	// What is being made can be deleted, and takes what was made for it along.
	t.Run("machine being made", func(t *testing.T) {
		a := c.must(201, "PUT {WS}/computes/coming", vmBody)
		c.must(202, "DELETE {WS}/computes/coming", nil)
		c.gone("{WS}/computes/coming")
		if op := c.must(200, "GET "+a.header.Get("Azure-AsyncOperation"), nil); op.text("status") != "Canceled" || op.text("error.error.code") != "OperationPreempted" {
			t.Errorf("the creation: %s", op)
		}
		for _, kind := range []string{"Microsoft.Compute/virtualMachines", "Microsoft.Network/networkInterfaces", "Microsoft.Network/publicIPAddresses"} {
			if a := c.must(200, "GET {P}/"+kind, nil); strings.Contains(string(a.body), "coming") {
				t.Errorf("left: %s", a)
			}
		}
	})
}

// Ensure that 100,000 metrics of one run, logged with the run's own token by
// many at once, are all there, each once, and can be read back page by page.
func TestManyMetrics(t *testing.T) {
	total, writers := 100_000, 64
	if slow || testing.Short() {
		total = 2000
	}
	_, c := up(t)
	c.workspace()
	c.must(200, "PATCH "+runURL("many"), map[string]any{"runId": "many", "status": "Running"})
	run := &client{t: t, http: c.http, id: c.id, token: c.must(200, "GET "+runURL("many")+"/token", nil).text("token")}
	var next atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for range writers {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n < total; n = int(next.Add(1)) - 1 {
				a, err := run.try(context.Background(), "POST "+runURL("many")+"/metrics", metric("many", n))
				if err != nil || a.status != 200 {
					t.Errorf("metric %d: %s %v", n, a, err)
					return
				}
			}
		})
	}
	group.Wait()
	wrote := time.Since(begun)
	begun = time.Now()
	found, err := c.metrics("many")
	if err != nil {
		t.Fatal(err)
	}
	for n := range total {
		if found[n] != 1 {
			t.Fatalf("metric %d is there %d times, of %d", n, found[n], len(found))
		}
	}
	t.Logf("%d metrics: %.0f/s written, read back in %s", total, float64(total)/wrote.Seconds(), time.Since(begun))
	// The token is good for its own run alone.
	c.must(200, "PATCH "+runURL("other"), map[string]any{"runId": "other", "status": "Running"})
	if a := run.do("POST "+runURL("other")+"/metrics", metric("other", 1)); a.status != http.StatusForbidden {
		t.Errorf("a run's token wrote another run: %s", a)
	}
}
