package clients_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// wait asks until a query's answer is as it should be.
func (a azure) wait(want, expression string, args ...string) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		got := a.query(expression, args...)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("az %s: %s is %s, want %s", strings.Join(args, " "), expression, got, want)
		}
	}
}

// batch is the whole life of workspace, cluster, experiment, job and file
// server by az batchai. Not all of it is whole in today's az: its cluster
// auto-scale and file-server create fall over their own feet before any request.
func batch(t *testing.T, a azure, e *emulator.Emulator, whole bool) {
	login(a, e, "Batch", "eastus2")
	in := []string{"-g", "Batch", "-w", "W"}
	ai := func(words string, more ...string) []string {
		return slices.Concat([]string{"batchai"}, strings.Fields(words), more, in)
	}
	a.run("storage", "account", "create", "-n", "azbatchtest1", "-g", "Batch", "-l", "eastus2", "--sku", "Standard_LRS")
	key, ok := a.run("storage", "account", "keys", "list", "-n", "azbatchtest1", "-g", "Batch", "--query", "[0].value").(string)
	if !ok {
		t.Fatal("no key")
	}
	a.run("storage", "share", "create", "-n", "share", "--account-name", "azbatchtest1", "--account-key", key)
	a.run("batchai", "workspace", "create", "-n", "W", "-g", "Batch", "-l", "eastus2")
	if got := a.query("[].name", "batchai", "workspace", "list"); got != `["W"]` {
		t.Errorf("workspace list: %s", got)
	}
	a.run(ai("cluster create -n C -s Standard_D1_v2 -t 2 --user-name me --afs-name share --afs-mount-path afs --storage-account-name azbatchtest1", "--password", "Secret-Pass-9", "--storage-account-key", key)...)
	a.wait("2", "nodeStateCounts.idleNodeCount", ai("cluster show -n C")...)
	a.fails("already exists", ai("cluster create -n C -s Standard_D1_v2 -t 1 --user-name me", "--password", "Secret-Pass-9")...)
	a.fails("is not a supported VM size", ai("cluster create -n D -s Standard_X1 -t 1 --user-name me", "--password", "Secret-Pass-9")...)
	if got := a.query("scaleSettings.manual.targetNodeCount", ai("cluster resize -n C -t 1")...); got != "1" {
		t.Errorf("resize: %s", got)
	}
	a.wait("1", "currentNodeCount", ai("cluster show -n C")...)
	if whole {
		if got := a.query("scaleSettings.autoScale.maximumNodeCount", ai("cluster auto-scale -n C --min 1 --max 2")...); got != "2" {
			t.Errorf("auto-scale: %s", got)
		}
	}
	if got := a.query("length(@)", ai("cluster node list -c C")...); got != "1" {
		t.Errorf("node list: %s", got)
	}
	if out, err := a.try(ai("cluster node exec -c C", "--password", "Secret-Pass-9", "--exec", "echo on $USER")...); err != nil || !strings.Contains(string(out), "on me") {
		t.Errorf("node exec: %v\n%s", err, out)
	}
	a.run(ai("experiment create -n E")...)
	file := filepath.Join(t.TempDir(), "job.json")
	write := func(command string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(`{"properties":{"nodeCount":1,"stdOutErrPathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs","customToolkitSettings":{"commandLine":"`+command+`"},
			"outputDirectories":[{"id":"OUT","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs","pathSuffix":"out"}],"secrets":[{"name":"HUSH","value":"hush"}]}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("echo first; sleep 2; echo $HUSH > $AZ_BATCHAI_OUTPUT_OUT/f.txt; echo last")
	a.run(ai("job create -n J -e E -c C -f", file)...)
	if out, err := a.try(ai("job file stream -j J -e E -f stdout.txt")...); err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "first\nlast") {
		t.Errorf("file stream: %v\n%s", err, out)
	}
	a.run(ai("job wait -n J -e E")...)
	if got := a.query("[executionState,executionInfo.exitCode,secrets[0].value]", ai("job show -n J -e E")...); got != `["succeeded",0,null]` {
		t.Errorf("job show: %s", got)
	}
	if got := a.query("[].name", ai("job file list -j J -e E")...); got != `["execution.log","stderr.txt","stdout.txt"]` {
		t.Errorf("file list: %s", got)
	}
	if got := a.query("[].[name,contentLength]", ai("job file list -j J -e E -d OUT")...); got != `[["f.txt",5]]` {
		t.Errorf("file list of an output directory: %s", got)
	}
	write("exit 7")
	a.run(ai("job create -n K -e E -c C -f", file)...)
	if out, err := a.try(ai("job wait -n K -e E")...); err == nil {
		t.Errorf("job wait of one that failed: %s", out)
	}
	write("sleep 600")
	a.run(ai("job create -n L -e E -c C -f", file)...)
	a.wait(`"running"`, "executionState", ai("job show -n L -e E")...)
	if got := a.query("length(@)", ai("job node list -j L -e E")...); got != "1" {
		t.Errorf("job node list: %s", got)
	}
	a.run(ai("job terminate -n L -e E -y")...)
	if got := a.query("[executionState,executionInfo.errors[0].code]", ai("job show -n L -e E")...); got != `["failed","JobTerminated"]` {
		t.Errorf("terminated: %s", got)
	}
	a.run(ai("job delete -n L -e E -y")...)
	if got := a.query("[].name", ai("job list -e E")...); got != `["J","K"]` {
		t.Errorf("job list: %s", got)
	}
	if whole {
		a.run(ai("file-server create -n F -u me -s Standard_D1_v2 --disk-count 1 --disk-size 10 --storage-sku Standard_LRS", "-p", "Secret-Pass-9")...)
		if got := a.query("[].[name,provisioningState]", ai("file-server list")...); got != `[["F","succeeded"]]` {
			t.Errorf("file servers: %s", got)
		}
		a.run(ai("file-server delete -n F -y")...)
	}
	if got := a.query("[0].[name.value,currentValue]", "batchai", "list-usages", "-l", "eastus2"); got != `["Clusters",1]` {
		t.Errorf("usages: %s", got)
	}
	a.run(ai("cluster delete -n C -y")...)
	a.fails("The specified cluster C is not found", ai("cluster show -n C")...)
	a.run(ai("experiment delete -n E -y")...)
	a.run("batchai", "workspace", "delete", "-n", "W", "-g", "Batch", "-y")
}

func TestAz2018BatchAI(t *testing.T) {
	a, e := throughProxy(t, az2018)
	batch(t, a, e, true)
}

func TestAzNewBatchAI(t *testing.T) {
	a, e := throughProxy(t, azNew)
	batch(t, a, e, false)
}
