// Package sshdtest is what an SSH server of a machine must do, as tests: one
// suite for the emulator's own server in front of an engine and for OpenSSH's
// inside a container, with the clients that users have: OpenSSH's ssh, scp and
// sftp, rsync, and the paramiko of the SDK of 2018, besides Go's.
//
// It tests logins, exit codes and signals, terminals, files, forwarding of
// ports and agents, how failed logins are slowed, and what a restart must keep.
// What only one server can do is tested beside that server. A client that this
// machine lacks skips its tests with the reason.
package sshdtest

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Host is a server with one user, who may log in by the key or the password.
type Host struct {
	Addr           string
	User, Password string
	Key            *rsa.PrivateKey // RSA, which clients of 2018 can read
	// HostKeys are the server's, as authorized_keys writes keys.
	HostKeys []string
	// Home is the user's folder as a login has it, and Files the same as this process has it.
	Home, Files string
	// Paramiko is a Python that has paramiko 2.4.2; empty: its test is skipped.
	Paramiko string
	// Failed counts the logins that failed; nil: nobody counts where this process sees it.
	Failed func() int64
	// Off takes the machine down, and On brings it up again with its disk; nil: it can't be.
	Off, On func(t *testing.T)
}

// Test runs the suite; open makes a host, which it closes by itself.
func Test(t *testing.T, open func(t *testing.T) *Host) {
	h := open(t)
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"logins", logins},
		{"failed logins", failures},
		{"commands", commands},
		{"environment", environment},
		{"signals", signals},
		{"terminal", terminal},
		{"much at once", much},
		{"local forwarding", localForwarding},
		{"remote forwarding", remoteForwarding},
		{"agent forwarding", agentForwarding},
		{"ssh", openSSH},
		{"scp and sftp", files},
		{"rsync", rsync},
		{"paramiko", paramiko},
		{"off and on", offAndOn},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(&suite{T: t, Host: h}) })
	}
}

type suite struct {
	*testing.T
	*Host
}

func (s *suite) signer() gossh.Signer {
	s.Helper()
	signer, err := gossh.NewSignerFromKey(s.Key)
	if err != nil {
		s.Fatal(err)
	}
	return signer
}

func (s *suite) dial(user string, auth ...gossh.AuthMethod) (*gossh.Client, error) {
	return gossh.Dial("tcp", s.Addr, &gossh.ClientConfig{User: user, Auth: auth, Timeout: time.Minute, HostKeyCallback: func(_ string, _ net.Addr, key gossh.PublicKey) error {
		line := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
		for _, k := range s.HostKeys {
			if strings.HasPrefix(k, line) {
				return nil
			}
		}
		return errors.New("strange host key " + line)
	}})
}

func (s *suite) login() *gossh.Client {
	s.Helper()
	c, err := s.dial(s.User, gossh.PublicKeys(s.signer()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c
}

func (s *suite) session(c *gossh.Client) *gossh.Session {
	s.Helper()
	session, err := c.NewSession()
	if err != nil {
		s.Fatal(err)
	}
	return session
}

// run gives outputs, and how a command ended.
func (s *suite) run(c *gossh.Client, command string) (out, errs string, status int, signal string) {
	s.Helper()
	session := s.session(c)
	defer session.Close()
	var o, e bytes.Buffer
	session.Stdout, session.Stderr = &o, &e
	err := session.Run(command)
	var exit *gossh.ExitError
	if errors.As(err, &exit) {
		status, signal = exit.ExitStatus(), exit.Signal()
	} else if err != nil {
		s.Errorf("%s: %v", command, err)
	}
	return o.String(), e.String(), status, signal
}

func (s *suite) output(c *gossh.Client, command string) string {
	s.Helper()
	out, errs, status, _ := s.run(c, command)
	if status != 0 {
		s.Errorf("%s: status %d, %s", command, status, errs)
	}
	return strings.TrimSpace(out)
}

// until reads until a text has come.
func (s *suite) until(r io.Reader, want string) string {
	s.Helper()
	var seen strings.Builder
	b := make([]byte, 4096)
	for !strings.Contains(seen.String(), want) {
		n, err := r.Read(b)
		seen.Write(b[:n])
		if err != nil {
			s.Fatalf("%q never came, but %q: %v", want, seen.String(), err)
		}
	}
	return seen.String()
}

func logins(s *suite) {
	other := &suite{T: s.T, Host: &Host{Key: NewKey(s.T)}}
	for name, c := range map[string]struct {
		user string
		auth gossh.AuthMethod
		ok   bool
	}{
		"key":                    {s.User, gossh.PublicKeys(s.signer()), true},
		"password":               {s.User, gossh.Password(s.Password), true},
		"another's key":          {s.User, gossh.PublicKeys(other.signer()), false},
		"a user that is not one": {"nobody-here", gossh.PublicKeys(s.signer()), false},
		"no key":                 {s.User, gossh.PublicKeys(), false},
	} {
		client, err := s.dial(c.user, c.auth)
		if (err == nil) != c.ok {
			s.Errorf("by %s: %v", name, err)
		}
		if err == nil {
			client.Close()
		}
	}
}

// failures: guessing costs time, and a connection has few guesses.
func failures(s *suite) {
	before := int64(0)
	if s.Failed != nil {
		before = s.Failed()
	}
	tries, began := 0, time.Now()
	c, err := s.dial(s.User, gossh.RetryableAuthMethod(gossh.PasswordCallback(func() (string, error) { tries++; return "wrong", nil }), 50))
	if err == nil {
		c.Close()
		s.Fatal("a wrong password was taken")
	}
	if took := time.Since(began); tries < 2 || tries > 10 || took < time.Duration(tries-1)*300*time.Millisecond {
		s.Errorf("%d tries in %s: %v", tries, took, err)
	}
	if s.Failed != nil && s.Failed()-before != int64(tries) {
		s.Errorf("%d of %d tries were counted", s.Failed()-before, tries)
	}
	s.login() // it locks nobody out
}

func commands(s *suite) {
	c := s.login()
	for _, x := range []struct {
		command, out, errs string
		status             int
		signal             string
	}{
		{"echo hello", "hello\n", "", 0, ""},
		{"echo bad >&2; exit 42", "", "bad\n", 42, ""},
		{"pwd; echo $HOME $USER", s.Home + "\n" + s.Home + " " + s.User + "\n", "", 0, ""},
		{"kill -SEGV $$", "", "", 0, "SEGV"},
		{"kill -KILL $$", "", "", 0, "KILL"},
		{"exit 137", "", "", 137, ""},
		{"no-such-command-here 2>/dev/null", "", "", 127, ""},
	} {
		out, errs, status, signal := s.run(c, x.command)
		if x.signal != "" {
			x.status = status
		}
		if out != x.out || errs != x.errs || status != x.status || signal != x.signal {
			s.Errorf("%s: %q, %q, %d, %q", x.command, out, errs, status, signal)
		}
	}
}

func environment(s *suite) {
	session := s.session(s.login())
	for name, ok := range map[string]bool{"LANG": true, "LC_ALL": true, "AZUREML_RUN_ID": true, "LD_PRELOAD": false, "HOME": false} {
		if err := session.Setenv(name, "C"); (err == nil) != ok {
			s.Errorf("%s: %v", name, err)
		}
	}
	out, err := session.Output("echo $AZUREML_RUN_ID $LD_PRELOAD $HOME")
	if err != nil || string(out) != "C "+s.Home+"\n" {
		s.Errorf("%q, %v", out, err)
	}
}

func signals(s *suite) {
	session := s.session(s.login())
	out, err := session.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := session.Start("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done"); err != nil {
		s.Fatal(err)
	}
	s.until(out, "ready")
	if err := session.Signal(gossh.SIGUSR1); err != nil {
		s.Fatal(err)
	}
	s.until(out, "caught")
	var exit *gossh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 5 {
		s.Errorf("%v", err)
	}
}

func terminal(s *suite) {
	session := s.session(s.login())
	in, _ := session.StdinPipe()
	out, _ := session.StdoutPipe()
	if err := session.RequestPty("xterm-256color", 33, 101, gossh.TerminalModes{}); err != nil {
		s.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		s.Fatal(err)
	}
	_, _ = io.WriteString(in, "stty size; echo $TERM; echo is''ready\n")
	if got := s.until(out, "isready"); !strings.Contains(got, "33 101\r\n") || !strings.Contains(got, "xterm-256color\r\n") {
		s.Errorf("at the start: %q", got)
	}
	if err := session.WindowChange(50, 140); err != nil {
		s.Fatal(err)
	}
	// The new size is set when the kernel has it; the shell is asked until it has.
	_, _ = io.WriteString(in, "until [ \"$(stty size)\" = '50 140' ]; do :; done; echo re''sized; exit 9\n")
	s.until(out, "resized")
	var exit *gossh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 9 {
		s.Errorf("%v", err)
	}
}

// much: sessions of one connection, and much through each.
func much(s *suite) {
	c := s.login()
	data := random(4 << 20)
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			session, err := c.NewSession()
			if err != nil {
				done <- err
				return
			}
			defer session.Close()
			var out bytes.Buffer
			session.Stdin, session.Stdout = bytes.NewReader(data), &out
			if err = session.Run("cat"); err == nil && !bytes.Equal(out.Bytes(), data) {
				err = errors.New("other bytes came back")
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			s.Error(err)
		}
	}
}

// offAndOn: off, nobody gets in; on again, all is as it was.
func offAndOn(s *suite) {
	if s.Off == nil {
		s.Skip("this host has no power switch")
	}
	s.output(s.login(), "echo kept >kept")
	s.Off(s.T)
	if c, err := s.dial(s.User, gossh.PublicKeys(s.signer())); err == nil {
		c.Close()
		s.Error("off, it lets people in")
	}
	s.On(s.T)
	c := s.login() // which knows its host keys
	if got := s.output(c, "cat kept"); got != "kept" {
		s.Errorf("its disk has %q", got)
	}
}
