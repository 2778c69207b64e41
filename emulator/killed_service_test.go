package emulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/serving/servingtest"
	"lazulite.dev/emulator/clock/clocktest"
)

const scoreDriver = `def init():
    print('ready to score')

def run(body, headers):
    return body[::-1]
`

// image asks for an image of the driver, and gives its operation.
func (c *client) image(name string) string {
	c.t.Helper()
	c.must(200, "POST {artifact}/artifacts/content/LocalUpload/"+name+"/driver.py", scoreDriver, "Content-Type: application/octet-stream")
	a := c.must(202, "POST {models}/images", map[string]any{"name": name, "driverProgram": "driver", "modelIds": []string{}, "kvTags": map[string]string{},
		"assets":        []any{map[string]any{"id": "driver", "url": "aml://artifact/LocalUpload/" + name + "/driver.py", "mimeType": "application/x-python"}},
		"targetRuntime": map[string]any{"runtimeType": "Python", "targetArchitecture": "amd64", "properties": map[string]any{}}, "imageType": "Docker", "imageFlavor": "WebApiContainer"})
	return operationOf(a)
}

// service asks for a service of an image, and gives its operation.
func (c *client) service(name, image string) string {
	c.t.Helper()
	return operationOf(c.must(202, "POST {models}/services", map[string]any{"imageId": image, "name": name, "computeType": "ACI", "authEnabled": true, "kvTags": map[string]string{},
		"containerResourceRequirements": map[string]any{"cpu": 0.5, "memoryInGB": 0.5}}))
}

func operationOf(a answer) string {
	location := a.header.Get("Operation-Location")
	return "{models}/operations/" + location[strings.LastIndexByte(location, '/')+1:]
}

// ended waits for the end of an operation of model management.
func (c *client) ended(operation string) (a answer) {
	c.t.Helper()
	clocktest.Missing(c.t, 3*time.Minute, func() string {
		a = c.do("GET "+operation, nil)
		if s := a.text("state"); s == "Running" || s == "NotStarted" || a.status != 200 {
			return "the operation is " + a.String()
		}
		return ""
	})
	return a
}

// scores waits until a service answers as it should at its address.
func (c *client) scores(name string) {
	c.t.Helper()
	clocktest.Missing(c.t, time.Minute, func() string {
		uri := c.must(200, "GET {models}/services/"+name, nil).text("scoringUri")
		if uri == "" {
			return "it has no address"
		}
		key := c.must(200, "POST {models}/services/"+name+"/listkeys", "").text("primaryKey")
		if a := c.do("POST "+uri+"!", "abc", "Authorization: Bearer "+key); a.status != 200 || string(a.body) != `"cba"` {
			return "it answers " + a.String()
		}
		return ""
	})
}

// TestKilledServices kills the emulator amid an image's build, amid a service's
// deployment and beside a service that answers: each goes on or is Failed with
// the reason, and nothing of it is left over.
func TestKilledServices(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes, and builds images")
	}
	needPython(t)
	t.Setenv(victimWheels, servingtest.Wheels(t))
	v := newVictim(t)
	v.live()
	c := v.client()
	c.workspace()
	const groups = "{P}/Microsoft.ContainerInstance/containerGroups"
	left := func() (names []string) {
		all, _ := c.must(200, "GET "+groups+"?api-version=2018-10-01", nil).get("value").([]any)
		for _, g := range all {
			names = append(names, fmt.Sprint(g.(map[string]any)["name"]))
		}
		return names
	}
	// begun waits until a container runs that belongs to a part of the list.
	begun := func(prefix string) {
		t.Helper()
		clocktest.Missing(t, time.Minute, func() string {
			for _, p := range processesOf(v.dir) {
				if strings.Contains(p.command, prefix) {
					return ""
				}
			}
			return "no process runs " + prefix
		})
	}
	again := func() {
		t.Helper()
		v.kill()
		v.live()
		c = v.client()
	}

	soon := c.image("soon")
	again()
	first := c.ended(soon)
	amid := c.image("amid")
	begun("build.py")
	again()
	second := c.ended(amid)
	for name, a := range map[string]answer{"soon": first, "amid": second} {
		image := c.must(200, "GET {models}/images/"+name+":1", nil)
		if s := a.text("state"); s != image.text("creationState") || s == "Failed" && !strings.Contains(a.text("error.message"), "exit code 137") || s != "Failed" && s != "Succeeded" {
			t.Errorf("the build of %s: %s\n%s", name, a, image)
		}
	}
	if got := left(); len(got) > 0 {
		t.Errorf("groups of builds are left: %q", got)
	}
	if a := c.ended(c.image("whole")); a.text("state") != "Succeeded" {
		t.Fatalf("a build that nothing disturbs: %s", a)
	}

	soon = c.service("soon", "whole:1")
	again()
	amid = c.service("amid", "whole:1")
	begun("serve.py")
	again()
	for name, op := range map[string]string{"soon": soon, "amid": amid} {
		if a := c.ended(op); a.text("state") != "Succeeded" {
			t.Errorf("the deployment of %s: %s", name, a)
			continue
		}
		if a := c.do("GET {models}/services/"+name, nil); a.text("state") != "Healthy" {
			t.Errorf("%s: %s", name, a)
		}
		c.scores(name)
	}
	address := c.do("GET {models}/services/amid", nil).text("scoringUri")
	again()
	c.scores("amid")
	if a := c.do("GET {models}/services/amid", nil); a.text("scoringUri") != address {
		t.Errorf("it was at %s before: %s", address, a)
	}
	for _, name := range []string{"soon", "amid"} {
		c.must(200, "DELETE {models}/services/"+name, nil)
	}
	if got := left(); len(got) > 0 {
		t.Errorf("groups are left: %q", got)
	}
	for _, p := range processesOf(v.dir) {
		t.Errorf("process %d is left: %s", p.pid, p.command)
	}
	v.end()
}
