package execution_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lazulite.dev/emulator/aml/execution"
)

const storageAccount = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/account"

const cluster = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.BatchAI/workspaces/bai/clusters/c1"

// manager is a resource manager that knows Batch AI's jobs and container
// groups alone. What it is asked to run are processes of this host.
type manager struct {
	t   *testing.T
	env []string

	mu      sync.Mutex
	orders  map[string]*order
	placed  []string // ids of what was PUT, in order
	hold    bool     // jobs stay queued
	waiting string   // why
	refuse  *execution.ARMError
	changed chan struct{}
}

// order is one job or group.
type order struct {
	body    map[string]any
	state   string // queued, running, succeeded, failed
	code    int
	output  string
	ctx     context.Context
	end     context.CancelFunc
	stopped chan struct{}
}

func newManager(w *world) *manager {
	m := &manager{t: w.t, orders: map[string]*order{}, changed: make(chan struct{})}
	m.env = []string{"PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=" + w.proxy.URL, "SSL_CERT_FILE=" + w.cfg.BundleFile, "LANG=C.UTF-8"}
	w.t.Cleanup(func() {
		m.mu.Lock()
		var begun []*order
		for _, o := range m.orders {
			if o.state != "queued" {
				begun = append(begun, o)
			}
		}
		m.mu.Unlock()
		for _, o := range begun {
			o.end()
			<-o.stopped
		}
	})
	return m
}

// Do implements execution.ARM.
func (m *manager) Do(_ context.Context, method, target, _ string, body, out any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	notFound := &execution.ARMError{Status: http.StatusNotFound, Code: "ResourceNotFound", Message: target + " was not found."}
	id, verb := target, ""
	for _, v := range []string{"/terminate", "/containers/run/logs", "/listOutputFiles?outputdirectoryid=stdouterr", "/listOutputFiles?%24skiptoken=x&outputdirectoryid=stdouterr"} {
		if s, ok := strings.CutSuffix(target, v); ok {
			id, verb = s, v
		}
	}
	o := m.orders[id]
	switch {
	case id == workspace.ID():
		return answer(out, map[string]any{"properties": map[string]any{"storageAccount": storageAccount}})
	case target == storageAccount+"/listKeys" && method == http.MethodPost:
		return answer(out, map[string]any{"keys": []any{map[string]any{"value": "key1"}}})
	case o != nil && strings.HasPrefix(verb, "/listOutputFiles"):
		return answer(out, o.files(id, strings.Contains(verb, "skiptoken")))
	case strings.HasSuffix(id[:strings.LastIndex(id, "/")], "/experiments"):
		return nil
	case method == http.MethodPut && m.refuse != nil:
		return m.refuse
	case method == http.MethodPut && o != nil:
		return &execution.ARMError{Status: http.StatusConflict, Code: "Conflict", Message: "It is there."}
	case method == http.MethodPut:
		b, _ := json.Marshal(body)
		var in map[string]any
		_ = json.Unmarshal(b, &in)
		m.place(id, in)
		return nil
	case o == nil:
		return notFound
	case method == http.MethodDelete || verb == "/terminate":
		o.end()
		if o.state == "queued" {
			o.state = "failed"
			close(o.stopped)
		}
		if verb == "" {
			delete(m.orders, id)
		}
		return nil
	}
	var doc any
	switch {
	case verb == "/containers/run/logs":
		doc = map[string]any{"content": o.output}
	case strings.Contains(id, "/containerGroups/"):
		state := map[string]any{"state": map[string]string{"queued": "Waiting", "running": "Running"}[o.state]}
		if o.state == "succeeded" || o.state == "failed" {
			state = map[string]any{"state": "Terminated", "exitCode": o.code, "detailStatus": "Error"}
		}
		doc = map[string]any{"properties": map[string]any{"provisioningState": "Succeeded",
			"containers": []any{map[string]any{"properties": map[string]any{"instanceView": map[string]any{"currentState": state}}}}}}
	case o.state == "queued" && m.waiting != "":
		doc = map[string]any{"properties": map[string]any{"provisioningState": "succeeded", "executionState": o.state,
			"executionInfo": map[string]any{"errors": []any{map[string]any{"code": "JobWaiting", "message": m.waiting}}}}}
	default:
		doc = map[string]any{"properties": map[string]any{"provisioningState": "succeeded", "executionState": o.state,
			"executionInfo": map[string]any{"exitCode": o.code, "errors": []any{map[string]any{"code": "JobFailed", "message": "The job exited."}}}}}
	}
	return answer(out, doc)
}

func answer(out, doc any) error {
	b, _ := json.Marshal(doc)
	return json.Unmarshal(b, out)
}

// storageHost has the jobs' own files, each below its job's id.
const storageHost = "https://account.file.core.windows.net"

// files is a page of the list of a job's output directory.
func (o *order) files(id string, second bool) map[string]any {
	entry := func(name, content string) map[string]any {
		return map[string]any{"name": name, "downloadUrl": storageHost + id + "/" + name, "properties": map[string]any{"contentLength": len(content)}}
	}
	if second {
		return map[string]any{"value": []any{entry("stderr.txt", o.output), map[string]any{"name": "folder", "fileType": "directory"}}}
	}
	return map[string]any{"value": []any{entry("execution.log", "it runs"), entry("stdout.txt", "")},
		"nextLink": "https://management.azure.com" + id + "/listOutputFiles?outputdirectoryid=stdouterr&$skiptoken=x&api-version=2018-05-01"}
}

// RoundTrip implements http.RoundTripper: the storage that jobs' files are in.
func (m *manager) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, name := path.Split(r.URL.Path)
	rec := httptest.NewRecorder()
	switch o := m.orders[strings.TrimSuffix(id, "/")]; {
	case o == nil || r.URL.Scheme+"://"+r.URL.Host != storageHost || r.Method != http.MethodGet:
		rec.WriteHeader(http.StatusNotFound)
	case name == "execution.log":
		_, _ = rec.WriteString("it runs")
	case name == "stderr.txt":
		_, _ = rec.WriteString(o.output)
	}
	return rec.Result(), nil
}

// place must be called with the lock held.
func (m *manager) place(id string, body map[string]any) {
	o := &order{body: body, state: "queued", stopped: make(chan struct{})}
	o.ctx, o.end = context.WithCancel(context.Background())
	m.orders[id] = o
	m.placed = append(m.placed, id)
	if !m.hold {
		m.start(o)
	}
}

// start must be called with the lock held.
func (m *manager) start(o *order) {
	o.state = "running"
	node := m.t.TempDir()
	go func() {
		code, output := m.run(o, node)
		m.mu.Lock()
		defer m.mu.Unlock()
		o.code, o.output, o.state = code, output, "succeeded"
		if code != 0 {
			o.state = "failed"
		}
		close(o.stopped)
	}()
}

// release starts what is queued.
func (m *manager) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = false
	for _, o := range m.orders {
		if o.state == "queued" {
			m.start(o)
		}
	}
}

// run does what a toolkit of Batch AI, or a container, does.
func (m *manager) run(o *order, node string) (int, string) {
	p, _ := o.body["properties"].(map[string]any)
	env := append(append([]string{}, m.env...), "HOME="+node, "AZ_BATCH_NODE_ID=tvm-1", "AZ_BATCHAI_PS_HOSTS=10.0.0.4:2222", "AZ_BATCHAI_WORKER_HOSTS=10.0.0.4:2223,10.0.0.5:2222")
	for _, list := range []string{"secrets", "environmentVariables"} {
		all, _ := p[list].([]any)
		for _, s := range all {
			v := s.(map[string]any)
			env = append(env, fmt.Sprintf("%s=%s", v["name"], v["value"]))
		}
	}
	if containers, ok := p["containers"].([]any); ok {
		c := containers[0].(map[string]any)["properties"].(map[string]any)
		var command []string
		for _, word := range c["command"].([]any) {
			command = append(command, word.(string))
		}
		v := c["environmentVariables"].([]any)[0].(map[string]any)
		return m.exec(o, node, append(env, fmt.Sprintf("%s=%s", v["name"], v["secureValue"])), command...)
	}
	shared := filepath.Join(node, "shared")
	if err := os.MkdirAll(shared, 0o700); err != nil {
		return 1, err.Error()
	}
	env = append(env, "AZ_BATCHAI_JOB_TEMP="+filepath.Join(node, "job"), "AZ_BATCHAI_SHARED_JOB_TEMP="+shared)
	settings := func(name, field string) string {
		s, _ := p[name].(map[string]any)
		text, _ := s[field].(string)
		return text
	}
	if prepare := settings("jobPreparation", "commandLine"); prepare != "" {
		if code, out := m.exec(o, node, env, "/bin/sh", "-c", prepare); code != 0 {
			return code, out
		}
	}
	if line := settings("customToolkitSettings", "commandLine"); line != "" {
		return m.exec(o, node, env, "/bin/sh", "-c", line)
	}
	var lines []string
	if mpi, ok := p["customMpiSettings"].(map[string]any); ok {
		for i := range int(mpi["processCount"].(float64)) {
			lines = append(lines, "OMPI_COMM_WORLD_RANK="+strconv.Itoa(i)+" "+mpi["commandLine"].(string))
		}
	}
	if tf, ok := p["tensorFlowSettings"].(map[string]any); ok {
		for role, count := range map[string]string{"worker": "workerCount", "parameterServer": "parameterServerCount"} {
			for i := range int(tf[count].(float64)) {
				lines = append(lines, fmt.Sprintf("AZ_BATCHAI_TASK_INDEX=%d; %s %s %s", i, tf["pythonInterpreterPath"], tf["pythonScriptFilePath"], tf[role+"CommandLineArgs"]))
			}
		}
	}
	return m.all(o, node, env, lines)
}

// all runs processes side by side; the first that fails ends the others.
func (m *manager) all(o *order, node string, env, lines []string) (int, string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	code, said := 0, ""
	for _, line := range lines {
		wg.Go(func() {
			c, out := m.exec(o, node, env, "/bin/sh", "-c", line)
			mu.Lock()
			defer mu.Unlock()
			said += out
			if c != 0 && code == 0 {
				code = c
				o.end()
			}
		})
	}
	wg.Wait()
	return code, said
}

func (m *manager) exec(o *order, dir string, env []string, command ...string) (int, string) {
	cmd := exec.CommandContext(o.ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
			return 1, out.String() + err.Error()
		}
		return cmd.ProcessState.ExitCode(), out.String()
	}
	return 0, out.String()
}
