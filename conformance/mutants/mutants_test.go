package mutants_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/mutants"
)

var root = filepath.Join("..", "..")

// Each mutant still applies to the source as it is, so that the list does not rot,
// and all of one file can be in one build.
func TestApply(t *testing.T) {
	list, err := mutants.List()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range list {
		if slices.Contains(ids, m.ID) || m.ID == "" || m.Fault == "" || m.Labels == "" {
			t.Errorf("%+v has no id, no words, no labels, or another one's id", m)
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
	for file, of := range byFile(list) {
		text, _, err := switched(file, of)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), file, text, 0); err != nil {
			t.Errorf("%s with its mutants in it: %v", file, err)
		}
	}
}

var (
	only    = flag.String("only", "", "run the mutants whose ids contain one of these alone (a,b)")
	table   = flag.String("table", "", "write the results as Markdown to this file")
	results = flag.String("results", "", "keep the results in this file (JSON), and try only what it has not as caught")
	jobs    = flag.Int("jobs", 2, "mutants that run at once")
)

// TestMutants runs the suite against every mutant. It is not part of the tests
// of every day: LAZULITE_MUTANTS=1 asks for it.
func TestMutants(t *testing.T) {
	if os.Getenv("LAZULITE_MUTANTS") == "" {
		t.Skip("minutes of work: make mutants, or LAZULITE_MUTANTS=1")
	}
	list, err := mutants.List()
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(m mutants.Mutant) bool {
		return !slices.ContainsFunc(strings.Split(*only, ","), func(part string) bool { return strings.Contains(m.ID, part) })
	})
	known := remembered(t)
	p := prepare(t, slices.DeleteFunc(slices.Clone(list), func(m mutants.Mutant) bool { return known[m.ID].Mutant == m && known[m.ID].By != "" }))
	verdicts := make([]verdict, len(list))
	var (
		tried sync.WaitGroup
		mu    sync.Mutex
		slots = make(chan struct{}, max(*jobs, 1))
	)
	for i, m := range list {
		if v, ok := known[m.ID]; ok && v.Mutant == m && v.By != "" {
			verdicts[i] = v
			continue
		}
		tried.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; tried.Done() }()
			by, err := p.try(t, m)
			verdicts[i] = verdict{m, by}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Errorf("%s was not tried: %v", m.ID, err)
				return
			case by == "":
				t.Logf("NOT CAUGHT %s: %s", m.ID, m.Fault)
			default:
				t.Logf("caught %s by %s", m.ID, by)
			}
			known[m.ID] = verdicts[i]
			remember(t, known)
		}()
	}
	tried.Wait()
	caught := 0
	for _, v := range verdicts {
		if v.By != "" {
			caught++
		}
	}
	share := 100 * float64(caught) / float64(max(len(list), 1))
	t.Logf("%d of %d mutants caught (%.0f%%)", caught, len(list), share)
	if *table != "" {
		write(t, verdicts, caught)
	}
	if share < 90 {
		t.Errorf("only %.0f%% of the mutants are caught", share)
	}
}

// verdict on one mutant: By is what caught it, "" if nothing did.
type verdict struct {
	Mutant mutants.Mutant
	By     string
}

func remembered(t *testing.T) map[string]verdict {
	known := map[string]verdict{}
	b, err := os.ReadFile(*results)
	if *results == "" || errors.Is(err, os.ErrNotExist) {
		return known
	}
	if err == nil {
		err = json.Unmarshal(b, &known)
	}
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func remember(t *testing.T, known map[string]verdict) {
	if *results == "" {
		return
	}
	b, err := json.MarshalIndent(known, "", " ")
	if err == nil {
		err = os.WriteFile(*results, b, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, verdicts []verdict, caught int) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Mutants\n\nMade by `make mutants` on %s: %d of %d seeded faults are caught by the conformance suite (%.0f%%; the aim is 90%%).\nEach is one changed text in one file; it is caught if a requirement fails that the unchanged build fulfils, or something is left behind.\n\n| mutant | file | fault | caught by |\n|---|---|---|---|\n",
		time.Now().UTC().Format("2006-01-02"), caught, len(verdicts), 100*float64(caught)/float64(max(len(verdicts), 1)))
	for _, v := range verdicts {
		by := "**not caught**"
		switch {
		case v.By != "":
			by = "`" + v.By + "`"
		case v.Mutant.Known != "":
			by += ": " + v.Mutant.Known
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.Mutant.ID, v.Mutant.File, v.Mutant.Fault, by)
	}
	if err := os.WriteFile(*table, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func byFile(list []mutants.Mutant) map[string][]mutants.Mutant {
	files := map[string][]mutants.Mutant{}
	for _, m := range list {
		files[m.File] = append(files[m.File], m)
	}
	return files
}

func switched(file string, of []mutants.Mutant) (text string, alone []string, err error) {
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return "", nil, err
	}
	return mutants.Switched(file, string(b), of)
}

// trial is what all mutants of a run share.
type trial struct {
	dir string
	// sound is the unchanged build, all the one that has every mutant in it but those of alone.
	sound, all string
	alone      []string
	mu         sync.Mutex
	baselines  map[string]conformance.Report
}

func prepare(t *testing.T, list []mutants.Mutant) *trial {
	t.Helper()
	p := &trial{dir: t.TempDir(), baselines: map[string]conformance.Report{}}
	p.sound, p.all = filepath.Join(p.dir, "sound"), filepath.Join(p.dir, "all")
	if len(list) == 0 {
		return p
	}
	if err := build(t, p.sound, nil); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for file, of := range byFile(list) {
		text, alone, err := switched(file, of)
		if err != nil {
			t.Fatal(err)
		}
		p.alone = append(p.alone, alone...)
		if len(alone) < len(of) {
			texts[file] = text
		}
	}
	if err := build(t, p.all, texts); err != nil {
		t.Fatalf("the build with all mutants in it: %v", err)
	}
	return p
}

// build compiles lazulite with other texts for some files.
func build(t *testing.T, out string, texts map[string]string) error {
	replace := map[string]string{}
	dir := t.TempDir()
	for file, text := range texts {
		abs, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			return err
		}
		replace[abs] = filepath.Join(dir, fmt.Sprint(len(replace))+filepath.Ext(file))
		if err := os.WriteFile(replace[abs], []byte(text), 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(config, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", config, "-ldflags=-s -w", "-o", out, "./cmd/lazulite")
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, b)
	}
	return nil
}

// try judges a mutant and returns what only it fails; "" if it got away.
func (p *trial) try(t *testing.T, m mutants.Mutant) (string, error) {
	base, err := p.baseline(t, m.Labels)
	if err != nil {
		return "", err
	}
	bin := p.all
	if slices.Contains(p.alone, m.ID) {
		bin = filepath.Join(p.dir, m.ID)
		b, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			return "", err
		}
		text, err := m.Apply(string(b))
		if err != nil {
			return "", err
		}
		if err := build(t, bin, map[string]string{m.File: text}); err != nil {
			return "", err
		}
		defer func() { _ = os.Remove(bin) }()
	}
	rep, err := p.judge(t, bin, m.ID, m.Labels)
	if err != nil {
		// A mutant that does not even start, or hangs, shows itself.
		first, _, _ := strings.Cut(err.Error(), "\n")
		return "the suite could not be run: " + first, nil
	}
	for _, r := range rep.Results {
		if r.Status == conformance.Fail && !failed(base, r.ID) {
			t.Logf("%s fails %s: %.300s", m.ID, r.ID, r.Detail)
			return r.ID, nil
		}
	}
	if len(rep.Left) > 0 && len(base.Left) == 0 {
		return "what was left behind", nil
	}
	return "", nil
}

// baseline is what the unchanged build fails.
func (p *trial) baseline(t *testing.T, labels string) (conformance.Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rep, ok := p.baselines[labels]; ok {
		return rep, nil
	}
	rep, err := p.judge(t, p.sound, "", labels)
	if err != nil {
		return rep, fmt.Errorf("the unchanged build, %s: %w", labels, err)
	}
	passed := rep.Count(conformance.Pass)
	for _, r := range rep.Results {
		if r.Status == conformance.Fail || r.Status == conformance.Errored {
			t.Logf("the unchanged build: %s %s: %s", r.Status, r.ID, r.Detail)
		}
	}
	if passed == 0 {
		return rep, fmt.Errorf("the unchanged build, %s: nothing passed", labels)
	}
	p.baselines[labels] = rep
	return rep, nil
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
func (p *trial) judge(t *testing.T, bin, mutant, labels string) (rep conformance.Report, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	home, err := os.MkdirTemp(p.dir, "home")
	if err != nil {
		return rep, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	cmd := exec.CommandContext(ctx, bin, "--data", filepath.Join(home, "data"), "exec", "--", p.sound, "conform", "--labels", labels, "-o", "json")
	cmd.Env = append(os.Environ(), "LAZULITE_SPARK="+spark(), "HOME="+home, "TMPDIR="+home, "AMLC_BUDGET_OPERATION=40s", mutants.Variable+"="+mutant)
	// It closes its emulator when it is interrupted; what hangs then is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if jerr := json.Unmarshal(out, &rep); jerr != nil {
		return rep, errors.Join(err, jerr, errors.New(stderr.String()))
	}
	return rep, nil
}

// spark is where HDInsight's Spark is, if the cache has it: each emulator has a home of its own.
func spark() string {
	if dir := os.Getenv("LAZULITE_SPARK"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "lazulite", "spark")
}
