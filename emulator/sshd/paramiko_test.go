package sshd_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/sshd"
)

func TestParamiko2018(t *testing.T) {
	venv := os.Getenv("LAZULITE_SDK2018")
	if venv == "" {
		t.Skip("no environment with the SDK of 2018: set LAZULITE_SDK2018")
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := gossh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_rsa")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, func(c *sshd.Config) {
		c.Keys = func(string) []string { return []string{string(gossh.MarshalAuthorizedKey(public))} }
	})
	addr, port, _ := net.SplitHostPort(h.Addr())
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), "-W", "ignore", "testdata/paramiko_client.py", addr, port, user, password, file, h.home)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "all well\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
