package emulator_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// What runs on an engine reaches emulated Azure by Azure's own names.
func TestNetworkOfContainers(t *testing.T) {
	const ask = `curl -sS -o /dev/null -w '%{http_code}\n' https://management.azure.com/metadata/endpoints?api-version=2015-01-01
python3 -c 'import urllib.request as u; print(u.urlopen("https://management.azure.com/metadata/endpoints?api-version=2015-01-01").status)'
curl -sS -o /dev/null -w '%{http_code}\n' http://acct.blob.core.windows.net/c?restype=container`
	for name, open := range map[string]func(t *testing.T) engine.Engine{
		"process": func(t *testing.T) engine.Engine { return nil },
		"docker":  openDocker,
	} {
		t.Run(name, func(t *testing.T) {
			made := open(t)
			e, _ := up(t, func(c *emulator.Config) {
				c.Engine = made
				c.Environment = []string{"PATH=" + os.Getenv("PATH"), "OF_THE_HOST=yes"}
			})
			env, mounts, err := e.Network(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c, err := e.Engine().Start(t.Context(), engine.Spec{Name: "client", Env: env, Mounts: mounts,
				Command: []string{"/bin/sh", "-c", ask + "\necho host: $OF_THE_HOST"}})
			if err != nil {
				t.Fatal(err)
			}
			if x, err := c.Wait(t.Context()); err != nil || x.Code != 0 {
				t.Errorf("%+v, %v", x, err)
			}
			var out bytes.Buffer
			if err := c.Logs(t.Context(), &out, true); err != nil {
				t.Error(err)
			}
			want := "200\n200\n404\nhost: "
			if name == "process" {
				want += "yes"
			}
			if got := strings.TrimSpace(out.String()); got != strings.TrimSpace(want) {
				t.Errorf("it printed %q, want %q", got, want)
			}
		})
	}
}

// openDocker is the Docker engine, or the test is skipped with the reason.
func openDocker(t *testing.T) engine.Engine {
	t.Helper()
	e, err := docker.New(t.Context(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: filepath.Join(t.TempDir(), "docker"), Keep: true})
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if has, err := e.Images().HasBase(t.Context()); err != nil || !has {
		t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
	}
	return e
}
