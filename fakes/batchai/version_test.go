package batchai_test

import (
	"strings"
	"testing"
)

// Ensure that older api-versions have the same types below a resource group, with what they knew of them.
func TestOlderVersions(t *testing.T) {
	s := newService(t)
	const stable, preview = "?api-version=2018-03-01", "?api-version=2017-09-01-preview"
	old := func(body string) string { return strings.Replace(body, "{", `{"location":"northeurope",`, 1) }
	if a := s.do("PUT "+provider+"/clusters/c"+stable, cluster(manual(1), withShare)); a.status != 400 || a.at("error.code") != "LocationRequired" {
		t.Errorf("no location: %d %s", a.status, a.body)
	}
	s.must(202, "PUT "+provider+"/clusters/c"+stable, old(cluster(manual(1), withShare)))
	a := s.must(200, "GET "+provider+"/clusters/c"+preview, "")
	if a.at("location") != "northeurope" || a.at("type") != "Microsoft.BatchAI/clusters" || a.at("properties.provisioningState") != "succeeded" {
		t.Errorf("cluster: %s", a.body)
	}
	in := strings.Replace(job("true", `"priority":5,"experimentName":"mine","schedulingPriority":"low","outputDirectories":[{"id":"O","pathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs"}],"secrets":[{"name":"S","value":"hush"}]`), workspace+"/clusters/c", provider+"/clusters/c", 1)
	s.must(202, "PUT "+provider+"/jobs/j"+stable, old(in))
	s.until("GET "+provider+"/jobs/j"+stable, "properties.executionState", is("succeeded"))
	for version, want := range map[string]map[string]any{
		stable: {"properties.priority": 5.0, "properties.experimentName": "mine", "properties.schedulingPriority": nil, "properties.outputDirectories.0.type": "custom",
			"properties.outputDirectories.0.createNew": true, "properties.secrets.0.name": "S", "location": "northeurope"},
		preview: {"properties.priority": 5.0, "properties.secrets": nil, "properties.jobOutputDirectoryPathSegment": nil, "properties.toolType": "custom"},
	} {
		a := s.must(200, "GET "+provider+"/jobs/j"+version, "")
		for path, value := range want {
			if got := a.at(path); got != value {
				t.Errorf("%s: %s is %v, want %v", version, path, got, value)
			}
		}
	}
	if segment, _ := s.do("GET "+provider+"/jobs/j"+stable, "").at("properties.jobOutputDirectoryPathSegment").(string); !strings.Contains(segment, "/Rg/jobs/j/") {
		t.Errorf("segment %s", segment)
	}
	for version, want := range map[string][2]any{stable: {false, nil}, preview: {nil, nil}} {
		a := s.must(200, "POST "+provider+"/jobs/j/listOutputFiles"+version+"&outputdirectoryid=stdouterr", "")
		if got := [2]any{a.at("value.0.isDirectory"), a.at("value.0.fileType")}; got != want || a.at("value.0.downloadUrl") == nil {
			t.Errorf("%s: %v, want %v: %s", version, got, want, a.body)
		}
	}
	// What has not begun has no start, which these versions require of what they tell of it.
	s.must(200, "PATCH "+provider+"/clusters/c"+stable, `{"properties":{"scaleSettings":`+manual(0)+`}}`)
	s.until("GET "+provider+"/clusters/c"+stable, "properties.currentNodeCount", is(0.0))
	s.must(202, "PUT "+provider+"/jobs/w"+stable, old(in))
	if a := s.must(200, "GET "+provider+"/jobs/w"+stable, ""); a.at("properties.executionState") != "queued" || a.at("properties.executionInfo") != nil {
		t.Errorf("waits: %s", a.body)
	}
	s.must(202, "POST "+provider+"/jobs/w/terminate"+preview, "")
	if a := s.must(200, "GET "+provider+"/jobs/w"+preview, ""); a.at("properties.executionState") != "failed" || a.at("properties.executionInfo.startTime") == nil ||
		a.at("properties.executionInfo.startTime") != a.at("properties.executionInfo.endTime") || a.at("properties.executionInfo.errors.0.code") != "JobTerminated" {
		t.Errorf("terminated: %s", a.body)
	}
	// What a version does not have can't be asked of it.
	if a := s.do("GET "+provider+"/clusters/c", ""); a.status != 400 {
		t.Errorf("a group's cluster by 2018-05-01: %d", a.status)
	}
	if a := s.do("GET "+workspace+stable, ""); a.status != 400 {
		t.Errorf("a workspace by 2018-03-01: %d", a.status)
	}
	if a := s.do("GET "+sub+"/providers/Microsoft.BatchAI/locations/northeurope/usages"+preview, ""); a.status != 400 {
		t.Errorf("usages by the preview: %d", a.status)
	}
	tensor := strings.Replace(old(in), `"customToolkitSettings":{"commandLine":"true"}`, `"tensorFlowSettings":{"pythonScriptFilePath":"x.py"}`, 1)
	if a := s.do("PUT "+provider+"/jobs/t"+preview, tensor); a.status != 400 || a.at("error.target") != "properties.tensorFlowSettings.masterCommandLineArgs" {
		t.Errorf("tensorflow of the preview: %d %s", a.status, a.body)
	}
	for version, want := range map[string]int{stable: 12, preview: 12, "?api-version=2018-05-01": 26} {
		if a := s.must(200, "GET /providers/Microsoft.BatchAI/operations"+version, ""); len(a.doc["value"].([]any)) != want {
			t.Errorf("%s: %d operations, want %d", version, len(a.doc["value"].([]any)), want)
		}
	}
	s.must(202, "DELETE "+provider+"/clusters/c"+stable, "")
}

// Ensure that a file server's disk is one for all who mount it, by whichever way, and goes with it.
func TestFileServer(t *testing.T) {
	s := newService(t)
	body := func(more string) string {
		return `{"properties":{"vmSize":"STANDARD_D2","sshConfiguration":{"userAccountSettings":{"adminUserName":"me","adminUserPassword":"` + password + `"}},"dataDisks":{"diskSizeInGB":10,"diskCount":2,"storageAccountType":"Standard_LRS"` + more + `}}}`
	}
	const f = workspace + "/fileServers/f"
	for name, tt := range map[string][3]string{
		"TooManyDisks": {strings.Replace(body(""), `"diskCount":2`, `"diskCount":99`, 1), "InvalidPropertyValue", "data disks that a"},
		"TooLarge":     {strings.Replace(body(""), `"diskSizeInGB":10`, `"diskSizeInGB":99999`, 1), "InvalidPropertyValue", "4095"},
		"Premium":      {strings.Replace(body(""), "Standard_LRS", "Premium_LRS", 1), "InvalidPropertyValue", "StorageAccountType"},
		"Caching":      {body(`,"cachingType":"readonly"`), "InvalidPropertyValue", "CachingType"},
		"NoDisks":      {strings.Replace(body(""), `"diskCount":2,`, "", 1), "InvalidParameter", "diskCount"},
		"Size":         {strings.Replace(body(""), "STANDARD_D2", "Big", 1), "InvalidPropertyValue", "VMSize"},
	} {
		if a := s.do("PUT "+f, tt[0]); a.status != 400 || a.at("error.code") != tt[1] || !strings.Contains(a.body, tt[2]) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	s.must(202, "PUT "+f, body(""))
	a := s.must(200, "GET "+f, "")
	point, _ := a.at("properties.mountSettings.mountPoint").(string)
	address, _ := a.at("properties.mountSettings.fileServerInternalIP").(string)
	if point == "" || address == "" || a.at("properties.mountSettings.fileServerPublicIP") == nil || a.at("properties.provisioningState") != "succeeded" || a.at("properties.dataDisks.cachingType") != "none" ||
		a.at("properties.mountSettings.fileServerType") != nil || strings.Contains(a.body, password) {
		t.Errorf("file server: %s", a.body)
	}
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), strings.Replace(withShare, `"azureFileShares"`, `"fileServers":[{"fileServer":{"id":"`+f+`"},"relativeMountPath":"nfs"}],"azureFileShares"`, 1)))
	s.must(202, "PUT "+jobs+"a", job("mkdir $AZ_BATCHAI_MOUNT_ROOT/nfs/sub; echo by-a > $AZ_BATCHAI_MOUNT_ROOT/nfs/sub/f; echo other > $AZ_BATCHAI_MOUNT_ROOT/afs/g"))
	s.until("GET "+jobs+"a", "properties.executionState", is("succeeded"))
	s.must(202, "PUT "+jobs+"b", job("grep by-a $AZ_BATCHAI_JOB_MOUNT_ROOT/n/f && grep other $AZ_BATCHAI_JOB_MOUNT_ROOT/c/g && grep by-a $AZ_BATCHAI_JOB_MOUNT_ROOT/d/f",
		`"mountVolumes":{"unmanagedFileSystems":[{"mountCommand":"mount -t nfs `+address+":"+point+`/sub","relativeMountPath":"n"},
		{"mountCommand":"mount -t cifs //acct.file.core.windows.net/share -o vers=3.0,username=acct,password=`+key+`,dir_mode=0777","relativeMountPath":"c"}],
		"fileServers":[{"fileServer":{"id":"`+f+`"},"sourceDirectory":"sub","relativeMountPath":"d"}]}`))
	if a := s.until("GET "+jobs+"b", "properties.executionInfo.endTime", func(v any) bool { return v != nil }); a.at("properties.executionState") != "succeeded" {
		t.Errorf("mounts: %s", a.body)
	}
	if a := s.do("POST "+jobs+"b/listOutputFiles?outputdirectoryid=stdouterr", ""); a.status != 200 {
		t.Errorf("files: %s", a.body)
	}
	s.must(202, "PUT "+jobs+"n", strings.Replace(job("true"), "ROOT/afs", "ROOT/nfs", 1))
	if a := s.do("POST "+jobs+"n/listOutputFiles?outputdirectoryid=stdouterr", ""); a.status != 400 || a.at("error.code") != "OutputDirectoryNotSupported" {
		t.Errorf("files on the file server: %s", a.body)
	}
	if a := s.do("PATCH "+f, `{}`); a.status != 405 {
		t.Errorf("PATCH: %d", a.status)
	}
	s.must(202, "DELETE "+f, "")
	if a := s.do("GET "+f, ""); a.status != 404 || a.line != "404 The specified file server f is not found" {
		t.Errorf("deleted: %s %s", a.line, a.body)
	}
}

// Ensure that clusters, jobs and file servers are there again after a restart, with what they had.
func TestRestart(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), withShare))
	s.must(202, "PUT "+jobs+"done", job("echo once >> $AZ_BATCHAI_MOUNT_ROOT/afs/count"))
	before := s.until("GET "+jobs+"done", "properties.executionState", is("succeeded"))
	s.must(200, "PATCH "+workspace+"/clusters/c", `{"properties":{"scaleSettings":`+manual(0)+`}}`)
	s.until("GET "+workspace+"/clusters/c", "properties.currentNodeCount", is(0.0))
	s.must(202, "PUT "+jobs+"waits", job("echo late >> $AZ_BATCHAI_MOUNT_ROOT/afs/count"))
	s.close()
	s.open()
	if after := s.do("GET "+jobs+"done", ""); after.body != before.body {
		t.Errorf("done: %s\n%s", before.body, after.body)
	}
	if a := s.do("GET "+jobs+"waits", ""); a.at("properties.executionState") != "queued" {
		t.Errorf("waits: %s", a.body)
	}
	s.must(200, "PATCH "+workspace+"/clusters/c", `{"properties":{"scaleSettings":`+manual(1)+`}}`)
	s.until("GET "+jobs+"waits", "properties.executionState", is("succeeded"))
	if a := s.must(200, "POST "+jobs+"done/listOutputFiles?outputdirectoryid=stdouterr", ""); len(a.doc["value"].([]any)) != 3 {
		t.Errorf("files: %s", a.body)
	}
}
