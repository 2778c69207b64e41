package emulator_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

// pipe is a bare PySpark process that takes expressions by a pipe.
const pipe = `
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
print("ready", flush=True)
for line in sys.stdin:
    print(repr(eval(json.loads(line))), flush=True)
`

// BenchmarkSpark has a cluster of a head node and a worker: its memory when
// idle, and the round trip of a statement of Livy's, over TLS and the gateway
// and asked for until it is there, beside the same in a bare PySpark process by
// a pipe; one statement is Python alone, the other a job of Spark's.
func BenchmarkSpark(b *testing.B) {
	spark, dir := sparkFolder(b), b.TempDir()
	e, c := up(b, func(cfg *emulator.Config) {
		cfg.Dir, cfg.Spark, cfg.Environment = dir, spark, []string{"PATH=" + os.Getenv("PATH")}
	})
	c.cluster("sparky", 1)
	c.http = overPort(b, e.Addr(), filepath.Join(dir, "tls", "ca.pem"))
	for _, p := range processesOf(dir) {
		for name, unit := range map[string]string{"resourcemanager": "head-MiB", "nodemanager": "worker-MiB"} {
			if strings.Contains(p.command, "-Dproc_"+name) && !strings.Contains(p.command, "/bin/sh") {
				b.ReportMetric(residentMiB(b, p.pid), unit)
			}
		}
	}
	for name, code := range map[string]string{"statement": "6 * 7", "job": "sc.parallelize(range(1000), 2).sum()"} {
		b.ReportMetric(byGateway(b, c, code), name+"-ms")
	}
	tools, err := filepath.Glob(filepath.Join(dir, "hadoop", "*", "machine", "bin", "pyspark"))
	if err != nil || len(tools) != 1 {
		b.Fatal(tools, err)
	}
	for name, code := range map[string]string{"statement": "6 * 7", "job": "sc.parallelize(range(1000), 2).sum()"} {
		b.ReportMetric(byPipe(b, tools[0], code), name+"-pipe-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// Of each statement there are as many, and the median counts.
const statements = 31

func byGateway(b *testing.B, c *client, code string) float64 {
	b.Helper()
	session := fmt.Sprintf("/livy/sessions/%v", c.livy(201, "sparky", "POST /livy/sessions", `{"kind":"pyspark"}`).get("id"))
	clocktest.Missing(b, 3*time.Minute, func() string { return unless(c.livy(200, "sparky", "GET "+session+"/state", "").text("state"), "idle") })
	body, err := json.Marshal(map[string]string{"code": code})
	if err != nil {
		b.Fatal(err)
	}
	took := median(statements, func() {
		path := fmt.Sprintf("%s/statements/%v", session, c.livy(201, "sparky", "POST "+session+"/statements", string(body)).get("id"))
		for {
			if a := c.livy(200, "sparky", "GET "+path, ""); a.text("state") == "available" {
				if a.text("output.status") != "ok" {
					b.Fatal(a)
				}
				return
			}
		}
	})
	c.livy(200, "sparky", "DELETE "+session, "")
	return took
}

func byPipe(b *testing.B, pyspark, code string) float64 {
	b.Helper()
	script := filepath.Join(b.TempDir(), "pipe.py")
	if err := os.WriteFile(script, []byte(pipe), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(pyspark)
	cmd.Env = append(os.Environ(), "PYSPARK_DRIVER_PYTHON=python3", "PYSPARK_DRIVER_PYTHON_OPTS=-u "+script, "SPARK_LOCAL_IP=127.0.0.1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	line, err := json.Marshal(code)
	if err != nil {
		b.Fatal(err)
	}
	took := median(statements, func() {
		if _, err := in.Write(append(line, '\n')); err != nil || !lines.Scan() {
			b.Fatal("the bare process has ended", err)
		}
	})
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
	return took
}

// median of how long it takes, in ms.
func median(times int, do func()) float64 {
	var all []float64
	for range times {
		began := time.Now()
		do()
		all = append(all, float64(time.Since(began).Microseconds())/1e3)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func unless(got, want string) string {
	if got == want {
		return ""
	}
	return "it is " + got
}

// residentMiB is how much memory a process has.
func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest + " x")[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
