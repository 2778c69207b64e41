package conformance

import (
	"bytes"
	"os"
	"path/filepath"
)

// publicRoots are where systems keep the public roots in one PEM file.
func publicRoots() []string {
	return []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}
}

// bundle is a file of CAFile's certificates and the public roots, for clients
// that take one file in place of their own: what they fetch elsewhere, such as packages, must verify too.
func (s *session) bundle() string {
	own, err := os.ReadFile(s.cfg.CAFile)
	s.must(err)
	for _, f := range publicRoots() {
		public, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		file := filepath.Join(s.tempDir(), "bundle.pem")
		s.must(os.WriteFile(file, bytes.Join([][]byte{bytes.TrimSpace(public), bytes.TrimSpace(own), nil}, []byte("\n")), 0o600))
		return file
	}
	return s.cfg.CAFile
}
