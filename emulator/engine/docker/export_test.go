package docker

import "net"

// What the tests of reading apt's sources need.
var MachineSources = machineSources

// Admits is who a relay lets in.
func (e *Engine) Admits(from net.Addr) bool { return e.admits(from) }
