package docker_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

func TestTable(t *testing.T) {
	mine, err := docker.ReadTable(strings.NewReader(`[{"match": "pytorch/*", "image": "my/pytorch:1"}, {"match": "continuumio/miniconda3:4.5", "image": "my/conda:4"}]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		table      docker.Table
		name, want string
	}{
		{docker.DefaultTable(), "", docker.BaseImage},
		{docker.DefaultTable(), "mcr.microsoft.com/azureml/base:0.1.4", docker.BaseImage},
		{docker.DefaultTable(), "mcr.microsoft.com/azureml/base-gpu:0.1.4", docker.BaseImage},
		{docker.DefaultTable(), "mcr.microsoft.com/mmlspark/release:0.12", docker.SparkImage},
		{docker.DefaultTable(), "continuumio/miniconda3:4.4.10", docker.BaseImage},
		{docker.DefaultTable(), "docker.io/continuumio/anaconda3", docker.BaseImage},
		{docker.DefaultTable(), "microsoft/mmlspark:plus-0.9.9", docker.SparkImage},
		{docker.DefaultTable(), "ubuntu:16.04", docker.BaseImage},
		{docker.DefaultTable(), "docker.io/library/ubuntu@sha256:0123", docker.BaseImage},
		{docker.DefaultTable(), "Canonical:UbuntuServer:16.04-LTS:latest", docker.BaseImage},
		{docker.DefaultTable(), "microsoft-dsvm:linux-data-science-vm-ubuntu:linuxdsvmubuntu:18.08.00", docker.SparkImage},
		{docker.DefaultTable(), "MicrosoftWindowsServer:WindowsServer:2016-Datacenter:latest", ""},
		{docker.DefaultTable(), "ubuntu/other", ""},
		{docker.DefaultTable(), "pytorch/pytorch:1.0", ""},
		{docker.DefaultTable(), "localhost:5000/azureml/base", ""},
		{mine, "pytorch/pytorch:1.0", "my/pytorch:1"},
		{mine, "continuumio/miniconda3:4.5", "my/conda:4"},
		{mine, "continuumio/miniconda3:4.6", docker.BaseImage},
	} {
		if got, ok := c.table.Lookup(c.name); got != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q, %t, want %q", c.name, got, ok, c.want)
		}
	}
	for text, says := range map[string]string{
		`{}`:                               "image table",
		`[{"match": "x"}]`:                 "row 1 has no image",
		`[{"match": "[", "image": "y"}]`:   `match "["`,
		`[{"name": "x", "image": "y"}]`:    "name",
		`[{"match": "x", "image": "y"`:     "EOF",
		`[{"match": 1, "image": "y"}]`:     "match",
		`"lazulite/base:latest"`:           "image table",
		`[{"match": "a", "image": "b"},0]`: "image table",
	} {
		if _, err := docker.ReadTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want one that says %q", text, err, says)
		}
	}
}

func TestMachineSources(t *testing.T) {
	write := func(dir string, files map[string]string) {
		t.Helper()
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	write(dir, map[string]string{
		"os-release":                   "ID=debian\nVERSION_CODENAME=bookworm\n",
		"none":                         "ID=alpine\n",
		"apt/sources.list":             "# deb http://mirror.test/old buster main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\ndeb-src http://mirror.test/debian bookworm main\ndeb http://tool.test stable main\n",
		"apt/sources.list.d/a.sources": "Types: deb\n# moved\nURIs: http://mirror.test/debian\nSuites: bookworm-updates bookworm-backports\nComponents: main\n non-free\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.test\nSuites: bookworm\nComponents: main\n",
		"apt/sources.list.d/b.list":    "deb https://cloud.test/apt cloud-sdk-bookworm main\n",
		"foreign/sources.list":         "deb http://tool.test stable main\n",
	})
	suite, lines, err := docker.MachineSources(filepath.Join(dir, "os-release"), filepath.Join(dir, "apt"))
	want := []string{"deb http://mirror.test/debian bookworm main contrib", "deb http://mirror.test/debian bookworm-updates main non-free", "deb http://mirror.test/security bookworm-security main"}
	if err != nil || suite != "bookworm" || !slices.Equal(lines, want) {
		t.Errorf("%q, %q, %v", suite, lines, err)
	}
	for _, c := range [][2]string{{"none", "apt"}, {"missing", "apt"}, {"os-release", "foreign"}} {
		if _, _, err := docker.MachineSources(filepath.Join(dir, c[0]), filepath.Join(dir, c[1])); !errors.Is(err, docker.ErrNoBuilder) {
			t.Errorf("%s, %s: %v", c[0], c[1], err)
		}
	}
}

// A recipe is built once for its content, and runs.
func TestRecipe(t *testing.T) {
	e := open(t, docker.Config{})
	r := docker.Recipe{
		Files: map[string][]byte{"here.txt": []byte("it's \"here\"\n"), "sub/more.txt": []byte("more\n")},
		Run:   []string{"cat here.txt sub/more.txt >/both\necho 'and so on' >>/both", "test -s /both"},
		Env:   map[string]string{"FROM_RECIPE": `a "quoted" value`}, Source: t.Name(),
	}
	name, _, err := e.Images().BuildRecipe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	mine := func() []docker.Image {
		t.Helper()
		all, err := e.Images().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(i docker.Image) bool { return !slices.Contains(i.Names, name) })
	}
	if again, cached, err := e.Images().BuildRecipe(t.Context(), r); err != nil || !cached || again != name {
		t.Errorf("again: %q, %t, %v", again, cached, err)
	}
	c := start(t, e, engine.Spec{Name: "r", Image: name})
	if out, _, _, err := run(t, c, engine.Exec{Command: sh(`cat /both; echo "$FROM_RECIPE"`)}); err != nil || out != "it's \"here\"\nmore\nand so on\na \"quoted\" value\n" {
		t.Errorf("%q, %v", out, err)
	}
	all := mine()
	if len(all) != 1 || all[0].Kind != "recipe" || all[0].Source != t.Name() || !all[0].InUse || len(docker.Unused(all, true)) != 0 {
		t.Errorf("while a container has it: %+v", all)
	}
	if removed, err := e.Images().Remove(t.Context(), all); err != nil || len(removed) != 0 || len(mine()) != 1 {
		t.Errorf("Remove took what a container has: %+v, %v", removed, err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if removed, err := e.Images().Remove(t.Context(), docker.Unused(mine(), false)); err != nil || len(removed) != 1 || len(mine()) != 0 {
		t.Errorf("Remove: %+v, %v", removed, err)
	}

	r.Run = []string{"echo this fails >&2; exit 3"}
	if _, _, err := e.Images().BuildRecipe(t.Context(), r); err == nil || !strings.Contains(err.Error(), "this fails") {
		t.Errorf("a command that fails: %v", err)
	}
	// What it left is known, and can be removed.
	left, err := e.Images().List(t.Context())
	left = slices.DeleteFunc(left, func(i docker.Image) bool { return i.Source != t.Name() || len(i.Names) > 0 })
	if err != nil || len(left) == 0 {
		t.Errorf("%+v, %v", left, err)
	}
	if removed, err := e.Images().Remove(t.Context(), left); err != nil || len(removed) != len(left) {
		t.Errorf("%+v, %v", removed, err)
	}
	r.Files = map[string][]byte{"../x": nil}
	if _, _, err := e.Images().BuildRecipe(t.Context(), r); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a file outside: %v", err)
	}
	r = docker.Recipe{Base: "127.0.0.1:1/none:1"}
	if _, _, err := e.Images().BuildRecipe(t.Context(), r); !errors.Is(err, engine.ErrNoImage) {
		t.Errorf("no base: %v", err)
	}
}

func TestUnused(t *testing.T) {
	all := []docker.Image{
		{ID: "new", Kind: "base", Names: []string{docker.BaseImage}}, {ID: "old", Kind: "base"}, {ID: "old in use", Kind: "base", InUse: true},
		{ID: "recipe", Kind: "recipe", Names: []string{"lazulite/recipe:1"}}, {ID: "recipe in use", Kind: "recipe", InUse: true},
	}
	for base, want := range map[bool][]string{false: {"old", "recipe"}, true: {"new", "old", "recipe"}} {
		var got []string
		for _, img := range docker.Unused(all, base) {
			got = append(got, img.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("base %t: %q", base, got)
		}
	}
}

func TestBaseImage(t *testing.T) {
	e := open(t, docker.Config{})
	c := start(t, e, engine.Spec{Name: "m"})
	for _, tool := range []string{"sshd", "sftp-server", "ssh", "scp", "rsync", "git", "sudo", "python3", "python", "pip", "ps", "ip", "curl"} {
		if _, _, x, err := run(t, c, engine.Exec{Command: sh("PATH=$PATH:/usr/lib/openssh; command -v " + tool)}); err != nil || x.Code != 0 {
			t.Errorf("the base image has no %s: %+v, %v", tool, x, err)
		}
	}
	out, errs, x, err := run(t, c, engine.Exec{Command: sh("python3 -m venv /tmp/v && /tmp/v/bin/python -c 'import ssl, sqlite3, ctypes, lzma; print(1)' && ls /etc/ssh/ssh_host_* 2>/dev/null | wc -l && stat -c %a /root")})
	if err != nil || x.Code != 0 || out != "1\n0\n711\n" {
		t.Errorf("%q, %q, %+v, %v", out, errs, x, err)
	}
}

// Building on an image that nobody has says so, and leaves the base image as it is.
func TestBaseThatCannotBeBuilt(t *testing.T) {
	e := open(t, docker.Config{})
	if _, err := e.Images().BuildBase(t.Context(), docker.Base{From: "127.0.0.1:1/ubuntu:24.04"}); !errors.Is(err, engine.ErrNoImage) {
		t.Errorf("%v", err)
	}
	// A name means what stands for it, if that is here: no registry is asked.
	for name, want := range map[string]bool{docker.BaseImage: true, "ubuntu:16.04": true, "no-such-image.invalid/x:1": false} {
		if has, err := e.HasImage(t.Context(), name); err != nil || has != want {
			t.Errorf("HasImage(%q): %t, %v", name, has, err)
		}
	}
	if has, err := e.Images().HasBase(t.Context()); err != nil || !has {
		t.Errorf("the base image: %t, %v", has, err)
	}
}

// LAZULITE_TEST_IMAGES=1 builds the base image twice from packages, which takes a minute or two.
func TestBaseIsReproducible(t *testing.T) {
	if os.Getenv("LAZULITE_TEST_IMAGES") == "" {
		t.Skip("LAZULITE_TEST_IMAGES is not set")
	}
	e := open(t, docker.Config{})
	var layers []string
	for range 2 {
		img, err := e.Images().BuildBase(context.Background(), docker.Base{})
		if errors.Is(err, docker.ErrNoBuilder) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("docker", "inspect", "-f", "{{.RootFS.Layers}}", img.ID).Output()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, string(out))
	}
	if layers[0] != layers[1] {
		t.Errorf("%s\n%s", layers[0], layers[1])
	}
}

// Interpreters of the host run in containers of the base image.
func TestPyenv(t *testing.T) {
	root := os.Getenv("PYENV_ROOT")
	if root == "" {
		home, _ := os.UserHomeDir()
		root = filepath.Join(home, ".pyenv")
	}
	pythons, _ := filepath.Glob(filepath.Join(root, "versions", "3*", "bin", "python3"))
	if len(pythons) == 0 {
		t.Skip("there is no pyenv with a Python 3 at " + root)
	}
	c := start(t, open(t, docker.Config{Pyenv: root}), engine.Spec{Name: "m"})
	for _, python := range pythons {
		script := `import os, ssl, sqlite3, ctypes, lzma, bz2, zlib, hashlib; print(os.environ["PYENV_ROOT"])`
		if out, errs, _, err := run(t, c, engine.Exec{Command: []string{python, "-c", script}, User: "nobody"}); err != nil || out != root+"\n" {
			t.Errorf("%s: %q, %q, %v", python, out, errs, err)
		}
	}
	if _, _, x, err := run(t, c, engine.Exec{Command: []string{"touch", filepath.Join(root, "versions", "x")}}); err != nil || x.Code == 0 {
		t.Errorf("the host's interpreters can be written to: %+v, %v", x, err)
	}
}
