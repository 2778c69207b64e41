package emulator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/clock/clocktest"
)

// TestKilledOperations has one long operation of every kind under way at once,
// kills the emulator as soon as all are acknowledged, and ensures that each
// comes to what it was to come to after the next start.
func TestKilledOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes for some seconds")
	}
	needPython(t)
	v := newVictim(t)
	v.live()
	c := v.client()
	c.workspace()
	var making sync.WaitGroup
	for _, name := range []string{"deleted", "started", "stopped", "restarted", "deallocated", "removed", "runs"} {
		making.Go(func() {
			if a, err := c.try(t.Context(), "PUT {WS}/computes/"+name, vmBody); err != nil || a.status != 201 {
				t.Errorf("%s: %s %v", name, a, err)
			}
		})
	}
	making.Wait()
	vm := "{P}/Microsoft.Compute/virtualMachines/"
	for _, name := range []string{"deleted", "started", "stopped", "restarted", "deallocated", "removed", "runs"} {
		c.state("{WS}/computes/"+name, "Succeeded")
	}
	a := c.must(202, "POST "+vm+"started/powerOff", "")
	clocktest.Missing(t, time.Minute, func() string {
		if s := c.do("GET "+a.header.Get("Azure-AsyncOperation"), nil).text("status"); s != "Succeeded" {
			return "powerOff is " + s
		}
		return ""
	})
	c.must(201, "PUT {ARM}/resourceGroups/going", `{"location":"eastus2"}`)
	c.must(202, "PUT {ARM}/resourceGroups/going/providers/Microsoft.Storage/storageAccounts/going", storageBody)
	c.put("{ARM}/resourceGroups/going/providers/Microsoft.KeyVault/vaults/going", `{"location":"eastus2","properties":{}}`)
	c.state("{ARM}/resourceGroups/going/providers/Microsoft.Storage/storageAccounts/going", "Succeeded")

	dir := t.TempDir()
	files := project(t)
	notes := func(name string) []string {
		return []string{"--mark", filepath.Join(dir, "marks"), "--acked", filepath.Join(dir, name)}
	}
	mid := c.started("runs", files, append(notes("mid"), "--count", "600", "--pause", "0.05")...)
	canceled := c.started("runs", files, append(notes("canceled"), "--count", "600", "--pause", "0.05")...)
	here := filepath.Join(dir, "here")
	if err := c.localRun(t.Context(), "here", here, files, append(notes("here.acked"), "--count", "30", "--pause", "0.1")...); err != nil {
		t.Fatal(err)
	}
	invoke(t, here)
	for _, id := range []string{mid, canceled, "here"} {
		clocktest.Missing(t, time.Minute, func() string {
			if found, err := c.metrics(id); err != nil || len(found) < 3 {
				return fmt.Sprintf("run %s has logged %d metrics: %v", id, len(found), err)
			}
			return ""
		})
	}

	power := func(want string) want {
		return func(a answer) string {
			if got := a.text("properties.instanceView.statuses.1.code"); got != "PowerState/"+want {
				return got + ", not " + want
			}
			return ""
		}
	}
	succeeded := fields("properties.provisioningState", "Succeeded")
	deployment := map[string]any{"properties": map[string]any{"mode": "Incremental", "template": map[string]any{
		"$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []any{
			map[string]any{"type": "Microsoft.MachineLearningServices/workspaces/computes", "name": "wsp/fromtemplate", "apiVersion": "2018-03-01-preview", "location": "eastus2",
				"properties": vmBody["properties"]}}}}}
	attach := c.must(200, "POST {WS}/computes/runs/listKeys", "")
	where := c.must(200, "GET {WS}/computes/runs", nil)
	attached := map[string]any{"location": "eastus2", "properties": map[string]any{"computeType": "VirtualMachine", "properties": map[string]any{
		"address": where.text("properties.properties.address"), "sshPort": where.get("properties.properties.sshPort"),
		"administratorAccount": map[string]any{"username": attach.text("username"), "privateKeyData": attach.text("privateKeyData")}}}}
	rows := []struct {
		name, request string
		body          any
		check         string
		want          want
	}{
		{"create compute", "PUT {WS}/computes/created", vmBody, "{WS}/computes/created", succeeded},
		{"delete compute", "DELETE {WS}/computes/deleted", nil, "{WS}/computes/deleted", absent},
		{"attach compute", "PUT {WS}/computes/attached", attached, "{WS}/computes/attached", succeeded},
		{"start", "POST " + vm + "started/start", "", vm + "started?$expand=instanceView", power("running")},
		{"power off", "POST " + vm + "stopped/powerOff", "", vm + "stopped?$expand=instanceView", power("stopped")},
		{"restart", "POST " + vm + "restarted/restart", "", vm + "restarted?$expand=instanceView", power("running")},
		{"deallocate", "POST " + vm + "deallocated/deallocate", "", vm + "deallocated?$expand=instanceView", power("deallocated")},
		{"delete VM", "DELETE " + vm + "removed", nil, vm + "removed", absent},
		{"deployment", "PUT {P}/Microsoft.Resources/deployments/d", deployment, "{WS}/computes/fromtemplate", succeeded},
		{"create account", "PUT {P}/Microsoft.Storage/storageAccounts/created", storageBody, "{P}/Microsoft.Storage/storageAccounts/created", succeeded},
		{"delete group", "DELETE {ARM}/resourceGroups/going", nil, "{ARM}/resourceGroups/going", absent},
		{"cancel run", "POST {execution}/experiments/exp/cancel", map[string]any{"RunId": canceled, "Target": "runs"}, runURL(canceled), fields("status", "Canceled")},
	}
	begun := newLedger()
	var sent sync.WaitGroup
	for _, row := range rows {
		sent.Go(func() {
			a, err := c.try(context.Background(), row.request, row.body)
			if err != nil || a.status >= 300 {
				t.Errorf("%s: %s %v", row.name, a, err)
			}
			begun.operation(row.name, a)
		})
	}
	sent.Wait()
	v.kill()
	v.knocked()
	v.live()
	former := c.token
	c = v.client()
	c.must(200, "GET {G}", nil, "Authorization: Bearer "+former)
	t.Logf("%d of %d operations were under way", begun.unfinished(c), len(begun.operations))
	if _, failed := begun.settle(t, c, time.Minute); failed > 0 {
		t.Errorf("%d operations failed", failed)
	}
	c.runEnd(canceled, time.Minute)
	for _, row := range rows {
		if bad := row.want(c.do("GET "+row.check, nil)); bad != "" {
			t.Errorf("%s: %s", row.name, bad)
		}
	}
	d := c.runEnd(mid, time.Minute)
	if d.text("status") != "Failed" || d.text("error.error.message") == "" {
		t.Errorf("the run whose machine died with the emulator: %s", d)
	}
	if d := c.runEnd("here", time.Minute); d.text("status") != "Completed" {
		t.Errorf("the run beside the emulator: %s\n%s", d, c.logs(d))
	}
	marks, _ := os.ReadFile(filepath.Join(dir, "marks"))
	for id, acked := range map[string]string{mid: "mid", canceled: "canceled", "here": "here.acked"} {
		if n := strings.Count(string(marks), id+"\n"); n != 1 {
			t.Errorf("the script of %s started %d times", id, n)
		}
		found, err := c.metrics(id)
		if err != nil {
			t.Fatal(err)
		}
		told, _ := os.ReadFile(filepath.Join(dir, acked))
		for i := range strings.Fields(string(told)) {
			if found[i] != 1 {
				t.Errorf("metric %d of %s was acknowledged and is there %d times", i, id, found[i])
			}
		}
	}
	again := map[string]string{}
	for _, name := range []string{"runs", "attached", "created", "restarted"} {
		again[name] = c.started(name, files)
	}
	for name, id := range again {
		if d := c.runEnd(id, time.Minute); d.text("status") != "Completed" {
			t.Errorf("a new run on %s: %s\n%s", name, d, c.logs(d))
		}
	}
	v.end()
}

// TestKilledStarts kills first starts, which make the credentials, the keys and
// the certificate authority, and ensures that the next one comes up with all of them.
func TestKilledStarts(t *testing.T) {
	for range 3 {
		v := newVictim(t)
		for i := range 5 {
			v.stillborn(time.Duration(1+rand.IntN(15*(i+1))) * time.Millisecond)
		}
		v.live()
		c := v.client()
		c.must(201, "PUT {G}", `{"location":"eastus2"}`)
		v.kill()
		v.live()
		v.client().must(200, "GET {G}", nil, "Authorization: Bearer "+c.token)
		v.end()
	}
}
