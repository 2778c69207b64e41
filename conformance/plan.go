package conformance

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lazulite.dev/conformance/wire"
)

// createsJSON is what each requirement's check creates: resource types by id,
// written by this package's own test from a run, never by hand.
//
//go:embed creates.json
var createsJSON []byte

// Creates returns the resource types that checking each requirement creates, or uses and so creates if it comes first.
func Creates() (map[string][]string, error) {
	var m map[string][]string
	if err := json.Unmarshal(createsJSON, &m); err != nil {
		return nil, fmt.Errorf("creates.json: %w", err)
	}
	return m, nil
}

// Planned is what a run would do about one requirement.
type Planned struct {
	Requirement
	// Creates are resource types.
	Creates []string `json:"creates,omitempty"`
	// Price is what it would cost at its turn, with what it uses and nothing before it made.
	Price float64 `json:"price,omitempty"`
	// Disabled is why it would not be checked, or "".
	Disabled string `json:"disabled,omitempty"`
}

// Plan tells what Run would check and create with the Config. It sends nothing.
func Plan(cfg Config) ([]Planned, error) {
	su, err := newSuite(cfg)
	if err != nil {
		return nil, err
	}
	creates, err := Creates()
	if err != nil {
		return nil, err
	}
	list, err := Catalogue()
	if err != nil {
		return nil, err
	}
	plan := make([]Planned, 0, len(list))
	for _, r := range list {
		p := Planned{Requirement: r, Disabled: su.disabled(r)}
		if p.Disabled == "" {
			p.Creates, p.Price = creates[r.ID], su.price(r)
			su.pay(r)
		}
		plan = append(plan, p)
	}
	return plan, nil
}

// WritePlan writes a plan as text: what would be checked, what for it would be created, and the sum of the estimates.
func WritePlan(w io.Writer, plan []Planned) error {
	var b strings.Builder
	cost, checked := 0.0, 0
	types := map[string]int{}
	for _, p := range plan {
		if p.Disabled != "" {
			continue
		}
		checked++
		cost += p.Price
		fmt.Fprintf(&b, "%-32s %s\n", p.ID, p.Text)
		if len(p.Creates) > 0 || p.Price > 0 {
			fmt.Fprintf(&b, "    creates %s", strings.Join(p.Creates, ", "))
			if p.Price > 0 {
				fmt.Fprintf(&b, "; about $%.2f", p.Price)
			}
			b.WriteString("\n")
		}
		for _, t := range p.Creates {
			types[t]++
		}
	}
	names := make([]string, 0, len(types))
	for t := range types {
		names = append(names, t)
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "\n%d of %d requirements would be checked, for about $%.2f on Azure. Nothing was created.\n", checked, len(plan), cost)
	if len(names) > 0 {
		fmt.Fprintf(&b, "Created, and deleted again, would be: %s\n", strings.Join(names, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Sweep deletes, newest first, what the Config's Journal says earlier runs
// created at the endpoint and did not delete, and returns the paths that are gone.
func Sweep(ctx context.Context, cfg Config) ([]string, error) {
	if cfg.Journal == "" {
		return nil, errors.New("no journal: name the file that the run kept")
	}
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	client, err := wire.New(cfg.Wire())
	if err != nil {
		return nil, err
	}
	left, err := wire.Journal(cfg.Journal, cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	var gone []string
	var errs []error
	for i := len(left) - 1; i >= 0; i-- {
		if err := client.Track(left[i].Path, left[i].Version); err != nil {
			return gone, err
		}
		if err := client.Remove(ctx, left[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s was not deleted: %w", left[i].Path, err))
			continue
		}
		gone = append(gone, left[i].Path)
	}
	return gone, errors.Join(errs...)
}

// resourceType is the type of a path's resource.
func resourceType(path string) string {
	_, rest, ok := cutFold(path, "/providers/")
	if !ok {
		return "Microsoft.Resources/resourceGroups"
	}
	for {
		_, next, more := cutFold(rest, "/providers/")
		if !more {
			break
		}
		rest = next
	}
	parts := strings.Split(rest, "/")
	name := parts[0]
	for i := 1; i < len(parts); i += 2 {
		name += "/" + parts[i]
	}
	return name
}

func cutFold(s, sep string) (before, after string, found bool) {
	i := strings.Index(strings.ToLower(s), strings.ToLower(sep))
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
