package execution_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/aml/execution"
)

// sshMachine is a Linux machine with an SSH server: commands run here, with a home of their own.
type sshMachine struct {
	t                  *testing.T
	home               string
	listener           net.Listener
	port               int
	clientPEM, hostPEM string

	mu        sync.Mutex
	signer    ssh.Signer
	clientKey ssh.PublicKey
	conns     map[net.Conn]struct{}
	forwards  bool     // whether remote forwarding is allowed
	uname     string   // answered in place of the kernel's name
	env       []string // more of every session
	down      bool
	lose      string // the connection breaks, and the machine is down, where a command has this in it; it does not run
	wg        sync.WaitGroup
}

func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func newMachine(t *testing.T) *sshMachine {
	t.Helper()
	m := &sshMachine{t: t, home: t.TempDir(), conns: map[net.Conn]struct{}{}, forwards: true}
	var client ssh.Signer
	client, m.clientPEM = newKey(t)
	m.clientKey = client.PublicKey()
	m.signer, m.hostPEM = newKey(t)
	var err error
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.port = m.listener.Addr().(*net.TCPAddr).Port
	m.wg.Add(1)
	go m.accept()
	t.Cleanup(func() {
		_ = m.listener.Close()
		m.cut()
		m.wg.Wait()
	})
	return m
}

func (m *sshMachine) compute() execution.Compute {
	return execution.Compute{Name: "my-vm", Type: "VirtualMachine", Generation: "1", State: "Succeeded",
		SSHTarget: execution.SSHTarget{Address: "127.0.0.1", SSHPort: m.port, Username: "azureuser", Password: "right"}}
}

// cut breaks all connections, as a lost network does.
func (m *sshMachine) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		_ = c.Close()
	}
}

func (m *sshMachine) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *sshMachine) accept() {
	defer m.wg.Done()
	for {
		c, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		if m.down {
			_ = c.Close()
		}
		m.conns[c] = struct{}{}
		m.mu.Unlock()
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			m.serve(c)
			m.mu.Lock()
			delete(m.conns, c)
			m.mu.Unlock()
		}()
	}
}

func (m *sshMachine) serve(c net.Conn) {
	config := &ssh.ServerConfig{
		PasswordCallback: func(meta ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if meta.User() == "azureuser" && string(p) == "right" {
				return nil, nil
			}
			return nil, errors.New("wrong")
		},
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if string(key.Marshal()) == string(m.clientKey.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("wrong")
		},
	}
	m.mu.Lock()
	config.AddHostKey(m.signer)
	m.mu.Unlock()
	conn, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		_ = c.Close()
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.global(conn, reqs) })
	for ch := range chans {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "")
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			continue
		}
		wg.Go(func() { m.session(channel, requests) })
	}
}

type forwardRequest struct {
	Host string
	Port uint32
}

func (m *sshMachine) global(conn *ssh.ServerConn, reqs <-chan *ssh.Request) {
	listeners := map[uint32]net.Listener{}
	var wg sync.WaitGroup
	defer wg.Wait()
	for r := range reqs {
		var f forwardRequest
		switch {
		case r.Type == "tcpip-forward" && m.allowed() && ssh.Unmarshal(r.Payload, &f) == nil:
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", f.Host, f.Port))
			if err != nil {
				_ = r.Reply(false, nil)
				continue
			}
			port := uint32(l.Addr().(*net.TCPAddr).Port)
			listeners[port] = l
			_ = r.Reply(true, ssh.Marshal(struct{ Port uint32 }{port}))
			wg.Go(func() { forward(conn, l, f.Host, port) })
		default:
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}
	for _, l := range listeners {
		_ = l.Close()
	}
}

func (m *sshMachine) allowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forwards
}

func forward(conn *ssh.ServerConn, l net.Listener, host string, port uint32) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		from := c.RemoteAddr().(*net.TCPAddr)
		ch, reqs, err := conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}{host, port, from.IP.String(), uint32(from.Port)}))
		if err != nil {
			_ = c.Close()
			continue
		}
		go ssh.DiscardRequests(reqs)
		go func() {
			_, _ = io.Copy(ch, c)
			_ = ch.CloseWrite()
		}()
		go func() {
			_, _ = io.Copy(c, ch)
			_ = c.Close()
		}()
	}
}

func (m *sshMachine) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = ch.Close() }()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		var command struct{ Text string }
		_ = ssh.Unmarshal(r.Payload, &command)
		go ssh.DiscardRequests(requests)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{m.exec(command.Text, ch)}))
		return
	}
}

func (m *sshMachine) exec(command string, ch ssh.Channel) uint32 {
	if m.loses(command) {
		m.cut()
		return 255
	}
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = m.home
	bin := filepath.Join(m.home, "bin")
	m.mu.Lock()
	if m.uname != "" {
		_ = os.MkdirAll(bin, 0o755)
		_ = os.WriteFile(filepath.Join(bin, "uname"), []byte("#!/bin/sh\necho "+m.uname+"\n"), 0o755)
	}
	cmd.Env = append([]string{"HOME=" + m.home, "USER=azureuser", "PATH=" + bin + ":" + os.Getenv("PATH")}, m.env...)
	m.mu.Unlock()
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 127
	}
	go func() {
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return uint32(exit.ExitCode())
	}
	return 0
}

func (m *sshMachine) loses(command string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lose == "" || !strings.Contains(command, m.lose) {
		return false
	}
	m.lose, m.down = "", true
	return true
}

func (m *sshMachine) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

func (m *sshMachine) file(parts ...string) string {
	return filepath.Join(append([]string{m.home, "azureml_runs"}, parts...)...)
}

// secrets lists files below the home that hold the run's token.
func (m *sshMachine) secrets() []string {
	var found []string
	_ = filepath.Walk(m.home, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			if b, _ := os.ReadFile(path); strings.Contains(string(b), token) {
				found = append(found, path)
			}
		}
		return nil
	})
	return found
}

// trust lets the holder of an authorized_keys line in.
func (m *sshMachine) trust(line string) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		m.t.Fatal(err)
	}
	m.change(func() { m.clientKey = key })
}
