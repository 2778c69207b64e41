package engine

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// StandIn makes, in a folder that comes last on a search path, a link by which a
// command is found that the path itself lacks: to the first of the others that it
// has. Where it has the command, or none of the others, there is no link.
func StandIn(folder, searchPath, name string, others ...string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	link := filepath.Join(folder, name)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i, candidate := range append([]string{name}, others...) {
		found := findOn(searchPath, candidate)
		if found == "" {
			continue
		}
		if i == 0 {
			return nil
		}
		return os.Symlink(found, link)
	}
	return nil
}

// findOn looks a command up on a search path, which need not be this process's.
func findOn(searchPath, name string) string {
	for _, dir := range filepath.SplitList(searchPath) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found
		}
	}
	return ""
}
