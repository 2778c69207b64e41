package aci_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"lazulite.dev/fakes/aci"
)

func TestLifeOfAGroup(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	code, header, doc := s.do("PUT "+groups+"web", one("Never", `echo one; echo two; echo "$K $S" >&2; exec sleep 600`,
		`,"environmentVariables":[{"name":"K","value":"v"},{"name":"S","secureValue":"hidden-secret"}]`))
	async := header.Get("Azure-AsyncOperation")
	if code != 201 || at(doc, "properties.provisioningState") != "Pending" || at(doc, "identity.type") != "None" || header.Get("Location") != "" || !strings.HasSuffix(async, "?api-version=2018-06-01") {
		t.Fatalf("PUT: %d %v %v", code, header, doc)
	}
	if end := s.follow(async); end != "Succeeded" {
		t.Fatalf("it ended %s", end)
	}
	_, _, doc = s.do("GET "+groups+"web", "")
	for path, want := range map[string]string{
		"properties.provisioningState": "Succeeded", view: "Running", first + "currentState.state": "Running", first + "restartCount": "0",
		"properties.instanceView.events": "[]", "properties.containers.0.properties.resources.requests.cpu": "0.5",
	} {
		if got := at(doc, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := events(doc); got != "Pulling x1, Pulled x1, Created x1, Started x1" {
		t.Errorf("events: %s", got)
	}
	s.until("its log", func() bool { return strings.Count(s.logs("web", "main"), "\n") == 3 })
	if got := s.logs("web", "main"); got != "one\ntwo\nv hidden-secret\n" {
		t.Errorf("log: %q", got)
	}
	if got := s.logs("web", "main", "tail=2"); got != "two\nv hidden-secret\n" {
		t.Errorf("tail: %q", got)
	}
	if got := s.logs("web", "main", "timestamps=true"); len(strings.Fields(got)) != 7 || !strings.Contains(strings.Fields(got)[0], "T") {
		t.Errorf("with times: %q", got)
	}
	for _, line := range []string{"GET " + groups + "web", "GET " + strings.TrimSuffix(groups, "/"), "GET " + async} {
		if _, _, doc := s.do(line, ""); strings.Contains(at(doc, "value")+at(doc, "properties"), "hidden-secret") {
			t.Errorf("%s shows a secret", line)
		}
	}
	if _, _, doc := s.do("GET "+sub+"/providers/Microsoft.ContainerInstance/containerGroups", ""); at(doc, "value.0.name") != "web" || at(doc, "value.0."+view) != "" {
		t.Errorf("list: %v", doc)
	}
	for _, c := range []struct{ action, state, container string }{
		{"stop", "Stopped", "Terminated"}, {"stop", "Stopped", "Terminated"}, {"start", "Running", "Running"}, {"start", "Running", "Running"}, {"restart", "Running", "Running"},
	} {
		if code, _, doc := s.do("POST "+groups+"web/"+c.action, ""); code != 204 {
			t.Errorf("%s: %d %v", c.action, code, doc)
		}
		s.until(c.action, func() bool {
			return s.show("web", view) == c.state && s.show("web", first+"currentState.state") == c.container
		})
	}
	if code, _, doc := s.do("PATCH "+groups+"web", `{"tags":{"a":"b"}}`); code != 200 || at(doc, "tags.a") != "b" {
		t.Errorf("PATCH: %d %v", code, doc)
	}
	if code, _, doc := s.do("DELETE "+groups+"web", ""); code != 200 || at(doc, "name") != "web" {
		t.Errorf("DELETE: %d %v", code, doc)
	}
	if code, _, _ := s.do("DELETE "+groups+"web", ""); code != 204 {
		t.Errorf("a second DELETE: %d", code)
	}
	if code, _, _ := s.do("GET "+groups+"web", ""); code != 404 {
		t.Errorf("GET after DELETE: %d", code)
	}
}

func TestRefusals(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	if end := s.create("there", strings.Replace(one("Never", "sleep 600", `,"ports":[{"port":18080}]`), `"properties":{`, `"properties":{"ipAddress":{"type":"Public","dnsNameLabel":"taken","ports":[{"port":18080}]},`, 1)); end != "Succeeded" {
		t.Fatal(end)
	}
	body := func(change ...string) string { return strings.NewReplacer(change...).Replace(one("Never", "true")) }
	const requests = `"requests":{"cpu":0.5,"memoryInGB":0.5}`
	ip := func(address, ports string) string {
		return body(`"osType"`, `"ipAddress":`+address+`,"osType"`, `"resources"`, `"ports":`+ports+`,"resources"`)
	}
	for _, c := range []struct {
		name, request, body string
		status              int
		code, message       string
	}{
		{"bad region", "PUT " + groups + "x", body("westus", "brazilsouth"), 400, "LocationNotAvailableForResourceType", "westus,eastus,westeurope,northeurope,westus2,southeastasia"},
		{"cpu over the limit", "PUT " + groups + "x", body(`"cpu":0.5`, `"cpu":5`), 409, "ServiceUnavailable", "Resource requested: '5' CPU '0.5' GB memory 'Linux' OS"},
		{"memory over the limit", "PUT " + groups + "x", body(`"memoryInGB":0.5`, `"memoryInGB":15`), 409, "ServiceUnavailable", "'15' GB memory"},
		{"no cpu", "PUT " + groups + "x", body(`"cpu":0.5,`, ``), 400, "ResourceSomeRequestsNotSpecified", "'Cpu'"},
		{"limit below request", "PUT " + groups + "x", body(requests, requests+`,"limits":{"cpu":0.2}`), 400, "ResourceLimitsLessThanRequests", "'Cpu' limit"},
		{"limit above the group", "PUT " + groups + "x", body(requests, requests+`,"limits":{"cpu":2}`), 400, "ContainerLimitGreaterThanContainerGroupTotalRequest", "'Cpu' limit '2.0' in container 'main' is greater than the total request '0.5'"},
		{"GPU", "PUT " + groups + "x", body(`"memoryInGB":0.5`, `"memoryInGB":0.5,"gpu":{"count":1,"sku":"K80"}`), 409, "ServiceUnavailable", "with GPU"},
		{"Windows", "PUT " + groups + "x", body("Linux", "Windows"), 400, "OperationNotSupported", "Windows"},
		{"OS", "PUT " + groups + "x", body("Linux", "Plan9"), 400, "InvalidParameter", "properties.osType"},
		{"policy", "PUT " + groups + "x", body("Never", "Sometimes"), 400, "InvalidParameter", "properties.restartPolicy"},
		{"no image", "PUT " + groups + "x", body(`"image":"lazulite/base",`, ``), 400, "InvalidParameter", "image"},
		{"container's name", "PUT " + groups + "x", body(`"main"`, `"Main_1"`), 400, "InvalidContainerName", "'Main_1'"},
		{"group's name", "PUT " + groups + "Big", body(), 400, "InvalidContainerGroupName", "'Big'"},
		{"two of a name", "PUT " + groups + "x", body(`}}}]`, `}}},`+item("main", "true")+`]`), 400, "DuplicateContainerNames", "'main'"},
		{"port clash", "PUT " + groups + "x", body(`"resources"`, `"ports":[{"port":80},{"port":80}],"resources"`), 400, "DuplicateContainerPorts", "'80'"},
		{"port 0", "PUT " + groups + "x", body(`"resources"`, `"ports":[{"port":0}],"resources"`), 400, "InvalidParameter", "port"},
		{"no ports", "PUT " + groups + "x", ip(`{"type":"Public","ports":[]}`, `[]`), 400, "MissingIpAddressPorts", ""},
		{"loose ports", "PUT " + groups + "x", ip(`{"type":"Public","ports":[{"port":81}]}`, `[{"port":80}]`), 400, "UnreferencedIpAddressPorts", "Following ports '81'"},
		{"label", "PUT " + groups + "x", ip(`{"type":"Public","ports":[{"port":80}],"dnsNameLabel":"x1"}`, `[{"port":80}]`), 400, "InvalidDnsNameLabel", "between 5 and 63"},
		{"label taken", "PUT " + groups + "x", ip(`{"type":"Public","ports":[{"port":80}],"dnsNameLabel":"taken"}`, `[{"port":80}]`), 400, "DnsNameLabelNotAvailable", "The DNS name label 'taken' in container group 'x' not available."},
		{"network profile", "PUT " + groups + "x", body(`"osType"`, `"networkProfile":{"id":"`+group+`/providers/Microsoft.Network/networkProfiles/none"},"osType"`), 400, "NetworkProfileNotFound", "networkProfiles/none"},
		{"mount of nothing", "PUT " + groups + "x", body(`"resources"`, `"volumeMounts":[{"name":"v","mountPath":"/v"}],"resources"`), 400, "VolumeMountNotFound", "'v'"},
		{"secret not in base64", "PUT " + groups + "x", body(`"osType"`, `"volumes":[{"name":"v","secret":{"a":"%%"}}],"osType"`), 400, "InvalidSecretVolume", "'a'"},
		{"repository leads out", "PUT " + groups + "x", body(`"osType"`, `"volumes":[{"name":"v","gitRepo":{"repository":"https://x/y","directory":"../z"}}],"osType"`), 400, "InvalidGitRepoDirectory", "'../z'"},
		{"value and secret", "PUT " + groups + "x", body(`"resources"`, `"environmentVariables":[{"name":"A","value":"1","secureValue":"2"}],"resources"`), 400, "InvalidEnvironmentVariableValue", "'A'"},
		{"probe of nothing", "PUT " + groups + "x", body(`"resources"`, `"livenessProbe":{},"resources"`), 400, "InvalidContainerProbe", ""},
		{"another policy", "PUT " + groups + "there", one("Always", "true"), 400, "InvalidContainerGroupUpdate", "must delete it first"},
		{"logs of nobody", "GET " + groups + "there/containers/nobody/logs", "", 404, "ContainerNotFound", "'nobody'"},
		{"logs, a word for a tail", "GET " + groups + "there/containers/main/logs?tail=x", "", 400, "InvalidTailParameter", "'x'"},
		{"exec of nothing", "POST " + groups + "there/containers/main/exec", `{}`, 400, "InvalidRequestContent", "command"},
		{"exec in nobody", "POST " + groups + "there/containers/nobody/exec", `{"command":"/bin/sh"}`, 404, "ContainerNotFound", ""},
		{"usages elsewhere", "GET " + sub + "/providers/Microsoft.ContainerInstance/locations/brazilsouth/usages", "", 400, "LocationNotAvailableForResourceType", ""},
		{"stop of nothing", "POST " + groups + "none/stop", "", 404, "ResourceNotFound", ""},
	} {
		code, _, doc := s.do(c.request, c.body)
		if code != c.status || at(doc, "error.code") != c.code || !strings.Contains(at(doc, "error"), c.message) {
			t.Errorf("%s: %d %v, want %d %s %q", c.name, code, doc, c.status, c.code, c.message)
		}
	}
	if _, _, doc := s.do("GET "+strings.TrimSuffix(groups, "/"), ""); len(doc["value"].([]any)) != 1 || at(doc, "value.0.properties.restartPolicy") != "Never" {
		t.Errorf("a refusal has changed something: %v", doc)
	}
}

func TestHowContainersEnd(t *testing.T) {
	share := t.TempDir()
	s := newService(t, "process", t.TempDir(), func(c *aci.Config) {
		c.Share = func(context.Context, string, string, string) (string, error) { return share, nil }
	})
	// volumed is a group that mounts a volume of some kind.
	volumed := func(kind string) string {
		return strings.Replace(one("Never", "true", `,"volumeMounts":[{"name":"v","mountPath":"/v"}]`), `"osType"`, `"volumes":[{"name":"v",`+kind+`}],"osType"`, 1)
	}
	for _, c := range []struct {
		name, body, end, state, container, exit, detail, log string
	}{
		{"succeeds", one("Never", "echo did"), "Succeeded", "Succeeded", "Terminated", "0", "Completed", "did\n"},
		{"fails", one("Never", "echo did not; exit 3"), "Succeeded", "Failed", "Terminated", "3", "Error", "did not\n"},
		{"killed", one("Never", "kill -9 $$"), "Succeeded", "Failed", "Terminated", "137", "Error", ""},
		{"on-failure", one("OnFailure", "exit 0"), "Succeeded", "Succeeded", "Terminated", "0", "Completed", ""},
		{"no-command", strings.Replace(one("Never", ""), sh(""), `["no-such-program"]`, 1), "Succeeded", "Failed", "Terminated", "127", "ContainerCannotRun", ""},
		{"no-image", strings.Replace(one("Never", ""), "lazulite/base", "example.com/nothing:1", 1), "InaccessibleImage", "Pending", "Waiting", "", `ImagePullBackOff: Back-off pulling image "example.com/nothing:1"`, ""},
		{"mounts", volumed(`"emptyDir":{}`), "ContainerGroupCreationFailed", "Pending", "Waiting", "", "CreateContainerError: engine: invalid specification: nothing can be mounted at /v: containers are processes of this host here, with its files; run lazulite with Docker for volumes", ""},
		{"mounts-a-share", volumed(`"azureFile":{"shareName":"s","storageAccountName":"a","storageAccountKey":"a2V5"}`), "ContainerGroupCreationFailed", "Pending", "Waiting", "", "CreateContainerError: engine: invalid specification: nothing can be mounted at /v: containers are processes of this host here, with its files; run lazulite with Docker for volumes", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if end := s.create(c.name, c.body); end != c.end {
				t.Errorf("the operation ended %s", end)
			}
			s.until("the container's end", func() bool { return s.show(c.name, first+"currentState.state") == c.container })
			_, _, doc := s.do("GET "+groups+c.name, "")
			provisioned := "Succeeded"
			if c.end != "Succeeded" {
				provisioned = "Failed"
			}
			for path, want := range map[string]string{view: c.state, first + "currentState.state": c.container, first + "currentState.exitCode": c.exit, "properties.provisioningState": provisioned} {
				if got := at(doc, path); got != want {
					t.Errorf("%s: %q, want %q", path, got, want)
				}
			}
			if got := at(doc, first+"currentState.detailStatus"); c.detail != "" && got != c.detail {
				t.Errorf("detail: %q", got)
			}
			if got := s.logs(c.name, "main"); got != c.log {
				t.Errorf("log: %q", got)
			}
			if want := map[string]string{"no-image": "Pulling x1, Failed x1, BackOff x1", "succeeds": "Pulling x1, Pulled x1, Created x1, Started x1"}[c.name]; want != "" && events(doc) != want {
				t.Errorf("events: %s", events(doc))
			}
			if code, _, doc := s.do("POST "+groups+c.name+"/containers/main/exec", `{"command":"/bin/sh"}`); code != 409 || at(doc, "error.code") != "ContainerNotRunning" {
				t.Errorf("exec: %d %v", code, doc)
			}
		})
	}
}

func TestCrashLoop(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	if end := s.create("loop", one("Always", "echo again; exit 2")); end != "Succeeded" {
		t.Fatal(end)
	}
	var doc map[string]any
	s.until("a third run", func() bool {
		_, _, doc = s.do("GET "+groups+"loop", "")
		return at(doc, first+"restartCount") == "2" && at(doc, first+"currentState.detailStatus") == "CrashLoopBackOff: Back-off 20s restarting failed"
	})
	for path, want := range map[string]string{view: "Running", first + "previousState.state": "Terminated", first + "previousState.exitCode": "2", first + "previousState.detailStatus": "Error"} {
		if got := at(doc, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := events(doc); got != "Pulling x3, Pulled x3, Created x3, Started x3, BackOff x2" {
		t.Errorf("events: %s", got)
	}
	if got := s.logs("loop", "main"); got != "again\n" {
		t.Errorf("the log is of the last run alone: %q", got)
	}
}

// Init containers run one after the other, before the others; none of these begins if one fails.
func TestInitContainers(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	order := t.TempDir() + "/order"
	with := func(last string) string {
		init := func(name, script string) string {
			return `{"name":"` + name + `","properties":{"image":"python:3.6","command":` + sh(script) + `}}`
		}
		return strings.Replace(one("Never", "echo main >> "+order), `"containers"`, `"initContainers":[`+init("one", "sleep 0.1; echo one >> "+order)+`,`+init("two", last)+`],"containers"`, 1)
	}
	if end := s.create("good", with("echo two >> "+order)); end != "Succeeded" {
		t.Error(end)
	}
	if end := s.create("bad", with("exit 4")); end != "ContainerGroupFailed" {
		t.Error(end)
	}
	if got := s.show("bad", view); got != "Failed" {
		t.Errorf("the group is %s", got)
	}
	_, _, doc := s.do("GET "+groups+"good?api-version=2019-12-01", "")
	if got := at(doc, "properties.initContainers.1.properties.instanceView.currentState.exitCode"); got != "0" {
		t.Errorf("the second init container: %q", got)
	}
	data := s.read(order)
	if data != "one\ntwo\nmain\none\n" {
		t.Errorf("order: %q", data)
	}
}

func TestProbes(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	flag := t.TempDir() + "/sick"
	if end := s.create("live", one("OnFailure", "sleep 600", `,"livenessProbe":{"exec":{"command":["/bin/sh","-c","! test -e `+flag+`"]},"periodSeconds":1,"failureThreshold":2}`)); end != "Succeeded" {
		t.Fatal(end)
	}
	s.write(flag, "")
	s.until("a restart", func() bool { return s.show("live", first+"restartCount") == "1" })
	_, _, doc := s.do("GET "+groups+"live", "")
	if got := events(doc); !strings.Contains(got, "Unhealthy x1, Killing x1") {
		t.Errorf("events: %s", got)
	}
	if got := at(doc, first+"previousState.exitCode"); got != "143" {
		t.Errorf("it ended with %s", got)
	}
}

func TestQueries(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	_ = s.create("a", one("Never", "true"))
	for line, want := range map[string]string{
		"usages":       `[{"currentValue":1,"limit":100,"name":{"localizedValue":"Container Groups","value":"ContainerGroups"},"unit":"Count"}]`,
		"capabilities": `[{"capabilities":{"maxCpu":4,"maxGpuCount":0,"maxMemoryInGB":14},"gpu":"None","ipAddressType":"Public","location":"West US","osType":"Linux","resourceType":"containerGroups"}]`,
	} {
		code, _, doc := s.do("GET "+sub+"/providers/Microsoft.ContainerInstance/locations/westus/"+line, "")
		if got, _ := json.Marshal(doc["value"]); code != 200 || string(got) != want {
			t.Errorf("%s: %d %s", line, code, got)
		}
	}
	if code, _, doc := s.do("GET /providers/Microsoft.ContainerInstance/operations", ""); code != 200 || !strings.Contains(at(doc, "value"), "containerGroups/containers/exec/action") {
		t.Errorf("operations: %d %v", code, doc)
	}
	if _, _, doc := s.do("GET "+sub+"/providers/Microsoft.ContainerInstance/locations/westus/cachedImages", ""); at(doc, "value.0.image") != "lazulite/base" {
		t.Errorf("cachedImages: %v", doc)
	}
}

// Identities have ids, which stay; a user's own may be a resource or not.
func TestIdentities(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	own := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
	with := func(identity string) string {
		return strings.Replace(one("Never", "exec sleep 600"), `"properties"`, `"identity":`+identity+`,"properties"`, 1)
	}
	var principal string
	for range 2 {
		if end := s.create("system", with(`{"type":"SystemAssigned"}`)); end != "Succeeded" {
			t.Fatal(end)
		}
		got := s.show("system", "identity.principalId")
		if len(got) != 36 || principal != "" && got != principal || s.show("system", "identity.tenantId") != "11111111-1111-1111-1111-111111111111" || s.show("system", "identity.type") != "SystemAssigned" {
			t.Errorf("its identity is %s, was %q", s.show("system", "identity"), principal)
		}
		principal = got
	}
	if end := s.create("user", with(`{"type":"SystemAssigned, UserAssigned","userAssignedIdentities":{"`+own+`":{}}}`)); end != "Succeeded" {
		t.Fatal(end)
	}
	_, _, doc := s.do("GET "+groups+"user", "")
	if mine, _ := dig(doc, "identity", "userAssignedIdentities", own).(map[string]any); len(at(mine, "principalId")) != 36 || len(at(mine, "clientId")) != 36 {
		t.Errorf("identities: %s", at(doc, "identity"))
	}
	for _, c := range []struct{ name, identity, code, message string }{
		{"a kind that there is not", `{"type":"Own"}`, "InvalidParameter", "identity.type"},
		{"a user's own without one", `{"type":"UserAssigned"}`, "InvalidParameter", "identity.userAssignedIdentities"},
		{"no resource", `{"type":"UserAssigned","userAssignedIdentities":{"me":{}}}`, "LinkedInvalidPropertyId", "'me'"},
	} {
		if code, _, doc := s.do("PUT "+groups+"refused", with(c.identity)); code != 400 || at(doc, "error.code") != c.code || !strings.Contains(at(doc, "error"), c.message) {
			t.Errorf("%s: %d %v", c.name, code, doc)
		}
	}
	if code, _, _ := s.do("GET "+groups+"refused", ""); code != 404 {
		t.Errorf("what was refused is there: %d", code)
	}
}

func TestQuota(t *testing.T) {
	s := newService(t, "process", t.TempDir(), func(c *aci.Config) { c.Groups = 1 })
	if end := s.create("first", one("Never", "true")); end != "Succeeded" {
		t.Fatal(end)
	}
	if code, _, doc := s.do("PUT "+groups+"second", one("Never", "true")); code != 409 || at(doc, "error.code") != "ContainerGroupQuotaReached" || !strings.Contains(at(doc, "error.message"), "Limit: '1', Usage: '1' Requested: '1'") {
		t.Errorf("one more: %d %v", code, doc)
	}
	// It is a region's.
	if end := s.create("elsewhere", strings.Replace(one("Never", "true"), "westus", "eastus", 1)); end != "Succeeded" {
		t.Errorf("in another region: %s", end)
	}
}
