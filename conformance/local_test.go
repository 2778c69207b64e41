package conformance_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
)

// control answers just enough to get to a local run, and then with the zip and the status of a row.
type control struct {
	zip    []byte
	status string
}

func (c control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base := "http://" + r.Host
	path := strings.ToLower(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodDelete:
	case strings.HasSuffix(path, "/localrun"):
		_, _ = w.Write(c.zip)
	case strings.HasSuffix(path, "/details"):
		fmt.Fprintf(w, `{"runId":"r","status":%q,"logFiles":{}}`, c.status)
	case path == "/discovery":
		fmt.Fprintf(w, `{"history":%q}`, base)
	case strings.Contains(path, "/deployments/"), strings.Contains(path, "/resourcegroups/") && !strings.Contains(path, "/providers/"):
		_, _ = w.Write([]byte(`{"properties":{"provisioningState":"Succeeded"}}`))
	case strings.Contains(path, "/workspaces/"):
		fmt.Fprintf(w, `{"properties":{"discoveryUrl":%q}}`, base+"/discovery")
	default:
		_, _ = w.Write([]byte(`{"registrationState":"Registered","value":[]}`))
	}
}

func zipOf(t *testing.T, name, content string, mode fs.FileMode) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name}
	h.SetMode(mode)
	w, err := zw.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a service sends for a local run is not trusted: nothing is written outside the run's directory, and nothing of it is run.
func TestLocalRunDistrusts(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	for _, row := range []struct {
		name, status, want string
		zip                []byte
	}{
		{"no zip", "Preparing", "is no zip", []byte("PK")},
		{"no script", "Preparing", "has no azureml-setup/Invocation.sh", zipOf(t, "other.sh", "true", 0o755)},
		{"slip", "Preparing", "leads out of its directory", zipOf(t, "../../../../.."+mark, "x", 0o644)},
		{"absolute", "Preparing", "leads out of its directory", zipOf(t, mark, "x", 0o644)},
		{"backslash", "Preparing", "leads out of its directory", zipOf(t, `..\mark`, "x", 0o644)},
		{"link", "Preparing", "is no plain file", zipOf(t, "azureml-setup", filepath.Dir(mark), fs.ModeSymlink|0o777)},
		{"status that ends the SDK's wait", "NotStarted", `after localrun the run is "NotStarted"`, zipOf(t, "azureml-setup/Invocation.sh", "touch "+mark, 0o755)},
	} {
		t.Run(row.name, func(t *testing.T) {
			srv := httptest.NewServer(control{row.zip, row.status})
			defer srv.Close()
			cfg := conformance.NewConfig()
			cfg.Endpoint, cfg.Subscription, cfg.Labels = srv.URL, "99999999-2222-4333-8444-555555555555", "target:local"
			cfg.Token = func(context.Context, string) (string, error) { return "t", nil }
			cfg.Budget.Operation = 2 * time.Second
			rep, err := conformance.Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rep.Results {
				if r.ID != "local.run.completed" {
					continue
				}
				if r.Status == conformance.Skip {
					t.Skip(r.Detail)
				}
				if r.Status != conformance.Fail || !strings.Contains(r.Detail, row.want) {
					t.Errorf("%s: %s, want …%s…", r.Status, r.Detail, row.want)
				}
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("the zip reached out of its directory")
			}
		})
	}
}
