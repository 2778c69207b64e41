package dsvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/engine"
)

// A Data Science VM has "python" on its PATH (Anaconda's). Where this host has
// none of that name, these stand in for it, the nearest to 2018's first.
var pythons = []string{"python3.6", "python3.5", "python3"}

// tools is a folder that comes last on the machine's PATH.
func (m *machine) tools() string { return filepath.Join(m.dir, "bin") }

// onHost says whether machines are processes of this host: only then is there
// anything of it that they can use. An engine that is opened at the first
// container is opened by this question.
func (m *machine) onHost() bool {
	e := m.fake.cfg.Engine
	if lazy, ok := e.(*engine.Lazy); ok {
		opened, err := lazy.Engine(context.Background())
		if err != nil {
			return false // Start meets the same error, and tells it
		}
		e = opened
	}
	return e.Name() == "process"
}

// hostEnv is what the machine has of this host, its own tools after it.
func (m *machine) hostEnv() []string {
	if !m.onHost() {
		return nil
	}
	var env []string
	path := ""
	for _, v := range m.fake.cfg.Environment {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
			continue
		}
		env = append(env, v)
	}
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return append(env, "PATH="+path+":"+m.tools())
}

// prepareTools makes the stand-in for python where one is needed. The machine's
// PATH need not be this process's.
func (m *machine) prepareTools() error {
	if !m.onHost() {
		return nil
	}
	if err := m.prepareSMI(); err != nil {
		return err
	}
	for _, v := range m.hostEnv() {
		if search, ok := strings.CutPrefix(v, "PATH="); ok {
			return engine.StandIn(m.tools(), strings.TrimSuffix(search, ":"+m.tools()), "python", pythons...)
		}
	}
	return nil
}

// prepareSMI has login shells, whose profile sets PATH anew, find the nvidia-smi of simulated GPUs too.
func (m *machine) prepareSMI() error {
	link := filepath.Join(m.tools(), "nvidia-smi")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.mu.Lock()
	stub := m.limits.Stub
	m.mu.Unlock()
	if stub == nil {
		return nil
	}
	if err := os.MkdirAll(m.tools(), 0o700); err != nil {
		return err
	}
	return os.Symlink(stub.SMI, link)
}

// writeProfile has login shells keep what the machine has of the host, where
// the host's own /etc/profile sets PATH anew. A profile that is there is its user's.
func (m *machine) writeProfile(home string) error {
	if !m.onHost() {
		return nil
	}
	var b strings.Builder
	b.WriteString("# Written once, when the machine was made: yours to change.\n")
	for _, v := range m.hostEnv() {
		name, value, _ := strings.Cut(v, "=")
		b.WriteString("export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n")
	}
	f, err := os.OpenFile(filepath.Join(home, ".profile"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}
