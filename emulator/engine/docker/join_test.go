package docker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// What joins another container's network finds its ports on its own loopback, and the host finds both by the other's.
func TestJoinSharesTheNetwork(t *testing.T) {
	e := open(t, docker.Config{})
	const port = 7000
	pause := start(t, e, engine.Spec{Name: "pause", Ports: []int{port}, Hostname: "together"})
	server := start(t, e, engine.Spec{Name: "server", Join: "pause", Command: []string{"python3", "-m", "http.server", "7000"}})
	client := start(t, e, engine.Spec{Name: "client", Join: "pause", Command: sh(
		`hostname; for i in $(seq 100); do python3 -c 'import urllib.request as u; print(u.urlopen("http://localhost:7000/etc/hostname").status)' 2>/dev/null && exit 0; sleep 0.05; done; exit 1`)})
	if x, err := client.Wait(t.Context()); err != nil || x.Code != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	var out strings.Builder
	if err := client.Logs(t.Context(), &out, false); err != nil || out.String() != "together\n200\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if _, err := pause.(engine.Addresser).Addr(t.Context(), port); err != nil {
		t.Error(err)
	}
	if err := server.Stop(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
}

func TestImageCommand(t *testing.T) {
	e := open(t, docker.Config{})
	// The base image's is a shell, which without input ends at once.
	c := start(t, e, engine.Spec{Name: "own", ImageCommand: true})
	if x, err := c.Wait(t.Context()); err != nil || x.Code != 0 {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestPull(t *testing.T) {
	e := open(t, docker.Config{})
	if err := e.Pull(t.Context(), "mcr.microsoft.com/azureml/base:0.1.4", nil); err != nil {
		t.Error(err)
	}
	err := e.Pull(t.Context(), "127.0.0.1:1/nothing:here", &engine.RegistryLogin{Server: "127.0.0.1:1", User: "u", Password: "secret"})
	if !errors.Is(err, engine.ErrNoImage) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// What ended while nobody watched can be asked how, by the next engine.
func TestAdoptWhatHasEnded(t *testing.T) {
	const instance = testInstance + "-ended"
	first := open(t, docker.Config{InstanceID: instance})
	c := start(t, first, engine.Spec{Name: "job", Command: sh("echo did; exit 6")})
	if _, err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := open(t, docker.Config{InstanceID: instance, Keep: true})
	again, err := next.Adopt(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if x, err := again.Wait(t.Context()); err != nil || x.Code != 6 {
		t.Errorf("%+v, %v", x, err)
	}
	var out strings.Builder
	if err := again.Logs(t.Context(), &out, true); err != nil || out.String() != "did\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := again.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
