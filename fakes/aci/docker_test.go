package aci_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/engine/docker/registrytest"
	"lazulite.dev/fakes/aci"
)

// containersOf are the names of Docker's containers that a group has, whatever their state.
func (s *service) containersOf(name string) []string {
	s.Helper()
	out, err := exec.Command("docker", "ps", "-a", "--filter", "label=lazulite.group="+groups+name, "--filter", "label=dev.lazulite.instance="+s.engine.(*docker.Engine).Instance(), "--format", "{{.Names}}").Output()
	if err != nil {
		s.Skip("no docker command: ", err)
	}
	return strings.Fields(string(out))
}

// Two containers share loopback, hostname and volumes; a secret can't be written.
func TestGroupOfTwo(t *testing.T) {
	share := t.TempDir()
	s := newService(t, "docker", t.TempDir(), func(c *aci.Config) {
		c.Share = func(_ context.Context, account, key, name string) (string, error) {
			switch {
			case key != "a2V5":
				return "", fmt.Errorf("%w: %s", aci.ErrShareKey, account)
			case name != "share":
				return "", fmt.Errorf("%w: %s", aci.ErrShareAbsent, name)
			}
			return share, nil
		}
	})
	mounts := `,"volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"files","mountPath":"/files"}]`
	body := func(key, name string) string {
		return `{"location":"westus","properties":{"osType":"Linux","restartPolicy":"Never","ipAddress":{"type":"Public","ports":[{"port":8000}],"dnsNameLabel":"pair-of-two"},"volumes":[
			{"name":"data","emptyDir":{}},{"name":"keys","secret":{"one":"b25lCg=="}},{"name":"files","azureFile":{"shareName":"` + name + `","storageAccountName":"acct","storageAccountKey":"` + key + `"}}],
			"containers":[` + item("server", "exec python3 -u -m http.server 8000 --directory /data", `,"ports":[{"port":8000}]`, mounts) + `,` +
			item("client", `cat /keys/one; (echo x > /keys/one) 2>/dev/null || echo "read only"; echo shared > /data/page; hostname > /files/host
				for i in $(seq 100); do curl -fs --noproxy '*' http://localhost:8000/page && exec sleep 600; sleep 0.05; done; exit 1`,
				strings.Replace(mounts, `[`, `[{"name":"keys","mountPath":"/keys"},`, 1)) + `]}}`
	}
	for _, c := range []struct{ name, key, share, event string }{
		{"wrong-key", "d3Jvbmc=", "share", "mount error(13): Permission denied"},
		{"no-share", "a2V5", "none", "mount error(2): No such file or directory"},
	} {
		if end := s.create(c.name, body(c.key, c.share)); end != "ContainerGroupCreationFailed" {
			t.Errorf("%s: %s", c.name, end)
		}
		if got := s.show(c.name, "properties.instanceView.events.0"); !strings.Contains(got, c.event) || !strings.Contains(got, "FailedMount") {
			t.Errorf("%s: %s", c.name, got)
		}
		s.do("DELETE "+groups+c.name, "")
	}
	if end := s.create("pair", body("a2V5", "share")); end != "Succeeded" {
		t.Fatal(end, s.show("pair", "properties"))
	}
	s.until("the client's log", func() bool { return strings.Contains(s.logs("pair", "client"), "shared") })
	if got := s.logs("pair", "client"); got != "one\nread only\nshared\n" {
		t.Errorf("client: %q", got)
	}
	if got := s.read(share + "/host"); !strings.HasPrefix(got, "wk-caas-") {
		t.Errorf("hostname in the share: %q", got)
	}
	// By its name through the front, and by its address without it.
	ip := s.show("pair", "properties.ipAddress.ip")
	for where, dial := range map[string]func() (net.Conn, error){
		"name": func() (net.Conn, error) {
			return s.fake.Dial(t.Context(), "pair-of-two.westus.azurecontainer.io", "8000")
		},
		"address": func() (net.Conn, error) { return net.Dial("tcp", ip+":8000") },
	} {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET /page HTTP/1.0\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(r.Body)
		c.Close()
		if string(page) != "shared\n" {
			t.Errorf("by its %s: %q", where, page)
		}
	}
	if n := len(s.containersOf("pair")); n != 3 {
		t.Errorf("%d containers", n)
	}
	ws, password := s.socket(groups+"pair/containers/client/exec", `{"command":"/bin/sh","terminalSize":{"rows":30,"cols":100}}`)
	s.say(ws, password)
	s.say(ws, "stty size; cat /data/page; echo do''ne\n")
	if got, err := s.hear(ws, "done"); err != nil || !strings.Contains(got, "30 100") || !strings.Contains(got, "shared") {
		t.Errorf("exec: %q, %v", got, err)
	}
	if code, _, _ := s.do("DELETE "+groups+"pair", ""); code != 200 {
		t.Errorf("DELETE: %d", code)
	}
	if left := s.containersOf("pair"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if direct(ip, "8000") {
		t.Errorf("something listens at the address of a group that is gone")
	}
}

// What holds the network of several is killed: the whole group begins anew, as its policy says.
func TestLostNetwork(t *testing.T) {
	s := newService(t, "docker", t.TempDir())
	if end := s.create("pair", strings.Replace(one("Always", "exec sleep 600"), `"containers":[`, `"containers":[`+item("other", "exec sleep 600")+`,`, 1)); end != "Succeeded" {
		t.Fatal(end)
	}
	var pause string
	for _, name := range s.containersOf("pair") {
		if !strings.Contains(name, "-main-") && !strings.Contains(name, "-other-") {
			pause = name
		}
	}
	if out, err := exec.Command("docker", "kill", pause).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	s.until("both run again", func() bool {
		_, _, doc := s.do("GET "+groups+"pair", "")
		for i := range 2 {
			c := fmt.Sprintf("properties.containers.%d.properties.instanceView.", i)
			if at(doc, c+"restartCount") != "1" || at(doc, c+"currentState.state") != "Running" {
				return false
			}
		}
		return true
	})
	if got := s.show("pair", "properties.instanceView.events"); !strings.Contains(got, "SandboxChanged") {
		t.Errorf("events: %s", got)
	}
	if n := len(s.containersOf("pair")); n != 3 {
		t.Errorf("%d containers", n)
	}
}

func TestOutOfMemory(t *testing.T) {
	s := newService(t, "docker", t.TempDir())
	if end := s.create("oom", strings.Replace(one("Never", `exec python3 -c 'b"x" * (300 << 20)'`), `"memoryInGB":0.5`, `"memoryInGB":0.1`, 1)); end != "Succeeded" {
		t.Fatal(end)
	}
	s.until("its end", func() bool { return s.show("oom", first+"currentState.state") == "Terminated" })
	if code, detail := s.show("oom", first+"currentState.exitCode"), s.show("oom", first+"currentState.detailStatus"); code != "137" || detail != "OOMKilled" {
		t.Errorf("%s %s", code, detail)
	}
}

// For any small program the API's exit code and output are Docker's.
func TestProgramsEndAsInDocker(t *testing.T) {
	s := newService(t, "docker", t.TempDir())
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker command: ", err)
	}
	dice := rand.New(rand.NewPCG(7, 11))
	words := []string{"echo $((%d*3))", "printf 'a%%db' %d", "echo er%d >&2", "seq %d", "printf 'x\\n\\n%d'", "test %d -gt 5 && echo big", "(exit %d) || echo $?", "printf '\\303\\274%d\\t|'", "expr %d + 1", "python3 -c 'print(\"p\", %d)'"}
	n := 12
	if testing.Short() {
		n = 4
	}
	for i := range n {
		var lines []string
		for range 1 + dice.IntN(5) {
			lines = append(lines, fmt.Sprintf(words[dice.IntN(len(words))], dice.IntN(9)))
		}
		script := strings.Join(append(lines, []string{"exit " + fmt.Sprint(dice.IntN(256)), "kill -TERM $$", "kill -KILL $$", "true"}[dice.IntN(4)]), "; ")
		cmd := exec.Command("docker", "run", "--rm", "--init", "lazulite/base", "/bin/sh", "-c", script+"")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		code := 0
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("p%d", i)
		if end := s.create(name, one("Never", script)); end != "Succeeded" {
			t.Fatal(end)
		}
		s.until("its end", func() bool { return s.show(name, first+"currentState.state") == "Terminated" })
		if got := s.show(name, first+"currentState.exitCode"); got != fmt.Sprint(code) {
			t.Errorf("%s: exit code %s, Docker's %d", script, got, code)
		}
		// Docker's own two streams come in any order.
		if got := s.logs(name, "main"); got != out.String() && !strings.Contains(script, ">&2") || len(got) != out.Len() {
			t.Errorf("%s: printed %q, in Docker %q", script, got, out.String())
		}
	}
}

// A gitRepo volume has the revision that was asked for.
func TestGitRepo(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	repo := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=n", "-c", "user.email=e@x"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	if err := os.WriteFile(repo+"/page", []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", "page")
	git("commit", "-qm", "first")
	revision := git("rev-parse", "HEAD")
	if err := os.WriteFile(repo+"/page", []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("commit", "-qam", "second")
	git("update-server-info")
	server := http.FileServer(http.Dir(repo + "/.git"))
	addr := listen(t, server)
	s := newService(t, "docker", t.TempDir())
	with := func(r, d string) string {
		return strings.Replace(one("Never", "find /src -name page | xargs cat", `,"volumeMounts":[{"name":"src","mountPath":"/src"}]`), `"osType"`,
			`"volumes":[{"name":"src","gitRepo":{"repository":"`+addr+`","directory":"`+d+`","revision":"`+r+`"}}],"osType"`, 1)
	}
	for name, c := range map[string]struct{ body, end, log string }{
		"old": {with(revision, "./test"), "Succeeded", "old\n"}, "new": {with("", "."), "Succeeded", "new\n"}, "none": {with("0123456789012345678901234567890123456789", ""), "ContainerGroupCreationFailed", ""},
	} {
		if end := s.create(name, c.body); end != c.end {
			t.Errorf("%s: %s: %s", name, end, s.show(name, "properties.instanceView"))
		} else if c.end == "Succeeded" {
			s.until(name+" prints "+c.log, func() bool { return s.logs(name, "main") == c.log })
		}
	}
}

// An image of a private registry is had with its user's password alone, which nobody is shown.
func TestPrivateRegistry(t *testing.T) {
	s := newService(t, "docker", t.TempDir())
	const password = "registry-secret"
	r := registrytest.New(t, "robot", password)
	image := r.Address() + "/team/tiny:1"
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", image).Run() })
	with := func(password string) string {
		login := `"imageRegistryCredentials":[{"server":"` + r.Address() + `","username":"robot","password":"` + password + `"}],`
		return strings.Replace(strings.Replace(one("Never", "true"), "lazulite/base", image, 1), `"osType"`, login+`"osType"`, 1)
	}
	if end := s.create("wrong", with("guessed")); end != "InaccessibleImage" {
		t.Errorf("with a wrong password: %s", end)
	}
	// It holds no shell: that the container can't run shows that the image is there.
	if end := s.create("right", with(password)); end != "Succeeded" {
		t.Errorf("with the password: %s", end)
	}
	_, _, doc := s.do("GET "+groups+"right", "")
	if got := events(doc); !strings.HasPrefix(got, "Pulling x1, Pulled x1") || at(doc, first+"currentState.detailStatus") != "ContainerCannotRun" {
		t.Errorf("events: %s, state %s", got, at(doc, first+"currentState"))
	}
	for _, name := range []string{"wrong", "right"} {
		_, _, doc := s.do("GET "+groups+name, "")
		if shown := at(doc, "properties"); strings.Contains(shown, password) || strings.Contains(shown, "guessed") || !strings.Contains(shown, "robot") {
			t.Errorf("%s shows %s", name, shown)
		}
	}
}

// An emulator is killed; the next takes its groups over.
func TestKilledEmulator(t *testing.T) {
	for _, kind := range []string{"process", "docker"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			first := newService(t, kind, dir)
			for name, body := range map[string]string{
				"lasts":   one("Always", "echo begun; exec sleep 600"),
				"once":    one("Never", "echo begun; exec sleep 600"),
				"did":     one("Never", "echo did; exit 5"),
				"stopped": one("Always", "exec sleep 600"),
			} {
				if end := first.create(name, body); end != "Succeeded" {
					t.Fatalf("%s: %s", name, end)
				}
			}
			first.do("POST "+groups+"stopped/stop", "")
			first.until("an end", func() bool {
				return first.show("did", "properties.containers.0.properties.instanceView.currentState.state") == "Terminated"
			})
			if err := errors.Join(first.arm.Close(t.Context()), first.fake.Close(t.Context()), first.engine.Close(t.Context()), first.store.Close()); err != nil {
				t.Fatal(err)
			}
			first.sockets.Close()
			first.arm = nil

			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "ACI_TEST_VICTIM="+dir, "ACI_TEST_ENGINE="+kind)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			waitForRun(t, dir)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()

			s := newService(t, kind, dir)
			state := "properties.containers.0.properties.instanceView."
			s.until("it runs again", func() bool { return s.show("lasts", state+"currentState.state") == "Running" })
			for name, want := range map[string]string{"once": "Terminated", "did": "Terminated"} {
				s.until(name, func() bool { return s.show(name, state+"currentState.state") == want })
			}
			if got := s.show("did", state+"currentState.exitCode"); got != "5" || s.logs("did", "main") != "did\n" {
				t.Errorf("what had ended: %s, %q", got, s.logs("did", "main"))
			}
			if got := s.show("once", state+"currentState.exitCode"); got != "137" {
				t.Errorf("what was killed and is not to be restarted: %s", got)
			}
			if got := s.show("stopped", "properties.instanceView.state"); got != "Stopped" {
				t.Errorf("what was stopped: %s", got)
			}
			// Of Docker's containers none was lost this time: it is the one that the killed emulator had.
			if n := s.show("lasts", state+"restartCount"); kind == "docker" && n != "1" || kind == "process" && n != "2" {
				t.Errorf("%s restarts", n)
			}
		})
	}
}

// waitForRun waits until the killed emulator's group has been seen running, as its file says.
func waitForRun(t *testing.T, dir string) {
	t.Helper()
	s := &service{TB: t}
	s.until("the victim's group", func() bool {
		files, _ := os.ReadDir(dir + "/aci/groups")
		for _, f := range files {
			var g struct {
				Order   struct{ Name string }
				Members []struct {
					View struct {
						RestartCount int
						CurrentState struct{ State string }
					}
				}
			}
			data, err := os.ReadFile(dir + "/aci/groups/" + f.Name() + "/group.json")
			if err != nil || json.Unmarshal(data, &g) != nil || g.Order.Name != "lasts" {
				continue
			}
			return g.Members[0].View.CurrentState.State == "Running" && g.Members[0].View.RestartCount == 1
		}
		return false
	})
}
