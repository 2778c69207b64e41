package serving_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lazulite.dev/emulator/aml/execution"
)

// manager is a resource manager that knows container groups alone: each is a
// process of this host, started again as its restart policy wants.
type manager struct {
	t   *testing.T
	env []string // of each container

	mu     sync.Mutex
	groups map[string]*process
	puts   int
	hosts  map[string]string // address of a group -> address of this host
	refuse *execution.ARMError
	web    http.Transport // to the groups; as the emulator's, it takes any certificate
}

type process struct {
	m        *manager
	doc      map[string]any
	address  string
	dir      string
	restarts int
	code     *int
	stop     context.CancelFunc
	done     chan struct{}
}

func newManager(t *testing.T, env []string) *manager {
	m := &manager{t: t, env: env, groups: map[string]*process{}, hosts: map[string]string{}, web: http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(m.end)
	t.Cleanup(m.web.CloseIdleConnections)
	return m
}

func (m *manager) end() {
	m.mu.Lock()
	all := m.groups
	m.groups = map[string]*process{}
	m.mu.Unlock()
	for _, p := range all {
		p.stop()
		<-p.done
	}
}

// Do implements execution.ARM.
func (m *manager) Do(ctx context.Context, method, path, version string, body, out any) error {
	if version != "2018-10-01" || !strings.Contains(path, "/providers/Microsoft.ContainerInstance/containerGroups/") {
		return &execution.ARMError{Status: 400, Code: "InvalidRequest", Message: path + " " + version}
	}
	_, name, _ := strings.Cut(path, "/containerGroups/")
	name, rest, logs := strings.Cut(name, "/containers/")
	m.mu.Lock()
	p := m.groups[name]
	refuse := m.refuse
	m.mu.Unlock()
	absent := &execution.ARMError{Status: 404, Code: "ResourceNotFound", Message: "no " + name}
	answer := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil || out == nil {
			return err
		}
		return json.Unmarshal(b, out)
	}
	switch method {
	case http.MethodPut:
		if refuse != nil {
			return refuse
		}
		if p != nil {
			p.stop()
			<-p.done
		}
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		m.start(name, b, p)
	case http.MethodDelete:
		if p == nil {
			return absent
		}
		p.stop()
		<-p.done
		m.mu.Lock()
		delete(m.groups, name)
		m.mu.Unlock()
	default:
		if p == nil {
			return absent
		}
		if logs {
			text, err := os.ReadFile(filepath.Join(p.dir, "log"))
			if err != nil {
				return err
			}
			lines := strings.SplitAfter(string(text), "\n")
			var tail int
			if _, after, ok := strings.Cut(rest, "tail="); ok {
				_, _ = fmt.Sscan(after, &tail)
			}
			if tail > 0 && len(lines) > tail+1 {
				lines = lines[len(lines)-tail-1:]
			}
			return answer(map[string]string{"content": strings.Join(lines, "")})
		}
		return answer(p.view())
	}
	return nil
}

func (m *manager) start(name string, body []byte, before *process) {
	m.t.Helper()
	p := &process{m: m, dir: m.t.TempDir(), done: make(chan struct{})}
	if err := json.Unmarshal(body, &p.doc); err != nil {
		m.t.Fatal(err)
	}
	c := p.doc["properties"].(map[string]any)["containers"].([]any)[0].(map[string]any)["properties"].(map[string]any)
	env := append([]string{"HOME=" + filepath.Join(p.dir, "home"), "TMPDIR=" + p.dir}, m.env...)
	for _, v := range c["environmentVariables"].([]any) {
		v := v.(map[string]any)
		for _, field := range []string{"value", "secureValue"} {
			if text, ok := v[field].(string); ok {
				env = append(env, v["name"].(string)+"="+text)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "home"), 0o700); err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.puts++
	p.address = fmt.Sprintf("198.18.0.%d", m.puts)
	if before != nil {
		p.address = before.address
	}
	if c["ports"] != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			m.t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		_ = l.Close()
		m.hosts[p.address] = "127.0.0.1:" + port
		env = append(env, "LAZULITE_LISTEN_80=127.0.0.1:"+port, "LAZULITE_LISTEN_443=127.0.0.1:"+port)
	}
	m.groups[name] = p
	m.mu.Unlock()
	var command []string
	for _, word := range c["command"].([]any) {
		command = append(command, word.(string))
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	always := p.doc["properties"].(map[string]any)["restartPolicy"] == "Always"
	go p.run(ctx, command, env, always)
}

func (p *process) run(ctx context.Context, command, env []string, always bool) {
	defer close(p.done)
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.m.t.Error(err)
		return
	}
	defer func() { _ = log.Close() }()
	for ctx.Err() == nil {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, p.dir, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			p.m.t.Error(err)
			return
		}
		ended := make(chan struct{})
		go func() {
			select {
			case <-ctx.Done():
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			case <-ended:
			}
		}()
		_ = cmd.Wait()
		close(ended)
		p.m.mu.Lock()
		code := cmd.ProcessState.ExitCode()
		p.code = &code
		if always {
			p.restarts++
			if p.restarts < 3 {
				p.code = nil
			}
		}
		again := always && p.restarts < 3
		p.m.mu.Unlock()
		if !again {
			break
		}
	}
	<-ctx.Done()
}

func (p *process) view() any {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	current := map[string]any{"state": "Running", "detailStatus": ""}
	if p.code != nil {
		current = map[string]any{"state": "Terminated", "exitCode": *p.code, "detailStatus": "Completed"}
		if p.restarts >= 3 {
			current = map[string]any{"state": "Waiting", "detailStatus": "CrashLoopBackOff: Back-off 20s restarting failed"}
		}
	}
	properties := map[string]any{"provisioningState": "Succeeded", "containers": []any{map[string]any{"properties": map[string]any{
		"instanceView": map[string]any{"restartCount": p.restarts, "currentState": current}}}}}
	if _, ok := p.m.hosts[p.address]; ok {
		properties["ipAddress"] = map[string]any{"ip": p.address, "fqdn": "label.eastus2.azurecontainer.io"}
	}
	return map[string]any{"properties": properties}
}

// RoundTrip implements http.RoundTripper: it reaches the groups at their addresses.
func (m *manager) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	to := m.hosts[r.URL.Hostname()]
	m.mu.Unlock()
	if to == "" {
		return nil, fmt.Errorf("no route to %s", r.URL.Host)
	}
	out := r.Clone(r.Context())
	out.URL.Host = to
	return m.web.RoundTrip(out)
}

// call posts to a service and returns status, headers and body.
func (m *manager) call(method, uri, key, body string) (int, http.Header, string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, uri, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := m.RoundTrip(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}
