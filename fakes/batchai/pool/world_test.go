package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/batchai/pool"
)

// world is a Pool whose time the test makes pass.
type world struct {
	*pool.Pool
	t   testing.TB
	clk *clock.Manual
}

// simulated is a world on the engine that runs nothing.
func simulated(t testing.TB, change func(*pool.Config)) *world {
	t.Helper()
	w := &world{t: t, clk: clock.NewManual(t0)}
	e := engine.NewSimulated(engine.Config{Clock: w.clk})
	cfg := pool.Config{Engine: e, Clock: w.clk, Dir: t.TempDir(), Rand: rand.New(rand.NewPCG(1, 2)), Lifecycle: "real",
		Hardware: hardware.New(hardware.Config{GPUs: func() ([]hardware.GPU, error) { return nil, nil }}),
		Changed:  func(pool.Change) {}}
	if change != nil {
		change(&cfg)
	}
	w.Pool = pool.New(cfg)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(w.Close(ctx), e.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return w
}

// settle waits until everything waits for the clock.
func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Settled(ctx, w.clk.Waiting); err != nil {
		buf := make([]byte, 1<<20)
		w.t.Fatalf("%v\n%s", err, buf[:runtime.Stack(buf, true)])
	}
}

// pass lets time pass, event by event.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.clk.Now().Add(d)
	for {
		w.settle()
		next, ok := w.clk.Next()
		if !ok || next.After(end) {
			w.clk.Advance(end.Sub(w.clk.Now()))
			w.settle()
			return
		}
		w.clk.Advance(next.Sub(w.clk.Now()))
	}
}

func (w *world) create(c pool.Cluster) {
	w.t.Helper()
	if c.Size == "" {
		c.Size = "Standard_D2_v2"
	}
	if c.User == "" {
		c.User = "demo"
	}
	if err := w.Create(c); err != nil {
		w.t.Fatal(err)
	}
}

// job of a custom toolkit that takes as long as that, by the Clock.
func job(id, cluster string, nodes int, takes time.Duration) pool.Job {
	return pool.Job{ID: id, Cluster: cluster, Nodes: nodes, Toolkit: pool.Toolkit{Type: pool.Custom, CommandLine: "train"}, StdOutErrPathPrefix: "$AZ_BATCHAI_JOB_TEMP",
		Variables: []pool.Variable{{Name: "LAZULITE_SIM_DURATION", Value: takes.String()}}}
}

func (w *world) submit(j pool.Job) {
	w.t.Helper()
	if err := w.Submit(j); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) job(id string) pool.JobStatus {
	w.t.Helper()
	s, ok := w.Job(id)
	if !ok {
		w.t.Fatalf("there is no job %s", id)
	}
	return s
}

func (w *world) cluster(id string) pool.ClusterStatus {
	w.t.Helper()
	s, ok := w.Cluster(id)
	if !ok {
		w.t.Fatalf("there is no cluster %s", id)
	}
	return s
}

// counts as text: "2 idle 1 running".
func counts(s pool.ClusterStatus) string {
	var out []string
	for _, c := range []struct {
		n    int
		name string
	}{{s.Counts.Preparing, "preparing"}, {s.Counts.Idle, "idle"}, {s.Counts.Running, "running"}, {s.Counts.Leaving, "leaving"}, {s.Counts.Unusable, "unusable"}, {s.Counts.Preempted, "preempted"}} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return strings.Join(out, " ")
}

func (w *world) expectCounts(id, want string) {
	w.t.Helper()
	if got := counts(w.cluster(id)); got != want {
		w.t.Errorf("%s after %v: %q, want %q", id, w.clk.Since(t0), got, want)
	}
}

func (w *world) expectJob(id string, want pool.JobState) pool.JobStatus {
	w.t.Helper()
	s := w.job(id)
	if s.State != want {
		w.t.Errorf("%s after %v: %s, want %s (%s %v)", id, w.clk.Since(t0), s.State, want, s.Waiting, s.Errors)
	}
	return s
}

// folderMount mounts folders of a directory by a volume's source, a JSON string.
func folderMount(dir string) func(context.Context, pool.Volume) (pool.Mounted, error) {
	return func(_ context.Context, v pool.Volume) (pool.Mounted, error) {
		var name string
		if err := json.Unmarshal(v.Source, &name); err != nil {
			return pool.Mounted{}, err
		}
		if strings.HasPrefix(name, "wrong") {
			return pool.Mounted{}, errors.New("the account's key is wrong")
		}
		folder := filepath.Join(dir, name)
		return pool.Mounted{Dir: folder}, os.MkdirAll(folder, 0o755)
	}
}

func volume(path, name string) pool.Volume {
	source, _ := json.Marshal(name)
	return pool.Volume{Path: path, Source: source}
}

func errorCode(s pool.JobStatus) string {
	var out []string
	for _, e := range s.Errors {
		out = append(out, e.Code)
	}
	return strings.Join(out, " ")
}
