package record

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Marks of what was taken out.
const (
	mark   = "SECRET"
	zeroID = "00000000-0000-0000-0000-000000000000"
)

// scrubber takes secrets out of text. What it learns of one body it takes out of all.
type scrubber struct {
	zero    []string
	secrets []string
	sas     *regexp.Regexp
	bearer  *regexp.Regexp
}

func newScrubber(zero, secrets []string) *scrubber {
	s := &scrubber{
		sas:    regexp.MustCompile(`(?i)([?&;](?:amp;)?(?:sig|code|sharedaccesssignature|accountkey|password)=)[^&;"\\\s]+`),
		bearer: regexp.MustCompile(`(?i)\b(bearer|sharedkey|basic)\s+[A-Za-z0-9._~+/=:-]{8,}`),
	}
	for _, id := range zero {
		if id != "" && id != zeroID {
			s.zero = append(s.zero, id)
		}
	}
	for _, v := range secrets {
		s.keep(v)
	}
	return s
}

// secretName says whether a member of an object holds a secret by its name.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"password", "passphrase", "secret", "token", "privatekey", "accountkey", "primarykey", "secondarykey",
		"connectionstring", "protectedsettings", "securevalue", "sastoken", "storageaccountkey", "instrumentationkey", "credential"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == "key" || name == "key1" || name == "key2" || name == "customdata"
}

// unkept are values that hold no secret under any name, and must not be replaced everywhere.
func unkept(v string) bool {
	return len(v) < 6 || strings.HasPrefix(v, "[parameters(") || strings.HasPrefix(v, "/subscriptions/") || strings.HasPrefix(v, "https://") && !strings.Contains(v, "sig=")
}

func (s *scrubber) keep(v string) {
	if v == "" || v == mark || slices.Contains(s.secrets, v) {
		return
	}
	s.secrets = append(s.secrets, v)
	// The longer first, that none is cut by another that it contains.
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) })
}

// learn finds the secrets of a JSON body by the names of its members.
func (s *scrubber) learn(body []byte) {
	var doc any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&doc) == nil {
		s.walk(doc, false)
	}
}

func (s *scrubber) walk(v any, secret bool) {
	switch v := v.(type) {
	case map[string]any:
		_, keyed := v["keyName"] // {"keyName", "permissions", "value"}: a storage account's key
		for name, member := range v {
			s.walk(member, secret || secretName(name) || keyed && name == "value")
		}
	case []any:
		for _, item := range v {
			s.walk(item, secret)
		}
	case string:
		if secret && !unkept(v) {
			s.keep(v)
		}
	}
}

// text takes what is known out of any text.
func (s *scrubber) text(t string) string {
	for _, secret := range s.secrets {
		t = strings.ReplaceAll(t, secret, mark)
		if quoted, err := json.Marshal(secret); err == nil {
			t = strings.ReplaceAll(t, string(quoted[1:len(quoted)-1]), mark)
		}
	}
	for _, id := range s.zero {
		t = replaceFold(t, id, zeroID)
	}
	t = s.sas.ReplaceAllString(t, "${1}"+mark)
	return s.bearer.ReplaceAllString(t, "$1 "+mark)
}

func (s *scrubber) body(t string) string { return s.text(t) }

func (s *scrubber) uri(t string) string {
	if u, ok := parseQuery(t); ok {
		q := u.Query()
		changed := false
		for name := range q {
			if secretName(name) || strings.EqualFold(name, "sig") || strings.EqualFold(name, "code") {
				q.Set(name, mark)
				changed = true
			}
		}
		if changed {
			u.RawQuery = q.Encode()
			t = u.String()
		}
	}
	return s.text(t)
}

// headers leaves out those that carry a login.
func (s *scrubber) headers(h http.Header) map[string][]string {
	out := map[string][]string{}
	for name, values := range h {
		switch lower := strings.ToLower(name); {
		case lower == "authorization" || lower == "cookie" || lower == "set-cookie" || lower == "proxy-authorization" || lower == "x-forwarded-for":
		case secretName(lower) || lower == "x-ms-encryption-key":
		default:
			out[lower] = slices.Clone(values)
		}
	}
	return out
}

func (s *scrubber) values(h map[string][]string) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		for _, v := range values {
			out[name] = append(out[name], s.text(v))
		}
	}
	return out
}

// replaceFold replaces old in any case.
func replaceFold(t, old, with string) string {
	lower, find := strings.ToLower(t), strings.ToLower(old)
	if len(lower) != len(t) || !strings.Contains(lower, find) {
		return strings.ReplaceAll(t, old, with)
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, find)
		if i < 0 {
			b.WriteString(t)
			return b.String()
		}
		b.WriteString(t[:i])
		b.WriteString(with)
		t, lower = t[i+len(old):], lower[i+len(old):]
	}
}
