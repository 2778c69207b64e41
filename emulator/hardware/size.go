package hardware

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// VMSize is one size of Azure's list, as Microsoft.Compute's
// locations/{location}/vmSizes shows it (2018-06-01), with what that list
// leaves out: the GPUs, the quota family and the regions.
type VMSize struct {
	Name           string
	Cores          int
	MemoryMB       int
	MaxDataDisks   int
	ResourceDiskMB int
	OSDiskMB       int
	// GPUs is the number of devices; GPUModel, GPUMemoryMB and GPUCompute (CUDA's
	// compute capability) are each one's, as NVML tells them.
	GPUs        int
	GPUModel    string
	GPUMemoryMB int
	GPUCompute  string
	// Family is the quota's name ("standardDv2Family").
	Family string
	// Regions where it was sold; "*" alone means all.
	Regions []string
}

// Premium says that the size can have premium disks, as an S in its family's name does.
func (s VMSize) Premium() bool { return strings.Contains(s.Family, "S") }

// SoldIn reports whether the size was on sale in a location ("westus", "West US").
func (s VMSize) SoldIn(location string) bool {
	location = Location(location)
	return slices.Contains(s.Regions, "*") || slices.Contains(s.Regions, location)
}

// Family is a quota family: sizes that share one limit of cores.
type Family struct{ Name, Label string }

// Location brings a location's display name to its short form: "West US" is "westus".
func Location(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

// Size finds a size by its name, in any case.
func Size(name string) (VMSize, bool) {
	s, ok := table().byName[strings.ToLower(name)]
	return s, ok
}

// Sizes lists those sold in a location, in the table's order; "" lists all.
func Sizes(location string) []VMSize {
	t := table()
	var out []VMSize
	for _, s := range t.sizes {
		if location == "" || s.SoldIn(location) {
			out = append(out, s)
		}
	}
	return out
}

// Locations lists Azure's public regions of October 2018 in their short form.
func Locations() []string { return slices.Clone(table().locations) }

// Families lists the quota families in the table's order.
func Families() []Family { return slices.Clone(table().families) }

//go:embed sizes.json
var sizesJSON []byte

type sizeTable struct {
	sizes     []VMSize
	byName    map[string]VMSize
	families  []Family
	locations []string
}

var table = sync.OnceValue(func() sizeTable {
	t, err := parseSizes(sizesJSON)
	if err != nil {
		panic("hardware: embedded sizes.json: " + err.Error())
	}
	return t
})

func parseSizes(data []byte) (sizeTable, error) {
	var file struct {
		OSDiskMB  int `json:"osDiskMB"`
		Locations []string
		Families  []struct {
			Name, Label, GPU string
			GPUCompute       string
			GPUMemoryMB      int
			Regions          []string
			Sizes            [][]any
		}
	}
	t := sizeTable{byName: map[string]VMSize{}}
	if err := json.Unmarshal(data, &file); err != nil {
		return t, err
	}
	t.locations = file.Locations
	for _, f := range file.Families {
		t.families = append(t.families, Family{Name: f.Name, Label: f.Label})
		for _, row := range f.Sizes {
			s := VMSize{OSDiskMB: file.OSDiskMB, Family: f.Name, Regions: f.Regions}
			name, ok := "", len(row) == 5 || len(row) == 6
			if ok {
				name, ok = row[0].(string)
			}
			if !ok {
				return t, fmt.Errorf("family %s: bad row %v", f.Name, row)
			}
			s.Name = name
			numbers := []*int{&s.Cores, &s.MemoryMB, &s.MaxDataDisks, &s.ResourceDiskMB, &s.GPUs}
			for i, v := range row[1:] {
				n, ok := v.(float64)
				if !ok {
					return t, fmt.Errorf("size %s: bad number %v", name, v)
				}
				*numbers[i] = int(n)
			}
			if s.GPUs > 0 {
				s.GPUModel, s.GPUMemoryMB, s.GPUCompute = f.GPU, f.GPUMemoryMB, f.GPUCompute
			}
			key := strings.ToLower(name)
			if _, twice := t.byName[key]; twice {
				return t, fmt.Errorf("size %s is there twice", name)
			}
			t.byName[key] = s
			t.sizes = append(t.sizes, s)
		}
	}
	return t, nil
}
