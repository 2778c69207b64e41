package sshdtest

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
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
)

//go:embed paramiko.py
var paramikoClient string

// NewKey makes a key for a Host.
func NewKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func random(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// client is a folder with what OpenSSH's programs need to reach a host.
type client struct {
	*suite
	dir, config string
	env         []string
}

func (s *suite) client() *client {
	s.Helper()
	for _, program := range []string{"ssh", "scp", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			s.Skip("OpenSSH's clients are not installed: ", err)
		}
	}
	c := &client{suite: s, dir: s.TempDir()}
	c.config = filepath.Join(c.dir, "config")
	addr, port, _ := net.SplitHostPort(s.Addr)
	known := ""
	for _, k := range s.HostKeys {
		known += fmt.Sprintf("[%s]:%s %s\n%s %s\n", addr, port, k, addr, k)
	}
	c.writeKey()
	c.write("known_hosts", known)
	c.askpass(s.Password)
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
`, addr, port, s.User, filepath.Join(c.dir, "key"), filepath.Join(c.dir, "known_hosts")))
	c.env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(c.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK=", "LC_TEST=from afar")
	return c
}

func (c *client) writeKey() string {
	c.Helper()
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(c.Key)}
	return c.write("key", string(pem.EncodeToMemory(block)))
}

func (c *client) askpass(password string) {
	c.Helper()
	file := c.write("askpass", "#!/bin/sh\necho '"+password+"'\n")
	if err := os.Chmod(file, 0o700); err != nil {
		c.Fatal(err)
	}
}

func (c *client) write(name, text string) string {
	c.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return file
}

// exec gives output and exit status; stdin may be empty.
func (c *client) exec(stdin string, args ...string) (string, int) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if args[0] == "rsync" {
		args = append([]string{"rsync", "-e", "ssh -F " + c.config}, args[1:]...)
	} else {
		args = append([]string{args[0], "-F", c.config}, args[1:]...)
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
	if out, code := c.exec(stdin, args...); strings.ReplaceAll(out, "\r\n", "\n") != want || code != status {
		c.Errorf("%v: %q, status %d; want %q, %d", args, out, code, want, status)
	}
}

func (c *client) same(file string, want []byte) {
	c.Helper()
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, want) {
		c.Errorf("%s: %d bytes, %v", filepath.Base(file), len(data), err)
	}
}

func openSSH(s *suite) {
	c := s.client()
	c.expect("hello\n", 0, "", "ssh", "vm", "echo hello")
	c.expect("", 42, "", "ssh", "vm", "exit 42")
	c.expect("typed in\n", 0, "typed in\n", "ssh", "vm", "cat")
	c.expect("from afar\n", 0, "", "ssh", "-o", "SendEnv=LC_TEST", "vm", "echo $LC_TEST")
	c.expect("by password\n", 0, "", "ssh", "-o", "PubkeyAuthentication=no", "vm", "echo by password")
	if out, code := c.exec("echo a login shell; exit 3\n", "ssh", "-T", "vm"); code != 3 || !strings.HasSuffix(out, "a login shell\n") {
		c.Errorf("a shell without a terminal: %q, %d", out, code)
	}
	if out, code := c.exec("", "ssh", "-tt", "vm", "tty; exit 4"); code != 4 || !strings.Contains(out, "/dev/") {
		c.Errorf("with a terminal: %q, %d", out, code)
	}
	c.askpass("wrong")
	if out, code := c.exec("", "ssh", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", "-o", "ServerAliveInterval=0", "vm", "true"); code != 255 || !strings.Contains(out, "Permission denied") {
		c.Errorf("wrong password: %q, %d", out, code)
	}
	// Longer than ServerAliveInterval: the client asks whether we live.
	c.expect("alive\n", 0, "", "ssh", "-o", "ServerAliveCountMax=1", "vm", "sleep 2.5; echo alive")
	port := s.server(s.login())
	c.expect("STDIO\n", 0, "stdio\n", "ssh", "-W", "localhost:"+port, "vm")
	c.expect("open\n", 0, "", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", "0:"+s.Addr, "-v", "-E", filepath.Join(c.dir, "log"), "vm", "echo open")
	out, code := c.exec("", "ssh", "-o", "ExitOnForwardFailure=yes", "-R", port+":"+s.Addr, "vm", "true")
	if code == 0 || !strings.Contains(out, "remote port forwarding failed") {
		c.Errorf("a taken port: %d, %q", code, out)
	}
}

func files(s *suite) {
	c := s.client()
	data := random(16<<20 + 17)
	local := c.write("data", string(data))
	for _, mode := range []string{"-O", "-s"} { // the old protocol through scp on the far side, and sftp
		c.expect("", 0, "", "scp", "-q", mode, local, "vm:up"+mode)
		c.same(filepath.Join(s.Files, "up"+mode), data)
		c.expect("", 0, "", "scp", "-q", mode, "vm:up"+mode, filepath.Join(c.dir, "down"))
		c.same(filepath.Join(c.dir, "down"), data)
		if _, code := c.exec("", "scp", "-q", mode, "vm:absent", c.dir); code == 0 {
			s.Errorf("scp %s of an absent file went well", mode)
		}
	}
	batch := c.write("batch", "pwd\nmkdir in\nput "+local+" in/data\nrename in/data in/moved\nchmod 640 in/moved\nget in/moved "+c.dir+"/got\nls -l in\nrm in/moved\nrmdir in\nput "+local+" "+s.Home+"/absolute\n")
	out, code := c.exec("", "sftp", "-b", batch, "vm")
	if code != 0 || !strings.Contains(out, "Remote working directory: "+s.Home) || !strings.Contains(out, "-rw-r-----") {
		s.Errorf("sftp: %d\n%s", code, out)
	}
	c.same(filepath.Join(c.dir, "got"), data)
	c.same(filepath.Join(s.Files, "absolute"), data)
	if _, err := os.Stat(filepath.Join(s.Files, "in")); !os.IsNotExist(err) {
		s.Errorf("in is left: %v", err)
	}
}

func rsync(s *suite) {
	if _, err := exec.LookPath("rsync"); err != nil {
		s.Skip("rsync is not installed: ", err)
	}
	c := s.client()
	data := random(4 << 20)
	if err := os.MkdirAll(filepath.Join(c.dir, "tree/deep"), 0o755); err != nil {
		s.Fatal(err)
	}
	c.write("tree/deep/data", string(data))
	c.expect("", 0, "", "rsync", "-a", filepath.Join(c.dir, "tree"), "vm:")
	c.same(filepath.Join(s.Files, "tree/deep/data"), data)
	c.expect("", 0, "", "rsync", "-a", "vm:tree/", filepath.Join(c.dir, "back"))
	c.same(filepath.Join(c.dir, "back/deep/data"), data)
}

func paramiko(s *suite) {
	if s.Paramiko == "" {
		s.Skip("no environment with the SDK of 2018: set LAZULITE_SDK2018")
	}
	c := s.client()
	addr, port, _ := net.SplitHostPort(s.Addr)
	cmd := exec.CommandContext(s.Context(), s.Paramiko, "-W", "ignore", c.write("client.py", paramikoClient), addr, port, s.User, s.Password, filepath.Join(c.dir, "key"), s.Home)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "all well\n" {
		s.Errorf("%v\n%s", err, out)
	}
}
