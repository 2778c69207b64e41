package sshd_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/sshd"
	"lazulite.dev/emulator/sshd/sshdtest"
)

// TestServer is the suite, over a machine of the process engine.
func TestServer(t *testing.T) {
	sshdtest.Test(t, func(t *testing.T) *sshdtest.Host {
		key := sshdtest.NewKey(t)
		public, err := gossh.NewPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		var cfg sshd.Config
		h := newHost(t, func(c *sshd.Config) {
			c.FailDelay, c.HostKeyFile = 500*time.Millisecond, filepath.Join(t.TempDir(), "hostkey")
			c.Keys = func(u string) []string {
				if u != user {
					return nil
				}
				return []string{string(gossh.MarshalAuthorizedKey(public))}
			}
			cfg = *c
		})
		out := &sshdtest.Host{Addr: h.Addr(), User: user, Password: password, Key: key, HostKeys: h.HostKeys(), Home: h.home, Files: h.home, Failed: h.FailedLogins}
		if venv := os.Getenv("LAZULITE_SDK2018"); venv != "" {
			out.Paramiko = filepath.Join(venv, "bin", "python")
		}
		out.Off = func(t *testing.T) {
			if err := h.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		out.On = func(t *testing.T) {
			cfg.Listen = out.Addr
			next, err := sshd.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := next.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.Server = next
		}
		return out
	})
}
