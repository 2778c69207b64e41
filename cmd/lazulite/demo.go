package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lazulite.dev/clients/requirements"
	"lazulite.dev/emulator"
)

//go:embed demo/demo.py demo/train.py
var demoFiles embed.FS

// demoSDK says which azureml SDK an interpreter gets: the first row that it
// fits wins. An upgrade of the SDK is a change in one row.
type demoSDK struct {
	minors       []int // of Python 3
	name         string
	requirements string
}

var demoSDKs = []demoSDK{
	{minors: []int{6}, name: "azureml-core 0.1.68", requirements: requirements.SDK2018},
	{minors: []int{10, 11, 12, 13}, name: "azureml-core 1.61", requirements: requirements.SDKNew},
	{minors: []int{9, 8}, name: "azureml-core 1.61", requirements: requirements.SDKNewLoose},
}

func (m *Main) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Train one script on two compute targets with the real SDK", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.demo(cmd.Context()) },
	}
}

func (m *Main) demo(ctx context.Context) error {
	interpreter, sdk, err := m.demoEnvironment(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(m.Stdout, "demo: %s in %s\n", sdk.name, filepath.Dir(filepath.Dir(interpreter)))
	folder, err := os.MkdirTemp("", "lazulite-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	for _, name := range []string{"demo.py", "train.py"} {
		b, err := demoFiles.ReadFile("demo/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
			return err
		}
	}
	return m.withEnv(ctx, upFlags{engine: "process"}, func(ctx context.Context, vars []emulator.Var) error {
		return m.child(ctx, vars, []string{interpreter, "-W", "ignore", filepath.Join(folder, "demo.py")})
	})
}

// demoEnvironment makes, once, a virtual environment with the newest SDK that
// an interpreter of this machine can have: 0.1.68 itself where Python 3.6 is.
func (m *Main) demoEnvironment(ctx context.Context) (string, demoSDK, error) {
	found := m.pythons(ctx)
	var tried []string
	for _, sdk := range demoSDKs {
		for _, minor := range sdk.minors {
			for _, p := range found {
				if p.major != 3 || p.minor != minor {
					continue
				}
				venv := filepath.Join(m.cacheDir(), fmt.Sprintf("demo-py3.%d", minor))
				interpreter := filepath.Join(venv, "bin", "python")
				err := m.ensureVenv(ctx, p, venv, sdk)
				if err == nil {
					return interpreter, sdk, nil
				}
				tried = append(tried, fmt.Sprintf("Python %s: %v", p.version, err))
			}
		}
	}
	if len(tried) == 0 {
		return "", demoSDK{}, errors.New("the demo needs Python 3.6 or one of 3.8 to 3.13, and none is on PATH or in pyenv's folder (pyenv install 3.6.15)")
	}
	return "", demoSDK{}, errors.New("no azureml SDK can be installed here:\n  " + strings.Join(tried, "\n  "))
}

// ensureVenv installs sdk into venv unless a complete one is there.
func (m *Main) ensureVenv(ctx context.Context, p python, venv string, sdk demoSDK) error {
	stamp := filepath.Join(venv, ".lazulite")
	if b, err := os.ReadFile(stamp); err == nil && string(b) == sdk.requirements {
		return nil
	}
	_, _ = fmt.Fprintf(m.Stdout, "demo: installing %s for Python %s, once, into %s\n", sdk.name, p.version, venv)
	if err := os.RemoveAll(venv); err != nil {
		return err
	}
	if err := m.quiet(ctx, p.path, "-m", "venv", venv); err != nil {
		return err
	}
	pip := filepath.Join(venv, "bin", "pip")
	tools := []string{"install", "-q", "--disable-pip-version-check", "pip", "setuptools", "wheel"}
	if p.minor == 6 {
		// Source packages of 2018 build with the tools of their time alone.
		tools = []string{"install", "-q", "--disable-pip-version-check", "pip==21.3.1", "setuptools==57.5.0", "wheel==0.30.0"}
	}
	if err := m.quiet(ctx, pip, tools...); err != nil {
		return err
	}
	list := filepath.Join(venv, "requirements.txt")
	if err := os.WriteFile(list, []byte(sdk.requirements), 0o600); err != nil {
		return err
	}
	if err := m.quiet(ctx, pip, "install", "-q", "--disable-pip-version-check", "--prefer-binary", "-r", list); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(sdk.requirements), 0o600)
}

// quiet runs a step and shows its words only if it fails.
func (m *Main) quiet(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		if len(text) > 2000 {
			text = "..." + text[len(text)-2000:]
		}
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, text)
	}
	return nil
}
