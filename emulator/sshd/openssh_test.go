package sshd_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// client is a folder with what OpenSSH's programs need to reach a host.
type client struct {
	*testing.T
	dir, config string
	env         []string
}

func newClient(t *testing.T, h *host) *client {
	t.Helper()
	for _, program := range []string{"ssh", "scp", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("OpenSSH's clients are not installed: ", err)
		}
	}
	c := &client{T: t, dir: t.TempDir()}
	c.config = filepath.Join(c.dir, "config")
	block, err := gossh.MarshalPrivateKey(h.private, "")
	if err != nil {
		t.Fatal(err)
	}
	addr, port, _ := net.SplitHostPort(h.Addr())
	known := ""
	for _, k := range h.HostKeys() {
		known += fmt.Sprintf("[%s]:%s %s\n", addr, port, k)
	}
	c.write("key", string(pem.EncodeToMemory(block)))
	c.write("known_hosts", known)
	c.write("askpass", "#!/bin/sh\necho '"+password+"'\n")
	if err := os.Chmod(filepath.Join(c.dir, "askpass"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.write("config", fmt.Sprintf(`Host vm
 HostName %s
 Port %s
 User %s
 IdentityFile %s
 IdentitiesOnly yes
 UserKnownHostsFile %s
 StrictHostKeyChecking yes
 ServerAliveInterval 1
 ControlMaster no
`, addr, port, user, filepath.Join(c.dir, "key"), filepath.Join(c.dir, "known_hosts")))
	c.env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(c.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK=", "LC_TEST=from afar")
	return c
}

func (c *client) write(name, text string) string {
	c.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return file
}

// run gives output and exit status; stdin may be empty.
func (c *client) run(stdin string, args ...string) (string, int) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{args[0], "-F", c.config}, args[1:]...)
	if args[0] == "rsync" {
		args = append([]string{"rsync", "-e", "ssh -F " + c.config}, args[3:]...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdin = c.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		c.Fatalf("%v does not end: %s", args, out)
	}
	if err != nil && cmd.ProcessState == nil {
		c.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (c *client) expect(want string, status int, stdin string, args ...string) {
	c.Helper()
	if out, code := c.run(stdin, args...); strings.ReplaceAll(out, "\r\n", "\n") != want || code != status {
		c.Errorf("%v: %q, status %d; want %q, %d", args, out, code, want, status)
	}
}

func TestOpenSSH(t *testing.T) {
	h := newHost(t, nil)
	c := newClient(t, h)
	c.expect("hello\n", 0, "", "ssh", "vm", "echo hello")
	c.expect("", 42, "", "ssh", "vm", "exit 42")
	c.expect("typed in\n", 0, "typed in\n", "ssh", "vm", "cat")
	c.expect("from afar\n", 0, "", "ssh", "-o", "SendEnv=LC_TEST", "vm", "echo $LC_TEST")
	c.expect("by password\n", 0, "", "ssh", "-o", "PubkeyAuthentication=no", "vm", "echo by password")
	c.expect("a login shell\n", 3, "echo a login shell; exit 3\n", "ssh", "-T", "vm")
	if out, code := c.run("", "ssh", "-tt", "vm", "tty; exit 4"); code != 4 || !strings.Contains(out, "/dev/") {
		t.Errorf("with a terminal: %q, %d", out, code)
	}
	c.write("askpass", "#!/bin/sh\necho wrong\n")
	if out, code := c.run("", "ssh", "-o", "PubkeyAuthentication=no", "vm", "true"); code != 255 || !strings.Contains(out, "Permission denied") {
		t.Errorf("wrong password: %q, %d", out, code)
	}
	// Longer than ServerAliveInterval: the client asks whether we live.
	c.expect("alive\n", 0, "", "ssh", "-o", "ServerAliveCountMax=1", "vm", "sleep 2.5; echo alive")
}

func random(n int) string {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return string(b)
}

func (c *client) same(file, want string) {
	c.Helper()
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, []byte(want)) {
		c.Errorf("%s: %d bytes, %v", filepath.Base(file), len(data), err)
	}
}

func TestOpenSSHFiles(t *testing.T) {
	h := newHost(t, nil)
	c := newClient(t, h)
	data := random(16<<20 + 17)
	local := c.write("data", data)
	for _, mode := range []string{"-O", "-s"} { // the old protocol through scp on the far side, and sftp
		c.expect("", 0, "", "scp", "-q", mode, local, "vm:up"+mode)
		c.same(filepath.Join(h.home, "up"+mode), data)
		c.expect("", 0, "", "scp", "-q", mode, "vm:up"+mode, filepath.Join(c.dir, "down"))
		c.same(filepath.Join(c.dir, "down"), data)
		if _, code := c.run("", "scp", "-q", mode, "vm:absent", c.dir); code == 0 {
			t.Errorf("scp %s of an absent file went well", mode)
		}
	}
	batch := c.write("batch", "pwd\nmkdir in\nput "+local+" in/data\nrename in/data in/moved\nchmod 640 in/moved\nget in/moved "+c.dir+"/got\nls -l in\nrm in/moved\nrmdir in\nput "+local+" "+h.home+"/absolute\n")
	out, code := c.run("", "sftp", "-b", batch, "vm")
	if code != 0 || !strings.Contains(out, "Remote working directory: "+h.home) || !strings.Contains(out, "-rw-r-----") {
		t.Errorf("sftp: %d\n%s", code, out)
	}
	c.same(filepath.Join(c.dir, "got"), data)
	c.same(filepath.Join(h.home, "absolute"), data)
	if _, err := os.Stat(filepath.Join(h.home, "in")); !os.IsNotExist(err) {
		t.Errorf("in is left: %v", err)
	}
}

func TestRsync(t *testing.T) {
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("rsync is not installed: ", err)
	}
	h := newHost(t, nil)
	c := newClient(t, h)
	data := random(4 << 20)
	if err := os.MkdirAll(filepath.Join(c.dir, "tree/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.write("tree/deep/data", data)
	c.expect("", 0, "", "rsync", "-a", filepath.Join(c.dir, "tree"), "vm:")
	c.same(filepath.Join(h.home, "tree/deep/data"), data)
	c.expect("", 0, "", "rsync", "-a", "vm:tree/", filepath.Join(c.dir, "back"))
	c.same(filepath.Join(c.dir, "back/deep/data"), data)
}

func TestOpenSSHForwarding(t *testing.T) {
	h := newHost(t, nil)
	c := newClient(t, h)
	_, port, _ := net.SplitHostPort(echo(t).String())
	c.expect("STDIO\n", 0, "stdio\n", "ssh", "-W", "localhost:"+port, "vm")

	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, far, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	c.expect("open\n", 0, "", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", far+":127.0.0.1:"+port, "vm",
		"bash -c 'exec 3<>/dev/tcp/127.0.0.1/"+far+" && echo open'")
	out, code := c.run("", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", port+":127.0.0.1:"+port, "vm", "true")
	if code == 0 || !strings.Contains(out, "remote port forwarding failed") {
		t.Errorf("a taken port: %d, %q", code, out)
	}
}
