package arm_test

import (
	"strings"
	"testing"
)

const subDepl = "{SUB}/providers/Microsoft.Resources/deployments/"

// subBody is a PUT body of a deployment of the subscription.
func subBody(members string) string {
	return strings.Replace(deploymentBody(members), `{"properties"`, `{"location":"westus","properties"`, 1)
}

const groupResource = `{"type":"Microsoft.Resources/resourceGroups","name":"made","apiVersion":"2018-05-01","location":"eastus2","properties":{}}`

// Ensure that a subscription's deployment makes groups, and what a nested one puts into them.
func TestSubscriptionDeployment(t *testing.T) {
	r := newRig(t)
	inner := `{"mode":"Incremental","template":{` + schemaURI + `,"resources":[{"type":"Microsoft.Things/plain","name":"deep","apiVersion":"2018-05-01","location":"eastus2"}]}}`
	a := r.must(201, "PUT "+subDepl+"top", subBody(`"resources":[`+groupResource+`,
		{"type":"Microsoft.Resources/deployments","name":"into","apiVersion":"2018-05-01","resourceGroup":"made","dependsOn":["[resourceId('Microsoft.Resources/resourceGroups', 'made')]"],"properties":`+inner+`}],
		"outputs":{"group":{"type":"string","value":"[resourceId('Microsoft.Resources/resourceGroups', 'made')]"}}`))
	async := a.header.Get("Azure-AsyncOperation")
	if !strings.HasPrefix(async, host+"/subscriptions/"+sub+"/providers/Microsoft.Resources/deployments/top/operationStatuses/") || a.get("location") != "westus" {
		t.Errorf("%s: %s", async, a.body)
	}
	if d := r.done(async); d.get("status") != "Succeeded" {
		t.Fatal(d.body)
	}
	if a := r.must(200, "GET "+subDepl+"top", ""); a.get("properties.outputs.group.value") != "/subscriptions/"+sub+"/resourceGroups/made" {
		t.Error(a.body)
	}
	r.must(200, "GET {SUB}/resourceGroups/made/providers/Microsoft.Things/plain/deep", "")
	// A list of the subscription's has its own alone.
	if got := r.pages("GET " + strings.TrimSuffix(subDepl, "/")); strings.Join(got, " ") != "top" {
		t.Error(got)
	}
	if ops := r.must(200, "GET "+subDepl+"top/operations", ""); len(ops.json["value"].([]any)) != 2 {
		t.Error(ops.body)
	}
	// A deployment of a group makes one of the subscription by naming that and no group.
	r.group()
	r.deploy("outer", deploymentBody(`"resources":[{"type":"Microsoft.Resources/deployments","name":"up","apiVersion":"2018-05-01","location":"westus","subscriptionId":"`+sub+`",
		"properties":{"mode":"Incremental","template":{`+schemaURI+`,"resources":[`+strings.Replace(groupResource, "made", "second", 1)+`]}}}]`))
	r.must(200, "GET {SUB}/resourceGroups/second", "")
	if got := r.pages("GET " + strings.TrimSuffix(subDepl, "/")); strings.Join(got, " ") != "top up" {
		t.Error(got)
	}
	r.must(200, "POST "+subDepl+"none/validate", subBody(`"resources":[`+groupResource+`]`))
	a = r.must(202, "DELETE "+subDepl+"top", "")
	r.until("it is gone", func() bool { return r.poll(a.header.Get("Location")).status == 204 })
	r.must(404, "GET "+subDepl+"top", "")
	// SDK 1.x joins host and path by two slashes.
	r.must(200, "GET /{SUB}/resourceGroups/made", "")
}

func TestSubscriptionDeploymentRefusals(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ name, body, code, message string }{
		{"NoLocation", deploymentBody(`"resources":[]`), "LocationRequired", "location"},
		{"Complete", strings.Replace(subBody(`"resources":[]`), "Incremental", "Complete", 1), "InvalidDeployment", "must be 'Incremental'"},
		{"ResourceGroup", subBody(`"resources":[{"type":"Microsoft.Resources/resourceGroups","name":"[resourceGroup().name]","apiVersion":"2018-05-01","location":"eastus2"}]`), "InvalidTemplate", "'resourceGroup' is not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := r.must(400, "PUT "+subDepl+"d", tt.body)
			if a.get("error.code") != tt.code || !strings.Contains(a.body, tt.message) {
				t.Error(a.body)
			}
		})
	}
	r.must(404, "GET "+subDepl+"d", "")
	// What lives in groups can't be put beside them.
	a := r.must(201, "PUT "+subDepl+"d", subBody(`"resources":[{"type":"Microsoft.Things/plain","name":"x","apiVersion":"2018-05-01","location":"eastus2"}]`))
	if d := r.done(a.header.Get("Azure-AsyncOperation")); d.get("status") != "Failed" || !strings.Contains(d.body, "InvalidResourceType") {
		t.Error(d.body)
	}
}
