package emulator_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "lazulite.dev/"

// allowed says which packages of ours each package may import, besides those
// below it in the same row's own tree. It is docs/design.md's picture: arrows
// point down only.
var allowed = map[string][]string{
	"emulator/store":         {},
	"emulator/clock":         {},
	"emulator/durable":       {},
	"emulator/hardware":      {"emulator/durable"},
	"emulator/front":         {"emulator/durable"},
	"emulator/unkind":        {},
	"emulator/lifecycle":     {},
	"emulator/aad":           {"emulator/store", "emulator/clock"},
	"emulator/blob":          {"emulator/store", "emulator/clock"},
	"emulator/arm":           {"emulator/store", "emulator/clock"},
	"emulator/engine":        {"emulator/hardware", "emulator/clock", "emulator/durable"},
	"emulator/engine/docker": {"emulator/engine/docker/guest", "emulator/engine", "emulator/hardware", "emulator/clock"},
	"emulator/engine/*":      {"emulator/engine", "emulator/hardware", "emulator/clock"},
	"emulator/sshd":          {"emulator/engine", "emulator/clock", "emulator/durable"},
	"emulator/aml":           {"emulator/aml/*", "emulator/arm", "emulator/blob", "emulator/aad", "emulator/store", "emulator/clock"},
	"emulator/aml/plane":     {"emulator/aad", "emulator/clock"},
	"emulator/aml/history":   {"emulator/aml/plane", "emulator/aad", "emulator/store", "emulator/clock"},
	"emulator/aml/mms":       {"emulator/aml/plane"},
	"emulator/aml/assets":    {"emulator/aml/plane", "emulator/aml/mms", "emulator/blob", "emulator/store", "emulator/clock"},
	"emulator/aml/execution": {"emulator/aml/plane", "emulator/aml/history", "emulator/aml/assets", "emulator/store", "emulator/clock"},
	"emulator/aml/serving/*": {},
	"emulator/aml/serving":   {"emulator/aml/plane", "emulator/aml/mms", "emulator/aml/assets", "emulator/aml/execution", "emulator/blob", "emulator/store", "emulator/clock"},
	"fakes/batchai":          {"fakes/batchai/pool", "emulator/arm", "emulator/engine", "emulator/sshd", "emulator/hardware", "emulator/lifecycle", "emulator/clock"},
	"fakes/batchai/pool":     {"emulator/engine", "emulator/sshd", "emulator/hardware", "emulator/lifecycle", "emulator/clock", "emulator/durable"},
	"fakes/hdinsight":        {"fakes/hdinsight/cluster", "fakes/hdinsight/livy", "emulator/arm", "emulator/engine", "emulator/sshd", "emulator/hardware", "emulator/lifecycle", "emulator/clock"},
	"fakes/hdinsight/*":      {"emulator/engine", "emulator/sshd", "emulator/hardware", "emulator/lifecycle", "emulator/clock", "emulator/durable"},
	"fakes/*":                {"emulator/arm", "emulator/engine", "emulator/sshd", "emulator/hardware", "emulator/lifecycle", "emulator/clock", "emulator/durable"},
	"emulator":               {"emulator/*", "fakes/*"},
	"conformance":            {"conformance/*"},
	"conformance/*":          {"conformance", "conformance/*"},
	"bench":                  {},
	"clients/*":              {},
	"clients":                {},
	"cmd/*":                  {"emulator", "emulator/*", "conformance", "conformance/*", "clients/requirements"},
}

// confined third parties: only these packages may import them, so that a
// library can be changed in one place.
var confined = []struct{ library, to, reason string }{
	{"modernc.org/sqlite", "emulator/store", "where the state lives is the store's business"},
	{"github.com/elazarl/goproxy", "emulator/front", "the proxy is the front's business"},
	{"github.com/golang-jwt/jwt", "emulator/aad", "tokens are made and checked in one place"},
	{"github.com/NVIDIA/go-nvml", "emulator/hardware", "it needs cgo and a driver"},
	{"github.com/gliderlabs/ssh", "emulator/sshd", "the server side of SSH"},
	{"github.com/testcontainers/testcontainers-go", "emulator/engine/docker", "it is built for tests and must stay behind engine.Engine"},
	{"github.com/moby/moby", "emulator/engine/docker", "Docker's own client, where the library has no word for something"},
	{"github.com/coder/websocket", "fakes/aci conformance/wire", "the terminals of containers are its alone, and the suite's to try"},
	{"github.com/Azure/azure-sdk-for-go", "cmd", "only the command looks for the user's own login to Azure"},
	{"github.com/go-openapi", "conformance/openapi", "documents are read and answers held against them in one place"},
	{"github.com/onsi", "conformance", "a test framework has no place in the emulator"},
	{"github.com/Azure/go-autorest", "clients", "it is a client's, of an SDK that is no longer kept"},
	{"github.com/Azure/azure-sdk-for-go/services", "clients", "it is a client, to test with"},
	{"github.com/spf13/cobra", "cmd", "flags are read in main alone"},
}

type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// TestImportGraph pins the arrows of docs/design.md.
func TestImportGraph(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, module)
		row, ok := rowOf(name)
		if !ok {
			t.Errorf("%s has no row in the import table: give it one, and docs/design.md too", name)
			continue
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok && !matchAny(row, ours) {
				t.Errorf("%s imports %s, which the design does not allow", name, ours)
			}
			for _, c := range confined {
				may := slices.ContainsFunc(strings.Fields(c.to), func(to string) bool { return name == to || strings.HasPrefix(name, to+"/") })
				if (i == c.library || strings.HasPrefix(i, c.library+"/")) && !may {
					t.Errorf("%s imports %s, which is confined to %s: %s", name, i, c.to, c.reason)
				}
			}
		}
	}
	if seen < 10 {
		t.Fatalf("go list named only %d packages", seen)
	}
}

// TestTestsDoNotSleep: how they wait is clocktest's business alone.
func TestTestsDoNotSleep(t *testing.T) {
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		b, err := os.ReadFile(file)
		if strings.Contains(string(b), "time"+".Sleep(") {
			t.Errorf("%s sleeps: let it wait for what it waits for (emulator/clock/clocktest)", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func rowOf(name string) ([]string, bool) {
	if row, ok := allowed[name]; ok {
		return row, true
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if row, ok := allowed[dir+"/*"]; ok {
			return row, true
		}
		if row, ok := allowed[dir]; ok {
			return row, true
		}
	}
	return nil, false
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if p == name {
			return true
		}
		if stem, ok := strings.CutSuffix(p, "/*"); ok && strings.HasPrefix(name, stem+"/") {
			return true
		}
	}
	return false
}
