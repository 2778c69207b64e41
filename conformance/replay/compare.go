package replay

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"regexp"
	"sort"
	"strings"
	"sync"
)

// Difference is one thing that was recorded in one way and answered in another.
type Difference struct {
	Kind     string `json:"kind"` // status, header, code, state, body
	At       string `json:"at,omitempty"`
	Recorded string `json:"recorded"`
	Answered string `json:"answered"`
}

// String is the difference in one line.
func (d Difference) String() string {
	at := d.Kind
	if d.At != "" {
		at += " " + d.At
	}
	return fmt.Sprintf("%s: recorded %s, answered %s", at, d.Recorded, d.Answered)
}

// Compare tells the differences between a recorded answer and the endpoint's,
// and notes: what is different and legitimate, such as more fields. method is
// the request's; an answer to GET may be further in its life than the recorded
// one. arm is the endpoint's host, where its own URLs must point.
func Compare(method, arm string, rec, live Answer) (differences, notes []Difference) {
	c := comparison{method: method, arm: arm}
	c.answers(rec, live)
	return c.differences, c.notes
}

type comparison struct {
	method, arm        string
	differences, notes []Difference
}

func (c *comparison) differ(kind, at, recorded, answered string) {
	c.differences = append(c.differences, Difference{kind, at, recorded, answered})
}

func (c *comparison) note(kind, at, recorded, answered string) {
	c.notes = append(c.notes, Difference{kind, at, recorded, answered})
}

func (c *comparison) answers(rec, live Answer) {
	recDoc, liveDoc := decode(rec.Body), decode(live.Body)
	if rec.Status != live.Status {
		c.differ("status", "", status(rec, recDoc), status(live, liveDoc))
		// A refusal and a success have nothing more to compare.
		if (rec.Status < 400) != (live.Status < 400) {
			return
		}
	}
	if rec.Status >= 400 {
		if want, got := errorCode(recDoc), errorCode(liveDoc); want != got {
			c.differ("code", "", orNone(want), orNone(got))
		}
	} else {
		c.states(recDoc, liveDoc)
	}
	c.headers(rec, live)
	c.bodies(rec, live, recDoc, liveDoc)
}

func status(a Answer, doc any) string {
	s := fmt.Sprint(a.Status)
	if a.Status >= 400 {
		if code := errorCode(doc); code != "" {
			s += " " + code
		}
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// decode returns the JSON document of a body, or nil.
func decode(body string) any {
	var v any
	if json.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &v) != nil {
		return nil
	}
	return v
}

func errorCode(doc any) string {
	m, _ := doc.(map[string]any)
	if inner, ok := m["error"].(map[string]any); ok {
		m = inner
	}
	for _, k := range []string{"code", "Code"} {
		if s, ok := m[k].(string); ok {
			return s
		}
	}
	return ""
}

// headers compares those that clients act on. Retry-After and request ids were
// removed when the recordings were made, so their absence says nothing.
func (c *comparison) headers(rec, live Answer) {
	for _, k := range []string{"Azure-AsyncOperation", "Location"} {
		want, got := rec.Header.Get(k), live.Header.Get(k)
		switch {
		case want == "" && got == "":
		case want == "":
			c.differ("header", k, "none", c.pattern(got))
		case got == "":
			c.differ("header", k, c.pattern(want), "none")
		default:
			want, got = c.pattern(want), c.pattern(got)
			switch {
			case strings.EqualFold(want, got):
			case drifted(k, want, got) != "":
				c.note("header", k, want, got+" ("+drifted(k, want, got)+")")
			default:
				c.differ("header", k, want, got)
			}
		}
	}
	switch want, got := rec.Header.Get("ETag") != "", live.Header.Get("ETag") != ""; {
	case want && !got:
		c.differ("header", "ETag", "present", "none")
	case got && !want:
		c.note("header", "ETag", "none", "present")
	}
	want, got := media(rec), media(live)
	if rec.Body != "" && want != "" && live.Body != "" && want != got {
		c.differ("header", "Content-Type", want, orNone(got))
	}
}

func media(a Answer) string {
	m, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		return a.Header.Get("Content-Type")
	}
	return m
}

var (
	guid      = lazily(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	generated = lazily(`(?i)^([0-9]{6,}|[0-9a-f]{16,}|[a-z0-9+/=_-]{48,})$`)
)

// lazily compiles an expression when it is first used: importing this package costs nothing.
func lazily(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// pattern is a URL without what the service makes up: ids become {id}, values of the query {}.
func (c *comparison) pattern(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host := ""
	if !isARM(u.Host) && !strings.EqualFold(u.Host, c.arm) {
		host = "//" + u.Host
	}
	segments := strings.Split(u.Path, "/")
	for i, s := range segments {
		switch {
		case guid().MatchString(s), generated().MatchString(s), strings.Contains(s, "REDACTED"):
			segments[i] = "{id}"
		case i > 0 && strings.EqualFold(segments[i-1], "deployments"):
			// The names of deployments were replaced in the recordings' URLs and kept in their headers.
			segments[i] = "{deployment}"
		}
	}
	var query []string
	for k, v := range u.Query() {
		switch strings.ToLower(k) {
		case "api-version", "monitor":
			query = append(query, k+"="+v[0])
		default:
			query = append(query, k+"={}")
		}
	}
	sort.Strings(query)
	out := host + strings.Join(segments, "/")
	if len(query) > 0 {
		out += "?" + strings.Join(query, "&")
	}
	return out
}

// isARM says whether a recorded host is Azure Resource Manager, in whichever cloud.
func isARM(host string) bool {
	return strings.HasPrefix(strings.ToLower(host), "management.")
}

func (c *comparison) bodies(rec, live Answer, recDoc, liveDoc any) {
	switch {
	case rec.Body == "" && live.Body == "":
	case rec.Body == "":
		c.differ("body", "", "empty", kindOf(live.Body, liveDoc))
	case live.Body == "":
		c.differ("body", "", kindOf(rec.Body, recDoc), "empty")
	case recDoc == nil:
		// What isn't JSON has no shape.
	case liveDoc == nil:
		c.differ("body", "", kindOf(rec.Body, recDoc), "no JSON")
	default:
		c.shape("", recDoc, liveDoc)
	}
}

func kindOf(body string, doc any) string {
	if doc == nil {
		return fmt.Sprintf("%d bytes", len(body))
	}
	return typeName(doc)
}
