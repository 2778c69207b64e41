package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is one of the six results that are kept apart.
type Status string

// The results.
const (
	Pass        Status = "pass"
	Fail        Status = "fail"
	Skip        Status = "skip"        // something is absent on our side or in the configuration; Detail says what
	Disabled    Status = "disabled"    // by Labels, Targets or Budget
	Unsupported Status = "unsupported" // the implementation's own answer says so
	Errored     Status = "error"       // the suite's own fault
)

func statuses() []Status { return []Status{Pass, Fail, Skip, Disabled, Unsupported, Errored} }

// Result of one requirement.
type Result struct {
	Requirement
	Status Status `json:"status"`
	// Detail is the reason of anything but a pass, with the exchange that shows it.
	Detail string `json:"detail,omitempty"`
	// Created are the types of what it created, or used and would have created.
	Created []string `json:"created,omitempty"`
	// Observed are the operations that were seen answered.
	Observed []Observed `json:"observed,omitempty"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
}

// Report of a run.
type Report struct {
	Endpoint string    `json:"endpoint"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Results  []Result  `json:"results"`
	// Documented tells how much of the traffic was held against OpenAPI documents; nil if none were given.
	Documented *Documented `json:"documented,omitempty"`
	// Left names what was created and is still there, and why.
	Left []string `json:"left,omitempty"`
}

// Documented is how many answers were checked, of how many operations and
// api-versions, and how many no document describes.
type Documented struct {
	Answers    int `json:"answers"`
	Operations int `json:"operations"`
	Beyond     int `json:"beyond"`
}

// Count returns how many results have the status.
func (r Report) Count(s Status) int {
	n := 0
	for _, x := range r.Results {
		if x.Status == s {
			n++
		}
	}
	return n
}

// OK says whether no must failed and nothing was our own error. A run in which nothing passed is not OK.
func (r Report) OK() bool {
	for _, x := range r.Results {
		if x.Status == Errored || (x.Status == Fail && x.Level == Must) {
			return false
		}
	}
	return r.Count(Pass) > 0
}

// WriteJSON writes the report as indented JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// WriteText writes one line for each requirement with the reason of anything
// but a pass below it, what was disabled as one line for each reason, and the sums last.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "conformance of %s\n\n", r.Endpoint)
	disabled := map[string]int{}
	for _, x := range r.Results {
		if x.Status == Disabled {
			disabled[x.Detail]++
			continue
		}
		fmt.Fprintf(&b, "%-11s %-6s %-28s %s\n", x.Status, x.Level, x.ID, x.Text)
		if x.Detail == "" {
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(x.Detail), "\n") {
			fmt.Fprintf(&b, "            %s\n", line)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(disabled)) {
		fmt.Fprintf(&b, "%-11s %d: %s\n", Disabled, disabled[reason], reason)
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "\nleft behind: %s", l)
	}
	if len(r.Left) > 0 {
		b.WriteString("\n")
	}
	counts := make([]string, 0, 6)
	for _, s := range statuses() {
		counts = append(counts, fmt.Sprintf("%d %s", r.Count(s), s))
	}
	if d := r.Documented; d != nil {
		fmt.Fprintf(&b, "\nOpenAPI: %d answers of %d operations checked, %d are in no document\n", d.Answers, d.Operations, d.Beyond)
	}
	fmt.Fprintf(&b, "\n%s, of %d in %.1f s\n", strings.Join(counts, ", "), len(r.Results), r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}
