package conformance

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sort"

	"lazulite.dev/conformance/wire"
)

type projectFile struct{ name, content string }

// trainScript is the script of every run. It needs nothing but Python 3: it logs
// its metric by the environment that the SDK would read, so that a machine without the SDK can be judged.
const trainScript = `import json, os, ssl, sys, time, urllib.error, urllib.request, uuid

def arg(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default

def log(name, value):
    e = os.environ
    url = (e["AZUREML_SERVICE_ENDPOINT"].rstrip("/") + "/history/v1.0/subscriptions/" + e["AZUREML_ARM_SUBSCRIPTION"]
           + "/resourceGroups/" + e["AZUREML_ARM_RESOURCEGROUP"] + "/providers/Microsoft.MachineLearningServices/workspaces/"
           + e["AZUREML_ARM_WORKSPACE_NAME"] + "/experiments/" + e["AZUREML_ARM_PROJECT_NAME"]
           + "/runs/" + e["AZUREML_RUN_ID"] + "/metrics")
    body = {"runId": e["AZUREML_RUN_ID"], "metricId": str(uuid.uuid4()), "metricType": "azureml.v1.scalar",
            "createdUtc": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "name": name, "description": "",
            "numCells": 1, "cells": [{name: value}],
            "schema": {"numProperties": 1, "properties": [{"propertyId": name, "name": name, "type": "float"}]}}
    bundle = e.get("SSL_CERT_FILE") or e.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context(cafile=bundle) if url.startswith("https") else None
    req = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json",
                                 "Authorization": "Bearer " + e["AZUREML_RUN_TOKEN"]})
    for tries in range(5):
        try:
            urllib.request.urlopen(req, context=context, timeout=60).read()
            return
        except urllib.error.HTTPError as e:
            if e.code != 429 or tries == 4:
                raise
            time.sleep(float(e.headers.get("Retry-After", 1)))

with open("script.pid", "w") as f:
    f.write(str(os.getpid()))
print("conformance: hello", arg("--word", "nobody"), flush=True)
log("accuracy", 0.75)
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.txt", "w") as f:
    f.write("weights of " + os.environ["AZUREML_RUN_ID"])
time.sleep(float(arg("--sleep", "0")))
print("conformance: end", flush=True)
sys.exit(int(arg("--exit", "0")))
`

// scriptWord is an argument with what a careless shell would break.
const scriptWord = `"a b" $HOME 'c'`

// definition is definition.json as azureml-core 0.1.68 sends it, user-managed.
func (s *session) definition(target string, arguments ...any) string {
	return s.definitionWith(target, nil, arguments...)
}

// definitionWith is a definition whose configuration is changed before it is sent.
func (s *session) definitionWith(target string, change func(configuration map[string]any), arguments ...any) string {
	if arguments == nil {
		arguments = []any{}
	}
	configuration := map[string]any{
		"script": "train.py", "arguments": arguments, "target": target, "framework": "Python",
		"autoPrepareEnvironment": true, "maxRunDurationSeconds": nil,
		"environment": map[string]any{
			"environmentVariables": map[string]string{"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
			"python": map[string]any{"userManagedDependencies": true, "interpreterPath": s.cfg.Python,
				"condaDependencies": map[string]any{"name": "project_environment",
					"dependencies": []any{"python=3.6.2", map[string]any{"pip": []string{"azureml-defaults"}}}}},
			"docker": map[string]any{"enabled": false, "baseImage": "mcr.microsoft.com/azureml/base:0.1.4", "sharedVolumes": true,
				"gpuSupport": false, "arguments": []any{}, "baseImageRegistry": map[string]any{"address": nil, "username": nil, "password": nil}},
			"spark": map[string]any{"repositories": []string{"https://mmlspark.azureedge.net/maven"},
				"packages":         []any{map[string]string{"group": "com.microsoft.ml.spark", "artifact": "mmlspark_2.11", "version": "0.12"}},
				"precachePackages": true},
		},
		"history":           map[string]bool{"outputCollection": true, "snapshotProject": true},
		"spark":             map[string]any{"configuration": map[string]any{"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": 1}},
		"hdi":               map[string]string{"yarnDeployMode": "cluster"},
		"batchai":           map[string]int{"nodeCount": 1},
		"tensorflow":        map[string]int{"workerCount": 1, "parameterServerCount": 1},
		"mpi":               map[string]int{"processCountPerNode": 1},
		"containerInstance": map[string]any{"cpuCores": 1, "memoryGb": 4, "region": nil},
		"dataReferences":    map[string]any{},
	}
	if change != nil {
		change(configuration)
	}
	b, err := json.Marshal(map[string]any{
		"TargetDetails":   nil,
		"Configuration":   configuration,
		"TelemetryValues": map[string]string{"amlClientOSVersion": "Linux-x86_64", "amlClientPythonVersion": "3.6.15", "amlClientType": "azureml-sdk-core"},
	})
	s.must(err)
	return string(b)
}

// configFiles are what the SDK writes into a project's aml_config.
func (w *workspace) configFiles() map[string]string {
	return map[string]string{
		"aml_config/project.json":           `{"Id": "conformance", "Scope": "` + w.path + `/projects/conformance"}`,
		"aml_config/conda_dependencies.yml": "name: project_environment\ndependencies:\n- python=3.6.2\n- pip:\n  - azureml-defaults\n",
	}
}

// zipped packs files, stored, as the SDK does.
func zipped(s *session, files map[string]string) string {
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	sort.Strings(names)
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, n := range names {
		w, err := zw.CreateHeader(&zip.FileHeader{Name: n, Method: zip.Store})
		s.must(err)
		_, err = io.WriteString(w, files[n])
		s.must(err)
	}
	s.must(zw.Close())
	return b.String()
}

// going are the statuses in which the SDK goes on polling.
var going = map[string]bool{"Starting": true, "Preparing": true, "Running": true, "Provisioning": true, "Queued": true, "Finalizing": true}

// follow polls the details of a run until it is over, or until stop says so.
func (s *session) follow(runURL string, stop func(details) bool) details {
	var d details
	op := &wire.Operation{}
	err := s.client.Until(s.ctx, op, runURL+"/details", func(r *wire.Response) bool {
		s.status(r, http.StatusOK)
		d = decode[details](s, r)
		return !going[d.Status] || (stop != nil && stop(d))
	})
	if err != nil {
		s.fail("following the run: %v", err)
	}
	return d
}

// logs reads all the logs of a run, for messages and for what they must hold.
func (s *session) logs(d details) string {
	names := make([]string, 0, len(d.LogFiles))
	for n := range d.LogFiles {
		names = append(names, n)
	}
	sort.Strings(names)
	var b bytes.Buffer
	for _, n := range names {
		r := s.do(wire.Request{Method: http.MethodGet, URL: d.LogFiles[n], NoToken: true})
		b.WriteString("== " + n + "\n")
		if r.OK() {
			b.Write(r.Body)
		}
	}
	return b.String()
}

// ended checks how a run ended; its logs explain another end.
func (s *session) ended(d details, want string) {
	if d.Status == want {
		return
	}
	logs := s.logs(d)
	if len(logs) > 4000 {
		logs = "…" + logs[len(logs)-4000:]
	}
	s.fail("the run ended %s, not %s; its error: %v; its logs:\n%s", d.Status, want, d.Error, logs)
}
