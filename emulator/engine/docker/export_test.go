package docker

import (
	"io"
	"net"
)

// What the tests of reading apt's sources need.
var MachineSources = machineSources

// Admits is who a relay lets in.
func (e *Engine) Admits(from net.Addr) bool { return e.admits(from) }

// WriteBuildContext is what docker build is sent of files and folders.
func WriteBuildContext(w io.Writer, files map[string][]byte, folders map[string]string) error {
	return buildContext{files, folders}.write(w)
}
