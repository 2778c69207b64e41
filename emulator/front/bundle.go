package front

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"lazulite.dev/emulator/durable"
)

// usualRoots are where systems keep the public roots in one PEM file.
func usualRoots() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Gentoo, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and later
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/ssl/cert.pem",                                 // Alpine, macOS, OpenBSD
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/opt/homebrew/etc/ca-certificates/cert.pem",        // Homebrew on Apple silicon
		"/usr/local/etc/ca-certificates/cert.pem",           // Homebrew on Intel
	}
}

// writeBundle writes the first of roots that there is, and our own root. It
// returns which it was; none is no error, but tunnelled hosts will not verify.
func writeBundle(file string, roots []string, root *x509.Certificate, log *slog.Logger) (string, error) {
	var (
		bundle []byte
		used   string
	)
	for _, r := range roots {
		b, err := os.ReadFile(r)
		if err != nil || !bytes.Contains(b, []byte("-----BEGIN CERTIFICATE-----")) {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				log.Warn("can't read public roots", "file", r, "error", err)
			}
			continue
		}
		bundle, used = b, r
		break
	}
	if used == "" {
		log.Warn("no public roots found: with our bundle, clients trust this emulator alone", "tried", roots)
	}
	ours := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	// Roots may be a bundle of ours already, when one environment is made inside another.
	if !bytes.Contains(bundle, bytes.TrimSpace(ours)) {
		bundle = append(bytes.TrimRight(bundle, "\r\n"), '\n')
		bundle = append(bytes.TrimLeft(bundle, "\n"), ours...)
	}
	return used, durable.Keep(file, bundle, 0o644)
}
