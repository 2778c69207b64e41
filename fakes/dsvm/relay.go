package dsvm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// relay passes connections at the machine's address on to the SSH server
// inside, if the firewall lets them in.
type relay struct {
	listener net.Listener
	upstream string
	admit    func(net.Addr) bool
	hostKeys []string

	ctx    context.Context // of the connections
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// How long the SSH server inside may take to accept a connection.
const dialLimit = 10 * time.Second

func openRelay(ctx context.Context, endpoint, upstream string, admit func(net.Addr) bool, hostKeys []string) (server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, upstream: upstream, admit: admit, hostKeys: hostKeys}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.tasks.Go(r.accept)
	return r, nil
}

// HostKeys are those of the server inside, as authorized_keys writes keys.
func (r *relay) HostKeys() []string { return r.hostKeys }

// Check waits until the server inside greets.
func (r *relay) Check(ctx context.Context) error {
	for {
		err := r.greeted(ctx)
		if err == nil {
			return nil
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("dsvm: the machine's sshd does not answer: %w", err)
		}
	}
}

func (r *relay) greeted(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.upstream)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "SSH-2.0-") {
		return fmt.Errorf("it says %q", line)
	}
	return nil
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of files, say: the next may go better.
			t := time.NewTimer(50 * time.Millisecond)
			select {
			case <-t.C:
				continue
			case <-r.ctx.Done():
				t.Stop()
				return
			}
		}
		if !r.admit(c.RemoteAddr()) {
			_ = c.Close()
			continue
		}
		r.tasks.Go(func() { r.pass(c) })
	}
}

// pass joins a client to the server inside until both have ended.
func (r *relay) pass(client net.Conn) {
	defer client.Close()
	dialing, cancel := context.WithTimeout(r.ctx, dialLimit)
	inside, err := (&net.Dialer{}).DialContext(dialing, "tcp", r.upstream)
	cancel()
	if err != nil {
		return
	}
	defer inside.Close()
	stop := context.AfterFunc(r.ctx, func() {
		_ = client.Close()
		_ = inside.Close()
	})
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, inside}, {inside, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // what went wrong either end sees for itself
			if half, ok := way[1].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}

// Close ends the connections and frees the address.
func (r *relay) Close(ctx context.Context) error {
	err := r.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	r.cancel()
	done := make(chan struct{})
	go func() {
		r.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}
