package conformance

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

// Level says how much a requirement weighs.
type Level string

// Levels, as RFC 2119 means them. Failed musts make a run fail; the others are told.
const (
	Must   Level = "must"
	Should Level = "should"
	May    Level = "may"
)

// Requirement is one line of the catalogue: what an implementation has to do, and who says so.
type Requirement struct {
	ID     string   `json:"id"`
	Level  Level    `json:"level"`
	Text   string   `json:"text"`
	Source string   `json:"source"`
	Labels []string `json:"labels"`
	// Retired is the day since which Azure no longer has it; it is then no fault of Azure's.
	Retired string `json:"retired,omitempty"`
	// Cost is what checking it costs on Azure, in US dollars, estimated.
	Cost float64 `json:"cost,omitempty"`
	// Uses is the requirement whose resources it uses: it costs what that does where that was not checked before.
	Uses string `json:"uses,omitempty"`
}

//go:embed catalogue.json
var catalogueJSON []byte

// Catalogue returns the requirements in the order in which they are checked.
func Catalogue() ([]Requirement, error) {
	var list []Requirement
	if err := json.Unmarshal(catalogueJSON, &list); err != nil {
		return nil, fmt.Errorf("catalogue.json: %w", err)
	}
	return list, nil
}

// targets are the compute targets that the catalogue has requirements of.
func targets() ([]string, error) {
	list, err := Catalogue()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, r := range list {
		for _, l := range r.Labels {
			if t, ok := strings.CutPrefix(l, "target:"); ok && !contains(all, t) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

// Checked returns the ids of the requirements that have a spec, in order.
func Checked() []string {
	var ids []string
	for _, sp := range specs() {
		ids = append(ids, sp.id)
	}
	return ids
}
