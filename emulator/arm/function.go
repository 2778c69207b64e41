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
		"copyindex":      {0, 2, copyIndexOf, nil},
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
