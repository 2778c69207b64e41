package execution_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/engine/docker/registrytest"
)

// TestDockerRegistry pulls a base image from a private registry, and ensures that its password stays nowhere.
func TestDockerRegistry(t *testing.T) {
	baseImage(t)
	for _, c := range []struct{ name, password, reason string }{
		{"right", secretWord, "could not be started with the interpreter 'python' of the image"},
		{"wrong", secretWord + "x", "refuses the user robot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			registryServer := registrytest.New(t, "robot", secretWord)
			address := registryServer.Address()
			w := newWorld(t)
			home := t.TempDir()
			section := registry(address, "robot", c.password)
			section["baseImage"] = "team/tiny:1"
			dir := w.localRun(run, runconfig(docker(section), set("python", "environment", "python", "interpreterPath")), map[string]string{"train.py": ""})
			w.invoke(dir, "HOME="+home)
			r := w.waitEnd(run)
			log := w.artifact(run + "/azureml-logs/60_control_log.txt")
			if r.Status != "Failed" || !strings.Contains(r.Error.Message, c.reason) {
				t.Errorf("%s %v, want %q\n%s", r.Status, r.Error, c.reason, log)
			}
			if c.password == secretWord {
				// The image is there, and holds no Python: that the run got as far shows that it was pulled.
				dockerOut(t, "rmi", "-f", address+"/team/tiny:1")
			}
			if strings.Contains(log, secretWord) || strings.Contains(r.Error.Message, secretWord) || bytes.Contains(w.runs[run].RunDefinition, []byte(secretWord)) {
				t.Errorf("the password is shown:\n%s", log)
			}
			waitState(t, dir, `"phase": "ended"`)
			for _, folder := range []string{dir, home} {
				// docker keeps it in base64.
				for _, text := range []string{secretWord, "cm9ib3Q6"} {
					clocktest.Until(t, "secrets to go", time.Minute, func() bool { return len(files(t, folder, text)) == 0 })
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "azureml-setup", "docker-config-*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if _, err := os.Stat(filepath.Join(home, ".docker", "config.json")); err == nil {
				t.Error("the user's own configuration of docker was written")
			}
			wantNoContainer(t, dir)
		})
	}
}
