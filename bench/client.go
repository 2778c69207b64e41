package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

//go:embed client.py
var clientScript string

// clientRuns measures what a user of the SDK waits for.
func clientRuns(r *report, e *emulator) {
	refClient, url, stop := reference(`{}`)
	defer stop()
	_ = refClient
	cmd := exec.Command(*python, "-W", "ignore", "-c", clientScript, url)
	cmd.Env = os.Environ()
	for k, v := range e.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	home, err := os.MkdirTemp("", "lazulite-bench-home-")
	check(err)
	defer func() { _ = os.RemoveAll(home) }()
	cmd.Env = append(cmd.Env, "HOME="+home, "TMPDIR="+home)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	check(err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var f struct{ Submit, Direct, Logs, Posts float64 }
	check(json.Unmarshal([]byte(lines[len(lines)-1]), &f))
	r.add("submit → Completed of an empty script, SDK 0.1.68, local", fmt.Sprintf("%.2f s", f.Submit), fmt.Sprintf("%.2f s (the script directly)", f.Direct),
		fmt.Sprintf("+%.2f s", f.Submit-f.Direct), "≤ 2 s more")
	r.add("1,000 run.log calls", fmt.Sprintf("%.2f s", f.Logs), fmt.Sprintf("%.2f s (1,000 bare POSTs by requests)", f.Posts), fmt.Sprintf("%.2f×", f.Logs/f.Posts), "-")
}
