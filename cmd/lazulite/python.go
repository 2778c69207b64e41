package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
)

// python is an interpreter of this machine.
type python struct {
	path         string
	major, minor int
	version      string
}

// binary names that an interpreter goes by.
var pythonName = regexp.MustCompile(`^python(3(\.\d+)?)?$`)

// pythons finds the interpreters on PATH and in pyenv's folder, newest first, each version once.
func (m *Main) pythons(ctx context.Context) []python {
	var folders []string
	folders = append(folders, filepath.SplitList(m.Getenv("PATH"))...)
	root := m.Getenv("PYENV_ROOT")
	if root == "" {
		root = filepath.Join(m.Getenv("HOME"), ".pyenv")
	}
	if versions, err := filepath.Glob(filepath.Join(root, "versions", "*", "bin")); err == nil {
		folders = append(versions, folders...)
	}
	var found []python
	seen := map[string]bool{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if !pythonName.MatchString(entry.Name()) {
				continue
			}
			p, err := askPython(ctx, filepath.Join(folder, entry.Name()))
			if err == nil && !seen[p.version] {
				seen[p.version] = true
				found = append(found, p)
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].newer(found[j]) })
	return found
}

func (p python) newer(q python) bool {
	if p.major != q.major {
		return p.major > q.major
	}
	return p.minor > q.minor
}

var versionText = regexp.MustCompile(`^(\d+)\.(\d+)\.\S+`)

// askPython asks the program itself: a name on PATH may be a shim that answers nothing.
func askPython(ctx context.Context, path string) (python, error) {
	out, err := exec.CommandContext(ctx, path, "-c", "import platform,sys; print(platform.python_version()); print(sys.executable)").Output()
	if err != nil {
		return python{}, err
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return python{}, fmt.Errorf("%s printed %q", path, out)
	}
	p := python{path: path, version: string(match[0])}
	p.major, _ = strconv.Atoi(string(match[1]))
	p.minor, _ = strconv.Atoi(string(match[2]))
	return p, nil
}
