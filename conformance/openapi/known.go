package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// Known is a deviation of the real service from its own documents.
type Known struct {
	// Operation is an operationId, or a pattern of some (path.Match).
	Operation string `json:"operation"`
	// Versions are the api-versions; empty: all.
	Versions []string `json:"versions,omitempty"`
	Kind     string   `json:"kind"`
	// At is the property, or the status; empty: any, with * at its end: all below it.
	At string `json:"at,omitempty"`
	// Evidence is where the real service was seen to do so.
	Evidence string `json:"evidence"`
}

//go:embed deviations.json
var deviationsJSON []byte

// KnownDeviations returns the list of what the real service does beside its documents.
func KnownDeviations() ([]Known, error) {
	var list []Known
	if err := json.Unmarshal(deviationsJSON, &list); err != nil {
		return nil, fmt.Errorf("deviations.json: %w", err)
	}
	return list, nil
}

// Covers says whether the deviation is this known one.
func (k Known) Covers(d Deviation) bool {
	if matched, err := path.Match(k.Operation, d.Operation); err != nil || !matched {
		return false
	}
	if k.Kind != d.Kind || k.At != "" && !like(k.At, d.At) {
		return false
	}
	for _, v := range k.Versions {
		if v == d.Version {
			return true
		}
	}
	return len(k.Versions) == 0
}

func like(pattern, s string) bool {
	if stem, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, stem)
	}
	return pattern == s
}
