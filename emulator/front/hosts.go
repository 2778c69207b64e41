package front

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostsLines are the lines of a hosts file that resolve names to ip, sorted,
// each once. A hosts file knows no wildcards: a pattern is an error.
func HostsLines(ip string, names []string) (string, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", fmt.Errorf("front: %q is no IP address", ip)
	}
	folded := make([]string, 0, len(names))
	for _, n := range names {
		name := fold(n)
		if _, err := netip.ParseAddr(name); err == nil || !validName(name) {
			return "", fmt.Errorf("front: %q is no name for a hosts file", n)
		}
		folded = append(folded, name)
	}
	slices.Sort(folded)
	var b strings.Builder
	for _, n := range slices.Compact(folded) {
		_, _ = fmt.Fprintf(&b, "%s\t%s\n", addr, n)
	}
	return b.String(), nil
}
