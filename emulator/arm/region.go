package arm

import (
	"slices"
	"strings"
)

// region is a place of 2018.
type region struct{ name, display, longitude, latitude string }

// regions are those that GET /subscriptions/{s}/locations listed in the autumn of 2018.
var regions = []region{
	{"eastasia", "East Asia", "114.188", "22.267"},
	{"southeastasia", "Southeast Asia", "103.833", "1.283"},
	{"centralus", "Central US", "-93.6208", "41.5908"},
	{"eastus", "East US", "-79.8164", "37.3719"},
	{"eastus2", "East US 2", "-78.3889", "36.6681"},
	{"westus", "West US", "-122.417", "37.783"},
	{"northcentralus", "North Central US", "-87.6278", "41.8819"},
	{"southcentralus", "South Central US", "-98.5", "29.4167"},
	{"northeurope", "North Europe", "-6.2597", "53.3478"},
	{"westeurope", "West Europe", "4.9", "52.3667"},
	{"japanwest", "Japan West", "135.5022", "34.6939"},
	{"japaneast", "Japan East", "139.77", "35.68"},
	{"brazilsouth", "Brazil South", "-46.633", "-23.55"},
	{"australiaeast", "Australia East", "151.2094", "-33.86"},
	{"australiasoutheast", "Australia Southeast", "144.9631", "-37.8136"},
	{"southindia", "South India", "80.1636", "12.9822"},
	{"centralindia", "Central India", "73.9197", "18.5822"},
	{"westindia", "West India", "72.868", "19.088"},
	{"canadacentral", "Canada Central", "-79.383", "43.653"},
	{"canadaeast", "Canada East", "-71.217", "46.817"},
	{"uksouth", "UK South", "-0.799", "50.941"},
	{"ukwest", "UK West", "-3.084", "53.427"},
	{"westcentralus", "West Central US", "-110.234", "40.890"},
	{"westus2", "West US 2", "-119.852", "47.233"},
	{"koreacentral", "Korea Central", "126.9780", "37.5665"},
	{"koreasouth", "Korea South", "129.0756", "35.1796"},
	{"francecentral", "France Central", "2.3730", "46.3772"},
	{"francesouth", "France South", "2.1972", "43.8345"},
	{"australiacentral", "Australia Central", "149.1244", "-35.3075"},
	{"australiacentral2", "Australia Central 2", "149.1244", "-35.3075"},
}

// normalLocation is the one spelling of a location: "East US 2" is eastus2.
func normalLocation(s string) string { return fold(strings.ReplaceAll(s, " ", "")) }

// DisplayName is a location as people write it, "East US 2" for eastus2; one that is unknown as it is.
func DisplayName(location string) string {
	for _, r := range regions {
		if r.name == normalLocation(location) {
			return r.display
		}
	}
	return location
}

func regionNames() []string {
	out := make([]string, len(regions))
	for i, r := range regions {
		out[i] = r.name
	}
	return out
}

// isRegion takes any spelling, and "global" for services that have no place.
func isRegion(s string) bool {
	s = normalLocation(s)
	for _, r := range regions {
		if r.name == s {
			return true
		}
	}
	return s == "global"
}

func displayNames() []string {
	out := make([]string, len(regions))
	for i, r := range regions {
		out[i] = r.display
	}
	return out
}

// zoned are the regions of autumn 2018 that had availability zones.
var zoned = []string{"centralus", "eastus2", "francecentral", "northeurope", "southeastasia", "westeurope", "westus2"}

// AvailabilityZones are those of a region, given by its short name; none where it had none.
func AvailabilityZones(location string) []string {
	if slices.Contains(zoned, location) {
		return []string{"1", "2", "3"}
	}
	return []string{}
}

func zoneMappings() []zoneDocument {
	var out []zoneDocument
	for _, r := range regions {
		if slices.Contains(zoned, r.name) {
			out = append(out, zoneDocument{r.display, AvailabilityZones(r.name)})
		}
	}
	return out
}
