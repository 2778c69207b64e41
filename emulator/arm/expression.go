package arm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// expression is a parsed template language expression: what stands between
// the brackets of "[concat('a', parameters('b'))]".
type expression interface {
	eval(s *scope) (any, error)
}

type (
	literal  struct{ value any }
	callNode struct {
		name string
		args []expression
	}
	memberNode struct {
		of   expression
		name string
	}
	indexNode struct {
		of, at expression
	}
)

// isExpression reports whether a template string is one, and what is inside. "[[" is an escaped "[".
func isExpression(s string) (inner string, ok bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' || s[1] == '[' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

func parseExpression(text string) (expression, error) {
	p := &expressionParser{s: text}
	e, err := p.expression(0)
	if err == nil {
		if p.space(); p.at < len(p.s) {
			err = p.unexpected()
		}
	}
	return e, err
}

type expressionParser struct {
	s  string
	at int
}

func (p *expressionParser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

func (p *expressionParser) unexpected() error {
	return fmt.Errorf("the language expression '%s' is not valid: unexpected text at position '%d'", p.s, p.at)
}

func (p *expressionParser) take(c byte) bool {
	if p.space(); p.at < len(p.s) && p.s[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *expressionParser) expression(depth int) (expression, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the language expression nests deeper than %d levels", maxDepth)
	}
	e, err := p.primary(depth)
	for err == nil {
		switch {
		case p.take('.'):
			name := p.word()
			if name == "" {
				return nil, p.unexpected()
			}
			e = memberNode{e, name}
		case p.take('['):
			var at expression
			if at, err = p.expression(depth + 1); err == nil && !p.take(']') {
				err = p.unexpected()
			}
			e = indexNode{e, at}
		default:
			return e, nil
		}
	}
	return nil, err
}

func (p *expressionParser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.s) {
		c := p.s[p.at]
		if c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || p.at > start && c >= '0' && c <= '9' {
			p.at++
			continue
		}
		break
	}
	return p.s[start:p.at]
}

func (p *expressionParser) primary(depth int) (expression, error) {
	p.space()
	if p.at >= len(p.s) {
		return nil, p.unexpected()
	}
	switch c := p.s[p.at]; {
	case c == '\'':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		start := p.at
		for p.at++; p.at < len(p.s) && (p.s[p.at] >= '0' && p.s[p.at] <= '9' || p.s[p.at] == '.'); p.at++ {
		}
		n, err := strconv.ParseInt(p.s[start:p.at], 10, 64)
		if err != nil {
			return nil, p.unexpected()
		}
		return literal{n}, nil
	}
	name := p.word()
	if name == "" || !p.take('(') {
		return nil, p.unexpected()
	}
	call := callNode{name: name}
	if p.take(')') {
		return call, nil
	}
	for {
		arg, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		call.args = append(call.args, arg)
		switch {
		case p.take(','):
		case p.take(')'):
			return call, nil
		default:
			return nil, p.unexpected()
		}
	}
}

func (p *expressionParser) text() (expression, error) {
	var b strings.Builder
	for p.at++; ; {
		i := strings.IndexByte(p.s[p.at:], '\'')
		if i < 0 {
			return nil, p.unexpected()
		}
		b.WriteString(p.s[p.at : p.at+i])
		if p.at += i + 1; p.at >= len(p.s) || p.s[p.at] != '\'' {
			return literal{b.String()}, nil
		}
		b.WriteByte('\'')
		p.at++
	}
}

// scope is what an expression can see.
type scope struct {
	template   *template
	parameters map[string]any // folded name to value
	// loops are the copy loops that evaluation is in, the innermost last.
	loops []loop
	// resolving guards against variables that name each other.
	resolving map[string]bool
	group     *Resource
	sub       Subscription
	tenant    string
	name      string // of the deployment
	// reference and list reach deployed resources; nil while nothing is deployed.
	reference func(name, version string, full bool) (any, error)
	list      func(action, name, version string, body any) (any, error)
}

func (l literal) eval(*scope) (any, error) { return l.value, nil }

func (c callNode) eval(s *scope) (any, error) {
	f, ok := functionOf(c.name)
	if !ok {
		return nil, errFunction(c.name)
	}
	if len(c.args) < f.least || f.most >= 0 && len(c.args) > f.most {
		return nil, fmt.Errorf("the template language function '%s' does not take '%d' argument(s)", c.name, len(c.args))
	}
	if f.lazy != nil {
		return f.lazy(s, c.args)
	}
	args := make([]any, len(c.args))
	for i, a := range c.args {
		var err error
		if args[i], err = a.eval(s); err != nil {
			return nil, err
		}
	}
	v, err := f.do(s, args)
	if err != nil {
		return nil, fmt.Errorf("unable to evaluate the template language function '%s': %w", c.name, err)
	}
	return v, nil
}

func errFunction(name string) error {
	return fmt.Errorf("the template function '%s' is not valid. Please see https://aka.ms/arm-template-expressions for usage details", name)
}

func (m memberNode) eval(s *scope) (any, error) {
	of, err := m.of.eval(s)
	if err != nil {
		return nil, err
	}
	return member(of, m.name)
}

func member(of any, name string) (any, error) {
	obj, ok := of.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the language expression property '%s' can't be evaluated: the value is no object", name)
	}
	for k, v := range obj {
		if strings.EqualFold(k, name) {
			return plain(v), nil
		}
	}
	return nil, fmt.Errorf("the language expression property '%s' doesn't exist", name)
}

func (n indexNode) eval(s *scope) (any, error) {
	of, err := n.of.eval(s)
	if err != nil {
		return nil, err
	}
	at, err := n.at.eval(s)
	if err != nil {
		return nil, err
	}
	switch i := at.(type) {
	case string:
		return member(of, i)
	case int64:
		list, ok := of.([]any)
		if !ok || i < 0 || i >= int64(len(list)) {
			return nil, fmt.Errorf("the language expression index '%d' is out of bounds", i)
		}
		return plain(list[i]), nil
	}
	return nil, fmt.Errorf("the language expression index is neither a string nor an integer")
}

// plain turns a JSON number into the language's own.
func plain(v any) any {
	n, ok := v.(json.Number)
	if !ok {
		return v
	}
	if i, err := n.Int64(); err == nil {
		return i
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return n.String()
}

// resolve evaluates every expression inside a template value.
func (s *scope) resolve(v any) (any, error) {
	switch t := v.(type) {
	case string:
		inner, ok := isExpression(t)
		if !ok {
			if strings.HasPrefix(t, "[[") {
				return t[1:], nil
			}
			return t, nil
		}
		e, err := parseExpression(inner)
		if err != nil {
			return nil, err
		}
		return e.eval(s)
	case map[string]any:
		out := make(map[string]any, len(t))
		loops, has := inputLoops(t)
		if err := s.addLoops(loops, out); err != nil {
			return nil, err
		}
		for k, el := range t {
			if has && strings.EqualFold(k, "copy") {
				continue
			}
			var err error
			if out[k], err = s.resolve(el); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(t))
		for i, el := range t {
			var err error
			if out[i], err = s.resolve(el); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return plain(v), nil
}

// visit calls f for every function call inside a template value, and stops at the first error.
func visit(v any, f func(callNode) error) error {
	switch t := v.(type) {
	case string:
		inner, ok := isExpression(t)
		if !ok {
			return nil
		}
		e, err := parseExpression(inner)
		if err != nil {
			return err
		}
		return visitCalls(e, f)
	case map[string]any:
		for _, k := range sortedKeys(t) {
			if err := visit(t[k], f); err != nil {
				return err
			}
		}
	case []any:
		for _, el := range t {
			if err := visit(el, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func visitCalls(e expression, f func(callNode) error) error {
	switch n := e.(type) {
	case callNode:
		if err := f(n); err != nil {
			return err
		}
		for _, a := range n.args {
			if err := visitCalls(a, f); err != nil {
				return err
			}
		}
	case memberNode:
		return visitCalls(n.of, f)
	case indexNode:
		if err := visitCalls(n.of, f); err != nil {
			return err
		}
		return visitCalls(n.at, f)
	}
	return nil
}
