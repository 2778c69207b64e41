package front_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lazulite.dev/emulator/front"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAuthorityIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("public")}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := front.Config{Dir: dir, Roots: []string{filepath.Join(dir, "absent"), roots}}
	f, err := front.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, perm := range map[string]os.FileMode{"": 0o700, "ca-key.pem": 0o600, "ca.pem": 0o644, "bundle.pem": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != perm {
			t.Errorf("%s: got %v, %v; want %v", name, info.Mode(), err, perm)
		}
	}
	ca := read(t, f.CAFile())
	bundle := read(t, f.BundleFile())
	if !bytes.Contains(bundle, bytes.TrimSpace(ca)) || !bytes.HasPrefix(bundle, read(t, roots)) || f.PublicRoots() != roots {
		t.Errorf("bundle, from %s: %s", f.PublicRoots(), bundle)
	}
	before, err := os.Stat(f.BundleFile())
	if err != nil {
		t.Fatal(err)
	}
	again, err := front.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again.BundleFile())
	if err != nil || !bytes.Equal(ca, read(t, again.CAFile())) || !os.SameFile(before, after) {
		t.Errorf("the second start changed the authority or the bundle (%v)", err)
	}
	// A bundle of ours as the public roots of another start is not doubled.
	nested, err := front.New(front.Config{Dir: dir, Roots: []string{f.BundleFile()}})
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(read(t, nested.BundleFile()), bytes.TrimSpace(ca)); n != 1 {
		t.Errorf("our root is %d times in the bundle", n)
	}
}

func TestBrokenAuthorityIsNotReplaced(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(dir string) error
		want   string // empty: it is made anew
	}{
		{"key without certificate", func(d string) error { return os.Remove(d + "/ca.pem") }, ""},
		{"certificate without key", func(d string) error { return os.Remove(d + "/ca-key.pem") }, "ca-key.pem is missing"},
		{"no PEM", func(d string) error { return os.WriteFile(d+"/ca.pem", []byte("x"), 0o600) }, "no certificate in PEM"},
		{"no key in PEM", func(d string) error { return os.WriteFile(d+"/ca-key.pem", []byte("x"), 0o600) }, "no key in PEM"},
		{"key of another", func(d string) error {
			if _, err := front.New(front.Config{Dir: d + "/other"}); err != nil {
				return err
			}
			return os.Rename(d+"/other/ca-key.pem", d+"/ca-key.pem")
		}, "is not the key of"},
		{"key open to others", func(d string) error { return os.Chmod(d+"/ca-key.pem", 0o644) }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := front.New(front.Config{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			if err := row.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := front.New(front.Config{Dir: dir})
			if row.want == "" {
				info, serr := os.Stat(dir + "/ca-key.pem")
				if err != nil || serr != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("got %v; key %v, %v", err, info.Mode(), serr)
				}
			} else if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestExpiringAuthorityIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	f, err := front.New(front.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	before := read(t, f.CAFile())
	f, err = front.New(front.Config{Dir: dir, Now: func() time.Time { return time.Now().AddDate(9, 11, 20) }})
	if err != nil || bytes.Equal(before, read(t, f.CAFile())) {
		t.Errorf("same authority, %v", err)
	}
}

func TestTemporaryAuthorityIsRemoved(t *testing.T) {
	f, err := front.New(front.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(f.CAFile())
	read(t, f.BundleFile())
	if err := f.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

func leafFor(t *testing.T, f *front.Front, name string, now time.Time) *x509.Certificate {
	t.Helper()
	conn := dial(t, f.Addr())
	defer func() { _ = conn.Close() }()
	c := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: pool(t, f), Time: func() time.Time { return now }})
	if err := c.Handshake(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c.ConnectionState().PeerCertificates[0]
}

func TestLeaves(t *testing.T) {
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := start(t, func(c *front.Config) { c.Now = clock })
	leaf := func(name string) *x509.Certificate { return leafFor(t, f, name, clock()) }
	const name = "eastus2.experiments.azureml.net"
	first := leaf(name)
	if first.IsCA || first.KeyUsage != x509.KeyUsageDigitalSignature || len(first.ExtKeyUsage) != 1 || first.NotAfter.Sub(first.NotBefore) > 398*24*time.Hour {
		t.Errorf("leaf: CA %v, usage %v %v, from %v to %v", first.IsCA, first.KeyUsage, first.ExtKeyUsage, first.NotBefore, first.NotAfter)
	}
	if again := leaf(name); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("the leaf was minted twice")
	}
	ahead.Store(int64(397*24*time.Hour - time.Minute))
	renewed := leaf(name)
	if renewed.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the leaf was not made anew before its end")
	}
	long := strings.Repeat("a", 60) + ".blob.core.windows.net"
	if got := leaf(long); got.Subject.CommonName != "" || got.DNSNames[0] != long {
		t.Errorf("long name: %v %v", got.Subject, got.DNSNames)
	}
	for i := range 520 { // more than are remembered
		_ = leaf(fmt.Sprintf("a%d.azureml.net", i))
	}
	if again := leaf(name); again.SerialNumber.Cmp(renewed.SerialNumber) == 0 {
		t.Error("leaves are remembered without bound")
	}
}

func TestLeafOfAnAddress(t *testing.T) {
	f := start(t, nil)
	c := tls.Client(dial(t, f.Addr()), &tls.Config{ServerName: "127.0.0.1", RootCAs: pool(t, f)}) // an address is not sent as SNI
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if ips := c.ConnectionState().PeerCertificates[0].IPAddresses; len(ips) != 1 || !ips[0].Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("got %v", ips)
	}
}

// TestOpenSSLVerifies: another implementation's judgement of root and leaf.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl command")
	}
	f := start(t, nil)
	leaf := filepath.Join(t.TempDir(), "leaf.pem")
	cert := leafFor(t, f, "acct.blob.core.windows.net", time.Now())
	if err := os.WriteFile(leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "acct.blob.core.windows.net", "-CAfile", f.CAFile(), leaf).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": OK") {
		t.Errorf("%v: %s", err, out)
	}
}
