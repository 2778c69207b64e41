//go:build !linux

package front

import "net"

// quickAck is Linux's alone: elsewhere a proxied POST waits for the delayed acknowledgement.
func quickAck(net.Conn) {}
