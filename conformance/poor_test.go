package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/testdata/poor"
)

func poorConfig(t *testing.T) (conformance.Config, *poor.Server) {
	t.Helper()
	p := poor.New()
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	cfg := conformance.NewConfig()
	cfg.Endpoint, cfg.Authority = srv.URL, srv.URL
	cfg.Tenant, cfg.ClientID, cfg.ClientSecret = "t", "id", "secret"
	cfg.Subscription = "99999999-2222-4333-8444-555555555555"
	cfg.Budget.Cost = conformance.FreeOfCost
	cfg.Budget.Operation = 100 * time.Millisecond
	return cfg, p
}

// The suite tells what a poor implementation does, without a hang, a crash or a groundless pass.
func TestPoorImplementation(t *testing.T) {
	cfg, server := poorConfig(t)
	var results bytes.Buffer
	cfg.Results = &results
	start := time.Now()
	rep, err := conformance.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the run took %s", took)
	}
	if rep.OK() {
		t.Error("the poor implementation conforms")
	}
	list, err := conformance.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != len(list) {
		t.Errorf("%d results for %d requirements", len(rep.Results), len(list))
	}
	want := map[string]conformance.Status{
		"core.token.granted":     conformance.Pass,
		"core.token.secret":      conformance.Fail, // any secret will do
		"core.auth.missing":      conformance.Fail, // no token, too
		"core.auth.foreign":      conformance.Fail,
		"core.auth.expired":      conformance.Skip,
		"core.group.create":      conformance.Fail,
		"core.group.head":        conformance.Fail, // dropped connection
		"core.group.paging":      conformance.Fail, // a circle
		"core.group.delete":      conformance.Fail, // never ends
		"core.subscription.list": conformance.Fail, // HTML
		"core.tenant.list":       conformance.Fail, // torn JSON
		"core.resource.etag":     conformance.Unsupported,
		"aml.workspace.create":   conformance.Fail, // the deployment never ends
		"aml.workspace.get":      conformance.Skip, // needs it
		"local.run.completed":    conformance.Skip,
		"vm.run.completed":       conformance.Skip,
	}
	for _, r := range rep.Results {
		if w, ok := want[r.ID]; ok && r.Status != w {
			t.Errorf("%s: %s (%s), want %s", r.ID, r.Status, r.Detail, w)
		}
		if r.Status == conformance.Errored {
			t.Errorf("%s blames ourselves: %s", r.ID, r.Detail)
		}
		if r.Status != conformance.Pass && r.Detail == "" {
			t.Errorf("%s is %s without a reason", r.ID, r.Status)
		}
	}
	if groups := server.Groups(); len(groups) > 0 {
		t.Errorf("left behind: %v", groups)
	}
	var again conformance.Report
	if err := json.Unmarshal(results.Bytes(), &again); err != nil || len(again.Results) != len(rep.Results) {
		t.Errorf("Results got %d bytes, %v", results.Len(), err)
	}
	if strings.Contains(results.String(), "secretclaims") {
		t.Error("a token is in the results")
	}
}

func TestSelection(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*conformance.Config)
		id     string
		want   conformance.Status
		detail string
	}{
		{"label", func(c *conformance.Config) { c.Labels = "core" }, "aml.run.create", conformance.Disabled, "label filter"},
		{"target label", func(c *conformance.Config) { c.Labels = "target:local" }, "vm.attach", conformance.Disabled, "label filter"},
		{"not slow", func(c *conformance.Config) { c.Labels = "!slow" }, "vm.run.canceled", conformance.Disabled, "label filter"},
		{"target", func(c *conformance.Config) { c.Targets, c.Labels = []string{"local"}, "target:vm" }, "vm.attach", conformance.Disabled, "target vm is not asked for"},
		{"cost", func(c *conformance.Config) { c.Budget.Cost, c.Labels = 0, "cost" }, "vm.dsvm.create", conformance.Disabled, "it costs about"},
		{"cost of what it uses", func(c *conformance.Config) { c.Budget.Cost, c.Labels = 1, "hdinsight.cluster.gateway" }, "hdinsight.cluster.gateway", conformance.Disabled, "it costs about $1.50"},
		{"a machine of one's own", func(c *conformance.Config) { c.Budget.Cost, c.SSH.Address, c.Labels = 0, "192.0.2.1", "vm.login" }, "vm.login", conformance.Fail, "Microsoft.MachineLearningServices"},
		{"time", func(c *conformance.Config) { c.Budget.Time = 1 }, "core.auth.missing", conformance.Disabled, "time budget"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := poorConfig(t)
			cfg.Budget.Operation = 250 * time.Millisecond
			row.change(&cfg)
			rep, err := conformance.Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rep.Results {
				if r.ID == row.id {
					if r.Status != row.want || !strings.Contains(r.Detail, row.detail) {
						t.Errorf("%s: %s (%s), want %s (…%s…)", r.ID, r.Status, r.Detail, row.want, row.detail)
					}
					return
				}
			}
			t.Errorf("no result for %s", row.id)
		})
	}
}

func TestRunRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*conformance.Config)
		want   string
	}{
		{"endpoint", func(c *conformance.Config) { c.Endpoint = "" }, "no endpoint"},
		{"endpoint URL", func(c *conformance.Config) { c.Endpoint = "localhost" }, "not a URL"},
		{"endpoint that isn't there", func(c *conformance.Config) { c.Endpoint = "http://127.0.0.1:1" }, "can't be reached"},
		{"subscription", func(c *conformance.Config) { c.Subscription = "" }, "no subscription"},
		{"credentials", func(c *conformance.Config) { c.ClientSecret = "" }, "no way to get a token"},
		{"labels", func(c *conformance.Config) { c.Labels = "core &&" }, "labels"},
		{"target", func(c *conformance.Config) { c.Targets = []string{"moon"} }, `unknown target "moon"`},
		{"CA file", func(c *conformance.Config) { c.CAFile = "absent.pem" }, "absent.pem"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := poorConfig(t)
			row.change(&cfg)
			if _, err := conformance.Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want …%s…", err, row.want)
			}
		})
	}
}

// A run that is stopped says so and blames nobody.
func TestRunStopped(t *testing.T) {
	cfg, _ := poorConfig(t)
	cfg.Budget.Operation = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	cfg.Labels = "core"
	rep, err := conformance.Run(ctx, cfg)
	if err == nil {
		t.Error("no error")
	}
	if n := len(rep.Results); n == 0 || n == len(conformance.Checked()) {
		t.Fatalf("%d results", n)
	}
	if last := rep.Results[len(rep.Results)-1]; last.Status == conformance.Fail {
		t.Errorf("%s: %s: %s", last.ID, last.Status, last.Detail)
	}
}
