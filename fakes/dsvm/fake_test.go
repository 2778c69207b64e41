package dsvm_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/dsvm"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DSVM_TEST_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	if dir := os.Getenv("DSVM_TEST_DOCKER_VICTIM"); dir != "" {
		dockerVictim(dir)
		return
	}
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

func TestLifeOfAVM(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	vm := compute + "vm1"
	both := strings.Replace(withKey(w.line), `"adminUsername"`, `"computerName":"vm","adminPassword":"`+password+`","adminUsername"`, 1)
	if err := w.put(vm, "2024-03-01", vmBody("Standard_DS1_v2", w.nets("vm1"), strings.Replace(both, `"disablePasswordAuthentication":true`, `"disablePasswordAuthentication":false`, 1))); err != nil {
		t.Fatal(err)
	}
	w.settle()
	shown := w.show(vm)
	for path, want := range map[string]any{
		"name": "vm1", "type": "Microsoft.Compute/virtualMachines", "location": "eastus2", "tags.a": "b",
		"properties.provisioningState": "Succeeded", "properties.hardwareProfile.vmSize": "Standard_DS1_v2",
		"properties.storageProfile.osDisk.osType": "Linux", "properties.storageProfile.osDisk.managedDisk.storageAccountType": "Premium_LRS",
		"properties.osProfile.linuxConfiguration.disablePasswordAuthentication": false,
		"properties.instanceView.statuses.0.code":                               "ProvisioningState/succeeded",
		"properties.instanceView.statuses.1.displayStatus":                      "VM running",
	} {
		if got := at(shown, path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if text, _ := json.Marshal(shown); strings.Contains(string(text), password) || strings.Contains(string(text), "$2a$") {
		t.Errorf("a secret is shown: %s", text)
	}
	if at(w.show(network+"networkInterfaces/vm1-nic"), "properties.virtualMachine.id") != vm {
		t.Error("the interface does not name its VM")
	}
	endpoint := w.endpoint("vm1")
	out := w.ssh("vm1", `echo "$USER $HOME $SHELL $TMPDIR $PWD"; echo kept > file; env | cut -d= -f1 | sort | tr '\n' ' '`)
	home := filepath.Join(filepath.Dir(strings.Fields(out)[3]), "home", user)
	if want := user + " " + home + " /bin/bash "; !strings.HasPrefix(out, want) || !strings.Contains(out, " "+home+"\n") {
		t.Errorf("in the VM: %q", out)
	}
	_, names, _ := strings.Cut(out, "\n")
	for _, name := range strings.Fields(names) {
		if !strings.Contains(" CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES HOME LAZULITE_CONTAINER LAZULITE_INSTANCE LOGNAME OLDPWD PATH PWD SHELL SHLVL SSH_CLIENT SSH_CONNECTION TMPDIR USER _ ", " "+name+" ") {
			t.Errorf("%s of the host is seen in the VM", name)
		}
	}
	byPassword, hostKey, err := dial(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	byPassword.Close()
	for _, c := range []struct {
		action, power string
		reachable     bool
	}{
		{"restart", "running", true}, {"powerOff", "stopped", false}, {"powerOff", "stopped", false}, {"start", "running", true}, {"start", "running", true},
		{"deallocate", "deallocated", false}, {"powerOff", "deallocated", false}, {"start", "running", true},
	} {
		if err := w.act(vm, c.action); err != nil {
			t.Errorf("%s: %v", c.action, err)
		}
		w.settle()
		if got := w.power(vm); got != c.power {
			t.Errorf("after %s: %s", c.action, got)
		}
		client, key, err := w.dial(endpoint)
		if (err == nil) != c.reachable {
			t.Errorf("after %s: %v", c.action, err)
		}
		if got := w.endpoint("vm1"); got != endpoint && c.power != "deallocated" || got != "" && c.power == "deallocated" {
			t.Errorf("after %s the address is %q", c.action, got)
		}
		if err == nil {
			client.Close()
			if string(key.Marshal()) != string(hostKey.Marshal()) {
				t.Errorf("after %s the host key is another", c.action)
			}
			if got := w.ssh("vm1", "cat file"); got != "kept" {
				t.Errorf("after %s: %q", c.action, got)
			}
		}
	}
	w.delete(vm)
	w.settle()
	if w.show(vm) != nil {
		t.Error("it is still there")
	}
	if _, _, err := dial(endpoint); err == nil {
		t.Error("it still takes logins")
	}
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its disk: %v", err)
	}
	if at(w.show(network+"networkInterfaces/vm1-nic"), "properties.virtualMachine") != nil || w.endpoint("vm1") != "" {
		t.Error("interface or address still show it")
	}
}

func TestRestartOfDeallocatedVM(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	vm := w.create("vm1")
	_ = w.act(vm, "deallocate")
	w.settle()
	wantError(t, "restart", w.act(vm, "restart"), 409, "OperationNotAllowed", "is deallocated or marked", "")
}

func wantError(t *testing.T, name string, err error, status int, code, text, target string) {
	t.Helper()
	var e *arm.Error
	text = strings.Replace(text, "is deallocated", "is either deallocated", 1)
	if !errors.As(err, &e) || e.Status != status || e.Code != code || !strings.Contains(e.Message, text) || target != "" && e.Target != target {
		t.Errorf("%s: %#v, want %d %s %q %s", name, err, status, code, text, target)
	}
}

func newRSA(t *testing.T) (gossh.Signer, string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey())))
}

func TestKeyLogin(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) { c.HighPorts = true })
	signer, line := newRSA(t)
	w.must(compute+"keyed", vmBody("Standard_D2_v2", w.nets("keyed"), withKey(line)))
	w.settle()
	endpoint := w.endpoint("keyed")
	if !strings.HasPrefix(endpoint, "127.0.0.1:") || at(w.show(compute+"keyed"), "tags."+dsvm.PortTag) != strings.TrimPrefix(endpoint, "127.0.0.1:") {
		t.Errorf("address %s, tags %v", endpoint, at(w.show(compute+"keyed"), "tags"))
	}
	if at(w.show(compute+"keyed"), "properties.osProfile.computerName") != "keyed" {
		t.Error("the computer has no name")
	}
	c, _, err := dial(endpoint, gossh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dial(endpoint); err == nil {
		t.Error("a password was taken")
	}
	// A key that is added on the machine counts from then on, as with ssh-copy-id.
	other, added := newRSA(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.CombinedOutput("echo '" + added + "' >> ~/.ssh/authorized_keys"); err != nil {
		t.Fatal(string(out), err)
	}
	c.Close()
	c, _, err = dial(endpoint, gossh.PublicKeys(other))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// What GET showed can be PUT again, tag and all.
	body, _ := json.Marshal(w.show(compute + "keyed"))
	w.must(compute+"keyed", string(body))
	w.settle()
	if w.power(compute+"keyed") != "running" || w.endpoint("keyed") != endpoint {
		t.Error("the second PUT did it harm")
	}
}

func TestRefusedVMs(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) { c.Cores = 10 })
	nic := w.nets("vm")
	w.settle()
	profile := func(fields string) string {
		return vmBody("Standard_D2_v2", nic, `{"computerName":"vm","adminUsername":"`+user+`"`+fields+`}`)
	}
	good := vmBody("Standard_D2_v2", nic, withPassword)
	cut := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the body", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	_, key := newRSA(t)
	keys := func(path, data string) string {
		return profile(`,"linuxConfiguration":{"disablePasswordAuthentication":true,"ssh":{"publicKeys":[{"path":"` + path + `","keyData":"` + data + `"}]}}`)
	}
	own := "/home/" + user + "/.ssh/authorized_keys"
	for _, c := range []struct {
		name, vm, body     string
		status             int
		code, text, target string
	}{
		{"no hardware", "vm", cut(`"hardwareProfile":{"vmSize":"Standard_D2_v2"},`, ""), 400, "InvalidParameter", "Required parameter 'hardwareProfile' is missing (null).", "hardwareProfile"},
		{"no size", "vm", cut(`"Standard_D2_v2"`, "null"), 400, "InvalidParameter", "Required parameter 'vmSize'", "vmSize"},
		{"a number as size", "vm", cut(`"Standard_D2_v2"`, "2"), 400, "InvalidParameter", "hardwareProfile.vmSize is invalid", "hardwareProfile.vmSize"},
		{"unknown size", "vm", cut("Standard_D2_v2", "Standard_D2_v9"), 400, "InvalidParameter", "The value Standard_D2_v9 provided for the VM size is not valid. The valid sizes in the current region are: ", "vmSize"},
		{"size not sold there", "vm", strings.Replace(cut("Standard_D2_v2", "Standard_NC6"), "eastus2", "westus", 1), 400, "InvalidParameter", "Standard_NC6", "vmSize"},
		{"no profile", "vm", cut(`"osProfile":`+withPassword+`,`, ""), 400, "InvalidParameter", "'osProfile' is missing", "osProfile"},
		{"no user", "vm", cut(`"adminUsername":"`+user+`",`, ""), 400, "InvalidParameter", "adminUsername", "osProfile.adminUsername"},
		{"root", "vm", cut(`"adminUsername":"`+user+`"`, `"adminUsername":"Root"`), 400, "InvalidParameter", "not allowed", "adminUsername"},
		{"a path as user", "vm", cut(`"adminUsername":"`+user+`"`, `"adminUsername":"../x"`), 400, "InvalidParameter", "not allowed", "adminUsername"},
		{"no secret", "vm", profile(""), 400, "InvalidParameter", "Required parameter 'adminPassword' is missing (null).", "adminPassword"},
		{"neither password nor key", "vm", profile(`,"linuxConfiguration":{"disablePasswordAuthentication":true}`), 400, "InvalidParameter", "Authentication using either SSH or by user name and password must be enabled in Linux profile.", "linuxConfiguration"},
		{"password though disabled", "vm", profile(`,"adminPassword":"` + password + `","linuxConfiguration":{"disablePasswordAuthentication":true}`), 400, "InvalidParameter", "Parameter 'adminPassword' is not allowed.", "adminPassword"},
		{"short password", "vm", profile(`,"adminPassword":"Ab1!x"`), 400, "InvalidParameter", "between 6-72 characters", "adminPassword"},
		{"simple password", "vm", profile(`,"adminPassword":"abcdefgh1"`), 400, "InvalidParameter", "at least 3 of password complexity requirements", "adminPassword"},
		{"long password", "vm", profile(`,"adminPassword":"Ab1!` + strings.Repeat("x", 69) + `"`), 400, "InvalidParameter", "between 6-72", "adminPassword"},
		{"password with a control character", "vm", profile(`,"adminPassword":"Correct\u0007Horse7"`), 400, "InvalidParameter", "Control characters", "adminPassword"},
		{"well-known password", "vm", profile(`,"adminPassword":"P@ssw0rd"`), 400, "InvalidParameter", "not allowed", "adminPassword"},
		{"key elsewhere", "vm", keys("/root/.ssh/authorized_keys", key), 400, "InvalidParameter", own, "linuxConfiguration.ssh.publicKeys.path"},
		{"key that is none", "vm", keys(own, "ssh-rsa AAAA"), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"no key", "vm", keys(own, ""), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"two keys in one", "vm", keys(own, key+`\n`+key), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"a key cut short", "vm", keys(own, key[:len(key)/2]), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"a key of another kind than it says", "vm", keys(own, "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIPl2p3ZzV4Wl0kEoXl0uV9kXrNn1i4w7pX8yB2c3d4e5"), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"a key with options", "vm", keys(own, `no-pty `+key), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"a private key", "vm", keys(own, `-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----`), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"a key as SSH2 writes it", "vm", keys(own, `---- BEGIN SSH2 PUBLIC KEY ----\nAAAAB3\n---- END SSH2 PUBLIC KEY ----`), 400, "InvalidParameter", "keyData is invalid", "linuxConfiguration.ssh.publicKeys[0].keyData"},
		{"key of a later time", "vm", keys(own, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPl2p3ZzV4Wl0kEoXl0uV9kXrNn1i4w7pX8yB2c3d4e5"), 400, "InvalidParameter", "keyData is invalid", ""},
		{"long computer name", "vm", cut(`"computerName":"vm"`, `"computerName":"`+strings.Repeat("x", 65)+`"`), 400, "InvalidParameter", "Linux host name cannot exceed 64 characters", "computerName"},
		{"odd computer name", "vm", cut(`"computerName":"vm"`, `"computerName":"a_b"`), 400, "InvalidParameter", "Linux host name", "computerName"},
		{"odd name", "-vm", good, 400, "InvalidParameter", "The entity name '-vm' is invalid", "vmName"},
		{"Windows image", "vm", cut(`"publisher":"microsoft-ads","offer":"linux-data-science-vm-ubuntu"`, `"publisher":"MicrosoftWindowsServer","offer":"WindowsServer"`), 400, "OperationNotSupported", "Linux", "imageReference"},
		{"Windows DSVM", "vm", cut(`linux-data-science-vm-ubuntu`, `standard-data-science-vm`), 400, "OperationNotSupported", "Linux", "imageReference"},
		{"Windows disk", "vm", cut(`"createOption":"FromImage"`, `"createOption":"FromImage","osType":"Windows"`), 400, "OperationNotSupported", "Linux", ""},
		{"existing disk", "vm", cut(`"createOption":"FromImage"`, `"createOption":"Attach"`), 400, "OperationNotSupported", "existing disk", "osDisk.createOption"},
		{"no image", "vm", cut(`"version":"latest"`, `"version":""`), 400, "InvalidParameter", "image reference", "imageReference"},
		{"no network", "vm", cut(`[{"id":"`+nic+`"}]`, "[]"), 400, "InvalidParameter", "'networkProfile' is missing", "networkProfile"},
		{"no such interface", "vm", cut(nic, network+"networkInterfaces/absent"), 400, "InvalidResourceReference", "networkInterfaces/absent referenced by resource", ""},
		{"not an interface", "vm", cut(nic, network+"virtualNetworks/vnet"), 400, "LinkedInvalidPropertyId", "properties.networkProfile.networkInterfaces[0].id", ""},
		{"interface elsewhere", "vm", cut("eastus2", "westeurope"), 400, "InvalidResourceReference", "same region", ""},
		{"over quota", "vm", cut("Standard_D2_v2", "Standard_D5_v2"), 409, "OperationNotAllowed", "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current in use: 0, Additional requested: 16.", ""},
	} {
		wantError(t, c.name, w.put(compute+c.vm, "2018-10-01", c.body), c.status, c.code, c.text, c.target)
		if w.show(compute+c.vm) != nil {
			t.Errorf("%s: it is there nonetheless", c.name)
		}
	}
	// Two more take eight of the ten cores; interfaces are not shared.
	w.must(compute+"one", vmBody("Standard_D3_v2", nic, withPassword))
	w.must(compute+"two", vmBody("Standard_D3_v2", w.nets("two"), withPassword))
	wantError(t, "quota of what is there", w.put(compute+"three", "2018-10-01", vmBody("Standard_F4", w.nets("three"), withPassword)), 409, "OperationNotAllowed", "Current in use: 8, Additional requested: 4", "")
	wantError(t, "interface in use", w.put(compute+"four", "2018-10-01", vmBody("Standard_D1_v2", nic, withPassword)), 400, "NicInUse", "/virtualMachines/one", "")
}

// Another's server at a machine's address fails its start, in the service's words, and is left alone; the next start finds its place free.
func TestAddressTaken(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) { c.HighPorts = true })
	vm := w.create("vm1")
	endpoint := w.endpoint("vm1")
	for _, action := range []string{"powerOff", "deallocate"} {
		if err := w.act(vm, action); err != nil {
			t.Fatal(err)
		}
		w.settle()
		power := w.power(vm)
		other, err := net.Listen("tcp", endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.act(vm, "start"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		var failed error
		if e := w.errs[key(vm)]; e != nil {
			failed = e
		}
		wantError(t, "start after "+action, failed, 409, "VMStartTimedOut", "VM did not start: ", "")
		if failed != nil && !strings.Contains(failed.Error(), endpoint) {
			t.Errorf("the error does not name %s: %v", endpoint, failed)
		}
		if now := w.power(vm); now == "running" {
			t.Errorf("it was %s, and is %s without a place to listen", power, now)
		}
		delete(w.errs, key(vm))
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.act(vm, "start"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if e := w.errs[key(vm)]; e != nil || w.power(vm) != "running" {
			t.Fatalf("started again: %v, %s", e, w.power(vm))
		}
		c, _, err := dial(endpoint, gossh.PublicKeys(w.signer), gossh.Password(password))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestUpdates(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	vm := compute + "vm1"
	w.must(vm, vmBody("Standard_DS1_v2", w.nets("vm1"), withPassword))
	w.settle()
	shown := w.show(vm)
	delete(shown["properties"].(map[string]any), "instanceView")
	body, _ := json.Marshal(shown)
	cut := func(old, new string) string {
		if !strings.Contains(string(body), old) {
			t.Fatalf("%q is not in %s", old, body)
		}
		return strings.Replace(string(body), old, new, 1)
	}
	for _, c := range []struct{ name, body, target string }{
		{"computer name", cut(`"computerName":"vm"`, `"computerName":"other"`), "osProfile.computerName"},
		{"user", cut(`"adminUsername":"azureuser"`, `"adminUsername":"somebody"`), "osProfile.adminUsername"},
		{"password", cut(`"adminUsername":"azureuser"`, `"adminUsername":"azureuser","adminPassword":"Other-Horse-8"`), "osProfile.adminPassword"},
		{"keys", cut(`"disablePasswordAuthentication":false`, `"disablePasswordAuthentication":false,"ssh":{"publicKeys":[]}`), "linuxConfiguration.ssh.publicKeys"},
		{"image", cut(`"sku":"linuxdsvmubuntu"`, `"sku":"other"`), "imageReference"},
	} {
		wantError(t, c.name, w.put(vm, "2018-10-01", c.body), 409, "PropertyChangeNotAllowed", "Changing property '"+c.target+"' is not allowed.", c.target)
	}
	w.ssh("vm1", "echo kept > file")
	length := fmt.Sprintf("%d.7", 3600+os.Getpid())
	w.ssh("vm1", "sleep "+length+" >/dev/null 2>&1 & until tr '\\0' ' ' < /proc/$!/cmdline | grep -q '^sleep'; do :; done")
	w.must(vm, cut(`"a":"b"`, `"a":"c"`))
	w.settle()
	if at(w.show(vm), "tags.a") != "c" || sleepers(length) != 1 {
		t.Error("a change of tags is all that was asked for")
	}
	w.must(vm, cut(`"vmSize":"Standard_DS1_v2"`, `"vmSize":"standard_ds3_V2"`))
	w.settle()
	if size, power := at(w.show(vm), "properties.hardwareProfile.vmSize"), w.power(vm); size != "Standard_DS3_v2" || power != "running" {
		t.Fatalf("after a change of size: %v, %s, %v", size, power, w.errs)
	}
	if out := w.ssh("vm1", "cat file"); out != "kept" || sleepers(length) != 0 {
		t.Errorf("after a change of size: %q, %d processes from before", out, sleepers(length))
	}
	_ = w.act(vm, "deallocate")
	w.settle()
	w.must(vm, cut(`"a":"b"`, `"a":"d"`))
	w.settle()
	if got := w.power(vm); got != "deallocated" {
		t.Errorf("a change of tags and size left it %s", got)
	}
}

func TestRealDelays(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) { c.Lifecycle = "real" })
	vm := compute + "slow"
	w.must(vm, vmBody("Standard_DS1_v2", w.nets("slow"), withPassword))
	for w.clk.Now().Before(start.Add(80 * time.Second)) {
		if w.power(vm) == "running" {
			t.Fatal("it runs at once")
		}
		if !w.step() {
			break
		}
	}
	w.settle()
	if d := w.clk.Since(start); d < 90*time.Second || d > 5*time.Minute+time.Second || w.power(vm) != "running" {
		t.Errorf("created after %v, %s", d, w.power(vm))
	}
	_ = w.act(vm, "deallocate")
	w.step()
	if got := w.power(vm); got != "deallocating" {
		t.Errorf("meanwhile it is %s", got)
	}
	if c, _, err := dial(w.endpoint("slow")); err != nil {
		t.Errorf("until it is deallocated it runs: %v", err)
	} else {
		c.Close()
	}
	w.settle()
	if got := w.power(vm); got != "deallocated" {
		t.Error(got)
	}
}

func TestAllocationFails(t *testing.T) {
	life := map[string]dsvm.Lifecycle{"fast": {"start": {Fail: 1}}}
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) { c.Lifecycles = life })
	vm := w.create("vm1")
	_ = w.act(vm, "powerOff")
	w.settle()
	_ = w.act(vm, "start")
	w.settle()
	wantError(t, "start", w.errs[key(vm)], 409, "AllocationFailed", "capacity", "")
	if got := w.power(vm); got != "stopped" {
		t.Errorf("then it is %s", got)
	}
	delete(life["fast"], "start")
	_ = w.act(vm, "start")
	w.settle()
	if got := w.power(vm); got != "running" || w.errs[key(vm)] != nil {
		t.Errorf("once there is capacity: %s, %v", got, w.errs[key(vm)])
	}
}

func TestGPUs(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(c *dsvm.Config) {
		c.Hardware = hardware.New(hardware.Config{GPUs: func() ([]hardware.GPU, error) { return []hardware.GPU{{UUID: "GPU-0"}}, nil }})
	})
	for _, name := range []string{"first", "second"} {
		w.at("eastus", func() { w.must(compute+name, vmBody("Standard_NC6", w.nets(name), withPassword)) })
		w.settle()
	}
	if got := w.ssh("first", "echo $CUDA_VISIBLE_DEVICES"); got != "GPU-0" {
		t.Errorf("the first has %q", got)
	}
	wantError(t, "second", w.errs[key(compute+"second")], 409, "AllocationFailed", "Standard_NC6 needs 1 GPU(s)", "")
	if got := w.power(compute + "second"); got != "deallocated" {
		t.Errorf("the second is %s", got)
	}
	_ = w.act(compute+"first", "deallocate")
	w.settle()
	_ = w.act(compute+"second", "start")
	w.settle()
	if got := w.ssh("second", "echo $CUDA_VISIBLE_DEVICES"); got != "GPU-0" {
		t.Errorf("then the second has %q", got)
	}
}

// TestSimulatedGPUs: a VM of a GPU size shows its GPUs, and says what they are; without any it says that.
func TestSimulatedGPUs(t *testing.T) {
	folder, err := hardware.BuildStub(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	devices, err := hardware.ParseDevices("K80:2")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tables := t.TempDir()
	config := func(c *dsvm.Config) {
		c.Hardware = hardware.New(hardware.Config{WithoutGPUs: true, Simulation: &hardware.Simulation{Devices: devices, Folder: folder, Dir: tables}})
	}
	const query = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader"
	var before string
	var first *world
	t.Run("first", func(t *testing.T) {
		w := newWorld(t, dir, config)
		first = w
		for name, size := range map[string]string{"two": "Standard_NC12", "none": "Standard_NC6s_v3", "plain": "Standard_D2_v2"} {
			w.at("eastus", func() { w.must(compute+name, vmBody(size, w.nets(name), withPassword)) })
		}
		w.settle()
		if got := w.ssh("two", query); got != "Tesla K80, 11441 MiB\nTesla K80, 11441 MiB" {
			t.Errorf("two: %q", got)
		}
		if got := w.ssh("two", "bash -lc '"+query+"'"); !strings.HasPrefix(got, "Tesla K80") {
			t.Errorf("two in a login shell: %q", got)
		}
		if got := w.ssh("two", "echo $LAZULITE_NOTICE"); !strings.Contains(got, "are simulated") {
			t.Errorf("two says %q", got)
		}
		for name, notice := range map[string]string{"none": "A Standard_NC6s_v3 has 1 GPU(s) (Tesla V100-PCIE-16GB); this host had none to give: it runs on the CPU.", "plain": ""} {
			if got := w.ssh(name, "echo $LAZULITE_NOTICE$LAZULITE_GPU_TABLE"); got != notice {
				t.Errorf("%s says %q", name, got)
			}
		}
		before = w.ssh("two", "nvidia-smi -L")
	})
	t.Run("second", func(t *testing.T) {
		w := newWorld(t, dir, config)
		w.resources, w.signer = first.resources, first.signer
		if got := w.ssh("two", "nvidia-smi -L"); got != before || strings.Count(got, "GPU-") != 2 {
			t.Errorf("after a start: %q, before %q", got, before)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, c := range []dsvm.Config{{}, {Dir: t.TempDir()}} {
		f := dsvm.New(c)
		if f.Open(context.Background()) == nil || len(f.Providers()) != 3 {
			t.Errorf("%+v was taken", c)
		}
	}
}
