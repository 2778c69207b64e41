package batchai

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// family is a family of VM sizes that Batch AI took: its name in the table of
// sizes and in usages, and its vCPUs of each priority in a region.
type family struct {
	Family      string `json:"family"`
	Name        string `json:"name"`
	Dedicated   int    `json:"dedicated"`
	LowPriority int    `json:"lowPriority"`
}

//go:embed families.json
var familiesJSON []byte

func loadFamilies() ([]family, error) {
	var all []family
	if err := json.Unmarshal(familiesJSON, &all); err != nil {
		return nil, fmt.Errorf("batchai: families.json: %w", err)
	}
	return all, nil
}

// usualQuota is what families.json has; the row without a family is of all together.
func (f *Fake) usualQuota(name string, lowPriority bool) int {
	for _, row := range f.families {
		if row.Family == name {
			if lowPriority {
				return row.LowPriority
			}
			return row.Dedicated
		}
	}
	return 0
}

// size finds a VM size that Batch AI took.
func (f *Fake) size(name, location string) (hardware.VMSize, bool) {
	s, ok := hardware.Size(name)
	return s, ok && s.SoldIn(location) && f.taken(s.Family)
}

func (f *Fake) taken(family string) bool {
	for _, row := range f.families {
		if row.Family == family && family != "" {
			return true
		}
	}
	return false
}

// sizes names those that are taken in a region, as errors do.
func (f *Fake) sizes(location string) string {
	var names []string
	for _, s := range hardware.Sizes(location) {
		if f.taken(s.Family) {
			names = append(names, strings.ToUpper(s.Name))
		}
	}
	return strings.Join(names, ",")
}

// An account of the pool is a subscription, a region and a family.
func accountOf(subscription, location, family string) string {
	return strings.ToLower(subscription) + "/" + hardware.Location(location) + "/" + family
}

// cores is how many the nodes of an account may have: its family's, and no more
// than what the other families leave of the region's.
func (f *Fake) cores(account string, lowPriority bool) int {
	region, name := account[:strings.LastIndexByte(account, '/')+1], account[strings.LastIndexByte(account, '/')+1:]
	if name == serverFamily {
		return 1 << 30 // a file server is no cluster
	}
	left := f.cfg.Quota("", lowPriority)
	for _, row := range f.families {
		if row.Family != name && row.Family != "" {
			left -= f.pool.UsedCores(region+row.Family, lowPriority)
		}
	}
	return max(0, min(left, f.cfg.Quota(name, lowPriority)))
}

type usage struct {
	Unit         string    `json:"unit"`
	CurrentValue int       `json:"currentValue"`
	Limit        int       `json:"limit"`
	Name         usageName `json:"name"`
}

type usageName struct {
	Value          string `json:"value"`
	LocalizedValue string `json:"localizedValue"`
}

// usages answers GET locations/{location}/usages.
func (f *Fake) usages(ctx context.Context, c arm.Call) (any, error) {
	location, subscription := c.Vars["location"], c.Vars["subscription"]
	count, err := f.clusterCount(ctx, c.View, subscription, location)
	if err != nil {
		return nil, err
	}
	list := []usage{{Unit: "Count", CurrentValue: count, Limit: f.cfg.Clusters, Name: usageName{"Clusters", "Clusters"}}}
	for _, priority := range []struct {
		low         bool
		value, text string
	}{{false, "Dedicated", "Dedicated"}, {true, "LowPriority", "Low Priority"}} {
		total := 0
		var rows []usage
		for _, row := range f.families {
			if row.Family == "" {
				continue
			}
			used := f.pool.UsedCores(accountOf(subscription, location, row.Family), priority.low)
			total += used
			name := func(word string) string { return "Standard " + row.Name + " Family Cluster " + word + " vCPUs" }
			rows = append(rows, usage{"Count", used, f.cfg.Quota(row.Family, priority.low), usageName{name(priority.value), name(priority.text)}})
		}
		name := func(word string) string { return "Total Cluster " + word + " Regional vCPUs" }
		list = append(list, usage{"Count", total, f.cfg.Quota("", priority.low), usageName{name(priority.value), name(priority.text)}})
		list = append(list, rows...)
	}
	return map[string]any{"value": list}, nil
}

// clusterCount is how many clusters a subscription has in a region.
func (f *Fake) clusterCount(ctx context.Context, v arm.View, subscription, location string) (int, error) {
	sub, err := arm.ParseID("/subscriptions/" + subscription)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, t := range []string{typeCluster, typeOldCluster} {
		all, err := v.List(ctx, sub, t)
		if err != nil {
			return 0, err
		}
		for _, r := range all {
			p, err := clusterNotes(r)
			if err != nil {
				return 0, err
			}
			if hardware.Location(p.Location) == hardware.Location(location) && r.State != states().Failed {
				n++
			}
		}
	}
	return n, nil
}
