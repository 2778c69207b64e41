package arm

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// function is one function of the template language. most < 0 means any number of arguments.
type function struct {
	least, most int
	do          func(s *scope, a []any) (any, error)
	// lazy gets its arguments unevaluated.
	lazy func(s *scope, a []expression) (any, error)
}

// functionOf finds a function by its name, in any case.
func functionOf(name string) (function, bool) {
	folded := fold(name)
	if f, ok := functions()[folded]; ok {
		return f, true
	}
	if strings.HasPrefix(folded, "list") && len(folded) > 4 {
		return function{2, 3, func(s *scope, a []any) (any, error) { return listOf(name, s, a) }, nil}, true
	}
	return function{}, false
}

// functions is the table of the language.
func functions() map[string]function {
	return map[string]function{
		"parameters":     {1, 1, parameterOf, nil},
		"variables":      {1, 1, variableOf, nil},
		"resourceid":     {2, -1, resourceIDOf, nil},
		"resourcegroup":  {0, 0, groupOf, nil},
		"subscription":   {0, 0, subscriptionFunction, nil},
		"deployment":     {0, 0, deploymentOf, nil},
		"reference":      {1, 3, referenceOf, nil},
		"if":             {3, 3, nil, ifOf},
		"and":            {2, -1, nil, func(s *scope, a []expression) (any, error) { return shortCircuit(s, a, false) }},
		"or":             {2, -1, nil, func(s *scope, a []expression) (any, error) { return shortCircuit(s, a, true) }},
		"not":            {1, 1, func(_ *scope, a []any) (any, error) { b, err := boolOf(a[0]); return !b, err }, nil},
		"concat":         {0, -1, concatOf, nil},
		"tolower":        textFunction(strings.ToLower),
		"toupper":        textFunction(strings.ToUpper),
		"trim":           textFunction(strings.TrimSpace),
		"base64":         textFunction(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"base64tostring": {1, 1, decode64, nil},
		"uricomponent":   textFunction(func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }),
		"uri":            {2, 2, uriOf, nil},
		"uniquestring":   {1, -1, uniqueOf, nil},
		"guid":           {1, -1, guidOf, nil},
		"string":         {1, 1, func(_ *scope, a []any) (any, error) { return stringOf(a[0]) }, nil},
		"int":            {1, 1, intFunction, nil},
		"bool":           {1, 1, func(_ *scope, a []any) (any, error) { return boolOf(a[0]) }, nil},
		"json":           {1, 1, jsonOf, nil},
		"equals":         {2, 2, func(_ *scope, a []any) (any, error) { return equalOf(a[0], a[1]), nil }, nil},
		"less":           compareFunction(func(c int) bool { return c < 0 }),
		"lessorequals":   compareFunction(func(c int) bool { return c <= 0 }),
		"greater":        compareFunction(func(c int) bool { return c > 0 }),
		"greaterorequals": compareFunction(func(c int) bool {
			return c >= 0
		}),
		"empty":       {1, 1, func(_ *scope, a []any) (any, error) { n, err := lengthOf(a[0]); return n == 0, err }, nil},
		"length":      {1, 1, func(_ *scope, a []any) (any, error) { n, err := lengthOf(a[0]); return int64(n), err }, nil},
		"first":       {1, 1, func(_ *scope, a []any) (any, error) { return endOf(a[0], true) }, nil},
		"last":        {1, 1, func(_ *scope, a []any) (any, error) { return endOf(a[0], false) }, nil},
		"skip":        {2, 2, func(_ *scope, a []any) (any, error) { return cut(a[0], a[1], true) }, nil},
		"take":        {2, 2, func(_ *scope, a []any) (any, error) { return cut(a[0], a[1], false) }, nil},
		"split":       {2, 2, splitOf, nil},
		"substring":   {2, 3, substringOf, nil},
		"replace":     {3, 3, replaceOf, nil},
		"format":      {1, -1, formatOf, nil},
		"padleft":     {2, 3, padLeftOf, nil},
		"startswith":  prefixFunction(strings.HasPrefix),
		"endswith":    prefixFunction(strings.HasSuffix),
		"indexof":     {2, 2, indexOf, nil},
		"array":       {1, 1, func(_ *scope, a []any) (any, error) { return arrayOf(a[0]), nil }, nil},
		"createarray": {0, -1, func(_ *scope, a []any) (any, error) { return append([]any{}, a...), nil }, nil},
		"coalesce":    {1, -1, coalesceOf, nil},
		"contains":    {2, 2, containsOf, nil},
		"union":       {2, -1, unionOf, nil},
		"min":         extreme(func(a, b int64) bool { return a < b }),
		"max":         extreme(func(a, b int64) bool { return a > b }),
		"add":         arithmetic(func(a, b int64) (int64, error) { return a + b, nil }),
		"sub":         arithmetic(func(a, b int64) (int64, error) { return a - b, nil }),
		"mul":         arithmetic(func(a, b int64) (int64, error) { return a * b, nil }),
		"div":         arithmetic(divide),
		"mod":         arithmetic(modulo),
		"range":       {2, 2, rangeOf, nil},
		"true":        {0, 0, func(*scope, []any) (any, error) { return true, nil }, nil},
		"false":       {0, 0, func(*scope, []any) (any, error) { return false, nil }, nil},
		"null":        {0, 0, func(*scope, []any) (any, error) { return nil, nil }, nil},
	}
}

func textFunction(f func(string) string) function {
	return function{1, 1, func(_ *scope, a []any) (any, error) {
		s, err := textOf(a[0])
		return f(s), err
	}, nil}
}

func prefixFunction(f func(s, part string) bool) function {
	return function{2, 2, func(_ *scope, a []any) (any, error) {
		s, err := textOf(a[0])
		part, err2 := textOf(a[1])
		return f(fold(s), fold(part)), errors.Join(err, err2)
	}, nil}
}

func arithmetic(f func(a, b int64) (int64, error)) function {
	return function{2, 2, func(_ *scope, args []any) (any, error) {
		a, err := numberOf(args[0])
		if err != nil {
			return nil, err
		}
		b, err := numberOf(args[1])
		if err != nil {
			return nil, err
		}
		return f(a, b)
	}, nil}
}

func divide(a, b int64) (int64, error) {
	if b == 0 {
		return 0, errors.New("the divisor is zero")
	}
	return a / b, nil
}

func modulo(a, b int64) (int64, error) {
	if b == 0 {
		return 0, errors.New("the divisor is zero")
	}
	return a % b, nil
}

func extreme(better func(a, b int64) bool) function {
	return function{1, -1, func(_ *scope, a []any) (any, error) {
		if list, ok := a[0].([]any); ok && len(a) == 1 {
			a = list
		}
		if len(a) == 0 {
			return nil, errors.New("there is no value")
		}
		best, err := numberOf(plain(a[0]))
		for _, v := range a[1:] {
			n, err2 := numberOf(plain(v))
			if err = errors.Join(err, err2); better(n, best) {
				best = n
			}
		}
		return best, err
	}, nil}
}

func compareFunction(is func(int) bool) function {
	return function{2, 2, func(_ *scope, a []any) (any, error) {
		if s, ok := a[0].(string); ok {
			t, err := textOf(a[1])
			return is(strings.Compare(s, t)), err
		}
		x, err := numberOf(a[0])
		y, err2 := numberOf(a[1])
		c := 0
		if x < y {
			c = -1
		} else if x > y {
			c = 1
		}
		return is(c), errors.Join(err, err2)
	}, nil}
}

func textOf(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("a string is expected, not '%T'", v)
	}
	return s, nil
}

func numberOf(v any) (int64, error) {
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("an integer is expected, not '%T'", v)
	}
	return n, nil
}

func boolOf(v any) (bool, error) {
	switch t := v.(type) {
	case bool:
		return t, nil
	case int64:
		return t != 0, nil
	case string:
		if b, err := strconv.ParseBool(fold(t)); err == nil {
			return b, nil
		}
	}
	return false, fmt.Errorf("a boolean is expected, not '%v'", v)
}

func stringOf(v any) (string, error) {
	switch t := v.(type) {
	case string:
		return t, nil
	case bool:
		if t {
			return "True", nil
		}
		return "False", nil
	case nil:
		return "", nil
	}
	b, err := marshal(v)
	return string(b), err
}

func intFunction(_ *scope, a []any) (any, error) {
	switch t := a[0].(type) {
	case int64:
		return t, nil
	case float64:
		return int64(t), nil
	case string:
		return strconv.ParseInt(strings.TrimSpace(t), 10, 64)
	}
	return nil, fmt.Errorf("an integer or a string is expected, not '%T'", a[0])
}

func jsonOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	v, err := decodeAny([]byte(s))
	return plain(v), err
}

func equalOf(a, b any) bool { return reflect.DeepEqual(settle(a), settle(b)) }

// settle makes numbers inside comparable.
func settle(v any) any {
	switch t := v.(type) {
	case json.Number:
		return plain(t)
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, el := range t {
			out[k] = settle(el)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, el := range t {
			out[i] = settle(el)
		}
		return out
	}
	return v
}

func lengthOf(v any) (int, error) {
	switch t := v.(type) {
	case nil:
		return 0, nil
	case string:
		return len([]rune(t)), nil
	case []any:
		return len(t), nil
	case map[string]any:
		return len(t), nil
	}
	return 0, fmt.Errorf("a string, an array or an object is expected, not '%T'", v)
}

func endOf(v any, first bool) (any, error) {
	switch t := v.(type) {
	case string:
		r := []rune(t)
		switch {
		case len(r) == 0:
			return "", nil
		case first:
			return string(r[0]), nil
		}
		return string(r[len(r)-1]), nil
	case []any:
		switch {
		case len(t) == 0:
			return nil, nil
		case first:
			return plain(t[0]), nil
		}
		return plain(t[len(t)-1]), nil
	}
	return nil, fmt.Errorf("a string or an array is expected, not '%T'", v)
}

func cut(v, count any, skip bool) (any, error) {
	n, err := numberOf(count)
	if err != nil {
		return nil, err
	}
	bound := func(length int) int { return int(min(max(n, 0), int64(length))) }
	switch t := v.(type) {
	case string:
		r := []rune(t)
		if skip {
			return string(r[bound(len(r)):]), nil
		}
		return string(r[:bound(len(r))]), nil
	case []any:
		if skip {
			return slices.Clone(t[bound(len(t)):]), nil
		}
		return slices.Clone(t[:bound(len(t))]), nil
	}
	return nil, fmt.Errorf("a string or an array is expected, not '%T'", v)
}

func splitOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	var seps []string
	for _, v := range arrayOf(a[1]) {
		sep, err := textOf(v)
		if err != nil {
			return nil, err
		}
		seps = append(seps, sep)
	}
	parts := []any{}
	for {
		at, width := -1, 0
		for _, sep := range seps {
			if i := strings.Index(s, sep); sep != "" && i >= 0 && (at < 0 || i < at) {
				at, width = i, len(sep)
			}
		}
		if at < 0 {
			return append(parts, s), nil
		}
		parts, s = append(parts, s[:at]), s[at+width:]
	}
}

func substringOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	r := []rune(s)
	from, err := numberOf(a[1])
	if err != nil {
		return nil, err
	}
	count := int64(len(r)) - from
	if len(a) == 3 {
		if count, err = numberOf(a[2]); err != nil {
			return nil, err
		}
	}
	if from < 0 || count < 0 || from > int64(len(r)) || count > int64(len(r))-from {
		return nil, errors.New("the index and length parameters must refer to a location within the string")
	}
	return string(r[from : from+count]), nil
}

func replaceOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	old, err2 := textOf(a[1])
	with, err3 := textOf(a[2])
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	if old == "" {
		return s, nil
	}
	return strings.ReplaceAll(s, old, with), nil
}

func formatOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if i+1 < len(s) && s[i] == s[i+1] {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			return nil, errors.New("the format string is not in a correct form")
		}
		n, err := strconv.Atoi(s[i+1 : i+end])
		if err != nil || n < 0 || n+1 >= len(a) {
			return nil, errors.New("the format string names an argument that is not there")
		}
		text, err := stringOf(a[n+1])
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
		s = s[i+end+1:]
	}
	return b.String(), nil
}

func padLeftOf(_ *scope, a []any) (any, error) {
	s, err := stringOf(a[0])
	if err != nil {
		return nil, err
	}
	width, err := numberOf(a[1])
	if err != nil {
		return nil, err
	}
	pad := " "
	if len(a) == 3 {
		if pad, err = textOf(a[2]); err != nil {
			return nil, err
		}
	}
	if len([]rune(pad)) != 1 || width > 1<<16 {
		return nil, errors.New("the padding must be one character, and the length at most 65536")
	}
	return strings.Repeat(pad, max(0, int(width)-len([]rune(s)))) + s, nil
}

func indexOf(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	part, err2 := textOf(a[1])
	i := strings.Index(fold(s), fold(part))
	if i > 0 {
		i = len([]rune(fold(s)[:i]))
	}
	return int64(i), errors.Join(err, err2)
}

func arrayOf(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func coalesceOf(_ *scope, a []any) (any, error) {
	for _, v := range a {
		if v != nil {
			return v, nil
		}
	}
	return nil, nil
}

func containsOf(_ *scope, a []any) (any, error) {
	switch t := a[0].(type) {
	case string:
		part, err := stringOf(a[1])
		return strings.Contains(t, part), err
	case []any:
		return slices.ContainsFunc(t, func(v any) bool { return equalOf(v, a[1]) }), nil
	case map[string]any:
		name, err := textOf(a[1])
		for k := range t {
			if strings.EqualFold(k, name) {
				return true, nil
			}
		}
		return false, err
	}
	return nil, fmt.Errorf("a string, an array or an object is expected, not '%T'", a[0])
}

func unionOf(_ *scope, a []any) (any, error) {
	if _, ok := a[0].(map[string]any); ok {
		out := map[string]any{}
		for _, v := range a {
			m, ok := v.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("an object is expected, not '%T'", v)
			}
			for k, el := range m {
				out[k] = el
			}
		}
		return out, nil
	}
	out := []any{}
	for _, v := range a {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("an array is expected, not '%T'", v)
		}
		for _, el := range list {
			if !slices.ContainsFunc(out, func(have any) bool { return equalOf(have, el) }) {
				out = append(out, el)
			}
		}
	}
	return out, nil
}

func rangeOf(_ *scope, a []any) (any, error) {
	from, err := numberOf(a[0])
	count, err2 := numberOf(a[1])
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if count < 0 || count > 10000 {
		return nil, errors.New("the count must be from 0 to 10000")
	}
	out := make([]any, count)
	for i := range out {
		out[i] = from + int64(i)
	}
	return out, nil
}

func concatOf(_ *scope, a []any) (any, error) {
	if len(a) > 0 {
		if _, ok := a[0].([]any); ok {
			out := []any{}
			for _, v := range a {
				out = append(out, arrayOf(v)...)
			}
			return out, nil
		}
	}
	var b strings.Builder
	for _, v := range a {
		switch v.(type) {
		case []any, map[string]any:
			return nil, errors.New("arrays and objects can't be joined to a string")
		}
		s, err := stringOf(v)
		if err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func decode64(_ *scope, a []any) (any, error) {
	s, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}

func uriOf(_ *scope, a []any) (any, error) {
	base, err := textOf(a[0])
	rel, err2 := textOf(a[1])
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	b, err := url.Parse(base)
	if err != nil || !b.IsAbs() {
		return nil, errors.New("the base is no absolute URI")
	}
	r, err := b.Parse(rel)
	if err != nil {
		return nil, err
	}
	return r.String(), nil
}

// uniqueOf is a hash of 13 characters, the same for the same texts; not the real service's values.
func uniqueOf(_ *scope, a []any) (any, error) {
	sum, err := digest(a)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum))[:13], err
}

func guidOf(_ *scope, a []any) (any, error) {
	sum, err := digest(a)
	return uuid.NewSHA1(uuid.NameSpaceOID, sum).String(), err
}

func digest(a []any) ([]byte, error) {
	h := sha256.New()
	var errs error
	for _, v := range a {
		s, err := textOf(v)
		errs = errors.Join(errs, err)
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return h.Sum(nil), errs
}

func ifOf(s *scope, a []expression) (any, error) {
	v, err := a[0].eval(s)
	if err != nil {
		return nil, err
	}
	yes, err := boolOf(v)
	switch {
	case err != nil:
		return nil, err
	case yes:
		return a[1].eval(s)
	}
	return a[2].eval(s)
}

func shortCircuit(s *scope, a []expression, stop bool) (any, error) {
	for _, e := range a {
		v, err := e.eval(s)
		if err != nil {
			return nil, err
		}
		b, err := boolOf(v)
		if err != nil || b == stop {
			return stop, err
		}
	}
	return !stop, nil
}
