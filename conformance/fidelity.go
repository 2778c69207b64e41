package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Claim is one line of a fidelity table: an operation at an api-version, the
// statuses that it was seen to answer, and the requirements that passed seeing it.
type Claim struct {
	Operation string
	Version   string
	Statuses  []int
	Witnesses []string
}

// Fidelity derives the claims from a report. Only what passed is a witness.
func Fidelity(r Report) []Claim {
	type key struct{ operation, version string }
	byKey := map[key]*Claim{}
	var order []Observed
	for _, x := range r.Results {
		if x.Status != Pass {
			continue
		}
		for _, o := range x.Observed {
			// Paths are in any case; the spelling with small letters sorts last.
			k := key{strings.ToLower(o.Operation), o.Version}
			c := byKey[k]
			if c == nil {
				c = &Claim{Operation: o.Operation, Version: o.Version}
				byKey[k] = c
				order = append(order, Observed{Operation: k.operation, Version: o.Version})
			}
			c.Operation = max(c.Operation, o.Operation)
			if !slices.Contains(c.Statuses, o.Status) {
				c.Statuses = append(c.Statuses, o.Status)
			}
			if !slices.Contains(c.Witnesses, x.ID) {
				c.Witnesses = append(c.Witnesses, x.ID)
			}
		}
	}
	slices.SortFunc(order, compareObserved)
	claims := make([]Claim, 0, len(order))
	for _, o := range order {
		c := byKey[key{o.Operation, o.Version}]
		slices.Sort(c.Statuses)
		claims = append(claims, *c)
	}
	return claims
}

// witnessesMost are how many witnesses a line names; the others are counted.
const witnessesMost = 3

// WriteFidelity writes the claims as a table in Markdown.
func WriteFidelity(w io.Writer, claims []Claim) error {
	var b strings.Builder
	b.WriteString("| operation | api-version | statuses seen | witnessed by |\n|---|---|---|---|\n")
	for _, c := range claims {
		statuses := make([]string, len(c.Statuses))
		for i, s := range c.Statuses {
			statuses[i] = fmt.Sprint(s)
		}
		named := c.Witnesses[:min(witnessesMost, len(c.Witnesses))]
		more := ""
		if n := len(c.Witnesses) - len(named); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s`%s |\n", c.Operation, c.Version, strings.Join(statuses, ", "), strings.Join(named, "`, `"), more)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
