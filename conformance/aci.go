package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"lazulite.dev/conformance/wire"
)

const (
	versionContainers = "2018-10-01"
	// versionInit is the first with init containers.
	versionInit = "2019-12-01"
	// containerRegion had the service from its first day.
	containerRegion = "westus"
	// containerImage is a plain distribution that every registry has.
	containerImage = "ubuntu:18.04"
)

// containerGroup is the group of one container that most specs of target:aci look at.
type containerGroup struct{ path string }

func (s *session) groupPath(name string) string {
	return s.group() + "/providers/Microsoft.ContainerInstance/containerGroups/" + name
}

func containerName() string { return "c" + random() }

// containers is a group's body: one container that runs a script.
func containers(policy, script string, change ...func(group, container map[string]any)) map[string]any {
	container := map[string]any{"image": containerImage, "command": []string{"/bin/sh", "-c", script},
		"resources": map[string]any{"requests": map[string]any{"cpu": 0.5, "memoryInGB": 0.5}}}
	group := map[string]any{"osType": "Linux", "restartPolicy": policy, "containers": []any{map[string]any{"name": "main", "properties": container}}}
	for _, f := range change {
		f(group, container)
	}
	return map[string]any{"location": containerRegion, "properties": group}
}

// putGroup creates a container group and waits for the end of its operation.
func (s *session) putGroup(body map[string]any) (path string, r *wire.Response) {
	s.provider("Microsoft.ContainerInstance")
	path = s.groupPath(containerName())
	r = s.create(path, versionContainers, body)
	if r.OK() {
		if r.Header.Get("Azure-AsyncOperation") == "" {
			s.fail("%s; az follows a new group by Azure-AsyncOperation", r)
		}
		s.done(r)
	}
	return path, r
}

// hello is a group that printed something and goes on.
func (s *session) hello() containerGroup {
	return obtain(s, &s.fix.aci, "a container group", func() containerGroup {
		path, r := s.putGroup(containers("Never", `echo "hello $NAME"; echo "${#SECRET}"; exec sleep 900`, func(_, c map[string]any) {
			c["environmentVariables"] = []any{map[string]any{"name": "NAME", "value": "world"}, map[string]any{"name": "SECRET", "secureValue": "not-to-be-seen"}}
		}))
		s.status(r, http.StatusCreated)
		return containerGroup{path}
	})
}

// shell has a shell in the main container multiply, over the websocket that exec
// promises, with the password that it gives or another, and gives what was heard.
func (s *session) shell(path, password string) (string, error) {
	r := s.send(http.MethodPost, path+"/containers/main/exec", versionContainers, map[string]any{"command": "/bin/sh", "terminalSize": map[string]any{"rows": 24, "cols": 80}})
	s.status(r, http.StatusOK)
	if password == "" {
		password = s.text(r, "password")
	}
	return s.client.Converse(s.ctx, s.text(r, "webSocketUri"), []string{password, "echo $((6*7))\n"}, "42")
}

// view waits until the first container is in a state, and gives the group.
func (s *session) view(path, state string) *wire.Response {
	return s.untilGroup(path, "the container is "+state, func(r *wire.Response) bool { return current(r, "state") == state })
}

func (s *session) untilGroup(path, what string, ok func(*wire.Response) bool) *wire.Response {
	op := &wire.Operation{}
	if err := s.client.Until(s.ctx, op, s.client.Absolute(path+"?api-version="+versionContainers), ok); err != nil {
		s.fail("waiting until %s: %v", what, err)
	}
	return op.Last
}

// current is a field of the first container's state, as text.
func current(r *wire.Response, field string) string {
	return fmt.Sprint(item(r.Value("properties", "containers"), "properties", "instanceView", "currentState", field))
}

// item goes from the first element of a list down by names.
func item(v any, path ...string) any {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil
	}
	v = list[0]
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// containerLog waits until the log has a text, and gives it.
func (s *session) containerLog(path, has string) string {
	var content string
	for deadline := time.Now().Add(2 * time.Minute); ; {
		r := s.get(path+"/containers/main/logs", versionContainers)
		s.status(r, http.StatusOK)
		if content = r.Text("content"); strings.Contains(content, has) {
			return content
		}
		if time.Now().After(deadline) || s.client.Wait(s.ctx, time.Second) != nil {
			s.fail("the log is %q, and never had %q", content, has)
		}
	}
}

func aciSpecs() []spec {
	refused := func(status int, code string, body func() map[string]any) func(*session) {
		return func(s *session) {
			path, r := s.putGroup(body())
			if code == "" {
				s.refused(r, status)
			} else {
				s.refused(r, status, code)
			}
			s.refused(s.get(path, versionContainers), http.StatusNotFound, "ResourceNotFound")
		}
	}
	return []spec{
		{"aci.group.create", func(s *session) {
			g := s.hello()
			r := s.view(g.path, "Running")
			if state := r.Text("properties", "instanceView", "state"); state != "Running" {
				s.fail("%s; the group should be Running, it is %s", r, state)
			}
			if events, _ := item(r.Value("properties", "containers"), "properties", "instanceView", "events").([]any); len(events) == 0 {
				s.fail("%s; it has no events", r)
			}
		}},
		{"aci.group.list", func(s *session) {
			g := s.hello()
			if !named(s.list(s.group()+"/providers/Microsoft.ContainerInstance/containerGroups", versionContainers), g.path[strings.LastIndex(g.path, "/")+1:]) {
				s.fail("the resource group's list does not have the group")
			}
		}},
		{"aci.log", func(s *session) {
			g := s.hello()
			if got := s.containerLog(g.path, "14"); got != "hello world\n14\n" {
				s.fail("the log is %q", got)
			}
			r := s.do(wire.Request{Method: http.MethodGet, URL: g.path + "/containers/main/logs?tail=1", Version: versionContainers})
			s.status(r, http.StatusOK)
			if got := r.Text("content"); got != "14\n" {
				s.fail("%s; its last line should be 14", r)
			}
		}},
		{"aci.secret", func(s *session) {
			r := s.get(s.hello().path, versionContainers)
			s.status(r, http.StatusOK)
			if strings.Contains(string(r.Body), "not-to-be-seen") {
				s.fail("a secure environment variable is shown")
			}
		}},
		{"aci.exec", func(s *session) {
			g := s.hello()
			r := s.send(http.MethodPost, g.path+"/containers/main/exec", versionContainers, map[string]any{"command": "/bin/sh", "terminalSize": map[string]any{"rows": 24, "cols": 80}})
			s.status(r, http.StatusOK)
			if uri := s.text(r, "webSocketUri"); !strings.HasPrefix(uri, "wss://") || s.text(r, "password") == "" {
				s.fail("%s; it should have a wss URI and a password", r)
			}
		}},
		{"aci.exec.shell", func(s *session) {
			if heard, err := s.shell(s.hello().path, ""); err != nil || !strings.Contains(heard, "42") {
				s.fail("a shell in the container said %q: %v", heard, err)
			}
		}},
		{"aci.exec.password", func(s *session) {
			if heard, err := s.shell(s.hello().path, "wrong"); err == nil || strings.Contains(heard, "42") {
				s.fail("with a wrong password a shell said %q", heard)
			}
		}},
		{"aci.exit", func(s *session) {
			path, r := s.putGroup(containers("Never", "echo bye; exit 3"))
			s.status(r, http.StatusCreated)
			r = s.view(path, "Terminated")
			if code := current(r, "exitCode"); code != "3" || r.Text("properties", "instanceView", "state") != "Failed" {
				s.fail("%s; the exit code should be 3 and the group Failed", r)
			}
			if got := s.containerLog(path, "bye"); got != "bye\n" {
				s.fail("the log is %q", got)
			}
			s.must(s.client.Wait(s.ctx, 4*time.Second))
			r = s.get(path, versionContainers)
			if n := item(r.Value("properties", "containers"), "properties", "instanceView", "restartCount"); n != 0.0 || current(r, "state") != "Terminated" {
				s.fail("%s; what is never to be restarted was", r)
			}
		}},
		{"aci.restart.policy", func(s *session) {
			path, r := s.putGroup(containers("Always", "exit 1"))
			s.status(r, http.StatusCreated)
			r = s.untilGroup(path, "the container was restarted", func(r *wire.Response) bool {
				n, _ := item(r.Value("properties", "containers"), "properties", "instanceView", "restartCount").(float64)
				return n >= 1
			})
			if r.Text("properties", "instanceView", "state") == "Failed" {
				s.fail("%s; a group whose containers are restarted has not failed", r)
			}
		}},
		{"aci.restart.backoff", func(s *session) {
			path, r := s.putGroup(containers("OnFailure", "exit 7"))
			s.status(r, http.StatusCreated)
			r = s.untilGroup(path, "the container waits for its restart", func(r *wire.Response) bool {
				return current(r, "state") == "Waiting" && strings.HasPrefix(current(r, "detailStatus"), "CrashLoopBackOff")
			})
			view := item(r.Value("properties", "containers"), "properties", "instanceView")
			previous := item([]any{view}, "previousState", "exitCode")
			events, _ := item([]any{view}, "events").([]any)
			counted := slices.ContainsFunc(events, func(e any) bool {
				n, _ := item([]any{e}, "count").(float64)
				return item([]any{e}, "name") == "BackOff" && n >= 1
			})
			if previous != 7.0 || !counted {
				s.fail("%s; the previous state should have the exit code 7, and an event should count the back-off", r)
			}
		}},
		{"aci.probe", func(s *session) {
			path, r := s.putGroup(containers("Always", "exec sleep 900", func(_, c map[string]any) {
				c["livenessProbe"] = map[string]any{"exec": map[string]any{"command": []string{"/bin/false"}}, "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 2}
			}))
			s.status(r, http.StatusCreated)
			r = s.untilGroup(path, "the container that is not alive was restarted", func(r *wire.Response) bool {
				n, _ := item(r.Value("properties", "containers"), "properties", "instanceView", "restartCount").(float64)
				return n >= 1
			})
			events := fmt.Sprint(item(r.Value("properties", "containers"), "properties", "instanceView", "events"))
			if !strings.Contains(events, "Unhealthy") || !strings.Contains(events, "Killing") {
				s.fail("%s; events should tell that it was unhealthy, and killed", r)
			}
		}},
		{"aci.init", func(s *session) {
			s.provider("Microsoft.ContainerInstance")
			path := s.groupPath(containerName())
			s.done(s.create(path, versionInit, containers("Never", "exec sleep 900", func(g, c map[string]any) {
				once := func(name, script string) any {
					return map[string]any{"name": name, "properties": map[string]any{"image": containerImage, "command": []string{"/bin/sh", "-c", script}}}
				}
				g["initContainers"] = []any{once("one", "sleep 2"), once("two", "true")}
			})))
			r := s.get(path, versionInit)
			s.status(r, http.StatusOK)
			list, _ := r.Value("properties", "initContainers").([]any)
			var ends []string
			for _, c := range list {
				ends = append(ends, fmt.Sprint(item([]any{c}, "properties", "instanceView", "currentState", "finishTime")))
			}
			began := current(r, "startTime")
			if len(ends) != 2 || ends[0] > ends[1] || ends[1] > began {
				s.fail("%s; the init containers should have ended one after the other (%q), and then the container begun (%s)", r, ends, began)
			}
		}},
		{"aci.image.absent", func(s *session) {
			s.provider("Microsoft.ContainerInstance")
			path := s.groupPath(containerName())
			r := s.create(path, versionContainers, containers("Never", "true", func(_, c map[string]any) { c["image"] = "example.invalid/no/such:image" }))
			if !r.OK() {
				// The service looks the image up before it takes the group, where it can.
				s.refused(r, http.StatusBadRequest, "InaccessibleImage")
				return
			}
			op := s.await(r)
			if r = s.get(path, versionContainers); op.Status == "Succeeded" || r.Text("properties", "provisioningState") == "Succeeded" || current(r, "state") != "Waiting" {
				s.fail("%s; a group whose image is not to be had is never Succeeded, and its container waits", r)
			}
		}},
		{"aci.region", refused(http.StatusBadRequest, "LocationNotAvailableForResourceType", func() map[string]any {
			body := containers("Never", "true")
			body["location"] = "brazilsouth"
			return body
		})},
		{"aci.cpu", refused(http.StatusConflict, "ServiceUnavailable", func() map[string]any {
			return containers("Never", "true", func(_, c map[string]any) {
				c["resources"] = map[string]any{"requests": map[string]any{"cpu": 64, "memoryInGB": 1}}
			})
		})},
		{"aci.ports", refused(http.StatusBadRequest, "UnreferencedIpAddressPorts", func() map[string]any {
			return containers("Never", "true", func(g, _ map[string]any) {
				g["ipAddress"] = map[string]any{"type": "Public", "ports": []any{map[string]any{"port": 8000, "protocol": "TCP"}}}
			})
		})},
		{"aci.ports.clash", refused(http.StatusBadRequest, "", func() map[string]any {
			return containers("Never", "true", func(g, c map[string]any) {
				c["ports"] = []any{map[string]any{"port": 8000, "protocol": "TCP"}}
				g["containers"] = append(g["containers"].([]any), map[string]any{"name": "other", "properties": c})
			})
		})},
		{"aci.secret.kept", func(s *session) {
			const secret = "bm90LXRvLWJlLXNlZW4="
			path, r := s.putGroup(containers("Never", "true", func(g, _ map[string]any) {
				g["volumes"] = []any{map[string]any{"name": "keys", "secret": map[string]string{"key": secret}}}
				g["imageRegistryCredentials"] = []any{map[string]any{"server": "example.azurecr.io", "username": "me", "password": secret}}
			}))
			s.status(r, http.StatusCreated)
			for _, r := range []*wire.Response{r, s.get(path, versionContainers), s.get(s.group()+"/providers/Microsoft.ContainerInstance/containerGroups", versionContainers)} {
				if strings.Contains(string(r.Body), secret) {
					s.fail("a secret of a volume or of a registry is shown by %s %s", r.Method, r.URL)
				}
			}
			// Nor by what refuses a group.
			_, r = s.putGroup(containers("Never", "true", func(_, c map[string]any) {
				c["environmentVariables"] = []any{map[string]any{"name": "1 bad name", "secureValue": secret}}
			}))
			s.refused(r, http.StatusBadRequest)
			if strings.Contains(string(r.Body), secret) {
				s.fail("an error shows a secret")
			}
		}},
		{"aci.usages", func(s *session) {
			s.hello()
			r := s.get("/subscriptions/"+s.cfg.Subscription+"/providers/Microsoft.ContainerInstance/locations/"+containerRegion+"/usages", versionContainers)
			s.status(r, http.StatusOK)
			var doc struct {
				Value []struct {
					CurrentValue, Limit float64
					Name                struct{ Value string }
				}
			}
			s.must(r.JSON(&doc))
			for _, u := range doc.Value {
				if u.Name.Value == "ContainerGroups" && u.CurrentValue >= 1 && u.Limit >= u.CurrentValue {
					return
				}
			}
			s.fail("%s; the usage of ContainerGroups should count the group", r)
		}},
		{"aci.stop", func(s *session) {
			g := s.hello()
			s.status(s.send(http.MethodPost, g.path+"/stop", versionContainers, nil), http.StatusNoContent)
			r := s.untilGroup(g.path, "the group is stopped", func(r *wire.Response) bool { return r.Text("properties", "instanceView", "state") == "Stopped" })
			if current(r, "state") == "Running" {
				s.fail("%s; a container of a stopped group runs", r)
			}
			s.status(s.send(http.MethodPost, g.path+"/start", versionContainers, nil), http.StatusNoContent, http.StatusAccepted)
			s.view(g.path, "Running")
		}},
		{"aci.delete", func(s *session) {
			g := s.hello()
			remove := wire.Request{Method: http.MethodDelete, URL: g.path, Version: versionContainers}
			s.status(s.do(remove), http.StatusOK)
			s.client.Untrack(g.path)
			s.untilStatus(g.path, http.StatusNotFound)
			s.status(s.do(remove), http.StatusNoContent)
		}},
	}
}

// untilStatus waits until a resource answers so.
func (s *session) untilStatus(path string, status int) {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		r := s.get(path, versionContainers)
		if r.Status == status {
			return
		}
		if time.Now().After(deadline) || s.client.Wait(s.ctx, time.Second) != nil {
			s.fail("%s; it should come to %d", r, status)
		}
	}
}
