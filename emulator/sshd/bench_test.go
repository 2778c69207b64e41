package sshd_test

import (
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// BenchmarkLoginAndCommand is what a client pays for one short command, all told.
func BenchmarkLoginAndCommand(b *testing.B) {
	h := newHost(b, nil)
	for b.Loop() {
		c, err := h.dial(user, gossh.PublicKeys(h.key))
		if err != nil {
			b.Fatal(err)
		}
		s, err := c.NewSession()
		if err == nil {
			err = s.Run("true")
		}
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkCommand is one short command in a connection that stands.
func BenchmarkCommand(b *testing.B) {
	h := newHost(b, nil)
	c := h.login(b)
	for b.Loop() {
		if err := newSession(b, c).Run("true"); err != nil {
			b.Fatal(err)
		}
	}
}
