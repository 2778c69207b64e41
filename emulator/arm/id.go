package arm

import (
	"fmt"
	"strings"
)

// Types that an id without a provider part has.
const (
	TypeSubscription  = "Microsoft.Resources/subscriptions"
	TypeResourceGroup = "Microsoft.Resources/resourceGroups"
	TypeProvider      = "Microsoft.Resources/providers"
)

// ID is an ARM resource id: case kept, compared without it. It names a
// subscription, a resource group, a provider, or a resource below one of them,
// below another resource (nested type), or on another resource (extension).
// The zero ID is the tenant.
type ID struct{ s string }

// ParseID accepts any resource, resource group, subscription or
// provider-level id. A slash at the end is dropped.
func ParseID(s string) (ID, error) {
	if s == "" || s == "/" {
		return ID{}, fmt.Errorf("arm: the id is empty")
	}
	if s[0] != '/' {
		return ID{}, fmt.Errorf("arm: the id %q does not start with '/'", s)
	}
	s = strings.TrimSuffix(s, "/")
	segs := strings.Split(s[1:], "/")
	for _, seg := range segs {
		if seg == "" {
			return ID{}, fmt.Errorf("arm: the id %q has an empty segment", s)
		}
	}
	rest := segs
	switch {
	case strings.EqualFold(rest[0], "subscriptions"):
		if len(rest) == 1 {
			return ID{}, fmt.Errorf("arm: the id %q lacks the subscription", s)
		}
		rest = rest[2:]
		if len(rest) > 0 && strings.EqualFold(rest[0], "resourceGroups") {
			if len(rest) == 1 {
				return ID{}, fmt.Errorf("arm: the id %q lacks the name of the resource group", s)
			}
			rest = rest[2:]
		}
	case strings.EqualFold(rest[0], "providers"):
	default:
		return ID{}, fmt.Errorf("arm: the id %q starts neither with /subscriptions/ nor with /providers/", s)
	}
	for len(rest) > 0 {
		if !strings.EqualFold(rest[0], "providers") {
			return ID{}, fmt.Errorf("arm: the id %q has '%s' where 'providers' belongs", s, rest[0])
		}
		if len(rest) == 1 {
			return ID{}, fmt.Errorf("arm: the id %q lacks the provider", s)
		}
		rest = rest[2:]
		for len(rest) > 0 && !strings.EqualFold(rest[0], "providers") {
			if len(rest) == 1 {
				return ID{}, fmt.Errorf("arm: the id %q lacks the name of its '%s'", s, rest[0])
			}
			rest = rest[2:]
		}
	}
	return ID{s}, nil
}

// String is the id as it was written first.
func (id ID) String() string { return id.s }

// IsZero reports whether the id is the tenant's.
func (id ID) IsZero() bool { return id.s == "" }

// Key is the id folded, for maps and the store.
func (id ID) Key() string { return strings.ToLower(id.s) }

// Equal compares without case.
func (id ID) Equal(other ID) bool { return id.Key() == other.Key() }

// Subscription is the subscription's id, or empty.
func (id ID) Subscription() string { return id.after(0, "subscriptions") }

// ResourceGroup is the resource group's name, or empty.
func (id ID) ResourceGroup() string { return id.after(2, "resourceGroups") }

// after returns segment n+1 if segment n has the name.
func (id ID) after(n int, name string) string {
	s := id.s
	for ; n > 0; n-- {
		if s == "" {
			return ""
		}
		if i := strings.IndexByte(s[1:], '/'); i >= 0 {
			s = s[i+1:]
		} else {
			return ""
		}
	}
	if len(s) < len(name)+3 || s[len(name)+1] != '/' || !strings.EqualFold(s[1:len(name)+1], name) {
		return ""
	}
	s = s[len(name)+2:]
	if i := strings.IndexByte(s, '/'); i >= 0 {
		s = s[:i]
	}
	return s
}

// block is what follows the last "/providers/", and where that starts; -1 if there is none.
// A type or a name may itself be "providers", so the id is walked from the front.
func (id ID) block() (start int, segs []string) {
	if id.s == "" {
		return -1, nil
	}
	all := strings.Split(id.s[1:], "/")
	i, pos, start := 0, 0, -1
	skip := func(n int) {
		for ; n > 0 && i < len(all); n-- {
			pos += 1 + len(all[i])
			i++
		}
	}
	if strings.EqualFold(all[0], "subscriptions") {
		skip(2)
		if i < len(all) && strings.EqualFold(all[i], "resourceGroups") {
			skip(2)
		}
	}
	for i < len(all) {
		if strings.EqualFold(all[i], "providers") {
			start = pos
			segs = all[min(i+1, len(all)):]
		}
		skip(2)
	}
	return start, segs
}

// Provider is the namespace of the id's type, or empty.
func (id ID) Provider() string {
	if _, segs := id.block(); len(segs) > 0 {
		return segs[0]
	}
	return ""
}

// Type is the full type name, such as "Microsoft.BatchAI/workspaces/clusters".
func (id ID) Type() string {
	start, segs := id.block()
	switch {
	case start >= 0 && len(segs) == 1:
		return TypeProvider
	case start >= 0:
		var b strings.Builder
		b.WriteString(segs[0])
		for i := 1; i < len(segs); i += 2 {
			b.WriteString("/" + segs[i])
		}
		return b.String()
	case id.ResourceGroup() != "":
		return TypeResourceGroup
	case id.s != "":
		return TypeSubscription
	}
	return ""
}

// Name is the id's last segment.
func (id ID) Name() string { return id.s[strings.LastIndexByte(id.s, '/')+1:] }

// Parent is the id that this one hangs off: the enclosing resource, the
// resource that an extension is on, the group, the subscription, the tenant.
func (id ID) Parent() ID {
	start, segs := id.block()
	if start < 0 || len(segs) <= 1 {
		if start >= 0 {
			return ID{id.s[:start]}
		}
		if g := id.ResourceGroup(); g != "" {
			return ID{id.s[:strings.LastIndexByte(id.s[:len(id.s)-len(g)-1], '/')]}
		}
		return ID{}
	}
	if len(segs) == 3 {
		return ID{id.s[:start]}
	}
	return ID{id.s[:len(id.s)-len(segs[len(segs)-1])-len(segs[len(segs)-2])-2]}
}

// Child appends type and name. A type with its namespace ("Microsoft.X/ys")
// starts a provider part; of a type of several segments each takes one segment of name.
func (id ID) Child(resourceType, name string) ID {
	types, names := strings.Split(resourceType, "/"), strings.Split(name, "/")
	var b strings.Builder
	b.WriteString(id.s)
	if strings.Contains(types[0], ".") && len(types) > 1 {
		b.WriteString("/providers/" + types[0])
		types = types[1:]
	}
	for i, t := range types {
		b.WriteString("/" + t)
		if i < len(names) {
			b.WriteString("/" + names[i])
		}
	}
	return ID{b.String()}
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.s), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(b))
	if err == nil {
		*id = parsed
	}
	return err
}
