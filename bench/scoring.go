package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed scoring.py
var scoringScript string

// scoring measures calls of a deployed model, through the proxy as clients make
// them, beside the same server started once more, by itself, with nothing of ours between.
func scoring(r *report, e *emulator) {
	e.load()
	cmd := exec.Command(*python, "-W", "ignore", "-c", scoringScript)
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
	var service struct{ URI string }
	check(json.Unmarshal([]byte(lines[len(lines)-1]), &service))
	again, address, ok := twin(e.dir)
	if !ok {
		r.add("scoring requests, 16 connections", "-", "- (the service's processes can't be seen here: it runs in Docker, or there is no /proc)", "-", "≥ 95%")
		return
	}
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	proxy, err := url.Parse("http://" + e.addr)
	check(err)
	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), MaxIdleConnsPerHost: 64}}
	bare := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	post := func(uri string) func() *http.Request {
		return func() *http.Request {
			req, _ := http.NewRequest(http.MethodPost, uri, strings.NewReader(`{"data": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}`))
			req.Header.Set("Content-Type", "application/json")
			return req
		}
	}
	rps, p99, refRPS, refP99 := beside(through, post(service.URI), bare, post("http://"+address+"/score"))
	r.add("scoring requests, 16 connections", fmt.Sprintf("%.0f/s, p99 %s", rps, ms(p99)), fmt.Sprintf("%.0f/s, p99 %s (the same server, directly)", refRPS, ms(refP99)),
		fmt.Sprintf("%.0f%%", 100*rps/refRPS), "≥ 95%")
}

// twin starts the scoring server that runs below dir once more, at a port of its own.
func twin(dir string) (cmd *exec.Cmd, address string, ok bool) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(err)
	for _, p := range processes {
		line, _ := os.ReadFile(p)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
		args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		bind := slices.Index(args, "--bind")
		if bind < 0 || !bytes.Contains(environ, []byte("HOME="+dir)) {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		address = "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		check(l.Close())
		args[bind+1] = address
		cmd = exec.Command(args[0], args[1:]...)
		cmd.Env = strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
		check(cmd.Start())
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			resp, err := http.Get("http://" + address + "/")
			if err == nil {
				_ = resp.Body.Close()
				return cmd, address, true
			}
		}
		_ = cmd.Process.Kill()
		return nil, "", false
	}
	return nil, "", false
}
