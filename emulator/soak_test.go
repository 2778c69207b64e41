package emulator_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

var soakTime = flag.Duration("soak.time", 3*time.Second, "how long TestSoak lasts")

// TestSoak has many clients do everything to few things at the same time, so
// that all of them meet, and ensures that none gets a server error, that the
// emulator answers until the end, and that each operation comes to one.
func TestSoak(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	_, c := up(t)
	c.workspace()
	c.must(200, "PATCH "+runURL("shared"), map[string]any{"runId": "shared", "status": "Running"})
	l := newLedger()
	ctx, cancel := context.WithTimeout(t.Context(), *soakTime)
	defer cancel()
	var clients sync.WaitGroup
	counts := make([]map[int]int, 16)
	for i := range counts {
		counts[i] = map[int]int{}
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		clients.Go(func() {
			for ctx.Err() == nil {
				request, body, header := anything(r)
				a, err := c.try(ctx, request, body, header...)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", request, err)
					}
					return
				}
				counts[i][a.status]++
				if a.status >= 500 {
					t.Errorf("%s: %s", request, a)
				}
				if a.status >= 200 && a.status < 300 && !strings.HasPrefix(request, "GET") {
					l.operation(request, a)
				}
			}
		})
	}
	clients.Wait()
	all := map[int]int{}
	for _, m := range counts {
		for status, n := range m {
			all[status] += n
		}
	}
	succeeded, failed := l.settle(t, c, time.Minute)
	t.Logf("answers by status: %v; operations: %d succeeded, %d ended otherwise with a reason", all, succeeded, failed)
	if all[200] == 0 || all[409] == 0 || all[404] == 0 {
		t.Errorf("the clients did not meet: %v", all)
	}
	c.must(200, "GET {ARM}/resources", nil)
	c.must(200, "GET {history}/experiments/exp/runs", nil)
}

// anything is one request of those that a client may make, to few names.
func anything(r *rand.Rand) (request string, body any, header []string) {
	n := r.IntN(3)
	run := runURL([]string{"shared", "one", "two"}[n])
	id := []string{"shared", "one", "two"}[n]
	binary := []string{"Content-Type: application/octet-stream"}
	group := fmt.Sprintf("{ARM}/resourceGroups/soak%d", n)
	switch r.IntN(30) {
	case 0:
		return "PUT " + group, `{"location":"eastus2","tags":{"a":"b"}}`, nil
	case 1:
		return "DELETE " + group, nil, nil
	case 2:
		return "PUT " + group + "/providers/Microsoft.Storage/storageAccounts/soak", storageBody, nil
	case 3:
		return "DELETE " + group + "/providers/Microsoft.Storage/storageAccounts/soak", nil, nil
	case 4:
		return "PUT " + group + "/providers/Microsoft.KeyVault/vaults/soak", `{"location":"eastus2","properties":{}}`, nil
	case 5:
		return "PUT {P}/Microsoft.MachineLearningServices/workspaces/soak" + fmt.Sprint(n), `{"location":"eastus2","properties":{"storageAccount":"` +
			"/subscriptions/1a2c1a2c-0018-4018-8018-520181020185/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acct" + `"}}`, nil
	case 6:
		return "DELETE {P}/Microsoft.MachineLearningServices/workspaces/soak" + fmt.Sprint(n), nil, nil
	case 7:
		return "PUT {WS}/computes/soak-vm", vmBody, nil
	case 8:
		return "DELETE {WS}/computes/soak-vm", nil, nil
	case 9:
		return "POST {P}/Microsoft.Compute/virtualMachines/soak-vm/" + []string{"start", "powerOff", "restart"}[n], "", nil
	case 10:
		return "PUT {P}/Microsoft.Resources/deployments/soak", map[string]any{"properties": map[string]any{"mode": "Incremental", "template": map[string]any{
			"$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []any{
				map[string]any{"type": "Microsoft.KeyVault/vaults", "name": "fromtemplate", "apiVersion": "2015-06-01", "location": "eastus2", "properties": map[string]any{}}}}}}, nil
	case 11:
		return "PATCH " + run, map[string]any{"runId": id, "tags": map[string]string{fmt.Sprint("t", r.IntN(20)): "v"}}, nil
	case 12, 13:
		return "POST " + run + "/metrics", metric(id, r.IntN(1000)), nil
	case 14:
		return "POST " + run + "/events", map[string]any{"name": "Microsoft.MachineLearning.Run." + []string{"Heartbeat", "Completed", "Failed"}[r.IntN(3)], "data": map[string]any{"RunId": id}}, nil
	case 15:
		return "POST {artifact}/artifacts/content/ExperimentRun/" + id + "/logs/a.txt?append=true", "line\n", binary
	case 16:
		return "POST {artifact}/artifacts/content/ExperimentRun/" + id + "/outputs/b.bin", strings.Repeat("x", r.IntN(50000)), binary
	case 17:
		return "DELETE {artifact}/artifacts/metadata/ExperimentRun/" + id + "/outputs/b.bin", nil, nil
	case 18:
		return "POST {models}/assets", map[string]any{"name": "soak", "artifacts": []any{map[string]string{"prefix": "ExperimentRun/" + id + "/outputs"}}}, nil
	case 19:
		return "POST {models}/models", map[string]any{"name": "soak", "url": "aml://asset/none", "mimeType": "application/json"}, nil
	case 20:
		body, ctype := snapshotForm("train.py", fmt.Sprintf("print(%d)\n", r.IntN(50)))
		return "POST {content}/snapshots/" + guid() + "?parentSnapshotId=00000000-0000-0000-0000-000000000000", body, []string{ctype}
	case 21:
		return "POST {datastore}/datastores?createIfNotExists=true", `{"name":"soak","dataStoreType":"AzureBlob","azureStorageSection":{"accountName":"acct","containerName":"soak","credentialType":"None"}}`, nil
	case 22:
		return "DELETE {datastore}/datastores/soak", nil, nil
	case 23:
		return "POST {execution}/experiments/exp/cancel", map[string]string{"RunId": id, "Target": "local"}, nil
	case 24:
		body, ctype := form(part{filename: "definition.json", content: definition("local", "train.py")}, part{filename: "aml_config.zip", content: zipped(map[string]string{"a": "b"})})
		return "POST {execution}/experiments/exp/localrun?runId=soak_" + fmt.Sprint(r.IntN(5)), body, []string{ctype}
	}
	return "GET " + []string{"{ARM}/resources", group, "{WS}", "{WS}/computes", "{history}/experiments", "{history}/experiments/exp/runs", run + "/details",
		"{history}/experiments/exp/metrics?$filter=RunId%20eq%20shared", "{artifact}/artifacts/origins/ExperimentRun/containers/" + id, "{models}/models",
		"{content}/snapshots/latest/metadata", "{datastore}/datastores", "{P}/Microsoft.Compute/virtualMachines"}[r.IntN(13)], nil, nil
}
