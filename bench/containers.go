package main

import "fmt"

// containerGroups has container instances' own benchmarks run, on Docker, and reads their figures.
func containerGroups(r *report) {
	const folder = "./fakes/aci"
	if f := benchmark(folder, "BenchmarkFirstLine", "15x"); f["docker-run-ms"] > 0 {
		r.add("container group ordered → first line of its log", fmt.Sprintf("%.0f ms", f["group-ms"]), fmt.Sprintf("%.0f ms (docker run of the same command)", f["docker-run-ms"]),
			fmt.Sprintf("%+.0f ms", f["group-ms"]-f["docker-run-ms"]), "≤ +30 ms")
	}
	if f := benchmark(folder, "BenchmarkThirtyGroups", "3x"); f["docker-run-ms"] > 0 {
		r.add("30 container groups ordered at once → the last one's first line", fmt.Sprintf("%.1f s", f["groups-ms"]/1e3), fmt.Sprintf("%.1f s (30 docker run at once)", f["docker-run-ms"]/1e3),
			fmt.Sprintf("%.2f×", f["groups-ms"]/f["docker-run-ms"]), "≤ 1.5×")
	}
}
