package main

import "fmt"

// livy has a cluster of HDInsight's measured, idle and by statements of sessions, where Spark and YARN are installed.
func livy(r *report) {
	f := benchmark("./emulator", "BenchmarkSpark", "1x")
	if f["statement-ms"] == 0 {
		return
	}
	beside := func(what, name, aim string) {
		took, bare := f[name+"-ms"], f[name+"-pipe-ms"]
		r.add(what, fmt.Sprintf("%.1f ms", took), fmt.Sprintf("%.1f ms (a bare PySpark process, by a pipe)", bare), fmt.Sprintf("%+.1f ms", took-bare), aim)
	}
	beside("HDInsight gateway, round trip of a session's statement, Python alone, median of 31", "statement", "-")
	beside("the same of a statement that is a job of Spark's on YARN", "job", "-")
	r.add("memory of an idle HDInsight cluster, head + 1 worker, of processes", fmt.Sprintf("%.0f + %.0f MiB", f["head-MiB"], f["worker-MiB"]), "-", "-", "< 1.2 GB")
}
