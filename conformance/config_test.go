package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
)

func TestLoad(t *testing.T) {
	for _, row := range []struct {
		name, file string
		env        map[string]string
		check      func(conformance.Config) bool
		err        string
	}{
		{name: "OK defaults", check: func(c conformance.Config) bool { return c.Location == "eastus2" && c.Budget.Time == time.Hour }},
		{name: "OK file", file: `{"endpoint":"https://a","targets":["vm"],"ssh":{"port":2222},"budget":{"time":"90s","cost":1.5}}`,
			check: func(c conformance.Config) bool {
				return c.Endpoint == "https://a" && c.Targets[0] == "vm" && c.SSH.Port == 2222 && c.Budget.Time == 90*time.Second &&
					c.Budget.Cost == 1.5 && c.Budget.Operation == 10*time.Minute && c.Location == "eastus2"
			}},
		{name: "OK environment wins", file: `{"endpoint":"https://a"}`,
			env: map[string]string{"AMLC_ENDPOINT": "https://b", "AMLC_TARGETS": "local, vm", "AMLC_SSH_PORT": "23", "AMLC_KEEP": "true", "AMLC_BUDGET_TIME": "2h", "AMLC_BUDGET_COST": "-1"},
			check: func(c conformance.Config) bool {
				return c.Endpoint == "https://b" && strings.Join(c.Targets, "+") == "local+vm" && c.SSH.Port == 23 && c.Keep &&
					c.Budget.Time == 2*time.Hour && c.Budget.Cost == conformance.FreeOfCost
			}},
		{name: "ErrField", file: `{"endpiont":"x"}`, err: "endpiont"},
		{name: "ErrTime", file: `{"budget":{"time":"soon"}}`, err: "soon"},
		{name: "ErrBudgetField", file: `{"budget":{"tiem":"1s"}}`, err: "tiem"},
		{name: "ErrNumber", env: map[string]string{"AMLC_SSH_PORT": "many"}, err: `AMLC_SSH_PORT: "many" is not a number`},
		{name: "ErrBool", env: map[string]string{"AMLC_KEEP": "perhaps"}, err: "AMLC_KEEP"},
		{name: "ErrDuration", env: map[string]string{"AMLC_BUDGET_TIME": "7"}, err: "AMLC_BUDGET_TIME"},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := ""
			if row.file != "" {
				file = filepath.Join(t.TempDir(), "config.json")
				if err := os.WriteFile(file, []byte(row.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for k, v := range row.env {
				t.Setenv(k, v)
			}
			c, err := conformance.Load(file)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("got %v, want …%s…", err, row.err)
				}
			case err != nil:
				t.Error(err)
			case !row.check(c):
				t.Errorf("got %+v", c)
			}
		})
	}
}
