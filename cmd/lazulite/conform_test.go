package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/testdata/poor"
	"lazulite.dev/conformance/wire"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

// byHand is a lazulite that somebody started, and what a stranger is told of it.
type byHand struct {
	binary, home, ca string
	emulator.Status
	secret, clientID string
}

// startByHand starts a lazulite on a port of its own in a folder of its own.
func startByHand(t *testing.T) *byHand {
	t.Helper()
	h := &byHand{binary: build(t), home: t.TempDir(), ca: filepath.Join(t.TempDir(), "ca.pem")}
	dir := filepath.Join(t.TempDir(), "data")
	lazulite := func(args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), h.binary, append([]string{"--data", dir}, args...)...).Output()
		if err != nil {
			t.Fatalf("lazulite %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	lazulite("up", "--detach", "--engine", "process", "--listen", "127.0.0.1:0")
	t.Cleanup(func() { _ = exec.Command(h.binary, "--data", dir, "down").Run() })
	var vars map[string]string
	if err := errors.Join(json.Unmarshal(lazulite("status", "-o", "json"), &h.Status), json.Unmarshal(lazulite("env", "-o", "json"), &vars)); err != nil {
		t.Fatal(err)
	}
	h.secret, h.clientID = vars["AZURE_CLIENT_SECRET"], vars["AZURE_CLIENT_ID"]
	// As curl would, by the URL alone.
	resp, err := http.Get("http://" + h.Address + "/lazulite/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	pem, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(h.ca, pem, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// conform is such a command from an environment that knows nothing of lazulite but the secret.
func (h *byHand) conform(t *testing.T, endpoint string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), h.binary, append(append([]string{"conform"}, args...), "--endpoint", endpoint, "--authority", endpoint, "--ca-file", h.ca,
		"--tenant", h.Tenant, "--client-id", h.clientID, "--subscription", h.Subscription)...)
	cmd.Env = []string{"HOME=" + h.home, "TMPDIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "AMLC_CLIENT_SECRET=" + h.secret}
	return cmd
}

// The suite needs no more of a lazulite on another port than its URL and
// credentials, with TLS its certificate too; hosts of Azure that it leads to are reached through it.
func TestConformStranger(t *testing.T) {
	h := startByHand(t)
	_, port, _ := strings.Cut(h.Address, ":")
	for _, row := range []struct{ name, endpoint, labels string }{
		{"https", "https://localhost:" + port, "core || /^aml.(workspace|metric|artifact|storage)/ || /^local.run.(completed|failed)/"},
		{"http", "http://" + h.Address, "/^core.(token|auth|group)/ || /^aml.run/"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cmd := h.conform(t, row.endpoint, "-o", "json", "--labels", row.labels)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			var rep conformance.Report
			if jerr := json.Unmarshal(out, &rep); err != nil || jerr != nil {
				t.Errorf("%v, %v, %s", err, jerr, errs.String())
			}
			for _, r := range rep.Results {
				// An old token and another tenant's are all that a stranger has not got.
				lacks := r.ID == "core.auth.expired" || r.ID == "core.auth.tenant"
				if r.Status != conformance.Pass && r.Status != conformance.Disabled && !(lacks && r.Status == conformance.Skip) {
					t.Errorf("%s %s: %s", r.Status, r.ID, r.Detail)
				}
			}
			if n := rep.Count(conformance.Pass); n < 20 || len(rep.Left) > 0 {
				t.Errorf("%d passed; left behind: %q", n, rep.Left)
			}
		})
	}
}

// What a run created that was killed in its midst, sweep deletes, newest first.
func TestConformKilled(t *testing.T) {
	h := startByHand(t)
	endpoint := "http://" + h.Address
	journal := filepath.Join(t.TempDir(), "journal.jsonl")
	var left []wire.Made
	read := func() (err error) {
		left, err = wire.Journal(journal, endpoint)
		return err
	}
	run := h.conform(t, endpoint, "--journal", journal, "--labels", "aml")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	clocktest.Until(t, "workspace in the journal", time.Minute, func() bool {
		if err := read(); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(left, func(m wire.Made) bool {
			return strings.Contains(m.Path, "/Microsoft.MachineLearningServices/workspaces/")
		})
	})
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err == nil {
		t.Fatal("it was not killed in its midst")
	}
	if err := read(); err != nil || len(left) < 3 {
		t.Fatalf("%v %v", left, err)
	}
	sweep := func() string {
		t.Helper()
		cmd := h.conform(t, endpoint, "sweep", "--journal", journal)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("sweep: %v\n%s", err, out)
		}
		return string(out)
	}
	var want []string
	for _, m := range slices.Backward(left) {
		want = append(want, "deleted "+m.Path)
	}
	out := sweep()
	if got := strings.Split(out, "\n")[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("swept\n%s\nwant, newest first,\n%s", out, strings.Join(want, "\n"))
	}
	cfg := conformance.NewConfig()
	cfg.Endpoint, cfg.Authority, cfg.Tenant, cfg.ClientID, cfg.ClientSecret = endpoint, endpoint, h.Tenant, h.clientID, h.secret
	client, err := wire.New(cfg.Wire())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range left {
		if r, err := client.Do(t.Context(), wire.Request{Method: http.MethodGet, URL: m.Path, Version: m.Version}); err != nil || r.Status != http.StatusNotFound {
			t.Errorf("%s is still there: %v %v", m.Path, r, err)
		}
	}
	if out := sweep(); !strings.HasPrefix(out, "0 deleted") {
		t.Errorf("a second sweep: %s", out)
	}
}

// The exit code tells who conforms, who doesn't, and what could not be judged.
func TestConformExitCodes(t *testing.T) {
	srv := httptest.NewServer(poor.New())
	defer srv.Close()
	t.Setenv("AMLC_BUDGET_OPERATION", "100ms") // the suite's Load reads the environment itself
	env := map[string]string{"HOME": t.TempDir(), "AZURE_CLIENT_SECRET": "any"}
	at := func(endpoint string, args ...string) []string {
		return append([]string{"conform", "--endpoint", endpoint, "--authority", endpoint, "--tenant", "t", "--client-id", "c", "--subscription", "99999999-2222-4333-8444-555555555555"}, args...)
	}
	for _, row := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"OK", at(srv.URL, "--labels", "core.token.granted", "-o", "junit"), 0, `failures="0"`},
		{"ErrPoor", at(srv.URL), 1, "core.group.paging"},
		{"ErrPoorHTML", at(srv.URL, "--labels", "core", "-o", "html"), 1, "it does not conform"},
		{"ErrNobody", at("http://127.0.0.1:1"), 2, "can't be reached"},
		{"ErrNoURL", at("localhost"), 2, "not a URL"},
		{"ErrLabels", at(srv.URL, "--labels", "core &&"), 2, "labels"},
		{"ErrFlag", at(srv.URL, "--bogus"), 2, "--bogus"},
		{"ErrRecording", at(srv.URL, "--replay", "absent.json"), 2, "absent.json"},
		{"ErrSweepFlag", []string{"conform", "sweep", "--bogus"}, 2, "--bogus"},
		{"ErrSweep", []string{"conform", "sweep"}, 2, "no subscription"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if code, out, errs := run(t, env, row.args...); code != row.code || !strings.Contains(out+errs, row.want) {
				t.Errorf("exit code %d, want %d with %q\n%s\n%s", code, row.code, row.want, out, errs)
			}
		})
	}
}
