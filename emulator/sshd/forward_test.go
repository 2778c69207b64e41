package sshd_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

const nil2 = syscall.Signal(0)

// echo answers what it reads, in capitals, once the other side has said all.
func echo(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return l.Addr()
}

func answer(c net.Conn) {
	defer c.Close()
	data, err := io.ReadAll(c)
	if err == nil {
		_, _ = io.WriteString(c, strings.ToUpper(string(data)))
	}
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(halfCloser).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLocalForwarding(t *testing.T) {
	h := newHost(t, nil)
	c := h.login(t)
	port := echo(t).(*net.TCPAddr).Port
	for _, to := range []string{"127.0.0.1", "localhost"} {
		conn, err := c.Dial("tcp", fmt.Sprintf("%s:%d", to, port))
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, conn, "through the tunnel"); got != "THROUGH THE TUNNEL" {
			t.Errorf("%s: %q", to, got)
		}
	}
	for _, to := range []string{"192.0.2.1", "example.com", "0.0.0.0", "localhost.example.com", ""} {
		if conn, err := c.Dial("tcp", fmt.Sprintf("%s:%d", to, port)); err == nil {
			conn.Close()
			t.Errorf("%q could be reached", to)
		} else if !strings.Contains(err.Error(), "administratively prohibited") {
			t.Errorf("%q: %v", to, err)
		}
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	if _, err := c.Dial("tcp", l.Addr().String()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens there: %v", err)
	}
}

func TestRemoteForwarding(t *testing.T) {
	h := newHost(t, nil)
	c := h.login(t)
	for _, want := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		l, err := c.Listen("tcp", want)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go answer(c)
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, conn, "and back"); got != "AND BACK" {
			t.Errorf("%q", got)
		}
		if elsewhere, err := net.Dial("tcp", "127.9.9.9:"+port); err == nil {
			elsewhere.Close()
			t.Errorf("%s listens on more than its loopback address", want)
		}
		// From within a session, as a run reaches the emulator.
		s := newSession(t, c)
		if out, err := s.CombinedOutput("bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + port + " && echo open'"); err != nil || string(out) != "open\n" {
			t.Errorf("%q, %v", out, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("cancel: %v", err)
		}
		within(t, "it still listens", func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
	taken := echo(t)
	if l, err := c.Listen("tcp", taken.String()); err == nil {
		l.Close()
		t.Error("a taken port was forwarded")
	}
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	c.Close()
	within(t, "it outlives its connection", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}
