package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// RelayConfig of a Relay.
type RelayConfig struct {
	// Listen and Upstream are host:port.
	Listen, Upstream string
	// Dial, in place of an Upstream, connects to what is relayed to.
	Dial func(ctx context.Context) (net.Conn, error)
	// Admit says who may connect; nil: everybody. Others are cut off without a word.
	Admit func(from net.Addr) bool
}

// Relay passes TCP connections at one address on to another: what listens on
// the host's loopback to containers, what listens in a container to the host.
type Relay struct {
	cfg      RelayConfig
	listener net.Listener

	ctx    context.Context // of the connections
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// How long what is relayed to may take to accept a connection.
const dialLimit = 10 * time.Second

// OpenRelay listens. The Relay lives until Close, not until ctx ends.
func OpenRelay(ctx context.Context, cfg RelayConfig) (*Relay, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", cfg.Upstream)
		}
	}
	r := &Relay{cfg: cfg, listener: l}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.tasks.Go(r.accept)
	return r, nil
}

// Addr is host:port that it listens on.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

func (r *Relay) accept() {
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
		if r.cfg.Admit != nil && !r.cfg.Admit(c.RemoteAddr()) {
			_ = c.Close()
			continue
		}
		r.tasks.Go(func() { r.pass(c) })
	}
}

func (r *Relay) pass(near net.Conn) {
	dialing, cancel := context.WithTimeout(r.ctx, dialLimit)
	far, err := r.cfg.Dial(dialing)
	cancel()
	if err != nil {
		_ = near.Close()
		return
	}
	Join(r.ctx, near, far)
}

// Join copies between two connections, both ways, until both are through or
// ctx ends, and closes them. The end of one way is told by CloseWrite, where
// the connection has it, so that the other way is still read.
func Join(ctx context.Context, a, b io.ReadWriteCloser) {
	end := func() {
		_ = a.Close()
		_ = b.Close()
	}
	defer end()
	defer context.AfterFunc(ctx, end)()
	var both sync.WaitGroup
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // what went wrong either end sees for itself
			if half, ok := way[1].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			} else {
				_ = way[1].Close()
			}
		})
	}
	both.Wait()
}

// Close ends the connections and frees the address.
func (r *Relay) Close(ctx context.Context) error {
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
