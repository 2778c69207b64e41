package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net"
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
	var vm, ref string
	for i := range 5 {
		begun := time.Now()
		vm = e.machine(fmt.Sprintf("vm%d", i), key, &begun)
		login(vm, "azureuser", signer, begun.Add(time.Minute))
		made = append(made, time.Since(begun))
		begun = time.Now()
		var id string
		id, ref = container(key)
		defer func() { _ = exec.Command("docker", "rm", "-f", id).Run() }()
		greeted(ref)
		run = append(run, time.Since(begun))
	}
	r.add("VM create → SSH login, Docker engine, median of 5", ms(median(made)), ms(median(run))+" (`docker run` of the same image until sshd's port answers)", ratio(median(made), median(run)), "≤ 1.5×")

	client := login(vm, "azureuser", signer, time.Now().Add(time.Minute))
	defer func() { _ = client.Close() }()
	name, err := exec.Command("docker", "ps", "-q", "--latest", "--filter", "ancestor="+image).Output()
	check(err)
	var sessions, execs []time.Duration
	for range 30 {
		begun := time.Now()
		s, err := client.NewSession()
		check(err)
		check(s.Run("true"))
		sessions = append(sessions, time.Since(begun))
		begun = time.Now()
		check(exec.Command("docker", "exec", strings.TrimSpace(string(name)), "true").Run())
		execs = append(execs, time.Since(begun))
	}
	r.add("a command on a VM over SSH, median of 30", ms(median(sessions)), ms(median(execs))+" (`docker exec`)", ratio(median(sessions), median(execs)), "≤ 1.3×")

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

// greeted waits for SSH's first line.
func greeted(addr string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.SetDeadline(deadline)
			line, err := bufio.NewReader(c).ReadString('\n')
			_ = c.Close()
			if err == nil && strings.HasPrefix(line, "SSH-") {
				return
			}
		}
		if time.Now().After(deadline) {
			log.Fatalf("bench: nothing greets at %s", addr)
		}
	}
}

// scp copies a file to a machine, and says how long it took.
func scp(key, file, user, addr string) time.Duration {
	host, port, err := net.SplitHostPort(addr)
	check(err)
	begun := time.Now()
	out, err := exec.Command("scp", "-q", "-F", os.DevNull, "-i", key, "-P", port, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+os.DevNull, "-o", "LogLevel=ERROR",
		file, user+"@"+host+":big").CombinedOutput()
	if err != nil {
		log.Fatalf("bench: scp to %s: %v: %s", addr, err, out)
	}
	return time.Since(begun)
}
