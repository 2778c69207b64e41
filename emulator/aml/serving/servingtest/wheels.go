// Package servingtest has packages that stand for those which an image's
// scoring server is made of, for tests that ask no index.
//
// Its gunicorn is a few lines over the standard library. It is for tests alone.
package servingtest

import (
	"archive/zip"
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed gunicorn
var gunicorn embed.FS

// Wheels is a folder of the packages, for PIP_FIND_LINKS and UV_FIND_LINKS.
func Wheels(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, version := range map[string]string{"gunicorn": "20.1.0", "setuptools": "68.0.0"} {
		info := name + "-" + version + ".dist-info/"
		content := map[string]string{
			info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
			info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
			info + "RECORD":   "",
		}
		err := fs.WalkDir(gunicorn, "gunicorn", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasPrefix(path, name+"/") {
				return err
			}
			b, err := gunicorn.ReadFile(path)
			content[path] = string(b)
			return err
		})
		if err == nil {
			err = wheel(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"), content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func wheel(path string, content map[string]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	for name, text := range content {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			_ = f.Close()
			return err
		}
	}
	if err := z.Close(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
