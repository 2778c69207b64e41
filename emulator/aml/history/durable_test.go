package history_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Ensure that run numbers are unique and no write is lost when many clients write at once.
func TestConcurrent(t *testing.T) {
	s := serve(t, options{})
	ended, stop := s.Ended()
	defer stop()
	const clients, each = 8, 20
	var wg sync.WaitGroup
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				run := fmt.Sprintf("r%d-%d", c, i)
				s.must("", "PATCH", "/experiments/exp/runs/"+run, `{}`)
				s.must("", "PATCH", "/experiments/exp/runs/shared", fmt.Sprintf(`{"properties":{"c%d":"%d"}}`, c, i))
				s.must("", "POST", "/experiments/exp/runs/shared/metrics", metricOf("shared", fmt.Sprint(c*1000+i), "azureml.v1.table", "t", `[{"x":1}]`, ""))
				s.must("", "POST", "/experiments/exp/runs/"+run+"/events", event("Completed", run, ""))
			}
		}()
	}
	seen := map[string]bool{}
	for range clients * each {
		c := <-ended
		if c.Status != "Completed" || seen[c.RunID] {
			t.Errorf("told %+v", c)
		}
		seen[c.RunID] = true
	}
	wg.Wait()
	v := s.must("", "GET", "/experiments/exp/runs?$top=1000", "")
	numbers := map[string]bool{}
	for i := range clients*each + 1 {
		n := at(v, fmt.Sprintf("value.%d.runNumber", i))
		if k, err := strconv.Atoi(n); err != nil || k < 1 || k > clients*each+1 || numbers[n] {
			t.Errorf("run number %s", n)
		}
		numbers[n] = true
	}
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runs/shared", want: []string{"properties.#=" + itoa(clients)}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq shared", want: []string{"count=1", "value.0.numCells=" + itoa(clients*each)}},
		{method: "GET", path: "/experiments/exp/runcounts", want: []string{"completed=" + itoa(clients*each), "notStarted=1"}},
	})
}

// Ensure that all is there after a restart on the same file, and goes on where it was.
func TestRestart(t *testing.T) {
	path := file(t)
	s := serve(t, options{path: path})
	tree(t, s)
	s.must("", "POST", "/experiments/exp/runs/r1/metrics", scalar("r1", "1", "m", "1"))
	s.must("", "POST", "/experiments/exp/runs/r1/metrics", metricOf("r1", "2", "azureml.v1.table", "t", `[{"x":1}]`, ""))
	paths := []string{"/experiments", "/experiments/exp", "/experiments/exp/runs", "/experiments/exp/runs/r1/children", "/experiments/exp/runs/k1/events",
		"/experiments/exp/runs/k1/details", "/experiments/exp/metrics", "/experiments/exp/runcounts"}
	before := map[string]string{}
	for _, p := range paths {
		before[p] = at(s.must("", "GET", p, ""), "")
	}
	now := s.clock.Now()
	s.stop()
	s = serve(t, options{path: path, at: now})
	for _, p := range paths {
		if after := at(s.must("", "GET", p, ""), ""); after != before[p] {
			t.Errorf("%s:\n%s\n%s", p, before[p], after)
		}
	}
	s.play(t, []step{
		{method: "PATCH", path: "/experiments/exp/runs/next", body: `{}`, want: []string{"runNumber=7"}},
		{method: "POST", path: "/experiments/exp/runs/r1/metrics", body: scalar("r1", "3", "m", "2")},
		{method: "POST", path: "/experiments/exp/runs/r1/metrics", body: metricOf("r1", "4", "azureml.v1.table", "t", `[{"x":2}]`, "")},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq r1", want: []string{"value.0.cells.0.m=1", `value.1.cells=[{"x":1},{"x":2}]`, "value.2.cells.0.m=2"}},
	})
}

// childEnv names the database to a process that TestKill kills.
const childEnv = "HISTORY_TEST_DATABASE"

// TestChild is the process that is killed: it serves until then.
func TestChild(t *testing.T) {
	path := os.Getenv(childEnv)
	if path == "" {
		t.Skip("runs only as the child of TestKill")
	}
	s := serve(t, options{path: path, real: true})
	fmt.Printf("URL %s\n", s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Ensure that kill -9 loses no acknowledged metric and no run number is given twice.
func TestKill(t *testing.T) {
	path := file(t)
	acked := map[string]bool{}
	numbers := map[int]string{}
	id := 0
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var url string
		for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
			url, _ = strings.CutPrefix(lines.Text(), "URL ")
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		send := func(method, path, body string) (string, bool) {
			req, err := http.NewRequestWithContext(t.Context(), method, url+root+path, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return "", false
			}
			req.Header.Set("Authorization", "Bearer user")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return "", false
			}
			defer func() { _ = res.Body.Close() }()
			b, err := io.ReadAll(res.Body)
			return string(b), err == nil && res.StatusCode == http.StatusOK
		}
		if _, ok := send("PATCH", "/experiments/exp/runs/m", `{}`); !ok {
			t.Fatal("the child does not answer")
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for c := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 100000 {
					mu.Lock()
					id++
					n := fmt.Sprintf("%06d", id)
					mu.Unlock()
					if _, ok := send("POST", "/experiments/exp/runs/m/metrics", scalar("m", n, "m", "1")); !ok {
						return
					}
					mu.Lock()
					acked["000000"+n] = true
					mu.Unlock()
					run := fmt.Sprintf("r%d-%d-%d", round, c, i)
					if b, ok := send("PATCH", "/experiments/exp/runs/"+run, `{}`); ok {
						k, err := strconv.Atoi(at(decode([]byte(b)), "runNumber"))
						mu.Lock()
						if err != nil || numbers[k] != "" {
							t.Errorf("number %d is of %s and of %s: %v", k, numbers[k], run, err)
						}
						numbers[k] = run
						mu.Unlock()
					}
					if i == 30 {
						once.Do(func() { close(enough) })
					}
				}
			}()
		}
		<-enough
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		_ = in.Close()
		wg.Wait()
	}
	s := serve(t, options{path: path, real: true})
	next := ""
	for {
		p := "/experiments/exp/metrics?$filter=RunId eq m"
		if next != "" {
			p += "&$continuationtoken=" + next
		}
		v := s.must("", "GET", p, "")
		for i := 0; ; i++ {
			m := strings.Trim(at(v, fmt.Sprintf("value.%d.metricId", i)), `"`)
			if m == "absent" {
				break
			}
			delete(acked, m[len(m)-12:])
		}
		if next = strings.Trim(at(v, "continuationToken"), `"`); next == "null" {
			break
		}
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged metrics are lost", len(acked))
	}
	given := make([]int, 0, len(numbers))
	for k, run := range numbers {
		given = append(given, k)
		if got := at(s.must("", "GET", "/experiments/exp/runs/"+run, ""), "runNumber"); got != itoa(k) {
			t.Errorf("%s has number %s, was told %d", run, got, k)
		}
	}
	sort.Ints(given)
	t.Logf("%d runs up to number %d", len(given), given[len(given)-1])
}
