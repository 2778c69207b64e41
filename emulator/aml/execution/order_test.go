package execution_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/clock/clocktest"
)

// newOrdered is a world with a Batch AI cluster and container instances.
func newOrdered(t *testing.T) (*world, *manager) {
	t.Helper()
	w := newWorld(t)
	m := newManager(w)
	w.close()
	w.cfg.ARM, w.cfg.Web, w.cfg.Poll = m, m, 20*time.Millisecond
	w.open()
	w.computes["cluster"] = execution.Compute{Name: "cluster", Type: "BatchAI", State: "Succeeded", ResourceID: cluster}
	return w, m
}

func orderedConfig(t *testing.T, target string, change ...func(map[string]any)) map[string]any {
	return remoteConfig(t, append([]func(map[string]any){set(target, "target"), set(true, "environment", "docker", "enabled"),
		set("image:1", "environment", "docker", "baseImage")}, change...)...)
}

func TestOrderedRuns(t *testing.T) {
	const script = `import os, sys
print(sys.argv[1:], os.environ["AZUREML_RUN_ID"], "AZUREML_SETUP_URL" in os.environ)
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write(open("data/in.txt").read())
`
	for _, target := range []string{"cluster", "containerinstance"} {
		t.Run(target, func(t *testing.T) {
			w, m := newOrdered(t)
			id := w.submit(orderedConfig(t, target, set([]any{"--a", "b c"}, "arguments")), map[string]string{"train.py": script, "data/in.txt": "in"})
			if r := w.waitEnd(id); r.Status != "Completed" || r.Target != target {
				t.Fatalf("%+v\n%s", r, w.artifact(id+"/azureml-logs/60_control_log.txt"))
			}
			if log := w.artifact(id + "/azureml-logs/80_driver_log.txt"); !strings.Contains(log, "['--a', 'b c'] "+id+" False") {
				t.Errorf("log %s", log)
			}
			if got := w.blob("/azureml/ExperimentRun/" + id + "/outputs/model.txt"); got != "in" {
				t.Errorf("outputs %q", got)
			}
			w.drained(t)
			if target == "cluster" {
				if got := w.artifact(id + "/azureml-logs/55_batchai_execution.txt"); got != "it runs" {
					t.Errorf("execution log %q", got)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			for name := range w.blobs {
				if strings.HasPrefix(name, "/staged/") {
					t.Errorf("%s is left", name)
				}
			}
			if got := strings.Join(w.statuses[id], " "); !strings.HasPrefix(got, "Starting ") || !strings.HasSuffix(got, " Running Completed") {
				t.Errorf("statuses %s", got)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(m.placed) != 1 {
				t.Fatalf("orders %v", m.placed)
			}
			if left := m.orders[m.placed[0]] != nil; left != (target == "cluster") {
				t.Errorf("the order is left: %v", left)
			}
		})
	}
}

func TestOrderedWire(t *testing.T) {
	registry := map[string]any{"address": "r.azurecr.io", "username": "u", "password": "p"}
	mounts := `"mountVolumes":{"azureFileShares":[{"accountName":"account","azureFileUrl":"https://account.file.core.windows.net/azureml-filestore-` + strings.ToLower(workspace.GUID) + `","credentials":{"accountKey":"key1"},"relativeMountPath":"azureml_project_share"}]},`
	rows := []struct {
		name, target string
		change       func(map[string]any)
		want         string
	}{
		{"one node", "cluster", set("32", "environment", "docker", "shmSize"), `{"properties":{"cluster":{"id":"` + cluster + `"},"containerSettings":{"imageSourceRegistry":{"image":"image:1"},"shmSize":"32"},"customToolkitSettings":{"commandLine":"..."},` + mounts + `"nodeCount":1,"secrets":[{"name":"AZUREML_SETUP_URL","value":"..."}],"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_MOUNT_ROOT/azureml_project_share"}}`},
		{"registry", "cluster", set(registry, "environment", "docker", "baseImageRegistry"), `{"properties":{"cluster":{"id":"` + cluster + `"},"containerSettings":{"imageSourceRegistry":{"credentials":{"password":"p","username":"u"},"image":"r.azurecr.io/image:1","serverUrl":"r.azurecr.io"}},"customToolkitSettings":{"commandLine":"..."},` + mounts + `"nodeCount":1,"secrets":[{"name":"AZUREML_SETUP_URL","value":"..."}],"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_MOUNT_ROOT/azureml_project_share"}}`},
		{"MPI", "cluster", both(set("PythonMpi", "framework"), set(2, "batchai", "nodeCount"), set(3, "mpi", "processCountPerNode"), set(false, "environment", "docker", "enabled")), `{"properties":{"cluster":{"id":"` + cluster + `"},"customMpiSettings":{"commandLine":"...","processCount":6},"jobPreparation":{"commandLine":"..."},` + mounts + `"nodeCount":2,"secrets":[{"name":"AZUREML_SETUP_URL","value":"..."}],"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_MOUNT_ROOT/azureml_project_share"}}`},
		{"MPI of 1.x", "cluster", both(set("IntelMpi", "communicator"), set(2, "nodeCount"), set(false, "environment", "docker", "enabled")), `{"properties":{"cluster":{"id":"` + cluster + `"},"customMpiSettings":{"commandLine":"...","processCount":2},"jobPreparation":{"commandLine":"..."},` + mounts + `"nodeCount":2,"secrets":[{"name":"AZUREML_SETUP_URL","value":"..."}],"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_MOUNT_ROOT/azureml_project_share"}}`},
		{"parameter servers", "cluster", both(set("TensorFlowParameterServer", "framework"), set(2, "batchai", "nodeCount"), set(2, "tensorflow", "workerCount"), set(false, "environment", "docker", "enabled")), `{"properties":{"cluster":{"id":"` + cluster + `"},"jobPreparation":{"commandLine":"..."},` + mounts + `"nodeCount":2,"secrets":[{"name":"AZUREML_SETUP_URL","value":"..."}],"stdOutErrPathPrefix":"$AZ_BATCHAI_JOB_MOUNT_ROOT/azureml_project_share","tensorFlowSettings":{"masterCommandLineArgs":"part worker $AZ_BATCHAI_TASK_INDEX","parameterServerCommandLineArgs":"part ps $AZ_BATCHAI_TASK_INDEX","parameterServerCount":1,"pythonInterpreterPath":"/bin/bash","pythonScriptFilePath":"$AZ_BATCHAI_JOB_TEMP/azureml/azureml-setup/Invocation.sh","workerCommandLineArgs":"part worker $AZ_BATCHAI_TASK_INDEX","workerCount":2}}}`},
		{"container instance", "containerinstance", both(set(2.5, "containerInstance", "cpuCores"), set(3, "containerInstance", "memoryGb"), set("westus", "containerInstance", "region"), set(registry, "environment", "docker", "baseImageRegistry")), `{"location":"westus","properties":{"containers":[{"name":"run","properties":{"command":["/bin/bash","-c","..."],"environmentVariables":[{"name":"AZUREML_SETUP_URL","secureValue":"..."}],"image":"r.azurecr.io/image:1","resources":{"requests":{"cpu":2.5,"memoryInGB":3}}}}],"imageRegistryCredentials":[{"password":"p","server":"r.azurecr.io","username":"u"}],"osType":"Linux","restartPolicy":"Never"},"tags":{"azureml-run":"..."}}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w, m := newOrdered(t)
			m.hold = true
			id := w.submit(orderedConfig(t, row.target, row.change), map[string]string{"train.py": "pass"})
			w.wait("order", 20*time.Second, func() bool { return strings.Contains(strings.Join(w.statuses[id], " "), "Queued") })
			m.mu.Lock()
			order := m.orders[m.placed[0]]
			var body any
			b, _ := json.Marshal(order.body)
			_ = json.Unmarshal(b, &body)
			m.mu.Unlock()
			got, _ := json.Marshal(elided(body))
			if string(got) != row.want {
				t.Errorf("order\n%s\nwant\n%s", got, row.want)
			}
			w.postJSON("cancel", map[string]any{"RunId": id, "Target": row.target})
			if r := w.waitEnd(id); r.Status != "Canceled" {
				t.Errorf("%s %+v", r.Status, r.Error)
			}
		})
	}
}

func both(changes ...func(map[string]any)) func(map[string]any) {
	return func(c map[string]any) {
		for _, change := range changes {
			change(c)
		}
	}
}

// elided takes long and secret texts out of a body.
func elided(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = elided(e)
			if text, ok := e.(string); ok && (k == "value" || k == "secureValue" || k == "commandLine" || k == "azureml-run") && text != "" {
				v[k] = "..."
			}
		}
	case []any:
		for i, e := range v {
			v[i] = elided(e)
		}
	case string:
		if strings.Contains(v, "rm -rf") {
			return "..."
		}
	}
	return v
}

func TestOrderedEnds(t *testing.T) {
	rows := []struct {
		name, script string
		change       func(map[string]any)
		code, says   string
	}{
		{"exit code", "import sys; sys.exit(3)", nil, "UserError", "User program exited with code 3"},
		{"exception", "raise ValueError('no')", nil, "UserError", "User program failed with ValueError: no"},
		{"too long", "import time; time.sleep(100)", set(1, "maxRunDurationSeconds"), "UserError", "took longer than maxRunDurationSeconds (1)"},
		{"environment", "pass", set("/no/such/python", "environment", "python", "interpreterPath"), "UserError", "/no/such/python"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w, m := newOrdered(t)
			change := row.change
			if change == nil {
				change = func(map[string]any) {}
			}
			id := w.submit(orderedConfig(t, "cluster", change), map[string]string{"train.py": row.script})
			r := w.waitEnd(id)
			if r.Status != "Failed" || r.Error == nil || r.Error.Code != row.code || !strings.Contains(r.Error.Message, row.says) {
				t.Errorf("%s %+v", r.Status, r.Error)
			}
			w.drained(t)
			m.mu.Lock()
			defer m.mu.Unlock()
			if o := m.orders[m.placed[0]]; o.state != "failed" {
				t.Errorf("the job %s, code %d", o.state, o.code)
			}
		})
	}
}

// Of a job whose control script never came to be, there is what the job itself printed.
func TestOrderedWithoutControl(t *testing.T) {
	w, m := newOrdered(t)
	m.hold = true
	id := w.submit(orderedConfig(t, "cluster"), map[string]string{"train.py": "pass"})
	w.wait("order", 20*time.Second, func() bool { return strings.Contains(strings.Join(w.statuses[id], " "), "Queued") })
	w.mu.Lock()
	delete(w.blobs, stagedName(id, "setup.zip"))
	w.mu.Unlock()
	m.release()
	if r := w.waitEnd(id); r.Status != "Failed" || !strings.Contains(r.Error.Message, "JobFailed: The job exited.") {
		t.Errorf("%s %+v", r.Status, r.Error)
	}
	w.drained(t)
	if log := w.artifact(id + "/azureml-logs/55_batchai_stderr.txt"); !strings.Contains(log, "HTTP Error 404") {
		t.Errorf("stderr: %s", log)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.artifacts[id+"/azureml-logs/55_batchai_stdout.txt"]; there {
		t.Error("a file without a word was brought home")
	}
}

func TestOrderedCancel(t *testing.T) {
	for _, target := range []string{"cluster", "containerinstance"} {
		t.Run(target, func(t *testing.T) {
			w, _ := newOrdered(t)
			id := w.submit(orderedConfig(t, target), map[string]string{"train.py": "import time\nprint('at work', flush=True)\ntime.sleep(100)"})
			w.wait("script", 60*time.Second, func() bool {
				return strings.Contains(string(w.artifacts[id+"/azureml-logs/80_driver_log.txt"]), "at work")
			})
			if target == "cluster" {
				// The job's own logs come home while it goes on.
				w.wait("execution log", 20*time.Second, func() bool { return len(w.artifacts[id+"/azureml-logs/55_batchai_execution.txt"]) > 0 })
			}
			w.postJSON("cancel", map[string]any{"RunId": id, "Target": target})
			if r := w.waitEnd(id); r.Status != "Canceled" {
				t.Errorf("%s %+v", r.Status, r.Error)
			}
			w.drained(t)
		})
	}
}

func TestOrderRefused(t *testing.T) {
	w, m := newOrdered(t)
	m.refuse = &execution.ARMError{Status: 400, Code: "OperationNotAllowed", Message: "Quota of cores exceeded."}
	id := w.submit(orderedConfig(t, "cluster"), map[string]string{"train.py": "pass"})
	if r := w.waitEnd(id); r.Status != "Failed" || r.Error.Message != "The target 'cluster' does not take the run: Quota of cores exceeded." {
		t.Errorf("%s %+v", r.Status, r.Error)
	}
	w.drained(t)
}

// An order is placed once, whenever the service is killed.
func TestOrderedResume(t *testing.T) {
	w, m := newOrdered(t)
	m.hold = true
	id := w.submit(orderedConfig(t, "cluster"), map[string]string{"train.py": "print('once')"})
	w.wait("order", 20*time.Second, func() bool { return strings.Contains(strings.Join(w.statuses[id], " "), "Queued") })
	w.close()
	// The compute is detached meanwhile; the job goes on.
	delete(w.computes, "cluster")
	w.open()
	m.release()
	if r := w.waitEnd(id); r.Status != "Completed" {
		t.Errorf("%s %+v", r.Status, r.Error)
	}
	w.drained(t)
	if got := strings.Count(w.artifact(id+"/azureml-logs/80_driver_log.txt"), "once"); got != 1 || len(m.placed) != 1 {
		t.Errorf("said %d times, ordered %v", got, m.placed)
	}
}

// A job that is taken away is a failed run, with words that say so.
func TestOrderTakenAway(t *testing.T) {
	w, m := newOrdered(t)
	m.hold = true
	id := w.submit(orderedConfig(t, "cluster"), map[string]string{"train.py": "pass"})
	w.wait("order", 20*time.Second, func() bool { return strings.Contains(strings.Join(w.statuses[id], " "), "Queued") })
	m.mu.Lock()
	close(m.orders[m.placed[0]].stopped)
	delete(m.orders, m.placed[0])
	m.mu.Unlock()
	if r := w.waitEnd(id); r.Status != "Failed" || !strings.Contains(r.Error.Message, m.placed[0]+" was deleted") {
		t.Errorf("%s %+v", r.Status, r.Error)
	}
}

func TestOrderedParts(t *testing.T) {
	t.Run("MPI", func(t *testing.T) {
		w, _ := newOrdered(t)
		id := w.submit(orderedConfig(t, "cluster", set("PythonMpi", "framework"), set(2, "mpi", "processCountPerNode")),
			map[string]string{"train.py": "import os\nprint('rank', os.environ['OMPI_COMM_WORLD_RANK'])\nassert os.getcwd() == os.path.join(os.environ['AZ_BATCHAI_SHARED_JOB_TEMP'], 'azureml')\nassert os.path.isdir('outputs')"})
		if r := w.waitEnd(id); r.Status != "Completed" {
			t.Fatalf("%s %+v", r.Status, r.Error)
		}
		for _, rank := range []string{"0", "1"} {
			if log := w.artifact(id + "/azureml-logs/80_driver_log_rank_" + rank + ".txt"); !strings.Contains(log, "rank "+rank) {
				t.Errorf("rank %s: %s", rank, log)
			}
		}
		if log := w.artifact(id + "/azureml-logs/55_batchai_stdout-job_prep-tvm-1.txt"); !strings.Contains(log, "is prepared for 2 parts") {
			t.Errorf("preparation: %s", log)
		}
		w.drained(t)
	})
	t.Run("parameter servers", func(t *testing.T) {
		w, _ := newOrdered(t)
		id := w.submit(orderedConfig(t, "cluster", set("TensorFlowParameterServer", "framework"), set(2, "tensorflow", "workerCount")),
			map[string]string{"train.py": "import os\nprint(os.environ['TF_CONFIG'])"})
		if r := w.waitEnd(id); r.Status != "Completed" {
			t.Fatalf("%s %+v", r.Status, r.Error)
		}
		for part, task := range map[string]string{"worker_0": `{"type": "worker", "index": 0}`, "worker_1": `{"type": "worker", "index": 1}`, "ps_0": `{"type": "ps", "index": 0}`} {
			log := w.artifact(id + "/azureml-logs/80_driver_log_" + part + ".txt")
			if !strings.Contains(log, `"task": `+task) || !strings.Contains(log, `"cluster": {"ps": ["10.0.0.4:2222"], "worker": ["10.0.0.4:2223", "10.0.0.5:2222"]}`) {
				t.Errorf("%s: %s", part, log)
			}
		}
		w.drained(t)
	})
	t.Run("one fails", func(t *testing.T) {
		w, _ := newOrdered(t)
		id := w.submit(orderedConfig(t, "cluster", set("PythonMpi", "framework"), set(3, "mpi", "processCountPerNode")),
			map[string]string{"train.py": "import os, time\nif os.environ['OMPI_COMM_WORLD_RANK'] == '1':\n    raise KeyError('rank one')\ntime.sleep(100)"})
		if r := w.waitEnd(id); r.Status != "Failed" || r.Error.Message != "User program failed with KeyError: 'rank one'" {
			t.Errorf("%s %+v", r.Status, r.Error)
		}
		w.drained(t)
	})
	t.Run("preparation fails", func(t *testing.T) {
		w, _ := newOrdered(t)
		id := w.submit(orderedConfig(t, "cluster", set("PythonMpi", "framework"), set(map[string]any{"a": map[string]any{"dataStoreName": "store", "mode": "upload", "pathOnCompute": "x"}}, "dataReferences"),
			set("/no/such/python", "environment", "python", "interpreterPath")), map[string]string{"train.py": "pass"})
		if r := w.waitEnd(id); r.Status != "Failed" || !strings.Contains(r.Error.Message, "/no/such/python") {
			t.Errorf("%s %+v", r.Status, r.Error)
		}
		w.drained(t)
	})
}

func TestOrderedRefusals(t *testing.T) {
	w, _ := newOrdered(t)
	w.computes["my-vm"] = execution.Compute{Name: "my-vm", Type: "VirtualMachine", State: "Succeeded"}
	rows := []struct {
		name, target, field, says string
		change                    func(map[string]any)
	}{
		{"GPU", "containerinstance", "environment.docker.gpuSupport", "does not support GPUs", set(true, "environment", "docker", "gpuSupport")},
		{"nodes", "containerinstance", "framework", "distributed training", both(set("PythonMpi", "framework"), set(2, "batchai", "nodeCount"))},
		{"no container", "containerinstance", "environment.docker.enabled", "must be true", set(false, "environment", "docker", "enabled")},
		{"cores", "containerinstance", "containerInstance.cpuCores", "must be positive", set(0, "containerInstance", "cpuCores")},
		{"memory", "containerinstance", "containerInstance.memoryGb", "must be positive", set(-1, "containerInstance", "memoryGb")},
		{"MPI on a machine", "my-vm", "framework", "is one machine", both(set("PythonMpi", "framework"), set(false, "environment", "docker", "enabled"))},
		{"no communicator", "cluster", "nodeCount", "needs a framework or a communicator", set(2, "batchai", "nodeCount")},
		{"zero nodes", "cluster", "batchai.nodeCount", "must be 1 or more", set(0, "batchai", "nodeCount")},
		{"Gloo", "cluster", "communicator", "Gloo", set("Gloo", "communicator")},
		{"Caffe", "cluster", "framework", "Caffe", set("Caffe", "framework")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			rec := w.post("run", definitionPart(t, orderedConfig(t, row.target, row.change), nil), part{"project.zip", zipped(t, map[string]string{"train.py": "pass"})})
			wantError(t, rec, 400, "Configuration."+row.field, row.says)
		})
	}
	if len(w.runs) != 0 {
		t.Errorf("runs were made: %v", w.runs)
	}
}

// A run that waits long tells why, once.
func TestOrderedQueueReason(t *testing.T) {
	w, m := newOrdered(t)
	manual := clock.NewManual(time.Now())
	w.close()
	w.cfg.Clock = manual
	w.open()
	m.hold, m.waiting = true, "The job needs 3 nodes; the cluster has 2 at most."
	id := w.submit(orderedConfig(t, "cluster"), map[string]string{"train.py": "pass"})
	warned := func() bool { return len(w.warnings) > 0 }
	clocktest.Until(t, "warning", time.Minute, func() bool {
		manual.Advance(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		return warned()
	})
	manual.Advance(time.Minute)
	w.mu.Lock()
	if len(w.warnings) != 1 || w.warnings[0].Message != "The run is still in the queue: The job needs 3 nodes; the cluster has 2 at most." {
		t.Errorf("warnings %v", w.warnings)
	}
	if status := w.statuses[id]; status[len(status)-1] != "Queued" {
		t.Errorf("statuses %v", status)
	}
	w.mu.Unlock()
}
