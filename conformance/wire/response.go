package wire

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Expressions are compiled when first used: a binary that imports this and does not use it pays nothing.
var signature = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(sig|client_secret|access_token|code)=[^&\s"]+`)
})

// secretField finds secrets in JSON bodies, for what is shown of them.
var secretField = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)("(?:access_token|refresh_token|client_secret|token|password|accountKey|primaryKey|secondaryKey|privateKeyData|value)"\s*:\s*")[^"]{8,}"`)
})

// Redact removes signatures and secrets from a URL or a text that will be shown.
func Redact(s string) string {
	s = signature().ReplaceAllString(s, "$1=***")
	return secretField().ReplaceAllString(s, `$1***"`)
}

// String is the exchange in one line, without secrets, for messages.
func (r *Response) String() string {
	body := strings.Join(strings.Fields(string(r.Body)), " ")
	if len(body) > 400 {
		body = body[:400] + "…"
	}
	return fmt.Sprintf("%s %s answered %d %s", r.Method, Redact(r.URL), r.Status, Redact(body))
}

// JSON decodes the body into v.
func (r *Response) JSON(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("%s: the body is not the JSON expected: %w", r, err)
	}
	return nil
}

// Value returns what lies at the path of keys in a JSON body, or nil.
func (r *Response) Value(keys ...string) any {
	var v any
	if json.Unmarshal(r.Body, &v) != nil {
		return nil
	}
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// Text is Value where it is a string, else "".
func (r *Response) Text(keys ...string) string {
	s, _ := r.Value(keys...).(string)
	return s
}

// ErrorCode is error.code of ARM's envelope, or code where a service has no envelope; "" if there is none.
func (r *Response) ErrorCode() string {
	for _, path := range [][]string{{"error", "code"}, {"code"}, {"Code"}, {"odata.error", "code"}} {
		if s := r.Text(path...); s != "" {
			return s
		}
	}
	return ""
}

// OK says whether the status is 2xx.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }
