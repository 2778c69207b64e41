package aci

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

//go:embed regions.json
var regionsJSON []byte

// region is a row of regions.json: where the service was, and how large a group could be there.
type region struct {
	Name, Display string
	MaxCPU        float64
	MaxMemoryInGB float64
}

var regions = sync.OnceValue(func() []region {
	var all []region
	if err := json.Unmarshal(regionsJSON, &all); err != nil {
		panic("aci: embedded regions.json: " + err.Error())
	}
	return all
})

// findRegion takes any spelling of a location.
func findRegion(location string) (region, *arm.Error) {
	var names []string
	for _, r := range regions() {
		if r.Name == hardware.Location(location) {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return region{}, &arm.Error{Status: http.StatusBadRequest, Code: "LocationNotAvailableForResourceType", Target: "location",
		Message: "The provided location '" + location + "' is not available for resource type '" + typeGroup + "'. List of available regions for the resource type is '" + strings.Join(names, ",") + "'."}
}
