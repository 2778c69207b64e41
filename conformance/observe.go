package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Observed is an operation that a requirement's check saw answered.
type Observed struct {
	// Operation is a method and a resource type with the action's name, or for a
	// data plane its service and the nouns of the path: "PUT Microsoft.Compute/virtualMachines",
	// "GET history/v1.0 experiments/runs".
	Operation string `json:"operation"`
	// Version is the api-version, or that of the data plane's path.
	Version string `json:"version,omitempty"`
	Status  int    `json:"status"`
}

// observer notes what passes by. Specs run one after the other, so what it has seen since it was last asked is one spec's.
type observer struct {
	base     http.RoundTripper
	endpoint string // host of the resource manager

	mu   sync.Mutex
	seen map[Observed]bool
}

// RoundTrip implements http.RoundTripper.
func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.base.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if operation, version := operationOf(r.Method, r.URL, strings.EqualFold(r.URL.Host, o.endpoint)); operation != "" {
		o.mu.Lock()
		o.seen[Observed{operation, version, resp.StatusCode}] = true
		o.mu.Unlock()
	}
	return resp, nil
}

// take returns what was seen since the last call, in order.
func (o *observer) take() []Observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Observed, 0, len(o.seen))
	for x := range o.seen {
		list = append(list, x)
	}
	o.seen = map[Observed]bool{}
	slices.SortFunc(list, compareObserved)
	return list
}

func compareObserved(a, b Observed) int {
	if c := strings.Compare(a.subject(), b.subject()); c != 0 {
		return c
	}
	if c := strings.Compare(a.Operation, b.Operation); c != 0 {
		return c
	}
	if c := strings.Compare(a.Version, b.Version); c != 0 {
		return c
	}
	return a.Status - b.Status
}

// subject is the operation without its method.
func (o Observed) subject() string {
	_, subject, _ := strings.Cut(o.Operation, " ")
	return subject
}

// operationOf names an operation. Polls and what belongs to neither plane have no name.
func operationOf(method string, u *url.URL, manager bool) (operation, version string) {
	segs := strings.Split(strings.Trim(u.Path, "/"), "/")
	if manager {
		return managerOperation(method, segs, u.Query().Get("api-version"))
	}
	for i, s := range segs {
		if strings.EqualFold(s, "workspaces") && i > 2 && i+1 < len(segs) {
			service, _, _ := strings.Cut(strings.Join(segs, "/"), "/subscriptions/")
			return strings.TrimSpace(method + " " + service + " " + nouns(segs[i+2:])), ""
		}
	}
	return "", ""
}

func managerOperation(method string, segs []string, version string) (string, string) {
	last := -1
	for i, s := range segs {
		if strings.EqualFold(s, "providers") {
			last = i
		}
	}
	switch {
	case last >= 0 && last+2 < len(segs):
		rest := segs[last+1:]
		if polls(rest) {
			return "", ""
		}
		name := rest[0]
		for i := 1; i < len(rest); i += 2 {
			name += "/" + rest[i]
		}
		if len(rest)%2 == 0 && method == http.MethodGet {
			name += " (list)"
		}
		return method + " " + name, version
	case last >= 0 || len(segs) < 2 || !strings.EqualFold(segs[0], "subscriptions"):
		return "", ""
	case len(segs) > 2 && strings.EqualFold(segs[2], "resourcegroups"):
		name := "Microsoft.Resources/resourceGroups"
		if len(segs) == 3 {
			name += " (list)"
		} else if len(segs) > 4 {
			name += "/" + segs[4]
		}
		return method + " " + name, version
	}
	return "", ""
}

// polls says whether a path below a provider is one by which an operation is followed.
func polls(rest []string) bool {
	for _, s := range rest {
		s = strings.ToLower(s)
		if strings.Contains(s, "operation") && s != "operations" && !strings.Contains(s, ".") {
			return true
		}
	}
	return strings.EqualFold(rest[1], "locations") && len(rest) > 4
}

// nouns are every other segment of a data plane's path: the ids between them differ from call to call.
func nouns(segs []string) string {
	if len(segs) > 1 && segs[0] == "artifacts" {
		// artifacts/{origin}/{container}/{path}, or with a verb first: artifacts/contentinfo/{origin} ...
		if verb := segs[1]; verb == strings.ToLower(verb) {
			return "artifacts/" + verb
		}
		return "artifacts"
	}
	var list []string
	for i := 0; i < len(segs); i += 2 {
		list = append(list, segs[i])
	}
	return strings.Join(list, "/")
}
