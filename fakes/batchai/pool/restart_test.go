package pool_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/fakes/batchai/pool"
)

func TestMain(m *testing.M) {
	if os.Getenv("POOL_TEST_VICTIM") == "" {
		code := m.Run()
		// Every goroutine belongs to a Pool or an engine that a test has closed.
		for deadline := time.Now().Add(10 * time.Second); code == 0 && runtime.NumGoroutine() > 2; runtime.Gosched() {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
				code = 1
			}
		}
		os.Exit(code)
	}
	// The one that is killed: a test of itself, run for it alone.
	os.Args = append(os.Args[:1], "-test.run=^TestVictim$")
	os.Exit(m.Run())
}

// TestVictim is not a test but the emulator that TestKill and TestKillGangs kill.
func TestVictim(t *testing.T) {
	kind, dir, ok := strings.Cut(os.Getenv("POOL_TEST_VICTIM"), ":")
	if !ok {
		t.Skip("only tests that kill it run it")
	}
	kind, gangs := strings.CutSuffix(kind, "+gangs")
	r := newReal(t, killable(t, kind, dir), dir)
	nodes := 4
	if gangs {
		nodes = 5
	}
	r.create(pool.Cluster{ID: "c", Scale: manual(nodes, ""), Volumes: []pool.Volume{volume("data", "data")}})
	if gangs {
		for _, j := range gangJobs() {
			r.submit(j)
		}
		r.await("the processes of all of them", 2*time.Minute, func() bool { return strings.Count(r.log(), "begin") == 4 })
		fmt.Println("kill me")
		select {}
	}
	for i := range 10 {
		// Each writes that it begins, at once, and when it ends.
		j := task(fmt.Sprintf("j%d", i), 1, shell(fmt.Sprintf("echo begin j%[1]d >>$AZ_BATCHAI_MOUNT_ROOT/data/log; sleep 3; echo end j%[1]d >>$AZ_BATCHAI_MOUNT_ROOT/data/log", i)))
		r.submit(j)
	}
	r.await("four jobs", 2*time.Minute, func() bool { return strings.Count(r.log(), "begin") == 4 })
	fmt.Println("kill me")
	select {}
}

// gangJobs are jobs of more than one process and of a container of their own, on five nodes. Each
// process writes that it begins, and when it ends.
func gangJobs() []pool.Job {
	write := func(name string) string {
		return fmt.Sprintf("echo begin %[1]s >>$AZ_BATCHAI_MOUNT_ROOT/data/log; sleep 8; echo end %[1]s >>$AZ_BATCHAI_MOUNT_ROOT/data/log", name)
	}
	box := task("box", 2, shell(""))
	box.Toolkit = pool.Toolkit{Type: pool.CustomMPI, CommandLine: "/bin/sh -c '" + write("box$OMPI_COMM_WORLD_RANK") + "'", Processes: 1}
	box.Container = &pool.Container{Image: "ubuntu"}
	alone := task("alone", 1, shell(write("alone0")))
	alone.Container = &pool.Container{Image: "ubuntu"}
	return []pool.Job{task("mpi", 2, pool.Toolkit{Type: pool.CustomMPI, CommandLine: "/bin/sh -c '" + write("mpi$OMPI_COMM_WORLD_RANK") + "'"}), box, alone}
}

func (r *real) log() string {
	data, _ := os.ReadFile(filepath.Join(r.volumes, "data", "log"))
	return string(data)
}

func killable(t *testing.T, kind, dir string) engine.Engine {
	t.Helper()
	if kind == "docker" {
		return openDocker(t, dir)
	}
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// killed is what is left of a victim that was killed with kill -9, taken up again.
func killed(t *testing.T, kind string) *real {
	t.Helper()
	dir := t.TempDir()
	engineKind, _ := strings.CutSuffix(kind, "+gangs")
	if engineKind == "docker" {
		if err := openDocker(t, dir).Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "POOL_TEST_VICTIM="+kind+":"+dir)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == "kill me" {
			break
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	if !slices.Contains(said, "kill me") {
		t.Fatalf("the victim says: %s", said)
	}
	r := newReal(t, killable(t, engineKind, dir), dir)
	if left := engine.AdopterOf(r.engine); left != nil {
		if err := left.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	return r
}

// kill -9 with four nodes and ten jobs: nothing is lost, nothing runs twice. In
// containers what runs goes on; processes are swept, and what had begun has failed.
func TestKill(t *testing.T) {
	for _, kind := range []string{"process", "docker"} {
		t.Run(kind, func(t *testing.T) {
			r := killed(t, kind)
			defer r.shut()
			states := map[pool.JobState]int{}
			for i := range 10 {
				s := r.done(fmt.Sprintf("j%d", i))
				states[s.State]++
				if s.Attempts != 1 {
					t.Errorf("%s was begun %d times", s.ID, s.Attempts)
				}
				if s.State == pool.JobFailed && errorCode(s) != "NodeLost" {
					t.Errorf("%+v", s)
				}
			}
			log := r.log()
			want := map[string]map[pool.JobState]int{"process": {pool.JobSucceeded: 6, pool.JobFailed: 4}, "docker": {pool.JobSucceeded: 10}}[kind]
			for s, n := range want {
				if states[s] != n {
					t.Errorf("%d %s, want %d\n%s", states[s], s, n, log)
				}
			}
			for i := range 10 {
				id := fmt.Sprintf("j%d\n", i)
				if n := strings.Count(log, "begin "+id); n != 1 {
					t.Errorf("j%d began %d times", i, n)
				}
				if ended := strings.Count(log, "end "+id); (ended == 1) != (r.job(fmt.Sprintf("j%d", i)).State == pool.JobSucceeded) {
					t.Errorf("j%d ended %d times: %v", i, ended, r.job(fmt.Sprintf("j%d", i)).State)
				}
			}
			r.await("four idle nodes", time.Minute, func() bool { return counts(r.cluster("c")) == "4 idle" })
		})
	}
}

// kill -9 under jobs of several nodes, and of containers of their own: they go on
// where they were, to their own end, and no part of them runs twice.
func TestKillGangs(t *testing.T) {
	r := killed(t, "docker+gangs")
	defer r.shut()
	if n := strings.Count(r.log(), "end"); n != 0 {
		t.Fatalf("%d parts had ended before the kill", n)
	}
	for _, j := range gangJobs() {
		s := r.done(j.ID)
		if s.State != pool.JobSucceeded || s.Attempts != 1 || s.ExitCode == nil || *s.ExitCode != 0 || len(s.Nodes) != j.Nodes {
			t.Errorf("%+v: %s", s, r.output(j.ID, "stderr.txt"))
		}
	}
	log := r.log()
	for _, part := range []string{"mpi0", "mpi1", "box0", "alone0"} {
		if strings.Count(log, "begin "+part+"\n") != 1 || strings.Count(log, "end "+part+"\n") != 1 {
			t.Errorf("%s:\n%s", part, log)
		}
	}
	r.await("five idle nodes", time.Minute, func() bool { return counts(r.cluster("c")) == "5 idle" })
}
