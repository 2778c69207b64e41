package assets_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSDK runs the SDK's own clients. LAZULITE_SDK2018 names the folder of a
// virtual environment of Python 3.6 with azureml-core 0.1.68.
func TestSDK(t *testing.T) {
	venv := os.Getenv("LAZULITE_SDK2018")
	if venv == "" {
		t.Skip("LAZULITE_SDK2018 is not set: no azureml SDK 0.1.68 to drive")
	}
	b := newBench(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, "/blob/"); ok {
			b.blobs.serveBlob(w, r, name)
			return
		}
		b.mux.ServeHTTP(w, r)
	}))
	defer srv.Close()
	b.blobs.base = srv.URL + "/blob/"
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), filepath.Join("testdata", "sdk.py"))
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
		"NO_PROXY=127.0.0.1", "AZUREML_SERVICE_ENDPOINT=" + srv.URL, "AZUREML_MMS_TEST_ENDPOINT=" + srv.URL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"snapshots", "artifacts", "models", "datastores", "secrets"} {
		if !bytes.Contains(out, []byte("ok "+part+"\n")) {
			t.Errorf("%s did not run", part)
		}
	}
}

// serveBlob answers a read of account/container/blob whose SAS is good.
func (m *memory) serveBlob(w http.ResponseWriter, r *http.Request, name string) {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 || r.URL.Query().Get("sig") != "good" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	f, _, err := m.Open(r.Context(), parts[0], parts[1], parts[2])
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.Copy(w, f)
}
