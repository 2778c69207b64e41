package assets_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestStaged(t *testing.T) {
	b, storage := newStorageBench(t)
	ctx := t.Context()
	if err := b.svc.Stage(ctx, workspace, "run_1", "setup.zip", strings.NewReader("files")); err != nil {
		t.Fatal(err)
	}
	url := func(name, permissions string, life time.Duration) string {
		u, err := b.svc.StagedURL(ctx, workspace, "run_1", name, permissions, b.clock.Now().Add(life))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if code, body := storageCall(t, storage, "GET", url("setup.zip", "r", time.Hour), ""); code != 200 || body != "files" {
		t.Errorf("fetched %d %q", code, body)
	}
	block := []string{"x-ms-blob-type", "BlockBlob", "If-None-Match", "*"}
	// What the run leaves is kept once, and nobody can read it by that URL.
	left := url("failure.json", "cw", time.Hour)
	for i, want := range []int{201, 409} {
		if code, body := storageCall(t, storage, "PUT", left, []string{"first", "second"}[i], block...); code != want {
			t.Errorf("left %d: %d %s", i, code, body)
		}
	}
	if got, err := b.svc.Staged(ctx, workspace, "run_1", "failure.json", 100); err != nil || string(got) != "first" {
		t.Errorf("%q %v", got, err)
	}
	for name, u := range map[string]string{"not to read": left, "expired": url("setup.zip", "r", -time.Hour)} {
		if code, body := storageCall(t, storage, "GET", u, ""); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if got, err := b.svc.Staged(ctx, workspace, "run_1", "none", 100); err != nil || got != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := b.svc.Stage(ctx, workspace, "../x", "f", strings.NewReader("")); err == nil {
		t.Error("a run id that leaves its folder was taken")
	}
	if err := b.svc.Unstage(ctx, workspace, "run_1"); err != nil {
		t.Fatal(err)
	}
	if code, _ := storageCall(t, storage, "GET", url("setup.zip", "r", time.Hour), ""); code != http.StatusNotFound {
		t.Errorf("after Unstage: %d", code)
	}
}
