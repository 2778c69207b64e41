package mutants_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/mutants"
)

var root = filepath.Join("..", "..")

// Each mutant still applies to the source as it is, so that the list does not rot.
func TestApply(t *testing.T) {
	list, err := mutants.List()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range list {
		if slices.Contains(ids, m.ID) || m.ID == "" || m.Fault == "" {
			t.Errorf("%+v has no id, no words, or another one's id", m)
		}
		ids = append(ids, m.ID)
		b, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.Apply(string(b)); err != nil {
			t.Error(err)
		}
	}
}

var (
	only  = flag.String("only", "", "run the mutants whose ids contain this alone")
	table = flag.String("table", "", "write the results as Markdown to this file")
)

// TestMutants runs the suite against every mutant. It is not part of the tests
// of every day: LAZULITE_MUTANTS=1 asks for it.
func TestMutants(t *testing.T) {
	if os.Getenv("LAZULITE_MUTANTS") == "" {
		t.Skip("half an hour of work: make mutants, or LAZULITE_MUTANTS=1")
	}
	list, err := mutants.List()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound")
	build(t, sound, "")
	baselines := map[string]conformance.Report{}
	caught, counted := 0, 0
	var lines []string
	for _, m := range list {
		if !strings.Contains(m.ID, *only) {
			continue
		}
		base, ok := baselines[m.Labels]
		if !ok {
			if base, err = judge(t, sound, sound, m.Labels); err != nil {
				t.Fatalf("the unchanged build, %s: %v", m.Labels, err)
			}
			baselines[m.Labels] = base
		}
		counted++
		by, err := tryOn(t, m, dir, sound, base)
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.ID, err)
			by = "not tried: " + err.Error()
		case by == "":
			t.Logf("NOT CAUGHT %s: %s", m.ID, m.Fault)
			by = "**not caught**"
		default:
			caught++
			t.Logf("caught %s by %s", m.ID, by)
			by = "`" + by + "`"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s |", m.ID, m.File, m.Fault, by))
	}
	share := 100 * float64(caught) / float64(max(counted, 1))
	t.Logf("%d of %d mutants caught (%.0f%%)", caught, counted, share)
	if *table != "" {
		text := fmt.Sprintf("# Mutants\n\nMade by `make mutants` on %s: %d of %d seeded faults are caught by the conformance suite (%.0f%%; aim 90%%).\n\n| mutant | file | fault | caught by |\n|---|---|---|---|\n%s\n",
			time.Now().UTC().Format("2006-01-02"), caught, counted, share, strings.Join(lines, "\n"))
		if err := os.WriteFile(*table, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if share < 90 {
		t.Errorf("only %.0f%% of the mutants are caught", share)
	}
}

func build(t *testing.T, out, overlay string) {
	t.Helper()
	if err := tryBuild(t, out, overlay); err != nil {
		t.Fatal(err)
	}
}

func tryBuild(t *testing.T, out, overlay string) error {
	args := []string{"build", "-o", out}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./cmd/lazulite")...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, b)
	}
	return nil
}

// tryOn builds a mutant, judges it, and returns the first must that only it fails; "" if it got away.
func tryOn(t *testing.T, m mutants.Mutant, dir, sound string, base conformance.Report) (string, error) {
	file, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	changed, err := m.Apply(string(source))
	if err != nil {
		return "", err
	}
	overlaid := filepath.Join(dir, "mutant"+filepath.Ext(file))
	if err := os.WriteFile(overlaid, []byte(changed), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: overlaid}})
	if err != nil {
		return "", err
	}
	config := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(config, overlay, 0o600); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "mutant")
	if err := tryBuild(t, bin, config); err != nil {
		return "", err
	}
	rep, err := judge(t, bin, sound, m.Labels)
	if err != nil {
		// A mutant that does not even start, or hangs, shows itself.
		first, _, _ := strings.Cut(err.Error(), "\n")
		return "the suite could not be run: " + first, nil
	}
	for _, r := range rep.Results {
		if r.Status == conformance.Fail && r.Level == conformance.Must && !failed(base, r.ID) {
			return r.ID, nil
		}
	}
	return "", nil
}

func failed(rep conformance.Report, id string) bool {
	for _, r := range rep.Results {
		if r.ID == id {
			return r.Status == conformance.Fail
		}
	}
	return false
}

// judge runs the sound build's suite against an ephemeral emulator of bin.
func judge(t *testing.T, bin, sound, labels string) (conformance.Report, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, bin, "--data", filepath.Join(home, "data"), "exec", "--", sound, "conform", "--labels", labels, "-o", "json")
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "AMLC_BUDGET_OPERATION=60s")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var rep conformance.Report
	if jerr := json.Unmarshal(out, &rep); jerr != nil {
		return rep, errors.Join(err, jerr, errors.New(stderr.String()))
	}
	return rep, nil
}
