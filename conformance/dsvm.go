package conformance

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/onsi/gomega"
	"golang.org/x/crypto/ssh"

	"lazulite.dev/conformance/wire"
)

// Versions of the resource providers that az of October 2018 asks for.
const (
	versionCompute = "2018-10-01"
)

// ordered is a Data Science VM made through Resource Manager, as az vm create does it.
type ordered struct {
	machine
	vm, nic, ip, wall, disk string // paths
}

func (s *session) path(namespace, name string) string {
	return s.group() + "/providers/Microsoft." + namespace + "/" + name
}

// made creates a resource and waits for it.
func (s *session) made(path, version string, properties map[string]any) {
	r := s.create(path, version, map[string]any{"location": s.cfg.Location, "properties": properties})
	s.status(r, http.StatusOK, http.StatusCreated, http.StatusAccepted)
	s.done(r)
}

// dsvmImage is the Data Science VM for Linux (Ubuntu).
var dsvmImage = map[string]any{"publisher": "microsoft-ads", "offer": "linux-data-science-vm-ubuntu", "sku": "linuxdsvmubuntu", "version": "latest"}

// vmBody is of a VM that is logged into by the password and the key.
func (s *session) vmBody(size, nic, user, password, key string, image map[string]any) map[string]any {
	profile := map[string]any{"computerName": "conformance", "adminUsername": user, "adminPassword": password}
	if key != "" {
		profile["linuxConfiguration"] = map[string]any{"disablePasswordAuthentication": false, "ssh": map[string]any{"publicKeys": []any{
			map[string]any{"path": "/home/" + user + "/.ssh/authorized_keys", "keyData": key}}}}
	}
	return map[string]any{"location": s.cfg.Location, "properties": map[string]any{
		"hardwareProfile": map[string]any{"vmSize": size},
		"storageProfile":  map[string]any{"imageReference": image, "osDisk": map[string]any{"createOption": "FromImage"}},
		"osProfile":       profile,
		"networkProfile":  map[string]any{"networkInterfaces": []any{map[string]any{"id": nic}}}}}
}

// access lets SSH in or keeps it out.
func (s *session) access(wall, word string) {
	s.made(wall, versionNetwork, map[string]any{"securityRules": []any{map[string]any{"name": "ssh", "properties": map[string]any{
		"protocol": "Tcp", "sourcePortRange": "*", "destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*",
		"access": word, "priority": 1000, "direction": "Inbound"}}}})
}

// interfaceOf makes what a VM needs of the network.
func (s *session) interfaceOf(name string) (nic, ip, wall string) {
	net := s.path("Network", "virtualNetworks/"+name)
	nic, ip, wall = s.path("Network", "networkInterfaces/"+name), s.path("Network", "publicIPAddresses/"+name), s.path("Network", "networkSecurityGroups/"+name)
	s.made(net, versionNetwork, map[string]any{"addressSpace": map[string]any{"addressPrefixes": []string{"10.0.0.0/16"}},
		"subnets": []any{map[string]any{"name": "default", "properties": map[string]any{"addressPrefix": "10.0.0.0/24"}}}})
	s.access(wall, "Allow")
	s.made(ip, versionNetwork, map[string]any{"publicIPAllocationMethod": "Static"})
	s.made(nic, versionNetwork, map[string]any{"networkSecurityGroup": map[string]any{"id": wall}, "ipConfigurations": []any{map[string]any{"name": "ipconfig", "properties": map[string]any{
		"subnet": map[string]any{"id": net + "/subnets/default"}, "publicIPAddress": map[string]any{"id": ip}}}}})
	return nic, ip, wall
}

// ordered creates the VM the first time.
func (s *session) ordered() *ordered {
	return obtain(s, &s.fix.dsvm, "a Data Science VM made through Resource Manager", func() *ordered {
		s.provider("Microsoft.Compute")
		s.provider("Microsoft.Network")
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		s.must(err)
		public, err := ssh.NewPublicKey(&private.PublicKey)
		s.must(err)
		name := "dsvm" + random()
		o := &ordered{vm: s.path("Compute", "virtualMachines/"+name)}
		o.nic, o.ip, o.wall = s.interfaceOf(name)
		o.User, o.Password, o.Port = "conformer", "Aa1-"+random()+random(), 22
		o.key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
		r := s.create(o.vm, versionCompute, s.vmBody(s.cfg.VMSize, o.nic, o.User, o.Password, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), dsvmImage))
		s.status(r, http.StatusOK, http.StatusCreated)
		if r.Header.Get("Azure-AsyncOperation") == "" {
			s.fail("%s; a VM's PUT answers with Azure-AsyncOperation", r)
		}
		if strings.Contains(string(r.Body), o.Password) {
			s.fail("the answer to a VM's PUT shows its password")
		}
		s.done(r)
		r = s.get(o.ip, versionNetwork)
		s.status(r, http.StatusOK)
		o.Address = s.text(r, "properties", "ipAddress")
		r = s.get(o.vm, versionCompute)
		s.status(r, http.StatusOK)
		o.disk = s.text(r, "properties", "storageProfile", "osDisk", "managedDisk", "id")
		return o
	})
}

// with is the machine by one way to log in.
func (o *ordered) with(password bool) *machine {
	m := o.machine
	if password {
		m.key = ""
	} else {
		m.Password = ""
	}
	return &m
}

// foreignKey is one that no machine knows.
func (s *session) foreignKey() ssh.Signer {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	s.must(err)
	signer, err := ssh.NewSignerFromKey(private)
	s.must(err)
	return signer
}

// closed says whether nobody answers as SSH does.
func (o *ordered) closed() bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(o.Address, "22"), 3*time.Second)
	if err != nil {
		return true
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, 4)
	n, _ := c.Read(b)
	return string(b[:n]) != "SSH-"
}

// power does something to a VM, and checks what it says of itself then.
func (s *session) power(o *ordered, action, want string) {
	r := s.send(http.MethodPost, o.vm+"/"+action, versionCompute, nil)
	s.status(r, http.StatusOK, http.StatusAccepted)
	s.done(r)
	r = s.get(o.vm+"/instanceView", versionCompute)
	s.status(r, http.StatusOK)
	statuses, _ := r.Value("statuses").([]any)
	for _, one := range statuses {
		if status, _ := one.(map[string]any); status["code"] == "PowerState/"+want {
			return
		}
	}
	s.fail("%s; after %s its statuses should have PowerState/%s", r, action, want)
}

func dsvmSpecs() []spec {
	return []spec{
		{"dsvm.create", func(s *session) {
			o := s.ordered()
			r := s.get(o.vm, versionCompute)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("properties", "hardwareProfile", "vmSize")).To(equalFold(s.cfg.VMSize), r.String())
			s.Expect(r.Text("properties", "storageProfile", "osDisk", "osType")).To(gomega.Equal("Linux"), r.String())
			s.text(r, "properties", "vmId")
			s.Expect(string(r.Body)).NotTo(gomega.ContainSubstring(o.Password))
		}},
		{"dsvm.login", func(s *session) {
			o := s.ordered()
			for _, password := range []bool{true, false} {
				if out, code := s.remote(s.login(o.with(password)), "uname -s"); code != 0 || strings.TrimSpace(out) != "Linux" {
					s.fail("uname on the machine: %q, %d", out, code)
				}
			}
			for _, auth := range []ssh.AuthMethod{ssh.Password("Aa1-wrong-" + random()), ssh.PublicKeys(s.foreignKey())} {
				c, err := ssh.Dial("tcp", net.JoinHostPort(o.Address, "22"), &ssh.ClientConfig{User: o.User, Auth: []ssh.AuthMethod{auth}, Timeout: 20 * time.Second, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
				if err == nil {
					_ = c.Close()
					s.fail("a wrong password or key opens the machine")
				}
			}
		}},
		{"dsvm.firewall", func(s *session) {
			o := s.ordered()
			s.access(o.wall, "Deny")
			s.eventually("the rule that closes port 22", s.cfg.Budget.Operation, o.closed)
			s.access(o.wall, "Allow")
			s.eventually("the rule that opens port 22", s.cfg.Budget.Operation, func() bool { return !o.closed() })
		}},
		{"dsvm.run-command", func(s *session) {
			o := s.ordered()
			r := s.send(http.MethodPost, o.vm+"/runCommand", versionCompute, map[string]any{"commandId": "RunShellScript", "script": []string{"echo $((6*7)) $1"}, "parameters": []any{map[string]any{"name": "w", "value": "words"}}})
			s.status(r, http.StatusOK, http.StatusAccepted)
			op := s.done(r)
			if !strings.Contains(string(op.Last.Body), "42 words") {
				s.fail("%s; the output should have what the script printed", op.Last)
			}
		}},
		{"dsvm.power", func(s *session) {
			o := s.ordered()
			s.remote(s.login(o.with(false)), "echo kept > kept")
			s.power(o, "powerOff", "stopped")
			s.eventually("the end of logins", time.Minute, o.closed)
			s.power(o, "start", "running")
			s.power(o, "deallocate", "deallocated")
			s.eventually("the end of logins", time.Minute, o.closed)
			s.power(o, "start", "running")
			s.eventually("the return of logins", s.cfg.Budget.Operation, func() bool { return !o.closed() })
			if out, code := s.remote(s.login(o.with(false)), "cat kept"); code != 0 || strings.TrimSpace(out) != "kept" {
				s.fail("after deallocate and start the disk has %q (%d)", out, code)
			}
			s.power(o, "restart", "running")
		}},
		{"dsvm.attach", func(s *session) {
			o := s.ordered()
			name := computeName()
			r := s.attach(name, o.with(true).account(), o.Address, o.Port)
			s.begun(r, name)
			s.done(r)
			s.removeCompute(s.workspace().compute(name))
		}},
		{"dsvm.windows", func(s *session) {
			name := "win" + random()
			nic, _, _ := s.interfaceOf(name)
			vm := s.path("Compute", "virtualMachines/"+name)
			r := s.create(vm, versionCompute, s.vmBody(s.cfg.VMSize, nic, "conformer", "Aa1-"+random()+random(), "",
				map[string]any{"publisher": "MicrosoftWindowsServer", "offer": "WindowsServer", "sku": "2016-Datacenter", "version": "latest"}))
			if r.OK() {
				s.skip("the endpoint has Windows machines; that none can be attached is said by the attach, which needs its SSH")
			}
			s.refused(r, http.StatusBadRequest)
			s.status(s.get(vm, versionCompute), http.StatusNotFound)
		}},
		{"dsvm.size", func(s *session) {
			o := s.ordered()
			vm := s.path("Compute", "virtualMachines/none"+random())
			r := s.create(vm, versionCompute, s.vmBody("Standard_Nothing_v9", o.nic, "conformer", "Aa1-"+random()+random(), "", dsvmImage))
			s.refused(r, http.StatusBadRequest, "InvalidParameter")
			s.Expect(r.Text("error", "target")).To(gomega.Equal("vmSize"), r.String())
			s.status(s.get(vm, versionCompute), http.StatusNotFound)
		}},
		{"dsvm.delete", func(s *session) {
			o := s.ordered()
			r := s.do(wire.Request{Method: http.MethodDelete, URL: o.nic, Version: versionNetwork})
			if r.OK() {
				if op := s.await(r); op.Succeeded() {
					s.fail("%s; the interface of a VM that is there can't be deleted", op.Last)
				}
			}
			s.status(s.get(o.nic, versionNetwork), http.StatusOK)
			for _, one := range [][2]string{{o.vm, versionCompute}, {o.nic, versionNetwork}, {o.ip, versionNetwork}, {o.disk, "2018-06-01"}} {
				r := s.do(wire.Request{Method: http.MethodDelete, URL: one[0], Version: one[1]})
				s.status(r, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
				s.eventually("the end of "+one[0], s.cfg.Budget.Operation, func() bool { return s.get(one[0], one[1]).Status == http.StatusNotFound })
				s.client.Untrack(one[0])
			}
			if !o.closed() {
				s.fail("the machine is deleted, and SSH answers at its address")
			}
		}},
	}
}
