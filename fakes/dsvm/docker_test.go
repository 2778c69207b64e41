package dsvm_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/dsvm"
)

// openDocker is an engine for a test, or skips it with the reason why there can be none.
func openDocker(t *testing.T, dir string) *docker.Engine {
	t.Helper()
	e, err := docker.New(t.Context(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: dir + "/docker", Keep: true})
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if has, err := e.Images().HasBase(t.Context()); err != nil || !has {
		_ = e.Close(context.Background())
		t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
	}
	return e
}

// closeDocker ends an engine, of which nothing must be left.
func closeDocker(t *testing.T, e *docker.Engine) {
	t.Helper()
	if err := e.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return
	}
	if out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=dev.lazulite.instance="+e.Instance()).Output(); err != nil || len(out) > 0 {
		t.Errorf("containers are left: %s %v", out, err)
	}
}

// inContainers has machines run on Docker, at addresses that a test process
// beside this one does not draw.
func inContainers(e engine.Engine) func(*dsvm.Config) {
	return func(c *dsvm.Config) { c.Engine, c.Rand = e, nil }
}

func newDockerWorld(t *testing.T) (*world, *docker.Engine) {
	t.Helper()
	dir := t.TempDir()
	e := openDocker(t, dir)
	t.Cleanup(func() { closeDocker(t, e) })
	return newWorld(t, dir, inContainers(e)), e
}

func TestFiftyContainersAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	w, _ := newDockerWorld(t)
	fiftyAtOnce(t, w)
}

func TestVMInContainer(t *testing.T) {
	w, e := newDockerWorld(t)
	vm := compute + "vm1"
	w.must(vm, vmBody("Standard_DS1_v2", w.nets("vm1"), withPassword))
	w.settle()
	endpoint := w.endpoint("vm1")
	c, hostKey, err := dial(endpoint)
	if err != nil {
		t.Fatal(err, w.errs)
	}
	if v := string(c.ServerVersion()); !strings.HasPrefix(v, "SSH-2.0-OpenSSH") {
		t.Errorf("the server is %s", v)
	}
	// What is forwarded from the machine is listened for at its own loopback.
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("remote forward: ", err)
	}
	go func() {
		if f, err := l.Accept(); err == nil {
			_, _ = f.Write([]byte("through"))
			_ = f.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for command, want := range map[string]string{
		"hostname":           "vm",
		"id -un; echo $HOME": user + "\n/home/" + user,
		"sudo -n id -u":      "0",
		fmt.Sprintf("python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", %d)).recv(9).decode())'", port): "through",
		"sudo touch /usr/local/installed; echo kept > kept; stat -c %U kept":                                                   user,
	} {
		if got := w.ssh("vm1", command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	c.Close()
	for _, action := range []string{"powerOff", "start", "restart", "deallocate", "start"} {
		if err := w.act(vm, action); err != nil {
			t.Fatal(action, err)
		}
		w.settle()
		c, again, err := dial(endpoint)
		if on := action == "start" || action == "restart"; (err == nil) != on {
			t.Fatalf("after %s a login gives %v, %v", action, err, w.errs)
		}
		if err != nil {
			continue
		}
		c.Close()
		if !bytes.Equal(again.Marshal(), hostKey.Marshal()) {
			t.Errorf("after %s the host key is another", action)
		}
		if got := w.ssh("vm1", "cat kept; ls /usr/local/installed"); got != "kept\n/usr/local/installed" {
			t.Errorf("after %s the disk has %q", action, got)
		}
	}
	w.must(vm, vmBody("Standard_DS2_v2", network+"networkInterfaces/vm1-nic", withPassword))
	w.settle()
	if got := w.ssh("vm1", "cat kept; ls /usr/local/installed"); got != "kept\n/usr/local/installed" {
		t.Errorf("resized, the disk has %q", got)
	}
	// An emulator that ends and comes again has the homes.
	if err := w.fake.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, err := e.Found(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("after Close there are %v, %v", found, err)
	}
	if err := w.fake.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.ssh("vm1", "cat kept; stat -c %U kept"); got != "kept\n"+user {
		t.Errorf("opened again, the home has %q", got)
	}
	w.delete(vm)
	w.settle()
	if out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=dev.lazulite.instance="+e.Instance()).Output(); err == nil && len(out) > 0 {
		t.Errorf("deleted, its container is left: %s", out)
	}
}

// A machine has a Docker of its own, for every user; what it is to run always comes up with the machine.
func TestDockerOnAVM(t *testing.T) {
	w, e := newDockerWorld(t)
	vm := compute + "vm1"
	w.must(vm, vmBody("Standard_DS1_v2", w.nets("vm1"), withPassword))
	w.settle()
	if w.ssh("vm1", "command -v docker || true") == "" {
		t.Skip("the base image has no docker command: lazulite images build makes it anew")
	}
	const run = "docker run --rm -v $PWD:/here -v /tmp/in:/in " + docker.BaseImage
	for _, s := range [][2]string{
		{"mkdir /tmp/in; echo given >/tmp/in/f; " + run + " sh -c 'cat /in/f; echo made >/here/out'; cat out", "given\nmade"},
		{"docker run -d --init --restart always --name web " + docker.BaseImage + " python3 -m http.server 8000 >/dev/null; curl -s --retry 20 --retry-connrefused -o /dev/null -w '%{http_code}' http://127.0.0.1:8000", "200"},
	} {
		if got := w.ssh("vm1", s[0]); got != s[1] {
			t.Errorf("%s: %q, want %q", s[0], got, s[1])
		}
	}
	for _, action := range []string{"deallocate", "start"} {
		if err := w.act(vm, action); err != nil {
			t.Fatal(action, err)
		}
		w.settle()
	}
	if got := w.ssh("vm1", "cat /tmp/in/f; curl -s --retry 20 --retry-connrefused -o /dev/null -w '%{http_code}' http://127.0.0.1:8000"); got != "given\n200" {
		t.Errorf("started again: %q", got)
	}
	w.delete(vm)
	w.settle()
	if out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=dev.lazulite.instance="+e.Instance()).Output(); err == nil && len(out) > 0 {
		t.Errorf("deleted, containers are left: %s", out)
	}
}

// Who logs in to a machine reaches emulated Azure, wherever that is after a start; what the user wrote stays.
func TestNetworkOfAVMInContainer(t *testing.T) {
	dir := t.TempDir()
	e := openDocker(t, dir)
	t.Cleanup(func() { closeDocker(t, e) })
	bundle, proxy := dir+"/bundle.pem", "http://192.0.2.1:1111"
	if err := os.WriteFile(bundle, []byte("roots"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, dir, func(c *dsvm.Config) {
		inContainers(e)(c)
		c.Network = func(context.Context) ([]string, []engine.Mount, error) {
			return []string{"HTTPS_PROXY=" + proxy, "NO_PROXY=localhost", "SSL_CERT_FILE=" + bundle}, []engine.Mount{{Source: bundle, Target: bundle, ReadOnly: true}}, nil
		}
	})
	vm := compute + "vm1"
	w.must(vm, vmBody("Standard_DS1_v2", w.nets("vm1"), withPassword))
	w.settle()
	const show = "echo $HTTPS_PROXY $NO_PROXY; cat $SSL_CERT_FILE"
	if got := w.ssh("vm1", show); got != "http://192.0.2.1:1111 localhost\nroots" {
		t.Errorf("a login has %q", got)
	}
	w.ssh("vm1", "sudo sed -i s/NO_PROXY=.*/NO_PROXY=mine/ /etc/environment; echo OWN=x | sudo tee -a /etc/environment")
	proxy = "http://192.0.2.1:2222"
	if err := w.act(vm, "restart"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got := w.ssh("vm1", show+"; echo $OWN; grep -c PROXY= /etc/environment"); got != "http://192.0.2.1:2222 mine\nrootsx\n2" {
		t.Errorf("restarted, a login has %q", got)
	}
}

// The logins that others than ARM's PUT make are accounts of the machine, and the firewall stands before its server.
func TestAccountsInContainer(t *testing.T) {
	w, _ := newDockerWorld(t)
	vm := compute + "vm1"
	data := base64.StdEncoding.EncodeToString([]byte("#cloud-config\nusers:\n- default\n- name: bob\n  plain_text_passwd: Blue-Sky-42\nwrite_files:\n- path: /etc/motto\n  content: labor\nruncmd:\n- id -u > /etc/who\n"))
	if err := w.put(vm, "2024-03-01", vmBody("Standard_DS1_v2", w.nets("vm1"), strings.Replace(withKey(w.line), `{"adminUsername"`, `{"computerName":"vm","customData":"`+data+`","adminUsername"`, 1))); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if e := w.errs[key(vm)]; e != nil {
		t.Fatal(e)
	}
	within(t, func() bool { return w.ssh("vm1", "cat /etc/motto /etc/who 2>/dev/null || true") == "labor0" }, func() string { return "the custom data was not done" })
	login := func() (string, error) {
		c, err := gossh.Dial("tcp", w.endpoint("vm1"), &gossh.ClientConfig{User: "bob", Auth: []gossh.AuthMethod{gossh.Password("Blue-Sky-42")}, HostKeyCallback: gossh.InsecureIgnoreHostKey()})
		if err != nil {
			return "", err
		}
		defer c.Close()
		s, err := c.NewSession()
		if err != nil {
			return "", err
		}
		out, err := s.Output("id -un; pwd")
		return string(out), err
	}
	if out, err := login(); err != nil || out != "bob\n/home/bob\n" {
		t.Errorf("bob: %q, %v", out, err)
	}
	group := func(access string) {
		w.must(network+"networkSecurityGroups/wall", `{"location":"eastus2","properties":{"securityRules":[{"name":"ssh","properties":{"protocol":"Tcp","sourcePortRange":"*","destinationPortRange":"22","sourceAddressPrefix":"*","destinationAddressPrefix":"*","access":"`+access+`","priority":1000,"direction":"Inbound"}}]}}`)
		w.settle()
	}
	group("Deny")
	nic := w.show(network + "networkInterfaces/vm1-nic")
	properties := nic["properties"].(map[string]any)
	properties["networkSecurityGroup"] = map[string]any{"id": network + "networkSecurityGroups/wall"}
	body, err := json.Marshal(map[string]any{"location": "eastus2", "properties": properties})
	if err != nil {
		t.Fatal(err)
	}
	w.must(network+"networkInterfaces/vm1-nic", string(body))
	w.settle()
	if _, err := login(); err == nil {
		t.Error("port 22 is closed, and bob gets in")
	}
	group("Allow")
	if _, err := login(); err != nil {
		t.Errorf("port 22 is open again: %v", err)
	}
}

// An image without an SSH server is served by the emulator's.
func TestVMWithoutSSHD(t *testing.T) {
	dir := t.TempDir()
	with := openDocker(t, dir)
	name, _, err := with.Images().BuildRecipe(t.Context(), docker.Recipe{Base: docker.BaseImage, Run: []string{"rm -f /usr/sbin/sshd"}, Source: "a test"})
	closeDocker(t, with)
	if err != nil {
		t.Fatal(err)
	}
	e, err := docker.New(t.Context(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: dir + "/docker", Keep: true, Table: docker.Table{{Match: "", Image: name}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDocker(t, e) })
	w := newWorld(t, dir, inContainers(e))
	w.create("vm1")
	if got := w.ssh("vm1", "test -e /.dockerenv && echo inside"); got != "inside" {
		t.Errorf("it answers %q", got)
	}
	c, _, err := w.dial(w.endpoint("vm1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v := string(c.ServerVersion()); strings.Contains(v, "OpenSSH") {
		t.Errorf("the server is %s", v)
	}
}

// dockerVictim is an emulator with five running VMs and one that is off, that is going to be killed.
func dockerVictim(dir string) {
	e, err := docker.New(context.Background(), docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: dir + "/docker", Keep: true})
	if err != nil {
		panic(err)
	}
	w := newWorld(bench{ctx: context.Background()}, dir, inContainers(e))
	var ends []string
	for i := range 6 {
		name := fmt.Sprintf("vm%d", i)
		w.must(compute+name, vmBody("Standard_DS1_v2", w.nets(name), withPassword))
		w.settle()
		if w.ssh(name, "sudo touch /usr/local/installed; hostname") != "vm" {
			panic(name)
		}
		ends = append(ends, w.endpoint(name))
	}
	if err := w.act(compute+"vm5", "powerOff"); err != nil {
		panic(err)
	}
	w.settle()
	fmt.Println(strings.Join(ends, " "))
	select {}
}

func sshTo(t *testing.T, endpoint, command string) (string, []byte) {
	t.Helper()
	c, hostKey, err := dial(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.CombinedOutput(command)
	if err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out)), hostKey.Marshal()
}

func TestKilledEmulatorLeavesContainers(t *testing.T) {
	dir := t.TempDir()
	closeDocker(t, openDocker(t, dir)) // or skip
	ends, kill := startVictim(t, "DSVM_TEST_DOCKER_VICTIM", dir, 6)
	on, off := ends[:5], ends[5]
	var pids []string
	var keys [][]byte
	for _, endpoint := range on {
		pid, hostKey := sshTo(t, endpoint, "nohup sleep 4321 >/dev/null 2>&1 & echo $!")
		pids, keys = append(pids, pid), append(keys, hostKey)
	}
	kill()

	e := openDocker(t, dir)
	defer closeDocker(t, e)
	f := dsvm.New(dsvm.Config{Engine: e, Dir: dir})
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := e.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, endpoint := range on {
		out, hostKey := sshTo(t, endpoint, "cat /proc/"+pids[i]+"/cmdline | tr '\\0' ' '; ls /usr/local/installed")
		if out != "sleep 4321 /usr/local/installed" {
			t.Errorf("vm%d: process %s is %q", i, pids[i], out)
		}
		if !bytes.Equal(hostKey, keys[i]) {
			t.Errorf("vm%d: the host key is another", i)
		}
	}
	if c, _, err := dial(off); err == nil {
		c.Close()
		t.Error("the VM that was off is on")
	}
}

// A VM in a container shows its simulated GPUs to those who log in, and after a restart still the same.
func TestGPUsInContainer(t *testing.T) {
	folder, err := hardware.BuildStub(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	dir, tables := t.TempDir(), t.TempDir()
	e := openDocker(t, dir)
	t.Cleanup(func() { closeDocker(t, e) })
	w := newWorld(t, dir, func(c *dsvm.Config) {
		inContainers(e)(c)
		c.Hardware = hardware.New(hardware.Config{Simulation: &hardware.Simulation{Folder: folder, Dir: tables}})
	})
	for _, name := range []string{"first", "second"} {
		w.at("eastus", func() { w.must(compute+name, vmBody("Standard_NC12", w.nets(name), withPassword)) })
	}
	w.settle()
	lists := map[string]string{}
	for _, name := range []string{"first", "second"} {
		lists[name] = w.ssh(name, "nvidia-smi -L")
		if strings.Count(lists[name], "Tesla K80") != 2 {
			t.Errorf("%s: %q", name, lists[name])
		}
		if got := w.ssh(name, "echo $LAZULITE_NOTICE"); !strings.Contains(got, "are simulated") {
			t.Errorf("%s says %q", name, got)
		}
	}
	if lists["first"] == lists["second"] {
		t.Error("both have the same devices")
	}
	_ = w.act(compute+"second", "powerOff")
	w.settle()
	_ = w.act(compute+"second", "start")
	w.settle()
	if got := w.ssh("second", "nvidia-smi -L"); got != lists["second"] {
		t.Errorf("after a restart: %q, before %q", got, lists["second"])
	}
}
