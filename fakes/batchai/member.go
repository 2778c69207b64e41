package batchai

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"lazulite.dev/emulator/arm"
)

// The api-versions of Microsoft.BatchAI.
const (
	firstVersion  = "2017-09-01-preview"
	groupVersion  = "2018-03-01" // the last one in which clusters, jobs and file servers are a resource group's own
	latestVersion = "2018-05-01" // and the first one in which they are a workspace's
)

// member is one that not every api-version has: of a kind's properties, on the
// path (elements of arrays are passed through). An older client neither sets nor
// sees it.
type member struct {
	Kind string `json:"kind"` // Cluster, Job, FileServer, File
	Path string `json:"path"`
	From string `json:"from,omitempty"` // inclusive; empty: the first
	To   string `json:"to,omitempty"`   // inclusive; empty: the last
	// Required says instead that these versions can't do without it; the others have it too.
	Required bool `json:"required,omitempty"`
}

//go:embed members.json
var membersJSON []byte

func loadMembers() ([]member, error) {
	var all []member
	if err := json.Unmarshal(membersJSON, &all); err != nil {
		return nil, fmt.Errorf("batchai: members.json: %w", err)
	}
	return all, nil
}

func (m member) in(version string) bool {
	return arm.Versions{From: m.From, To: m.To}.Contains(version)
}

// fit takes out of properties what an api-version does not have.
func (f *Fake) fit(kind, version string, properties map[string]any) {
	for _, m := range f.members {
		if m.Kind == kind && !m.Required && !m.in(version) {
			drop(properties, strings.Split(m.Path, "."))
		}
	}
}

// complete refuses properties that lack what an api-version requires.
func (f *Fake) complete(kind, version string, properties map[string]any) error {
	for _, m := range f.members {
		if m.Kind == kind && m.Required && m.in(version) && lacks(properties, strings.Split(m.Path, ".")) {
			return propertyMissing(kind, m.Path)
		}
	}
	return nil
}

func drop(v any, path []string) {
	switch t := v.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(t, path[0])
		} else {
			drop(t[path[0]], path[1:])
		}
	case []any:
		for _, el := range t {
			drop(el, path)
		}
	}
}

// lacks says that something on the path is there but for its last part.
func lacks(v any, path []string) bool {
	switch t := v.(type) {
	case map[string]any:
		next, ok := t[path[0]]
		if len(path) == 1 {
			return !ok
		}
		return ok && lacks(next, path[1:])
	case []any:
		for _, el := range t {
			if lacks(el, path) {
				return true
			}
		}
	}
	return false
}
