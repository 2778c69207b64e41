package execution_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// imageStore is a private registry with one image, for the user "robot" alone.
type imageStore struct {
	*httptest.Server
	blobs    map[string][]byte // by digest
	manifest []byte
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func newImageStore(t *testing.T) *imageStore {
	t.Helper()
	s := &imageStore{blobs: map[string][]byte{}}
	var layer bytes.Buffer
	z := tar.NewWriter(&layer)
	content := []byte(t.Name() + t.TempDir())
	_ = z.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: int64(len(content))})
	_, _ = z.Write(content)
	_ = z.Close()
	config, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/hello"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{s.put(layer.Bytes())}}})
	if err != nil {
		t.Fatal(err)
	}
	part := func(kind string, b []byte) map[string]any {
		return map[string]any{"mediaType": kind, "size": len(b), "digest": s.put(b)}
	}
	if s.manifest, err = json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": part("application/vnd.docker.container.image.v1+json", config),
		"layers": []any{part("application/vnd.docker.image.rootfs.diff.tar", layer.Bytes())}}); err != nil {
		t.Fatal(err)
	}
	s.put(s.manifest)
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *imageStore) put(b []byte) string {
	sum := sha256.Sum256(b)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s.blobs[digest] = b
	return digest
}

func (s *imageStore) serve(w http.ResponseWriter, r *http.Request) {
	if user, password, ok := r.BasicAuth(); !ok || user != "robot" || password != secretWord {
		w.Header().Set("Www-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	b, kind := s.blobs[name], "application/octet-stream"
	if strings.Contains(r.URL.Path, "/manifests/") {
		b, kind = s.manifest, manifestType
	}
	switch {
	case r.URL.Path == "/v2/":
		_, _ = w.Write([]byte("{}"))
	case b == nil:
		http.NotFound(w, r)
	default:
		sum := sha256.Sum256(b)
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", "sha256:"+hex.EncodeToString(sum[:]))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(b)
		}
	}
}

// TestDockerRegistry pulls a base image from a private registry, and ensures that its password stays nowhere.
func TestDockerRegistry(t *testing.T) {
	baseImage(t)
	for _, c := range []struct{ name, password, reason string }{
		{"right", secretWord, "could not be started with the interpreter 'python' of the image"},
		{"wrong", secretWord + "x", "refuses the user robot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			registryServer := newImageStore(t)
			address := strings.TrimPrefix(registryServer.URL, "http://")
			w := newWorld(t)
			home := t.TempDir()
			section := registry(address, "robot", c.password)
			section["baseImage"] = "team/tiny:1"
			dir := w.localRun(run, runconfig(docker(section), set("python", "environment", "python", "interpreterPath")), map[string]string{"train.py": ""})
			w.invoke(dir, "HOME="+home)
			r := w.waitEnd(run)
			log := w.artifact(run + "/azureml-logs/60_control_log.txt")
			if r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v, want %q\n%s", r.Status, r.Error, c.reason, log)
			}
			if c.password == secretWord {
				// The image is there, and holds no Python: that the run got as far shows that it was pulled.
				dockerOut(t, "rmi", "-f", address+"/team/tiny:1")
			}
			if strings.Contains(log, secretWord) || strings.Contains(r.Error.Message, secretWord) || bytes.Contains(w.runs[run].RunDefinition, []byte(secretWord)) {
				t.Errorf("the password is shown:\n%s", log)
			}
			waitState(t, dir, `"phase": "ended"`)
			for _, folder := range []string{dir, home} {
				// docker keeps it in base64.
				for _, text := range []string{secretWord, "cm9ib3Q6"} {
					clocktest.Until(t, "secrets to go", time.Minute, func() bool { return len(files(t, folder, text)) == 0 })
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "azureml-setup", "docker-config-*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if _, err := os.Stat(filepath.Join(home, ".docker", "config.json")); err == nil {
				t.Error("the user's own configuration of docker was written")
			}
			wantNoContainer(t, dir)
		})
	}
}
