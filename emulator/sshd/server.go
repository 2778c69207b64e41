// Package sshd is an SSH server in front of an engine.Execer: what a VM's
// sshd is to its machine, for engines and images that have none of their own.
//
// It serves password and public key logins, commands, shells, terminals,
// environment, signals, sftp (and with it scp), agent forwarding, and TCP
// forwarding both ways, tested with OpenSSH's clients, rsync and paramiko. The
// protocol is gliderlabs/ssh's and x/crypto/ssh's; sessions and forwarding are
// done here, as theirs rewrite a terminal's bytes, lack exit signals and
// listen on every address of the host.
//
// It is strict where a real server is: forwarding stays on loopback unless
// Config says otherwise, variables pass only if AcceptEnv has them, a wrong
// password costs time, and a session ends with its connection. The modes of a
// client's terminal are not applied, a session's terminal has the kernel's;
// Unix sockets and X11 are not forwarded.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
)

// Config of a Server.
type Config struct {
	// Listen address; empty: a free port of 127.0.0.1.
	Listen string
	// HostKeyFile keeps the host keys over restarts, readable by its owner
	// alone; it is made if absent. Empty: new keys at every New.
	HostKeyFile string
	// Password says whether a user's password is right, in constant time. nil: no password logins.
	Password func(user, password string) bool
	// PasswordLogins says, at each connection, whether passwords are taken at all; nil: yes.
	PasswordLogins func() bool
	// Keys gives a user's authorized_keys lines. nil: no key logins.
	Keys func(user string) []string
	// Container is where commands run.
	Container engine.Execer
	// Home is the folder that sessions start in.
	Home string
	// Homes gives a user another folder to start in, and variables that come after
	// Env's; "" is Home. nil: Home for all.
	Homes func(user string) (home string, env []string)
	// Env of every session, NAME=value: HOME, USER, SHELL and so on.
	Env []string
	// Shell runs commands by -c and is the shell, by -l; empty: /bin/sh.
	Shell string
	// AcceptEnv names what a client may set, with * and ?; nil: LANG and LC_*.
	AcceptEnv []string
	// HostFiles says that the container's files are this host's: sftp is served
	// from here. Otherwise SFTP (nil: /usr/lib/openssh/sftp-server) runs in the container.
	HostFiles bool
	SFTP      []string
	// Dial reaches what a client forwards to, as seen from the container; nil: from this host.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// MayDial says where a client may forward to; nil: loopback alone.
	MayDial func(host string, port int) bool
	// Admit says whether a client may connect at all; a connection that may not is
	// reset, as a firewall's. nil: all may.
	Admit func(from net.Addr) bool
	// MaxAuthTries of one connection; 0: 6.
	MaxAuthTries int
	// FailDelay is what a wrong password costs, on the Clock; 0: half a second, negative: nothing.
	FailDelay time.Duration
	Logger    *slog.Logger
	Clock     clock.Clock
}

// How long a client may take to log in.
const loginGrace = 2 * time.Minute

// Server is one sshd.
type Server struct {
	cfg     Config
	ssh     *ssh.Server
	signers []gossh.Signer
	failed  atomic.Int64
	probe   atomic.Pointer[[]byte] // a key that Check logs in with

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	forwards map[string]net.Listener // by connection and requested address
	closing  chan struct{}
	closed   bool
	running  sync.WaitGroup
}

// New makes the host keys or reads them; it does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Container == nil {
		return nil, errors.New("sshd: a Container is needed")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Shell == "" {
		cfg.Shell = "/bin/sh"
	}
	if cfg.AcceptEnv == nil {
		cfg.AcceptEnv = []string{"LANG", "LC_*"}
	}
	if cfg.SFTP == nil {
		cfg.SFTP = []string{"/usr/lib/openssh/sftp-server"}
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	if cfg.MayDial == nil {
		cfg.MayDial = func(host string, _ int) bool { return isLoopback(host) }
	}
	if cfg.MaxAuthTries == 0 {
		cfg.MaxAuthTries = 6
	}
	if cfg.FailDelay == 0 {
		cfg.FailDelay = 500 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	s := &Server{cfg: cfg, conns: map[net.Conn]struct{}{}, forwards: map[string]net.Listener{}, closing: make(chan struct{})}
	var err error
	if s.signers, err = hostKeys(cfg.HostKeyFile); err != nil {
		return nil, err
	}
	s.ssh = &ssh.Server{
		Version:              "lazulite",
		ConnCallback:         s.track,
		PublicKeyHandler:     s.publicKey,
		ServerConfigCallback: s.config,
		ConnectionFailedCallback: func(c net.Conn, err error) {
			cfg.Logger.Debug("ssh connection not made", "from", c.RemoteAddr(), "error", err)
		},
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": s.session, "direct-tcpip": s.directTCP},
		RequestHandlers: map[string]ssh.RequestHandler{"tcpip-forward": s.forwardTCP, "cancel-tcpip-forward": s.cancelForward},
	}
	for _, signer := range s.signers {
		s.ssh.AddHostKey(signer)
	}
	return s, nil
}

// Open listens and serves from then on.
func (s *Server) Open(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("sshd: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.listener != nil {
		l.Close()
		return errors.New("sshd: opened before")
	}
	s.listener = l
	s.running.Go(func() {
		if err := s.ssh.Serve(l); err != nil && !errors.Is(err, ssh.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.cfg.Logger.Error("ssh server ends", "error", err)
		}
	})
	return nil
}

// Addr is where it listens, host and port; empty before Open.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// HostKeys are the public ones as known_hosts writes them, without the host.
func (s *Server) HostKeys() []string {
	var out []string
	for _, k := range s.signers {
		out = append(out, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(k.PublicKey()))))
	}
	return out
}

// FailedLogins counts wrong passwords since New.
func (s *Server) FailedLogins() int64 { return s.failed.Load() }

// Close ends every connection, and with it every session and forwarding, and
// returns when none is left.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	listener := s.listener
	s.mu.Unlock()
	if listener != nil {
		listener.Close()
	}
	_ = s.ssh.Close() // of a listener that is closed already
	for _, c := range conns {
		c.Close()
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter registers work that Close waits for, unless it has begun.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// track keeps a connection in hand from its first byte, so that Close ends a half-made one too.
func (s *Server) track(_ ssh.Context, c net.Conn) net.Conn {
	// Its own Check is no client.
	if s.cfg.Admit != nil && s.probe.Load() == nil && !s.cfg.Admit(c.RemoteAddr()) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	t := &trackedConn{Conn: c, server: s}
	s.conns[t] = struct{}{}
	s.running.Add(1)
	t.grace = time.AfterFunc(loginGrace, func() { c.Close() })
	return t
}

type trackedConn struct {
	net.Conn
	server *Server
	grace  *time.Timer
	once   sync.Once
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.grace.Stop()
		c.server.mu.Lock()
		delete(c.server.conns, c)
		c.server.mu.Unlock()
		c.server.running.Done()
	})
	return err
}

// loggedIn lifts the limit on the time of logging in.
func (s *Server) loggedIn(from net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.RemoteAddr().String() == from.String() {
			c.(*trackedConn).grace.Stop()
		}
	}
}
