package front

import (
	"context"
	"net"
)

// Dial connects to addr as a client behind the Front would by a CONNECT: to
// what listens behind a name of the table, or else over the host's network.
func (f *Front) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	name, port := hostPort(addr, "443")
	if h, ours := f.proxied(name, port); ours && h.Dial != nil {
		return f.dialBehind(ctx, h, name, port)
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
}
