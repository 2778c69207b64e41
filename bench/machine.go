package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// image is what machines of the Docker engine are made of, and the reference's container too.
const image = "lazulite/base:latest"

// copied is how much scp moves.
const copied = 1 << 30

// machines measures virtual machines beside plain containers and OpenSSH's server.
func machines(r *report, dir string) {
	if out, err := exec.Command("docker", "image", "inspect", image).CombinedOutput(); err != nil {
		log.Printf("bench: no %s here (lazulite images build): figures of machines are left out: %s", image, out)
		return
	}
	key := filepath.Join(dir, "key")
	check(exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key).Run())
	private, err := os.ReadFile(key)
	check(err)
	signer, err := ssh.ParsePrivateKey(private)
	check(err)
	big := filepath.Join(dir, "big")
	f, err := os.Create(big)
	check(err)
	check(f.Truncate(copied))
	check(f.Close())

	e := launch(filepath.Join(dir, "containers"), "--engine", "docker")
	defer e.stop()
	h := launch(filepath.Join(dir, "processes"), "--engine", "process")
	defer h.stop()
	var made, run []time.Duration
	var vm, id, ref string
	for i := range 9 {
		begun := time.Now()
		vm = e.machine(fmt.Sprintf("vm%d", i), key, &begun)
		_ = login(vm, "azureuser", signer, begun.Add(time.Minute)).Close()
		made = append(made, time.Since(begun))
		begun = time.Now()
		id, ref = container(key)
		defer func() { _ = exec.Command("docker", "rm", "-f", id).Run() }()
		// Both end in the same login, by the same key.
		_ = login(ref, "root", signer, begun.Add(time.Minute)).Close()
		run = append(run, time.Since(begun))
	}
	r.add("VM create → SSH login, Docker engine, median of 9", ms(median(made)), ms(median(run))+" (`docker run` of the same image with an sshd → the same login)", ratio(median(made), median(run)), "≤ 1.5×")
	commands(r, key, vm, id, ref, signer)

	begun := time.Now()
	process := h.machine("vm", key, &begun)
	login(process, "azureuser", signer, begun.Add(time.Minute))
	var inside, server, plain []time.Duration
	for range 3 {
		inside = append(inside, scp(key, big, "azureuser", vm))
		server = append(server, scp(key, big, "azureuser", process))
		plain = append(plain, scp(key, big, "root", ref))
	}
	reference := median(plain)
	for _, row := range []struct {
		what string
		took time.Duration
	}{
		{"scp of 1 GiB to a VM that is a container", median(inside)},
		{"scp of 1 GiB to a VM that is processes, lazulite's own server", median(server)},
	} {
		r.add(row.what, rate(row.took), rate(reference)+" (OpenSSH's server in a plain container)", fmt.Sprintf("%.0f%%", 100*float64(reference)/float64(row.took)), "≥ 60%")
	}
}

func rate(d time.Duration) string { return fmt.Sprintf("%.0f MB/s", copied/1e6/d.Seconds()) }

// machine orders a VM, setting begun to when, and gives its address as soon as it has one.
func (e *emulator) machine(name, key string, begun *time.Time) string {
	client := e.client()
	token := e.token()
	public, err := os.ReadFile(key + ".pub")
	check(err)
	group := "/subscriptions/" + e.env["AZURE_SUBSCRIPTION_ID"] + "/resourceGroups/bench"
	network := group + "/providers/Microsoft.Network/"
	put := func(path, version string, body map[string]any) {
		if status, out := e.put(client, token, path+"?api-version="+version, body); status >= 300 {
			log.Fatalf("bench: %s: %d %s", path, status, out)
		}
	}
	show := func(path, version string) (doc struct {
		Tags       map[string]string
		Properties struct{ IPAddress, ProvisioningState string }
	}) {
		resp, err := client.Do(get("https://management.azure.com"+path+"?api-version="+version, token)())
		check(err)
		defer func() { _ = resp.Body.Close() }()
		_ = json.NewDecoder(resp.Body).Decode(&doc)
		return doc
	}
	settled := func(path, version string) {
		for deadline := time.Now().Add(time.Minute); show(path, version).Properties.ProvisioningState != "Succeeded"; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				log.Fatalf("bench: %s does not come about", path)
			}
		}
	}
	put(group, "2018-05-01", map[string]any{"location": "eastus"})
	const version = "2018-08-01"
	for _, part := range []struct {
		path       string
		properties map[string]any
	}{
		{network + "virtualNetworks/net", map[string]any{"addressSpace": map[string]any{"addressPrefixes": []string{"10.0.0.0/16"}}, "subnets": []any{map[string]any{"name": "s", "properties": map[string]any{"addressPrefix": "10.0.0.0/24"}}}}},
		{network + "publicIPAddresses/" + name, map[string]any{}},
		{network + "networkInterfaces/" + name, map[string]any{"ipConfigurations": []any{map[string]any{"name": "c", "properties": map[string]any{
			"subnet": map[string]any{"id": network + "virtualNetworks/net/subnets/s"}, "publicIPAddress": map[string]any{"id": network + "publicIPAddresses/" + name}}}}}},
	} {
		put(part.path, version, map[string]any{"location": "eastus", "properties": part.properties})
		settled(part.path, version)
	}
	*begun = time.Now()
	put(group+"/providers/Microsoft.Compute/virtualMachines/"+name, "2018-10-01", map[string]any{"location": "eastus", "properties": map[string]any{
		"hardwareProfile": map[string]any{"vmSize": "Standard_DS1_v2"},
		"storageProfile":  map[string]any{"imageReference": map[string]any{"publisher": "microsoft-ads", "offer": "linux-data-science-vm-ubuntu", "sku": "linuxdsvmubuntu", "version": "latest"}},
		"osProfile": map[string]any{"computerName": name, "adminUsername": "azureuser", "linuxConfiguration": map[string]any{"disablePasswordAuthentication": true,
			"ssh": map[string]any{"publicKeys": []any{map[string]any{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": strings.TrimSpace(string(public))}}}}},
		"networkProfile": map[string]any{"networkInterfaces": []any{map[string]any{"id": network + "networkInterfaces/" + name}}},
	}})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if doc := show(network+"publicIPAddresses/"+name, version); doc.Properties.IPAddress != "" {
			port := "22"
			for tag, value := range doc.Tags {
				if strings.Contains(tag, "port") {
					port = value
				}
			}
			return net.JoinHostPort(doc.Properties.IPAddress, port)
		}
		if time.Now().After(deadline) {
			log.Fatal("bench: the machine gets no address")
		}
	}
}

// login tries until it is let in.
func login(addr, user string, signer ssh.Signer, deadline time.Time) *ssh.Client {
	for {
		c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Second})
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			log.Fatalf("bench: no login at %s: %v", addr, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// container runs a plain container of the image with OpenSSH's server, and gives its address.
func container(key string) (id, addr string) {
	out, err := exec.Command("docker", "run", "-d", "-p", "127.0.0.1::22", "-v", key+".pub:/keys:ro", image, "sh", "-c",
		"mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /hostkey; exec /usr/sbin/sshd -D -h /hostkey -o StrictModes=no -o AuthorizedKeysFile=/keys -o PermitRootLogin=yes").Output()
	check(err)
	id = strings.TrimSpace(string(out))
	out, err = exec.Command("docker", "port", id, "22").Output()
	check(err)
	first, _, _ := strings.Cut(string(out), "\n")
	return id, strings.TrimSpace(first)
}

// commands measures a command on a VM beside one in a plain container: over
// connections that are kept, and by programs that are started for it.
func commands(r *report, key, vm, id, ref string, signer ssh.Signer) {
	client := login(vm, "azureuser", signer, time.Now().Add(time.Minute))
	defer func() { _ = client.Close() }()
	daemon := dockerAPI()
	defer daemon.CloseIdleConnections()
	post := func(path string, body string, into any) {
		resp, err := daemon.Post("http://docker"+path, "application/json", strings.NewReader(body))
		check(err)
		defer func() { _ = resp.Body.Close() }()
		out, err := io.ReadAll(resp.Body)
		check(err)
		if resp.StatusCode >= 300 {
			log.Fatalf("bench: %s: %d %s", path, resp.StatusCode, out)
		}
		if into != nil {
			check(json.Unmarshal(out, into))
		}
	}
	var sessions, calls, clients, plain, execs []time.Duration
	took := func(into *[]time.Duration, do func()) {
		begun := time.Now()
		do()
		*into = append(*into, time.Since(begun))
	}
	for range 30 {
		took(&sessions, func() {
			s, err := client.NewSession()
			check(err)
			check(s.Run("true"))
		})
		took(&calls, func() {
			var made struct{ ID string }
			post("/containers/"+id+"/exec", `{"Cmd":["true"],"AttachStdout":true}`, &made)
			post("/exec/"+made.ID+"/start", `{}`, nil) // ends with the command
		})
		took(&clients, func() { sshTrue(key, "azureuser", vm) })
		took(&plain, func() { sshTrue(key, "root", ref) })
		took(&execs, func() { check(exec.Command("docker", "exec", id, "true").Run()) })
	}
	r.add("a command on a VM over a kept SSH connection, median of 30", ms(median(sessions)), ms(median(calls))+" (Docker's exec over a kept connection to its API)", ratio(median(sessions), median(calls)), "≤ 1.3×")
	r.add("`ssh VM true`, median of 30", ms(median(clients)), ms(median(plain))+" (`ssh` to OpenSSH in a plain container)", ratio(median(clients), median(plain)), "≤ 1.3×")
	r.add("the same beside a program that logs in nowhere", ms(median(clients)), ms(median(execs))+" (`docker exec CONTAINER true`)", ratio(median(clients), median(execs)), "-")
}

// sshTrue is one command by OpenSSH's client.
func sshTrue(key, user, addr string) {
	host, port, err := net.SplitHostPort(addr)
	check(err)
	if out, err := exec.Command("ssh", append(sshOptions(key), "-p", port, user+"@"+host, "true")...).CombinedOutput(); err != nil {
		log.Fatalf("bench: ssh: %v: %s", err, out)
	}
}

// dockerAPI is a client of the daemon's socket.
func dockerAPI() *http.Client {
	socket, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !ok {
		socket = "/var/run/docker.sock"
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// sshOptions are those of OpenSSH's clients.
func sshOptions(key string) []string {
	return []string{"-q", "-F", os.DevNull, "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + os.DevNull, "-o", "LogLevel=ERROR"}
}

// scp copies a file to a machine, and says how long it took.
func scp(key, file, user, addr string) time.Duration {
	host, port, err := net.SplitHostPort(addr)
	check(err)
	begun := time.Now()
	out, err := exec.Command("scp", append(sshOptions(key), "-P", port, file, user+"@"+host+":big")...).CombinedOutput()
	if err != nil {
		log.Fatalf("bench: scp to %s: %v: %s", addr, err, out)
	}
	return time.Since(begun)
}
