package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lazulite.dev/emulator/hardware"
)

// environment is the container's, then the command's own, of each name the
// last; with the host's PATH if none is given, and the markers.
func (c *processContainer) environment(own []string) []string {
	all := append([]string{}, c.spec.Env...)
	if ids := strings.Join(c.spec.Limits.GPUs, ","); ids != "" {
		all = append(all, "CUDA_VISIBLE_DEVICES="+ids, "NVIDIA_VISIBLE_DEVICES="+ids)
	}
	all = append(all, own...)
	if getenv(all, "PATH") == "" {
		all = append(all, "PATH="+os.Getenv("PATH"))
	}
	if stub := c.spec.Limits.Stub; stub != nil {
		folder := filepath.Dir(stub.Library)
		all = append(all, hardware.StubVariable+"="+stub.Table, "PATH="+folder+":"+getenv(all, "PATH"),
			"LD_LIBRARY_PATH="+strings.TrimSuffix(folder+":"+getenv(all, "LD_LIBRARY_PATH"), ":"))
	}
	all = append(all, InstanceVariable+"="+c.engine.instance, c.marker())
	last := map[string]int{}
	for i, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		last[name] = i
	}
	out := make([]string, 0, len(last))
	for i, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if last[name] == i {
			out = append(out, kv)
		}
	}
	return out
}

func getenv(env []string, name string) string {
	value := ""
	for _, kv := range env {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			value = v
		}
	}
	return value
}

// lookPath finds a command as a shell in that folder and environment would.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, folder := range filepath.SplitList(getenv(env, "PATH")) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		if file := filepath.Join(folder, name); name != "" && executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w: %q", ErrNotFound, name)
}

func executable(file string) error {
	s, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if s.IsDir() || s.Mode()&0o111 == 0 {
		return fmt.Errorf("%w: %s is not executable", ErrNotFound, file)
	}
	return nil
}

// signalName is a signal's name as SSH and Docker write it: "KILL".
func signalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprintf("%d", int(s))
}
