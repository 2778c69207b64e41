package execution_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runconfig is the Configuration of a definition, as the SDK sends it.
func runconfig(change ...func(map[string]any)) map[string]any {
	c := map[string]any{
		"script": "train.py", "arguments": []any{}, "target": "local", "framework": "Python", "autoPrepareEnvironment": true,
		"maxRunDurationSeconds": nil,
		"environment": map[string]any{
			"environmentVariables": map[string]any{"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
			"python": map[string]any{"userManagedDependencies": true, "interpreterPath": "python3",
				"condaDependencies": map[string]any{"name": "project_environment", "dependencies": []any{"python=3.6.2", map[string]any{"pip": []any{"azureml-defaults"}}}}},
			"docker": map[string]any{"enabled": false},
		},
		"history":        map[string]any{"outputCollection": true, "snapshotProject": true},
		"dataReferences": map[string]any{},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func set(value any, path ...string) func(map[string]any) {
	return func(c map[string]any) {
		for _, p := range path[:len(path)-1] {
			if c[p] == nil {
				c[p] = map[string]any{}
			}
			c = c[p].(map[string]any)
		}
		c[path[len(path)-1]] = value
	}
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		h.SetMode(0o644)
		if target, ok := strings.CutPrefix(content, "link:"); ok {
			h.SetMode(fs.ModeSymlink | 0o777)
			content = target
		}
		out, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(out, content)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type part struct {
	file    string
	content []byte
}

func definitionPart(t *testing.T, config any, details any) part {
	t.Helper()
	b, err := json.Marshal(map[string]any{"TargetDetails": details, "Configuration": config, "TelemetryValues": nil})
	if err != nil {
		t.Fatal(err)
	}
	return part{"definition.json", b}
}

// post sends a request below the experiment as the SDK does.
func (w *world) post(path string, parts ...part) *httptest.ResponseRecorder {
	w.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, p := range parts {
		f, err := form.CreateFormFile("files", p.file)
		if err != nil {
			w.t.Fatal(err)
		}
		_, _ = f.Write(p.content)
	}
	_ = form.Close()
	return w.send(path, form.FormDataContentType(), b.Bytes())
}

func (w *world) postJSON(path string, v any) *httptest.ResponseRecorder {
	w.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(path, "application/json", b)
}

func (w *world) send(path, contentType string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", endpoint+"/execution/v1.0"+scope+"/experiments/myexp/"+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer user")
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	return rec
}

var configZip = map[string]string{"aml_config/": "", "aml_config/project.json": "{}"}

// localRun submits a local run and unpacks the answer beside the project's files, as the SDK does.
func (w *world) localRun(run string, config map[string]any, project map[string]string) (dir string) {
	w.t.Helper()
	rec := w.post("localrun?runId="+run, definitionPart(w.t, config, nil), part{"aml_config.zip", zipped(w.t, configZip)})
	if rec.Code != http.StatusOK {
		w.t.Fatalf("localrun: %d %s", rec.Code, rec.Body)
	}
	dir = filepath.Join(w.t.TempDir(), run)
	for name, content := range project {
		writeFile(w.t, filepath.Join(dir, name), content, 0o644)
	}
	unzip(w.t, rec.Body.Bytes(), dir)
	return dir
}

func unzip(t *testing.T, b []byte, dir string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		// Python's zipfile, with which the SDK unpacks, sets no modes.
		writeFile(t, filepath.Join(dir, filepath.FromSlash(f.Name)), string(content), 0o644)
	}
}

func writeFile(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// invoke starts Invocation.sh as the SDK does: detached, with nothing on its streams.
func (w *world) invoke(dir string, env ...string) *exec.Cmd {
	w.t.Helper()
	if err := os.Chmod(filepath.Join(dir, "azureml-setup", "Invocation.sh"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command("/bin/bash", "-c", filepath.Join(dir, "azureml-setup", "Invocation.sh"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	w.t.Cleanup(func() {
		if w.t.Failed() {
			_ = os.WriteFile(filepath.Join(dir, "azureml-setup", "killfile"), nil, 0o644)
		}
		<-done
	})
	return cmd
}

// pythons are the interpreters that LAZULITE_PYTHONS lists, or the one on the PATH.
func pythons(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("LAZULITE_PYTHONS"); list != "" {
		return filepath.SplitList(list)
	}
	p, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on the PATH, and LAZULITE_PYTHONS names none")
	}
	return []string{p}
}

func wantError(t *testing.T, rec *httptest.ResponseRecorder, status int, target, message string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message, Target string }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	if rec.Code != status || body.Error.Code != "UserError" || body.Error.Target != target || !strings.Contains(body.Error.Message, message) {
		t.Errorf("answer %d %+v, want %d for %q with %q", rec.Code, body.Error, status, target, message)
	}
}
