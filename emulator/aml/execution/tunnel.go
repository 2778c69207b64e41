package execution

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"
)

// tunnel lets processes on a remote machine reach the emulator's proxy: a
// listening port on that machine's loopback, forwarded over SSH.
type tunnel struct {
	listener net.Listener
	port     int
	target   string // host:port of the proxy, from here
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// openTunnel asks the machine to listen: on port, or on one of its choice when that is 0.
// The port of a connection that broke may still be taken for a while, so a given port is tried until ctx ends.
func openTunnel(ctx context.Context, c *connection, proxyURL string, port int) (*tunnel, error) {
	u, err := url.Parse(proxyURL)
	if err != nil {
		return nil, fmt.Errorf("execution: proxy URL: %w", err)
	}
	var l net.Listener
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		l, err = c.client.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			break
		}
		if !c.alive() {
			return nil, connectError(Unreachable, "The SSH connection broke: %s", err)
		}
		if port == 0 {
			return nil, connectError(NoForwarding, "The SSH server of the machine refuses remote port forwarding, "+
				"without which a run could not reach the workspace (AllowTcpForwarding in sshd_config): %s", err)
		}
		select {
		case <-ctx.Done():
			return nil, connectError(Unreachable, "The port %d on the machine, through which the run reaches the workspace, cannot be had again: %s", port, err)
		case <-time.After(min(wait, 2*time.Second)):
		}
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		_ = l.Close()
		return nil, errors.New("execution: remote forward has no TCP address")
	}
	t := &tunnel{listener: l, port: addr.Port, target: u.Host, conns: map[net.Conn]struct{}{}}
	t.wg.Add(1)
	go t.accept()
	return t, nil
}

func (t *tunnel) accept() {
	defer t.wg.Done()
	for {
		remote, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			t.serve(remote)
		}()
	}
}

func (t *tunnel) serve(remote net.Conn) {
	defer t.forget(remote)
	t.remember(remote)
	local, err := net.DialTimeout("tcp", t.target, dialTimeout)
	if err != nil {
		return
	}
	defer t.forget(local)
	t.remember(local)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(local, remote)
		halfClose(local)
	}()
	_, _ = io.Copy(remote, local)
	halfClose(remote)
	<-done
}

func halfClose(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
}

func (t *tunnel) remember(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		_ = c.Close()
		return
	}
	t.conns[c] = struct{}{}
}

func (t *tunnel) forget(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	_ = c.Close()
}

func (t *tunnel) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	for c := range t.conns {
		_ = c.Close()
	}
	t.conns = nil
	t.mu.Unlock()
	t.wg.Wait()
}
