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
	out, err := e.script(clientScript, url)
	check(err)
	var f struct{ Submit, Direct, Logs, Posts float64 }
	check(json.Unmarshal(out, &f))
	r.add("submit → Completed of an empty script, SDK 0.1.68, local", fmt.Sprintf("%.2f s", f.Submit), fmt.Sprintf("%.2f s (the script directly)", f.Direct),
		fmt.Sprintf("+%.2f s", f.Submit-f.Direct), "≤ 2 s more")
	r.add("1,000 run.log calls", fmt.Sprintf("%.2f s", f.Logs), fmt.Sprintf("%.2f s (1,000 bare POSTs by requests)", f.Posts), fmt.Sprintf("%.2f×", f.Logs/f.Posts), "-")
}

// script runs one of ours with the SDK, as a client of the emulator in a home
// of its own, and gives the last line that it prints.
func (e *emulator) script(text string, arguments ...string) ([]byte, error) {
	e.load()
	cmd := exec.Command(*python, append([]string{"-W", "ignore", "-c", text}, arguments...)...)
	cmd.Env = os.Environ()
	for k, v := range e.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	home, err := os.MkdirTemp("", "lazulite-bench-home-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	cmd.Env = append(cmd.Env, "HOME="+home, "TMPDIR="+home)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return []byte(lines[len(lines)-1]), nil
}
