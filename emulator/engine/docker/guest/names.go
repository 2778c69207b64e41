package guest

import (
	"net/http"
	"strings"
	"sync"
)

// A daemon reads the names of JSON members in any case, so "privileged" is as
// good as "Privileged". Here each has one writing before it is looked at, and
// two writings of one name are refused.

// written are the names that are looked at, by their small letters.
var written = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, all := range []map[string]bool{harmless, checked, set(`HostConfig NetworkingConfig ExposedPorts Labels Privileged Name Driver DriverOpts ClusterVolumeSpec
		Type Source Target ReadOnly BindOptions VolumeOptions DriverConfig Propagation HostIp HostPort Count DeviceIDs Capabilities MaskedPaths ReadonlyPaths`)} {
		for name := range all {
			out[strings.ToLower(name)] = name
		}
	}
	return out
})

// free are the members whose own members have names of the user's.
var free = set("Labels Volumes Tmpfs Sysctls ExposedPorts PortBindings DriverOpts Options Annotations")

// canonical writes the names of an object's members, and of all below it, in one way.
func canonical(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			c, err := canonical(e)
			if err != nil {
				return nil, err
			}
			v[i] = c
		}
	case map[string]any:
		out, had := make(map[string]any, len(v)), map[string]bool{}
		for name, value := range v {
			small := strings.ToLower(name)
			if had[small] || strings.ContainsFunc(name, func(r rune) bool { return r > 127 }) {
				return nil, refuse(http.StatusBadRequest, "invalid JSON: the member %q is there twice, or has letters that no member has", name)
			}
			had[small] = true
			if w := written()[small]; w != "" {
				name = w
			}
			var err error
			if !free[name] {
				value, err = canonical(value)
			} else if of, ok := value.(map[string]any); ok && name == "PortBindings" {
				for port, bindings := range of {
					if of[port], err = canonical(bindings); err != nil {
						break
					}
				}
			}
			if err != nil {
				return nil, err
			}
			out[name] = value
		}
		return out, nil
	}
	return v, nil
}
