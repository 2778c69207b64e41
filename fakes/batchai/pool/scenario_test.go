package pool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lazulite.dev/fakes/batchai/pool"
)

// What users of the real service could never test: it waits for five minutes,
// takes five more to make a node, and does not scale down while it is watched.
func TestAutoscaleLife(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: auto(0, 2)})
	w.pass(time.Second)
	if s := w.cluster("c"); s.Resizing || s.Allocated != 0 {
		t.Errorf("an empty cluster: %+v", s)
	}
	w.submit(job("j1", "c", 1, 10*time.Minute))
	w.submit(job("j2", "c", 2, time.Minute))
	w.pass(5*time.Minute - 2*time.Second)
	w.expectCounts("c", "")
	if s := w.job("j1"); s.State != pool.JobQueued || s.Waiting != "The job needs 1 node(s); 0 of the cluster's 0 are idle." {
		t.Errorf("before the evaluation: %+v", s)
	}
	w.pass(2 * time.Second) // the evaluation
	if s := w.cluster("c"); !s.Resizing || s.Target != 2 || s.Allocated != 0 {
		t.Errorf("at the evaluation: target %d, %d there, resizing %v", s.Target, s.Allocated, s.Resizing)
	}
	w.pass(150 * time.Second) // allocation
	w.expectCounts("c", "2 preparing")
	w.pass(175 * time.Second)
	w.expectCounts("c", "1 idle 1 running")
	w.pass(10 * time.Minute)
	w.expectJob("j1", pool.JobSucceeded)
	w.pass(2 * time.Minute)
	s := w.expectJob("j2", pool.JobSucceeded)
	if s.ExitCode == nil || *s.ExitCode != 0 || len(s.Nodes) != 2 || s.Attempts != 1 || s.Ended.Sub(s.Started) < time.Minute {
		t.Errorf("j2: %+v", s)
	}
	// For at least five minutes after that nothing goes, at the most for ten, and then they leave.
	w.pass(5*time.Minute - w.clk.Since(s.Ended))
	w.expectCounts("c", "2 idle")
	w.pass(5 * time.Minute)
	w.expectCounts("c", "2 leaving")
	w.pass(5 * time.Minute)
	w.expectCounts("c", "")
	if s := w.cluster("c"); s.Resizing || s.Target != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// A cluster under load does not scale down, and one that only seems to be: a job that never starts keeps nothing.
func TestDoesNotScaleDown(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: pool.Scale{Auto: &pool.Auto{Maximum: 2, Initial: 2}}})
	for i := range 12 {
		w.submit(job(fmt.Sprintf("j%d", i), "c", 1, 7*time.Minute))
	}
	w.submit(job("never", "c", 3, time.Minute))
	for range 8 {
		w.pass(5 * time.Minute)
		if s := w.cluster("c"); s.Target != 2 {
			t.Fatalf("after %v it aims at %d", w.clk.Since(t0), s.Target)
		}
	}
	w.pass(40 * time.Minute)
	w.expectCounts("c", "")
	if s := w.expectJob("never", pool.JobQueued); s.Waiting != "The job needs 3 nodes, more than the cluster's maximumNodeCount of 2." {
		t.Errorf("never: %q", s.Waiting)
	}
	// Now it may.
	if err := w.SetScale("c", auto(0, 3)); err != nil {
		t.Fatal(err)
	}
	w.pass(15 * time.Minute)
	w.expectJob("never", pool.JobSucceeded)
}

// A node whose setup fails is unusable, and goes with target 0 (BatchAI 19; TestProcess has it mended).
func TestUnusableNode(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: manual(1, ""), Setup: &pool.Setup{CommandLine: "setup", Variables: []pool.Variable{{Name: "LAZULITE_SIM_EXIT", Value: "3"}}}})
	w.submit(job("j", "c", 1, time.Minute))
	w.pass(10 * time.Minute)
	w.expectCounts("c", "1 unusable")
	s := w.cluster("c")
	if len(s.Errors) != 1 || s.Errors[0].Code != "NodeSetupFailed" || s.Resizing || s.Allocated != 1 {
		t.Errorf("%+v", s)
	}
	if s := w.expectJob("j", pool.JobQueued); s.Waiting != "The job needs 1 node(s), and 1 of the cluster's 1 are unusable." {
		t.Errorf("%q", s.Waiting)
	}
	if err := w.SetScale("c", manual(0, "")); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Minute)
	w.expectCounts("c", "")
}

// Nodes of low priority are preempted, and their jobs run again, from the start.
func TestPreemption(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: manual(3, ""), LowPriority: true})
	w.create(pool.Cluster{ID: "d", Scale: manual(1, "")})
	w.submit(job("gang", "c", 2, 30*time.Minute))
	w.submit(job("later", "c", 2, time.Minute))
	w.pass(10 * time.Minute)
	w.expectCounts("c", "1 idle 2 running")
	s := w.expectJob("gang", pool.JobRunning)
	if err := w.Preempt("c", s.Nodes[1]); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.expectCounts("c", "2 running 1 preempted") // the two that are left are enough for it
	w.pass(5 * time.Second)
	again := w.expectJob("gang", pool.JobRunning)
	if again.Attempts != 2 || !again.Started.After(s.Started) {
		t.Errorf("gang again: %+v", again)
	}
	w.expectJob("later", pool.JobQueued)
	w.pass(45 * time.Minute)
	w.expectJob("gang", pool.JobSucceeded)
	w.expectJob("later", pool.JobSucceeded)
	w.expectCounts("c", "3 idle")
	if err := w.Preempt("d", w.cluster("d").Nodes[0].ID); !errors.Is(err, pool.ErrInvalid) {
		t.Errorf("a dedicated node is preempted: %v", err)
	}
	if err := w.Preempt("c", "x"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("no node: %v", err)
	}
}

// What a smaller target does to the jobs of the nodes that go.
func TestDeallocation(t *testing.T) {
	for _, c := range []struct {
		option pool.Deallocation
		state  pool.JobState
		code   string
		then   pool.JobState
	}{
		{pool.Requeue, pool.JobQueued, "", pool.JobSucceeded},
		{pool.Terminate, pool.JobFailed, "JobTerminated", pool.JobFailed},
		{pool.WaitForJobCompletion, pool.JobRunning, "", pool.JobSucceeded},
	} {
		t.Run(string(c.option), func(t *testing.T) {
			w := simulated(t, nil)
			w.create(pool.Cluster{ID: "c", Scale: manual(2, "")})
			w.submit(job("j", "c", 2, time.Hour))
			w.pass(10 * time.Minute)
			w.expectJob("j", pool.JobRunning)
			if err := w.SetScale("c", manual(0, c.option)); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Second)
			if s := w.expectJob("j", c.state); errorCode(s) != c.code {
				t.Errorf("%+v", s.Errors)
			}
			w.pass(2 * time.Hour)
			w.expectCounts("c", "")
			if err := w.SetScale("c", manual(2, "")); err != nil {
				t.Fatal(err)
			}
			w.pass(2 * time.Hour)
			w.expectJob("j", c.then)
		})
	}
}

// A job ends by its own exit code, by a request, or by its time.
func TestJobEnds(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: manual(1, "")})
	bad := job("bad", "c", 1, time.Minute)
	bad.Variables = append(bad.Variables, pool.Variable{Name: "LAZULITE_SIM_EXIT", Value: "2"})
	long := job("long", "c", 1, 2*time.Hour)
	long.MaxWallClockTime = time.Hour
	first, asked := job("first", "c", 1, time.Minute), job("asked", "c", 1, time.Hour)
	first.Priority, bad.Priority, asked.Priority = pool.High, pool.High, pool.Low
	for _, j := range []pool.Job{long, asked, bad, first, job("waits", "c", 1, time.Hour)} {
		w.submit(j)
	}
	if err := w.Terminate("waits"); err != nil {
		t.Fatal(err)
	}
	if s := w.expectJob("waits", pool.JobFailed); errorCode(s) != "JobTerminated" || s.ExitCode != nil || s.Attempts != 0 {
		t.Errorf("waits: %+v", s)
	}
	w.pass(75 * time.Minute)
	if s := w.expectJob("bad", pool.JobFailed); errorCode(s) != "JobFailed" || s.ExitCode == nil || *s.ExitCode != 2 || s.Errors[0].Message != "Job failed with non-zero exit code" {
		t.Errorf("bad: %+v", s)
	}
	if a, b, c := w.job("bad"), w.job("first"), w.job("long"); !a.Started.Before(b.Started) || !b.Started.Before(c.Started) {
		t.Errorf("bad %v, first %v, long %v", a.Started, b.Started, c.Started)
	}
	if s := w.expectJob("long", pool.JobFailed); errorCode(s) != "JobTimedOut" || s.Ended.Sub(s.Started) != time.Hour {
		t.Errorf("long: %+v", s)
	}
	w.expectJob("asked", pool.JobRunning)
	if err := w.Remove("asked"); !errors.Is(err, pool.ErrInvalid) {
		t.Errorf("a running job is removed: %v", err)
	}
	for range 2 { // the second changes nothing
		if err := w.Terminate("asked"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if s := w.expectJob("asked", pool.JobFailed); errorCode(s) != "JobTerminated" {
			t.Errorf("asked: %+v", s)
		}
	}
	if err := w.Remove("asked"); err != nil {
		t.Fatal(err)
	}
	if _, there := w.Job("asked"); there {
		t.Error("asked is still there")
	}
	w.expectCounts("c", "1 idle")
}

// A cluster is deleted under its jobs.
func TestDeleteCluster(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: manual(1, "")})
	w.submit(job("runs", "c", 1, time.Hour))
	w.submit(job("waits", "c", 1, time.Hour))
	w.submit(job("held", "c", 2, time.Hour))
	w.pass(10 * time.Minute)
	w.expectJob("runs", pool.JobRunning)
	if err := w.Delete("c"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for _, id := range []string{"runs", "waits", "held"} {
		if s := w.expectJob(id, pool.JobFailed); errorCode(s) != "JobTerminated" || !strings.Contains(s.Errors[0].Message, "deleted") {
			t.Errorf("%s: %+v", id, s.Errors)
		}
	}
	if err := w.Submit(job("late", "c", 1, 0)); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("a job for a cluster that is being deleted: %v", err)
	}
	w.pass(10 * time.Minute)
	if _, there := w.Cluster("c"); there {
		t.Error("the cluster is still there")
	}
	w.expectJob("runs", pool.JobFailed)
}

// Two clusters share an account's cores.
func TestQuota(t *testing.T) {
	limit := 6
	w := simulated(t, func(c *pool.Config) { c.Cores = func(string, bool) int { return limit } })
	for _, id := range []string{"a", "b"} {
		w.create(pool.Cluster{ID: id, Account: "s", Size: "Standard_D2_v2", Scale: manual(2, "")})
	}
	w.pass(10 * time.Minute)
	a, b := w.cluster("a"), w.cluster("b")
	if a.Allocated+b.Allocated != 3 || w.UsedCores("s", false) != 6 {
		t.Fatalf("%d and %d nodes, %d cores", a.Allocated, b.Allocated, w.UsedCores("s", false))
	}
	short, full := "a", "b"
	if b.Allocated == 1 {
		short, full = "b", "a"
	}
	w.submit(job("j", short, 2, time.Minute))
	w.pass(time.Minute)
	if s := w.expectJob("j", pool.JobQueued); !strings.Contains(s.Waiting, "more than the quota of cores lets the cluster have") {
		t.Errorf("%q", s.Waiting)
	}
	if err := w.SetScale(full, manual(1, "")); err != nil {
		t.Fatal(err)
	}
	w.pass(20 * time.Minute)
	w.expectJob("j", pool.JobSucceeded)
}

// A day of a cluster's life, with all that can go wrong, twice the same and in no time.
func TestDayOfALife(t *testing.T) {
	day := func() string {
		w := simulated(t, func(c *pool.Config) { c.Lifecycle = "chaos" })
		w.create(pool.Cluster{ID: "c", Scale: auto(1, 8), LowPriority: true})
		for i := range 24 {
			for n := range 8 {
				w.submit(job(fmt.Sprintf("j%d-%d", i, n), "c", 1+(i+n)%3, time.Duration(1+(i*7+n*13)%12)*time.Minute+time.Duration(i*1009+n*31)*time.Millisecond))
			}
			w.pass(time.Hour)
		}
		var b strings.Builder
		preempted := 0
		for i := range 24 {
			for n := range 8 {
				s := w.job(fmt.Sprintf("j%d-%d", i, n))
				preempted += max(0, s.Attempts-1)
				fmt.Fprintln(&b, s.ID, s.State, s.Attempts, s.Started, s.Ended, s.Nodes)
			}
		}
		s := w.cluster("c")
		fmt.Fprintln(&b, counts(s), s.Target, s.Since, len(s.Nodes))
		if preempted == 0 {
			t.Error("in a day nobody was preempted")
		}
		return b.String()
	}
	began := time.Now()
	first := day()
	took := time.Since(began)
	t.Logf("24 hours in %v", took)
	if took > 5*time.Second && !testing.Short() {
		t.Errorf("24 hours took %v", took)
	}
	if second := day(); first != second {
		a, b := strings.Split(first, "\n"), strings.Split(second, "\n")
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("line %d:\n%s\n%s", i, a[i], b[i])
			}
		}
	}
	if n := strings.Count(first, string(pool.JobSucceeded)); n < 150 {
		t.Errorf("%d jobs of 192 succeeded:\n%s", n, first)
	}
}

// What can't be is refused, and changes nothing.
func TestBadInput(t *testing.T) {
	w := simulated(t, nil)
	w.create(pool.Cluster{ID: "c", Scale: manual(0, "")})
	good := job("j", "c", 1, 0)
	for name, c := range map[string]struct {
		do   func() error
		want error
	}{
		"an unknown size":     {func() error { return w.Create(pool.Cluster{ID: "x", Size: "Standard_X", Scale: manual(0, "")}) }, pool.ErrInvalid},
		"min above max":       {func() error { return w.Create(pool.Cluster{ID: "x", Size: "Standard_D1", Scale: auto(3, 2)}) }, pool.ErrInvalid},
		"no scale":            {func() error { return w.Create(pool.Cluster{ID: "x", Size: "Standard_D1"}) }, pool.ErrInvalid},
		"twice":               {func() error { return w.Create(pool.Cluster{ID: "c", Size: "Standard_D1", Scale: manual(0, "")}) }, pool.ErrExists},
		"a negative target":   {func() error { return w.SetScale("c", manual(-1, "")) }, pool.ErrInvalid},
		"no such cluster":     {func() error { return w.SetScale("y", manual(1, "")) }, pool.ErrNotFound},
		"a job without one":   {func() error { j := good; j.Cluster = "y"; return w.Submit(j) }, pool.ErrNotFound},
		"a job without nodes": {func() error { j := good; j.Nodes = 0; return w.Submit(j) }, pool.ErrInvalid},
		"an escaping output": {func() error {
			j := good
			j.Outputs = []pool.Output{{ID: "O", PathPrefix: "$AZ_BATCHAI_MOUNT_ROOT/../../etc"}}
			return w.Submit(j)
		}, pool.ErrInvalid},
		"an escaping suffix": {func() error {
			j := good
			j.Outputs = []pool.Output{{ID: "O", PathPrefix: "$AZ_BATCHAI_MOUNT_ROOT/x", PathSuffix: "../../y"}}
			return w.Submit(j)
		}, pool.ErrInvalid},
		"a path of the node's": {func() error { j := good; j.StdOutErrPathPrefix = "/tmp"; return w.Submit(j) }, pool.ErrInvalid},
		"an escaping mount":    {func() error { j := good; j.Volumes = []pool.Volume{{Path: "../x"}}; return w.Submit(j) }, pool.ErrInvalid},
		"two toolkits' script": {func() error {
			j := good
			j.Toolkit = pool.Toolkit{Type: pool.CNTK, Script: "a", ConfigFile: "b"}
			return w.Submit(j)
		}, pool.ErrInvalid},
		"no toolkit":          {func() error { j := good; j.Toolkit = pool.Toolkit{}; return w.Submit(j) }, pool.ErrInvalid},
		"an unknown priority": {func() error { j := good; j.Priority = "urgent"; return w.Submit(j) }, pool.ErrInvalid},
		"terminating nothing": {func() error { return w.Terminate("y") }, pool.ErrNotFound},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.submit(good)
	w.settle()
	if s := w.expectJob("j", pool.JobQueued); s.Waiting != "The job needs 1 node(s), and the cluster's targetNodeCount is 0." {
		t.Errorf("%q", s.Waiting)
	}
	if err := w.Submit(good); !errors.Is(err, pool.ErrExists) {
		t.Errorf("a job twice: %v", err)
	}
}
