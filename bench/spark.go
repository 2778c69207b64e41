package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"log"
	"path/filepath"
)

//go:embed spark.py
var sparkScript string

// sparkRuns measures runs of PySpark on a cluster of processes, beside plain
// spark-submit of the same script on its head node: in turns, so that what else
// the machine does falls on both.
func sparkRuns(r *report, dir string) {
	e := launch(filepath.Join(dir, "spark"), "--engine", "process")
	defer e.stop()
	out, err := e.script(sparkScript)
	if err != nil {
		log.Printf("bench: figures of Spark are left out: %v", err)
		return
	}
	var figures map[string]struct{ Run, Plain float64 }
	check(json.Unmarshal(out, &figures))
	for _, mode := range []string{"client", "cluster"} {
		f := figures[mode]
		r.add("submit → Completed of a PySpark script on an HDInsight cluster of processes, deploy mode "+mode+", SDK 0.1.68, median of 3",
			fmt.Sprintf("%.2f s", f.Run), fmt.Sprintf("%.2f s (`spark-submit` of it on the head node)", f.Plain), fmt.Sprintf("+%.2f s", f.Run-f.Plain), "≤ 5 s more")
	}
}
