// Command bench measures lazulite beside references, in one run, and prints
// docs/performance.md. It knows the emulator by its binary alone.
//
//	bench -binary bin/lazulite -python .venv/sdk2018/bin/python > docs/performance.md
//
// Every figure has its reference run right beside it on the same machine, so
// that the ratio holds where the absolute numbers do not.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	binary = flag.String("binary", "bin/lazulite", "the emulator")
	python = flag.String("python", "", "a Python with azureml 0.1.68; empty: the figures that need it are left out")
	only   = flag.String("only", "", "a part alone: machines, scoring or spark; empty: all")
	long   = flag.Duration("for", 2*time.Second, "length of each turn of a throughput measurement")
	serve  = flag.String("reference-server", "", "internal: serve these bytes on TLS")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *serve != "" {
		referenceServer(*serve)
		return
	}
	dir, err := os.MkdirTemp("", "lazulite-bench-")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	report := &report{}
	if *only == "machines" {
		machines(report, dir)
		report.print(os.Stdout)
		return
	}
	if *only == "scoring" {
		scoring(report, filepath.Join(dir, "process"))
		dockerScoring(report, filepath.Join(dir, "docker"))
		report.print(os.Stdout)
		return
	}
	if *only == "spark" {
		sparkRuns(report, dir)
		livy(report)
		report.print(os.Stdout)
		return
	}
	start(report, dir)
	e := launch(filepath.Join(dir, "data"))
	defer e.stop()
	throughput(report, e)
	tokens(report, e)
	memory(report, e)
	writes(report, filepath.Join(dir, "kill"))
	clusters(report)
	containerGroups(report)
	livy(report)
	if *python != "" {
		clientRuns(report, e)
		scoring(report, filepath.Join(dir, "process"))
		dockerScoring(report, filepath.Join(dir, "docker"))
		sparkRuns(report, dir)
	}
	machines(report, dir)
	report.print(os.Stdout)
}

func check(err error) {
	if err != nil {
		log.Fatal("bench: ", err)
	}
}

// report is a table of figures.
type report struct{ rows [][5]string }

func (r *report) add(what, measured, reference, ratio, aim string) {
	log.Printf("%s: %s (reference: %s; %s; aim: %s)", what, measured, reference, ratio, aim)
	r.rows = append(r.rows, [5]string{what, measured, reference, ratio, aim})
}

func (r *report) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "# Performance\n\nMade by `make bench` on %s: %d cores, %s, %s/%s. Client and server share the cores.\nEach figure stands beside a reference measured in the same run.\n\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	_, _ = fmt.Fprintln(w, "| what | lazulite | reference | ratio | aim |\n|---|---|---|---|---|")
	for _, row := range r.rows {
		_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(row[:], " | "))
	}
}

// emulator is a running lazulite.
type emulator struct {
	cmd  *exec.Cmd
	addr string
	dir  string
	env  map[string]string
	tls  *tls.Config
}

// launch starts the binary and waits for its word on a pipe.
func launch(dir string, flags ...string) *emulator {
	r, w, err := os.Pipe()
	check(err)
	cmd := exec.Command(*binary, append([]string{"up", "--data", dir, "--listen", "127.0.0.1:0", "--ready-fd", "3"}, flags...)...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{w}, os.Stderr
	check(cmd.Start())
	_ = w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	check(err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		log.Fatal("bench: ", line)
	}
	return &emulator{cmd: cmd, addr: addr, dir: dir}
}

func (e *emulator) stop() {
	_ = e.cmd.Process.Signal(os.Interrupt)
	_ = e.cmd.Wait()
}

// load reads what a client would be given.
func (e *emulator) load() {
	if e.env != nil {
		return
	}
	out, err := exec.Command(*binary, "env", "--data", e.dir, "-o", "json").Output()
	check(err)
	check(json.Unmarshal(out, &e.env))
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(e.env["NODE_EXTRA_CA_CERTS"])
	check(err)
	pool.AppendCertsFromPEM(pem)
	e.tls = &tls.Config{RootCAs: pool}
}

// client reaches the emulator by TLS under any of Azure's names.
func (e *emulator) client() *http.Client {
	e.load()
	return direct(e.addr, e.tls)
}

func direct(addr string, cfg *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: cfg, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: false,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}
}

func (e *emulator) token() string {
	form := "grant_type=client_credentials&resource=https%3A%2F%2Fmanagement.core.windows.net%2F&client_id=" + e.env["AZURE_CLIENT_ID"] + "&client_secret=" + e.env["AZURE_CLIENT_SECRET"]
	resp, err := e.client().Post("https://login.microsoftonline.com/"+e.env["AZURE_TENANT_ID"]+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(form))
	check(err)
	defer func() { _ = resp.Body.Close() }()
	var doc struct {
		AccessToken string `json:"access_token"`
	}
	check(json.NewDecoder(resp.Body).Decode(&doc))
	return doc.AccessToken
}

func (e *emulator) put(client *http.Client, token, path string, body any) (int, []byte) {
	b, err := json.Marshal(body)
	check(err)
	req, err := http.NewRequest(http.MethodPut, "https://management.azure.com"+path, bytes.NewReader(b))
	check(err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, out
}

// start measures exec to first answer, warm and cold, beside the reference server.
func start(r *report, dir string) {
	first := func(name string, args ...string) time.Duration {
		begun := time.Now()
		cmd := exec.Command(name, args...)
		out, err := cmd.StdoutPipe()
		check(err)
		check(cmd.Start())
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		line, err := bufio.NewReader(out).ReadString('\n')
		check(err)
		addr := line[strings.Index(line, "http"):]
		addr, _, _ = strings.Cut(strings.TrimSpace(addr), " ")
		insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := insecure.Get(addr + "/lazulite/status")
		check(err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return time.Since(begun)
	}
	data := filepath.Join(dir, "start")
	cold := first(*binary, "up", "--data", data, "--listen", "127.0.0.1:0")
	self, err := os.Executable()
	check(err)
	var warm, bare []time.Duration
	for range 15 {
		warm = append(warm, first(*binary, "up", "--data", data, "--listen", "127.0.0.1:0"))
		bare = append(bare, first(self, "-reference-server", "{}"))
	}
	r.add("warm start to first answer, median of 15", ms(median(warm)), ms(median(bare))+" (a bare Go TLS server that makes its key)", ratio(median(warm), median(bare)), "≤ 10 ms")
	r.add("first start, which makes the CA", ms(cold), "-", "-", "apart")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f×", float64(a)/float64(b)) }

// storm sends requests over 16 connections and returns requests/s and the 99th percentile.
func storm(client *http.Client, connections int, request func() *http.Request) (float64, time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []time.Duration
	end := time.Now().Add(*long)
	begun := time.Now()
	for range connections {
		wg.Go(func() {
			var mine []time.Duration
			for time.Now().Before(end) {
				t := time.Now()
				resp, err := client.Do(request())
				check(err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode >= 300 {
					log.Fatalf("bench: answered %s", resp.Status)
				}
				mine = append(mine, time.Since(t))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.Sort(all)
	return float64(len(all)) / time.Since(begun).Seconds(), all[len(all)*99/100]
}

// beside runs both storms in turns, so that what else the machine does falls on
// both, and returns the median turn of each.
func beside(a *http.Client, ra func() *http.Request, b *http.Client, rb func() *http.Request) (float64, time.Duration, float64, time.Duration) {
	const turns = 5
	type turn struct {
		rate float64
		p99  time.Duration
	}
	var as, bs []turn
	for range turns {
		r, p := storm(a, 16, ra)
		as = append(as, turn{r, p})
		r, p = storm(b, 16, rb)
		bs = append(bs, turn{r, p})
	}
	byRate := func(x, y turn) int { return int(x.rate - y.rate) }
	slices.SortFunc(as, byRate)
	slices.SortFunc(bs, byRate)
	return as[turns/2].rate, as[turns/2].p99, bs[turns/2].rate, bs[turns/2].p99
}

// reference starts a bare net/http TLS handler that answers with body.
func reference(body string) (client *http.Client, url string, stop func()) {
	self, err := os.Executable()
	check(err)
	cmd := exec.Command(self, "-reference-server", body)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	check(err)
	url = strings.TrimSpace(line)
	return direct(strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true}), url, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}

func get(url, token string) func() *http.Request {
	return func() *http.Request {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return req
	}
}

func throughput(r *report, e *emulator) {
	client := e.client()
	token := e.token()
	group := "/subscriptions/" + e.env["AZURE_SUBSCRIPTION_ID"] + "/resourcegroups/bench"
	status, body := e.put(client, token, group+"?api-version=2018-05-01", map[string]any{"location": "eastus"})
	if status != http.StatusCreated {
		log.Fatalf("bench: group: %d %s", status, body)
	}
	account := group + "/providers/Microsoft.KeyVault/vaults/benchvault"
	status, body = e.put(client, token, account+"?api-version=2018-02-14", map[string]any{"location": "eastus",
		"properties": map[string]any{"tenantId": e.env["AZURE_TENANT_ID"], "sku": map[string]any{"name": "standard", "family": "A"}, "accessPolicies": []any{}}})
	if status >= 300 {
		log.Fatalf("bench: vault: %d %s", status, body)
	}
	refClient, url, stop := reference(string(body))
	defer stop()
	rps, p99, refRPS, refP99 := beside(client, get("https://management.azure.com"+account+"?api-version=2018-02-14", token), refClient, get(url, token))
	r.add("GET of one resource over HTTPS, token verified, 16 connections", fmt.Sprintf("%.0f/s, p99 %s", rps, ms(p99)),
		fmt.Sprintf("%.0f/s, p99 %s (bare net/http TLS handler, same bytes)", refRPS, ms(refP99)), fmt.Sprintf("%.0f%%", 100*rps/refRPS), "≥ 70%")
}

func tokens(r *report, e *emulator) {
	form := "grant_type=client_credentials&resource=https%3A%2F%2Fmanagement.core.windows.net%2F&client_id=" + e.env["AZURE_CLIENT_ID"] + "&client_secret=" + e.env["AZURE_CLIENT_SECRET"]
	post := func(url string) func() *http.Request {
		return func() *http.Request {
			req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(form))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return req
		}
	}
	refClient, url, stop := reference(strings.Repeat("x", 1400))
	defer stop()
	rps, p99, refRPS, refP99 := beside(e.client(), post("https://login.microsoftonline.com/"+e.env["AZURE_TENANT_ID"]+"/oauth2/token"), refClient, post(url))
	r.add("token requests, 16 connections", fmt.Sprintf("%.0f/s, p99 %s", rps, ms(p99)), fmt.Sprintf("%.0f/s, p99 %s (bare handler)", refRPS, ms(refP99)),
		fmt.Sprintf("%.0f%%", 100*rps/refRPS), "cheap")
}

func rss(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

func memory(r *report, e *emulator) {
	fresh := launch(e.dir + "-idle")
	// Idle means that nothing has been asked for yet but readiness.
	time.Sleep(2 * time.Second)
	idle := rss(fresh.cmd.Process.Pid)
	fresh.stop()
	refCmd := exec.Command(os.Args[0], "-reference-server", "{}")
	out, err := refCmd.StdoutPipe()
	check(err)
	check(refCmd.Start())
	_, _ = bufio.NewReader(out).ReadString('\n')
	bare := rss(refCmd.Process.Pid)
	_ = refCmd.Process.Kill()
	_ = refCmd.Wait()
	r.add("idle RSS", fmt.Sprintf("%.1f MiB", idle), fmt.Sprintf("%.1f MiB (a bare Go TLS server)", bare), fmt.Sprintf("%.1f×", idle/bare), "< 20 MiB")
	r.add("RSS after the storms above", fmt.Sprintf("%.1f MiB", rss(e.cmd.Process.Pid)), "-", "-", "-")
}

// writes kills the emulator while clients write, and counts what it had acknowledged and kept.
func writes(r *report, dir string) {
	acknowledged, kept := 0, 0
	for round := range 5 {
		e := launch(dir)
		client := e.client()
		token := e.token()
		var mu sync.Mutex
		var names []string
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					path := fmt.Sprintf("/subscriptions/%s/resourcegroups/kill-%d-%d-%d", e.env["AZURE_SUBSCRIPTION_ID"], round, w, i)
					if status, _ := e.put(client, token, path+"?api-version=2018-05-01", map[string]any{"location": "eastus"}); status != http.StatusCreated {
						return
					}
					mu.Lock()
					names = append(names, path)
					n := len(names)
					mu.Unlock()
					if n == 100+23*round {
						_ = e.cmd.Process.Kill()
					}
				}
			})
		}
		wg.Wait()
		_ = e.cmd.Wait()
		again := launch(dir)
		client = again.client()
		token = again.token()
		for _, name := range names {
			resp, err := client.Do(get("https://management.azure.com"+name+"?api-version=2018-05-01", token)())
			check(err)
			_ = resp.Body.Close()
			acknowledged++
			if resp.StatusCode == http.StatusOK {
				kept++
			}
		}
		again.stop()
	}
	r.add("acknowledged writes kept after kill -9 (5 kills under load)", fmt.Sprintf("%d of %d", kept, acknowledged), "0 of 50 in two of three Go peers, 50 of 50 in the third", "-", "all")
}
