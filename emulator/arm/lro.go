package arm

import (
	"fmt"
	"net/url"
	"strings"
)

// LRO says how a verb answers when the work goes on afterwards.
// Headers are templates over {base} {subscription} {resourceGroup} {provider} {location} {id} {parent} {name} {operation} {version}.
type LRO struct {
	Status int  // 0: 200 or 201 by whether it is new (DELETE, PATCH and actions: 200)
	NoBody bool // the answer is empty
	// WithBody answers a DELETE or an action with the resource; without it they answer empty.
	WithBody bool
	// AsyncOperation and Location are header templates; empty: not sent. Their paths
	// are where the engine then answers. AsyncOperation gives the status document;
	// Location gives 202 until it is over, and then the resource, the action's
	// Result, or the operation's error. Where both have one path, "monitor=true" tells them apart.
	AsyncOperation, Location string
	// Self names the resource itself in Location, for a PUT that nothing follows.
	Self bool
	// Final is the status at Location when it is over (0: 200).
	Final int
	// Operation renders the status document; nil: {"id","name","status","startTime","endTime","error"}. r is nil once the resource is gone.
	Operation func(c Call, op *Operation, r *Resource) any
	// Running is the word for "InProgress" if the service has another.
	Running string
	// RetryAfter is in seconds, on the first answer and on each unfinished status (0: 1; negative: not sent).
	RetryAfter int
}

func (l LRO) zero() bool {
	return l.Status == 0 && !l.NoBody && !l.polled() && l.Operation == nil && l.Running == ""
}

// polled reports whether clients get a URL to follow the operation by.
func (l LRO) polled() bool { return l.AsyncOperation != "" || l.Location != "" }

func (l LRO) retryAfter() string {
	switch {
	case l.RetryAfter < 0:
		return ""
	case l.RetryAfter == 0:
		return "1"
	}
	return fmt.Sprint(l.RetryAfter)
}

func (l LRO) check() error {
	for _, t := range []string{l.AsyncOperation, l.Location} {
		if rest := lroVars(func(string) string { return "" }).Replace(t); strings.ContainsAny(rest, "{}") {
			return fmt.Errorf("the header template %q has an unknown variable", t)
		}
	}
	return nil
}

var lroNames = []string{"base", "subscription", "resourceGroup", "provider", "location", "id", "parent", "name", "operation", "version"}

func lroVars(value func(name string) string) *strings.Replacer {
	pairs := make([]string, 0, 2*len(lroNames))
	for _, n := range lroNames {
		pairs = append(pairs, "{"+n+"}", value(n))
	}
	return strings.NewReplacer(pairs...)
}

// expand fills a header template in.
func expand(template string, base, version, operation, location string, id ID) string {
	if template == "" {
		return ""
	}
	if id.ResourceGroup() == "" {
		template = strings.ReplaceAll(template, "/resourcegroups/{resourceGroup}", "")
	}
	return lroVars(func(name string) string {
		switch name {
		case "base":
			return base
		case "subscription":
			return id.Subscription()
		case "resourceGroup":
			return id.ResourceGroup()
		case "provider":
			return id.Provider()
		case "location":
			return normalLocation(location)
		case "id":
			return (&url.URL{Path: id.String()}).EscapedPath()
		case "parent":
			return (&url.URL{Path: id.Parent().String()}).EscapedPath()
		case "name":
			return url.PathEscape(id.Name())
		case "operation":
			return operation
		}
		return version
	}).Replace(template)
}

// pollPath is the folded path of an expanded header, by which a poll is recognised.
func pollPath(header string) string {
	if header == "" {
		return ""
	}
	u, err := url.Parse(header)
	if err != nil {
		return ""
	}
	return fold(strings.TrimSuffix(u.Path, "/"))
}
