package history

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// maxDepth bounds nesting, so that a hostile body cannot exhaust the stack.
const maxDepth = 512

// member of a JSON object: its name, and its value as it was written.
type member struct {
	name string
	raw  []byte
}

// scanner walks JSON without decoding it. Unlike encoding/json it takes NaN,
// Infinity and -Infinity, which Python writes and reads, and it keeps numbers
// as they are, so that nothing is lost by a detour through float64.
type scanner struct {
	b []byte
	i int
}

var errEnd = errors.New("the text ends too early")

// object returns the members of the object that b is, in their order.
func object(b []byte) ([]member, error) {
	s := &scanner{b: b}
	var out []member
	err := s.walk('{', func(name string, raw []byte) { out = append(out, member{name, raw}) })
	return out, err
}

// array returns the elements of the array that b is.
func array(b []byte) ([][]byte, error) {
	s := &scanner{b: b}
	var out [][]byte
	err := s.walk('[', func(_ string, raw []byte) { out = append(out, raw) })
	return out, err
}

// field finds a member whatever case its name is written in; an explicit null counts as absent.
func field(ms []member, name string) []byte {
	for _, m := range ms {
		if strings.EqualFold(m.name, name) && string(m.raw) != "null" {
			return m.raw
		}
	}
	return nil
}

// kind is what a raw value is, in the words of error messages.
func kind(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

// checkObject makes sure that raw is one whole object.
func checkObject(target string, raw []byte) error {
	if k := kind(bytes.TrimSpace(raw)); k != "object" {
		return wrongKind(target, k, "object")
	}
	if _, err := object(raw); err != nil {
		return plane.BadRequest(target, "The value of '%s' is not valid JSON: %s.", target, err)
	}
	return nil
}

func wrongKind(target, have, want string) *plane.Error {
	return plane.BadRequest(target, "The value of '%s' is a JSON %s where a JSON %s is expected.", target, have, want)
}

// walk reads one whole object or array and calls fn for what is directly in it.
func (s *scanner) walk(open byte, fn func(name string, raw []byte)) error {
	s.space()
	if s.i >= len(s.b) {
		return errEnd
	}
	if s.b[s.i] != open {
		return fmt.Errorf("%s at offset %d where %q is expected", kind(s.b[s.i:]), s.i, open)
	}
	if err := s.composite(1, fn); err != nil {
		return err
	}
	s.space()
	if s.i < len(s.b) {
		return fmt.Errorf("more text at offset %d", s.i)
	}
	return nil
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) value(depth int) error {
	if s.i >= len(s.b) {
		return errEnd
	}
	switch c := s.b[s.i]; c {
	case '{', '[':
		if depth >= maxDepth {
			return fmt.Errorf("more than %d levels at offset %d", maxDepth, s.i)
		}
		return s.composite(depth+1, nil)
	case '"':
		return s.text()
	default:
		return s.literal()
	}
}

func (s *scanner) composite(depth int, fn func(name string, raw []byte)) error {
	named := s.b[s.i] == '{'
	end := byte(']')
	if named {
		end = '}'
	}
	s.i++
	for first := true; ; first = false {
		s.space()
		if s.i >= len(s.b) {
			return errEnd
		}
		if first && s.b[s.i] == end {
			s.i++
			return nil
		}
		var name string
		if named {
			from := s.i
			if s.b[s.i] != '"' {
				return fmt.Errorf("no name at offset %d", s.i)
			}
			if err := s.text(); err != nil {
				return err
			}
			if fn != nil {
				n, err := unquote(s.b[from:s.i])
				if err != nil {
					return err
				}
				name = n
			}
			s.space()
			if s.i >= len(s.b) {
				return errEnd
			}
			if s.b[s.i] != ':' {
				return fmt.Errorf("no colon at offset %d", s.i)
			}
			s.i++
			s.space()
		}
		from := s.i
		if err := s.value(depth); err != nil {
			return err
		}
		if fn != nil {
			fn(name, s.b[from:s.i:s.i])
		}
		s.space()
		if s.i >= len(s.b) {
			return errEnd
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case end:
			s.i++
			return nil
		default:
			return fmt.Errorf("unexpected %q at offset %d", s.b[s.i], s.i)
		}
	}
}

func (s *scanner) text() error {
	for s.i++; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c < 0x20:
			return fmt.Errorf("a control character in a string at offset %d", s.i)
		case c == '\\':
			s.i++
			if s.i >= len(s.b) {
				return errEnd
			}
			switch s.b[s.i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if s.i+4 >= len(s.b) {
					return errEnd
				}
				for _, h := range s.b[s.i+1 : s.i+5] {
					if !strings.ContainsRune("0123456789abcdefABCDEF", rune(h)) {
						return fmt.Errorf("a bad escape at offset %d", s.i)
					}
				}
				s.i += 4
			default:
				return fmt.Errorf("a bad escape at offset %d", s.i)
			}
		}
	}
	return errEnd
}

func (s *scanner) literal() error {
	from := s.i
	for s.i < len(s.b) && strings.IndexByte(",]} \t\r\n:", s.b[s.i]) < 0 {
		s.i++
	}
	word := s.b[from:s.i]
	switch string(word) {
	case "true", "false", "null", "NaN", "Infinity", "-Infinity":
		return nil
	}
	if number(word) {
		return nil
	}
	if len(word) > 20 {
		word = word[:20]
	}
	return fmt.Errorf("%q at offset %d is no value", word, from)
}

// number reports whether w is a number by JSON's grammar.
func number(w []byte) bool {
	i := 0
	digits := func() bool {
		from := i
		for i < len(w) && w[i] >= '0' && w[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(w) && w[i] == '-' {
		i++
	}
	if i < len(w) && w[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(w) && w[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(w) && (w[i] == 'e' || w[i] == 'E') {
		i++
		if i < len(w) && (w[i] == '+' || w[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(w)
}
