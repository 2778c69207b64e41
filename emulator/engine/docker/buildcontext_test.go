package docker_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lazulite.dev/emulator/engine/docker"
)

// Ensure that docker build gets files and folders with their modes, and without the times that would spoil its cache.
func TestBuildContext(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "run"), []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run", filepath.Join(dir, "bin", "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := docker.WriteBuildContext(&b, map[string][]byte{"Dockerfile": []byte("FROM x\n")}, map[string]string{"folder0": dir}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 || h.Uid != 0 {
			t.Errorf("%s: %v, owner %d", h.Name, h.ModTime, h.Uid)
		}
		got = append(got, fmt.Sprintf("%s %c %o %d %s", h.Name, h.Typeflag, h.Mode&0o111, h.Size, h.Linkname))
	}
	if want := []string{"Dockerfile 0 0 7 ", "folder0/ 5 111 0 ", "folder0/bin/ 5 111 0 ", "folder0/bin/link 2 111 0 run", "folder0/bin/run 0 111 2 "}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if err := docker.WriteBuildContext(io.Discard, nil, map[string]string{"x": filepath.Join(dir, "absent")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
