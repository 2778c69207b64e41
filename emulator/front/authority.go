package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lazulite.dev/emulator/durable"
)

// Lifetimes. A leaf's stays below the 398 days that Apple's clients allow.
const (
	rootLife  = 10 * 365 * 24 * time.Hour
	leafLife  = 397 * 24 * time.Hour
	leafSpare = 24 * time.Hour      // a leaf with less left is made anew
	rootSpare = 30 * 24 * time.Hour // and the root
	lateClock = 24 * time.Hour      // how far before now they are valid
)

// maxLeaves bounds one of the two generations of remembered leaves.
const maxLeaves = 256

// authority is the local CA and the leaves that it minted.
type authority struct {
	file, bundle, roots string

	now  func() time.Time
	root *x509.Certificate
	key  *ecdsa.PrivateKey

	mu         sync.Mutex
	leafKey    *ecdsa.PrivateKey // of all leaves; it is never written down
	young, old map[string]*tls.Certificate
}

// openAuthority reads the CA in dir, or makes one there if there is none.
func openAuthority(dir string, roots []string, now func() time.Time, log *slog.Logger) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	a := &authority{file: filepath.Join(dir, "ca.pem"), bundle: filepath.Join(dir, "bundle.pem"), now: now, young: map[string]*tls.Certificate{}}
	keyFile := filepath.Join(dir, "ca-key.pem")
	err := a.load(keyFile, log)
	if errors.Is(err, fs.ErrNotExist) {
		err = a.create(keyFile)
		log.Info("made a local certificate authority", "file", a.file)
	}
	if err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	a.roots, err = writeBundle(a.bundle, roots, a.root, log)
	if err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	return a, nil
}

// load returns fs.ErrNotExist if the CA has to be made: there is none, its
// making was interrupted (the key is written first), or it is about to expire.
func (a *authority) load(keyFile string, log *slog.Logger) error {
	certPEM, err := os.ReadFile(a.file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%s is no certificate in PEM; remove it and ca-key.pem to have both made anew", a.file)
	}
	if a.root, err = x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w", a.file, err)
	}
	if a.now().Add(rootSpare).After(a.root.NotAfter) {
		log.Warn("the local certificate authority expires; it is made anew, and clients must read it again", "file", a.file, "expires", a.root.NotAfter)
		return fs.ErrNotExist
	}
	info, err := os.Stat(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing; remove ca.pem to have both made anew", keyFile)
	}
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		log.Warn("the key of the local certificate authority was readable by others", "file", keyFile)
		if err := os.Chmod(keyFile, 0o600); err != nil {
			return err
		}
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	if block, _ = pem.Decode(keyPEM); block == nil {
		return fmt.Errorf("%s is no key in PEM; remove it and ca.pem to have both made anew", keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(a.root.PublicKey) {
		return fmt.Errorf("%s is not the key of %s; remove both to have them made anew", keyFile, a.file)
	}
	a.key = ec
	return nil
}

// create makes root and key. ECDSA P-256 is what every client of the time can verify, and the cheapest to sign with.
func (a *authority) create(keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	now := a.now()
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		// Two authorities of one machine must not pass for one another in a trust store.
		Subject:               pkix.Name{Organization: []string{"lazulite"}, CommonName: fmt.Sprintf("lazulite local CA %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-lateClock),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return err
	}
	if err := durable.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	a.key = key
	a.root, err = x509.ParseCertificate(der)
	return err
}

func serialNumber() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of full length
	return new(big.Int).SetBytes(b), nil
}

// leaf returns a certificate for a folded host name or IP address.
func (a *authority) leaf(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	c, ok := a.young[name]
	if !ok {
		c, ok = a.old[name]
	}
	if !ok || now.Add(leafSpare).After(c.Leaf.NotAfter) {
		var err error
		if c, err = a.mint(name, now); err != nil {
			return nil, err
		}
	}
	if len(a.young) >= maxLeaves {
		a.old, a.young = a.young, map[string]*tls.Certificate{}
	}
	a.young[name] = c
	return c, nil
}

func (a *authority) mint(name string, now time.Time) (*tls.Certificate, error) {
	if !validName(name) {
		return nil, fmt.Errorf("front: %q is no host name", name)
	}
	if a.leafKey == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		a.leafKey = key
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"lazulite"}},
		NotBefore:             now.Add(-lateClock),
		NotAfter:              now.Add(leafLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if tmpl.NotAfter.After(a.root.NotAfter) {
		tmpl.NotAfter = a.root.NotAfter
	}
	if len(name) <= 64 { // the upper bound of a common name
		tmpl.Subject.CommonName = name
	}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.root, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leafKey, Leaf: parsed}, nil
}

// certificate chooses by SNI, or by the CONNECT that led here, or by the address that was connected to.
func (f *Front) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := fold(hello.ServerName)
	if c, ok := hello.Conn.(*conn); ok && name == "" {
		name = c.name
	}
	if name == "" {
		if a, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			name = fold(a.IP.String())
		}
	}
	return f.ca.leaf(name)
}
