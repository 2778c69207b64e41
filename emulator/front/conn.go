package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const tlsHandshake = 0x16 // the first byte of a TLS record that begins a connection

// conn is one connection that the Front accounts for, with the bytes that were read ahead of their reader.
type conn struct {
	net.Conn
	front *Front
	// name is the host of the CONNECT that led here; it stands in for a missing SNI.
	name   string
	early  []byte
	served atomic.Bool // has had a request
	once   sync.Once
}

// track makes the Front account for c; nil if the Front is closed, and c with it.
func (f *Front) track(c net.Conn) *conn {
	t := &conn{Conn: c, front: f}
	f.mu.Lock()
	if f.state == closed {
		f.mu.Unlock()
		_ = c.Close()
		return nil
	}
	f.conns[t] = struct{}{}
	f.mu.Unlock()
	return t
}

// cut closes the connections that which says.
func (f *Front) cut(which func(*conn) bool) {
	f.mu.Lock()
	var cut []*conn
	for c := range f.conns {
		if which(c) {
			cut = append(cut, c)
		}
	}
	f.mu.Unlock()
	for _, c := range cut {
		_ = c.Close()
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.front.mu.Lock()
		delete(c.front.conns, c)
		c.front.mu.Unlock()
	})
	return c.Conn.Close()
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// ReadFrom lets the kernel move the bytes where both ends are sockets or files.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if from, ok := r.(*conn); ok {
		if len(from.early) > 0 {
			n, err := c.Conn.Write(from.early)
			from.early = from.early[n:]
			if err != nil {
				return int64(n), err
			}
			m, err := io.Copy(c.Conn, from.Conn)
			return int64(n) + m, err
		}
		r = from.Conn
	}
	return io.Copy(c.Conn, r)
}

// CloseWrite tells the peer that nothing more comes.
func (c *conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// CloseRead says that nothing more is wanted.
func (c *conn) CloseRead() error {
	if h, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return h.CloseRead()
	}
	return nil
}

// accept takes connections until the listener closes.
func (f *Front) accept(l net.Listener) {
	var pause time.Duration
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: others must end first.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			f.log.Warn("can't accept a connection", "error", err, "again_in", pause)
			select {
			case <-time.After(pause):
				continue
			case <-f.life.Done():
				return
			}
		}
		pause = 0
		if t := f.track(c); t != nil {
			f.loops.Go(func() { f.sort(t) })
		}
	}
}

// sort looks at the first bytes and hands the connection to the server, through TLS or as it is.
func (f *Front) sort(c *conn) {
	if len(c.early) == 0 {
		buf := make([]byte, 1024)
		_ = c.SetReadDeadline(time.Now().Add(headerTimeout))
		n, err := c.Conn.Read(buf)
		if n == 0 || err != nil && err != io.EOF {
			_ = c.Close()
			return
		}
		_ = c.SetReadDeadline(time.Time{})
		c.early = buf[:n]
	}
	if c.early[0] == tlsHandshake {
		f.feed.put(tls.Server(c, f.tls))
		return
	}
	f.feed.put(c)
}

// adopt serves what comes over a connection that a CONNECT to name opened.
func (f *Front) adopt(c net.Conn, name string) {
	t, ok := c.(*conn)
	if !ok {
		if t = f.track(c); t == nil {
			return
		}
	}
	t.name = name
	t.served.Store(false)
	f.mu.Lock()
	if f.state == closed {
		f.mu.Unlock()
		_ = t.Close()
		return
	}
	f.loops.Go(func() { f.sort(t) })
	f.mu.Unlock()
}

type connKey struct{}

// withConn lets a request find its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, t)
	}
	return ctx
}

// feed is the net.Listener from which the server takes sorted connections.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newFeed() *feed { return &feed{conns: make(chan net.Conn), done: make(chan struct{})} }

func (l *feed) put(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (l *feed) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *feed) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *feed) Addr() net.Addr { return l.addr }
