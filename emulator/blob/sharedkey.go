package blob

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// sharedKey checks "Authorize with Shared Key": value is account:signature.
func (c *call) sharedKey(scheme, value string) error {
	name, mac, ok := strings.Cut(strings.TrimSpace(value), ":")
	if !ok || mac == "" {
		return badHeader("Authorization", scheme)
	}
	if c.header("x-ms-version") == "" {
		return missingHeader("x-ms-version")
	}
	if name != c.account.Name {
		return denied("The account %q of the Authorization header is not the account of the request.", name)
	}
	date := c.header("x-ms-date")
	if date == "" {
		date = c.header("Date")
	}
	if date == "" {
		return denied("The Date header in the request is incorrect.")
	}
	t, err := http.ParseTime(date)
	if err != nil {
		return denied("The Date header in the request is incorrect.")
	}
	if !c.s.near(t) {
		return denied("Request date header too old: '%s'", date)
	}
	// The service sorts header names by its own collation, which today's
	// clients imitate and older ones, sorting bytewise, do not.
	text := c.stringToSign
	if scheme == "SharedKeyLite" {
		text = c.stringToSignLite
	}
	want := text(compareService)
	if !c.account.signed(mac, want, text(strings.Compare)) {
		return denied("The MAC signature found in the HTTP request '%s' is not the same as any computed signature. Server used following string to sign: '%s'.", mac, want)
	}
	return nil
}

// stringToSign is that of SharedKey for version 2009-09-19 and later.
func (c *call) stringToSign(order func(a, b string) int) string {
	var b strings.Builder
	b.WriteString(c.r.Method + "\n")
	for _, name := range []string{"Content-Encoding", "Content-Language"} {
		b.WriteString(c.header(name) + "\n")
	}
	b.WriteString(c.signedLength() + "\n")
	for _, name := range []string{"Content-MD5", "Content-Type"} {
		b.WriteString(c.header(name) + "\n")
	}
	b.WriteString(c.signedDate() + "\n")
	for _, name := range []string{"If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"} {
		b.WriteString(c.header(name) + "\n")
	}
	b.WriteString(c.canonicalHeaders(order))
	b.WriteString("/" + c.account.Name + c.signedPath())
	values := map[string][]string{}
	for name, vs := range c.q {
		name = strings.ToLower(name)
		values[name] = append(values[name], vs...)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		sort.Strings(values[name])
		b.WriteString("\n" + name + ":" + strings.Join(values[name], ","))
	}
	return b.String()
}

// stringToSignLite is that of SharedKeyLite for version 2009-09-19 and later.
func (c *call) stringToSignLite(order func(a, b string) int) string {
	s := c.r.Method + "\n" + c.header("Content-MD5") + "\n" + c.header("Content-Type") + "\n" + c.signedDate() + "\n" +
		c.canonicalHeaders(order) + "/" + c.account.Name + c.signedPath()
	if comp := c.q.Get("comp"); comp != "" {
		s += "?comp=" + comp
	}
	return s
}

// signedLength is empty for no body, but "0" up to version 2014-02-14 if the header said so.
func (c *call) signedLength() string {
	switch n := c.r.ContentLength; {
	case n > 0:
		return strconv.FormatInt(n, 10)
	case n == 0 && c.version <= "2014-02-14" && (c.header("Content-Length") != "" || c.r.Method == http.MethodPut):
		return "0"
	}
	return ""
}

func (c *call) signedDate() string {
	if c.header("x-ms-date") != "" {
		return ""
	}
	return c.header("Date")
}

func (c *call) signedPath() string {
	if p := c.r.URL.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// canonicalHeaders are the x-ms- headers, one a line; empty ones count since version 2016-05-31.
func (c *call) canonicalHeaders(order func(a, b string) int) string {
	var names []string
	values := map[string]string{}
	for name, vs := range c.r.Header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "x-ms-") {
			continue
		}
		parts := make([]string, len(vs))
		for i, v := range vs {
			parts[i] = strings.TrimSpace(v)
		}
		v := strings.Join(parts, ",")
		if v == "" && c.version < "2016-05-31" {
			continue
		}
		names = append(names, name)
		values[name] = v
	}
	slices.SortFunc(names, order)
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return b.String()
}

// compareService orders header names as the service does: punctuation before
// digits before letters, and hyphens only where nothing else tells two apart.
func compareService(a, b string) int {
	if d := strings.Compare(weights(a), weights(b)); d != 0 {
		return d
	}
	// Equal but for hyphens: the first hyphen that the other has not comes later.
	for i := 0; i < len(a) && i < len(b); i++ {
		switch {
		case a[i] == b[i]:
		case a[i] == '-':
			return 1
		case b[i] == '-':
			return -1
		}
	}
	return len(a) - len(b)
}

// collation has the characters of header names with a primary weight, in its order.
const collation = "!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz"

func weights(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if w := strings.IndexByte(collation, s[i]); w >= 0 {
			out = append(out, byte(w+1))
		}
	}
	return string(out)
}
