package front

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// table finds the row of a host name; the rows' order decides between several.
type table struct {
	rows  []Host
	exact map[string]int
	one   map[string]int // "*.x" by x
	deep  map[string]int // "**.x" by x
	nets  []network
	any   int // "*", or -1
}

// network is a row whose pattern is a range of addresses.
type network struct {
	prefix netip.Prefix
	row    int
}

func newTable(hosts []Host) (*table, error) {
	t := &table{rows: hosts, exact: map[string]int{}, one: map[string]int{}, deep: map[string]int{}, any: -1}
	for i, h := range hosts {
		pattern := strings.ToLower(h.Pattern)
		if prefix, err := netip.ParsePrefix(pattern); err == nil {
			t.nets = append(t.nets, network{prefix.Masked(), i})
			continue
		}
		in, name := t.exact, pattern
		switch {
		case pattern == "*":
			if t.any < 0 {
				t.any = i
			}
			continue
		case strings.HasPrefix(pattern, "**."):
			in, name = t.deep, pattern[3:]
		case strings.HasPrefix(pattern, "*."):
			in, name = t.one, pattern[2:]
		}
		name = fold(name)
		if !validName(name) {
			return nil, fmt.Errorf("front: Config.Hosts: %q is no pattern of host names", h.Pattern)
		}
		if _, ok := in[name]; !ok {
			in[name] = i
		}
	}
	return t, nil
}

// find returns the first row that matches a folded host name; "*" does not count.
func (t *table) find(name string) (Host, bool) {
	best := len(t.rows)
	if i, ok := t.exact[name]; ok {
		best = i
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if j, ok := t.one[name[i+1:]]; ok && j < best {
			best = j
		}
		for rest := name; len(t.deep) > 0; {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if j, ok := t.deep[rest]; ok && j < best {
				best = j
			}
		}
	}
	if len(t.nets) > 0 && name != "" && name[0] >= '0' && name[0] <= '9' {
		if ip, err := netip.ParseAddr(name); err == nil {
			for _, n := range t.nets {
				if n.row < best && n.prefix.Contains(ip) {
					best = n.row
				}
			}
		}
	}
	if best == len(t.rows) {
		return Host{}, false
	}
	return t.rows[best], true
}

// direct is find for a request that came to us by itself: "*" counts.
func (t *table) direct(name string) (Host, bool) {
	h, ok := t.find(name)
	if !ok && t.any >= 0 {
		return t.rows[t.any], true
	}
	return h, ok
}

// find is the table's, or the row of what the name stands for.
func (f *Front) find(name string) (Host, bool) {
	h, ok := f.table.find(name)
	if ok || f.cfg.Alias == nil {
		return h, ok
	}
	to := fold(f.cfg.Alias(f.life, name))
	if to == "" {
		return Host{}, false
	}
	if h, ok = f.table.find(to); ok && h.Dial != nil {
		dial := h.Dial
		h.Dial = func(ctx context.Context, _, port string) (net.Conn, error) { return dial(ctx, to, port) }
	}
	return h, ok
}

// proxied is find for a request that a client wants passed on to name:port: a
// handler stands for the host's web ports and for ourselves, not for whatever
// else may listen there (a notebook server on localhost).
func (f *Front) proxied(name, port string) (Host, bool) {
	h, ok := f.find(name)
	if !ok || h.Handler == nil || h.Dial != nil || port == "443" || port == "80" || f.own(name, port) {
		return h, ok
	}
	if h.Tunnel != nil {
		return Host{Pattern: h.Pattern, Dial: h.Tunnel}, true
	}
	return Host{}, false
}

// hostPort splits a Host header or a CONNECT target, and folds the name.
func hostPort(s, defaultPort string) (name, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return fold(h), p
	}
	return fold(s), defaultPort
}

// fold is the form of a host name in which the table holds it.
func fold(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.HasPrefix(name, "[") {
		name = strings.Trim(name, "[]")
	}
	for i := range len(name) {
		if 'A' <= name[i] && name[i] <= 'Z' {
			name = strings.ToLower(name)
			break
		}
	}
	if strings.IndexByte(name, ':') >= 0 {
		if ip, err := netip.ParseAddr(name); err == nil {
			return ip.Unmap().String()
		}
	}
	return name
}

// validName reports whether a folded name is a DNS name or an IP address.
func validName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}

// notEmulated answers for a name of Azure that has no handler.
func notEmulated(w http.ResponseWriter, name string) {
	writeError(w, http.StatusNotImplemented, "NotImplemented",
		"lazulite does not emulate '"+name+"', and does not pass requests for Azure's names on.")
}
