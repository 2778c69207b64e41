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
	"syscall"
	"time"
)

//go:embed scoring.py
var scoringScript string

// scoring measures calls of a deployed model as clients make them: at its
// address, as SDK 0.1.68 does, and by its name through the proxy, as later ones
// do; beside the same server started once more, by itself, with nothing of ours between.
func scoring(r *report, dir string) {
	e := launch(dir, "--engine", "process")
	defer e.stop()
	service := deploy(e)
	again, original, address, ok := twin(e.dir)
	if !ok {
		r.add("scoring requests, 16 connections", "-", "- (the service's processes can't be seen here: there is no /proc)", "-", "≥ 95%")
		return
	}
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	service.beside(r, "scoring requests at the service's address, 16 connections", service.URI, e, "http://"+address+"/score", "the same server, directly", "≥ 95%")
	service.beside(r, "the same by the service's name, through the proxy", service.Named, e, "http://"+address+"/score", "the same server, directly", "-")
	// What each takes of the processors does not depend on what else runs here.
	var ours, bare []float64
	for range 5 {
		ours = append(ours, cost(service.URI, append(family(original), e.cmd.Process.Pid)...))
		bare = append(bare, cost("http://"+address+"/score", family(again.Process.Pid)...))
	}
	slices.Sort(ours)
	slices.Sort(bare)
	r.add("processor time of a scoring request at the service's address, of server and emulator", fmt.Sprintf("%.3f ms", ours[2]), fmt.Sprintf("%.3f ms (the same server, directly)", bare[2]),
		fmt.Sprintf("%.2f×", ours[2]/bare[2]), "≤ 1.05×")
}

// cost is the processor time, in milliseconds, that processes take for a request.
func cost(uri string, pids ...int) float64 {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	before, begun := spent(pids), time.Now()
	rate, _ := storm(client, 16, post(uri))
	return 1000 * (spent(pids) - before).Seconds() / (rate * time.Since(begun).Seconds())
}

// family is a process with its children.
func family(pid int) []int {
	out := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		children, _ := os.ReadFile(t)
		for _, c := range strings.Fields(string(children)) {
			n, err := strconv.Atoi(c)
			check(err)
			out = append(out, n)
		}
	}
	return out
}

// spent is the processor time that processes have had.
func spent(pids []int) (all time.Duration) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		check(err)
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, ticks := range fields[11:13] {
			n, err := strconv.Atoi(ticks)
			check(err)
			all += time.Duration(n) * 10 * time.Millisecond // Linux shows hundredths
		}
	}
	return all
}

// post is a call of a service.
func post(uri string) func() *http.Request {
	return func() *http.Request {
		req, _ := http.NewRequest(http.MethodPost, uri, strings.NewReader(`{"data": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}`))
		req.Header.Set("Content-Type", "application/json")
		return req
	}
}

// dockerScoring is the same of a service in a container, beside the port that Docker itself publishes of it.
func dockerScoring(r *report, dir string) {
	if exec.Command("docker", "info").Run() != nil {
		return
	}
	e := launch(dir, "--engine", "docker")
	defer e.stop()
	service := deploy(e)
	out, err := exec.Command("docker", "ps", "--filter", "label=lazulite.group="+service.Group, "--format", "{{.ID}}").Output()
	check(err)
	published, err := exec.Command("docker", "port", strings.TrimSpace(string(out)), "80/tcp").Output()
	check(err)
	address, _, _ := strings.Cut(string(published), "\n")
	service.beside(r, "scoring requests at the address of a service in Docker, 16 connections", service.URI, e, "http://"+address+"/score", "the port that Docker publishes of it", "≥ 95%")
}

// scored is what scoring.py says of its service.
type scored struct{ URI, Named, Group string }

// deploy has the SDK deploy a model that costs nothing.
func deploy(e *emulator) (service scored) {
	out, err := e.script(scoringScript, strconv.Itoa(os.Getpid()))
	check(err)
	check(json.Unmarshal(out, &service))
	return service
}

// beside calls uri as the emulator's environment has clients call it, and bare without any of it, in turns.
func (s scored) beside(r *report, what, uri string, e *emulator, bare, reference, aim string) {
	proxy, err := url.Parse("http://" + e.addr)
	check(err)
	// NO_PROXY has this host's loopback.
	through := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, Proxy: func(r *http.Request) (*url.URL, error) {
		if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() {
			return nil, nil
		}
		return proxy, nil
	}}}
	directly := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	rps, p99, refRPS, refP99 := beside(through, post(uri), directly, post(bare))
	r.add(what, fmt.Sprintf("%.0f/s, p99 %s", rps, ms(p99)), fmt.Sprintf("%.0f/s, p99 %s (%s)", refRPS, ms(refP99), reference), fmt.Sprintf("%.0f%%", 100*rps/refRPS), aim)
}

// twin starts the scoring server that runs below dir, the original, once more, at a port of its own.
func twin(dir string) (cmd *exec.Cmd, original int, address string, ok bool) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(err)
	for _, p := range processes {
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		check(err)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
		args := commandLine(id)
		bind := slices.Index(args, "--bind")
		if bind < 0 || !bytes.Contains(environ, []byte("HOME="+dir)) {
			continue
		}
		// Its worker has the same command line.
		if original = id; parent(id) != 0 && slices.Contains(commandLine(parent(id)), "--bind") {
			original = parent(id)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		address = "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		check(l.Close())
		args[bind+1] = address
		cmd = exec.Command(args[0], args[1:]...)
		cmd.Env = strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
		// The kernel shares processors out by sessions: it has one of its own, as the service has.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		// It has a log as well.
		log, err := os.Create(filepath.Join(dir, "twin.log"))
		check(err)
		cmd.Stdout, cmd.Stderr = log, log
		check(cmd.Start())
		check(log.Close())
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			resp, err := http.Get("http://" + address + "/")
			if err == nil {
				_ = resp.Body.Close()
				return cmd, original, address, true
			}
		}
		_ = cmd.Process.Kill()
		return nil, 0, "", false
	}
	return nil, 0, "", false
}

func commandLine(pid int) []string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
}

// parent is a process's parent; 0 if it is gone.
func parent(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}
