package sshd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/engine"
)

// Payloads of RFC 4254, section 7.
type (
	tcpChannel struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	forwardRequest struct {
		Host string
		Port uint32
	}
	forwardReply struct{ Port uint32 }
)

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// directTCP is a client's local forwarding (ssh -L, -W, ProxyJump).
func (s *Server) directTCP(_ *ssh.Server, _ *gossh.ServerConn, fresh gossh.NewChannel, ctx ssh.Context) {
	if !s.enter() {
		_ = fresh.Reject(gossh.ResourceShortage, "shutting down")
		return
	}
	defer s.running.Done()
	var to tcpChannel
	if err := gossh.Unmarshal(fresh.ExtraData(), &to); err != nil || to.Port > 65535 {
		_ = fresh.Reject(gossh.ConnectionFailed, "bad request")
		return
	}
	if !s.cfg.MayDial(to.Host, int(to.Port)) {
		_ = fresh.Reject(gossh.Prohibited, "forwarding to "+to.Host+" is not permitted")
		return
	}
	far, err := s.cfg.Dial(ctx, "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = fresh.Reject(gossh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := fresh.Accept()
	if err != nil {
		far.Close()
		return
	}
	go gossh.DiscardRequests(requests)
	engine.Join(ctx, channel, far)
}

// forwardTCP is a client's remote forwarding (ssh -R). As with OpenSSH's
// GatewayPorts no, it listens on loopback whatever address was asked for.
func (s *Server) forwardTCP(ctx ssh.Context, _ *ssh.Server, r *gossh.Request) (bool, []byte) {
	var want forwardRequest
	if gossh.Unmarshal(r.Payload, &want) != nil || want.Port > 65535 || !s.enter() {
		return false, nil
	}
	host := want.Host
	if net.ParseIP(host) == nil || !isLoopback(host) {
		host = "127.0.0.1"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(want.Port))))
	if err != nil {
		s.running.Done()
		s.cfg.Logger.Info("ssh remote forwarding refused", "error", err)
		return false, nil
	}
	port := uint32(l.Addr().(*net.TCPAddr).Port)
	key := forwardKey(ctx, want.Host, port)
	s.mu.Lock()
	s.forwards[key] = l
	s.mu.Unlock()
	conn := ctx.Value(ssh.ContextKeyConn).(*gossh.ServerConn)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		defer s.running.Done()
		defer stop()
		s.serveForward(ctx, conn, l, want.Host, port)
		s.mu.Lock()
		delete(s.forwards, key)
		s.mu.Unlock()
	}()
	if want.Port != 0 {
		return true, nil
	}
	return true, gossh.Marshal(forwardReply{port})
}

func forwardKey(ctx ssh.Context, host string, port uint32) string {
	return ctx.SessionID() + " " + net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func (s *Server) serveForward(ctx context.Context, conn *gossh.ServerConn, l net.Listener, host string, port uint32) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			s.cfg.Logger.Warn("ssh remote forwarding ends", "error", err)
			l.Close()
			return
		}
		open.Go(func() {
			from := c.RemoteAddr().(*net.TCPAddr)
			channel, requests, err := conn.OpenChannel("forwarded-tcpip", gossh.Marshal(tcpChannel{
				Host: host, Port: port, OriginHost: from.IP.String(), OriginPort: uint32(from.Port),
			}))
			if err != nil {
				c.Close()
				return
			}
			go gossh.DiscardRequests(requests)
			engine.Join(ctx, channel, c)
		})
	}
}

func (s *Server) cancelForward(ctx ssh.Context, _ *ssh.Server, r *gossh.Request) (bool, []byte) {
	var want forwardRequest
	if gossh.Unmarshal(r.Payload, &want) != nil {
		return false, nil
	}
	s.mu.Lock()
	l := s.forwards[forwardKey(ctx, want.Host, want.Port)]
	s.mu.Unlock()
	if l == nil {
		return false, nil
	}
	l.Close()
	return true, nil
}

// agentForward is a socket behind which the client's agent answers.
type agentForward struct {
	socket   string
	listener net.Listener
	ended    chan struct{}
}

func (s *Server) forwardAgent(conn *gossh.ServerConn) (*agentForward, error) {
	dir, err := os.MkdirTemp("", "ssh-")
	if err != nil {
		return nil, err
	}
	a := &agentForward{socket: filepath.Join(dir, "agent"), ended: make(chan struct{})}
	if a.listener, err = net.Listen("unix", a.socket); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		defer close(a.ended)
		life, end := context.WithCancel(context.Background())
		var open sync.WaitGroup
		defer open.Wait()
		defer end()
		for {
			c, err := a.listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				channel, requests, err := conn.OpenChannel("auth-agent@openssh.com", nil)
				if err != nil {
					c.Close()
					return
				}
				go gossh.DiscardRequests(requests)
				engine.Join(life, channel, c)
			})
		}
	}()
	return a, nil
}

func (a *agentForward) close() {
	if a == nil {
		return
	}
	a.listener.Close()
	<-a.ended
	_ = os.RemoveAll(filepath.Dir(a.socket))
}
