// Package replay plays recorded traffic of real Azure against an endpoint and
// tells where its answers differ, one line for each difference.
//
// The recordings are VCR's, as JSON or YAML, as the tests of azure-cli and of the
// Python SDKs keep them, or the Entries of the other Azure SDKs' tests. Compared are
// status, the headers that clients act on, error codes, state words and the
// shape of bodies; not the values, for those are the service's own. Polls are
// followed to their end with the URLs that the endpoint gave, and not counted.
// What the endpoint generates (operation ids, keys, correlation ids) is learned
// from its answers and put in the place of the recorded values.
//
// It is no client: requests are sent as they were recorded, in order, once.
package replay

import (
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

// Load reads a recording from a file, with the texts of replace (old, new, old,
// new …) put in it first.
func Load(file string, replace ...string) (Cassette, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Cassette{}, err
	}
	if len(replace) > 0 {
		b = []byte(strings.NewReplacer(replace...).Replace(string(b)))
	}
	return Parse(file, b)
}

// Parse reads a recording in any of the layouts; name is only for messages.
func Parse(name string, b []byte) (Cassette, error) {
	exchanges, err := read(b)
	if err != nil {
		return Cassette{}, fmt.Errorf("%s: %w", name, err)
	}
	c := Cassette{Name: name, Exchanges: exchanges}
	for i, e := range exchanges {
		if e.Method == "" || e.URL == "" || e.Answer.Status == 0 {
			return c, fmt.Errorf("%s: request %d has no method, URI or status", name, i+1)
		}
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
