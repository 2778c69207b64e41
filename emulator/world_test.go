package emulator_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

// up starts an emulator in this process and returns a client of it, logged in.
func up(t testing.TB, change ...func(*emulator.Config)) (*emulator.Emulator, *client) {
	t.Helper()
	cfg := emulator.Config{Dir: t.TempDir(), Offline: true, Around: openapitest.Around(t), Logger: slog.New(slog.NewTextHandler(&lateLog{t: t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, c := range change {
		c(&cfg)
	}
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, e) })
	if err := e.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, http: e.Transport(), id: e.Identity()}
	if err := c.login(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, c
}

func shut(t testing.TB, e *emulator.Emulator) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// lateLog is t.Log for a logger that may outlive the test.
type lateLog struct{ t testing.TB }

func (l *lateLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

const storageBody = `{"location":"eastus2","sku":{"name":"Standard_LRS"},"kind":"Storage","properties":{}}`

// workspace makes the group g, a storage account and the workspace wsp in it.
func (c *client) workspace() {
	c.t.Helper()
	c.must(201, "PUT {G}", `{"location":"eastus2"}`)
	account := "{P}/Microsoft.Storage/storageAccounts/acct"
	c.must(202, "PUT "+account, storageBody)
	c.state(account, "Succeeded")
	c.put("{WS}", c.workspaceBody("acct"))
}

func (c *client) workspaceBody(account string) map[string]any {
	return map[string]any{"location": "eastus2", "properties": map[string]any{
		"storageAccount": c.expand("{SUB}/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/") + account}}
}

// put creates an ARM resource and waits until it is Succeeded.
func (c *client) put(u string, body any) {
	c.t.Helper()
	if a := c.do("PUT "+u, body); a.status >= 300 {
		c.t.Fatalf("PUT %s: %s", u, a)
	}
	c.state(u, "Succeeded")
}

// state waits for the provisioning state of an ARM resource.
func (c *client) state(u, want string) {
	c.t.Helper()
	clocktest.Missing(c.t, time.Minute, func() string {
		a := c.do("GET "+u, nil)
		if got := a.text("properties.provisioningState"); got != want {
			return fmt.Sprintf("%s is %q, not %s: %s", u, got, want, a)
		}
		return ""
	})
}

// gone waits until an ARM resource is no more.
func (c *client) gone(u string) {
	c.t.Helper()
	clocktest.Missing(c.t, time.Minute, func() string {
		if a := c.do("GET "+u, nil); a.status != http.StatusNotFound {
			return u + " is there: " + a.String()
		}
		return ""
	})
}

var vmBody = map[string]any{"location": "eastus2", "properties": map[string]any{"computeType": "VirtualMachine",
	"properties": map[string]any{"virtualMachineSize": "Standard_D2_v2", "sshPort": ""}}}

// definition is definition.json as SDK 0.1.68 sends it, user-managed.
func definition(target, script string, arguments ...string) []byte {
	if arguments == nil {
		arguments = []string{}
	}
	b, err := json.Marshal(map[string]any{"TargetDetails": nil, "Configuration": map[string]any{
		"script": script, "arguments": arguments, "target": target, "framework": "Python", "autoPrepareEnvironment": true,
		"environment": map[string]any{"environmentVariables": map[string]string{"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
			"python": map[string]any{"userManagedDependencies": true, "interpreterPath": "python3",
				"condaDependencies": map[string]any{"name": "project_environment", "dependencies": []any{"python=3.6.2"}}},
			"docker": map[string]any{"enabled": false}},
		"history": map[string]bool{"outputCollection": true}, "dataReferences": map[string]any{}}})
	if err != nil {
		panic(err) // strings and maps alone
	}
	return b
}

func zipped(files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			panic(err) // a bytes.Buffer takes all
		}
	}
	_ = z.Close()
	return b.Bytes()
}

// project is the project folder of a test's run.
func project(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "train.py"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"train.py": string(b), "aml_config/project.json": "{}"}
}

// runURL is a run in history.
func runURL(id string) string { return "{history}/experiments/exp/runs/" + id }

// submit sends a run to a machine; the answer's runId is the run's.
func (c *client) submit(ctx context.Context, target string, files map[string]string, query string, arguments ...string) (answer, error) {
	body, ctype := form(part{filename: "definition.json", content: definition(target, "train.py", arguments...)}, part{filename: "project.zip", content: zipped(files)})
	return c.try(ctx, "POST {execution}/experiments/exp/run"+query, body, ctype)
}

// started submits a run that must be accepted.
func (c *client) started(target string, files map[string]string, arguments ...string) string {
	c.t.Helper()
	a, err := c.submit(context.Background(), target, files, "", arguments...)
	if err != nil || a.status != http.StatusOK {
		c.t.Fatalf("submit: %s %v", a, err)
	}
	return a.text("runId")
}

// localRun asks for the control scripts of a run and unpacks them with the project into dir, as the SDK does.
func (c *client) localRun(ctx context.Context, id, dir string, files map[string]string, arguments ...string) error {
	body, ctype := form(part{filename: "definition.json", content: definition("local", "train.py", arguments...)},
		part{filename: "aml_config.zip", content: zipped(map[string]string{"aml_config/project.json": "{}"})})
	a, err := c.try(ctx, "POST {execution}/experiments/exp/localrun?runId="+id, body, ctype)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("localrun: %s", a)
	}
	return errors.Join(unpack(a.body, dir), place(files, dir))
}

func place(files map[string]string, dir string) error {
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

func unpack(b []byte, dir string) error {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	files := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		files[f.Name] = string(content)
	}
	return place(files, dir)
}

// invoke starts the control script; it is ended with the test at the latest.
func invoke(t testing.TB, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/bash", filepath.Join(dir, "azureml-setup", "Invocation.sh"))
	cmd.Dir = dir
	// The process becomes the control script, which makes itself a session: the leader of one would have to fork.
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		select {
		case <-ended:
			return
		default:
		}
		_ = os.WriteFile(filepath.Join(dir, "azureml-setup", "killfile"), nil, 0o600)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	return cmd
}

// needPython skips a test that runs scripts where nothing can run them.
func needPython(t testing.TB) {
	t.Helper()
	for _, name := range []string{"python3", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("this machine has no %s", name)
		}
	}
}

var over = map[string]bool{"Completed": true, "Failed": true, "Canceled": true}

// runEnd waits until a run is over and returns its record.
func (c *client) runEnd(id string, limit time.Duration) answer {
	c.t.Helper()
	var a answer
	clocktest.Missing(c.t, limit, func() string {
		a = c.must(200, "GET "+runURL(id)+"/details", nil)
		if !over[a.text("status")] {
			return fmt.Sprintf("run %s is %s\n%s", id, a.text("status"), c.logs(a))
		}
		return ""
	})
	return a
}

// logs reads the logs that a run's details name.
func (c *client) logs(details answer) string {
	var b strings.Builder
	files, _ := details.get("logFiles").(map[string]any)
	for name, u := range files {
		if a, err := c.try(context.Background(), "GET "+u.(string), nil); err == nil {
			fmt.Fprintf(&b, "--- %s\n%.4000s\n", name, a.body)
		}
	}
	return b.String()
}

// metrics counts the values logged under the name n, as get_metrics would read them.
func (c *client) metrics(id string) (map[int]int, error) {
	found := map[int]int{}
	next := ""
	for {
		a, err := c.try(context.Background(), "GET {history}/experiments/exp/metrics?$filter=RunId%20eq%20"+id+next, nil)
		if err != nil || a.status != http.StatusOK {
			return nil, fmt.Errorf("metrics of %s: %s %w", id, a, err)
		}
		var page struct {
			Value []struct {
				Name  string
				Cells []map[string]float64
			}
			ContinuationToken string
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Value {
			for _, cell := range m.Cells {
				if v, ok := cell["n"]; ok {
					found[int(v)]++
				}
			}
		}
		if page.ContinuationToken == "" {
			return found, nil
		}
		next = "&$continuationtoken=" + page.ContinuationToken
	}
}
