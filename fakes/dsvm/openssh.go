package dsvm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// serveOwn has OpenSSH's server inside the container take the logins, and
// relays to it from the machine's address.
func (m *machine) serveOwn(ctx context.Context, container engine.Container, execer engine.Execer) (server, error) {
	host, err := m.openSSH().SetUp(ctx, execer)
	if err != nil {
		return nil, err
	}
	addresser, ok := container.(engine.Addresser)
	if !ok {
		return nil, fmt.Errorf("dsvm: the %s engine can't reach a port of a machine", m.fake.cfg.Engine.Name())
	}
	upstream, err := addresser.Addr(ctx, sshPort)
	if err != nil {
		return nil, err
	}
	return m.listen(ctx, func(ctx context.Context, endpoint string) (server, error) {
		return openRelay(ctx, endpoint, upstream, m.admits, host)
	})
}

// openSSH is the server inside, with the machine's accounts.
func (m *machine) openSSH() sshd.OpenSSH {
	f := m.snapshot()
	m.mu.Lock()
	network := m.network
	m.mu.Unlock()
	o := sshd.OpenSSH{HostKeyFile: m.hostKeyFile(), Admin: f.User, Passwords: m.passwordLogins(), AcceptEnv: acceptedEnv, Environment: []string{hardware.NoticeVariable}, Network: network}
	for _, l := range append([]login{{f.User, f.PasswordHash}}, f.Users...) {
		o.Accounts = append(o.Accounts, sshd.Account(l))
	}
	return o
}

// refreshAccounts makes changed logins true inside a machine that serves them itself.
func (m *machine) refreshAccounts(removed string) error {
	m.mu.Lock()
	own, container, life := m.file.OwnSSH, m.container, m.life
	m.mu.Unlock()
	execer, ok := container.(engine.Execer)
	if !own || !ok {
		return nil
	}
	if removed != "" {
		var said tail
		exit, err := execer.Exec(life, engine.Exec{Command: []string{"userdel", "--", removed}, User: "root", Dir: "/", Stderr: &said})
		if err != nil {
			return err
		}
		// 6: there is no such user; 8: it is logged in, and its password is gone all the same.
		if exit.Code != 0 && exit.Code != 6 {
			return errors.New(strings.TrimSpace(said.String()))
		}
	}
	_, err := m.openSSH().SetUp(life, execer)
	return err
}
