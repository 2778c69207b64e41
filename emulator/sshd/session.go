package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gliderlabs/ssh"
	"github.com/pkg/sftp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"lazulite.dev/emulator/engine"
)

// session is one channel of type "session" (RFC 4254, section 6): at most one
// shell, command or subsystem, with what was asked for before it began.
type session struct {
	server  *Server
	conn    *gossh.ServerConn
	channel gossh.Channel
	env     []string
	tty     *engine.TTY
	resize  chan [2]uint16
	signals chan os.Signal
	agent   *agentForward
}

// Payloads of RFC 4254, section 6.
type (
	ptyRequest struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	windowChange struct{ Cols, Rows, Width, Height uint32 }
	envRequest   struct{ Name, Value string }
	named        struct{ Name string }
	exitStatus   struct{ Status uint32 }
	exitSignal   struct {
		Name     string
		Core     bool
		Message  string
		Language string
	}
)

func (s *Server) session(_ *ssh.Server, conn *gossh.ServerConn, fresh gossh.NewChannel, ctx ssh.Context) {
	if !s.enter() {
		_ = fresh.Reject(gossh.ResourceShortage, "shutting down")
		return
	}
	defer s.running.Done()
	channel, requests, err := fresh.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	se := &session{server: s, conn: conn, channel: channel, resize: make(chan [2]uint16, 1), signals: make(chan os.Signal, 16)}
	defer func() { se.agent.close() }()
	life, end := context.WithCancel(ctx)
	done := make(chan struct{})
	begun := false
	for r := range requests {
		var run func(context.Context)
		ok := false
		if ok, run = se.request(r); run != nil && begun {
			ok, run = false, nil
		}
		if r.WantReply {
			_ = r.Reply(ok, nil) // its failure shows as the end of requests
		}
		if run != nil {
			begun = true
			go func() {
				defer close(done)
				run(life)
				channel.Close()
			}()
		}
	}
	// The client has closed the channel or is gone: what runs must end.
	end()
	if begun {
		<-done
	}
}

// request answers one request; run is set if it begins the session's program.
func (se *session) request(r *gossh.Request) (ok bool, run func(context.Context)) {
	switch r.Type {
	case "pty-req":
		var p ptyRequest
		if gossh.Unmarshal(r.Payload, &p) != nil || se.tty != nil {
			return false, nil
		}
		se.tty = &engine.TTY{Term: p.Term, Rows: uint16(p.Rows), Cols: uint16(p.Cols), Resize: se.resize}
		return true, nil
	case "window-change":
		var w windowChange
		if gossh.Unmarshal(r.Payload, &w) != nil || se.tty == nil {
			return false, nil
		}
		select { // only the newest size counts
		case <-se.resize:
		default:
		}
		se.resize <- [2]uint16{uint16(w.Rows), uint16(w.Cols)}
		return true, nil
	case "env":
		var e envRequest
		if gossh.Unmarshal(r.Payload, &e) != nil || !se.server.accepts(e) {
			return false, nil
		}
		se.env = append(se.env, e.Name+"="+e.Value)
		return true, nil
	case "signal":
		var n named
		if gossh.Unmarshal(r.Payload, &n) != nil {
			return false, nil
		}
		sig := unix.SignalNum("SIG" + n.Name)
		if sig == 0 {
			return false, nil
		}
		select {
		case se.signals <- sig:
			return true, nil
		default:
			return false, nil
		}
	case "auth-agent-req@openssh.com":
		if se.agent != nil || !se.server.cfg.HostFiles {
			return false, nil
		}
		a, err := se.server.forwardAgent(se.conn)
		if err != nil {
			se.server.cfg.Logger.Warn("ssh agent is not forwarded", "error", err)
			return false, nil
		}
		se.agent = a
		return true, nil
	case "shell":
		return true, func(ctx context.Context) { se.command(ctx, se.server.cfg.Shell, "-l") }
	case "exec":
		var c named
		if gossh.Unmarshal(r.Payload, &c) != nil {
			return false, nil
		}
		return true, func(ctx context.Context) { se.command(ctx, se.server.cfg.Shell, "-c", c.Name) }
	case "subsystem":
		var n named
		if gossh.Unmarshal(r.Payload, &n) != nil || n.Name != "sftp" {
			return false, nil
		}
		if se.server.cfg.HostFiles {
			return true, se.sftp
		}
		return true, func(ctx context.Context) { se.command(ctx, se.server.cfg.SFTP...) }
	}
	return false, nil
}

func (s *Server) accepts(e envRequest) bool {
	if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
		return false
	}
	for _, pattern := range s.cfg.AcceptEnv {
		if ok, err := path.Match(pattern, e.Name); ok && err == nil {
			return true
		}
	}
	return false
}

func (se *session) command(ctx context.Context, command ...string) {
	home, own := se.home()
	x := engine.Exec{
		Command: command, Env: se.environment(own), Dir: home,
		Stdin: se.channel, Stdout: se.channel, Stderr: se.channel.Stderr(),
		TTY: se.tty, Signals: se.signals,
	}
	exit, err := se.server.cfg.Container.Exec(ctx, x)
	switch {
	case ctx.Err() != nil:
		// There is nobody left to be told.
	case err != nil:
		se.server.cfg.Logger.Warn("ssh command not run", "error", err)
		fmt.Fprintf(se.channel.Stderr(), "%s: %v\r\n", filepath.Base(command[0]), err)
		se.tell("exit-status", exitStatus{255})
	case exit.Signal != "":
		se.tell("exit-signal", exitSignal{Name: exit.Signal})
	default:
		se.tell("exit-status", exitStatus{uint32(exit.Code)})
	}
}

// home is the user's folder and own variables.
func (se *session) home() (string, []string) {
	if se.server.cfg.Homes != nil {
		if home, env := se.server.cfg.Homes(se.conn.User()); home != "" {
			return home, env
		}
	}
	return se.server.cfg.Home, nil
}

func (se *session) environment(own []string) []string {
	env := append(append([]string{}, se.server.cfg.Env...), own...)
	env = append(env, se.env...)
	from, to := hostPort(se.conn.RemoteAddr()), hostPort(se.conn.LocalAddr())
	env = append(env, "SSH_CLIENT="+from[0]+" "+from[1]+" "+to[1], "SSH_CONNECTION="+from[0]+" "+from[1]+" "+to[0]+" "+to[1])
	if se.agent != nil {
		env = append(env, "SSH_AUTH_SOCK="+se.agent.socket)
	}
	return env
}

func hostPort(a net.Addr) [2]string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return [2]string{"UNKNOWN", "0"}
	}
	return [2]string{host, port}
}

func (se *session) tell(kind string, payload any) {
	// The client may have left; the end of the channel is all it would see then.
	_, _ = se.channel.SendRequest(kind, false, gossh.Marshal(payload))
}

// sftp serves this host's files, from the home folder on, as the user that the emulator runs as.
func (se *session) sftp(ctx context.Context) {
	home, _ := se.home()
	server, err := sftp.NewServer(se.channel, sftp.WithServerWorkingDirectory(home))
	if err != nil {
		se.server.cfg.Logger.Warn("sftp not served", "error", err)
		se.tell("exit-status", exitStatus{255})
		return
	}
	defer server.Close()
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		se.server.cfg.Logger.Debug("sftp ends", "error", err)
		se.tell("exit-status", exitStatus{1})
		return
	}
	se.tell("exit-status", exitStatus{0})
}
