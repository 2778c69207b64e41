package arm

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Schema is the compact form of a type's properties, taken from its OpenAPI
// document. Names and enum values match in any case and are rewritten to the
// declared one, as the real services do; null counts as absent. What a schema
// does not name passes unchanged.
type Schema struct {
	// Type is "object", "array", "string", "integer", "number" or "boolean"; empty: anything.
	// A string that spells a boolean or a number is taken for one, as the real services' parser takes it.
	Type       string             `json:"type,omitempty"`
	Properties map[string]*Schema `json:"properties,omitempty"`
	Required   []string           `json:"required,omitempty"`
	// ReadOnly values are dropped from requests.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Enum are the only strings allowed.
	Enum []string `json:"enum,omitempty"`
	// Items is of each element of an array, Values of each member of an object that Properties does not name.
	Items  *Schema `json:"items,omitempty"`
	Values *Schema `json:"values,omitempty"`
	// Minimum and Maximum bound a number; MinLength and MaxLength a string (in characters) or an array.
	Minimum   *float64 `json:"minimum,omitempty"`
	Maximum   *float64 `json:"maximum,omitempty"`
	MinLength int      `json:"minLength,omitempty"`
	MaxLength int      `json:"maxLength,omitempty"`
	// Pattern is a regular expression for a whole string.
	Pattern string `json:"pattern,omitempty"`
	// Closed refuses members that Properties does not name.
	Closed bool `json:"closed,omitempty"`
	// Default is put in where the member is absent.
	Default json.RawMessage `json:"default,omitempty"`

	pattern *regexp.Regexp
	names   map[string]string // folded to declared
	sorted  []string
}

// ParseSchema reads a schema from its JSON form.
func ParseSchema(b []byte) (*Schema, error) {
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	var s Schema
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("arm: schema: %w", err)
	}
	return &s, s.compile("properties")
}

func (s *Schema) compile(path string) error {
	switch s.Type {
	case "", "object", "array", "string", "integer", "number", "boolean":
	default:
		return fmt.Errorf("schema of %s: unknown type %q", path, s.Type)
	}
	if s.Pattern != "" && s.pattern == nil {
		re, err := regexp.Compile(`^(?:` + s.Pattern + `)$`)
		if err != nil {
			return fmt.Errorf("schema of %s: %w", path, err)
		}
		s.pattern = re
	}
	if len(s.Default) > 0 && !json.Valid(s.Default) {
		return fmt.Errorf("schema of %s: the default is not JSON", path)
	}
	if s.names == nil {
		s.names = make(map[string]string, len(s.Properties))
		for name := range s.Properties {
			s.names[fold(name)] = name
			s.sorted = append(s.sorted, name)
		}
		sort.Strings(s.sorted)
	}
	for _, name := range s.Required {
		if s.Properties[name] == nil {
			return fmt.Errorf("schema of %s: required %q is not declared", path, name)
		}
	}
	for name, p := range s.Properties {
		if err := p.compile(path + "." + name); err != nil {
			return err
		}
	}
	for _, p := range []*Schema{s.Items, s.Values} {
		if p != nil {
			if err := p.compile(path + "[]"); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply checks v and returns it as it is to be stored. The error's Target is the JSON path.
func (s *Schema) apply(path string, v any) (any, error) {
	switch s.Type {
	case "object":
		return s.object(path, v)
	case "array":
		return s.array(path, v)
	case "string":
		return s.text(path, v)
	case "integer", "number":
		return s.number(path, v)
	case "boolean":
		switch b := v.(type) {
		case bool:
			return b, nil
		case string:
			if strings.EqualFold(b, "true") || strings.EqualFold(b, "false") {
				return strings.EqualFold(b, "true"), nil
			}
		}
		return nil, s.mismatch(path, v)
	}
	if m, ok := v.(map[string]any); ok && len(s.Properties) > 0 {
		return s.object(path, m)
	}
	return v, nil
}

func (s *Schema) object(path string, v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, s.mismatch(path, v)
	}
	out := make(map[string]any, len(m))
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		val := m[k]
		name, known := s.names[fold(k)]
		p := s.Values
		if known {
			p = s.Properties[name]
		} else {
			name = k
		}
		if known && (p.ReadOnly || val == nil) {
			continue
		}
		if !known && s.Closed {
			e := errContent("Could not find member '%s' on object of type '%s'. Path '%s.%s'", k, path[strings.LastIndexByte(path, '.')+1:], path, k)
			e.Target = path + "." + k
			return nil, e
		}
		if p != nil && val != nil {
			var err error
			if val, err = p.apply(path+"."+name, val); err != nil {
				return nil, err
			}
		}
		out[name] = val
	}
	for _, name := range s.sorted {
		p := s.Properties[name]
		if _, there := out[name]; !there && len(p.Default) > 0 && !p.ReadOnly {
			d, err := decodeAny(p.Default)
			if err != nil {
				return nil, err
			}
			out[name] = d
		}
	}
	for _, name := range s.Required {
		if _, there := out[name]; !there {
			return nil, InvalidParameter(path+"."+name, "Required parameter '%s.%s' is missing (null).", path, name)
		}
	}
	return out, nil
}

func (s *Schema) array(path string, v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, s.mismatch(path, v)
	}
	if err := s.length(path, len(list), "items"); err != nil {
		return nil, err
	}
	if s.Items == nil {
		return list, nil
	}
	out := make([]any, len(list))
	for i, el := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if el == nil {
			return nil, InvalidParameter(at, "Required parameter '%s' is missing (null).", at)
		}
		var err error
		if out[i], err = s.Items.apply(at, el); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Schema) text(path string, v any) (any, error) {
	var text string
	switch t := v.(type) {
	case string:
		text = t
	case json.Number:
		text = t.String()
	case bool:
		text = strconv.FormatBool(t)
	default:
		return nil, s.mismatch(path, v)
	}
	if len(s.Enum) > 0 {
		for _, e := range s.Enum {
			if strings.EqualFold(e, text) {
				return e, nil
			}
		}
		return nil, InvalidParameter(path, "The value '%s' of parameter '%s' is not allowed. Allowed values are: %s.", text, path, strings.Join(s.Enum, ", "))
	}
	if err := s.length(path, utf8.RuneCountInString(text), "characters"); err != nil {
		return nil, err
	}
	if s.pattern != nil && !s.pattern.MatchString(text) {
		return nil, InvalidParameter(path, "The value of parameter '%s' is invalid: it does not match the pattern '%s'.", path, s.Pattern)
	}
	return text, nil
}

func (s *Schema) length(path string, n int, unit string) error {
	if n < s.MinLength || s.MaxLength > 0 && n > s.MaxLength {
		limit := fmt.Sprintf("at least %d", s.MinLength)
		if n >= s.MinLength {
			limit = fmt.Sprintf("at most %d", s.MaxLength)
		}
		return InvalidParameter(path, "The value of parameter '%s' is invalid: it must have %s %s.", path, limit, unit)
	}
	return nil
}

func (s *Schema) number(path string, v any) (any, error) {
	var n json.Number
	switch t := v.(type) {
	case json.Number:
		n = t
	case string:
		n = json.Number(strings.TrimSpace(t))
	default:
		return nil, s.mismatch(path, v)
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || !json.Valid([]byte(n)) {
		return nil, s.mismatch(path, v)
	}
	if s.Type == "integer" {
		if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return nil, s.mismatch(path, v)
		}
		n = json.Number(strconv.FormatInt(int64(f), 10))
		if i, err := t64(v); err == nil {
			n = json.Number(strconv.FormatInt(i, 10))
		}
	}
	if s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum {
		return nil, InvalidParameter(path, "The value '%s' of parameter '%s' is out of range%s.", n, path, s.bounds())
	}
	return n, nil
}

// t64 keeps integers beyond a float's 53 bits exact.
func t64(v any) (int64, error) { return strconv.ParseInt(strings.TrimSpace(fmt.Sprint(v)), 10, 64) }

func (s *Schema) bounds() string {
	var b strings.Builder
	if s.Minimum != nil {
		fmt.Fprintf(&b, ", the minimum is %v", *s.Minimum)
	}
	if s.Maximum != nil {
		fmt.Fprintf(&b, ", the maximum is %v", *s.Maximum)
	}
	return b.String()
}

func (s *Schema) mismatch(path string, v any) *Error {
	shown := ""
	switch t := v.(type) {
	case string:
		shown = t
	case map[string]any:
		shown = "{}"
	case []any:
		shown = "[]"
	default:
		shown = fmt.Sprint(t)
	}
	e := Errorf(http.StatusBadRequest, "InvalidRequestContent",
		"The request content was invalid and could not be deserialized: 'Error converting value \"%s\" to type '%s'. Path '%s''.", shown, s.Type, path)
	e.Target = path
	return e
}
