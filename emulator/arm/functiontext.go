package arm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The template functions on strings and arrays.

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
