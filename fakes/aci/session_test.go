package aci_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/fakes/aci"
)

func (s *service) write(name, content string) {
	s.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *service) read(name string) string {
	s.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// socket asks for a session and connects to it.
func (s *service) socket(what, body string, protocols ...string) (c *websocket.Conn, password string) {
	s.Helper()
	code, _, doc := s.do("POST "+what, body)
	if code != 200 || !strings.HasPrefix(at(doc, "webSocketUri"), "wss://bridge-linux-01.westus.management.azurecontainer.io/") {
		s.Fatalf("%s: %d %v", what, code, doc)
	}
	_, path, _ := strings.Cut(at(doc, "webSocketUri"), ".io")
	c, _, err := websocket.Dial(s.Context(), strings.Replace(s.sockets.URL, "http", "ws", 1)+path, &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.CloseNow() })
	return c, at(doc, "password")
}

func (s *service) say(c *websocket.Conn, text string) {
	s.Helper()
	if err := c.Write(s.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.Fatal(err)
	}
}

// hear reads frames until one of them ends it, or a text is among what came.
func (s *service) hear(c *websocket.Conn, until string) (string, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	var all strings.Builder
	for until == "" || !strings.Contains(all.String(), until) {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return all.String(), err
		}
		all.Write(frame)
	}
	return all.String(), nil
}

func TestExec(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	if end := s.create("g", one("Never", "sleep 600")); end != "Succeeded" {
		t.Fatal(end)
	}
	exec := groups + "g/containers/main/exec"
	const shell = `{"command":"/bin/sh","terminalSize":{"rows":21,"cols":83}}`

	c, _ := s.socket(exec, shell)
	s.say(c, "wrong")
	if _, err := s.hear(c, ""); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a wrong password: %v", err)
	}

	c, password := s.socket(exec, shell)
	s.say(c, password)
	for _, r := range "stty size; echo $((6*7)) ü\n" {
		s.say(c, string(r)) // one frame for each character, as az sends them
	}
	if got, err := s.hear(c, "42 ü"); err != nil || !strings.Contains(got, "21 83") {
		t.Errorf("the terminal shows %q, %v", got, err)
	}
	s.say(c, "exit\n")
	if _, err := s.hear(c, ""); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("at the end: %v", err)
	}

	// In Kubernetes' subprotocol the terminal's size can change.
	c, password = s.socket(exec, shell, "v4.channel.k8s.io")
	s.say(c, password)
	s.say(c, "\x04"+`{"Width":91,"Height":17}`)
	s.say(c, "\x00stty size; exit\n")
	if got, _ := s.hear(c, ""); !strings.Contains(got, "17 91") || got[0] != 1 {
		t.Errorf("after a change of size: %q", got)
	}

	c, password = s.socket(exec, `{"command":"ls -l"}`)
	s.say(c, password)
	if got, _ := s.hear(c, ""); !strings.Contains(got, "executable file not found") {
		t.Errorf("a command with arguments: %q", got)
	}
	if _, r, err := websocket.Dial(t.Context(), strings.Replace(s.sockets.URL, "http", "ws", 1)+"/exec/caas-none/x", nil); err == nil || r == nil || r.StatusCode != 404 {
		t.Errorf("a session that nobody was promised: %v", err)
	}
}

// A client that goes away takes its shell with it.
func TestExecEndsWithItsClient(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	mark := t.TempDir() + "/mark"
	if end := s.create("g", one("Never", "sleep 600")); end != "Succeeded" {
		t.Fatal(end)
	}
	c, password := s.socket(groups+"g/containers/main/exec", `{"command":"/bin/sh"}`)
	s.say(c, password)
	s.say(c, "echo $$ > "+mark+"; echo rea''dy\n")
	if _, err := s.hear(c, "ready"); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseNow()
	pid, err := strconv.Atoi(strings.TrimSpace(s.read(mark)))
	if err != nil {
		t.Fatal(err)
	}
	s.until("the shell's end", func() bool { return syscall.Kill(pid, 0) != nil })
}

func TestAttach(t *testing.T) {
	s := newService(t, "process", t.TempDir())
	if end := s.create("g", one("Never", "echo before; sleep 1; echo after")); end != "Succeeded" {
		t.Fatal(end)
	}
	c, password := s.socket(groups+"g/containers/main/attach", "")
	s.say(c, password)
	if got, err := s.hear(c, ""); websocket.CloseStatus(err) != websocket.StatusNormalClosure || got != "before\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// A group is reached by its name and by its address, at the ports of its address alone.
func TestDial(t *testing.T) {
	s := newService(t, "process", t.TempDir(), func(c *aci.Config) {
		c.Images = []engine.HostImage{{Match: "server", Command: []string{"/bin/sh", "-c", `exec python3 -u -m http.server ${LAZULITE_LISTEN_18091##*:} --bind ${LAZULITE_LISTEN_18091%:*}`}, MovesPorts: true}}
	})
	serve := func(label string) string {
		return `{"location":"westus","properties":{"osType":"Linux","ipAddress":{"type":"Public","dnsNameLabel":"` + label + `","ports":[{"port":18091}]},"containers":[{"name":"main","properties":{"image":"server","ports":[{"port":18091},{"port":18092}],` +
			`"readinessProbe":{"httpGet":{"port":18091},"periodSeconds":1},"resources":{"requests":{"cpu":1,"memoryInGB":1}}}}]}}`
	}
	// Both have one port, and what runs in them listens where it is told: each at its own address.
	for _, label := range []string{"first", "second"} {
		if end := s.create(label, serve(label)); end != "Succeeded" {
			t.Fatal(end)
		}
		ip := s.show(label, "properties.ipAddress.ip")
		s.until("it listens at "+ip, func() bool { return direct(ip, "18091") })
		for _, host := range []string{label + ".westus.azurecontainer.io", s.show(label, "properties.ipAddress.ip")} {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				name, port, _ := net.SplitHostPort(addr)
				return s.fake.Dial(ctx, name, port)
			}}}
			s.until("an answer", func() bool {
				r, err := client.Get("http://" + host + ":18091/")
				if err != nil {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				return r.StatusCode == 200
			})
			if _, err := s.fake.Dial(t.Context(), host, "18092"); !errors.Is(err, aci.ErrClosed) {
				t.Errorf("a port that the address has not: %v", err)
			}
		}
	}
	if _, err := s.fake.Dial(t.Context(), "nobody.westus.azurecontainer.io", "80"); !errors.Is(err, aci.ErrNoGroup) {
		t.Errorf("a name that nobody has: %v", err)
	}
	taken := strings.Replace(serve("third"), `"image":"server"`, `"image":"python","command":["python3","-m","http.server","18091"]`, 1)
	if end := s.create("third", taken); end != "ContainerGroupCreationFailed" {
		t.Errorf("a port that another group has: %s", end)
	}
	if got := s.show("third", first+"currentState.detailStatus"); !strings.Contains(got, "port 18091 of this host is taken") {
		t.Errorf("why: %q", got)
	}
	for _, name := range []string{"first", "second"} {
		s.do("DELETE "+groups+name, "")
	}
	// With its port taken at all addresses of this host, a group is reached by way of Dial.
	l, err := net.Listen("tcp4", "0.0.0.0:18091")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if end := s.create("fourth", serve("fourth")); end != "Succeeded" {
		t.Fatal(end)
	}
	ip := s.show("fourth", "properties.ipAddress.ip")
	if !strings.HasPrefix(ip, "198.1") {
		t.Errorf("its address: %s", ip)
	}
	s.until("an answer", func() bool {
		c, err := s.fake.Dial(t.Context(), ip, "18091")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// direct says whether something listens at a port of an address of this host's own.
func direct(ip, port string) bool {
	c, err := net.Dial("tcp", net.JoinHostPort(ip, port))
	if err == nil {
		c.Close()
	}
	return err == nil && strings.HasPrefix(ip, "127.")
}
