package history

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// fieldKind says how a field compares.
type fieldKind int

const (
	textField fieldKind = iota + 1
	idField             // text that compares without case
	numberField
	dateField
	flagField
	openField // Tags.x, Properties.x and RunTypeV2/x
)

// fields finds a field by its folded name; key is the tag's or property's name.
type fields func(name string) (k fieldKind, known bool)

// cell is the value of a field in one row.
type cell struct {
	null bool
	text string
	num  float64
	date time.Time
}

// row gives its fields by folded name; absent is a tag or property that is not
// there, for which every comparison is false.
type row interface {
	cell(name, key string) (c cell, present bool)
}

// expr is a parsed $filter, in the part of OData's grammar that run history
// takes: comparisons joined by and, or and not, with parentheses. Ids and type
// names may stand without quotes, as the SDK writes them.
type expr interface {
	match(r row) bool
	// only returns the values that a field must have for a match, and whether it is so bounded at all.
	only(name string) (values []string, bounded bool)
}

type comparison struct {
	name, key string // name folded
	kind      fieldKind
	op        string
	null      bool
	text      string
	num       float64
	date      time.Time
}

type allOf []expr
type anyOf []expr
type negation struct{ of expr }

func (a allOf) match(r row) bool {
	for _, e := range a {
		if !e.match(r) {
			return false
		}
	}
	return true
}

func (a anyOf) match(r row) bool {
	for _, e := range a {
		if e.match(r) {
			return true
		}
	}
	return false
}

func (n negation) match(r row) bool { return !n.of.match(r) }

func (a allOf) only(name string) ([]string, bool) {
	for _, e := range a {
		if v, ok := e.only(name); ok {
			return v, true
		}
	}
	return nil, false
}

func (a anyOf) only(name string) ([]string, bool) {
	var all []string
	seen := map[string]bool{}
	for _, e := range a {
		values, ok := e.only(name)
		if !ok {
			return nil, false
		}
		for _, v := range values {
			if !seen[fold(v)] {
				seen[fold(v)] = true
				all = append(all, v)
			}
		}
	}
	return all, true
}

func (negation) only(string) ([]string, bool) { return nil, false }

func (c *comparison) only(name string) ([]string, bool) {
	if c.name == name && c.op == "eq" && !c.null {
		return []string{c.text}, true
	}
	return nil, false
}

func (c *comparison) match(r row) bool {
	v, present := r.cell(c.name, c.key)
	if !present {
		return false
	}
	if c.null || v.null {
		switch c.op {
		case "eq":
			return c.null == v.null
		case "ne":
			return c.null != v.null
		}
		return false
	}
	d := 0
	switch c.kind {
	case idField:
		d = strings.Compare(fold(v.text), fold(c.text))
	case numberField:
		switch {
		case v.num < c.num:
			d = -1
		case v.num > c.num:
			d = 1
		}
	case dateField:
		d = v.date.Compare(c.date)
	default:
		d = strings.Compare(v.text, c.text)
	}
	switch c.op {
	case "eq":
		return d == 0
	case "ne":
		return d != 0
	case "gt":
		return d > 0
	case "ge":
		return d >= 0
	case "lt":
		return d < 0
	}
	return d <= 0
}

// parseFilter returns nil for an empty filter.
func parseFilter(s string, f fields) (expr, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	p := &parser{s: s, fields: f}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.i < len(p.s) {
		return nil, p.fail("nothing more is expected")
	}
	return e, nil
}

type parser struct {
	s      string
	i      int
	fields fields
}

// fail names the token at which the filter stops making sense.
func (p *parser) fail(why string, args ...any) error {
	token := "the end"
	if p.i < len(p.s) {
		token = p.s[p.i:]
		if n := strings.IndexAny(token[1:], " \t()"); n >= 0 {
			token = token[:n+1]
		}
		token = "'" + cut(token) + "'"
	}
	return plane.BadRequest("$filter", "The filter is not valid at %s, position %d: %s.", token, p.i, fmt.Sprintf(why, args...))
}

func (p *parser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == '\n' || p.s[p.i] == '\r') {
		p.i++
	}
}

// peek returns the word at the cursor, which ends at space or parenthesis.
func (p *parser) peek() string {
	rest := p.s[p.i:]
	if n := strings.IndexAny(rest, " \t\r\n()"); n >= 0 {
		return rest[:n]
	}
	return rest
}

func (p *parser) keyword(w string) bool {
	p.space()
	if strings.EqualFold(p.peek(), w) {
		p.i += len(w)
		return true
	}
	return false
}

func (p *parser) or(depth int) (expr, error) {
	e, err := p.and(depth)
	if err != nil {
		return nil, err
	}
	all := anyOf{e}
	for p.keyword("or") {
		if e, err = p.and(depth); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

func (p *parser) and(depth int) (expr, error) {
	e, err := p.term(depth)
	if err != nil {
		return nil, err
	}
	all := allOf{e}
	for p.keyword("and") {
		if e, err = p.term(depth); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

func (p *parser) term(depth int) (expr, error) {
	if depth > 100 {
		return nil, p.fail("parentheses are nested too deep")
	}
	if p.keyword("not") {
		e, err := p.term(depth + 1)
		return negation{e}, err
	}
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '(' {
		p.i++
		e, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.space(); p.i >= len(p.s) || p.s[p.i] != ')' {
			return nil, p.fail("a closing parenthesis is expected")
		}
		p.i++
		return e, nil
	}
	return p.comparison()
}

func (p *parser) comparison() (expr, error) {
	c := &comparison{}
	if err := p.field(c); err != nil {
		return nil, err
	}
	p.space()
	c.op = fold(p.peek())
	switch c.op {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.i += 2
	default:
		return nil, p.fail("one of eq, ne, gt, ge, lt, le is expected")
	}
	p.space()
	return c, p.literal(c)
}

func (p *parser) field(c *comparison) error {
	w := p.peek()
	if w == "" {
		return p.fail("the name of a field is expected")
	}
	for _, open := range [...]string{"tags", "properties", "runtypev2"} {
		if len(w) > len(open) && strings.EqualFold(w[:len(open)], open) && (w[len(open)] == '.' || w[len(open)] == '/') {
			return p.open(c, open)
		}
	}
	k, known := p.fields(fold(w))
	if !known || k == openField {
		return p.fail("there is no such field")
	}
	c.name, c.kind = fold(w), k
	p.i += len(w)
	return nil
}

// open reads Tags.name: names have dots, and may have spaces, so that only the operator ends them.
func (p *parser) open(c *comparison, name string) error {
	if _, known := p.fields(name); !known {
		return p.fail("there is no such field")
	}
	from := p.i + len(name) + 1
	end := -1
	for i := from; i < len(p.s); i++ {
		if p.s[i] != ' ' {
			continue
		}
		rest := strings.TrimLeft(p.s[i:], " ")
		if len(rest) > 2 && rest[2] == ' ' && strings.Contains(" eq ne gt ge lt le ", " "+fold(rest[:2])+" ") {
			end = i
			break
		}
	}
	if end <= from {
		return p.fail("a name and one of eq, ne, gt, ge, lt, le are expected")
	}
	c.name, c.key, c.kind, p.i = name, p.s[from:end], openField, end
	return nil
}

func (p *parser) literal(c *comparison) error {
	from := p.i
	if p.i >= len(p.s) {
		return p.fail("a value is expected")
	}
	if p.s[p.i] == '\'' || p.s[p.i] == '"' { // SDK 1.x quotes the values of tags and properties by "
		text, err := p.quoted()
		if err != nil {
			return err
		}
		c.text = text
	} else {
		w := p.peek()
		if w == "" {
			return p.fail("a value is expected")
		}
		if c.kind == dateField && strings.HasPrefix(fold(w), "datetime'") {
			p.i += len("datetime")
			text, err := p.quoted()
			if err != nil {
				return err
			}
			c.text = text
		} else {
			p.i += len(w)
			c.text = w
			c.null = w == "null"
			if c.kind == dateField && !c.null {
				p.time(c)
			}
		}
	}
	if c.null {
		return nil
	}
	return p.typed(c, from)
}

// time appends the time of day that Python's str() sets apart from the date by a space.
func (p *parser) time(c *comparison) {
	at := p.i
	p.space()
	if w := p.peek(); len(w) >= 5 && w[0] >= '0' && w[0] <= '9' && w[2] == ':' {
		c.text += " " + w
		p.i += len(w)
		return
	}
	p.i = at
}

// quoted reads a string. A quote inside is doubled; one that nothing but text
// follows is taken as text, since the SDK does not double any.
func (p *parser) quoted() (string, error) {
	var b strings.Builder
	mark := p.s[p.i]
	for i := p.i + 1; i < len(p.s); i++ {
		if p.s[i] != mark {
			b.WriteByte(p.s[i])
			continue
		}
		switch {
		case i+1 == len(p.s) || p.s[i+1] == ' ' || p.s[i+1] == ')':
			p.i = i + 1
			return b.String(), nil
		case p.s[i+1] == mark:
			i++
			fallthrough
		default:
			b.WriteByte(mark)
		}
	}
	return "", p.fail("the string has no end")
}

func (p *parser) typed(c *comparison, from int) error {
	var ok bool
	switch c.kind {
	case numberField:
		n, err := strconv.ParseFloat(c.text, 64)
		c.num, ok = n, err == nil
	case dateField:
		c.date, ok = parseDate(c.text)
	case flagField:
		c.text = fold(c.text)
		ok = c.text == "true" || c.text == "false"
	default:
		ok = true
	}
	if !ok {
		p.i = from
		return p.fail("the value does not fit the field")
	}
	return nil
}
