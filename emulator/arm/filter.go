package arm

import (
	"net/http"
	"strings"
	"unicode"
)

// filter is a parsed $filter: comparisons joined by and, or, not and parentheses.
type filter struct{ root filterNode }

type filterNode interface{ holds(r *Resource) bool }

type (
	filterAnd     []filterNode
	filterOr      []filterNode
	filterNot     struct{ of filterNode }
	filterCompare struct {
		field string // folded
		not   bool
		value string
	}
	// filterTag is tagName eq .. and tagValue eq .., which mean one tag together.
	filterTag struct{ name, value string }
	// filterPart is substringof('x', name) or startswith(name, 'x').
	filterPart struct {
		field, value string
		prefix       bool
	}
)

func (f *filter) holds(r *Resource) bool { return f == nil || f.root.holds(r) }

func (n filterAnd) holds(r *Resource) bool {
	for _, o := range n {
		if !o.holds(r) {
			return false
		}
	}
	return true
}

func (n filterOr) holds(r *Resource) bool {
	for _, o := range n {
		if o.holds(r) {
			return true
		}
	}
	return false
}

func (n filterNot) holds(r *Resource) bool { return !n.of.holds(r) }

func (n filterCompare) holds(r *Resource) bool {
	var have string
	switch n.field {
	case "tagname", "tagvalue":
		found := false
		for k, v := range r.Tags {
			found = found || n.field == "tagname" && strings.EqualFold(k, n.value) || n.field == "tagvalue" && v == n.value
		}
		return found != n.not
	case "location":
		return (normalLocation(r.Location) == normalLocation(n.value)) != n.not
	default:
		have = filterField(r, n.field)
	}
	return strings.EqualFold(have, n.value) != n.not
}

func (n filterTag) holds(r *Resource) bool {
	for k, v := range r.Tags {
		if strings.EqualFold(k, n.name) && v == n.value {
			return true
		}
	}
	return false
}

func (n filterPart) holds(r *Resource) bool {
	have := fold(filterField(r, n.field))
	if n.prefix {
		return strings.HasPrefix(have, fold(n.value))
	}
	return strings.Contains(have, fold(n.value))
}

func filterField(r *Resource, field string) string {
	switch field {
	case "resourcetype":
		return r.ID.Type()
	case "name":
		return r.ID.Name()
	case "resourcegroup":
		return r.ID.ResourceGroup()
	case "kind":
		return r.Kind
	case "provisioningstate":
		return r.State
	}
	return r.Location
}

var filterFields = map[string]bool{"resourcetype": true, "name": true, "location": true, "tagname": true, "tagvalue": true, "resourcegroup": true, "kind": true, "provisioningstate": true}

func parseFilter(text string) (*filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	p := &filterParser{}
	if !p.scan(text) {
		return nil, errFilter(text)
	}
	root := p.or(0)
	if root == nil || p.at != len(p.tokens) {
		return nil, errFilter(text)
	}
	return &filter{root}, nil
}

func errFilter(text string) *Error {
	return Errorf(http.StatusBadRequest, "InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", text)
}

type filterParser struct {
	tokens []string // strings keep their first quote
	at     int
}

func (p *filterParser) scan(s string) bool {
	for s != "" {
		switch c := s[0]; {
		case c == ' ' || c == '\t':
			s = s[1:]
		case c == '(' || c == ')' || c == ',':
			p.tokens, s = append(p.tokens, s[:1]), s[1:]
		case c == '\'':
			var b strings.Builder
			b.WriteByte('\'')
			s = s[1:]
			for {
				i := strings.IndexByte(s, '\'')
				if i < 0 {
					return false
				}
				b.WriteString(s[:i])
				s = s[i+1:]
				if !strings.HasPrefix(s, "'") {
					break
				}
				b.WriteByte('\'')
				s = s[1:]
			}
			p.tokens = append(p.tokens, b.String())
		default:
			i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' })
			if i == 0 {
				return false
			}
			if i < 0 {
				i = len(s)
			}
			p.tokens, s = append(p.tokens, s[:i]), s[i:]
		}
	}
	return len(p.tokens) > 0 && len(p.tokens) <= 512
}

func (p *filterParser) next() string {
	if p.at >= len(p.tokens) {
		return ""
	}
	p.at++
	return p.tokens[p.at-1]
}

func (p *filterParser) accept(word string) bool {
	if p.at < len(p.tokens) && strings.EqualFold(p.tokens[p.at], word) {
		p.at++
		return true
	}
	return false
}

// or, and and term return nil where the text is wrong.
func (p *filterParser) or(depth int) filterNode {
	n := p.and(depth)
	out := filterOr{n}
	for n != nil && p.accept("or") {
		n = p.and(depth)
		out = append(out, n)
	}
	if n == nil {
		return nil
	}
	return out
}

func (p *filterParser) and(depth int) filterNode {
	n := p.term(depth)
	out := filterAnd{n}
	for n != nil && p.accept("and") {
		n = p.term(depth)
		if tag, ok := joinTag(out[len(out)-1], n); ok {
			out[len(out)-1] = tag
			continue
		}
		out = append(out, n)
	}
	if n == nil {
		return nil
	}
	return out
}

// joinTag makes one condition of a tag's name and the value beside it.
func joinTag(a, b filterNode) (filterNode, bool) {
	name, ok := a.(filterCompare)
	value, also := b.(filterCompare)
	if !ok || !also || name.field != "tagname" || value.field != "tagvalue" || name.not || value.not {
		return nil, false
	}
	return filterTag{name.value, value.value}, true
}

func (p *filterParser) term(depth int) filterNode {
	if depth > 32 {
		return nil
	}
	switch {
	case p.accept("("):
		n := p.or(depth + 1)
		if n == nil || !p.accept(")") {
			return nil
		}
		return n
	case p.accept("not"):
		if n := p.term(depth + 1); n != nil {
			return filterNot{n}
		}
		return nil
	case p.accept("substringof"):
		value, field, ok := p.arguments()
		return partOrNil(field, value, false, ok)
	case p.accept("startswith"):
		field, value, ok := p.arguments()
		return partOrNil(field, value, true, ok)
	}
	field, op, value := fold(p.next()), fold(p.next()), p.next()
	if !filterFields[field] || op != "eq" && op != "ne" || !strings.HasPrefix(value, "'") {
		return nil
	}
	return filterCompare{field: field, not: op == "ne", value: value[1:]}
}

func (p *filterParser) arguments() (first, second string, ok bool) {
	ok = p.accept("(")
	first = p.next()
	ok = p.accept(",") && ok
	second = p.next()
	return first, second, p.accept(")") && ok
}

func partOrNil(field, value string, prefix, ok bool) filterNode {
	field = fold(field)
	if !ok || !filterFields[field] || strings.HasPrefix(field, "tag") || !strings.HasPrefix(value, "'") {
		return nil
	}
	return filterPart{field: field, value: value[1:], prefix: prefix}
}
