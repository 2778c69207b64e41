package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/conformance/replay"
	"lazulite.dev/conformance/wire"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// serverImage stands for nginx, which no registry gives here: all that is asked of it is to go on running.
const serverImage = "lazulite-test/server"

// Recorded traffic of container groups finds what it found in Azure. Images
// are the base image, and the repository is one of this test's.
func TestContainerRecordings(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(openapitest.Shared(), "recordings", "container", "*.json"))
	if len(files) == 0 {
		t.Skip("no recordings at hand (LAZULITE_SHARED)")
	}
	e := dockerEngine(t)
	url, revision := repository(t)
	em, c := up(t, func(cfg *emulator.Config) { cfg.Engine, cfg.Offline = e, false })
	id := em.Identity()
	report, err := replay.Run(t.Context(), replay.Config{Subscription: id.Subscription, Wire: wire.Config{Endpoint: "https://management.azure.com", Authority: "https://login.microsoftonline.com",
		Tenant: id.Tenant, ClientID: id.ClientID, ClientSecret: id.ClientSecret, HTTPClient: &http.Client{Transport: c.http}},
		Replace: []string{"https://github.com/yolo3301/dumb-flow.git", url, "5604f0a8f11bfe13e621418ab6f6a71973e208ce", revision}}, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Files {
		if f.Error != "" {
			t.Errorf("%s: %s", f.Name, f.Error)
		}
		for _, r := range f.Requests {
			if len(r.Differences) > 0 {
				t.Errorf("%s: %+v", f.Name, r)
			}
		}
	}
	if report.Agree != report.Counted || report.Counted < 35 {
		t.Errorf("%d of %d requests agree", report.Agree, report.Counted)
	}
}

// dockerEngine has the recordings' images, or skips the test.
func dockerEngine(t *testing.T) engine.Engine {
	t.Helper()
	cfg := docker.Config{Host: os.Getenv("DOCKER_HOST"), InstanceID: "lazulite-recordings",
		Table: append(docker.Table{{Match: "alpine", Image: docker.BaseImage}, {Match: "nginx", Image: serverImage}}, docker.DefaultTable()...)}
	e, err := docker.New(t.Context(), cfg)
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if has, err := e.Images().HasBase(t.Context()); err != nil || !has {
		_ = e.Close(context.Background())
		t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			t.Skipf("docker %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	made := run("create", docker.BaseImage)
	run("commit", "-c", `CMD ["sleep","2147483647"]`, made, serverImage)
	run("rm", made)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", serverImage).Run() })
	return e
}

// repository is served over HTTP until the test ends; it has a revision.
func repository(t *testing.T) (url, revision string) {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "first"}, {"update-server-info"}, {"rev-parse", "HEAD"}} {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
		if err != nil {
			t.Skip(fmt.Errorf("git: %w", err))
		}
		revision = strings.TrimSpace(string(out))
	}
	s := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, ".git"))))
	t.Cleanup(s.Close)
	return s.URL, revision
}
