package dsvm_test

import (
	"strings"
	"testing"
)

func TestNetworkDefaults(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	nic := w.nets("a")
	w.must(network+"networkSecurityGroups/nsg", `{"location":"eastus2","properties":{"securityRules":[{"name":"default-allow-ssh","properties":{"protocol":"TCP","sourcePortRange":"*","destinationPortRange":"22","sourceAddressPrefix":"*","destinationAddressPrefix":"*","access":"allow","priority":1000,"direction":"inbound"}}]}}`)
	w.must(network+"publicIPAddresses/named", `{"location":"East US 2","properties":{"dnsSettings":{"domainNameLabel":"mine"},"publicIPAllocationMethod":"Static"}}`)
	w.settle()
	for _, c := range []struct {
		id   string
		want map[string]any
	}{
		{network + "virtualNetworks/vnet", map[string]any{
			"properties.subnets.0.id": network + "virtualNetworks/vnet/subnets/default", "properties.subnets.0.type": "Microsoft.Network/virtualNetworks/subnets",
			"properties.subnets.0.properties.provisioningState": "Succeeded", "properties.enableDdosProtection": false,
		}},
		{network + "networkSecurityGroups/nsg", map[string]any{
			"properties.securityRules.0.id": network + "networkSecurityGroups/nsg/securityRules/default-allow-ssh", "properties.securityRules.0.properties.protocol": "Tcp",
			"properties.securityRules.0.properties.access": "Allow", "properties.defaultSecurityRules.0.name": "AllowVnetInBound",
			"properties.defaultSecurityRules.2.properties.priority": 65500.0, "properties.defaultSecurityRules.5.name": "DenyAllOutBound",
		}},
		{nic, map[string]any{
			"properties.ipConfigurations.0.properties.privateIPAddress": "10.0.0.4", "properties.ipConfigurations.0.properties.privateIPAllocationMethod": "Dynamic",
			"properties.ipConfigurations.0.properties.primary": true, "properties.enableIPForwarding": false, "properties.virtualMachine": nil,
		}},
		{network + "publicIPAddresses/a-ip", map[string]any{
			"properties.publicIPAllocationMethod": "Dynamic", "properties.publicIPAddressVersion": "IPv4", "properties.idleTimeoutInMinutes": 4.0,
			"properties.ipAddress": nil, "sku.name": "Basic", "properties.ipConfiguration.id": nic + "/ipConfigurations/ipconfig",
		}},
		{network + "publicIPAddresses/named", map[string]any{"properties.dnsSettings.fqdn": "mine.eastus2.cloudapp.azure.com", "properties.publicIPAllocationMethod": "Static"}},
	} {
		for path, want := range c.want {
			if got := at(w.show(c.id), path); got != want {
				t.Errorf("%s: %s is %v, want %v", c.id, path, got, want)
			}
		}
	}
	// The next interface gets the next address, the first keeps its own at another PUT.
	second := w.nets("b")
	w.nets("a")
	w.settle()
	if a, b := at(w.show(nic), "properties.ipConfigurations.0.properties.privateIPAddress"), at(w.show(second), "properties.ipConfigurations.0.properties.privateIPAddress"); a != "10.0.0.4" || b != "10.0.0.5" {
		t.Errorf("%v, %v", a, b)
	}
}

func TestRefusedNetworks(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	w.nets("a")
	w.settle()
	vnet := func(space, subnet string) string {
		return `{"location":"eastus2","properties":{"addressSpace":{"addressPrefixes":[` + space + `]},"subnets":[` + subnet + `]}}`
	}
	nic := func(config string) string {
		return `{"location":"eastus2","properties":{"ipConfigurations":[` + config + `]}}`
	}
	subnet := `"subnet":{"id":"` + network + `virtualNetworks/vnet/subnets/default"}`
	rule := `{"location":"eastus2","properties":{"securityRules":[{"name":"r","properties":{"protocol":"Tcp","access":"Allow","direction":"Inbound","priority":100}}]}}`
	for _, c := range []struct {
		name, id, body string
		code, text     string
	}{
		{"no space", "virtualNetworks/x", vnet("", ""), "InvalidRequestFormat", "address prefix"},
		{"odd space", "virtualNetworks/x", vnet(`"10.0.0.0/99"`, ""), "InvalidAddressPrefixFormat", "10.0.0.0/99"},
		{"subnet outside", "virtualNetworks/x", vnet(`"10.0.0.0/16"`, `{"name":"s","properties":{"addressPrefix":"10.1.0.0/24"}}`), "NetcfgInvalidSubnet", "Subnet 's' is not valid in virtual network 'x'."},
		{"subnet larger", "virtualNetworks/x", vnet(`"10.0.0.0/16"`, `{"name":"s","properties":{"addressPrefix":"10.0.0.0/8"}}`), "NetcfgInvalidSubnet", "'s'"},
		{"nameless subnet", "virtualNetworks/x", vnet(`"10.0.0.0/16"`, `{"properties":{"addressPrefix":"10.0.0.0/24"}}`), "InvalidRequestFormat", "name"},
		{"two of one name", "virtualNetworks/x", vnet(`"10.0.0.0/16"`, `{"name":"s","properties":{"addressPrefix":"10.0.0.0/24"}},{"name":"S","properties":{"addressPrefix":"10.0.1.0/24"}}`), "InvalidRequestFormat", "more than one child named S"},
		{"a subnet in use left out", "virtualNetworks/vnet", vnet(`"10.0.0.0/16"`, ""), "InUseSubnetCannotBeDeleted", "a-nic"},
		{"two of one priority", "networkSecurityGroups/x", strings.Replace(rule, `"securityRules":[`, `"securityRules":[{"name":"q","properties":{"protocol":"Tcp","access":"Deny","direction":"Inbound","priority":100}},`, 1), "SecurityRuleConflict", "Security rule r conflicts with rule q."},
		{"no configuration", "networkInterfaces/x", nic(""), "InvalidRequestFormat", "IP configurations"},
		{"no subnet", "networkInterfaces/x", nic(`{"name":"c","properties":{}}`), "SubnetRequired", "ipConfigurations/c"},
		{"absent subnet", "networkInterfaces/x", nic(`{"name":"c","properties":{"subnet":{"id":"` + network + `virtualNetworks/vnet/subnets/absent"}}}`), "InvalidResourceReference", "subnets/absent"},
		{"absent network", "networkInterfaces/x", nic(`{"name":"c","properties":{"subnet":{"id":"` + network + `virtualNetworks/absent/subnets/default"}}}`), "InvalidResourceReference", "absent"},
		{"odd subnet", "networkInterfaces/x", nic(`{"name":"c","properties":{"subnet":{"id":"default"}}}`), "LinkedInvalidPropertyId", "'default'"},
		{"absent public address", "networkInterfaces/x", nic(`{"name":"c","properties":{` + subnet + `,"publicIPAddress":{"id":"` + network + `publicIPAddresses/absent"}}}`), "InvalidResourceReference", "publicIPAddresses/absent"},
		{"address outside", "networkInterfaces/x", nic(`{"name":"c","properties":{` + subnet + `,"privateIPAddress":"10.9.9.9"}}`), "PrivateIPAddressNotInSubnet", "10.9.9.9"},
		{"address taken", "networkInterfaces/x", nic(`{"name":"c","properties":{` + subnet + `,"privateIPAddress":"10.0.0.4"}}`), "PrivateIPAddressInUse", "10.0.0.4"},
		{"odd allocation", "publicIPAddresses/x", `{"location":"eastus2","properties":{"publicIPAllocationMethod":"Sometimes"}}`, "InvalidRequestFormat", "Sometimes"},
		{"odd label", "publicIPAddresses/x", `{"location":"eastus2","properties":{"dnsSettings":{"domainNameLabel":"No_Label"}}}`, "InvalidDomainNameLabel", "No_Label"},
		{"odd protocol", "networkSecurityGroups/x", strings.Replace(rule, "Tcp", "Icmp9", 1), "SecurityRuleInvalidProtocol", "Icmp9"},
		{"odd access", "networkSecurityGroups/x", strings.Replace(rule, "Allow", "Perhaps", 1), "SecurityRuleInvalidAccess", "Perhaps"},
		{"odd priority", "networkSecurityGroups/x", strings.Replace(rule, "100", "99", 1), "SecurityRuleInvalidPriority", "99"},
	} {
		wantError(t, c.name, w.put(network+c.id, "2018-08-01", c.body), 400, c.code, c.text, "")
	}
}

func TestDeletionOfWhatIsUsed(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	vm := w.create("a")
	for id, code := range map[string]string{"networkInterfaces/a-nic": "NicInUse", "publicIPAddresses/a-ip": "PublicIPAddressCannotBeDeleted", "virtualNetworks/vnet": "InUseSubnetCannotBeDeleted"} {
		w.delete(network + id)
		w.settle()
		wantError(t, id, w.errs[key(network+id)], 400, code, "", "")
	}
	// All at once, as the deletion of a group: each waits for what uses it.
	for _, id := range []string{network + "virtualNetworks/vnet", network + "publicIPAddresses/a-ip", network + "networkInterfaces/a-nic", vm} {
		w.delete(id, true)
	}
	w.settle()
	for id := range w.resources { // managed disks outlive their VM, as in Azure
		if strings.Contains(id, "/disks/") {
			w.delete("/" + id)
		}
	}
	w.settle()
	if len(w.resources) != 0 {
		t.Errorf("left: %v, %v", w.resources, w.errs)
	}
}
