package conformance_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/aml/serving/servingtest"
	"lazulite.dev/emulator/hardware"
)

// emulated is an emulator and what the suite is told of it: a URL and credentials, like any other implementation.
func emulated(t *testing.T, faults string) conformance.Config {
	t.Helper()
	// What deployed models are served by, so that no index need be there.
	wheels := servingtest.Wheels(t)
	e, err := emulator.New(emulator.Config{Dir: t.TempDir(), Faults: faults, Seed: 5, Environment: []string{"PATH=" + os.Getenv("PATH"), "PIP_FIND_LINKS=" + wheels, "UV_FIND_LINKS=" + wheels}, Hardware: gpus(t), Spark: spark()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := e.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	id, st := e.Identity(), e.Status()
	cfg := conformance.NewConfig()
	cfg.Endpoint, cfg.Proxy, cfg.CAFile = "https://management.azure.com", e.URL(), st.CAFile
	cfg.Tenant, cfg.ClientID, cfg.ClientSecret, cfg.Subscription = id.Tenant, id.ClientID, id.ClientSecret, id.Subscription
	if cfg.ExpiredToken, cfg.ForeignToken, err = e.RefusedTokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Budget.Cost = conformance.FreeOfCost
	cfg.Documents = openapitest.Folder(t)
	return cfg
}

// spark is where "lazulite spark install" puts what clusters of HDInsight run.
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

// gpus are simulated, where this machine has a compiler for that.
func gpus(t *testing.T) *hardware.Host {
	t.Helper()
	folder, err := hardware.BuildStub(t.Context(), t.TempDir())
	if err != nil {
		t.Log(err)
		return nil
	}
	return hardware.New(hardware.Config{Simulation: &hardware.Simulation{Folder: folder, Dir: t.TempDir()}})
}

// TestEmulator runs the whole suite against the emulator, through its door.
func TestEmulator(t *testing.T) {
	cfg := emulated(t, "")
	rep, err := conformance.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Results {
		switch r.Status {
		case conformance.Fail, conformance.Errored, conformance.Unsupported:
			t.Errorf("%s %s: %s", r.Status, r.ID, r.Detail)
		case conformance.Skip, conformance.Disabled:
			t.Logf("%s %s: %s", r.Status, r.ID, r.Detail)
		}
	}
	if n := rep.Count(conformance.Pass); n < 110 {
		t.Errorf("only %d requirements passed", n)
	}
	creates(t, rep)
	fidelity(t, rep)
	claims(t, rep)
	for _, left := range rep.Left {
		t.Error("left behind:", left)
	}
}

// TestUnkind runs the suite against a service that is as unkind as Azure may be: its specs and its client must stand that.
func TestUnkind(t *testing.T) {
	cfg := emulated(t, "unkind")
	cfg.Labels = "core"
	rep, err := conformance.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Results {
		// Missing request ids are part of the unkindness.
		if (r.Status == conformance.Fail || r.Status == conformance.Errored) && r.ID != "core.request.id" {
			t.Errorf("%s %s: %s", r.Status, r.ID, r.Detail)
		}
	}
	if n := rep.Count(conformance.Pass); n < 30 {
		t.Errorf("only %d requirements passed", n)
	}
}

var update = flag.Bool("update", false, "write creates.json from this run")

// creates holds what the plan says a run creates against what one created.
func creates(t *testing.T, rep conformance.Report) {
	t.Helper()
	seen := map[string][]string{}
	for _, r := range rep.Results {
		// What was skipped half-way created only a part.
		if len(r.Created) > 0 && r.Status == conformance.Pass {
			seen[r.ID] = r.Created
		}
	}
	if *update {
		b, err := json.MarshalIndent(seen, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("creates.json", append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	planned, err := conformance.Creates()
	if err != nil {
		t.Fatal(err)
	}
	for id, types := range seen {
		if !reflect.DeepEqual(planned[id], types) {
			t.Errorf("%s created %q, creates.json has %q: go test ./conformance -run TestEmulator -update", id, types, planned[id])
		}
	}
}

// fidelity holds docs/fidelity.md, which README's claims rest on, against this
// run: a line that nothing witnessed any more is a false claim.
func fidelity(t *testing.T, rep conformance.Report) {
	t.Helper()
	file := filepath.Join("..", "docs", "fidelity.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(b), "| operation |")
	if !ok {
		t.Fatalf("%s has no table", file)
	}
	var table strings.Builder
	if err := conformance.WriteFidelity(&table, conformance.Fidelity(rep)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	now, operations := map[string]bool{}, map[string]bool{}
	operation := func(line string) string {
		cells := strings.SplitN(line, "|", 4)
		return strings.Join(cells[:min(3, len(cells))], "|")
	}
	for _, line := range strings.Split(table.String(), "\n") {
		now[line], operations[operation(line)] = true, true
	}
	_, _, noSpark := emulator.FindSpark(spark())
	for _, line := range strings.Split(string(b)[len(head):], "\n") {
		switch {
		case now[line]:
		case noSpark != nil && (strings.Contains(line, "Microsoft.HDInsight") || operations[operation(line)]):
			// What needs Spark is skipped, and is missing among the witnesses of what others use too.
			t.Logf("not all witnessed without Spark: %s", line)
		default:
			t.Errorf("this run did not witness (go test ./conformance -run TestEmulator -update, if that is right): %s", line)
		}
	}
}

// claims holds README's table of what is emulated against this run: each line
// names its witnesses, requirements that passed here or tests of real clients.
func claims(t *testing.T, rep conformance.Report) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, noSpark := emulator.FindSpark(spark())
	for _, c := range unwitnessed(t, string(b), rep) {
		if noSpark != nil && strings.HasPrefix(c.witness, "hdinsight.") {
			t.Logf("not witnessed without Spark (%v): %s", noSpark, c.part)
			continue
		}
		t.Errorf("README's witness %q did not witness: %s", c.witness, c.part)
	}
}

// claim is a part that README says is emulated, with a witness that did not see it.
type claim struct{ part, witness string }

// unwitnessed are README's claims that a run does not bear out.
func unwitnessed(t *testing.T, readme string, rep conformance.Report) (list []claim) {
	t.Helper()
	_, table, ok := strings.Cut(readme, "| part | state | witnessed by |\n|---|---|---|\n")
	if !ok {
		t.Fatal("README has no table of what is emulated")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		witnesses := cells[len(cells)-1]
		if len(cells) != 3 || !strings.Contains(witnesses, "`") {
			list = append(list, claim{line, ""})
			continue
		}
		for _, w := range strings.Split(witnesses, ", ") {
			if w = strings.Trim(w, "` "); !witnessed(t, rep, w) {
				list = append(list, claim{cells[0], w})
			}
		}
	}
	return list
}

// A claim that no passed requirement bears out is found.
func TestUnwitnessed(t *testing.T) {
	rep := conformance.Report{}
	for id, status := range map[string]conformance.Status{"a.one": conformance.Pass, "a.two": conformance.Pass, "b.one": conformance.Pass, "b.two": conformance.Fail,
		"c.one": conformance.Skip, "d.one": conformance.Disabled, "e.one": conformance.Unsupported} {
		rep.Results = append(rep.Results, conformance.Result{Requirement: conformance.Requirement{ID: id}, Status: status})
	}
	for _, row := range []struct{ line, want string }{
		{"| OK | emulated | `a.*`, `TestMgmtVM` |", ""},
		{"| ErrNobody | emulated | nobody |", ""},
		{"| ErrFailed | emulated | `b.*` |", "b.*"},
		{"| ErrSkipped | emulated | `c.*` |", "c.*"},
		{"| ErrDisabled | emulated | `a.one`, `d.one` |", "d.one"},
		{"| ErrUnsupported | emulated | `e.one` |", "e.one"},
		{"| ErrNoRequirement | emulated | `f.*` |", "f.*"},
		{"| ErrNoTest | emulated | `TestOfNobody` |", "TestOfNobody"},
	} {
		list := unwitnessed(t, "| part | state | witnessed by |\n|---|---|---|\n"+row.line+"\n\n", rep)
		if bad := strings.Contains(row.line, "Err"); bad != (len(list) == 1) || bad && list[0].witness != row.want {
			t.Errorf("%s: %+v", row.line, list)
		}
	}
}

// witnessed says whether a requirement of that pattern passed, or there is such a test of a real client.
func witnessed(t *testing.T, rep conformance.Report, pattern string) bool {
	t.Helper()
	if strings.HasPrefix(pattern, "Test") {
		files, err := filepath.Glob(filepath.Join("..", "clients", "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "func "+pattern+"(") {
				return true
			}
		}
		return false
	}
	passed := false
	for _, r := range rep.Results {
		if ok, err := filepath.Match(pattern, r.ID); err != nil || !ok {
			continue
		}
		if r.Status == conformance.Fail || r.Status == conformance.Errored {
			return false
		}
		passed = passed || r.Status == conformance.Pass
	}
	return passed
}
