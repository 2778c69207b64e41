package conformance

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/gomega"
	"golang.org/x/crypto/ssh"

	"lazulite.dev/conformance/wire"
)

// machine is the Linux machine of target:vm, attached to the workspace under its name.
type machine struct {
	SSH
	compute string // name in the workspace
	key     string // PEM, if the login is by key
}

func (w *workspace) compute(name string) string { return w.path + "/computes/" + name }

func computeName() string { return "c" + random() }

// attach sends RemoteCompute.attach's PUT.
func (s *session) attach(name string, account map[string]any, address string, port int) *wire.Response {
	return s.create(s.workspace().compute(name), versionWorkspace, map[string]any{
		"location": s.cfg.Location, "properties": map[string]any{"computeType": "VirtualMachine",
			"properties": map[string]any{"sshPort": port, "address": address, "administratorAccount": account}}})
}

// begun checks the answer to a compute's PUT.
func (s *session) begun(r *wire.Response, name string) {
	s.status(r, http.StatusOK, http.StatusCreated, http.StatusAccepted)
	if r.Header.Get("Azure-AsyncOperation") == "" {
		s.fail("%s; the SDK gives up on a compute PUT without Azure-AsyncOperation", r)
	}
	s.status(s.get(s.workspace().compute(name), versionWorkspace), http.StatusOK)
}

func (m *machine) account() map[string]any {
	if m.key != "" {
		return map[string]any{"username": m.User, "publicKeyData": "", "privateKeyData": m.key, "password": m.Password}
	}
	return map[string]any{"username": m.User, "password": m.Password}
}

// machine attaches the configured machine, or creates a Data Science VM.
func (s *session) machine() *machine {
	return obtain(s, &s.fix.vm, "a virtual machine", func() *machine {
		m := &machine{SSH: s.cfg.SSH, compute: computeName()}
		if m.Address == "" {
			return s.createMachine(m, s.cfg.VMSize, s.cfg.Location)
		}
		if m.KeyFile != "" {
			b, err := os.ReadFile(m.KeyFile)
			s.must(err)
			m.key = string(b)
		}
		r := s.attach(m.compute, m.account(), m.Address, m.Port)
		s.begun(r, m.compute)
		s.done(r)
		return m
	})
}

// createMachine sends DsvmCompute.create's PUT and asks for the login.
func (s *session) createMachine(m *machine, size, location string) *machine {
	path := s.workspace().compute(m.compute)
	r := s.create(path, versionWorkspace, map[string]any{"location": location, "properties": map[string]any{
		"computeType": "VirtualMachine", "properties": map[string]any{"virtualMachineSize": size, "sshPort": ""}}})
	s.begun(r, m.compute)
	s.done(r)
	r = s.get(path, versionWorkspace)
	s.status(r, http.StatusOK)
	m.Address = s.text(r, "properties", "properties", "address")
	port, _ := r.Value("properties", "properties", "sshPort").(float64)
	if m.Port = int(port); m.Port == 0 {
		s.fail("%s; sshPort should be a number", r)
	}
	if r = s.send(http.MethodPost, path+"/listKeys", versionWorkspace, nil); r.OK() {
		m.User, m.Password, m.key = r.Text("username"), r.Text("password"), r.Text("privateKeyData")
	}
	return m
}

// login opens an SSH connection with the machine's own login.
func (s *session) login(m *machine) *ssh.Client {
	if m.User == "" {
		s.skip("the machine's login is not known here")
	}
	cfg := &ssh.ClientConfig{User: m.User, Timeout: 20 * time.Second,
		// The machine was made, or named by its owner, a moment ago: there is no older key to compare with.
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	if m.key != "" {
		signer, err := ssh.ParsePrivateKey([]byte(m.key))
		if err != nil {
			s.fail("the machine's private key: %v", err)
		}
		cfg.Auth = append(cfg.Auth, ssh.PublicKeys(signer))
	}
	if m.Password != "" {
		cfg.Auth = append(cfg.Auth, ssh.Password(m.Password))
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(m.Address, strconv.Itoa(m.Port)), cfg.Timeout)
	if err != nil {
		s.skip("the machine can't be reached from here: %v", err)
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, m.Address, cfg)
	if err != nil {
		_ = conn.Close()
		s.fail("the login that the service gave does not open the machine: %v", err)
	}
	client := ssh.NewClient(c, chans, reqs)
	s.later(func() { _ = client.Close() })
	return client
}

// submit posts a run with project.zip to the machine and returns its id and URL.
func (s *session) submit(arguments ...any) (id, u string) {
	m, w := s.machine(), s.workspace()
	files := w.configFiles()
	files["train.py"] = trainScript
	r := s.multipart(w.experiment("execution")+"/run",
		part{filename: "definition.json", content: s.definition(m.compute, arguments...)},
		part{filename: "project.zip", content: zipped(s, files)})
	s.status(r, http.StatusOK)
	id = s.text(r, "runId")
	u = w.experiment("history") + "/runs/" + id
	s.later(func() {
		// A spec that gave up leaves nothing running.
		if r := s.do(wire.Request{Method: http.MethodGet, URL: u}); going[r.Text("status")] {
			s.cancel(id)
		}
	})
	if d := decode[details](s, s.data(http.MethodGet, u+"/details", nil)); d.Status == "NotStarted" || d.Status == "" {
		s.fail("after its submission the run is %q; the SDK takes that for its end", d.Status)
	}
	return id, u
}

// cancel sends Run.cancel's request.
func (s *session) cancel(id string) { s.cancelOn(id, s.machine().compute) }

func (s *session) cancelOn(id, target string) {
	body := map[string]any{"RunId": id, "Target": target, "CustomTarget": nil}
	r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().experiment("execution") + "/cancel", Body: body})
	if r.Status >= 400 {
		s.fail("%s", r)
	}
}

// refusedAttach attaches with something wrong and checks that the compute goes Failed and says why.
func (s *session) refusedAttach(account map[string]any, address string, port int) {
	name := computeName()
	path := s.workspace().compute(name)
	r := s.attach(name, account, address, port)
	s.begun(r, name)
	op := s.await(r)
	if op.Status != "Failed" {
		s.fail("the operation ended %q, not Failed: %s", op.Status, op.Last)
	}
	if op.Last.Text("error", "error", "code") == "" || op.Last.Text("error", "error", "message") == "" {
		s.fail(`%s; the SDK reads {"error":{"error":{"code","message"}}}`, op.Last)
	}
	c := s.get(path, versionWorkspace)
	s.status(c, http.StatusOK)
	s.Expect(c.Text("properties", "provisioningState")).To(gomega.Equal("Failed"), c.String())
	if c.Value("properties", "provisioningErrors") == nil {
		s.fail("%s; provisioningErrors should say why", c)
	}
	s.removeCompute(path)
}

// removeCompute deletes a compute and waits until it is gone.
func (s *session) removeCompute(path string) {
	r := s.do(wire.Request{Method: http.MethodDelete, URL: path, Version: versionWorkspace})
	s.status(r, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
	s.eventually("the end of "+path, s.cfg.Budget.Operation, func() bool {
		return s.get(path, versionWorkspace).Status == http.StatusNotFound
	})
	s.client.Untrack(path)
}

func vmSpecs() []spec {
	return []spec{
		{machineMade, func(s *session) {
			if s.cfg.SSH.Address != "" {
				s.skip("a machine of yours is configured, none is created")
			}
			m := s.machine()
			r := s.get(s.workspace().compute(m.compute), versionWorkspace)
			s.Expect(r.Text("id")).To(gomega.Equal(m.compute), "0.1.68 builds URLs from id, which must be the bare name: "+r.String())
			s.Expect(r.Text("properties", "computeType")).To(gomega.Equal("VirtualMachine"), r.String())
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("properties", "properties", "virtualMachineSize")).To(equalFold(s.cfg.VMSize), r.String())
			s.text(r, "properties", "resourceId")
			for _, k := range []string{"description", "provisioningErrors"} {
				if props, _ := r.Value("properties").(map[string]any); !hasKey(props, k) {
					s.fail("%s; the SDK requires the key properties.%s, if only as null", r, k)
				}
			}
			if !namedID(s.list(s.workspace().path+"/computes", versionWorkspace), m.compute) {
				s.fail("the workspace's computes lack %s", m.compute)
			}
		}},
		{"vm.dsvm.size", func(s *session) {
			path := s.workspace().compute(computeName())
			r := s.create(path, versionWorkspace, map[string]any{"location": s.cfg.Location, "properties": map[string]any{
				"computeType": "VirtualMachine", "properties": map[string]any{"virtualMachineSize": "Standard_Nothing_v9", "sshPort": ""}}})
			if r.Status >= 400 && r.Status < 500 {
				s.refused(r, r.Status)
				return
			}
			if op := s.await(r); op.Status != "Failed" {
				s.fail("a size that doesn't exist ended %q: %s", op.Status, op.Last)
			}
			s.removeCompute(path)
		}},
		{"vm.login", func(s *session) {
			session, err := s.login(s.machine()).NewSession()
			if err != nil {
				s.fail("the machine gives no session: %v", err)
			}
			defer func() { _ = session.Close() }()
			out, err := session.Output("uname -s")
			if err != nil || strings.TrimSpace(string(out)) != "Linux" {
				s.fail("uname on the machine: %q, %v", out, err)
			}
		}},
		{"vm.attach", func(s *session) {
			m := s.machine()
			if m.User == "" {
				s.skip("the machine's login is not known here")
			}
			name := computeName()
			path := s.workspace().compute(name)
			r := s.attach(name, m.account(), m.Address, m.Port)
			s.begun(r, name)
			s.done(r)
			r = s.get(path, versionWorkspace)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("properties", "properties", "address")).To(gomega.Equal(m.Address), r.String())
			// In JSON a key has other line ends: one line of it is enough.
			secrets := []string{m.Password}
			if lines := strings.Split(m.key, "\n"); len(lines) > 1 {
				secrets = append(secrets, lines[1])
			}
			for _, secret := range secrets {
				if secret != "" && strings.Contains(string(r.Body), secret) {
					s.fail("GET of the compute shows its secret")
				}
			}
			s.removeCompute(path)
			// Detaching leaves the machine alone.
			_ = s.login(m)
		}},
		{"vm.attach.password", func(s *session) {
			m := s.machine()
			user := m.User
			if user == "" {
				user = "nobody"
			}
			s.refusedAttach(map[string]any{"username": user, "password": "wrong-" + random()}, m.Address, m.Port)
		}},
		{"vm.attach.unreachable", func(s *session) {
			m := s.machine()
			s.refusedAttach(map[string]any{"username": "u", "password": "p"}, m.Address, 1)
		}},
		{"vm.attach.addressless", func(s *session) {
			name := computeName()
			r := s.create(s.workspace().compute(name), versionWorkspace, map[string]any{"location": s.cfg.Location, "properties": map[string]any{
				"computeType": "VirtualMachine", "properties": map[string]any{"sshPort": 22, "administratorAccount": map[string]any{"username": "u", "password": "p"}}}})
			s.refused(r, http.StatusBadRequest)
			s.status(s.get(s.workspace().compute(name), versionWorkspace), http.StatusNotFound)
		}},
		{"vm.run.completed", func(s *session) {
			id, u := s.submit("--word", scriptWord)
			d := s.follow(u, nil)
			s.ended(d, "Completed")
			s.Expect(d.Target).To(gomega.Equal(s.machine().compute))
			s.Expect(cells(s.metrics(id), "accuracy", "scalar")).To(gomega.Equal([]string{"accuracy=0.75"}))
			s.Expect(s.download("ExperimentRun", id, "outputs/model.txt")).To(gomega.Equal("weights of " + id))
			s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: hello " + scriptWord))
		}},
		{"vm.run.failed", func(s *session) {
			id, u := s.submit("--exit", 3)
			d := s.follow(u, nil)
			s.ended(d, "Failed")
			s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: end"))
			s.Expect(cells(s.metrics(id), "accuracy", "scalar")).To(gomega.HaveLen(1), "what was logged before the failure is kept")
		}},
		{"vm.run.canceled", func(s *session) {
			id, u := s.submit("--sleep", 600)
			s.follow(u, func(details) bool { return len(cells(s.metrics(id), "accuracy", "scalar")) > 0 })
			s.cancel(id)
			s.canceled(u)
			if s.machine().User == "" {
				return
			}
			client := s.login(s.machine())
			s.eventually("the end of the script on the machine", time.Minute, func() bool { return !runsOn(s, client, "train.py") })
		}},
		{"vm.run.target", func(s *session) {
			w := s.workspace()
			r := s.multipart(w.experiment("execution")+"/run",
				part{filename: "definition.json", content: s.definition("absent" + random())},
				part{filename: "project.zip", content: zipped(s, map[string]string{"train.py": trainScript})})
			if r.Status < 400 || r.Status >= 500 {
				s.fail("%s; a target that isn't there is the client's error", r)
			}
		}},
		{"vm.delete", func(s *session) {
			m, w := s.machine(), s.workspace()
			resource := s.get(w.compute(m.compute), versionWorkspace).Text("properties", "resourceId")
			s.removeCompute(w.compute(m.compute))
			if s.cfg.SSH.Address != "" {
				return
			}
			// The machine was the service's own: nothing of it stays.
			name := resource[strings.LastIndex(resource, "/")+1:]
			for _, left := range s.list(w.group+"/resources", versionResources) {
				if id, _ := left["id"].(string); strings.Contains(strings.ToLower(id), strings.ToLower(name)) {
					s.fail("the deleted compute left %s", id)
				}
			}
		}},
	}
}

// runsOn asks the machine whether a script that sleeps for our 600 s is among the processes.
func runsOn(s *session, client *ssh.Client, script string) bool {
	session, err := client.NewSession()
	if err != nil {
		s.fail("the machine gives no session: %v", err)
	}
	defer func() { _ = session.Close() }()
	out, _ := session.Output(fmt.Sprintf("ps ax -o args= | grep '[%c]%s.*--sleep 600' || true", script[0], script[1:]))
	return strings.TrimSpace(string(out)) != ""
}

func hasKey(m map[string]any, k string) bool { _, ok := m[k]; return ok }

// namedID finds a compute: 2018-03-01-preview gives its bare name as id, later versions have name.
func namedID(list []map[string]any, name string) bool {
	for _, c := range list {
		if c["id"] == name || c["name"] == name {
			return true
		}
	}
	return false
}
