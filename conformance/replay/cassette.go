// Package replay plays recorded traffic of real Azure against an endpoint and
// tells where its answers differ, one line for each difference.
//
// The recordings are VCR JSON as azure-cli's tests keep them. Compared are
// status, the headers that clients act on, error codes, state words and the
// shape of bodies; not the values, for those are the service's own. Polls are
// followed to their end with the URLs that the endpoint gave, and not counted.
// What the endpoint generates (operation ids, keys, correlation ids) is learned
// from its answers and put in the place of the recorded values.
//
// It is no client: requests are sent as they were recorded, in order, once.
package replay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Exchange is one recorded request with its answer.
type Exchange struct {
	Method, URL string
	Header      http.Header
	Body        string
	Answer      Answer
}

// Answer is what is compared of a response.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Cassette is one recording.
type Cassette struct {
	Name      string
	Exchanges []Exchange
}

type wireCassette struct {
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
}

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

// Load reads a recording from a file.
func Load(file string) (Cassette, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Cassette{}, err
	}
	return Parse(file, b)
}

// Parse reads a recording; name is only for messages.
func Parse(name string, b []byte) (Cassette, error) {
	var doc wireCassette
	if err := json.Unmarshal(b, &doc); err != nil {
		return Cassette{}, fmt.Errorf("%s is no VCR JSON: %w", name, err)
	}
	if doc.Interactions == nil {
		return Cassette{}, fmt.Errorf("%s is no VCR JSON: it has no interactions", name)
	}
	c := Cassette{Name: name}
	for i, in := range doc.Interactions {
		text, err := unwrap(string(in.Request.Body))
		if err != nil {
			return c, fmt.Errorf("%s: request %d: %w", name, i+1, err)
		}
		e := Exchange{Method: in.Request.Method, URL: in.Request.URI, Header: header(in.Request.Headers), Body: text,
			Answer: Answer{Status: in.Response.Status.Code, Header: header(in.Response.Headers), Body: string(in.Response.Body)}}
		if e.Method == "" || e.URL == "" || e.Answer.Status == 0 {
			return c, fmt.Errorf("%s: request %d has no method, URI or status", name, i+1)
		}
		c.Exchanges = append(c.Exchanges, e)
	}
	c.nameDeployments()
	return c, nil
}

// scrubbed is the name that azure-cli's test kit put in the place of every
// deployment's in URLs. Answers kept their names.
const scrubbed = "/deployments/mock-deployment"

// nameDeployments gives each deployment its name back, from the answer to its
// PUT: played under one name, the second would be an update of the first.
func (c *Cassette) nameDeployments() {
	name := ""
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		if !strings.Contains(e.URL, scrubbed) {
			continue
		}
		if e.Method == http.MethodPut {
			name = ""
			if doc, ok := decode(e.Answer.Body).(map[string]any); ok {
				name, _ = doc["name"].(string)
			}
		}
		if name != "" && !strings.ContainsAny(name, "/?#%") {
			e.URL = strings.Replace(e.URL, scrubbed, "/deployments/"+name, 1)
		}
	}
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
