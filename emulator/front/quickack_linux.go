package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// quickAck has the kernel acknowledge at once what was read. urllib3 switches
// Nagle's algorithm on for connections through a proxy, and http.client sends
// headers and body apart: with the usual delayed acknowledgement every POST
// of the SDK would stand still for 40 ms. The option is not sticky, so it is
// set after each read.
func quickAck(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// A refusal costs time only.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}
