package pool

import (
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/engine"
)

// A node's image of 2018 has "python" on its PATH. Where this host has none of
// that name, these stand in for it, the nearest to 2018's first.
var pythons = []string{"python3.6", "python3.5", "python3"}

// tools gives the PATH of a node that is processes of this host.
func (n *node) tools(env []string) (string, error) {
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	folder := filepath.Join(n.dir(), "bin")
	return "PATH=" + search + ":" + folder, engine.StandIn(folder, search, "python", pythons...)
}
