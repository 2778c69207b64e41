package sshdtest

import (
	"fmt"
	"io"
	"net"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// capitals is a server, run on the machine, that answers one line in capitals; it prints its port.
const capitals = `python3 -c '
import socket
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(1); print(l.getsockname()[1], flush=True)
while True:
    c, _ = l.accept(); c.sendall(c.makefile().read().upper().encode()); c.close()'`

// server starts capitals on the machine and gives its port.
func (s *suite) server(c *gossh.Client) string {
	s.Helper()
	session := s.session(c)
	s.Cleanup(func() { session.Close() })
	out, err := session.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := session.Start(capitals); err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(s.until(out, "\n"))
}

func (s *suite) ask(c net.Conn, text string) string {
	s.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		s.Fatal(err)
	}
	if half, ok := c.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		s.Fatal("it can't be told that no more comes")
	}
	data, err := io.ReadAll(c)
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

func localForwarding(s *suite) {
	c := s.login()
	port := s.server(c)
	for range 3 {
		conn, err := c.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			s.Fatal(err)
		}
		if got := s.ask(conn, "through"); got != "THROUGH" {
			s.Errorf("%q", got)
		}
	}
	if conn, err := c.Dial("tcp", "127.0.0.1:1"); err == nil {
		conn.Close()
		s.Error("to a port at which nobody listens")
	}
}

func remoteForwarding(s *suite) {
	c := s.login()
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			data, _ := io.ReadAll(conn)
			_, _ = io.WriteString(conn, strings.ToUpper(string(data)))
			_ = conn.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	script := fmt.Sprintf(`python3 -c '
import socket
c = socket.create_connection(("127.0.0.1", %d)); c.sendall(b"back"); c.shutdown(1); print(c.recv(9).decode())'`, port)
	if got := s.output(c, script); got != "BACK" {
		s.Errorf("%q", got)
	}
	second := s.login()
	if taken, err := second.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		taken.Close()
		s.Error("a port that is taken was given twice")
	}
	if err := l.Close(); err != nil {
		s.Error(err)
	}
	<-served
	if _, _, status, _ := s.run(c, script+" 2>/dev/null"); status == 0 {
		s.Error("cancelled, it still listens")
	}
}

func agentForwarding(s *suite) {
	c := s.login()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: s.Key, Comment: "mine"}); err != nil {
		s.Fatal(err)
	}
	if err := agent.ForwardToAgent(c, ring); err != nil {
		s.Fatal(err)
	}
	session := s.session(c)
	if err := agent.RequestAgentForwarding(session); err != nil {
		s.Fatal(err)
	}
	out, err := session.Output("ssh-add -l; echo $SSH_AUTH_SOCK")
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 2 || !strings.Contains(lines[0], "mine (RSA)") {
		s.Fatalf("%q, %v", out, err)
	}
	c.Close() // OpenSSH keeps the socket as long as the connection
	if left := s.output(s.login(), "i=0; while [ -e "+lines[1]+" ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done; [ ! -e "+lines[1]+" ] && echo gone"); left != "gone" {
		s.Error("the connection is over, and its agent's socket is left")
	}
}
