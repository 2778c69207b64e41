package durable_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/emulator/durable"
)

func TestReplace(t *testing.T) {
	full := errors.New("disk full")
	for _, row := range []struct {
		name  string
		write func(file string) error
		want  string
		err   string
	}{
		{"a new file", func(f string) error { return durable.WriteFile(f, []byte("new"), 0o640) }, "new", ""},
		{"kept: another content", func(f string) error { return durable.Keep(f, []byte("new"), 0o640) }, "new", ""},
		{"by a writer", func(f string) error {
			return durable.Replace(f, 0o640, func(w io.Writer) error { _, err := io.WriteString(w, "streamed"); return err })
		}, "streamed", ""},
		{"a writer that fails half-way", func(f string) error {
			return durable.Replace(f, 0o640, func(w io.Writer) error { _, _ = io.WriteString(w, "ha"); return full })
		}, "old", "disk full"},
		{"a file that is a folder", func(f string) error {
			if err := errors.Join(os.Remove(f), os.MkdirAll(filepath.Join(f, "in"), 0o700)); err != nil {
				return err
			}
			return durable.WriteFile(f, []byte("new"), 0o640)
		}, "", "rename"},
		{"no folder", func(f string) error { return durable.WriteFile(filepath.Join(f+"s", "x"), nil, 0o640) }, "old", "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := row.write(file)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("%v", err)
			}
			if b, err := os.ReadFile(file); row.want != "" && (err != nil || string(b) != row.want) {
				t.Errorf("it holds %q, %v", b, err)
			}
			if info, err := os.Stat(file); row.err == "" && (err != nil || info.Mode().Perm() != 0o640) {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestKeep: the file itself stays, which a rename would not leave.
func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteFile(file, []byte("same"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"same", "other"} {
		same := content == "same"
		if err := durable.Keep(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(file)
		if err != nil || os.SameFile(before, after) != same {
			t.Errorf("%s: the same file: %v, %v", content, !same, err)
		}
		if b, _ := os.ReadFile(file); string(b) != content {
			t.Errorf("it holds %q", b)
		}
	}
}
