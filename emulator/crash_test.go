package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	crashRounds = flag.Int("crash.rounds", 3, "how often TestCrash kills the emulator")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash (0: from the clock, and printed)")
	crashLife   = flag.Duration("crash.life", 2500*time.Millisecond, "how long a life of TestCrash lasts at most")
)

// TestCrash kills the emulator at random moments while clients of every kind
// write to it, and checks after each start that what was acknowledged is there
// and that nothing of the former life is left running; and in the end that
// every operation and every run came to an end, that no script ran twice, and
// that the machines can be used.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes for half a minute")
	}
	needPython(t)
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-crash.seed)", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	v := newVictim(t)
	k := &crashers{t: t, ledger: newLedger(), dir: t.TempDir(), files: project(t)}
	underWay := 0
	for round := range *crashRounds {
		if random.IntN(2) == 0 {
			v.stillborn(time.Duration(random.IntN(400)) * time.Millisecond)
		}
		v.live()
		c := v.client()
		if round == 0 {
			c.workspace()
			c.must(200, "POST {artifact}/artifacts/content/ExperimentRun/modeller/outputs/m.txt", "weights", "Content-Type: application/octet-stream")
			c.put("{WS}/computes/target", vmBody)
			c.put("{WS}/computes/power", vmBody)
		}
		underWay += k.ledger.unfinished(c)
		k.ledger.check(t, c)
		k.checkLogged(c)
		life := 200*time.Millisecond + time.Duration(random.Int64N(int64(*crashLife)))
		before := k.ledger.writes
		k.work(c, random.Uint64(), life, v.kill)
		t.Logf("round %d: killed after %s and %d acknowledged writes", round, life, k.ledger.writes-before)
		if t.Failed() {
			return
		}
	}
	v.live()
	c := v.client()
	underWay += k.ledger.unfinished(c)
	k.ledger.check(t, c)
	k.checkLogged(c)
	t.Logf("%d operations were taken up", underWay)
	succeeded, failed := k.ledger.settle(t, c, time.Minute)
	t.Logf("operations: %d succeeded, %d failed with a reason", succeeded, failed)
	k.checkRuns(c)
	k.ledger.check(t, c)
	for _, name := range []string{"target", "power"} {
		k.checkMachine(c, name)
	}
	v.end()
}

// crashers are the clients of TestCrash.
type crashers struct {
	t      *testing.T
	ledger *ledger
	dir    string
	files  map[string]string

	mu     sync.Mutex
	steps  map[string]int   // of each kind of client, over all rounds
	logged map[string][]int // metrics acknowledged to the history client, by run
}

// work has all clients write until kill has been called.
func (k *crashers) work(c *client, seed uint64, life time.Duration, kill func()) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var clients sync.WaitGroup
	kinds := []struct {
		name string
		step func(ctx context.Context, c *client, n int, r *rand.Rand) error
	}{
		{"group", k.group}, {"deployment", k.deployment}, {"compute", k.compute}, {"power", k.power}, {"history", k.history},
		{"log", k.log}, {"blob", k.blob}, {"model", k.model}, {"snapshot", k.snapshot}, {"remote", k.remote}, {"local", k.local},
	}
	for i, kind := range kinds {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		clients.Go(func() {
			for {
				err := kind.step(ctx, c, k.next(kind.name), r)
				var no *refused
				if errors.As(err, &no) {
					k.t.Errorf("%s: %v", kind.name, err)
					return
				}
				if err != nil { // the emulator is dead, or the context is
					return
				}
			}
		})
	}
	timer := time.NewTimer(life)
	defer timer.Stop()
	<-timer.C
	kill()
	cancel()
	clients.Wait()
}

func (k *crashers) next(kind string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.steps == nil {
		k.steps, k.logged = map[string]int{}, map[string][]int{}
	}
	k.steps[kind]++
	return k.steps[kind] - 1
}

// leaving is a resource whose deletion was acknowledged.
func leaving(a answer) string {
	if a.text("properties.provisioningState") == "Deleting" {
		return ""
	}
	return absent(a)
}

// group makes a group, tags it, puts something into it and deletes it.
func (k *crashers) group(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	name := fmt.Sprintf("crash-%d", n/5)
	u := "{ARM}/resourceGroups/" + name
	tagged := fields("tags.v", fmt.Sprint(n))
	body := map[string]any{"location": "eastus2", "tags": map[string]string{"v": fmt.Sprint(n)}}
	var a answer
	var err error
	switch n % 5 {
	case 0:
		_, err = k.ledger.write(ctx, c, "group "+name, u, tagged, "PUT "+u, body)
	case 1, 3:
		delete(body, "location")
		if _, err = k.ledger.write(ctx, c, "group "+name, u, tagged, "PATCH "+u, body); gone(err) {
			err = nil // the PUT before was cut off
		}
	case 2:
		vault := u + "/providers/Microsoft.KeyVault/vaults/vault" + fmt.Sprint(n)
		body["properties"] = map[string]any{"sku": map[string]string{"name": "standard"}}
		if _, err = k.ledger.write(ctx, c, "vault of "+name, vault, or(tagged, leaving), "PUT "+vault, body); gone(err) {
			err = nil
		}
	case 4:
		if n%10 == 4 {
			return nil // some stay
		}
		a, err = k.ledger.write(ctx, c, "group "+name, u, leaving, "DELETE "+u, nil)
		if gone(err) {
			return nil
		}
		k.ledger.operation("delete group "+name, a)
	}
	return err
}

func gone(err error) bool {
	var no *refused
	return errors.As(err, &no) && no.answer.status == 404
}

func or(a, b want) want {
	return func(x answer) string {
		if a(x) == "" {
			return ""
		}
		return b(x)
	}
}

// await follows an operation until it is over or the emulator is dead.
func (k *crashers) await(ctx context.Context, c *client, a answer) error {
	u := a.header.Get("Azure-AsyncOperation")
	for u != "" {
		a, err := c.try(ctx, "GET "+u, nil)
		if err != nil {
			return err
		}
		if s := a.text("status"); s == "Succeeded" || s == "Failed" || s == "Canceled" {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deployment makes a workspace with its storage account by a template, as Workspace.create does; some are deleted again.
func (k *crashers) deployment(ctx context.Context, c *client, n int, r *rand.Rand) error {
	account, ws := fmt.Sprintf("crash%d", n), fmt.Sprintf("crash-ws-%d", n)
	u := "{P}/Microsoft.Resources/deployments/" + ws
	template := map[string]any{"$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
		"resources": []any{
			map[string]any{"type": "Microsoft.Storage/storageAccounts", "name": account, "apiVersion": "2018-02-01", "location": "eastus2",
				"sku": map[string]string{"name": "Standard_LRS"}, "kind": "Storage", "properties": map[string]any{}},
			map[string]any{"type": "Microsoft.MachineLearningServices/workspaces", "name": ws, "apiVersion": "2018-03-01-preview", "location": "eastus2",
				"dependsOn":  []string{"[resourceId('Microsoft.Storage/storageAccounts', '" + account + "')]"},
				"properties": map[string]string{"friendlyName": ws, "storageAccount": "[resourceId('Microsoft.Storage/storageAccounts', '" + account + "')]"}}}}
	a, err := k.ledger.write(ctx, c, "deployment "+ws, u, fields("name", ws), "PUT "+u, map[string]any{"properties": map[string]any{"mode": "Incremental", "template": template}})
	if err != nil {
		return err
	}
	k.ledger.operation("deployment "+ws, a)
	if err := k.await(ctx, c, a); err != nil {
		return err
	}
	made := "{P}/Microsoft.MachineLearningServices/workspaces/" + ws
	ready := fields("properties.provisioningState", "Succeeded", "properties.friendlyName", ws)
	if r.IntN(2) == 0 {
		_, err = k.ledger.write(ctx, c, "workspace "+ws, made, ready, "GET "+made, nil)
		return err
	}
	// Not acknowledged, it may be there, going or gone.
	k.ledger.begin("workspace "+ws, made, or(ready, leaving))
	_, err = k.ledger.write(ctx, c, "workspace "+ws, made, leaving, "DELETE "+made, nil)
	return err
}

// compute creates a machine and deletes it again, sometimes before it is up.
func (k *crashers) compute(ctx context.Context, c *client, n int, r *rand.Rand) error {
	name := fmt.Sprintf("crash-vm-%d", n)
	u := "{WS}/computes/" + name
	a, err := k.ledger.write(ctx, c, "compute "+name, u, fields("name", name), "PUT "+u, vmBody)
	if err != nil {
		return err
	}
	k.ledger.operation("create compute "+name, a)
	if r.IntN(2) == 0 {
		err = k.await(ctx, c, a)
	} else {
		err = pause(ctx, time.Duration(r.IntN(500))*time.Millisecond)
	}
	if err != nil {
		return err
	}
	if a, err = k.ledger.write(ctx, c, "compute "+name, u, leaving, "DELETE "+u, nil); err != nil {
		return err
	}
	k.ledger.operation("delete compute "+name, a)
	return k.await(ctx, c, a)
}

// power switches a machine off and on.
func (k *crashers) power(ctx context.Context, c *client, n int, r *rand.Rand) error {
	action := []string{"powerOff", "start", "restart", "deallocate", "start"}[n%5]
	a, err := c.try(ctx, "POST {P}/Microsoft.Compute/virtualMachines/power/"+action, "")
	if err != nil {
		return err
	}
	if a.status == 409 { // what was begun before the kill is still under way
		return pause(ctx, 50*time.Millisecond)
	}
	if a.status >= 300 {
		return &refused{action, a}
	}
	k.ledger.operation(action, a)
	if r.IntN(3) == 0 {
		return pause(ctx, 100*time.Millisecond)
	}
	return k.await(ctx, c, a)
}

// history makes runs as start_logging does: tags, metrics, and an end.
func (k *crashers) history(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	id := fmt.Sprintf("interactive_%d", n/20)
	u := runURL(id)
	switch n % 20 {
	case 0:
		_, err := k.ledger.write(ctx, c, "run "+id, u, fields("runId", id), "PATCH "+u, map[string]any{"runId": id, "status": "NotStarted", "tags": map[string]string{"v": "0"}})
		return err
	case 19:
		_, err := k.ledger.write(ctx, c, "run "+id, u, fields("runId", id, "status", "Completed"), "POST "+u+"/events",
			map[string]any{"name": "Microsoft.MachineLearning.Run.Completed", "data": map[string]any{"RunId": id, "EndTime": "2018-10-20T10:00:00Z"}})
		if gone(err) {
			return nil
		}
		return err
	}
	if n%2 == 0 {
		_, err := k.ledger.write(ctx, c, "run "+id, u, fields("tags.v", fmt.Sprint(n)), "PATCH "+u, map[string]any{"runId": id, "tags": map[string]string{"v": fmt.Sprint(n)}})
		return err
	}
	a, err := c.try(ctx, "POST "+u+"/metrics", metric(id, n))
	if err == nil && a.status == 404 {
		return nil
	}
	if err == nil && a.status != 200 {
		return &refused{"metrics", a}
	}
	if err == nil {
		k.mu.Lock()
		k.logged[id] = append(k.logged[id], n)
		k.mu.Unlock()
	}
	return err
}

// metric is what run.log("n", value) sends.
func metric(run string, value int) map[string]any {
	return map[string]any{"runId": run, "metricId": guid(), "metricType": "azureml.v1.scalar", "createdUtc": "2018-10-20T10:00:00.000Z", "name": "n",
		"description": "", "numCells": 1, "cells": []any{map[string]int{"n": value}},
		"schema": map[string]any{"numProperties": 1, "properties": []any{map[string]string{"propertyId": "n", "name": "n", "type": "int"}}}}
}

func guid() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52&0xfff, b&0xffffffffffff)
}

// log appends to a log as the control script does: a batch that was cut off is sent again under its number.
func (k *crashers) log(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	u := "{artifact}/artifacts/content/ExperimentRun/logger/azureml-logs/60_control_log.txt"
	k.mu.Lock()
	index := k.steps["batches"]
	k.mu.Unlock()
	line := func(i int) string { return strings.Repeat(fmt.Sprintf("batch %d\n", i), 1+i*37%200) }
	var content strings.Builder
	for i := range index + 1 {
		content.WriteString(line(i))
	}
	_, err := k.ledger.write(ctx, c, "log", u, whole(content.String()), fmt.Sprintf("POST %s?append=true&index=%d", u, index), line(index), "Content-Type: application/octet-stream")
	if err == nil {
		k.next("batches")
		err = pause(ctx, 5*time.Millisecond) // the content is compared whole: it should not grow without end
	}
	return err
}

// blob uploads an output to where the artifact service says, by its SAS.
func (k *crashers) blob(ctx context.Context, c *client, n int, r *rand.Rand) error {
	path := fmt.Sprintf("outputs/b%d.bin", n%4)
	a, err := c.try(ctx, "POST {artifact}/artifacts/batch/metadata/ExperimentRun/uploader", map[string]any{"paths": []any{map[string]string{"path": path}}})
	if err != nil {
		return err
	}
	var batch struct {
		Info map[string]struct{ ContentURI string } `json:"artifactContentInformation"`
	}
	if json.Unmarshal(a.body, &batch) != nil || batch.Info[path].ContentURI == "" {
		return &refused{"batch/metadata", a}
	}
	to := batch.Info[path].ContentURI
	content := strings.Repeat(fmt.Sprintf("%s %d\n", path, n), 1+r.IntN(20000))
	f := k.ledger.begin("blob "+path, to, whole(content))
	f.read = func(ctx context.Context, c *client) (answer, error) {
		a, err := c.try(ctx, "GET {artifact}/artifacts/contentinfo/ExperimentRun/uploader/"+path, nil)
		if err != nil || a.status != 200 {
			return a, err
		}
		return c.try(ctx, "GET "+a.text("contentUri"), nil)
	}
	if n%2 == 0 {
		a, err = c.try(ctx, "PUT "+to, content, "x-ms-version: 2018-03-28", "x-ms-blob-type: BlockBlob")
	} else {
		half := len(content) / 2
		for i, piece := range []string{content[:half], content[half:]} {
			if a, err = c.try(ctx, fmt.Sprintf("PUT %s&comp=block&blockid=QUFBQ%c%%3D%%3D", to, "Qg"[i]), piece, "x-ms-version: 2018-03-28"); err != nil || a.status != 201 {
				break
			}
		}
		if err == nil && a.status == 201 {
			a, err = c.try(ctx, "PUT "+to+"&comp=blocklist", "<BlockList><Latest>QUFBQQ==</Latest><Latest>QUFBQg==</Latest></BlockList>", "x-ms-version: 2018-03-28")
		}
	}
	if err == nil && a.status != 201 {
		return &refused{"upload", a}
	}
	if err == nil {
		k.ledger.ack("blob "+path, whole(content))
	}
	return err
}

// model registers a model.
func (k *crashers) model(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	name := fmt.Sprintf("model-%d", n)
	a, err := c.try(ctx, "POST {models}/assets", map[string]any{"name": name, "description": "d", "runid": "modeller",
		"artifacts": []any{map[string]string{"prefix": "ExperimentRun/modeller/outputs/m.txt"}}})
	if err != nil {
		return err
	}
	if a.status != 200 {
		return &refused{"assets", a}
	}
	_, err = k.ledger.write(ctx, c, name, "{models}/models/"+name+":1", fields("id", name+":1", "url", "aml://asset/"+a.text("id")), "POST {models}/models",
		map[string]any{"name": name, "url": "aml://asset/" + a.text("id"), "mimeType": "application/json", "unpack": false, "tags": nil, "properties": nil, "description": nil})
	return err
}

// snapshot uploads a project of one file.
func (k *crashers) snapshot(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	id := guid()
	content := fmt.Sprintf("print(%d)\n", n)
	f := k.ledger.begin("snapshot "+id, "{content}/snapshots/"+id, whole(content))
	f.read = func(ctx context.Context, c *client) (answer, error) {
		a, err := c.try(ctx, "GET {content}/snapshots/"+id, nil)
		var u string
		if err != nil || a.status != 200 || json.Unmarshal(a.body, &u) != nil {
			return a, err
		}
		if a, err = c.try(ctx, "GET "+u, nil); err == nil && a.status == 200 {
			a.body, err = unzipOne(a.body)
		}
		return a, err
	}
	body, ctype := snapshotForm("train.py", content)
	a, err := c.try(ctx, "POST {content}/snapshots/"+id+"?parentSnapshotId=00000000-0000-0000-0000-000000000000", body, ctype)
	if err == nil && a.status != 200 {
		return &refused{"snapshot", a}
	}
	if err == nil {
		k.ledger.ack("snapshot "+id, whole(content))
	}
	return err
}

// remote submits a run to the machine.
func (k *crashers) remote(ctx context.Context, c *client, n int, r *rand.Rand) error {
	run := &crashRun{id: fmt.Sprintf("remote_%d", n), mark: filepath.Join(k.dir, "marks"), acked: filepath.Join(k.dir, fmt.Sprintf("remote_%d.acked", n)), count: 1 + r.IntN(12)}
	a, err := c.submit(ctx, "target", k.files, "?runId="+run.id, "--mark", run.mark, "--acked", run.acked, "--count", fmt.Sprint(run.count), "--pause", "0.1")
	if err == nil && a.status != 200 {
		return &refused{"submit", a}
	}
	if err != nil {
		return err // it may run or not: nobody was told
	}
	k.ledger.run(run)
	return pause(ctx, time.Duration(300+r.IntN(500))*time.Millisecond)
}

// local submits one run to this machine in each life; its control script goes on while the emulator is dead.
func (k *crashers) local(ctx context.Context, c *client, n int, _ *rand.Rand) error {
	dir := filepath.Join(k.dir, fmt.Sprintf("local_%d", n))
	run := &crashRun{id: fmt.Sprintf("local_%d", n), local: true, mark: filepath.Join(k.dir, "marks"), acked: dir + ".acked", count: 20}
	err := c.localRun(ctx, run.id, dir, k.files, "--mark", run.mark, "--acked", run.acked, "--count", fmt.Sprint(run.count), "--pause", "0.1")
	if err != nil {
		return err
	}
	invoke(k.t, dir)
	k.ledger.run(run)
	<-ctx.Done()
	return ctx.Err()
}

// checkLogged reads back the metrics of the history client.
func (k *crashers) checkLogged(c *client) {
	k.t.Helper()
	for id, values := range k.logged {
		found, err := c.metrics(id)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, n := range values {
			if found[n] != 1 {
				k.t.Errorf("metric %d of %s is there %d times", n, id, found[n])
			}
		}
	}
}

// checkRuns waits for the end of every acknowledged run.
func (k *crashers) checkRuns(c *client) {
	k.t.Helper()
	ends, reasons := map[string]int{}, map[string]int{}
	for _, run := range k.ledger.runs {
		d := c.runEnd(run.id, 90*time.Second)
		marks, _ := os.ReadFile(run.mark)
		started := strings.Count(string(marks), run.id+"\n")
		status, reason := d.text("status"), d.text("error.error.message")
		ends[strings.TrimRight(run.id, "0123456789")+status]++
		if reason != "" {
			reasons[reason]++
		}
		switch {
		case status == "Canceled", started > 1, status == "Failed" && reason == "":
			k.t.Errorf("run %s: %s %q, its script started %d times", run.id, status, reason, started)
		case run.local && (status != "Completed" || started != 1):
			k.t.Errorf("local run %s: %s %q, started %d times\n%s", run.id, status, reason, started, c.logs(d))
		}
		acked, _ := os.ReadFile(run.acked)
		found, err := c.metrics(run.id)
		if err != nil {
			k.t.Error(err)
			continue
		}
		for _, line := range strings.Fields(string(acked)) {
			var n int
			if _, err := fmt.Sscan(line, &n); err != nil || found[n] != 1 {
				k.t.Errorf("run %s: metric %s was acknowledged to the script and is there %d times", run.id, line, found[n])
			}
		}
		if status == "Completed" && (started != 1 || len(found) != run.count) {
			k.t.Errorf("run %s is Completed with %d of %d metrics, started %d times", run.id, len(found), run.count, started)
		}
	}
	k.t.Logf("ends of runs: %v %v", ends, reasons)
}

// checkMachine has a new run on a machine.
func (k *crashers) checkMachine(c *client, name string) {
	k.t.Helper()
	if name == "power" {
		a := c.do("POST {P}/Microsoft.Compute/virtualMachines/power/start", "")
		if a.status >= 300 {
			k.t.Fatalf("start: %s", a)
		}
		if err := k.await(context.Background(), c, a); err != nil {
			k.t.Fatal(err)
		}
	}
	id := c.started(name, k.files)
	if d := c.runEnd(id, time.Minute); d.text("status") != "Completed" {
		k.t.Errorf("a new run on %s: %s\n%s", name, d, c.logs(d))
	}
}
