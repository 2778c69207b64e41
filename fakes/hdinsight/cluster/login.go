package cluster

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
)

const sshPort = 22

// How long a login may take to be possible.
const loginLimit = 30 * time.Second

// acceptedEnv is what a client may set.
func acceptedEnv() []string { return []string{"LANG", "LC_*", "AZUREML_*"} }

// relayed is OpenSSH's server inside a container, behind a relay at the node's address.
type relayed struct{ *engine.Relay }

// Check needs nothing: the server was running before the relay was opened.
func (relayed) Check(context.Context) error { return nil }

// open has somebody take the node's logins: OpenSSH inside its container, or
// else the emulator's own server, at an address that stays the node's own.
func (n *node) open(ctx context.Context, h *hadoop) (door, error) {
	execer, ok := n.container.(engine.Execer)
	if !ok {
		return nil, fmt.Errorf("the %s engine can't run commands on a node", n.cluster.fleet.cfg.Engine.Name())
	}
	opener := n.ownServer(execer)
	if !h.host {
		var err error
		if opener, err = n.openSSH(ctx, execer, h); err != nil {
			return nil, err
		}
	}
	server, err := n.listen(ctx, opener)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	if err := server.Check(limited); err != nil {
		return nil, errors.Join(err, server.Close(context.WithoutCancel(ctx)))
	}
	return server, nil
}

type opener func(ctx context.Context, p sshd.Place) (door, error)

// listen opens a server at the node's place; a new node gets one first.
func (n *node) listen(ctx context.Context, open opener) (door, error) {
	c := n.cluster
	if p, ok := c.snapshot().Places[n.name]; ok {
		return open(ctx, sshd.Place(p))
	}
	server, at, err := engine.Settle(ctx, !c.fleet.cfg.HighPorts, c.fleet.draw, open)
	if err != nil {
		return nil, err
	}
	if err := c.save(func(f *clusterFile) {
		if f.Places == nil {
			f.Places = map[string]place{}
		}
		f.Places[n.name] = place(at)
	}); err != nil {
		return nil, errors.Join(err, server.Close(ctx))
	}
	return server, nil
}

// draw gives a place that no node of ours keeps.
func (f *Fleet) draw(own bool) sshd.Place {
	taken := map[sshd.Place]bool{}
	for _, c := range f.All() {
		for _, p := range c.snapshot().Places {
			taken[sshd.Place(p)] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if p := sshd.DrawPlace(f.cfg.Rand, own); !taken[p] {
			return p
		}
	}
}

func (n *node) hostKeyFile() string { return filepath.Join(n.disk(), "ssh", "hostkey") }

// ownServer is the emulator's own, for nodes whose files are this host's.
func (n *node) ownServer(execer engine.Execer) opener {
	s := n.cluster.Spec()
	cfg := sshd.Config{HostKeyFile: n.hostKeyFile(), Container: execer, Home: n.home(), Env: n.env, Shell: shell(), AcceptEnv: acceptedEnv(),
		HostFiles: true, Logger: n.cluster.fleet.cfg.Logger, Clock: n.cluster.fleet.cfg.Clock,
		PasswordLogins: func() bool { return s.PasswordHash != "" },
		Password: func(user, password string) bool {
			right := subtle.ConstantTimeCompare([]byte(user), []byte(s.User)) == 1
			return sshd.PasswordMatches(s.PasswordHash, password) && right && s.PasswordHash != ""
		},
		Keys: func(user string) []string {
			if user != s.User {
				return nil
			}
			return n.authorizedKeys()
		},
	}
	return func(ctx context.Context, p sshd.Place) (door, error) {
		cfg := cfg
		cfg.Listen = p.String()
		if err := os.MkdirAll(filepath.Dir(cfg.HostKeyFile), 0o700); err != nil {
			return nil, err
		}
		server, err := sshd.New(cfg)
		if err != nil {
			return nil, err
		}
		return server, server.Open(ctx)
	}
}

// authorizedKeys are read at each login: ssh-copy-id writes to the file.
func (n *node) authorizedKeys() []string {
	file, err := os.Open(filepath.Join(n.home(), ".ssh", "authorized_keys"))
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// openSSH sets the container's own server up.
func (n *node) openSSH(ctx context.Context, execer engine.Execer, h *hadoop) (opener, error) {
	if err := os.MkdirAll(filepath.Dir(n.hostKeyFile()), 0o700); err != nil {
		return nil, err
	}
	s := n.cluster.Spec()
	server := sshd.OpenSSH{HostKeyFile: n.hostKeyFile(), Admin: s.User, Accounts: []sshd.Account{{Name: s.User, PasswordHash: s.PasswordHash}},
		Passwords: s.PasswordHash != "", AcceptEnv: acceptedEnv(), Environment: h.variables()}
	if _, err := server.SetUp(ctx, execer); err != nil {
		return nil, err
	}
	addresser, ok := n.container.(engine.Addresser)
	if !ok {
		return nil, fmt.Errorf("the %s engine can't reach a port of a node", n.cluster.fleet.cfg.Engine.Name())
	}
	upstream, err := addresser.Addr(ctx, sshPort)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, p sshd.Place) (door, error) {
		r, err := engine.OpenRelay(ctx, engine.RelayConfig{Listen: p.String(), Upstream: upstream})
		if err != nil {
			return nil, err
		}
		return relayed{r}, nil
	}, nil
}
