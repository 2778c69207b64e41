package hdinsight

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"lazulite.dev/emulator/hardware"
)

//go:embed catalogue.json
var catalogueJSON []byte

// catalogue is what HDInsight sold.
type catalogue struct {
	Default  string
	Cores    int // of a subscription in a region
	Versions []version
	Sizes    map[string]string // old names of sizes, in small letters
}

// version of HDInsight, with the kinds of cluster that it had. The first
// version of a component is its default.
type version struct {
	Name       string // 3.6
	Full       string // 3.6.1000.67
	Stamp      string // of the blueprint
	Platform   string // clusterHdpVersion
	Display    string // name of the platform
	Components string // version of the platform
	Kinds      map[string][]string
}

func readCatalogue() (c catalogue, err error) {
	return c, json.Unmarshal(catalogueJSON, &c)
}

// find takes "default", "3.6" and "3.6.1000.67".
func (c catalogue) find(name string) (version, bool) {
	if name == "" || strings.EqualFold(name, "default") {
		name = c.Default
	}
	for _, v := range c.Versions {
		if v.Name == name || v.Full == name {
			return v, true
		}
	}
	return version{}, false
}

// size finds a VM size by either of its names.
func (c catalogue) size(name string) (hardware.VMSize, bool) {
	if old, ok := c.Sizes[strings.ToLower(name)]; ok {
		name = old
	}
	return hardware.Size(name)
}

func (c catalogue) kinds() []string {
	all := map[string]bool{}
	for _, v := range c.Versions {
		for k := range v.Kinds {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// hadoop says whether clusters of a kind run YARN here.
func hadoop(kind string) bool {
	return strings.EqualFold(kind, "spark") || strings.EqualFold(kind, "hadoop")
}
