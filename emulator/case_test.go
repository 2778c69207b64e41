package emulator_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// swapCase turns one segment of a URL's path into the other case.
func swapCase(u string, segment int) (string, bool) {
	parsed, err := url.Parse(u)
	if err != nil {
		return "", false
	}
	segments := strings.Split(parsed.Path, "/")
	if segment >= len(segments) {
		return "", false
	}
	segments[segment] = strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, segments[segment])
	parsed.Path = strings.Join(segments, "/")
	return parsed.String(), true
}

// Ensure that the wrong case in any one path segment, literal or name, finds the same thing.
func TestCaseOfPaths(t *testing.T) {
	_, c := up(t)
	c.workspace()
	c.must(200, "PUT {P}/Microsoft.KeyVault/vaults/vault", `{"location":"eastus2","properties":{"sku":{"name":"standard"}}}`)
	c.put("{WS}/computes/attached", map[string]any{"location": "eastus2", "properties": map[string]any{"computeType": "VirtualMachine",
		"properties": map[string]any{"virtualMachineSize": "Standard_D2_v2"}}})
	c.must(201, "PUT {P}/Microsoft.Resources/deployments/deployed", `{"properties":{"mode":"Incremental","template":{"$schema":"https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#","contentVersion":"1.0.0.0","resources":[]}}}`)
	c.state("{P}/Microsoft.Resources/deployments/deployed", "Succeeded")
	run := runURL("run_1")
	c.must(200, "PATCH "+run, map[string]any{"runId": "run_1", "status": "NotStarted"})
	c.must(200, "POST "+run+"/metrics", metric("run_1", 7))
	c.must(200, "POST {artifact}/artifacts/content/ExperimentRun/run_1/outputs/m.txt", "weights", "Content-Type: application/octet-stream")
	asset := c.must(200, "POST {models}/assets", map[string]any{"name": "m", "artifacts": []any{map[string]string{"prefix": "ExperimentRun/run_1/outputs"}}}).text("id")
	c.must(200, "POST {models}/models", map[string]any{"name": "m", "url": "aml://asset/" + asset, "mimeType": "application/json"})
	snapshot := guid()
	body, ctype := snapshotForm("train.py", "print(1)")
	c.must(200, "POST {content}/snapshots/"+snapshot+"?parentSnapshotId=00000000-0000-0000-0000-000000000000", body, ctype)

	for _, row := range []struct {
		request string
		// exact are the last segments whose case is the user's own: names of artifacts are those of blobs.
		exact int
	}{
		{"GET {ARM}", 0},
		{"GET {G}", 0},
		{"GET {ARM}/resourceGroups", 0},
		{"GET {ARM}/providers/Microsoft.Storage", 0},
		{"GET {ARM}/providers/Microsoft.Compute/locations/eastus2/vmSizes", 0},
		{"GET {P}/Microsoft.Storage/storageAccounts/acct", 0},
		{"POST {P}/Microsoft.Storage/storageAccounts/acct/listKeys", 0},
		{"GET {P}/Microsoft.KeyVault/vaults/vault", 0},
		{"GET {P}/Microsoft.Resources/deployments/deployed", 0},
		{"GET {P}/Microsoft.Resources/deployments/deployed/operations", 0},
		{"GET {P}/Microsoft.Compute/virtualMachines/attached", 0},
		{"GET {P}/Microsoft.Network/virtualNetworks/attachedVNET", 0},
		{"GET {WS}", 0},
		{"POST {WS}/listKeys", 0},
		{"GET {WS}/computes", 0},
		{"GET {WS}/computes/attached", 0},
		{"POST {WS}/computes/attached/listKeys", 0},
		{"GET {history}/experiments", 0},
		{"GET {history}/experiments/exp", 0},
		{"GET {history}/experiments/exp/runs", 0},
		{"GET " + run, 0},
		{"GET " + run + "/details", 0},
		{"GET " + run + "/events", 0},
		{"GET {history}/experiments/exp/metrics?$filter=RunId%20eq%20run_1", 0},
		{"GET {artifact}/artifacts/origins/ExperimentRun/containers/run_1", 2},
		{"GET {artifact}/artifacts/contentinfo/ExperimentRun/run_1/outputs/m.txt", 4},
		{"GET {content}/snapshots/" + snapshot + "/metadata", 0},
		{"GET {datastore}/datastores", 0},
		{"GET {datastore}/datastores/workspaceblobstore", 0},
		{"GET {datastore}/default", 0},
		{"GET {models}/models", 0},
		{"GET {models}/models/m:1", 1},
	} {
		t.Run(row.request, func(t *testing.T) {
			c.t = t
			method, u, _ := strings.Cut(row.request, " ")
			u = c.expand(u)
			want := c.must(200, method+" "+u, nil)
			parsed, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(strings.Split(parsed.Path, "/"))-row.exact; i++ {
				other, _ := swapCase(u, i)
				if other == u {
					continue
				}
				got := c.do(method+" "+other, nil)
				// A subscription is not stored: its id comes back as it was written.
				if got.status != 200 || !sameAnswer(got, want) && !(i == 2 && strings.EqualFold(string(got.body), string(want.body))) {
					t.Errorf("%s: %s\nwant %s", other, got, want)
				}
			}
		})
	}
	// Nor does a write make a second one; the case of the first stays.
	c.must(200, "PUT "+strings.Replace(c.expand("{G}"), "resourceGroups/g", "RESOURCEGROUPS/G", 1), `{"location":"East US 2","tags":{"a":"b"}}`)
	if a := c.do("GET {ARM}/resourceGroups", nil); a.get("value.1") != nil || a.text("value.0.name") != "g" || a.text("value.0.tags.a") != "b" {
		t.Errorf("groups: %s", a)
	}
	shout, _ := swapCase(c.expand("{WS}"), 8)
	c.must(200, "PUT "+shout, c.workspaceBody("acct"))
	if a := c.do("GET {P}/Microsoft.MachineLearningServices/workspaces", nil); a.get("value.1") != nil || a.text("value.0.name") != "wsp" {
		t.Errorf("workspaces: %s", a)
	}
}

// sameAnswer compares what is not made anew for each answer: SAS tokens and their times are.
func sameAnswer(a, b answer) bool {
	if !strings.Contains(string(b.body), "sig=") {
		return string(a.body) == string(b.body)
	}
	return len(a.body) == len(b.body)
}
