package sshd

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lazulite.dev/emulator/durable"
	"lazulite.dev/emulator/engine"
)

// ErrNoOpenSSH says that a container has no SSH server of its own.
var ErrNoOpenSSH = errors.New("sshd: the image has no sshd")

//go:embed openssh.sh
var opensshScript string

// What openssh.sh ends with if there is no sshd.
const noOpenSSH = 3

// How long accounts and sshd may take to be set up.
const setUpLimit = time.Minute

// Account is a login of a machine. Without a hash it has no password.
type Account struct{ Name, PasswordHash string }

// OpenSSH is the SSH server inside a container, where its image has one: logins
// are the system's own accounts, with their homes under /home.
type OpenSSH struct {
	// HostKeyFile keeps the host keys, as a Server's does. The files beside it
	// that the container's server reads must be mounted in it at the same path.
	HostKeyFile string
	// Admin may do as root whatever it likes.
	Admin    string
	Accounts []Account // Admin's too
	// Passwords says whether any may log in by a password.
	Passwords bool
	AcceptEnv []string // what a client may set
	// Environment names variables of the container that logins have too,
	// besides PYENV_ROOT, LANG and CUDA_VISIBLE_DEVICES.
	Environment []string
	// Network is NAME=value that logins have besides, each in the place of what
	// an earlier SetUp gave it: it may be another whenever the emulator starts.
	Network []string
}

// Host is a machine whose logins are set up.
type Host struct {
	Keys []string // public host keys, as authorized_keys writes keys
	// Release is the machine's os-release, which says what system it is; empty if it has none.
	Release string
}

// SetUp makes the accounts what they are to be and has the server run;
// ErrNoOpenSSH if the image has none. It may be called again, when accounts
// have changed: sessions go on.
func (o OpenSSH) SetUp(ctx context.Context, container engine.Execer) (Host, error) {
	private, lines, err := HostKeyFiles(o.HostKeyFile)
	if err != nil {
		return Host{}, err
	}
	var args []string
	kinds := make([]string, 0, len(private))
	for kind := range private {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		file := o.HostKeyFile + "-" + kind
		if err := durable.Keep(file, private[kind], 0o600); err != nil {
			return Host{}, err
		}
		args = append(args, "-h", file)
	}
	passwords := "no"
	if o.Passwords {
		passwords = "yes"
	}
	for _, option := range []string{"UsePAM=yes", "PasswordAuthentication=" + passwords, "PermitRootLogin=no", "AllowTcpForwarding=yes", "AllowAgentForwarding=yes",
		"GatewayPorts=no", "UseDNS=no", "PidFile=/run/sshd.pid", "AcceptEnv=" + strings.Join(o.AcceptEnv, " "),
		// All come through one relay: limits by address would be of all together.
		"MaxStartups=100:30:200"} {
		args = append(args, "-o", option)
	}
	variables := append([]string{"PYENV_ROOT", "LANG", "CUDA_VISIBLE_DEVICES"}, o.Environment...)
	var accounts strings.Builder
	// Hashes go by the standard input: command lines can be seen by all.
	for _, a := range o.Accounts {
		hash := a.PasswordHash
		if hash == "" {
			hash = "*"
		}
		fmt.Fprintf(&accounts, "%s %s\n", a.Name, hash)
	}
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	var release, said bytes.Buffer
	exit, err := container.Exec(ctx, engine.Exec{Command: append([]string{"/bin/sh", "-c", opensshScript, "openssh", o.Admin, strings.Join(variables, " "), strings.Join(o.Network, "\n")}, args...), User: "root", Dir: "/",
		Stdin: strings.NewReader(accounts.String()), Stdout: &release, Stderr: &said})
	switch {
	case err != nil:
		return Host{}, err
	case exit.Code == noOpenSSH:
		return Host{}, ErrNoOpenSSH
	case exit.Code != 0:
		return Host{}, fmt.Errorf("sshd: setting up a machine's logins: exit status %d: %s", exit.Code, strings.TrimSpace(said.String()))
	}
	return Host{Keys: lines, Release: release.String()}, nil
}
