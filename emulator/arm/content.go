package arm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of 2018 on tags.
const (
	maxTags     = 15
	maxTagName  = 512
	maxTagValue = 256
	// maxDepth is how deep a body may nest.
	maxDepth = 100
)

// content is a request's envelope. What is absent is nil.
type content struct {
	location   *string
	tags       map[string]string
	hasTags    bool
	sku        json.RawMessage
	kind       *string
	plan       json.RawMessage
	identity   json.RawMessage
	zones      []string
	properties any
	// hasProperties tells absent from null.
	hasProperties bool
}

// decodeAny reads one JSON value, numbers as they are written.
func decodeAny(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

// decodeBody reads a body as an object, and words what is wrong with it as
// the real service does: what, and where. No body is an empty object.
func decodeBody(b []byte) (map[string]any, error) {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if len(trimmed) == 0 {
		return map[string]any{}, nil
	}
	if !utf8.Valid(trimmed) {
		return nil, errContent("The request content is not valid UTF-8")
	}
	if depth(trimmed) > maxDepth {
		return nil, errContent("The reader's MaxDepth of %d has been exceeded", maxDepth)
	}
	v, err := decodeAny(trimmed)
	if err != nil {
		return nil, syntaxError(trimmed, err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errContent("Error converting value to type 'ResourceDefinition'. Path '', line 1, position %d", len(trimmed))
	}
	return m, nil
}

func syntaxError(b []byte, err error) *Error {
	at := int64(len(b))
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = syntax.Offset
	}
	before := b[:min(max(at, 0), int64(len(b)))]
	line := bytes.Count(before, []byte("\n")) + 1
	pos := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	if at >= int64(len(b)) && strings.Contains(err.Error(), "unexpected end") || errors.Is(err, io.ErrUnexpectedEOF) {
		return errContent("Unexpected end when reading JSON. Path '', line %d, position %d.", line, pos)
	}
	if at > 0 && at <= int64(len(b)) {
		return errContent("Unexpected character encountered while parsing value: %c. Path '', line %d, position %d.", rune(b[at-1]), line, pos)
	}
	return errContent("Additional text encountered after finished reading JSON content. Path '', line %d, position %d.", line, pos)
}

// depth is how deep brackets nest outside of strings.
func depth(b []byte) int {
	most, now, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}

// known members of an envelope that the engine has no use for.
var ignored = map[string]bool{"id": true, "name": true, "type": true, "etag": true, "apiversion": true, "managedby": true, "scale": true,
	"systemdata": true, "extendedlocation": true, "comments": true, "resources": true, "managedbyextended": true}

// parseContent reads the envelope; a member that ARM does not know is refused by its name.
func parseContent(b []byte, id ID, t *typeInfo) (*content, error) {
	m, err := decodeBody(b)
	if err != nil {
		return nil, err
	}
	c := &content{}
	for k, v := range m {
		field := fold(k)
		if v == nil && field != "properties" {
			if field == "tags" {
				c.hasTags = true
			}
			continue
		}
		var err error
		switch field {
		case "location":
			c.location, err = text(k, v)
		case "kind":
			c.kind, err = text(k, v)
		case "tags":
			c.hasTags = true
			c.tags, err = parseTags(k, v)
		case "sku", "plan", "identity":
			var raw json.RawMessage
			if raw, err = object(k, v); err == nil {
				switch field {
				case "sku":
					c.sku = raw
				case "plan":
					c.plan = raw
				default:
					c.identity = raw
				}
			}
		case "zones":
			c.zones, err = texts(k, v)
		case "properties":
			c.hasProperties = true
			if c.properties = v; v != nil {
				if _, ok := v.(map[string]any); !ok {
					err = converting(k, v, "object")
				}
			}
		case "name":
			// A deployment's client may repeat the name; another one is a mistake.
			if s, ok := v.(string); ok && t.kind != kindGroup && !strings.EqualFold(s[strings.LastIndexByte(s, '/')+1:], id.Name()) {
				err = Errorf(http.StatusBadRequest, "InvalidResourceName", "The name '%s' in the request content does not match the name '%s' in the request URI.", s, id.Name())
			}
		default:
			if !ignored[field] {
				e := errContent("Could not find member '%s' on object of type 'ResourceDefinition'. Path '%s'", k, k)
				e.Target = k
				err = e
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func converting(path string, v any, kind string) *Error {
	shown, _ := json.Marshal(v)
	if _, scalar := v.(string); scalar || len(shown) > 60 {
		shown = fmt.Appendf(nil, "%.60s", fmt.Sprint(v))
	}
	e := errContent("Error converting value \"%s\" to type '%s'. Path '%s'", shown, kind, path)
	e.Target = path
	return e
}

func text(path string, v any) (*string, error) {
	s, ok := v.(string)
	if !ok {
		return nil, converting(path, v, "string")
	}
	return &s, nil
}

func texts(path string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, converting(path, v, "array")
	}
	out := make([]string, len(list))
	for i, el := range list {
		s, err := text(fmt.Sprintf("%s[%d]", path, i), el)
		if err != nil {
			return nil, err
		}
		out[i] = *s
	}
	return out, nil
}

func object(path string, v any) (json.RawMessage, error) {
	if _, ok := v.(map[string]any); !ok {
		return nil, converting(path, v, "object")
	}
	return marshal(v)
}

func parseTags(path string, v any) (map[string]string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, converting(path, v, "object")
	}
	if len(m) > maxTags {
		return nil, Errorf(http.StatusBadRequest, "TooManyTags", "The number of tags '%d' exceeds the maximum allowed '%d' for a resource.", len(m), maxTags)
	}
	out := make(map[string]string, len(m))
	seen := map[string]bool{}
	for k, v := range m {
		var s string
		switch t := v.(type) {
		case nil:
		case string:
			s = t
		case bool, json.Number:
			s = fmt.Sprint(t)
		default:
			return nil, converting(path+"."+k, v, "string")
		}
		switch {
		case strings.TrimSpace(k) == "":
			return nil, Errorf(http.StatusBadRequest, "InvalidTagName", "The tag name must not be empty.")
		case strings.ContainsAny(k, `<>%&\?/`) || !printable(k):
			return nil, Errorf(http.StatusBadRequest, "InvalidTagNameCharacters", `The tag names '%s' have reserved characters '<,>,%%,&,\,?,/' or control characters.`, k)
		case utf8.RuneCountInString(k) > maxTagName:
			return nil, Errorf(http.StatusBadRequest, "InvalidTagNameLength", "Tag name too large. Following tag name '%s' exceeded the maximum length. Maximum allowed length for tag name - '%d' characters.", k, maxTagName)
		case utf8.RuneCountInString(s) > maxTagValue:
			return nil, Errorf(http.StatusBadRequest, "InvalidTagValueLength", "Tag value too large. Following tag value '%s' exceeded the maximum length. Maximum allowed length for tag value - '%d' characters.", s, maxTagValue)
		case seen[fold(k)]:
			return nil, Errorf(http.StatusBadRequest, "InvalidTagName", "The tag name '%s' is there more than once: tag names do not differ by case.", k)
		}
		seen[fold(k)] = true
		out[k] = s
	}
	return out, nil
}

// mergePatch is RFC 7396.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		key := k
		for have := range t {
			if strings.EqualFold(have, k) {
				key = have
			}
		}
		if v == nil {
			delete(t, key)
		} else {
			t[key] = mergePatch(t[key], v)
		}
	}
	return t
}

// checkName is ARM's rule for the names of resources.
func checkName(t *typeInfo, id ID) error {
	name := id.Name()
	switch {
	case t.kind == kindGroup:
		return checkGroupName(name)
	case t.kind == kindDeployment && (len(name) > 64 || badRunes(name, "-_.()") != ""):
		return Errorf(http.StatusBadRequest, "InvalidDeploymentName",
			"The provided deployment name '%s' is invalid: it must have at most 64 characters of letters, digits, '-', '.', '(', ')' and '_'.", name)
	case utf8.RuneCountInString(name) > 260:
		return Errorf(http.StatusBadRequest, "InvalidResourceName", "The provided resource name '%s' has a length of '%d' which exceeds the maximum length of '260'.", name, utf8.RuneCountInString(name))
	case strings.ContainsAny(name, `<>%&\?/#:`) || !printable(name):
		return Errorf(http.StatusBadRequest, "InvalidResourceName", "The provided resource name '%s' has these invalid characters: '%s'.", name, invalidRunes(name))
	case strings.HasSuffix(name, ".") || strings.TrimSpace(name) != name:
		return Errorf(http.StatusBadRequest, "InvalidResourceName", "The provided resource name '%s' is invalid: it can't end with a period, nor start or end with a space.", name)
	case t.NameRule != nil && !t.NameRule.MatchString(name):
		return Errorf(http.StatusBadRequest, "InvalidResourceName", "The provided resource name '%s' is invalid for the type '%s': it must match '%s'.", name, t.Name, t.NameRule)
	}
	return nil
}

// printable refuses what no name may hold.
func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// badRunes are those that are neither letters, digits, nor in allowed.
func badRunes(s, allowed string) string {
	var out strings.Builder
	for _, r := range s {
		if (!unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(allowed, r)) && !strings.ContainsRune(out.String(), r) {
			out.WriteRune(r)
		}
	}
	return out.String()
}

func invalidRunes(s string) string {
	var out []string
	for _, r := range s {
		if strings.ContainsRune(`<>%&\?/#:`, r) || unicode.IsControl(r) || r == unicode.ReplacementChar {
			out = append(out, string(r))
		}
	}
	return strings.Join(out, ",")
}
