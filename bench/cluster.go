package main

import (
	"fmt"
	"log"
	"os/exec"
	"strconv"
	"strings"
)

// clusters has the pool's own benchmarks run, each in a process of its own, and
// reads their figures.
func clusters(r *report) {
	for _, nodes := range []int{100, 1000, 10000} {
		figures := benchmark("./fakes/batchai/pool", "BenchmarkDrain/^"+strconv.Itoa(nodes)+"$", "1x")
		if figures == nil {
			return
		}
		r.add(fmt.Sprintf("simulated cluster of %d nodes drains %d jobs", nodes, 20*nodes),
			fmt.Sprintf("%.1f s (%.0f µs of processor time a job), %.0f jobs/s, peak %.0f MiB", figures["ns/op"]/1e9, 1e6*figures["cpu-s"]/float64(20*nodes), figures["jobs/s"], figures["peak-MiB"]), "-", "-", "linear, < 1 GiB")
	}
	if f := benchmark("./fakes/batchai/pool", "BenchmarkFirstLine", "15x"); f["docker-run-ms"] > 0 {
		reference := fmt.Sprintf("%.0f ms (docker run of the same command)", f["docker-run-ms"])
		r.add("job submitted → first line of output, on a node in Docker", fmt.Sprintf("%.0f ms", f["node-ms"]), reference, fmt.Sprintf("%.2f×", f["node-ms"]/f["docker-run-ms"]), "≤ 1.5×")
		r.add("the same in a container of the job's own", fmt.Sprintf("%.0f ms", f["container-ms"]), reference, fmt.Sprintf("%.2f×", f["container-ms"]/f["docker-run-ms"]), "≤ 1.5×")
	}
}

// benchmark runs one of a package's own and gives its figures by their units; nil if it didn't run.
func benchmark(folder, name, times string) map[string]float64 {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", name, "-benchtime", times, folder).Output()
	if err != nil {
		log.Printf("bench: %s: %v\n%s", name, err, out)
		return nil
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				figures[fields[i+1]] = v
			}
		}
		return figures
	}
	return nil
}
