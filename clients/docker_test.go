package clients_test

import (
	"os/exec"
	"testing"
)

// TestSDK2018Docker runs in containers what TestSDK2018Local and TestSDK2018VM run without, on the images that are here.
func TestSDK2018Docker(t *testing.T) {
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("no Docker on this machine: %v %s", err, out)
	}
	const image = "lazulite/base:latest"
	if exec.Command("docker", "image", "inspect", image).Run() != nil {
		t.Skipf("no image %s: lazulite images build makes it", image)
	}
	python(t, sdk2018, "sdk2018_docker.py")
}
