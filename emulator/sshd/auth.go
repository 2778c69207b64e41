package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/gliderlabs/ssh"
	"golang.org/x/crypto/bcrypt"
	gossh "golang.org/x/crypto/ssh"
)

func (s *Server) config(ctx ssh.Context) *gossh.ServerConfig {
	config := &gossh.ServerConfig{
		MaxAuthTries: s.cfg.MaxAuthTries,
		// Clients of 2018, paramiko 2.4 among them, sign with RSA and SHA-1 alone.
		PublicKeyAuthAlgorithms: append(gossh.SupportedAlgorithms().PublicKeyAuths, gossh.KeyAlgoRSA),
		AuthLogCallback: func(c gossh.ConnMetadata, _ string, err error) {
			if err == nil {
				s.loggedIn(c.RemoteAddr())
			}
		},
	}
	if s.cfg.Password != nil && (s.cfg.PasswordLogins == nil || s.cfg.PasswordLogins()) {
		config.PasswordCallback = func(c gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
			if !s.password(c, string(password)) {
				return nil, errors.New("permission denied")
			}
			return ctx.Permissions().Permissions, nil
		}
	}
	return config
}

func (s *Server) password(c gossh.ConnMetadata, password string) bool {
	if s.cfg.Password(c.User(), password) {
		return true
	}
	s.failed.Add(1)
	s.cfg.Logger.Info("ssh login failed", "user", c.User(), "from", c.RemoteAddr())
	if s.cfg.FailDelay > 0 {
		timer := s.cfg.Clock.NewTimer(s.cfg.FailDelay)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-s.closing:
		}
	}
	return false
}

func (s *Server) publicKey(ctx ssh.Context, key ssh.PublicKey) bool {
	offered := key.Marshal()
	if p := s.probe.Load(); p != nil && subtle.ConstantTimeCompare(*p, offered) == 1 {
		return true
	}
	if s.cfg.Keys == nil {
		return false
	}
	for _, line := range s.cfg.Keys(ctx.User()) {
		known, err := parseKey(line)
		if err == nil && subtle.ConstantTimeCompare(known.Marshal(), offered) == 1 {
			return true
		}
	}
	return false
}

func parseKey(line string) (gossh.PublicKey, error) {
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
	return key, err
}

// CheckKey says what is wrong with an authorized_keys line, nil if it holds a key.
func CheckKey(line string) error {
	if strings.ContainsAny(strings.TrimSpace(line), "\r\n") {
		return errors.New("sshd: more than one line")
	}
	_, err := parseKey(line)
	return err
}

// HashPassword makes what PasswordMatches checks against, fit to be stored. It
// is bcrypt's form, which a Linux machine's own crypt takes too.
func HashPassword(password string) (string, error) {
	h, err := bcrypt.GenerateFromPassword(significant(password), bcrypt.DefaultCost)
	return string(h), err
}

// PasswordMatches compares in a time that tells nothing of the password.
func PasswordMatches(hash, password string) bool {
	return bcrypt.CompareHashAndPassword([]byte(hash), significant(password)) == nil
}

// significant is as much of a password as bcrypt looks at, as crypt(5) has it.
func significant(password string) []byte {
	return []byte(password)[:min(len(password), 72)]
}

// Check logs in to itself over the network, with a key made for this once, and
// runs a command: nil means that a client would get in.
func (s *Server) Check(ctx context.Context) error {
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	key, err := gossh.NewPublicKey(pub)
	if err != nil {
		return err
	}
	wire := key.Marshal()
	if !s.probe.CompareAndSwap(nil, &wire) {
		return errors.New("sshd: a check is under way")
	}
	defer s.probe.Store(nil)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return fmt.Errorf("sshd: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, chans, reqs, err := gossh.NewClientConn(conn, s.Addr(), &gossh.ClientConfig{
		User: "lazulite", Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}, HostKeyCallback: s.isOurs,
	})
	if err != nil {
		conn.Close()
		return fmt.Errorf("sshd: %w", err)
	}
	client := gossh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("sshd: %w", err)
	}
	if err := session.Run("exit 0"); err != nil {
		return fmt.Errorf("sshd: a command: %w", err)
	}
	return nil
}

func (s *Server) isOurs(_ string, _ net.Addr, key gossh.PublicKey) error {
	if slices.ContainsFunc(s.signers, func(o gossh.Signer) bool {
		return string(o.PublicKey().Marshal()) == string(key.Marshal())
	}) {
		return nil
	}
	return errors.New("sshd: another server answers at this address")
}
