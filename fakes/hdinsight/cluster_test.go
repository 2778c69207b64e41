package hdinsight_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight"
)

func TestLifeOfACluster(t *testing.T) {
	s := newService(t, nil)
	c := clusters + "spark1"
	accepted := s.must(200, "PUT "+c, body("spark", "3"))
	for path, want := range map[string]any{
		"properties/provisioningState": "InProgress", "properties/clusterState": "Accepted", "properties/clusterVersion": "3.6.1000.67",
		"properties/clusterDefinition/componentVersion/spark": "2.3", "properties/quotaInfo/coresUsed": 20.0, "location": "East US",
		"properties/computeProfile/roles/1/osProfile/linuxOperatingSystemProfile/username": "sshuser",
	} {
		if got := at(accepted, path); got != want {
			t.Errorf("accepted: %s: %v, want %v", path, got, want)
		}
	}
	shown := s.must(200, "GET "+c, "")
	for path, want := range map[string]any{
		"properties/provisioningState": "Succeeded", "properties/clusterState": "Running", "properties/clusterHdpVersion": "2.6.5.3008-11",
		"properties/computeProfile/roles/2/name": "zookeepernode", "properties/connectivityEndpoints/0/location": "spark1-ssh.azurehdinsight.net",
		"properties/connectivityEndpoints/1/location": "spark1.azurehdinsight.net", "properties/storageProfile/storageaccounts/0/container": "cont",
	} {
		if got := at(shown, path); got != want {
			t.Errorf("shown: %s: %v, want %v", path, got, want)
		}
	}
	if text, _ := json.Marshal(shown); strings.Contains(string(text), secret) || strings.Contains(string(text), "a2V5") || strings.Contains(string(text), "$2a$") {
		t.Errorf("a secret is shown: %s", text)
	}
	// Each version of the provider has its own fields.
	for version, has := range map[string][3]bool{"2015-03-01-preview": {}, "2018-06-01-preview": {true, true, false}, "2021-06-01": {true, true, true}, "2025-01-15-preview": {true, true, true}} {
		p := at(s.must(200, "GET "+c+"?api-version="+version, ""), "properties").(map[string]any)
		for i, field := range []string{"clusterHdpVersion", "storageProfile", "clusterId"} {
			if _, there := p[field]; there != has[i] {
				t.Errorf("%s of version %s is there: %t", field, version, there)
			}
		}
	}
	s.must(202, "POST "+c+"/roles/workernode/resize", `{"targetInstanceCount":1}`)
	shown = s.must(200, "GET "+c, "")
	if got := fmt.Sprint(at(shown, "properties/computeProfile/roles/1/targetInstanceCount"), at(shown, "properties/quotaInfo/coresUsed")); got != "1 12" {
		t.Errorf("resized: %s", got)
	}
	if hosts := s.must(200, "POST "+c+"/listHosts?api-version=2021-06-01", ""); fmt.Sprint(hosts) != "[map[name:hn0-spark1] map[name:wn0-spark1]]" {
		t.Errorf("hosts: %v", hosts)
	}
	s.must(202, "POST "+c+"/restartHosts?api-version=2021-06-01", `["wn0-spark1"]`)
	s.must(200, "PATCH "+c, `{"tags":{"a":"b"}}`)
	if got := at(s.must(200, "GET "+c, ""), "tags/a"); got != "b" {
		t.Errorf("tag: %v", got)
	}
	if usage := s.must(200, "GET "+locations+"usages", ""); at(usage, "value/0/currentValue") != 12.0 {
		t.Errorf("usage: %v", usage)
	}
	for _, list := range []string{group, "/subscriptions/" + subscription} {
		if all := s.must(200, "GET "+list+"/providers/Microsoft.HDInsight/clusters", ""); at(all, "value/0/name") != "spark1" {
			t.Errorf("list: %v", all)
		}
	}
	s.must(202, "DELETE "+c, "")
	if status, _, out := s.do("GET "+c, ""); status != 404 {
		t.Errorf("deleted: %d %v", status, out)
	}
	s.must(204, "DELETE "+c, "")
}

func TestRefusedClusters(t *testing.T) {
	s := newService(t, func(c *hdinsight.Config) {
		c.Cores = 24
		c.Storage = func(_ context.Context, _, key, _ string) error {
			if key != "a2V5" {
				return arm.Errorf(400, "BadRequest", "the key is wrong")
			}
			return nil
		}
	})
	good := body("spark", "3")
	cut := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the body", old)
		}
		return strings.Replace(good, old, new, -1)
	}
	s.must(200, "PUT "+clusters+"taken", body("spark", "1"))
	for _, c := range []struct{ name, cluster, body, text string }{
		{"short name", "ab", good, "Cluster name 'ab' is invalid"},
		{"name with a dot", "a.b.c", good, "Cluster name 'a.b.c' is invalid"},
		{"long name", strings.Repeat("x", 60), good, "is invalid"},
		{"name that ends with a hyphen", "abc-", good, "is invalid"},
		{"unsupported version", "cl1", cut(`"default"`, `"3.4"`), "Version capability not available for version '3.4' and Subscription ID '" + subscription + "'."},
		{"unknown kind", "cl1", cut(`"kind":"spark"`, `"kind":"flink"`), "Cluster type 'flink' is not supported"},
		{"kind that the version lacks", "cl1", strings.Replace(cut(`"default"`, `"5.1"`), `"kind":"spark"`, `"kind":"storm"`, 1), "Cluster type 'storm'"},
		{"component version", "cl1", cut(`"kind":"spark",`, `"kind":"spark","componentVersion":{"Spark":"1.6"},`), "Component version '1.6' of 'Spark'"},
		{"Windows", "cl1", cut(`"Linux"`, `"Windows"`), "Windows"},
		{"weak cluster password", "cl1", cut(`"restAuthCredential.password":"`+secret+`"`, `"restAuthCredential.password":"simple"`), "The cluster login password does not meet the policy"},
		{"weak SSH password", "cl1", cut(`"username":"sshuser","password":"`+secret+`"`, `"username":"sshuser","password":"simple"`), "The SSH password does not meet the policy"},
		{"no gateway", "cl1", cut(`"restAuthCredential.isEnabled":"true"`, `"restAuthCredential.isEnabled":"false"`), "no gateway"},
		{"root", "cl1", cut(`"sshuser"`, `"root"`), "The SSH user name 'root' is invalid"},
		{"one name for both", "cl1", strings.ReplaceAll(cut(`"sshuser"`, `"hduser1"`), `"admin"`, `"hduser1"`), "must be different"},
		{"no login at all", "cl1", cut(`,"password":"`+secret+`"}}`, `}}`), "Either a password or an SSH public key"},
		{"unknown size", "cl1", cut(`"large"`, `"huge"`), "VM size 'huge' provided in the CSM document is invalid or not supported for role 'headnode'"},
		{"no workers", "cl1", body("spark", "0"), "must be at least 1"},
		{"no worker role", "cl1", cut(`"workernode"`, `"edgenode"`), "no role 'workernode'"},
		{"unknown role", "cl1", cut(`"workernode"`, `"tailnode"`), "The role 'tailnode' is not known"},
		{"autoscale", "cl1", cut(`"name":"workernode",`, `"name":"workernode","autoscale":{"capacity":{"minInstanceCount":1,"maxInstanceCount":3}},`), "Autoscale"},
		{"no storage", "cl1", cut(`[{"name":"store.blob.core.windows.net","isDefault":true,"container":"cont","key":"a2V5"}]`, `[]`), "must have one default storage account"},
		{"Data Lake storage", "cl1", cut(`store.blob.core`, `store.dfs.core`), "Data Lake Storage"},
		{"wrong key", "cl1", strings.Replace(body("spark", "1"), `"a2V5"`, `"bm8="`, 1), "the key is wrong"},
		{"enterprise security", "cl1", cut(`"osType"`, `"securityProfile":{"directoryType":"ActiveDirectory"},"osType"`), "Enterprise Security Package"},
		{"roles of a wrong type", "cl1", cut(`"targetInstanceCount":3`, `"targetInstanceCount":"many"`), "wrong type"},
		{"over quota", "cl1", good, "User SubscriptionId '" + subscription + "' does not have cores left to create resource 'cl1'. Required: 20, Available: 12."},
	} {
		status, _, out := s.do("PUT "+clusters+c.cluster, c.body)
		message, _ := at(out, "error/message").(string)
		if status != 400 || at(out, "error/code") != "BadRequest" || !strings.Contains(message, c.text) {
			t.Errorf("%s: %d %v, want %q", c.name, status, out, c.text)
		}
		if status, _, _ := s.do("GET "+clusters+c.cluster, ""); status != 404 {
			t.Errorf("%s: the cluster is there", c.name)
		}
	}
	other := strings.Replace(clusters, "/g/", "/h/", 1)
	s.do("PUT "+strings.Replace(group, "/g", "/h", 1)+"?api-version=2018-05-01", `{"location":"eastus"}`)
	if status, _, out := s.do("PUT "+other+"TAKEN", body("spark", "1")); status != 409 || at(out, "error/code") != "Conflict" {
		t.Errorf("a name that is taken: %d %v", status, out)
	}
	for _, c := range []struct {
		name, line, body string
		status           int
		text             string
	}{
		{"resize to nothing", "POST " + clusters + "taken/roles/workernode/resize", `{"targetInstanceCount":0}`, 400, "must be at least 1"},
		{"resize by a word", "POST " + clusters + "taken/roles/workernode/resize", `{"targetInstanceCount":"x"}`, 400, "not a number"},
		{"resize by nothing", "POST " + clusters + "taken/roles/workernode/resize", ``, 400, "missing"},
		{"resize of the head", "POST " + clusters + "taken/roles/headnode/resize", `{"targetInstanceCount":3}`, 400, "only 'workernode' can"},
		{"resize over quota", "POST " + clusters + "taken/roles/workernode/resize", `{"targetInstanceCount":9}`, 400, "Required: 32, Available: 12."},
		{"resize of what is not there", "POST " + clusters + "absent/roles/workernode/resize", `{"targetInstanceCount":3}`, 404, "absent"},
		{"autoscale", "POST " + clusters + "taken/roles/workernode/autoscale?api-version=2021-06-01", `{"autoscale":{"capacity":{"minInstanceCount":1,"maxInstanceCount":3}}}`, 400, "Autoscale is not available"},
		{"autoscale of a stranger", "POST " + clusters + "taken/roles/tailnode/autoscale?api-version=2021-06-01", `{}`, 400, "'tailnode'"},
		{"another key of disks", "POST " + clusters + "taken/rotatediskencryptionkey?api-version=2021-06-01", `{"vaultUri":"https://v.vault.azure.net","keyName":"k","keyVersion":"v"}`, 400, "customer-managed key is not enabled"},
		{"another size by PUT", "PUT " + clusters + "taken", good, 400, "can't be changed"},
		{"weak gateway password", "POST " + clusters + "taken/updateGatewaySettings", `{"restAuthCredential.isEnabled":true,"restAuthCredential.username":"admin","restAuthCredential.password":"x"}`, 400, "policy"},
		{"another configuration", "POST " + clusters + "taken/configurations/core-site", `{"a":"b"}`, 400, "only 'gateway' can"},
		{"no such configuration", "GET " + clusters + "taken/configurations/none", ``, 404, "'none'"},
		{"a script out of reach", "POST " + clusters + "taken/executeScriptActions", `{"persistOnSuccess":false,"scriptActions":[{"name":"s","uri":"` + scripts + `none.sh","roles":["headnode"]}]}`, 400, "Script Action location cannot be accessed Uri : " + scripts + "none.sh"},
		{"a script for nobody", "POST " + clusters + "taken/executeScriptActions", `{"persistOnSuccess":false,"scriptActions":[{"name":"s","uri":"` + scripts + `good.sh","roles":[]}]}`, 400, "has no roles"},
		{"a script for a stranger", "POST " + clusters + "taken/executeScriptActions", `{"persistOnSuccess":false,"scriptActions":[{"name":"s","uri":"` + scripts + `good.sh","roles":["tailnode"]}]}`, 400, "'tailnode'"},
		{"no such execution", "GET " + clusters + "taken/scriptExecutionHistory/1", ``, 404, "'1'"},
		{"no such extension", "GET " + clusters + "taken/extensions/none", ``, 404, "'none'"},
		{"monitoring of no workspace", "PUT " + clusters + "taken/extensions/clustermonitoring", `{"workspaceId":"x","primaryKey":"y"}`, 400, "workspaceId"},
		{"method of an extension", "POST " + clusters + "taken/extensions/clustermonitoring", `{}`, 405, "POST"},
		{"restart of a stranger", "POST " + clusters + "taken/restartHosts?api-version=2021-06-01", `["x"]`, 400, "'x'"},
		{"application of two nodes", "PUT " + clusters + "taken/applications/a", `{"properties":{"computeProfile":{"roles":[{"name":"edgenode","targetInstanceCount":2,"hardwareProfile":{"vmSize":"large"}}]}}}`, 400, "must be 1"},
		{"usage nowhere", "GET " + strings.Replace(locations, "eastus", "atlantis", 1) + "usages", ``, 404, "atlantis"},
	} {
		status, _, out := s.do(c.line, c.body)
		if message, _ := at(out, "error/message").(string); status != c.status || !strings.Contains(message, c.text) {
			t.Errorf("%s: %d %v, want %d %q", c.name, status, out, c.status, c.text)
		}
	}
	if shown := s.must(200, "GET "+clusters+"taken", ""); at(shown, "properties/quotaInfo/coresUsed") != 12.0 || at(shown, "properties/provisioningState") != "Succeeded" {
		t.Errorf("what was refused has changed the cluster: %v", shown)
	}
}

func TestSettingsAndExtensions(t *testing.T) {
	s := newService(t, nil)
	c := clusters + "set1"
	s.must(200, "PUT "+c, body("hadoop", "1"))
	const changed = "Changed-Horse8"
	s.must(202, "POST "+c+"/updateGatewaySettings", `{"restAuthCredential.isEnabled":true,"restAuthCredential.username":"boss","restAuthCredential.password":"`+changed+`"}`)
	if g := s.must(200, "POST "+c+"/getGatewaySettings", ""); at(g, "restAuthCredential.username") != "boss" || at(g, "restAuthCredential.password") != changed {
		t.Errorf("gateway: %v", g)
	}
	all := s.must(200, "POST "+c+"/configurations", "")
	if at(all, "configurations/core-site/fs.defaultFS") != "wasb://cont@store.blob.core.windows.net" || at(all, "configurations/gateway/restAuthCredential.isEnabled") != "true" {
		t.Errorf("configurations: %v", all)
	}
	m := c + "/extensions/clustermonitoring"
	off := s.must(200, "GET "+m, "")
	s.must(202, "PUT "+m, `{"workspaceId":"5796b4d6-d6a8-432b-b446-3d37c04e1f3d","primaryKey":"key"}`)
	on := s.must(200, "GET "+m, "")
	s.must(202, "DELETE "+m, "")
	if again := s.must(200, "GET "+m, ""); at(off, "clusterMonitoringEnabled") != false || at(on, "workspaceId") != "5796b4d6-d6a8-432b-b446-3d37c04e1f3d" || at(again, "clusterMonitoringEnabled") != false {
		t.Errorf("monitoring: %v, %v, %v", off, on, again)
	}
	if a := s.must(200, "POST "+locations+"checkNameAvailability?api-version=2021-06-01", `{"name":"set1","type":"clusters"}`); at(a, "nameAvailable") != false || at(a, "reason") != "AlreadyExists" {
		t.Errorf("name: %v", a)
	}
	if a := s.must(200, "POST "+locations+"validateCreateRequest?api-version=2021-06-01", strings.Replace(body("spark", "0"), `{"location"`, `{"name":"new1","type":"Microsoft.HDInsight/clusters","location"`, 1)); at(a, "validationErrors/0/code") != "BadRequest" {
		t.Errorf("validation: %v", a)
	}
	if a := s.must(200, "GET "+locations+"capabilities?api-version=2021-06-01", ""); at(a, "versions/iaas/available/0/friendlyName") != "3.6" {
		t.Errorf("capabilities: %v", a)
	}
	if a := s.must(200, "GET "+locations+"billingSpecs?api-version=2021-06-01", ""); at(a, "vmSizes/0") == nil {
		t.Errorf("billing: %v", a)
	}
	if a := s.must(200, "GET /providers/Microsoft.HDInsight/operations?api-version=2021-06-01", ""); at(a, "value/0/name") == nil {
		t.Errorf("operations: %v", a)
	}
}
