// Package mutants judges the judge: it is a list of faults to seed in the
// emulator, one at a time, each of which the conformance suite has to notice.
//
// A mutant replaces one piece of text in one source file (go build -overlay;
// the work tree stays as it is). All those within Go functions are in one build,
// and a variable says which of them it is to be; others have a build of their
// own. The suite of the unchanged build is then pointed at the mutant like at
// any implementation, with the labels that the fault concerns. It is caught if a
// requirement fails that is fulfilled without it, or something is left behind.
// Test checks only that each mutant still applies; the whole check takes about
// an hour on two processors: make mutants.
package mutants

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

// Mutant is one seeded fault.
type Mutant struct {
	ID string `json:"id"`
	// File is relative to the repository.
	File string `json:"file"`
	// Find occurs once in the file; Replace takes its place.
	Find    string `json:"find"`
	Replace string `json:"replace"`
	// Labels are the specs to run, as a label filter.
	Labels string `json:"labels"`
	// Fault is what is wrong with the mutant, in words.
	Fault string `json:"fault"`
	// Known says why the suite does not notice it, where that is known.
	Known string `json:"known,omitempty"`
	// Import is one more package that the changed file needs.
	Import string `json:"import,omitempty"`
}

//go:embed mutants.json
var listJSON []byte

// List returns all mutants.
func List() ([]Mutant, error) {
	var list []Mutant
	if err := json.Unmarshal(listJSON, &list); err != nil {
		return nil, fmt.Errorf("mutants.json: %w", err)
	}
	return list, nil
}

// Apply returns the source with the fault in it.
func (m Mutant) Apply(source string) (string, error) {
	if n := strings.Count(source, m.Find); n != 1 {
		return "", fmt.Errorf("%s: its text occurs %d times in %s, not once", m.ID, n, m.File)
	}
	changed := strings.Replace(source, m.Find, m.Replace, 1)
	if changed == source {
		return "", fmt.Errorf("%s changes nothing", m.ID)
	}
	if m.Import != "" && !strings.Contains(changed, "\""+m.Import+"\"") {
		changed = strings.Replace(changed, "import (\n", "import (\n\t\""+m.Import+"\"\n", 1)
	}
	return changed, nil
}
