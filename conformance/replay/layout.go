package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

// recording is every layout at once. Interactions are VCR's: azure-cli's and
// the Python SDKs' tests. Entries are those of the Azure SDKs' test proxy, and of the .NET SDK's tests before it.
type recording struct {
	Interactions []struct {
		Request struct {
			Method, URI string
			Headers     map[string]stringList
			Body        body
		}
		Response struct {
			Status struct {
				Code int
			}
			Headers map[string]stringList
			Body    body
		}
	}
	Entries []struct {
		RequestMethod, RequestURI string
		RequestHeaders            map[string]stringList
		RequestBody               entryBody
		StatusCode                int
		ResponseHeaders           map[string]stringList
		ResponseBody              entryBody
	}
}

// read tells the layouts apart.
func read(b []byte) ([]Exchange, error) {
	var doc recording
	if !json.Valid(b) {
		var tree any
		if err := yaml.Unmarshal(b, &tree); err != nil {
			return nil, fmt.Errorf("neither JSON nor YAML: %w", err)
		}
		var err error
		if b, err = json.Marshal(tree); err != nil {
			return nil, fmt.Errorf("no recording: %w", err)
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("no recording: %w", err)
	}
	switch {
	case doc.Interactions != nil:
		return doc.interactions()
	case doc.Entries != nil:
		return doc.entries(), nil
	}
	return nil, errors.New("no recording: it has neither interactions nor Entries")
}

func (r recording) interactions() ([]Exchange, error) {
	var list []Exchange
	for i, in := range r.Interactions {
		text, err := unwrap(string(in.Request.Body))
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		list = append(list, Exchange{Method: in.Request.Method, URL: in.Request.URI, Header: header(in.Request.Headers), Body: text,
			Answer: Answer{Status: in.Response.Status.Code, Header: header(in.Response.Headers), Body: string(in.Response.Body)}})
	}
	return list, nil
}

func (r recording) entries() []Exchange {
	var list []Exchange
	for _, e := range r.Entries {
		u := e.RequestURI
		if strings.HasPrefix(u, "/") {
			u = manager + u // .NET's are paths
		}
		list = append(list, Exchange{Method: e.RequestMethod, URL: u, Header: header(e.RequestHeaders), Body: string(e.RequestBody),
			Answer: Answer{Status: e.StatusCode, Header: header(e.ResponseHeaders), Body: string(e.ResponseBody)}})
	}
	return list
}

// manager is where a recording's paths without a host were.
const manager = "https://management.azure.com"

// stringList reads ["a"] and "a".
type stringList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// body reads null, "text" and {"string": "text"}.
type body string

// UnmarshalJSON implements json.Unmarshaler.
func (t *body) UnmarshalJSON(b []byte) error {
	var doc struct{ String *string }
	if json.Unmarshal(b, &doc) == nil {
		if doc.String != nil {
			*t = body(*doc.String)
		}
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// entryBody reads null, the text, or the document itself.
type entryBody string

// UnmarshalJSON implements json.Unmarshaler.
func (t *entryBody) UnmarshalJSON(b []byte) error {
	var text string
	switch {
	case bytes.Equal(b, []byte("null")):
	case json.Unmarshal(b, &text) == nil:
		*t = entryBody(text)
	default:
		*t = entryBody(b)
	}
	return nil
}

func header(m map[string]stringList) http.Header {
	h := http.Header{}
	for k, v := range m {
		h[http.CanonicalHeaderKey(k)] = v
	}
	return h
}

// unwrap undoes what azure-cli's test kit did to some bodies: the text of a
// Python bytes literal, b'…', once or several times over.
func unwrap(s string) (string, error) {
	for strings.HasPrefix(s, "b'") || strings.HasPrefix(s, `b"`) {
		if len(s) < 3 || s[len(s)-1] != s[1] {
			return "", fmt.Errorf("a body begins like a bytes literal and does not end so: %.40q", s)
		}
		var err error
		if s, err = unescape(s[2 : len(s)-1]); err != nil {
			return "", err
		}
	}
	return s, nil
}

// unescape reads the escapes of a Python bytes literal.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("a bytes literal ends in the middle of an escape")
		}
		switch s[i] {
		case '\\', '\'', '"':
			b.WriteByte(s[i])
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'x':
			var v byte
			if i+2 >= len(s) {
				return "", fmt.Errorf("a bytes literal ends in the middle of an escape")
			}
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &v); err != nil {
				return "", fmt.Errorf("a bytes literal has the escape \\x%s", s[i+1:i+3])
			}
			b.WriteByte(v)
			i += 2
		default:
			// Python leaves an escape that it does not know as it is.
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}
