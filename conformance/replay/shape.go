package replay

import (
	"fmt"
	"sort"
	"strings"
)

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	}
	return "number"
}

// shape walks both documents. A recorded null stands for anything. Of a subtree that is missing only the root is told.
func (c *comparison) shape(at string, rec, live any) {
	if rec == nil {
		return
	}
	if want, got := typeName(rec), typeName(live); want != got {
		c.differ("body", at, want, got)
		return
	}
	switch r := rec.(type) {
	case map[string]any:
		c.object(at, r, live.(map[string]any))
	case []any:
		l := live.([]any)
		switch {
		case len(r) == 0:
		case len(l) == 0:
			c.differ("body", at+"[]", fmt.Sprintf("%d items", len(r)), "none")
		default:
			// Items of one list need not have the same fields: all that were recorded must be found somewhere.
			c.shape(at+"[]", merge(r), merge(l))
		}
	}
}

func (c *comparison) object(at string, rec, live map[string]any) {
	taken := map[string]bool{}
	for _, k := range keys(rec) {
		name, found := match(k, live, rec)
		if found {
			taken[name] = true
		}
		switch {
		case !found && rec[k] == nil:
		case !found:
			c.differ("body", join(at, k), typeName(rec[k]), "missing")
		case name != k && !dynamic(k):
			c.differ("body", join(at, k), "the name "+k, "the name "+name)
			c.shape(join(at, k), rec[k], live[name])
		default:
			c.shape(join(at, label(k)), rec[k], live[name])
		}
	}
	for _, k := range keys(live) {
		if _, ok := rec[k]; !ok && !taken[k] && live[k] != nil {
			c.note("body", join(at, k), "missing", typeName(live[k]))
		}
	}
}

// match finds the key of live that stands for k: itself, itself in another
// case, or, where keys are ids, any other id.
func match(k string, live, rec map[string]any) (string, bool) {
	if _, ok := live[k]; ok {
		return k, true
	}
	for _, l := range keys(live) {
		if strings.EqualFold(l, k) {
			return l, true
		}
	}
	if !dynamic(k) {
		return "", false
	}
	for _, l := range keys(live) {
		if _, own := rec[l]; !own && dynamic(l) {
			return l, true
		}
	}
	return "", false
}

// dynamic says whether a key is an id, not a name of the schema.
func dynamic(k string) bool { return strings.Contains(k, "/") || guid().MatchString(k) }

func label(k string) string {
	if dynamic(k) {
		return "{id}"
	}
	return k
}

func join(at, k string) string {
	if at == "" {
		return k
	}
	return at + "." + k
}

func keys(m map[string]any) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

// merge makes one item that has every field of the items.
func merge(items []any) any {
	var out any
	for _, it := range items {
		out = union(out, it)
	}
	return out
}

func union(a, b any) any {
	switch x := a.(type) {
	case nil:
		return b
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return a
		}
		m := make(map[string]any, len(x)+len(y))
		for k, v := range x {
			m[k] = v
		}
		for k, v := range y {
			m[k] = union(m[k], v)
		}
		return m
	case []any:
		if y, ok := b.([]any); ok {
			return append(append([]any(nil), x...), y...)
		}
	}
	return a
}
