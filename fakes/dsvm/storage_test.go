package dsvm_test

import (
	"fmt"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

const disks = group + "/providers/Microsoft.Compute/disks/"

func TestDisks(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	vm, _ := s.vm("disk1", "")
	shown := s.must(200, "GET "+vm, "")
	os, _ := at(shown, "properties.storageProfile.osDisk.managedDisk.id").(string)
	data, _ := at(shown, "properties.storageProfile.dataDisks.0.managedDisk.id").(string)
	for id, want := range map[string]map[string]any{
		os:   {"properties.osType": "Linux", "properties.diskSizeGB": 50.0, "sku.name": "Premium_LRS", "managedBy": vm, "properties.diskState": "Attached", "properties.creationData.createOption": "FromImage"},
		data: {"properties.diskSizeGB": 100.0, "properties.creationData.imageReference.lun": 0.0, "managedBy": vm},
	} {
		got := s.must(200, "GET "+id, "")
		for path, value := range want {
			if at(got, path) != value {
				t.Errorf("%s: %s is %v, want %v", id, path, at(got, path), value)
			}
		}
	}
	s.refused("an attached disk", "DELETE "+os, "", 409, "OperationNotAllowed", "is attached to VM")
	s.must(202, "PUT "+disks+"empty", `{"location":"eastus2","properties":{"creationData":{"createOption":"empty"},"diskSizeGB":8}}`)
	s.must(202, "PUT "+disks+"copy", `{"location":"eastus2","sku":{"name":"standardssd_lrs"},"properties":{"creationData":{"createOption":"Copy","sourceResourceId":"`+os+`"}}}`)
	if got := s.must(200, "GET "+disks+"copy", ""); at(got, "properties.diskSizeGB") != 50.0 || at(got, "sku.name") != "StandardSSD_LRS" || at(got, "properties.diskState") != "Unattached" || at(got, "managedBy") != nil {
		t.Errorf("the copy: %v", got)
	}
	s.must(202, "PATCH "+disks+"empty", `{"properties":{"diskSizeGB":16}}`)
	for _, c := range []struct{ name, line, body, code, text string }{
		{"smaller", "PATCH " + disks + "empty", `{"properties":{"diskSizeGB":4}}`, "OperationNotAllowed", "smaller"},
		{"no option", "PUT " + disks + "x", `{"location":"eastus2","properties":{"diskSizeGB":4}}`, "InvalidParameter", "createOption"},
		{"no size", "PUT " + disks + "x", `{"location":"eastus2","properties":{"creationData":{"createOption":"Empty"}}}`, "InvalidParameter", "diskSizeGB"},
		{"too large", "PUT " + disks + "x", `{"location":"eastus2","properties":{"creationData":{"createOption":"Empty"},"diskSizeGB":5000}}`, "InvalidParameter", "between '1' and '4095'"},
		{"odd type", "PUT " + disks + "x", `{"location":"eastus2","sku":{"name":"Paper"},"properties":{"creationData":{"createOption":"Empty"},"diskSizeGB":5}}`, "InvalidParameter", "Paper"},
		{"copy of nothing", "PUT " + disks + "x", `{"location":"eastus2","properties":{"creationData":{"createOption":"Copy","sourceResourceId":"` + disks + `absent"}}}`, "InvalidResourceReference", "absent"},
		{"of a VHD", "PUT " + disks + "x", `{"location":"eastus2","properties":{"creationData":{"createOption":"Import","sourceUri":"https://x/y"}}}`, "OperationNotSupported", "Empty or Copy"},
	} {
		status := 400
		if c.name == "smaller" {
			status = 409
		}
		s.refused(c.name, c.line, c.body, status, c.code, c.text)
	}
	// Attached by an update of the VM, and let go by the next.
	with := func(list string) string {
		return `{"properties":{"storageProfile":{"dataDisks":[` + list + `]}}}`
	}
	own := `{"lun":0,"createOption":"FromImage","name":"` + data[strings.LastIndex(data, "/")+1:] + `"}`
	s.must(200, "PATCH "+vm, with(own+`,{"lun":1,"createOption":"Attach","managedDisk":{"id":"`+disks+`empty"}}`))
	if got := s.must(200, "GET "+disks+"empty", ""); at(got, "managedBy") != vm {
		t.Errorf("attached: %v", got)
	}
	_, line := newRSA(t)
	second := strings.Replace(vmBody("Standard_DS1_v2", s.nets("disk2"), withKey(line)), `"osDisk"`, `"dataDisks":[{"lun":3,"createOption":"Attach","managedDisk":{"id":"`+disks+`empty"}}],"osDisk"`, 1)
	s.refused("somebody's disk", "PUT "+compute+"disk2", second, 409, "ConflictingUserInput", "already owned by VM")
	s.must(200, "PATCH "+vm, with(own))
	s.must(201, "PUT "+compute+"disk2", second)
	for _, c := range []struct{ name, list, code, text string }{
		{"a lun twice", own + `,{"lun":0,"createOption":"Empty","diskSizeGB":1}`, "InvalidParameter", "lun"},
		{"no lun", `{"createOption":"Empty","diskSizeGB":1}`, "InvalidParameter", "lun"},
		{"no size", own + `,{"lun":1,"createOption":"Empty"}`, "InvalidParameter", "diskSizeGB"},
		{"odd option", own + `,{"lun":1,"createOption":"Draw"}`, "InvalidParameter", "Draw"},
		{"absent", own + `,{"lun":1,"createOption":"Attach","managedDisk":{"id":"` + disks + `absent"}}`, "NotFound", "absent"},
		{"too many", own + strings.Repeat(`,{"lun":LUN,"createOption":"Empty","diskSizeGB":1}`, 4), "OperationNotAllowed", "maximum number of data disks allowed to be attached to a VM of this size is 4"},
	} {
		for lun := 1; strings.Contains(c.list, "LUN"); lun++ {
			c.list = strings.Replace(c.list, "LUN", fmt.Sprint(lun), 1)
		}
		status := map[string]int{"NotFound": 404, "OperationNotAllowed": 409}[c.code]
		if status == 0 {
			status = 400
		}
		s.refused(c.name, "PATCH "+vm, with(c.list), status, c.code, c.text)
	}
	// A disk outlives its VM.
	s.must(202, "DELETE "+vm, "")
	if got := s.must(200, "GET "+os, ""); at(got, "managedBy") != nil || at(got, "properties.diskState") != "Unattached" {
		t.Errorf("after its VM: %v", got)
	}
	s.must(202, "DELETE "+os, "")
	s.refused("a deleted disk", "GET "+os, "", 404, "ResourceNotFound", "")
}

func TestImages(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	vm, _ := s.vm("img1", "")
	image := group + "/providers/Microsoft.Compute/images/image1"
	body := `{"location":"eastus2","properties":{"sourceVirtualMachine":{"id":"` + vm + `"}}}`
	s.refused("not generalized", "PUT "+image, body, 409, "OperationNotAllowed", "not generalized")
	s.refused("while it runs", "POST "+vm+"/generalize", "", 409, "OperationNotAllowed", "is running")
	s.must(202, "POST "+vm+"/deallocate", "")
	s.must(200, "POST "+vm+"/generalize", "")
	s.refused("start", "POST "+vm+"/start", "", 409, "OperationNotAllowed", "since the VM is generalized")
	if view := s.must(200, "GET "+vm+"/instanceView", ""); at(view, "statuses.1.code") != "OSState/generalized" {
		t.Errorf("the view: %v", view)
	}
	made := s.must(201, "PUT "+image, body)
	if at(made, "properties.storageProfile.osDisk.osState") != "Generalized" || at(made, "properties.storageProfile.dataDisks.0.lun") != 0.0 {
		t.Errorf("the image: %v", made)
	}
	_, line := newRSA(t)
	from := func(id string) string {
		return strings.Replace(vmBody("Standard_DS1_v2", s.nets("img2"), withKey(line)), `{"publisher":"microsoft-ads","offer":"linux-data-science-vm-ubuntu","sku":"linuxdsvmubuntu","version":"latest"}`, `{"id":"`+id+`"}`, 1)
	}
	second := s.must(201, "PUT "+compute+"img2", from(image))
	if name, _ := at(second, "properties.storageProfile.osDisk.name").(string); !strings.HasPrefix(name, "img2_disk1_") || at(second, "properties.storageProfile.osDisk.diskSizeGB") != 50.0 || at(second, "properties.storageProfile.dataDisks.0.diskSizeGB") != 100.0 {
		t.Errorf("a VM of it: %v", second)
	}
	s.refused("no such image", "PUT "+compute+"img3", from(image+"9"), 404, "NotFound", "cannot be found in 'eastus2' region")
	s.refused("not an image", "PUT "+compute+"img3", from(vm), 400, "LinkedInvalidPropertyId", "imageReference.id")
	odd := strings.Replace(vmBody("Standard_DS1_v2", s.nets("img2"), withKey(line)), "linuxdsvmubuntu", "linuxdsvmubuntu9", 1)
	s.refused("an unknown SKU", "PUT "+compute+"img3", odd, 400, "InvalidParameter", "Publisher: microsoft-ads, Offer: linux-data-science-vm-ubuntu, Sku: linuxdsvmubuntu9, Version: latest.")

	at18 := sub + "/providers/Microsoft.Compute/locations/westus/publishers"
	versions := at18 + "/microsoft-ads/artifacttypes/vmimage/offers/linux-data-science-vm-ubuntu/skus/linuxdsvmubuntu/versions"
	for path, want := range map[string]string{at18: "Canonical", at18 + "/canonical/artifacttypes/vmimage/offers": "UbuntuServer", at18 + "/Canonical/artifacttypes/vmimage/offers/UbuntuServer/skus": "16.04-LTS",
		versions + "?$orderby=name%20desc&$top=1": "18.09.00"} {
		if body := s.raw("GET " + path); !strings.Contains(body, `"name":"`+want+`"`) {
			t.Errorf("%s: %s", path, body)
		}
	}
	if got := s.must(200, "GET "+versions+"/18.09.00", ""); at(got, "properties.plan.name") != "linuxdsvmubuntu" || at(got, "properties.dataDiskImages.0.lun") != 0.0 {
		t.Errorf("a version: %v", got)
	}
	s.refused("no such version", "GET "+versions+"/1.0.0", "", 404, "NotFound", "Artifact: VMImage was not found.")
	terms := sub + "/providers/Microsoft.MarketplaceOrdering/offerTypes/virtualmachine/publishers/microsoft-ads/offers/linux-data-science-vm-ubuntu/plans/linuxdsvmubuntu/agreements/current"
	if got := s.must(200, "GET "+terms, ""); at(got, "properties.accepted") != false {
		t.Errorf("terms: %v", got)
	}
	accepted := s.must(200, "PUT "+terms, `{"properties":{"publisher":"microsoft-ads","product":"linux-data-science-vm-ubuntu","plan":"linuxdsvmubuntu","signature":"SIGNED","accepted":true}}`)
	if got := s.must(200, "GET "+terms, ""); at(accepted, "properties.accepted") != true || at(got, "properties.accepted") != true || at(got, "properties.signature") != "SIGNED" {
		t.Errorf("accepted: %v, then %v", accepted, got)
	}
	s.refused("terms of what has none", "GET "+strings.Replace(terms, "linuxdsvmubuntu/", "free/", 1), "", 400, "BadRequest", "free")
}

func TestAvailabilitySets(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	set := group + "/providers/Microsoft.Compute/availabilitySets/set1"
	if got := s.must(200, "PUT "+set, `{"location":"eastus2"}`); at(got, "properties.platformFaultDomainCount") != 3.0 || at(got, "sku.name") != "Classic" {
		t.Errorf("PUT: %v", got)
	}
	_, line := newRSA(t)
	body := strings.Replace(vmBody("Standard_D1_v2", s.nets("set1"), withKey(line)), `"hardwareProfile"`, `"availabilitySet":{"id":"`+set+`"},"hardwareProfile"`, 1)
	s.must(201, "PUT "+compute+"set1", body)
	if got := s.must(200, "GET "+set, ""); at(got, "properties.virtualMachines.0.id") != compute+"set1" {
		t.Errorf("its members: %v", got)
	}
	s.refused("one in use", "DELETE "+set, "", 409, "OperationNotAllowed", "does not contain any VM")
	s.refused("too many domains", "PUT "+set+"2", `{"location":"eastus2","properties":{"platformUpdateDomainCount":21}}`, 400, "InvalidParameter", "between 1 and 20")
	s.refused("another set", "PUT "+compute+"set1", strings.Replace(body, "set1\"}", "set2\"}", 1), 409, "PropertyChangeNotAllowed", "availabilitySet")
}

// A security group that closes SSH closes it, whether it hangs on the interface or on the subnet.
func TestFirewall(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	_, signer := s.vm("wall1", "")
	endpoint := s.endpoint("wall1")
	open := func() bool {
		c, _, err := dial(endpoint, gossh.PublicKeys(signer))
		if err != nil {
			return false
		}
		defer c.Close()
		return true
	}
	rule := network + "networkSecurityGroups/nsg/securityRules/"
	put := func(name, access, port, source string, priority int) {
		t.Helper()
		status, header, out := s.do("PUT "+rule+name, fmt.Sprintf(`{"properties":{"protocol":"*","sourcePortRange":"*","destinationPortRange":"%s","sourceAddressPrefix":"%s","destinationAddressPrefix":"*","access":"%s","direction":"Inbound","priority":%d}}`, port, source, access, priority))
		if status >= 300 || at(out, "properties.provisioningState") != "Updating" {
			t.Fatalf("%s: %d %v", name, status, out)
		}
		s.follow(header.Get("Azure-Asyncoperation"))
	}
	if !open() {
		t.Fatal("it is closed from the start")
	}
	held, _, err := dial(endpoint, gossh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, c := range []struct {
		name, access, port, source string
		priority                   int
		open                       bool
	}{
		{"other", "Deny", "80", "*", 200, true},
		{"range", "Deny", "20-30", "*", 300, false},
		{"mine", "Allow", "22", "203.0.113.7/32", 250, true},
		{"range", "Allow", "20-30", "*", 300, true},
		{"first", "Deny", "*", "Internet", 100, false},
		{"first", "Deny", "*", "VirtualNetwork", 100, true},
	} {
		put(c.name, c.access, c.port, c.source, c.priority)
		if got := open(); got != c.open {
			t.Errorf("%s %s %s from %s: open %v, want %v", c.name, c.access, c.port, c.source, got, c.open)
		}
	}
	if session, err := held.NewSession(); err != nil {
		t.Errorf("a connection that was there: %v", err)
	} else {
		session.Close()
	}
	if got := s.must(200, "GET "+rule+"mine", ""); at(got, "properties.priority") != 250.0 || at(got, "properties.provisioningState") != "Succeeded" {
		t.Errorf("GET of a rule: %v", got)
	}
	if got := s.must(200, "GET "+strings.TrimSuffix(rule, "/"), ""); at(got, "value.0.name") != "ssh" || at(got, "value.4.name") == nil || at(got, "value.5") != nil {
		t.Errorf("the rules: %v", got)
	}
	s.refused("a rule of the same priority", "PUT "+rule+"twin", `{"properties":{"protocol":"*","access":"Allow","direction":"Inbound","priority":100}}`, 400, "SecurityRuleConflict", "twin")
	s.must(202, "DELETE "+rule+"ssh", "")
	s.must(202, "DELETE "+rule+"range", "")
	s.must(202, "DELETE "+rule+"mine", "")
	if open() {
		t.Error("without a rule the defaults let one in")
	}
	if status, _, _ := s.do("DELETE "+rule+"mine", ""); status != 204 {
		t.Errorf("DELETE of what is gone: %d", status)
	}
	put("ssh", "Allow", "22", "*", 1000)
	// The subnet's group must let it through as well.
	s.must(201, "PUT "+network+"networkSecurityGroups/second", `{"location":"eastus2","properties":{}}`)
	s.must(200, "PUT "+network+"virtualNetworks/vnet/subnets/default", `{"properties":{"addressPrefix":"10.0.0.0/24","networkSecurityGroup":{"id":"`+network+`networkSecurityGroups/second"}}}`)
	if open() {
		t.Error("the subnet's group lets one in")
	}
	got := s.must(200, "GET "+network+"virtualNetworks/vnet/subnets/default", "")
	if at(got, "properties.ipConfigurations.0.id") == nil || at(got, "etag") == nil {
		t.Errorf("GET of a subnet: %v", got)
	}
	s.refused("a subnet in use", "DELETE "+network+"virtualNetworks/vnet/subnets/default", "", 400, "InUseSubnetCannotBeDeleted", "wall1-nic")
	s.refused("a subnet outside", "PUT "+network+"virtualNetworks/vnet/subnets/x", `{"properties":{"addressPrefix":"192.168.0.0/24"}}`, 400, "NetcfgInvalidSubnet", "'x'")
}

// A static address is known before there is a VM, and is the VM's from its first start on.
func TestStaticAddress(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	nic := s.nets("fix1")
	s.must(200, "PUT "+network+"publicIPAddresses/fix1-ip", `{"location":"eastus2","properties":{"publicIPAllocationMethod":"Static"}}`)
	before := s.endpoint("fix1")
	if before == "" {
		t.Fatal("it has no address")
	}
	signer, line := newRSA(t)
	vm := compute + "fix1"
	s.must(201, "PUT "+vm, vmBody("Standard_D1_v2", nic, withKey(line)))
	for _, action := range []string{"", "deallocate", "start", "redeploy"} {
		if action != "" {
			s.must(202, "POST "+vm+"/"+action, "")
		}
		if got := s.endpoint("fix1"); got != before {
			t.Errorf("after %q it is at %s, not %s", action, got, before)
		}
	}
	c, _, err := dial(before, gossh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
