package emulator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// TestKilledCluster kills the emulator, twice, while a cluster of four nodes
// works on ten jobs: all jobs are there again, what was queued runs, what had
// begun has failed and says so, and nothing ever runs twice.
func TestKilledCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes")
	}
	v := newVictim(t)
	v.live()
	c := v.client()
	const workspace, jobs = "{P}/Microsoft.BatchAI/workspaces/w", "{P}/Microsoft.BatchAI/workspaces/w/experiments/e/jobs/"
	c.must(201, "PUT {G}", `{"location":"northeurope"}`)
	c.must(200, "PUT "+workspace, `{"location":"northeurope"}`)
	c.must(200, "PUT "+workspace+"/experiments/e", "")
	c.must(202, "PUT "+workspace+"/clusters/c", `{"properties":{"vmSize":"STANDARD_D1","scaleSettings":{"manual":{"targetNodeCount":4}},"userAccountSettings":{"adminUserName":"me","adminUserPassword":"Correct-Horse-7"}}}`)
	settled := func(path, what string, good func(answer) bool) (a answer) {
		t.Helper()
		clocktest.Missing(t, time.Minute, func() string {
			if a = c.do("GET "+path, nil); good(a) {
				return ""
			}
			return fmt.Sprintf("%s never came: %v", what, a)
		})
		return a
	}
	four := func(a answer) bool {
		idle, _ := a.get("properties.nodeStateCounts.idleNodeCount").(float64)
		running, _ := a.get("properties.nodeStateCounts.runningNodeCount").(float64)
		return idle+running == 4
	}
	settled(workspace+"/clusters/c", "four nodes", four)
	traces := t.TempDir()
	id := c.expand(workspace + "/clusters/c!")[len("https://management.azure.com"):]
	for n := range 10 {
		// A begun job leaves a line, and another at its end.
		file := filepath.Join(traces, fmt.Sprint(n))
		c.must(202, "PUT "+jobs+fmt.Sprint("j", n), fmt.Sprintf(`{"properties":{"cluster":{"id":"%s"},"nodeCount":1,"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_TEMP",
			"customToolkitSettings":{"commandLine":"echo begun >> %s; sleep 0.7; echo done >> %s"}}}`, id, file, file))
	}
	read := func(n int) string {
		b, _ := os.ReadFile(filepath.Join(traces, fmt.Sprint(n)))
		return string(b)
	}
	former := map[int]bool{} // that began in a former life
	for range 2 {
		clocktest.Missing(t, 30*time.Second, func() string {
			began := 0
			for n := range 10 {
				if !former[n] && read(n) == "begun\n" {
					began++
				}
			}
			if began < 2 {
				return fmt.Sprintf("only %d jobs run when the emulator is to be killed", began)
			}
			return ""
		})
		v.kill()
		for n := range 10 {
			former[n] = read(n) != ""
		}
		v.live()
		c = v.client()
	}
	settled(workspace+"/clusters/c", "four nodes again", four)
	list := c.must(200, "GET "+strings.TrimSuffix(jobs, "/"), nil)
	if all, _ := list.get("value").([]any); len(all) != 10 {
		t.Fatalf("%d jobs are there of 10", len(all))
	}
	succeeded, failed := 0, 0
	for n := range 10 {
		a := settled(jobs+fmt.Sprint("j", n), "the end of a job", func(a answer) bool {
			s := a.text("properties.executionState")
			return s == "succeeded" || s == "failed"
		})
		switch trace := read(n); {
		case a.text("properties.executionState") == "succeeded" && trace == "begun\ndone\n":
			succeeded++
		case a.text("properties.executionState") == "failed" && (trace == "begun\n" || trace == "" || trace == "begun\ndone\n") && a.get("properties.executionInfo.errors") != nil:
			failed++
		default:
			t.Errorf("job %d is %s after %q: %v", n, a.text("properties.executionState"), trace, a)
		}
	}
	t.Logf("%d jobs succeeded, %d had begun when the emulator was killed", succeeded, failed)
	if succeeded == 0 || failed == 0 || failed > 8 {
		t.Errorf("%d succeeded and %d failed of 10 jobs on 4 nodes, killed twice", succeeded, failed)
	}
	c.must(202, "DELETE "+workspace+"/clusters/c", nil)
	settled(workspace+"/clusters/c", "the cluster's end", func(a answer) bool { return a.status == 404 })
	v.end()
}
