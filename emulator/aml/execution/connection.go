package execution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	dialTimeout = 15 * time.Second
	keepAlive   = 15 * time.Second
)

// connection is one SSH connection, with the port forward that runs on it.
type connection struct {
	client *ssh.Client
	python string // of the machine, for the driver's own commands
	tunnel *tunnel
	done   chan struct{}
}

// TestConnection logs in and checks that the machine is one that runs can be
// sent to: its error is a *ConnectError. The host key is not checked against
// an earlier one, since an attach is the first meeting. With a nil Dialer the
// host's own network is taken.
func TestConnection(ctx context.Context, d Dialer, t SSHTarget) error {
	c, err := d.dial(ctx, t, func(ssh.PublicKey) error { return nil })
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.probe(ctx)
	return err
}

func (t SSHTarget) hostPort() string {
	host, port := t.Address, "22"
	if h, p, err := net.SplitHostPort(t.Address); err == nil {
		host, port = h, p
	}
	if t.SSHPort != 0 {
		port = strconv.Itoa(t.SSHPort)
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

func (t SSHTarget) auth() ([]ssh.AuthMethod, error) {
	var methods []ssh.AuthMethod
	if t.PrivateKey != "" {
		var signer ssh.Signer
		var err error
		if t.Passphrase != "" {
			signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(t.PrivateKey), []byte(t.Passphrase))
		} else {
			signer, err = ssh.ParsePrivateKey([]byte(t.PrivateKey))
		}
		if err != nil {
			return nil, connectError(BadKey, "The private key cannot be read, or its passphrase is wrong.")
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if t.Password != "" {
		methods = append(methods, ssh.Password(t.Password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = t.Password
				}
				return answers, nil
			}))
	}
	return methods, nil
}

// Dialer connects to a machine's SSH server, at host:port.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects and logs in. known judges the host's key.
func (d Dialer) dial(ctx context.Context, t SSHTarget, known func(ssh.PublicKey) error) (*connection, error) {
	methods, err := t.auth()
	if err != nil {
		return nil, err
	}
	addr := t.hostPort()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if d == nil {
		d = (&net.Dialer{}).DialContext
	}
	raw, err := d(ctx, "tcp", addr)
	if err != nil {
		return nil, connectError(Unreachable, "The machine %s cannot be reached: %s", addr, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var hostKey error
	conn, chans, reqs, err := ssh.NewClientConn(raw, addr, &ssh.ClientConfig{
		User: t.Username, Auth: methods, Timeout: dialTimeout,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			hostKey = known(key)
			return hostKey
		},
	})
	if err != nil {
		_ = raw.Close()
		switch {
		case hostKey != nil:
			return nil, hostKey
		case strings.Contains(err.Error(), "unable to authenticate"):
			// x/crypto/ssh has no type for this on the client's side.
			return nil, connectError(LoginRefused, "The machine %s refuses to log in the user '%s': wrong user name, password or key.", addr, t.Username)
		}
		return nil, connectError(Unreachable, "The machine %s does not answer as an SSH server: %s", addr, err)
	}
	if !stop() {
		_ = conn.Close()
		return nil, connectError(Unreachable, "The machine %s did not answer in time.", addr)
	}
	_ = raw.SetDeadline(time.Time{})
	c := &connection{client: ssh.NewClient(conn, chans, reqs), done: make(chan struct{})}
	go c.watch()
	return c, nil
}

// watch closes a connection whose other end has gone silent. It ends with the connection.
func (c *connection) watch() {
	go func() { _ = c.client.Wait(); close(c.done) }()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
		}()
		select {
		case <-answered:
		case <-c.done:
			return
		case <-time.After(keepAlive):
			_ = c.client.Close()
		}
	}
}

func (c *connection) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *connection) close() {
	// The connection first: a dead one would not answer the tunnel's farewell.
	_ = c.client.Close()
	<-c.done
	if c.tunnel != nil {
		c.tunnel.close()
	}
}

// failedCommand is a remote command that ended with an exit code.
type failedCommand struct {
	code int
	said string
}

func (e *failedCommand) Error() string { return fmt.Sprintf("exit code %d: %s", e.code, e.said) }

// run has /bin/sh on the machine run a script. An error is a *failedCommand
// when the script ran and failed, and a temporary *ConnectError when it could not be had to run.
func (c *connection) run(ctx context.Context, script string, stdin io.Reader, stdout io.Writer) error {
	session, err := c.client.NewSession()
	if err != nil {
		return connectError(Unreachable, "The SSH connection broke: %s", err)
	}
	defer func() { _ = session.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	var stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = stdin, stdout, &limitedBuffer{b: &stderr, left: 4000}
	err = session.Run("/bin/sh -c " + quote(script))
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return &failedCommand{exit.ExitStatus(), strings.TrimSpace(stderr.String())}
	}
	return connectError(Unreachable, "The SSH connection broke: %s", err)
}

// output is run with what the script prints.
func (c *connection) output(ctx context.Context, script string, stdin io.Reader) (string, error) {
	var b bytes.Buffer
	err := c.run(ctx, script, stdin, &limitedBuffer{b: &b, left: 1 << 20})
	return b.String(), err
}

// probe checks that this is Linux, and finds a Python for the driver's own
// commands: "" if there is none, which matters to a run and not to an attach.
func (c *connection) probe(ctx context.Context) (string, error) {
	out, err := c.output(ctx, `printf 'system=%s\n' "$(uname -s)"
for p in python3 /usr/bin/python3 /usr/local/bin/python3 python "$HOME"/.pyenv/versions/3.*/bin/python3 "$HOME"/anaconda3/bin/python "$HOME"/miniconda3/bin/python /anaconda/bin/python /opt/conda/bin/python; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 5))' >/dev/null 2>&1; then printf 'python=%s\n' "$p"; break; fi
done`, nil)
	var failed *failedCommand
	if err != nil && !errors.As(err, &failed) {
		return "", err
	}
	system, python := "", ""
	for _, line := range strings.Split(out, "\n") {
		if v, ok := strings.CutPrefix(line, "system="); ok {
			system = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(line, "python="); ok {
			python = strings.TrimSpace(v)
		}
	}
	if system != "Linux" {
		if system == "" {
			system = "unknown"
		}
		return "", connectError(NotLinux, "The machine is not Linux (uname says: %s).", system)
	}
	return python, nil
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// limitedBuffer keeps the first bytes and swallows the rest.
type limitedBuffer struct {
	b    *bytes.Buffer
	left int
}

// Write implements io.Writer.
func (l *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}
