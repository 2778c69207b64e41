package pool_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/fakes/batchai/pool"
)

// BenchmarkDrain is a cluster whose twenty jobs a node are submitted and run
// through, on the engine that runs nothing, its state kept on disk as ever.
func BenchmarkDrain(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			began := processorTime(b)
			for b.Loop() {
				drain(b, nodes, 20*nodes)
			}
			b.ReportMetric((processorTime(b)-began).Seconds()/float64(b.N), "cpu-s")
			b.ReportMetric(float64(20*nodes*b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(peak(b))/(1<<20), "peak-MiB")
		})
	}
}

func drain(b *testing.B, nodes, count int) {
	w := simulated(b, nil)
	w.create(pool.Cluster{ID: "c", Scale: auto(0, nodes)})
	dice := rand.New(rand.NewPCG(3, 4))
	for i := range count {
		w.submit(job(fmt.Sprintf("j%d", i), "c", 1, time.Minute+time.Duration(dice.Int64N(int64(20*time.Minute)))))
	}
	last := fmt.Sprintf("j%d", count-1)
	w.pass(6 * time.Minute)
	for !w.job(last).Done() || w.cluster("c").Counts.Running > 0 {
		w.pass(10 * time.Minute)
	}
	for i := range count {
		if s := w.job(fmt.Sprintf("j%d", i)); s.State != pool.JobSucceeded || s.Attempts != 1 {
			b.Fatalf("%+v", s)
		}
	}
}

// processorTime is what this process has had so far: unlike the time on the wall it grows by what it does alone.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that this process has had, in bytes; 0 where the system does not say.
func peak(b *testing.B) int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// BenchmarkFirstLine is a job on an idle node that is a container: from its
// submission to the first line of its output on the volume, beside docker run of the same.
func BenchmarkFirstLine(b *testing.B) {
	dir := b.TempDir()
	e := openDocker(b, dir)
	r := newReal(b, e, dir)
	defer r.shut()
	r.create(pool.Cluster{ID: "c", Scale: manual(1, "")})
	r.await("an idle node", 2*time.Minute, func() bool { return counts(r.cluster("c")) == "1 idle" })
	var ours, container, plain []time.Duration
	for i := 0; b.Loop(); i++ {
		for _, c := range []struct {
			image string
			took  *[]time.Duration
		}{{"", &ours}, {"ubuntu", &container}} {
			id := fmt.Sprintf("j%d%s", i, c.image)
			j := task(id, 1, shell("echo hello"))
			if c.image != "" {
				j.Container = &pool.Container{Image: c.image}
			}
			began := time.Now()
			r.submit(j)
			clocktest.Missing(b, time.Minute, func() string {
				if r.output(id, "stdout.txt") != "hello\n" {
					return fmt.Sprintf("%+v", r.job(id))
				}
				return ""
			})
			*c.took = append(*c.took, time.Since(began))
			r.done(id)
			r.await("its node", time.Minute, func() bool { return counts(r.cluster("c")) == "1 idle" })
		}
		began := time.Now()
		if out, err := exec.Command("docker", "run", "--rm", "--network", "bridge", "-v", filepath.Join(dir, "volumes")+":/v", "lazulite/base:latest", "sh", "-c", "echo hello").Output(); err != nil || !bytes.Equal(out, []byte("hello\n")) {
			b.Skipf("docker run: %q %v", out, err)
		}
		plain = append(plain, time.Since(began))
	}
	for name, all := range map[string][]time.Duration{"node-ms": ours, "container-ms": container, "docker-run-ms": plain} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name)
	}
	b.ReportMetric(0, "ns/op")
}
