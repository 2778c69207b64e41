package dsvm

import (
	"context"
	"fmt"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// coresUsed counts the vCPUs of those that are not deallocated, in all and by family.
func coresUsed(vms []machineFile, location string) (total int, families map[string]int) {
	families = map[string]int{}
	for _, m := range vms {
		size, ok := hardware.Size(m.Size)
		if !ok || !m.Held || hardware.Location(m.Location) != hardware.Location(location) {
			continue
		}
		total += size.Cores
		families[size.Family] += size.Cores
	}
	return total, families
}

// admitQuota refuses a VM or a size that the subscription's cores don't suffice for.
func (f *Fake) admitQuota(ctx context.Context, v arm.View, next *arm.Resource, p private, size hardware.VMSize) error {
	if p.Want == "deallocated" {
		return nil
	}
	sub, err := subscriptionID(next.ID)
	if err != nil {
		return err
	}
	vms, err := v.List(ctx, sub, typeVM)
	if err != nil {
		return err
	}
	var others []machineFile
	for _, vm := range vms {
		q, err := privateOf(vm)
		if err != nil {
			return err
		}
		if q.Want != "deallocated" && !q.Gone && !same(vm.ID.String(), next.ID.String()) {
			others = append(others, machineFile{Size: q.Size, Location: vm.Location, Held: true})
		}
	}
	total, families := coresUsed(others, next.Location)
	if total+size.Cores > f.cfg.Cores {
		return overQuota("Core", f.cfg.Cores, total, size.Cores)
	}
	if used := families[size.Family]; used+size.Cores > f.cfg.Cores {
		return overQuota(size.Family+" Cores", f.cfg.Cores, used, size.Cores)
	}
	return nil
}

// listUsages is GET locations/{location}/usages (Microsoft.Compute 2018-06-01).
func (f *Fake) listUsages(_ context.Context, c arm.Call) (any, error) {
	location, err := f.location(c, "locations/usages")
	if err != nil {
		return nil, err
	}
	var mine []machineFile
	f.mu.Lock()
	for _, m := range f.machines {
		s := m.snapshot()
		if subscription := variable(c, "subscription"); subscription == "" || same(s.Subscription, subscription) {
			mine = append(mine, s)
		}
	}
	f.mu.Unlock()
	total, families := coresUsed(mine, location)
	here := 0
	for _, m := range mine {
		if hardware.Location(m.Location) == location {
			here++
		}
	}
	value := []object{
		usage("availabilitySets", "Availability Sets", 0, 2000),
		usage("cores", "Total Regional vCPUs", total, f.cfg.Cores),
		usage("virtualMachines", "Virtual Machines", here, 10000),
		usage("virtualMachineScaleSets", "Virtual Machine Scale Sets", 0, 2000),
	}
	for _, family := range hardware.Families() {
		value = append(value, usage(family.Name, family.Label, families[family.Name], f.cfg.Cores))
	}
	return object{"value": value}, nil
}

// usage is an entry of what a subscription has in a location, and may have at the most.
func usage(name, label string, used, limit int) object {
	return object{"unit": "Count", "currentValue": used, "limit": limit, "name": object{"value": name, "localizedValue": label}}
}

// listNetworkUsages is GET locations/{location}/usages (Microsoft.Network
// 2018-08-01), of the types that there are here. The limits are Azure's of then, and not enforced.
func (f *Fake) listNetworkUsages(ctx context.Context, c arm.Call) (any, error) {
	location, err := f.location(c, "locations/usages")
	if err != nil {
		return nil, err
	}
	subscription, err := arm.ParseID("/subscriptions/" + variable(c, "subscription"))
	if err != nil {
		return nil, err
	}
	count := func(of string, counts func(*arm.Resource) bool) (n int, err error) {
		all, err := c.View.List(ctx, subscription, of)
		for _, r := range all {
			if hardware.Location(r.Location) == location && counts(r) {
				n++
			}
		}
		return n, err
	}
	every := func(*arm.Resource) bool { return true }
	static := func(r *arm.Resource) bool {
		o, err := parse(r.Properties)
		return err == nil && o.text("publicIPAllocationMethod") == "Static"
	}
	value := []object{}
	for _, u := range []struct {
		name, label, of string
		counts          func(*arm.Resource) bool
		limit           int
	}{
		{"VirtualNetworks", "Virtual Networks", typeNetwork, every, 1000},
		{"StaticPublicIPAddresses", "Static Public IP Addresses", typePublicIP, static, 200},
		{"NetworkSecurityGroups", "Network Security Groups", typeGroup, every, 5000},
		{"PublicIPAddresses", "Public IP Addresses", typePublicIP, every, 1000},
		{"NetworkInterfaces", "Network Interfaces", typeNIC, every, 65536},
	} {
		n, err := count(u.of, u.counts)
		if err != nil {
			return nil, err
		}
		o := usage(u.name, u.label, n, u.limit)
		o["id"] = fmt.Sprintf("%s/providers/Microsoft.Network/locations/%s/usages/%s", subscription, location, u.name)
		value = append(value, o)
	}
	return object{"value": value}, nil
}

// listSizes is GET locations/{location}/vmSizes (Microsoft.Compute 2018-06-01).
func (f *Fake) listSizes(_ context.Context, c arm.Call) (any, error) {
	location, err := f.location(c, "locations/vmSizes")
	if err != nil {
		return nil, err
	}
	return sizesOf(location), nil
}

// sizesOf is VirtualMachineSizeListResult.
func sizesOf(location string) object {
	value := []object{}
	for _, s := range hardware.Sizes(location) {
		value = append(value, object{
			"name": s.Name, "numberOfCores": s.Cores, "osDiskSizeInMB": s.OSDiskMB,
			"resourceDiskSizeInMB": s.ResourceDiskMB, "memoryInMB": s.MemoryMB, "maxDataDiskCount": s.MaxDataDisks,
		})
	}
	return object{"value": value}
}

func (f *Fake) location(c arm.Call, what string) (string, error) {
	asked := variable(c, "location")
	location := hardware.Location(asked)
	for _, known := range hardware.Locations() {
		if known == location {
			return location, nil
		}
	}
	return "", &arm.Error{Status: 404, Code: "NoRegisteredProviderFound", Message: fmt.Sprintf("No registered resource provider found for location '%s' and API version '%s' for type '%s'. The supported locations are '%s'.", asked, c.Version, what, strings.Join(hardware.Locations(), ", "))}
}

// variable of a path, whatever case its name is kept in.
func variable(c arm.Call, name string) string {
	for k, v := range c.Vars {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}
