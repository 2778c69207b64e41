package dsvm_test

import (
	"fmt"
	"testing"

	"lazulite.dev/emulator/arm"
)

func TestUsages(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	w.create("vm1")
	do := func(pattern, location string) (map[string]any, error) {
		return w.query(pattern, arm.Call{Version: "2018-06-01", Vars: map[string]string{"location": location}})
	}
	find := func(list any, name string) (out map[string]any) {
		for _, e := range at(list, "value").([]any) {
			if at(e, "name.value") == name || at(e, "name") == name {
				out = e.(map[string]any)
			}
		}
		return out
	}
	usages, err := do("locations/{location}/usages", "East US 2")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"cores": 1, "virtualMachines": 1, "standardDSv2Family": 1, "standardDv2Family": 0} {
		if u := find(usages, name); u["currentValue"] != want || u["unit"] != "Count" {
			t.Errorf("%s: %v", name, u)
		}
	}
	if usages, _ := do("locations/{location}/usages", "westus"); find(usages, "cores")["currentValue"] != 0.0 {
		t.Error("it counts in another region")
	}
	sizes, err := do("locations/{location}/vmSizes", "westus")
	if err != nil || find(sizes, "Standard_NC6") != nil {
		t.Errorf("NC6 in westus, %v", err)
	}
	if s := find(sizes, "Standard_DS1_v2"); s["numberOfCores"] != 1.0 || s["memoryInMB"] != 3584.0 || s["maxDataDiskCount"] != 4.0 || s["resourceDiskSizeInMB"] != 7168.0 || s["osDiskSizeInMB"] != 1047552.0 {
		t.Errorf("%v", s)
	}
	for _, pattern := range []string{"locations/{location}/usages", "locations/{location}/vmSizes"} {
		_, err := do(pattern, "atlantis")
		wantError(t, pattern, err, 404, "NoRegisteredProviderFound", "location 'atlantis'", "")
	}
}

// TestSKUs: what az asks for before it makes a VM in a zone.
func TestSKUs(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	for _, row := range []struct{ filter, name, zones, premium, gpus string }{
		{"location eq 'eastus2'", "Standard_DS1_v2", "[1 2 3]", "True", "<nil>"},
		{"Location EQ 'West US'", "Standard_D1_v2", "[]", "False", "<nil>"},
		{"location eq 'eastus'", "Standard_NC12", "[]", "False", "2"},
		{"location eq 'westus'", "Standard_NC6", "", "", ""}, // not sold there
		{"location eq 'atlantis'", "Standard_DS1_v2", "", "", ""},
		{"", "Standard_DS1_v2", "[]", "True", "<nil>"}, // all regions, the first of which has none
	} {
		query := map[string][]string{}
		if row.filter != "" {
			query["$filter"] = []string{row.filter}
		}
		v, err := w.query("skus", arm.Call{Version: "2019-04-01", Query: query})
		if err != nil {
			t.Fatal(err)
		}
		var found any
		for _, e := range at(v, "value").([]any) {
			if at(e, "name") == row.name && found == nil {
				found = e
			}
		}
		if row.zones == "" {
			if found != nil {
				t.Errorf("%+v: %v", row, found)
			}
			continue
		}
		capabilities := map[string]any{}
		for _, c := range at(found, "capabilities").([]any) {
			capabilities[at(c, "name").(string)] = at(c, "value")
		}
		if got := fmt.Sprint(at(found, "locationInfo.0.zones")); at(found, "resourceType") != "virtualMachines" || got != row.zones || capabilities["PremiumIO"] != row.premium || fmt.Sprint(capabilities["GPUs"]) != row.gpus {
			t.Errorf("%+v: %v", row, found)
		}
	}
	_, err := w.query("skus", arm.Call{Version: "2019-04-01", Query: map[string][]string{"$filter": {"name eq 'x'"}}})
	wantError(t, "another filter", err, 400, "InvalidParameter", "location eq", "$filter")
}
