package arm_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
)

// shared is the folder of measured traffic, which is not part of the repository.
func shared(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("LAZULITE_SHARED"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared"))
	if err == nil {
		if _, err = os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skip("no shared folder: set LAZULITE_SHARED")
	return ""
}

type interaction struct {
	Request struct {
		Method, URI string
		Body        any
	}
	Response struct {
		Status  struct{ Code int }
		Headers map[string][]string
		Body    struct{ String any }
	}
}

// passive declares types without rules, for requests that are about the resource manager alone.
func passive(names ...string) []arm.Provider {
	byNamespace := map[string]*arm.Provider{}
	for _, n := range names {
		namespace, _, _ := strings.Cut(n, "/")
		p := byNamespace[strings.ToLower(namespace)]
		if p == nil {
			p = &arm.Provider{Namespace: namespace, Registered: true}
			byNamespace[strings.ToLower(namespace)] = p
		}
		p.Types = append(p.Types, arm.Type{Name: n, Versions: arm.Versions{From: "2015-01-01"}, Tracked: true})
	}
	var out []arm.Provider
	for _, k := range slices.Sorted(maps.Keys(byNamespace)) {
		out = append(out, *byNamespace[k])
	}
	return out
}

var groupURI = regexp.MustCompile(`(?i)^https://management.azure.com/subscriptions/[^/]+(/resourcegroups/[^/?]+(/providers/Microsoft.Resources/deployments/[^/?]+)?)\?`)

var (
	deploymentName = regexp.MustCompile(`/deployments/([^/]+)/operationStatuses/`)
	groupPart      = regexp.MustCompile(`(?i)/resourcegroups/[^/]+`)
)

// Ensure that groups and deployments answer azure-cli's recorded requests as
// Azure did: status, headers that clients use, and the members of the bodies.
func TestRecordings(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t), "recordings", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Skip("no recordings")
	}
	compared := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var cassette struct{ Interactions []interaction }
			if err := json.Unmarshal(b, &cassette); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, func(c *arm.Config) {
				c.Clock = clock.Real()
				c.Providers = passive("Microsoft.Network/virtualNetworks", "Microsoft.Network/networkSecurityGroups", "Microsoft.Network/publicIPAddresses", "Microsoft.Network/networkInterfaces", "Microsoft.Compute/virtualMachines", "Microsoft.Storage/storageAccounts")
			})
			// The recorder replaced every deployment's name in URLs; the headers still have it.
			deployment := ""
			for _, i := range cassette.Interactions {
				m := groupURI.FindStringSubmatch(i.Request.URI)
				if m == nil {
					continue
				}
				if async := i.Response.Headers["azure-asyncoperation"]; len(async) > 0 {
					deployment = deploymentName.FindStringSubmatch(async[0])[1]
				}
				if strings.Contains(m[1], "mock-deployment") {
					if m[1] = strings.Replace(m[1], "mock-deployment", deployment, 1); deployment == "" {
						continue
					}
				}
				body, _ := i.Request.Body.(string)
				body = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(body, "b'"), "'"), `\'`, "'")
				if i.Request.Method == "PUT" && !json.Valid([]byte(body)) {
					deployment = "" // damaged by the recorder: what follows asks for it
					continue
				}
				if r.do("GET {SUB}"+groupPart.FindString(m[1]), "").status == 404 && i.Request.Method != "PUT" {
					// Made before the recording began.
					r.must(201, "PUT {SUB}"+groupPart.FindString(m[1]), `{"location":"westus"}`)
				}
				a := r.do(i.Request.Method+" {SUB}"+m[1]+"?api-version=2018-05-01", strings.ReplaceAll(body, "00000000-0000-0000-0000-000000000000", sub))
				compared++
				if a.status != i.Response.Status.Code {
					t.Fatalf("%s %s: %d, recorded %d: %s", i.Request.Method, i.Request.URI, a.status, i.Response.Status.Code, a.body)
				}
				for _, h := range []string{"azure-asyncoperation", "location", "content-type", "x-ms-ratelimit-remaining-subscription-writes", "x-ms-ratelimit-remaining-subscription-deletes"} {
					if _, want := i.Response.Headers[h]; want != (a.header.Get(h) != "") {
						t.Errorf("%s %s: header %s is %q", i.Request.Method, m[1], h, a.header.Get(h))
					}
				}
				if async := a.header.Get("Azure-AsyncOperation"); async != "" {
					if d := r.done(async); d.body != `{"status":"Succeeded"}` {
						t.Fatal(d.body)
					}
				}
				if location := a.header.Get("Location"); location != "" {
					r.until("the operation is over", func() bool { return r.poll(location).status == 200 })
				}
				recorded, _ := i.Response.Body.String.(string)
				var want map[string]any
				if recorded == "" || json.Unmarshal([]byte(recorded), &want) != nil || want["error"] != nil {
					continue
				}
				delete(want, "tags") // some groups have none
				missing(t, i.Request.Method+" "+m[1], want, a.json)
			}
		})
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// missing reports members that the recording has and the answer has not.
func missing(t *testing.T, at string, want, got map[string]any) {
	t.Helper()
	for k, v := range want {
		have, there := got[k]
		if !there {
			t.Errorf("%s: no %q", at, k)
			continue
		}
		if m, ok := v.(map[string]any); ok {
			sub, _ := have.(map[string]any)
			missing(t, at+" "+k, m, sub)
		}
	}
}

// Ensure that the deployment which SDK 0.1.68 sends for a workspace goes through, in the order that it asks for.
func TestWorkspaceDeployment(t *testing.T) {
	f, err := os.Open(filepath.Join(shared(t), "captures", "requests_control.jsonl"))
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	found := false
	for lines.Scan() {
		var req struct {
			M, Path, Body string
		}
		if json.Unmarshal(lines.Bytes(), &req) != nil || req.M != "PUT" || !strings.Contains(req.Path, "Microsoft.Resources/deployments/") {
			continue
		}
		found = true
		r := newRig(t, func(c *arm.Config) {
			c.Providers = passive("Microsoft.KeyVault/vaults", "Microsoft.Storage/storageAccounts", "Microsoft.ContainerRegistry/registries", "Microsoft.BatchAI/workspaces", "Microsoft.Insights/components", "Microsoft.MachineLearningServices/workspaces")
		})
		r.must(201, "PUT {SUB}/resourcegroups/emurg", `{"location":"eastus2"}`)
		a := r.must(201, "PUT "+req.Path, req.Body)
		if d := r.done(a.header.Get("Azure-AsyncOperation")); d.body != `{"status":"Succeeded"}` {
			t.Error(d.body)
		}
		if a := r.must(200, "GET {SUB}/resourcegroups/emurg/resources?$filter=resourceType%20eq%20'Microsoft.MachineLearningServices/workspaces'", ""); !strings.Contains(a.body, "/resourceGroups/emurg/providers/Microsoft.MachineLearningServices/workspaces/") {
			t.Error(a.body)
		}
	}
	if !found {
		t.Error("the captures hold no deployment")
	}
}
