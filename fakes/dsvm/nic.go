package dsvm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
)

// nicProperties are those of networkInterfaces (2018-08-01) that mean something here.
type nicProperties struct {
	NetworkSecurityGroup *reference `json:"networkSecurityGroup"`
	IPConfigurations     []struct {
		Name       string `json:"name"`
		Properties struct {
			PrivateIPAddress string     `json:"privateIPAddress"`
			PublicIPAddress  *reference `json:"publicIPAddress"`
			Subnet           *reference `json:"subnet"`
		} `json:"properties"`
	} `json:"ipConfigurations"`
	VirtualMachine *reference `json:"virtualMachine"`
}

func (f *Fake) admitNIC(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	var w nicProperties
	if err := read(next.Properties, &w); err != nil {
		return err
	}
	if len(w.IPConfigurations) == 0 {
		return format("Network interface %s must have one or more IP configurations.", next.ID)
	}
	if g := w.NetworkSecurityGroup; g != nil {
		if err := exists(ctx, v, next.ID, "properties.networkSecurityGroup.id", g.ID, typeGroup); err != nil {
			return err
		}
	}
	return edit(next, old, f, func(o, before object) error {
		configs := o.list("ipConfigurations")
		if len(configs) != len(w.IPConfigurations) {
			return format("IP configurations of %s must be objects.", next.ID)
		}
		for i, c := range w.IPConfigurations {
			if c.Name == "" {
				return format("IP configuration of %s has no name.", next.ID)
			}
			if p := c.Properties.PublicIPAddress; p != nil {
				if err := exists(ctx, v, next.ID, fmt.Sprintf("properties.ipConfigurations[%d].properties.publicIPAddress.id", i), p.ID, typePublicIP); err != nil {
					return err
				}
			}
			if c.Properties.Subnet == nil {
				return &arm.Error{Status: 400, Code: "SubnetRequired", Message: fmt.Sprintf("Subnet reference is required for ipconfiguration %s/ipConfigurations/%s.", next.ID, c.Name)}
			}
			address, err := f.privateAddress(ctx, v, next, c.Properties.Subnet.ID, c.Properties.PrivateIPAddress, before)
			if err != nil {
				return err
			}
			configs[i]["id"], configs[i]["type"] = next.ID.String()+"/ipConfigurations/"+c.Name, typeNIC+"/ipConfigurations"
			p := configs[i].child("properties")
			p["provisioningState"] = "Succeeded"
			p["privateIPAddress"] = address
			p.fillAll(map[string]any{"privateIPAllocationMethod": "Dynamic", "privateIPAddressVersion": "IPv4", "primary": i == 0})
		}
		o["virtualMachine"] = before["virtualMachine"]
		if o["virtualMachine"] == nil {
			delete(o, "virtualMachine")
		}
		dns := o.child("dnsSettings")
		dns.fillAll(map[string]any{"dnsServers": []any{}, "appliedDnsServers": []any{}})
		if dns["internalDomainNameSuffix"] = before.child("dnsSettings")["internalDomainNameSuffix"]; dns["internalDomainNameSuffix"] == nil {
			dns["internalDomainNameSuffix"] = f.hex(26) + ".dx.internal.cloudapp.net"
		}
		o["macAddress"] = before["macAddress"]
		if o["macAddress"] == nil {
			digits := strings.ToUpper(f.hex(6))
			o["macAddress"] = "00-0D-3A-" + digits[:2] + "-" + digits[2:4] + "-" + digits[4:]
		}
		o.fillAll(map[string]any{"enableAcceleratedNetworking": false, "enableIPForwarding": false})
		return nil
	})
}

func exists(ctx context.Context, v arm.View, by arm.ID, path, id, kind string) error {
	if !isType(id, kind) {
		return badReference(path, id)
	}
	parsed, err := arm.ParseID(id)
	if err != nil {
		return badReference(path, id)
	}
	if _, err := v.Get(ctx, parsed); isNotFound(err) {
		return absentReference(id, by)
	} else if err != nil {
		return err
	}
	return nil
}

// privateAddress is the one that is asked for, had before, or the subnet's next free.
func (f *Fake) privateAddress(ctx context.Context, v arm.View, next *arm.Resource, subnet, asked string, before object) (string, error) {
	prefix, err := f.subnetPrefix(ctx, v, next.ID, subnet)
	if err != nil {
		return "", err
	}
	taken, err := f.takenAddresses(ctx, v, next.ID, subnet)
	if err != nil {
		return "", err
	}
	if asked == "" {
		for _, c := range before.list("ipConfigurations") {
			if p := c.child("properties"); same(p.child("subnet").text("id"), subnet) && !slices.Contains(taken, p.text("privateIPAddress")) {
				return p.text("privateIPAddress"), nil
			}
		}
		address := prefix.Masked().Addr()
		for range 4 { // the first are Azure's own
			address = address.Next()
		}
		for ; prefix.Contains(address); address = address.Next() {
			if !slices.Contains(taken, address.String()) {
				return address.String(), nil
			}
		}
		return "", &arm.Error{Status: 400, Code: "SubnetIsFull", Message: fmt.Sprintf("Subnet %s with address prefix %s does not have enough capacity for 1 IP addresses.", subnet, prefix)}
	}
	address, err := netip.ParseAddr(asked)
	switch {
	case err != nil || !prefix.Contains(address):
		return "", &arm.Error{Status: 400, Code: "PrivateIPAddressNotInSubnet", Message: fmt.Sprintf("Private static IP address %s does not belong to the range of subnet prefix %s.", asked, prefix)}
	case slices.Contains(taken, asked):
		return "", &arm.Error{Status: 400, Code: "PrivateIPAddressInUse", Message: fmt.Sprintf("IP configuration %s is using the private IP address %s which is already allocated to another resource.", next.ID, asked)}
	}
	return asked, nil
}

// subnetPrefix looks a subnet up in its network, where every subnet is shown.
func (f *Fake) subnetPrefix(ctx context.Context, v arm.View, by arm.ID, subnet string) (netip.Prefix, error) {
	if !isType(subnet, typeSubnet) {
		return netip.Prefix{}, badReference("properties.ipConfigurations[0].properties.subnet.id", subnet)
	}
	id, err := arm.ParseID(subnet)
	if err != nil {
		return netip.Prefix{}, badReference("properties.ipConfigurations[0].properties.subnet.id", subnet)
	}
	parent, err := parentOf(id)
	if err != nil {
		return netip.Prefix{}, err
	}
	network, err := v.Get(ctx, parent)
	if isNotFound(err) {
		return netip.Prefix{}, absentReference(subnet, by)
	} else if err != nil {
		return netip.Prefix{}, err
	}
	o, err := parse(network.Properties)
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, s := range o.list("subnets") {
		if strings.EqualFold(s.text("name"), nameOf(id)) {
			return netip.ParsePrefix(s.child("properties").text("addressPrefix"))
		}
	}
	// It may be a resource of its own that its network has not been told of yet.
	own, err := v.Get(ctx, id)
	if isNotFound(err) {
		return netip.Prefix{}, absentReference(subnet, by)
	} else if err != nil {
		return netip.Prefix{}, err
	}
	o, err = parse(own.Properties)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.ParsePrefix(o.text("addressPrefix"))
}

func (f *Fake) takenAddresses(ctx context.Context, v arm.View, except arm.ID, subnet string) ([]string, error) {
	nics, err := f.nics(ctx, v, except)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, nic := range nics {
		if same(nic.ID.String(), except.String()) {
			continue
		}
		for _, c := range nic.w.IPConfigurations {
			if c.Properties.Subnet != nil && same(c.Properties.Subnet.ID, subnet) {
				out = append(out, c.Properties.PrivateIPAddress)
			}
		}
	}
	return out, nil
}

type nic struct {
	*arm.Resource
	w nicProperties
}

// nics lists those of the subscription that an id is in.
func (f *Fake) nics(ctx context.Context, v arm.View, of arm.ID) ([]nic, error) {
	sub, err := subscriptionID(of)
	if err != nil {
		return nil, err
	}
	all, err := v.List(ctx, sub, typeNIC)
	if err != nil {
		return nil, err
	}
	out := make([]nic, 0, len(all))
	for _, r := range all {
		n := nic{Resource: r}
		if err := json.Unmarshal(r.Properties, &n.w); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// nicReconciler shows which VM has the interface, and wakes its public addresses.
type nicReconciler struct{ *Fake }

// How long the deletion of something waits for that of its user.
const deletionWait = time.Second

// Reconcile implements arm.Reconciler.
func (f nicReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if r.Deleting {
		if result, err := deletion(f.usedNIC(ctx, v, r)); err != nil || !result.Done {
			return result, err
		}
	}
	vm, err := f.vmOf(ctx, v, r.ID)
	if err != nil {
		return arm.Result{}, err
	}
	o, err := parse(r.Properties)
	if err != nil {
		return arm.Result{}, err
	}
	delete(o, "virtualMachine")
	delete(o, "primary")
	if vm != nil {
		o["virtualMachine"] = object{"id": vm.ID.String()}
		o["primary"] = true
	}
	if r.Properties, err = o.encode(); err != nil {
		return arm.Result{}, err
	}
	if err := f.refreshFirewalls(ctx, v, r.ID); err != nil {
		return arm.Result{}, err
	}
	return arm.Result{Done: true}, wakePublic(v, r)
}

// wakePublic wakes the public addresses that an interface has and those that it had.
func wakePublic(v arm.View, r *arm.Resource) error {
	var w nicProperties
	if err := json.Unmarshal(r.Properties, &w); err != nil {
		return err
	}
	var had, has []string
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &had); err != nil {
			return err
		}
	}
	for _, c := range w.IPConfigurations {
		if p := c.Properties.PublicIPAddress; p != nil {
			has = append(has, p.ID)
		}
	}
	for _, s := range append(had, has...) {
		id, err := arm.ParseID(s)
		if err != nil {
			return err
		}
		v.Enqueue(id)
	}
	var err error
	r.Private, err = json.Marshal(has)
	return err
}

// usedNIC is what uses a network interface.
func (f *Fake) usedNIC(ctx context.Context, v arm.View, r *arm.Resource) (wait bool, err error) {
	vm, err := f.vmOf(ctx, v, r.ID)
	if err != nil || vm == nil {
		return false, err
	}
	if vm.Deleting {
		return true, nil
	}
	return false, nicInUse(r.ID, vm.ID)
}

func nicInUse(nic, vm arm.ID) *arm.Error {
	return &arm.Error{Status: 400, Code: "NicInUse", Message: fmt.Sprintf("Network Interface %s is used by existing resource %s. In order to delete the network interface, it must be dissociated from the resource. To learn more, see aka.ms/deletenic.", nic, vm)}
}

// usedNetwork is what uses a network, a subnet, or a security group.
func (f *Fake) usedNetwork(ctx context.Context, v arm.View, r *arm.Resource) (wait bool, err error) {
	nics, err := f.nics(ctx, v, r.ID)
	if err != nil {
		return false, err
	}
	id := strings.ToLower(r.ID.String())
	for _, n := range nics {
		uses := n.w.NetworkSecurityGroup != nil && same(n.w.NetworkSecurityGroup.ID, id)
		for _, c := range n.w.IPConfigurations {
			if s := c.Properties.Subnet; s != nil {
				uses = uses || same(s.ID, id) || strings.HasPrefix(strings.ToLower(s.ID), id+"/")
			}
		}
		switch {
		case !uses:
		case n.Deleting:
			wait = true
		case isType(id, typeGroup):
			return false, &arm.Error{Status: 400, Code: "InUseNetworkSecurityGroupCannotBeDeleted", Message: fmt.Sprintf("Network security group %s cannot be deleted because it is in use by the following resources: %s.", r.ID, n.ID)}
		default:
			return false, &arm.Error{Status: 400, Code: "InUseSubnetCannotBeDeleted", Message: fmt.Sprintf("Subnet of %s is in use by %s and cannot be deleted. In order to delete the subnet, delete all the resources within the subnet.", r.ID, n.ID)}
		}
	}
	return wait, nil
}
