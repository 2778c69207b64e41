package conformance_test

import (
	"context"
	"os"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator"
)

// TestEmulator runs the whole suite against the emulator, through its door: it
// is told a URL and credentials like any other implementation.
func TestEmulator(t *testing.T) {
	e, err := emulator.New(emulator.Config{Dir: t.TempDir(), Environment: []string{"PATH=" + os.Getenv("PATH")}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := e.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	id, st := e.Identity(), e.Status()
	cfg := conformance.NewConfig()
	cfg.Endpoint, cfg.Proxy, cfg.CAFile = "https://management.azure.com", e.URL(), st.CAFile
	cfg.Tenant, cfg.ClientID, cfg.ClientSecret, cfg.Subscription = id.Tenant, id.ClientID, id.ClientSecret, id.Subscription
	cfg.Budget.Cost = conformance.FreeOfCost
	cfg.Documents = openapitest.Folder(t)
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
	for _, left := range rep.Left {
		t.Error("left behind:", left)
	}
}
