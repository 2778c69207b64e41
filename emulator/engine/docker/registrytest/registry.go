// Package registrytest is a private registry of images, for tests of what pulls
// with a password. It holds one image, in which nothing can run; nothing can be
// pushed to it.
package registrytest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Registry is a private registry with one image, under every name, for one user alone.
type Registry struct {
	*httptest.Server
	user, password string
	blobs          map[string][]byte // by digest
	manifest       []byte
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

// Address is host:port, as it is in front of the names of images.
func (s *Registry) Address() string { return strings.TrimPrefix(s.URL, "http://") }

// New starts one that ends with the test. Its image holds a file that no kernel runs.
func New(t *testing.T, user, password string) *Registry {
	t.Helper()
	s := &Registry{user: user, password: password, blobs: map[string][]byte{}}
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

func (s *Registry) put(b []byte) string {
	sum := sha256.Sum256(b)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s.blobs[digest] = b
	return digest
}

func (s *Registry) serve(w http.ResponseWriter, r *http.Request) {
	if user, password, ok := r.BasicAuth(); !ok || user != s.user || password != s.password {
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
