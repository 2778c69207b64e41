package arm_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
)

const schemaURI = `"$schema":"https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#","contentVersion":"1.0.0.0"`

// deploymentBody is a PUT body around a template's members.
func deploymentBody(members string, parameters ...string) string {
	p := "{}"
	if len(parameters) > 0 {
		p = parameters[0]
	}
	return `{"properties":{"mode":"Incremental","parameters":` + p + `,"template":{` + schemaURI + `,` + members + `}}}`
}

const depl = "{SUB}/resourcegroups/g/providers/Microsoft.Resources/deployments/"

func (r *rig) deploy(name, body string) answer {
	r.t.Helper()
	a := r.must(201, "PUT "+depl+name, body)
	d := r.done(a.header.Get("Azure-AsyncOperation"))
	if d.get("status") != "Succeeded" {
		r.t.Fatalf("deployment: %s", d.body)
	}
	return r.must(200, "GET "+depl+name, "")
}

func TestDeployment(t *testing.T) {
	r := newRig(t)
	r.group()
	body := deploymentBody(`"parameters":{"size":{"type":"string","defaultValue":"small"},"pw":{"type":"securestring"}},
		"variables":{"name":"[concat('th','ing')]","vnet":"[variables('name')]"},
		"resources":[
		{"type":"Microsoft.Things/batch","name":"last","apiVersion":"2018-05-01","location":"[resourceGroup().location]","dependsOn":["Microsoft.Things/plain/THING","[resourceId('Microsoft.Things/compute', 'vm')]"]},
		{"type":"Microsoft.Things/plain","name":"[variables('vnet')]","apiVersion":"2018-05-01","location":"eastus2","dependsOn":[],"tags":{},"properties":{"size":"[parameters('size')]"},
			"resources":[{"type":"parts","name":"one","apiVersion":"2018-05-01","properties":{"of":"[reference('thing').size]"}}]},
		{"type":"Microsoft.Things/compute","name":"vm","apiVersion":"2018-05-01","location":"eastus2","properties":{"secret":"[parameters('pw')]"},"dependsOn":["thing"]},
		{"type":"Microsoft.Things/whole","name":"not","apiVersion":"2018-05-01","condition":"[equals(1,2)]"}],
		"outputs":{"id":{"type":"string","value":"[resourceId('Microsoft.Things/plain/parts', 'thing', 'one')]"},"secret":{"type":"securestring","value":"[parameters('pw')]"},
		"keys":{"type":"object","value":"[listKeys('vm','2018-05-01')]"}}`, `{"pw":{"value":"hunter2"},"size":{"value":"Large"}}`)
	r.hold("vm")
	a := r.must(201, "PUT "+depl+"My_Deploy", body)
	async := a.header.Get("Azure-AsyncOperation")
	if !strings.HasPrefix(async, host+"/subscriptions/"+sub+"/resourcegroups/g/providers/Microsoft.Resources/deployments/My_Deploy/operationStatuses/") || !strings.HasSuffix(async, "?api-version=2018-05-01") || a.header.Get("Retry-After") != "1" {
		t.Errorf("%v", a.header)
	}
	if a.get("properties.provisioningState") != "Accepted" || a.get("properties.mode") != "Incremental" || a.get("properties.parameters.size.value") != "Large" || a.get("properties.parameters.pw.type") != "SecureString" || a.get("type") != nil {
		t.Error(a.body)
	}
	if got, _ := json.Marshal(a.get("properties.providers")); string(got) != `[{"namespace":"Microsoft.Things","resourceTypes":[{"locations":["eastus2"],"resourceType":"batch"},{"locations":["eastus2"],"resourceType":"plain"},{"locations":[],"resourceType":"plain/parts"},{"locations":["eastus2"],"resourceType":"compute"},{"locations":[],"resourceType":"whole"}]}]` {
		t.Errorf("%s", got)
	}
	r.until("the machine is being made", func() bool { return r.things.count("vm") > 0 })
	if d := r.poll(async); d.body != `{"status":"Running"}` || d.header.Get("Retry-After") != "1" {
		t.Error(d.body)
	}
	if d := r.do("PUT "+depl+"my_deploy", body); d.status != 409 || d.get("error.code") != "DeploymentActive" {
		t.Error(d.body)
	}
	r.must(404, "GET {P}/batch/last", "")
	r.letGo("vm")
	if d := r.done(async); d.body != `{"status":"Succeeded"}` {
		t.Fatal(d.body)
	}
	a = r.must(200, "GET "+depl+"My_Deploy", "")
	if a.get("properties.provisioningState") != "Succeeded" || a.get("properties.outputs.id.value") != "/subscriptions/"+sub+"/resourceGroups/g/providers/Microsoft.Things/plain/thing/parts/one" ||
		a.get("properties.outputs.secret.value") != nil || a.get("properties.outputs.keys.value.keys.secret") != "hunter2" || len(a.get("properties.outputResources").([]any)) != 4 || a.get("properties.duration") != "PT1S" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/plain/thing/parts/one", ""); a.get("properties.of") != "Large" {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/whole/not", "")
	ops := r.must(200, "GET "+depl+"my_deploy/operations", "")
	if list := ops.json["value"].([]any); len(list) != 4 || ops.get("value.0.properties.provisioningState") != "Succeeded" || ops.get("value.0.properties.targetResource.resourceName") != "last" || ops.get("value.1.properties.statusCode") != "Created" {
		t.Error(ops.body)
	}
	if old := r.must(200, "GET {SUB}/resourcegroups/g/deployments/my_deploy/operations?$top=10", ""); old.body != ops.body {
		t.Error(old.body)
	}
	if one := r.must(200, "GET "+depl+"my_deploy/operations/"+ops.get("value.2.operationId").(string), ""); one.get("properties.targetResource.resourceType") != "Microsoft.Things/plain/parts" {
		t.Error(one.body)
	}
	r.must(404, "GET "+depl+"my_deploy/operations/none", "")
	if a := r.must(200, "POST "+depl+"my_deploy/exportTemplate", ""); a.get("template.variables.name") != "[concat('th','ing')]" {
		t.Error(a.body)
	}
	r.must(204, "HEAD "+depl+"my_deploy", "")
	if got := r.pages("GET " + strings.TrimSuffix(depl, "/")); strings.Join(got, " ") != "My_Deploy" {
		t.Error(got)
	}
	if a := r.do("POST "+depl+"my_deploy/cancel", ""); a.status != 409 {
		t.Error(a.body)
	}
	// Run again over what is there, in the other form of an answer.
	a = r.must(200, "PUT "+depl+"my_deploy", body)
	if d := r.done(a.header.Get("Azure-AsyncOperation")); d.get("status") != "Succeeded" {
		t.Error(d.body)
	}
	a = r.must(202, "DELETE "+depl+"my_deploy", "")
	r.until("it is gone", func() bool { return r.poll(a.header.Get("Location")).status == 204 })
	if a := r.must(404, "GET "+depl+"my_deploy", ""); a.get("error.code") != "DeploymentNotFound" || a.get("error.message") != "Deployment 'my_deploy' could not be found." {
		t.Error(a.body)
	}
	r.must(200, "GET {P}/plain/thing", "")
}

func TestDeploymentFails(t *testing.T) {
	r := newRig(t)
	r.group()
	r.things.set(func() { r.things.fail["bad"] = arm.Errorf(400, "QuotaExceeded", "Too many cores.") })
	a := r.must(201, "PUT "+depl+"d", deploymentBody(`"resources":[
		{"type":"Microsoft.Things/batch","name":"bad","apiVersion":"2018-05-01","location":"eastus2"},
		{"type":"Microsoft.Things/plain","name":"wrong","apiVersion":"2018-05-01","location":"eastus2","properties":{"size":"Tiny"}},
		{"type":"Microsoft.Nope/x","name":"none","apiVersion":"2018-05-01","location":"eastus2"},
		{"type":"Microsoft.Things/plain","name":"never","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["bad"]}]`))
	d := r.done(a.header.Get("Azure-AsyncOperation"))
	if d.get("status") != "Failed" || d.get("error.code") != "DeploymentFailed" || d.get("error.message") != "At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-debug for usage details." {
		t.Fatal(d.body)
	}
	for i, want := range []struct{ code, message string }{{"Conflict", "QuotaExceeded"}, {"BadRequest", `{"error":{"code":"InvalidParameter"`}, {"NotFound", "InvalidResourceNamespace"}} {
		e := d.get("error.details." + string(rune('0'+i)))
		if m := e.(map[string]any); m["code"] != want.code || !strings.Contains(m["message"].(string), want.message) {
			t.Errorf("detail %d: %v", i, m)
		}
	}
	if a := r.must(200, "GET "+depl+"d", ""); a.get("properties.provisioningState") != "Failed" || a.get("properties.error.code") != "DeploymentFailed" {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/plain/never", "")
	if a := r.must(200, "GET "+depl+"?$filter=provisioningState%20eq%20'Failed'", ""); a.get("value.0.name") != "d" {
		t.Error(a.body)
	}
	ops := r.must(200, "GET "+depl+"d/operations", "")
	if ops.get("value.1.properties.statusMessage.error.code") != "InvalidParameter" || ops.get("value.1.properties.statusCode") != "BadRequest" || ops.get("value.0.properties.statusMessage.error.code") != "ResourceDeploymentFailure" {
		t.Error(ops.body)
	}
}

func TestDeploymentCancel(t *testing.T) {
	r := newRig(t)
	r.group()
	r.hold("x")
	a := r.must(201, "PUT "+depl+"d", deploymentBody(`"resources":[{"type":"Microsoft.Things/batch","name":"x","apiVersion":"2018-05-01","location":"eastus2"},
		{"type":"Microsoft.Things/plain","name":"next","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["x"]}]`))
	r.until("it runs", func() bool { return r.things.count("x") > 0 })
	r.must(204, "POST "+depl+"d/cancel", "")
	r.letGo("x")
	if d := r.done(a.header.Get("Azure-AsyncOperation")); d.get("status") != "Canceled" {
		t.Error(d.body)
	}
	if a := r.must(200, "GET "+depl+"d", ""); a.get("properties.provisioningState") != "Canceled" {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/plain/next", "")
}

func TestDeploymentComplete(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/plain/old", plainBody)
	r.must(201, "PUT {P}/waiting/slow", locBody)
	r.deploy("d", strings.Replace(deploymentBody(`"resources":[{"type":"Microsoft.Things/plain","name":"new","apiVersion":"2018-05-01","location":"eastus2"}]`), "Incremental", "Complete", 1))
	if got := r.pages("GET {G}/resources"); strings.Join(got, " ") != "new" {
		t.Error(got)
	}
}

// Ensure that a deployment inside a deployment goes the same way.
func TestDeploymentNested(t *testing.T) {
	r := newRig(t)
	r.group()
	inner := `{"mode":"Incremental","template":{` + schemaURI + `,"resources":[{"type":"Microsoft.Things/plain","name":"deep","apiVersion":"2018-05-01","location":"eastus2"}]}}`
	r.deploy("outer", deploymentBody(`"resources":[{"type":"Microsoft.Resources/deployments","name":"inner","apiVersion":"2018-05-01","properties":`+inner+`}]`))
	r.must(200, "GET {P}/plain/deep", "")
	if a := r.must(200, "GET "+depl+"inner", ""); a.get("properties.provisioningState") != "Succeeded" {
		t.Error(a.body)
	}
}

func TestDeploymentValidate(t *testing.T) {
	r := newRig(t)
	r.group()
	res := `"resources":[{"type":"Microsoft.Things/plain","name":"x","apiVersion":"2018-05-01","location":"eastus2"}]`
	if a := r.must(200, "POST "+depl+"d/validate", deploymentBody(res)); a.get("properties.provisioningState") != "Succeeded" {
		t.Error(a.body)
	}
	r.must(404, "GET "+depl+"d", "")
	r.must(404, "GET {P}/plain/x", "")
	if a := r.must(400, "POST "+depl+"d/validate", deploymentBody(strings.Replace(res, "2018-05-01", "2011-01-01", 1))); a.get("error.code") != "NoRegisteredProviderFound" {
		t.Error(a.body)
	}
}

func TestTemplateErrors(t *testing.T) {
	r := newRig(t)
	r.group()
	one := func(members string) string {
		return deploymentBody(`"resources":[{"type":"Microsoft.Things/plain","name":"x","apiVersion":"2018-05-01","location":"eastus2",` + members + `}]`)
	}
	for _, tt := range []struct{ name, body, code, message string }{
		{"NoProperties", `{}`, "InvalidRequestContent", "Required property 'properties' not found in JSON."},
		{"NoMode", `{"properties":{"template":{}}}`, "InvalidRequestContent", "Required property 'mode'"},
		{"Mode", `{"properties":{"mode":"Odd","template":{}}}`, "InvalidRequestContent", "Error converting value \"Odd\" to type 'DeploymentMode'"},
		{"NoTemplate", `{"properties":{"mode":"Incremental"}}`, "InvalidRequestContent", "Required property 'template'"},
		{"Link", `{"properties":{"mode":"Incremental","templateLink":{"uri":"https://x/y"}}}`, "InvalidContentLink", "https://x/y"},
		{"NoSchema", `{"properties":{"mode":"Incremental","template":{"resources":[]}}}`, "InvalidTemplate", "Required property '$schema'"},
		{"NoResources", deploymentBody(`"variables":{}`), "InvalidTemplate", "Required property 'resources'"},
		{"Member", deploymentBody(`"resources":[],"resorces":[]`), "InvalidTemplate", "Could not find member 'resorces'"},
		{"Function", one(`"properties":{"a":"[frobnicate('x')]"}`), "InvalidTemplate", "The template function 'frobnicate' is not valid."},
		{"CopyIndex", one(`"properties":{"a":"[copyIndex()]"}`), "InvalidTemplate", "The function can only be used in a resource with copy specified"},
		{"CopyIndexOfAnother", one(`"copy":{"name":"c","count":2},"properties":{"a":"[copyIndex('d')]"}`), "InvalidTemplate", "names the loop 'd', which it is not in"},
		{"CopySame", one(`"copy":{"name":"c","count":2}`), "InvalidTemplate", "is defined multiple times in a template."},
		{"CopyCount", one(`"copy":{"name":"c","count":801}`), "InvalidTemplate", "The 'count' of the template copy 'c' must be an integer from 0 to 800"},
		{"CopyMode", one(`"copy":{"name":"c","count":1,"mode":"Odd"}`), "InvalidTemplate", "must be 'Parallel' or 'Serial'"},
		{"CopyName", one(`"copy":{"count":1}`), "InvalidTemplate", "has no 'name'"},
		{"CopyOfAVariable", deploymentBody(`"variables":{"copy":[{"name":"v","count":"two","input":"x"}]},"resources":[{"type":"A.B/c","name":"[variables('v')[0]]","apiVersion":"2018-05-01"}]`), "InvalidTemplate", "the 'count' of the template copy 'v'"},
		{"Syntax", one(`"properties":{"a":"[concat('x']"}`), "InvalidTemplate", "The language expression 'concat('x'' is not valid"},
		{"Variable", one(`"properties":{"a":"[variables('v')]"}`), "InvalidTemplate", "The template variable 'v' is not found."},
		{"Parameter", one(`"properties":{"a":"[parameters('p')]"}`), "InvalidTemplate", "The template parameter 'p' is not found."},
		{"ParameterMissing", deploymentBody(`"parameters":{"p":{"type":"int"}},"resources":[]`), "InvalidTemplate", "The value for the template parameter 'p' at line '1' and column '1' is not provided."},
		{"ParameterUnknown", deploymentBody(`"parameters":{"p":{"type":"int"}},"resources":[]`, `{"q":{"value":1}}`), "InvalidTemplate", "The template parameters 'q' in the parameters file are not valid"},
		{"ParameterType", deploymentBody(`"parameters":{"p":{"type":"int"}},"resources":[]`, `{"p":{"value":"x"}}`), "InvalidTemplate", "Expected 'Integer'. Actual 'String'."},
		{"ParameterAllowed", deploymentBody(`"parameters":{"p":{"type":"string","allowedValues":["a"]}},"resources":[]`, `{"p":{"value":"x"}}`), "InvalidTemplate", "The parameter value is not part of the allowed value(s): 'a'"},
		{"ParameterKind", deploymentBody(`"parameters":{"p":{"type":"float"}},"resources":[]`), "InvalidTemplate", "'float' is not supported"},
		{"KeyVault", deploymentBody(`"parameters":{"p":{"type":"string"}},"resources":[]`, `{"p":{"reference":{"secretName":"x"}}}`), "InvalidTemplate", "key vault"},
		{"Depends", one(`"dependsOn":["other"]`), "InvalidTemplate", "The resource 'other' is not defined in the template."},
		{"Cycle", one(`"dependsOn":["x"]`), "InvalidTemplate", "Circular dependency detected on resource: '/subscriptions/" + sub + "/resourceGroups/g/providers/Microsoft.Things/plain/x'."},
		{"Twice", deploymentBody(`"resources":[{"type":"A.B/c","name":"x","apiVersion":"2018-05-01"},{"type":"a.b/C","name":"X","apiVersion":"2018-05-01"}]`), "InvalidTemplate", "is defined multiple times in a template."},
		{"Segments", deploymentBody(`"resources":[{"type":"A.B/c/d","name":"x","apiVersion":"2018-05-01"}]`), "InvalidTemplate", "incorrect segment lengths"},
		{"NoVersion", deploymentBody(`"resources":[{"type":"A.B/c","name":"x"}]`), "InvalidTemplate", "the 'apiVersion' property is required"},
		{"Self", deploymentBody(`"variables":{"a":"[variables('b')]","b":"[variables('a')]"},"resources":[{"type":"A.B/c","name":"[variables('a')]","apiVersion":"2018-05-01"}]`), "InvalidTemplate", "refers to itself"},
		{"ReferenceInName", deploymentBody(`"resources":[{"type":"A.B/c","name":"[reference('y').z]","apiVersion":"2018-05-01"}]`), "InvalidTemplate", "'reference' is not expected at this location"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := r.do("PUT "+depl+"d", tt.body)
			msg, _ := a.get("error.message").(string)
			if a.status != 400 || a.get("error.code") != tt.code || !strings.Contains(msg, tt.message) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if tt.code == "InvalidTemplate" && !strings.HasPrefix(msg, "Deployment template validation failed: '") {
				t.Error(msg)
			}
		})
	}
	r.must(404, "GET "+depl+"d", "")
	if a := r.do("PUT "+depl+"d", deploymentBody(`"resources":[{"type":"Microsoft.Shy/ones","name":"x","apiVersion":"2018-05-01","location":"eastus2"}]`)); a.status != 409 || a.get("error.code") != "MissingSubscriptionRegistration" {
		t.Error(a.body)
	}
	if a := r.do("PUT "+depl+strings.Repeat("x", 65), one(`"tags":{}`)); a.get("error.code") != "InvalidDeploymentName" {
		t.Error(a.body)
	}
}

// Ensure that each function of the language gives what its documentation says.
func TestFunctions(t *testing.T) {
	r := newRig(t)
	r.group()
	rows := []struct{ expr, want string }{
		{"concat('a', 1, true())", `"a1True"`}, {"concat(createArray(1), createArray('b'))", `[1,"b"]`},
		{"toLower('AbC')", `"abc"`}, {"TOUPPER('AbC')", `"ABC"`}, {"trim(' x ')", `"x"`}, {"'it''s'", `"it's"`},
		{"resourceGroup().location", `"eastus2"`}, {"resourceGroup()['name']", `"g"`}, {"subscription().subscriptionId", `"` + sub + `"`}, {"subscription().tenantId", `"` + tenant + `"`},
		{"deployment().name", `"f"`},
		{"resourceId('A.B/c','x')", `"/subscriptions/` + sub + `/resourceGroups/g/providers/A.B/c/x"`},
		{"resourceId('other','A.B/c/d','x','y')", `"/subscriptions/` + sub + `/resourceGroups/other/providers/A.B/c/x/d/y"`},
		{"resourceId('s2','other','A.B/c','x')", `"/subscriptions/s2/resourceGroups/other/providers/A.B/c/x"`},
		{"length(uniqueString('a'))", `13`}, {"equals(uniqueString('a','b'), uniqueString('a','b'))", `true`}, {"equals(uniqueString('ab'), uniqueString('a','b'))", `false`}, {"length(guid('x'))", `36`},
		{"string(1)", `"1"`}, {"string(createArray(1,'a'))", `"[1,\"a\"]"`}, {"int('42')", `42`}, {"bool('true')", `true`}, {"bool(0)", `false`},
		{"if(equals('a','a'), 'y', div(1,0))", `"y"`}, {"and(true(), false())", `false`}, {"or(false(), true())", `true`}, {"not(bool(1))", `false`}, {"equals(json('{\"a\":1}'), json('{\"a\":1}'))", `true`},
		{"empty('')", `true`}, {"empty(createArray(1))", `false`}, {"length('abcd')", `4`}, {"first('abc')", `"a"`}, {"last(createArray(1,2))", `2`},
		{"split('a,b;c', createArray(',',';'))", `["a","b","c"]`}, {"split('a.b','.')[1]", `"b"`}, {"substring('abcdef',1,2)", `"bc"`}, {"substring('abc',1)", `"bc"`}, {"replace('aXbX','X','-')", `"a-b-"`},
		{"format('{0}-{1}-{{}}','a',2)", `"a-2-{}"`}, {"array('x')", `["x"]`}, {"coalesce(null(), 'x')", `"x"`}, {"contains('abc','b')", `true`}, {"contains(createArray(1,2),2)", `true`}, {"contains(resourceGroup(),'LOCATION')", `true`},
		{"add(2,3)", `5`}, {"sub(2,3)", `-1`}, {"mul(2,3)", `6`}, {"div(7,2)", `3`}, {"mod(7,2)", `1`}, {"add(-1, 1)", `0`},
		{"base64('abc')", `"YWJj"`}, {"base64ToString('YWJj')", `"abc"`}, {"uri('http://a/b/','c/d')", `"http://a/b/c/d"`}, {"uriComponent('a b/c')", `"a%20b%2Fc"`},
		{"take('abc',2)", `"ab"`}, {"skip(createArray(1,2,3),2)", `[3]`}, {"take(createArray(1),5)", `[1]`}, {"padLeft('7',3,'0')", `"007"`}, {"padLeft(7,2)", `" 7"`},
		{"startsWith('Abc','aB')", `true`}, {"endsWith('abc','x')", `false`}, {"indexOf('abc','c')", `2`}, {"json('[1,2]')[0]", `1`},
		{"union(createArray(1,2),createArray(2,3))", `[1,2,3]`}, {"union(json('{\"a\":1}'),json('{\"b\":2}'))", `{"a":1,"b":2}`}, {"min(3,1,2)", `1`}, {"max(createArray(3,1,2))", `3`},
		{"range(1,3)", `[1,2,3]`}, {"less(1,2)", `true`}, {"greaterOrEquals('b','a')", `true`},
	}
	outputs := []string{}
	for i, row := range rows {
		kind := map[byte]string{'"': "string", '[': "array", '{': "object", 't': "bool", 'f': "bool"}[row.want[0]]
		if kind == "" {
			kind = "int"
		}
		expr, _ := json.Marshal("[" + row.expr + "]")
		outputs = append(outputs, `"o`+string(rune('a'+i/26))+string(rune('a'+i%26))+`":{"type":"`+kind+`","value":`+string(expr)+`}`)
	}
	a := r.deploy("f", deploymentBody(`"resources":[],"outputs":{`+strings.Join(outputs, ",")+`}`))
	for i, row := range rows {
		got, _ := json.Marshal(a.get("properties.outputs.o" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".value"))
		if string(got) != row.want {
			t.Errorf("%s = %s, want %s", row.expr, got, row.want)
		}
	}
	for _, bad := range []string{"div(1,0)", "mod(1,0)", "substring('abc',2,5)", "int('x')", "json('{')", "createArray(1)[5]", "resourceGroup().nope", "concat(resourceGroup(),'x')", "format('{3}','a')", "resourceId('A.B/c','x','y')",
		"reference('none')", "not('maybe')", "first(1)", "padLeft('x',99999999)", "base64ToString('*')", "uri('nope','x')", "range(0,99999999)", "toLower(1)", "min()", "'a'[0]"} {
		expr, _ := json.Marshal("[" + bad + "]")
		a := r.do("PUT "+depl+"bad", deploymentBody(`"resources":[],"outputs":{"o":{"type":"string","value":`+string(expr)+`}}`))
		if a.status == 400 {
			continue
		}
		if d := r.done(a.header.Get("Azure-AsyncOperation")); d.get("status") != "Failed" || d.get("error.code") != "DeploymentOutputEvaluationFailed" {
			t.Errorf("%s: %s", bad, d.body)
		}
	}
}

// Ensure that a deployment goes on after a restart, wherever it was.
func TestDeploymentRestart(t *testing.T) {
	r := newRig(t)
	r.group()
	r.hold("one")
	r.hold("two")
	a := r.must(201, "PUT "+depl+"d", deploymentBody(`"parameters":{"pw":{"type":"securestring"}},"resources":[
		{"type":"Microsoft.Things/batch","name":"one","apiVersion":"2018-05-01","location":"eastus2"},
		{"type":"Microsoft.Things/waiting","name":"two","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["one"],"properties":{"secret":"[parameters('pw')]"}},
		{"type":"Microsoft.Things/plain","name":"three","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["two"]}]`, `{"pw":{"value":"hunter2"}}`))
	async := a.header.Get("Azure-AsyncOperation")
	r.until("one is being made", func() bool { return r.things.count("one") > 0 })
	r.reopen()
	if d := r.poll(async); d.body != `{"status":"Running"}` {
		t.Error(d.body)
	}
	r.letGo("one")
	r.until("two is being made", func() bool { return r.things.count("two") > 0 })
	r.reopen()
	r.letGo("two")
	if d := r.done(async); d.get("status") != "Succeeded" {
		t.Fatal(d.body)
	}
	r.must(200, "GET {P}/plain/three", "")
	if a := r.must(200, "GET "+depl+"d/operations", ""); len(a.json["value"].([]any)) != 3 {
		t.Error(a.body)
	}
	r.clock.Advance(time.Hour)
	r.reopen()
	if a := r.must(200, "GET "+depl+"d", ""); a.get("properties.provisioningState") != "Succeeded" {
		t.Error(a.body)
	}
}
