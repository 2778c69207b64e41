package batchai_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/fakes/batchai"
)

// Ensure that a cluster's life is as it was recorded from the real service.
func TestCluster(t *testing.T) {
	s := newService(t)
	if a := s.do("GET "+workspace+"/clusters/c", ""); a.status != 404 || a.line != "404 The specified cluster c is not found" ||
		a.body != `{"error":{"code":"ClusterNotFound","message":"The specified cluster c is not found"}}` {
		t.Errorf("absent: %s %s", a.line, a.body)
	}
	a := s.do("PUT "+workspace+"/clusters/c", cluster(manual(1), withShare))
	async, location := a.header.Get("Azure-Asyncoperation"), a.header.Get("Location")
	if a.status != 202 || a.body != "" || !strings.Contains(async, "/providers/Microsoft.BatchAI/locations/northeurope/operationresults/") ||
		!strings.Contains(location, "/providers/Microsoft.BatchAI/locations/northeurope/operationstatuses/") || a.header.Get("Retry-After") == "" {
		t.Fatalf("PUT: %d %v %s", a.status, a.header, a.body)
	}
	end := s.until("GET "+async, "status", is("Succeeded"))
	if want := strings.TrimPrefix(sub, "/subscriptions/") + "$Rg$w$c"; end.at("properties.resourceId") != want || "https://management.azure.com"+strings.SplitN(strings.TrimPrefix(async, "https://management.azure.com"), "?", 2)[0] != end.at("id") || end.at("endTime") == nil {
		t.Errorf("operation: %s", end.body)
	}
	a = s.until("GET "+workspace+"/clusters/c", "properties.nodeStateCounts.idleNodeCount", is(1.0))
	for path, want := range map[string]any{"type": "Microsoft.BatchAI/workspaces/clusters", "properties.provisioningState": "succeeded", "properties.allocationState": "steady",
		"properties.currentNodeCount": 1.0, "properties.vmPriority": "dedicated", "properties.scaleSettings.manual.nodeDeallocationOption": "requeue",
		"properties.virtualMachineConfiguration.imageReference.sku": "16.04-LTS", "properties.nodeSetup.mountVolumes.azureFileShares.0.fileMode": "0777",
		"properties.userAccountSettings.adminUserPassword": nil, "tags": nil, "location": nil} {
		if got := a.at(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if strings.Contains(a.body, key) || strings.Contains(a.body, password) || !strings.Contains(a.body, `"credentials":{}`) {
		t.Errorf("secrets: %s", a.body)
	}
	etag := a.header.Get("Etag")
	// The answer to a PATCH still has the old state.
	a = s.must(200, "PATCH "+workspace+"/clusters/c", `{"properties":{"scaleSettings":{"autoScale":{"minimumNodeCount":2,"maximumNodeCount":3}}}}`)
	if a.at("properties.allocationState") != "steady" || a.at("properties.currentNodeCount") != 1.0 || a.at("properties.scaleSettings.manual") != nil ||
		a.at("properties.scaleSettings.autoScale.initialNodeCount") != 0.0 || a.header.Get("Etag") == etag {
		t.Errorf("PATCH: %s", a.body)
	}
	s.until("GET "+workspace+"/clusters/c", "properties.nodeStateCounts.idleNodeCount", is(2.0))
	logins := s.must(200, "POST "+workspace+"/clusters/c/listRemoteLoginInformation", "")
	if n := len(logins.doc["value"].([]any)); n != 2 || logins.at("value.0.port") == nil || logins.at("value.0.ipAddress") == nil {
		t.Errorf("logins: %s", logins.body)
	}
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(0), withShare))
	s.until("GET "+workspace+"/clusters/c", "properties.currentNodeCount", is(0.0))
	s.must(202, "DELETE "+workspace+"/clusters/c", "")
	if a := s.do("GET "+workspace+"/clusters/c", ""); a.status != 404 {
		t.Errorf("deleted: %s", a.body)
	}
	if a := s.do("DELETE "+workspace+"/clusters/c", ""); a.status != 204 {
		t.Errorf("deleted twice: %d", a.status)
	}
}

// Ensure that what can't be is refused with a word for it, and changes nothing.
func TestClusterRefusals(t *testing.T) {
	s := newService(t, func(c *batchai.Config) { c.Clusters = 1 })
	const c = workspace + "/clusters/c"
	share := func(change ...string) string { return strings.NewReplacer(change...).Replace(withShare) }
	setup := func(more string) string {
		return `"nodeSetup":{"setupTask":{"commandLine":"true","stdOutErrPathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/x"` + more + `}}`
	}
	for _, tt := range []struct {
		name, body    string
		status        int
		code, message string
	}{
		{"UnknownSize", strings.Replace(cluster(manual(0)), "STANDARD_D1", "Standard_F4s", 1), 400, "InvalidPropertyValue",
			"The specified value Standard_F4s for property Cluster.Properties.VMSize is not a supported VM size. See additional details for supported VM sizes."},
		{"MinAboveMax", cluster(`{"autoScale":{"minimumNodeCount":3,"maximumNodeCount":2}}`), 400, "InvalidPropertyValue", "MinimumNodeCount is greater than"},
		{"InitialAboveMax", cluster(`{"autoScale":{"minimumNodeCount":0,"maximumNodeCount":2,"initialNodeCount":3}}`), 400, "InvalidPropertyValue", "InitialNodeCount"},
		{"Negative", cluster(manual(-1)), 400, "InvalidParameter", "targetNodeCount"},
		{"BothScales", cluster(`{"manual":{"targetNodeCount":1},"autoScale":{"minimumNodeCount":0,"maximumNodeCount":2}}`), 400, "InvalidPropertyValue", "only one of"},
		{"Deallocation", cluster(`{"manual":{"targetNodeCount":1,"nodeDeallocationOption":"burn"}}`), 400, "InvalidParameter", "burn"},
		{"NoUser", `{"properties":{"vmSize":"STANDARD_D1"}}`, 400, "InvalidParameter", "userAccountSettings"},
		{"NoPassword", strings.Replace(cluster(manual(0)), `,"adminUserPassword":"`+password+`"`, "", 1), 400, "MissingRequiredProperty", "AdminUserPassword"},
		{"Root", strings.Replace(cluster(manual(0)), `"me"`, `"root"`, 1), 400, "InvalidPropertyValue", "AdminUserName"},
		{"MountEscapes", cluster(manual(0), share(`"afs"`, `"../afs"`)), 400, "InvalidPropertyValue", "AzureFileShares[0].RelativeMountPath"},
		{"MountTwice", cluster(manual(0), share(`"bfs"`, `"afs"`)), 400, "InvalidPropertyValue", "taken by another volume"},
		{"MountNested", cluster(manual(0), share(`"bfs"`, `"afs/x"`)), 400, "InvalidPropertyValue", "taken by another volume"},
		{"ShareURL", cluster(manual(0), share("https://acct.file", "https://other.file")), 400, "InvalidPropertyValue", "AzureFileUrl"},
		{"NoKey", cluster(manual(0), share(`{"accountKey":"`+key+`"}`, `{}`)), 400, "MissingRequiredProperty", "AccountKey"},
		{"Vault", cluster(manual(0), share(`{"accountKey":"`+key+`"}`, `{"accountKeySecretReference":{"sourceVault":{"id":"x"},"secretUrl":"https://v.vault.azure.net/secrets/s"}}`)), 400, "KeyVaultSecretNotAccessible", ""},
		{"FileServer", cluster(manual(0), `"nodeSetup":{"mountVolumes":{"fileServers":[{"fileServer":{"id":"`+workspace+`/fileServers/none"},"relativeMountPath":"nfs"}]}}`), 404, "FileServerNotFound", "The specified file server none is not found"},
		{"SetupOutput", cluster(manual(0), strings.Replace(setup(""), "$AZ_BATCHAI_MOUNT_ROOT/x", "/etc", 1)), 400, "InvalidPropertyValue", "StdOutErrPathPrefix"},
		{"SetupEscapes", cluster(manual(0), strings.Replace(setup(""), "ROOT/x", "ROOT/../x", 1)), 400, "InvalidPropertyValue", "StdOutErrPathPrefix"},
		{"SecretWithoutValue", cluster(manual(0), setup(`,"secrets":[{"name":"S"}]`)), 400, "MissingRequiredProperty", "SetupTask.Secrets[0].Value"},
		{"CustomImage", cluster(manual(0), `"virtualMachineConfiguration":{"imageReference":{"publisher":"p","offer":"o","sku":"s","virtualMachineImageId":"/x"}}`), 400, "InvalidPropertyValue", "VirtualMachineImageId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.T = t
			a := s.do("PUT "+c, tt.body)
			message, _ := a.at("error.message").(string)
			if a.status != tt.status || a.at("error.code") != tt.code || !strings.Contains(message, tt.message) {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if strings.Contains(a.body, key) || strings.Contains(a.body, password) {
				t.Errorf("a secret: %s", a.body)
			}
			if a := s.do("GET "+c, ""); a.status != 404 {
				t.Errorf("it is there: %s", a.body)
			}
		})
	}
	s.T = t
	if a := s.do("PUT "+c, strings.Replace(cluster(manual(0)), "STANDARD_D1", "x", 1)); a.at("error.details.0.code") != "SupportedVMSizes" || !strings.Contains(a.body, "STANDARD_NC6,") {
		t.Errorf("no sizes: %s", a.body)
	}
	s.must(202, "PUT "+c, cluster(manual(0)))
	if a := s.do("PUT "+workspace+"/clusters/d", cluster(manual(0))); a.status != 409 || a.at("error.code") != "ClusterQuotaReached" ||
		a.at("error.message") != "Operation results in exceeding quota limits of Microsoft.BatchAI/clusters. Maximum allowed: 1, Current in use: 1. Please contact support to increase the quota for resource type Microsoft.BatchAI/clusters" {
		t.Errorf("over quota: %d %s", a.status, a.body)
	}
	for name, body := range map[string]string{"size": strings.Replace(cluster(manual(0)), "STANDARD_D1", "STANDARD_D2", 1), "user": strings.Replace(cluster(manual(0)), `"me"`, `"you"`, 1)} {
		if a := s.do("PUT "+c, body); a.status != 409 || a.at("error.code") != "ClusterAlreadyExists" {
			t.Errorf("another %s: %d %s", name, a.status, a.body)
		}
	}
	if a := s.do("PATCH "+c, `{"properties":{"scaleSettings":{"autoScale":{"minimumNodeCount":3,"maximumNodeCount":2}}}}`); a.status != 400 {
		t.Errorf("PATCH: %s", a.body)
	}
	if a := s.do("PUT "+workspace+"/clusters/a.b", cluster(manual(0))); a.status != 400 {
		t.Errorf("name: %s", a.body)
	}
}

// Ensure that a cluster gets no more cores than its family and the region have, and says so.
func TestCoreQuota(t *testing.T) {
	s := newService(t, func(c *batchai.Config) {
		c.Quota = func(family string, low bool) int {
			if low {
				return 0
			}
			return map[string]int{"": 3, "standardDFamily": 2, "standardDv2Family": 9}[family]
		}
	})
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(3)))
	s.until("GET "+workspace+"/clusters/c", "properties.nodeStateCounts.idleNodeCount", is(2.0))
	a := s.until("GET "+workspace+"/clusters/c", "properties.errors.0.code", is("ClusterCoreQuotaReached"))
	if a.at("properties.currentNodeCount") != 2.0 || a.at("properties.errors.0.message") != "Operation results in exceeding quota limits of Core. Maximum allowed: 2, Current in use: 2, Additional requested: 1." {
		t.Error(a.body)
	}
	s.must(202, "PUT "+workspace+"/clusters/d", strings.Replace(cluster(manual(3)), "STANDARD_D1", "STANDARD_D1_V2", 1))
	s.until("GET "+workspace+"/clusters/d", "properties.nodeStateCounts.idleNodeCount", is(1.0))
	u := s.must(200, "GET "+sub+"/providers/Microsoft.BatchAI/locations/northeurope/usages", "")
	for i, want := range []string{`Clusters 2 20`, `Total Cluster Dedicated Regional vCPUs 3 3`, `Standard D Family Cluster Dedicated vCPUs 2 2`, `Standard Dv2 Family Cluster Dedicated vCPUs 1 9`} {
		row := u.doc["value"].([]any)[i].(map[string]any)
		got := strings.Join([]string{row["name"].(map[string]any)["value"].(string), number(row["currentValue"]), number(row["limit"])}, " ")
		if got != want {
			t.Errorf("usage %d: %s, want %s", i, got, want)
		}
	}
}

// Ensure that a volume that can't be mounted makes nodes unusable, with the reason, and that target 0 and back mends them.
func TestWrongMount(t *testing.T) {
	s := newService(t)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(1), strings.Replace(withShare, key, "d3Jvbmc=", 1)))
	a := s.until("GET "+workspace+"/clusters/c", "properties.nodeStateCounts.unusableNodeCount", is(1.0))
	if code := a.at("properties.errors.0.code"); code != "AZFMountError" {
		t.Errorf("code: %s", a.body)
	}
	if text, _ := a.at("properties.errors.0.details.0.value").(string); !strings.Contains(text, "authenticate") {
		t.Errorf("reason: %s", a.body)
	}
}

// Ensure that a setup task runs on each node before its first job, with its variables and volumes, and that its output is where it says.
func TestSetupTask(t *testing.T) {
	s := newService(t)
	setup := strings.Replace(withShare, `"nodeSetup":{`, `"nodeSetup":{"setupTask":{"commandLine":"echo $PLAIN $HUSH; echo err >&2; echo $AZ_BATCH_NODE_ID >> $AZ_BATCHAI_MOUNT_ROOT/bfs/nodes",
		"environmentVariables":[{"name":"PLAIN","value":"a"}],"secrets":[{"name":"HUSH","value":"not-for-the-wire"}],"stdOutErrPathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs"},`, 1)
	s.must(202, "PUT "+workspace+"/clusters/c", cluster(manual(2), setup))
	a := s.until("GET "+workspace+"/clusters/c", "properties.nodeStateCounts.idleNodeCount", is(2.0))
	suffix, _ := a.at("properties.nodeSetup.setupTask.stdOutErrPathSuffix").(string)
	if suffix == "" || strings.Contains(a.body, "not-for-the-wire") || a.at("properties.nodeSetup.setupTask.secrets.0.name") != "HUSH" {
		t.Fatalf("cluster: %s", a.body)
	}
	nodes, err := os.ReadFile(filepath.Join(s.dir, "storage", "box", "nodes"))
	names := strings.Fields(string(nodes))
	if err != nil || len(names) != 2 {
		t.Fatalf("%q %v", nodes, err)
	}
	for _, n := range names {
		for file, want := range map[string]string{"stdout-": "a not-for-the-wire\n", "stderr-": "err\n"} {
			if got, err := os.ReadFile(filepath.Join(s.dir, "storage", "share", suffix, file+n+".txt")); err != nil || string(got) != want {
				t.Errorf("%s%s: %q %v", file, n, got, err)
			}
		}
	}
	// One that fails leaves its node unusable, and says so with its exit code.
	s.must(202, "PUT "+workspace+"/clusters/d", cluster(manual(1), strings.Replace(setup, `"commandLine":"`, `"commandLine":"exit 5; `, 1)))
	a = s.until("GET "+workspace+"/clusters/d", "properties.nodeStateCounts.unusableNodeCount", is(1.0))
	if a.at("properties.errors.0.code") != "NodeSetupFailed" || a.at("properties.errors.0.details.1.value") != "5" {
		t.Errorf("failed setup: %s", a.body)
	}
}
