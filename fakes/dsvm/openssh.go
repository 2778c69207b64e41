package dsvm

import (
	"bytes"
	"context"
	_ "embed"
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

// errNoSSHD says that a container has no SSH server of its own.
var errNoSSHD = errors.New("dsvm: the image has no sshd")

//go:embed openssh.sh
var opensshScript string

// What openssh.sh ends with if there is no sshd.
const noSSHD = 3

// How long accounts and sshd may take to be set up.
const setUpLimit = time.Minute

// serveOwn has OpenSSH's server inside the container take the logins, and
// relays to it from the machine's address.
func (m *machine) serveOwn(ctx context.Context, container engine.Container, execer engine.Execer) (server, error) {
	private, lines, err := sshd.HostKeyFiles(m.hostKeyFile())
	if err != nil {
		return nil, err
	}
	for kind, data := range private {
		if err := writeOnce(m.hostKeyFile()+"-"+kind, data); err != nil {
			return nil, err
		}
	}
	if err := m.setUp(ctx, execer); err != nil {
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
		return openRelay(ctx, endpoint, upstream, m.admits, lines)
	})
}

// writeOnce keeps a secret in a file, if it isn't there.
func writeOnce(file string, data []byte) error {
	if had, err := os.ReadFile(file); err == nil && bytes.Equal(had, data) {
		return nil
	}
	return os.WriteFile(file, data, 0o600)
}

// setUp makes the machine's accounts what they are to be, and has its sshd run.
func (m *machine) setUp(ctx context.Context, execer engine.Execer) error {
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	f := m.snapshot()
	var accounts strings.Builder
	// Hashes go by the standard input: command lines can be seen by all.
	for _, l := range append([]login{{f.User, f.PasswordHash}}, f.Users...) {
		hash := l.PasswordHash
		if hash == "" {
			hash = "*"
		}
		fmt.Fprintf(&accounts, "%s %s\n", l.Name, hash)
	}
	keys, err := filepath.Glob(m.hostKeyFile() + "-*")
	if err != nil {
		return err
	}
	passwords := "no"
	if m.passwordLogins() {
		passwords = "yes"
	}
	options := []string{"UsePAM=yes", "PasswordAuthentication=" + passwords, "PermitRootLogin=no", "AllowTcpForwarding=yes", "AllowAgentForwarding=yes",
		"GatewayPorts=no", "UseDNS=no", "PidFile=/run/sshd.pid", "AcceptEnv=" + strings.Join(acceptedEnv, " "),
		// All come through one relay: limits by address would be of all together.
		"MaxStartups=100:30:200"}
	var args []string
	for _, k := range keys {
		args = append(args, "-h", k)
	}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	var said tail
	exit, err := execer.Exec(ctx, engine.Exec{Command: append([]string{"/bin/sh", "-c", opensshScript, "openssh", f.User}, args...), User: "root", Dir: "/",
		Stdin: strings.NewReader(accounts.String()), Stdout: io.Discard, Stderr: &said})
	switch {
	case err != nil:
		return err
	case exit.Code == noSSHD:
		return errNoSSHD
	case exit.Code != 0:
		return fmt.Errorf("dsvm: setting up a machine's logins: exit status %d: %s", exit.Code, strings.TrimSpace(said.String()))
	}
	return nil
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
	return m.setUp(life, execer)
}
