package conformance_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/wire"
)

// A plan sends nothing: its endpoint does not exist.
func TestPlan(t *testing.T) {
	cfg := conformance.NewConfig()
	cfg.Endpoint, cfg.Subscription, cfg.Tenant, cfg.ClientID, cfg.ClientSecret = "https://nowhere.invalid", "s", "t", "c", "x"
	list, err := conformance.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	costly := 0
	for _, r := range list {
		if r.Cost > 0 || r.Uses != "" {
			costly++
		}
	}
	for _, row := range []struct {
		name     string
		budget   float64
		labels   string
		want     int
		creating string
	}{
		{"nothing that costs", 0, "", len(list) - costly, "Microsoft.MachineLearningServices/workspaces"},
		{"all", conformance.FreeOfCost, "", len(list), "Microsoft.MachineLearningServices/workspaces/computes"},
		{"nothing", 0, "nothing", 0, ""},
	} {
		cfg.Budget.Cost, cfg.Labels = row.budget, row.labels
		plan, err := conformance.Plan(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		n := 0
		for _, p := range plan {
			if p.Disabled == "" {
				n++
			}
			types = append(types, p.Creates...)
		}
		if len(plan) != len(list) || n != row.want {
			t.Errorf("%s: %d of %d would be checked, want %d of %d", row.name, n, len(plan), row.want, len(list))
		}
		if row.creating != "" && !slices.Contains(types, row.creating) {
			t.Errorf("%s: nothing would create a %s", row.name, row.creating)
		}
		var b bytes.Buffer
		if err := conformance.WritePlan(&b, plan); err != nil || !strings.Contains(b.String(), "Nothing was created") {
			t.Errorf("%s: %v, %s", row.name, err, b.String())
		}
	}
}

// What a run leaves behind, as a killed one does, Sweep deletes.
func TestSweep(t *testing.T) {
	cfg := emulated(t, "")
	cfg.Journal = filepath.Join(t.TempDir(), "kept", "journal.jsonl")
	cfg.Keep, cfg.Labels = true, "core"
	rep, err := conformance.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	left, err := wire.Journal(cfg.Journal, cfg.Endpoint)
	if err != nil || len(left) == 0 || len(left) != len(rep.Left) {
		t.Fatalf("the journal has %v, the report %q: %v", left, rep.Left, err)
	}
	// A write that a crash cut off.
	f, err := os.OpenFile(cfg.Journal, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"endpoint":"https://man`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	elsewhere := cfg
	elsewhere.Endpoint = "https://nowhere.invalid"
	if gone, err := conformance.Sweep(context.Background(), elsewhere); err != nil || len(gone) != 0 {
		t.Errorf("at another endpoint %v were deleted: %v", gone, err)
	}
	gone, err := conformance.Sweep(context.Background(), cfg)
	if err != nil || len(gone) != len(left) {
		t.Fatalf("%d of %d deleted: %v", len(gone), len(left), err)
	}
	if gone[0] != left[len(left)-1].Path {
		t.Errorf("first deleted was %s, the newest is %s", gone[0], left[len(left)-1].Path)
	}
	client, err := wire.New(cfg.Wire())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, m := range left {
		r, err := client.Do(ctx, wire.Request{Method: "GET", URL: m.Path, Version: m.Version})
		if err != nil || r.Status != 404 {
			t.Errorf("%s is still there: %v %v", m.Path, r, err)
		}
	}
	if gone, err := conformance.Sweep(context.Background(), cfg); err != nil || len(gone) != 0 {
		t.Errorf("a second sweep deleted %v: %v", gone, err)
	}
	cfg.Journal = ""
	if _, err := conformance.Sweep(context.Background(), cfg); err == nil {
		t.Error("a sweep without a journal has nothing to go by, and said nothing")
	}
}
