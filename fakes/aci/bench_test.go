package aci_test

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// BenchmarkFirstLine is what a group of one container takes from its PUT to
// its first line in the log, beside docker run of the same command, in turns.
func BenchmarkFirstLine(b *testing.B) {
	s := newService(b, "docker", b.TempDir())
	var groupTime, dockerTime time.Duration
	line := func(name string) time.Duration {
		begun := time.Now()
		if code, _, doc := s.do("PUT "+groups+name, one("Never", "echo here; exec sleep 60")); code != 201 {
			b.Fatal(code, doc)
		}
		clocktest.Until(b, "line of "+name, time.Minute, func() bool { return s.logs(name, "main") != "" })
		return time.Since(begun)
	}
	line("warm")
	for i := range b.N {
		name := fmt.Sprintf("g%d", i)
		groupTime += line(name)
		s.do("DELETE "+groups+name, "")
		took, end := dockerLine(b, name)
		dockerTime += took
		end()
	}
	n := float64(b.N) * 1e6
	b.ReportMetric(float64(groupTime)/n, "group-ms")
	b.ReportMetric(float64(dockerTime)/n, "docker-run-ms")
}

// dockerLine is docker run until its first line; the container is left to be killed by end.
func dockerLine(b *testing.B, name string) (took time.Duration, end func()) {
	begun := time.Now()
	cmd := exec.Command("docker", "run", "--rm", "--init", "--name", "lazulite-bench-"+name, "--cpus", "0.5", "--memory", "512m", "lazulite/base", "/bin/sh", "-c", "echo here; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 16))
	}
	if err != nil {
		b.Error("docker run: ", err)
		return 0, func() {}
	}
	return time.Since(begun), func() {
		_ = exec.Command("docker", "kill", "lazulite-bench-"+name).Run()
		_ = cmd.Wait()
	}
}

// BenchmarkThirtyGroups is what thirty groups that are ordered at once take
// until all have printed, beside as many docker run, in turns.
func BenchmarkThirtyGroups(b *testing.B) {
	s := newService(b, "docker", b.TempDir())
	var groupTime, dockerTime time.Duration
	atOnce := func(f func(j int)) {
		var all sync.WaitGroup
		for j := range 30 {
			all.Go(func() { f(j) })
		}
		all.Wait()
	}
	for i := range b.N {
		name := func(j int) string { return fmt.Sprintf("g%d-%d", i, j) }
		begun := time.Now()
		atOnce(func(j int) {
			if code, _, doc := s.do("PUT "+groups+name(j), one("Never", "echo here; exec sleep 60")); code != 201 {
				b.Error(code, doc)
			}
		})
		for j := range 30 {
			clocktest.Until(b, "line of "+name(j), time.Minute, func() bool { return s.logs(name(j), "main") != "" })
		}
		groupTime += time.Since(begun)
		atOnce(func(j int) { s.do("DELETE "+groups+name(j), "") })
		ends := make([]func(), 30)
		begun = time.Now()
		atOnce(func(j int) { _, ends[j] = dockerLine(b, name(j)) })
		dockerTime += time.Since(begun)
		atOnce(func(j int) { ends[j]() })
	}
	n := float64(b.N) * 1e6
	b.ReportMetric(float64(groupTime)/n, "groups-ms")
	b.ReportMetric(float64(dockerTime)/n, "docker-run-ms")
}
