package dsvm

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// skuQuery is GET skus: what of Microsoft.Compute is on sale where, in which
// zones and with what capabilities (ResourceSkusResult of 2017-09-01). Later
// versions can be asked for one location, by a $filter.
func (f *Fake) skuQuery() arm.Query {
	return arm.Query{Method: http.MethodGet, Pattern: "skus", Do: f.listSKUs,
		Versions: arm.Versions{From: "2017-03-30", Known: []string{"2021-07-01", "2019-04-01", "2017-09-01", "2017-03-30"}}}
}

// locationFilter is the only one that the real service takes.
var locationFilter = regexp.MustCompile(`(?i)^\s*location\s+eq\s+'([^']*)'\s*$`)

func (f *Fake) listSKUs(_ context.Context, c arm.Call) (any, error) {
	locations := hardware.Locations()
	for _, filter := range c.Query["$filter"] {
		m := locationFilter.FindStringSubmatch(filter)
		if m == nil {
			return nil, &arm.Error{Status: http.StatusBadRequest, Code: "InvalidParameter", Target: "$filter",
				Message: fmt.Sprintf("The value '%s' of parameter $filter is invalid: location eq '<location>' alone is supported.", filter)}
		}
		locations = nil
		for _, l := range hardware.Locations() {
			if l == hardware.Location(m[1]) {
				locations = append(locations, l)
			}
		}
	}
	value := []object{}
	for _, l := range locations {
		for _, name := range []string{"Classic", "Aligned"} {
			domains := "3"
			if name == "Classic" {
				domains = "5"
			}
			value = append(value, sku(l, "availabilitySets", object{"name": name}, object{"name": "MaximumPlatformFaultDomainCount", "value": domains}))
		}
		for _, s := range hardware.Sizes(l) {
			value = append(value, sizeSKU(l, s))
		}
	}
	return object{"value": value}, nil
}

// sku is a ResourceSku of a location.
func sku(location, of string, more object, capabilities ...object) object {
	info := object{"location": location, "zones": []string{}}
	if of == "virtualMachines" {
		info["zones"] = arm.AvailabilityZones(location)
	}
	out := object{"resourceType": of, "locations": []string{location}, "locationInfo": []object{info}, "capabilities": capabilities, "restrictions": []object{}}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func sizeSKU(location string, s hardware.VMSize) object {
	tier, short, _ := strings.Cut(s.Name, "_")
	has := func(name, value string) object { return object{"name": name, "value": value} }
	yes := func(name string, b bool) object {
		if b {
			return has(name, "True")
		}
		return has(name, "False")
	}
	capabilities := []object{
		has("MaxResourceVolumeMB", strconv.Itoa(s.ResourceDiskMB)),
		has("OSVhdSizeMB", strconv.Itoa(s.OSDiskMB)),
		has("vCPUs", strconv.Itoa(s.Cores)),
		has("MemoryGB", strconv.FormatFloat(float64(s.MemoryMB)/1024, 'g', 5, 64)),
		has("MaxDataDiskCount", strconv.Itoa(s.MaxDataDisks)),
		yes("PremiumIO", s.Premium()),
	}
	if s.GPUs > 0 {
		capabilities = append(capabilities, has("GPUs", strconv.Itoa(s.GPUs)))
	}
	return sku(location, "virtualMachines", object{"name": s.Name, "tier": tier, "size": short, "family": s.Family}, capabilities...)
}
