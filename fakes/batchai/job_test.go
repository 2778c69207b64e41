package batchai_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai"
)

func number(v any) string { return fmt.Sprint(v) }

// Ensure that a job really runs, and that its files are where they were with Batch AI.
func TestJob(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), withShare))
	if a := s.do("GET "+jobs+"j", ""); a.line != "404 The specified job j is not found" || a.at("error.code") != "JobNotFound" {
		t.Errorf("absent: %s %s", a.line, a.body)
	}
	body := job(`echo out; echo err >&2; echo "$PLAIN $HUSH" > $AZ_BATCHAI_OUTPUT_MODEL/f.txt; mkdir $AZ_BATCHAI_OUTPUT_MODEL/sub; cat $AZ_BATCHAI_INPUT_DATA/in > $AZ_BATCHAI_OUTPUT_MODEL/sub/copy; exit 3`,
		`"environmentVariables":[{"name":"PLAIN","value":"a"}],"secrets":[{"name":"HUSH","value":"not-for-the-wire"}]`,
		`"inputDirectories":[{"id":"DATA","path":"$AZ_BATCHAI_MOUNT_ROOT/afs"}],"outputDirectories":[{"id":"MODEL","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/bfs","pathSuffix":"deep/model"}]`,
		`"constraints":{"maxWallClockTime":"0.01:30:00"}`)
	if err := os.WriteFile(filepath.Join(s.dir, "storage", "share", "in"), []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.must(202, "PUT "+jobs+"j", body)
	a := s.until("GET "+jobs+"j", "properties.executionState", is("failed"))
	segment, _ := a.at("properties.jobOutputDirectoryPathSegment").(string)
	for path, want := range map[string]any{"properties.executionInfo.exitCode": 3.0, "properties.toolType": "custom", "properties.experimentName": "e", "properties.schedulingPriority": "normal",
		"properties.constraints.maxWallClockTime": "PT1H30M", "properties.provisioningState": "succeeded", "properties.secrets.0.name": "HUSH", "properties.secrets.0.value": nil,
		"properties.priority": nil, "properties.environmentVariables.0.value": "a"} {
		if got := a.at(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if strings.Contains(a.body, "not-for-the-wire") || a.at("properties.executionInfo.startTime") == nil || a.at("properties.executionInfo.endTime") == nil {
		t.Errorf("job: %s", a.body)
	}
	if !strings.HasPrefix(segment, strings.TrimPrefix(sub, "/subscriptions/")+"/Rg/workspaces/w/experiments/e/jobs/j/") {
		t.Errorf("segment %s", segment)
	}
	for file, want := range map[string]string{"share/" + segment + "/stdouterr/stdout.txt": "out\n", "share/" + segment + "/stdouterr/stderr.txt": "err\n",
		"box/" + segment + "/outputs/deep/model/f.txt": "a not-for-the-wire\n", "box/" + segment + "/outputs/deep/model/sub/copy": "data"} {
		if got, err := os.ReadFile(filepath.Join(s.dir, "storage", file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	files := s.must(200, "POST "+jobs+"j/listOutputFiles?outputdirectoryid=stdouterr&directory=.&linkexpiryinminutes=60&maxresults=1000", "")
	if len(files.doc["value"].([]any)) != 3 || files.at("value.0.name") != "execution.log" || files.at("value.2.name") != "stdout.txt" || files.at("value.2.properties.contentLength") != 4.0 ||
		files.at("value.2.fileType") != "file" || files.at("value.2.isDirectory") != nil || files.at("nextLink") != nil {
		t.Errorf("files: %s", files.body)
	}
	// In pages: the next one by GET or POST.
	first := s.must(200, "POST "+jobs+"j/listOutputFiles?outputdirectoryid=MODEL&maxresults=1", "")
	next, _ := first.at("nextLink").(string)
	for _, method := range []string{"GET ", "POST "} {
		second := s.must(200, method+next, "")
		if first.at("value.0.name") != "f.txt" || second.at("value.0.name") != "sub" || second.at("value.0.fileType") != "directory" || second.at("value.0.downloadUrl") != nil || second.at("nextLink") != nil {
			t.Errorf("pages: %s %s", first.body, second.body)
		}
	}
	if below := s.must(200, "POST "+jobs+"j/listOutputFiles?outputdirectoryid=MODEL&directory=sub", ""); below.at("value.0.name") != "copy" {
		t.Errorf("below: %s", below.body)
	}
	for query, code := range map[string]string{"": "MissingRequiredQueryParameter", "outputdirectoryid=NONE": "OutputDirectoryNotFound", "outputdirectoryid=MODEL&directory=../..": "InvalidQueryParameterValue",
		"outputdirectoryid=MODEL&linkexpiryinminutes=4": "OutOfRangeQueryParameterValue", "outputdirectoryid=MODEL&maxresults=1001": "OutOfRangeQueryParameterValue"} {
		if a := s.do("POST "+jobs+"j/listOutputFiles?"+query, ""); a.at("error.code") != code {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	// The same again is no other job, and nothing runs.
	s.must(202, "PUT "+jobs+"j", body)
	if again := s.do("GET "+jobs+"j", ""); again.at("properties.executionInfo.startTime") != a.at("properties.executionInfo.startTime") {
		t.Errorf("it ran again: %s", again.body)
	}
	if a := s.do("PUT "+jobs+"j", job("true")); a.status != 409 || a.at("error.code") != "JobAlreadyExists" {
		t.Errorf("another: %s", a.body)
	}
	s.must(202, "POST "+jobs+"j/terminate", "")
	if again := s.do("GET "+jobs+"j", ""); again.at("properties.executionInfo.exitCode") != 3.0 {
		t.Errorf("what had ended was terminated: %s", again.body)
	}
	s.must(202, "DELETE "+jobs+"j", "")
	if a := s.do("GET "+jobs+"j", ""); a.status != 404 {
		t.Errorf("deleted: %s", a.body)
	}
}

// Ensure that where containers are processes of this host, the host stands for a plain image, with a warning, and for no other.
func TestJobContainerOnHost(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), withShare))
	container := func(image string) string {
		return job("echo ran", `"containerSettings":{"imageSourceRegistry":{"image":"`+image+`"}}`)
	}
	s.must(202, "PUT "+jobs+"plain", container("ubuntu"))
	a := s.until("GET "+jobs+"plain", "properties.executionState", is("succeeded"))
	warning, _ := a.at("properties.executionInfo.lazuliteWarnings.0").(string)
	log, err := os.ReadFile(filepath.Join(s.dir, "storage", "share", a.at("properties.jobOutputDirectoryPathSegment").(string), "stdouterr", "execution.log"))
	if err != nil || !strings.Contains(warning, "instead of in a container of ubuntu") || !strings.Contains(string(log), warning) || a.at("properties.executionInfo.errors") != nil {
		t.Errorf("%v %s\n%s", err, a.body, log)
	}
	s.must(202, "PUT "+jobs+"other", container("tensorflow/tensorflow:1.8.0"))
	a = s.until("GET "+jobs+"other", "properties.executionState", is("failed"))
	if text, _ := a.at("properties.executionInfo.errors.0.details.1.value").(string); a.at("properties.executionInfo.errors.0.code") != "FailedStartingContainer" || !strings.Contains(text, "not for tensorflow/tensorflow:1.8.0") ||
		a.at("properties.executionInfo.errors.0.details.0.value") != "tensorflow/tensorflow:1.8.0" || a.at("properties.executionInfo.exitCode") != nil {
		t.Errorf("%s", a.body)
	}
}

// Ensure that folders which nodes may mount are there before the first node is, whoever makes something in them later.
func TestFoldersAreThere(t *testing.T) {
	var dir string
	newService(t, func(c *batchai.Config) {
		dir = filepath.Join(c.Dir, "later", "blobs")
		c.Folders = append(c.Folders, dir)
	})
	for _, d := range []string{dir, filepath.Join(dir, "..", "..", "disks")} {
		if info, err := os.Stat(d); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// Ensure that a job with nothing to run on stays queued and says why, can be terminated, and runs when there is a node.
func TestJobWaits(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(0), withShare))
	s.must(202, "PUT "+jobs+"j", job("true"))
	s.must(202, "PUT "+jobs+"k", job("true"))
	a := s.until("GET "+jobs+"j", "properties.executionInfo.errors.0.message", func(v any) bool { return v != nil })
	if a.at("properties.executionState") != "queued" || a.at("properties.executionInfo.errors.0.code") != "JobWaiting" {
		t.Errorf("waiting: %s", a.body)
	}
	s.must(202, "POST "+jobs+"k/terminate", "")
	if a := s.do("GET "+jobs+"k", ""); a.at("properties.executionState") != "failed" || a.at("properties.executionInfo.exitCode") != nil {
		t.Errorf("terminated: %s", a.body)
	}
	s.must(200, "PATCH "+workspace+"/clusters/c", `{"properties":{"scaleSettings":`+manual(1)+`}}`)
	if a := s.until("GET "+jobs+"j", "properties.executionState", is("succeeded")); a.at("properties.executionInfo.errors") != nil {
		t.Errorf("succeeded: %s", a.body)
	}
}

// Ensure that a cluster that is deleted takes its running jobs to their end, and that one that is terminated leaves nothing.
func TestClusterDeletedUnderJobs(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(2), withShare))
	for _, name := range []string{"a", "b", "x"} {
		s.must(202, "PUT "+jobs+name, job("sleep 600"))
	}
	for _, name := range []string{"a", "b"} {
		s.until("GET "+jobs+name, "properties.executionState", is("running"))
	}
	if logins := s.must(200, "POST "+jobs+"a/listRemoteLoginInformation", ""); len(logins.doc["value"].([]any)) != 1 {
		t.Errorf("logins: %s", logins.body)
	}
	s.must(202, "POST "+jobs+"b/terminate", "")
	s.must(202, "DELETE "+workspace+"/clusters/c", "")
	for _, name := range []string{"a", "b", "x"} {
		if a := s.until("GET "+jobs+name, "properties.executionState", is("failed")); a.at("properties.executionInfo.errors.0.code") == nil {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if a := s.do("PUT "+jobs+"late", job("true")); a.status != 404 || a.at("error.code") != "ClusterNotFound" {
		t.Errorf("late: %d %s", a.status, a.body)
	}
}

// Ensure that a low-priority node can be taken away, that its job runs again on the one that comes, and that no other can.
func TestPreempt(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), `"vmPriority":"lowpriority"`, withShare))
	s.must(202, "PUT "+workspace+"/clusters/d", cluster(manual(1)))
	s.must(202, "PUT "+jobs+"j", job("echo begun >> $AZ_BATCHAI_MOUNT_ROOT/afs/trace; [ -e $AZ_BATCHAI_MOUNT_ROOT/afs/go ] || sleep 600"))
	node := func(cluster string) string {
		id, _ := s.until("POST "+workspace+"/clusters/"+cluster+"/listRemoteLoginInformation", "value.0.nodeId", func(v any) bool { return v != nil }).at("value.0.nodeId").(string)
		return id
	}
	first := node("c")
	s.until("GET "+jobs+"j", "properties.executionState", is("running"))
	trace := filepath.Join(s.dir, "storage", "share", "trace")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if b, _ := os.ReadFile(trace); len(b) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job never began")
		}
	}
	for _, tt := range [][4]string{{"/subscriptions/x", first, "400", "is not the resource id of a cluster"}, {workspace + "/clusters/none", first, "404", "The specified cluster none is not found"},
		{workspace + "/clusters/c", "tvm-0", "404", "The specified node tvm-0 is not found"}, {workspace + "/clusters/d", node("d"), "409", "dedicated"}} {
		err := s.fake.Preempt(t.Context(), tt[0], tt[1])
		var refused *arm.Error
		if !errors.As(err, &refused) || number(refused.Status) != tt[2] || !strings.Contains(refused.Message, tt[3]) {
			t.Errorf("%s %s: %v", tt[0], tt[1], err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "storage", "share", "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.fake.Preempt(t.Context(), workspace+"/clusters/c", first); err != nil {
		t.Fatal(err)
	}
	s.until("GET "+jobs+"j", "properties.executionState", is("succeeded"))
	if b, err := os.ReadFile(trace); err != nil || string(b) != "begun\nbegun\n" || node("c") == first {
		t.Errorf("%q %v, on %s after %s", b, err, node("c"), first)
	}
}

// Ensure that a job that can't be is refused with a word for it.
func TestJobRefusals(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(`{"autoScale":{"minimumNodeCount":0,"maximumNodeCount":1}}`, withShare))
	replace := func(change ...string) string { return strings.NewReplacer(change...).Replace(job("true")) }
	for _, tt := range []struct {
		name, body    string
		status        int
		code, message string
	}{
		{"OutputEscapes", replace(`ROOT/afs`, `ROOT/afs/../..`), 400, "InvalidPropertyValue", "StdOutErrPathPrefix"},
		{"OutputElsewhere", replace(`$AZ_BATCHAI_MOUNT_ROOT/afs`, `/etc`), 400, "InvalidPropertyValue", "StdOutErrPathPrefix"},
		{"SuffixEscapes", job("true", `"outputDirectories":[{"id":"O","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs","pathSuffix":"../../x"}]`), 400, "InvalidPropertyValue", "OutputDirectories[0].PathSuffix"},
		{"OutputID", job("true", `"outputDirectories":[{"id":"A B","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs"}]`), 400, "InvalidPropertyValue", "letters, digits"},
		{"OutputReserved", job("true", `"outputDirectories":[{"id":"stdOutErr","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs"}]`), 400, "InvalidPropertyValue", "reserved"},
		{"NoToolkit", replace(`"customToolkitSettings":{"commandLine":"true"}`, `"schedulingPriority":"low"`), 400, "MissingRequiredProperty", "toolkit"},
		{"TwoToolkits", job("true", `"customMpiSettings":{"commandLine":"true"}`), 400, "InvalidPropertyValue", "only one toolkit"},
		{"NoCommand", job(" "), 400, "MissingRequiredProperty", "CommandLine"},
		{"TooManyNodes", replace(`"nodeCount":1`, `"nodeCount":2`), 400, "InvalidPropertyValue", "maximumNodeCount 1"},
		{"NoNodes", replace(`"nodeCount":1`, `"nodeCount":0`), 400, "InvalidParameter", "nodeCount"},
		{"ClusterID", replace(`/clusters/c`, `/clusters`), 400, "InvalidPropertyValue", "Cluster.Id"},
		{"ClusterAbsent", replace(`/clusters/c`, `/clusters/none`), 404, "ClusterNotFound", "The specified cluster none is not found"},
		{"WallClock", job("true", `"constraints":{"maxWallClockTime":"tomorrow"}`), 400, "InvalidPropertyValue", "MaxWallClockTime"},
		{"Priority", job("true", `"schedulingPriority":"urgent"`), 400, "InvalidParameter", "schedulingPriority"},
		{"ParameterServers", replace(`"customToolkitSettings":{"commandLine":"true"}`, `"tensorFlowSettings":{"pythonScriptFilePath":"x.py","parameterServerCount":2}`), 400, "InvalidPropertyValue", "ParameterServerCount"},
		{"Script", replace(`"customToolkitSettings":{"commandLine":"true"}`, `"horovodSettings":{}`), 400, "InvalidParameter", "pythonScriptFilePath"},
		{"Caffe", replace(`"customToolkitSettings":{"commandLine":"true"}`, `"caffeSettings":{"pythonScriptFilePath":"a","configFilePath":"b"}`), 400, "InvalidPropertyValue", "cannot be specified if"},
		{"Mount", job("true", `"mountVolumes":{"azureFileShares":[{"accountName":"acct","azureFileUrl":"share","credentials":{"accountKey":"x"},"relativeMountPath":"a"}]}`), 400, "InvalidPropertyValue", "AzureFileUrl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.T = t
			a := s.do("PUT "+jobs+"j", tt.body)
			message, _ := a.at("error.message").(string)
			if a.status != tt.status || a.at("error.code") != tt.code || !strings.Contains(message, tt.message) {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if a := s.do("GET "+jobs+"j", ""); a.status != 404 {
				t.Errorf("it is there: %s", a.body)
			}
		})
	}
	s.T = t
	// What only shows when it is mounted fails the job, with the reason.
	for name, c := range map[string]struct{ volume, code, info string }{
		"f": {`"azureFileShares":[{"accountName":"acct","azureFileUrl":"https://acct.file.core.windows.net/none","credentials":{"accountKey":"` + key + `"},"relativeMountPath":"n"}]`,
			"AZFMountError", "Could not mount Azure File Share //acct.file.core.windows.net/none: "},
		"b": {`"azureBlobFileSystems":[{"accountName":"acct","containerName":"box","credentials":{"accountKey":"AAAA"},"relativeMountPath":"n"}]`,
			"BFSMountError", "Server failed to authenticate the request."},
	} {
		s.must(202, "PUT "+jobs+name, job("true", `"mountVolumes":{`+c.volume+`}`))
		a := s.until("GET "+jobs+name, "properties.executionState", is("failed"))
		if text, _ := a.at("properties.executionInfo.errors.0.details.0.value").(string); a.at("properties.executionInfo.errors.0.code") != c.code || !strings.Contains(text, c.info) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	s.must(202, "PUT "+jobs+"m", job("true", `"mountVolumes":{"unmanagedFileSystems":[{"mountCommand":"mount -t nfs 10.9.9.9:/x","relativeMountPath":"n"}]}`))
	a := s.until("GET "+jobs+"m", "properties.executionState", is("failed"))
	if text, _ := a.at("properties.executionInfo.errors.0.message").(string); !strings.Contains(text, "10.9.9.9:/x") {
		t.Errorf("wrong mount: %s", a.body)
	}
}
