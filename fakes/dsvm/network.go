package dsvm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
)

// networkVersions are those that the provider's description named in autumn 2018; later ones are taken too.
var networkVersions = arm.Versions{From: "2015-05-01-preview", Known: []string{"2018-08-01", "2018-07-01", "2018-06-01", "2018-05-01", "2018-04-01", "2018-03-01",
	"2018-02-01", "2018-01-01", "2017-11-01", "2017-10-01", "2017-09-01", "2017-08-01", "2017-06-01", "2017-04-01", "2017-03-01", "2016-12-01", "2016-11-01",
	"2016-10-01", "2016-09-01", "2016-08-01", "2016-07-01", "2016-06-01", "2016-03-30", "2015-06-15", "2015-05-01-preview"}}

var networkProfiles = map[string]string{"2017-03-09-profile": "2015-06-15", "2018-03-01-hybrid": "2017-10-01"}

// networkApplications act for Microsoft.Network, the first as the network manager.
var networkApplications = []arm.Authorization{{ApplicationID: "2cf9eb86-36b5-49dc-86ae-9a63135dfa8c", RoleDefinitionID: "13ba9ab4-19f0-4804-adc4-14ece36cc7a1"}}

// network declares the Microsoft.Network types that a VM needs, as of 2018-08-01.
func (f *Fake) network() arm.Provider {
	const operations = "{base}/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/operations/{operation}?api-version={version}"
	states := &arm.States{Creating: "Updating", Updating: "Updating", Deleting: "Deleting", Succeeded: "Succeeded", Failed: "Failed", Canceled: "Canceled"}
	write := func(status int) arm.LRO {
		return arm.LRO{Status: status, AsyncOperation: operations, Operation: networkOperation}
	}
	remove := write(http.StatusAccepted)
	remove.NoBody = true
	remove.Location = strings.Replace(operations, "/operations/", "/operationResults/", 1)
	declare := func(name string, tracked bool, admit admission, reconciler arm.Reconciler) arm.Type {
		return arm.Type{
			Name: name, Versions: networkVersions, Tracked: tracked, Profiles: networkProfiles,
			PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: arm.LRO{Status: http.StatusOK}, Delete: remove,
			Admit: admit, Reconciler: reconciler, States: states,
		}
	}
	part := func(name, list string) arm.Type {
		t := declare(name, false, nil, nil)
		t.Part, t.Render, t.Live = list, f.renderPart, true
		return t
	}
	types := []arm.Type{
		declare(typeNetwork, true, f.admitNetwork, networkReconciler{f}),
		part(typeSubnet, "subnets"),
		declare(typeGroup, true, f.admitGroup, networkReconciler{f}),
		part(typeRule, "securityRules"),
		declare(typeNIC, true, f.admitNIC, nicReconciler{f}),
		declare(typePublicIP, true, f.admitPublicIP, publicIPReconciler{f}),
	}
	for i, render := range []func(arm.Call, *arm.Resource) (any, error){f.renderNetwork, nil, f.renderGroup, nil, f.renderNIC, f.renderPublicIP} {
		if render != nil {
			types[i].Render, types[i].Live = render, true
		}
	}
	types[5].Zones = true
	for i, use := range []inUse{f.usedNetwork, f.usedNetwork, f.usedNetwork, nil, f.usedNIC, f.usedPublicIP} {
		if use != nil {
			types[i].AdmitDelete = func(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) error {
				_, err := use(ctx, v, r)
				return err
			}
		}
	}
	return arm.Provider{Namespace: "Microsoft.Network", Registered: true, Types: types, Authorizations: networkApplications,
		Queries: []arm.Query{{Method: http.MethodGet, Pattern: "locations/{location}/usages", Versions: networkVersions, Do: f.listNetworkUsages}}}
}

// inUse says by an error that a resource can't be deleted because of what uses
// it, or that this is going as well and must be waited for.
type inUse = func(ctx context.Context, v arm.View, r *arm.Resource) (wait bool, err error)

type admission = func(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error

func networkOperation(_ arm.Call, op *arm.Operation, _ *arm.Resource) any {
	doc := object{"status": op.Status}
	if op.Error != nil {
		doc["error"] = object{"code": op.Error.Code, "message": op.Error.Message, "details": []any{}}
	}
	return doc
}

// edit decodes properties, lets change fill them, and puts them back.
func edit(next, old *arm.Resource, f *Fake, change func(o, before object) error) error {
	o, err := parse(next.Properties)
	if err != nil {
		return invalid("properties", "The properties are no JSON object.")
	}
	before := object{}
	if old != nil {
		if before, err = parse(old.Properties); err != nil {
			return err
		}
	}
	if old != nil {
		next.Private = old.Private
	}
	delete(o, "provisioningState")
	o["resourceGuid"] = before["resourceGuid"]
	if o["resourceGuid"] == nil {
		o["resourceGuid"] = f.newID()
	}
	if err := change(o, before); err != nil {
		return err
	}
	next.Properties, err = o.encode()
	return err
}

func format(message string, args ...any) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidRequestFormat", Message: fmt.Sprintf(message, args...)}
}

func (f *Fake) admitNetwork(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	return edit(next, old, f, func(o, before object) error {
		var spaces []netip.Prefix
		prefixes, _ := o.child("addressSpace")["addressPrefixes"].([]any)
		for _, p := range prefixes {
			text, _ := p.(string)
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return &arm.Error{Status: 400, Code: "InvalidAddressPrefixFormat", Message: fmt.Sprintf("Address prefix %s of resource %s is not formatted correctly. It should follow CIDR notation, for example 10.0.0.0/24.", text, next.ID)}
			}
			spaces = append(spaces, prefix)
		}
		if len(spaces) == 0 {
			return format("AddressSpace of virtual network %s must have at least one address prefix.", next.ID)
		}
		for _, s := range o.list("subnets") {
			if err := fillSubnet(s, next.ID.String(), spaces); err != nil {
				return err
			}
		}
		if err := unique(o.list("subnets"), next.ID); err != nil {
			return err
		}
		if err := f.admitRemoval(ctx, v, next.ID, before.list("subnets"), o.list("subnets")); err != nil {
			return err
		}
		o.fillAll(map[string]any{"subnets": []any{}, "virtualNetworkPeerings": []any{}, "enableDdosProtection": false, "enableVmProtection": false})
		return nil
	})
}

// fillSubnet checks a subnet that stands inside its network, or nil spaces: by itself.
func fillSubnet(s object, network string, spaces []netip.Prefix) error {
	if s.text("name") == "" {
		return format("Subnet of %s has no name.", network)
	}
	id := network + "/subnets/" + s.text("name")
	s["id"], s["type"] = id, typeSubnet
	p := s.child("properties")
	prefix, err := netip.ParsePrefix(p.text("addressPrefix"))
	if err != nil {
		return &arm.Error{Status: 400, Code: "InvalidAddressPrefixFormat", Message: fmt.Sprintf("Address prefix %s of resource %s is not formatted correctly. It should follow CIDR notation, for example 10.0.0.0/24.", p.text("addressPrefix"), id)}
	}
	inside := len(spaces) == 0
	for _, space := range spaces {
		inside = inside || space.Contains(prefix.Addr()) && space.Bits() <= prefix.Bits()
	}
	if !inside {
		return &arm.Error{Status: 400, Code: "NetcfgInvalidSubnet", Message: fmt.Sprintf("Subnet '%s' is not valid in virtual network '%s'.", s.text("name"), network[strings.LastIndex(network, "/")+1:])}
	}
	p["provisioningState"] = "Succeeded"
	p.fill("delegations", []any{})
	return nil
}

// unique refuses two parts of one name.
func unique(parts []object, parent arm.ID) error {
	seen := map[string]bool{}
	for _, p := range parts {
		name := strings.ToLower(p.text("name"))
		if seen[name] {
			return format("Resource %s has more than one child named %s.", parent, p.text("name"))
		}
		seen[name] = true
	}
	return nil
}

// admitRemoval refuses to leave out a subnet that is in use.
func (f *Fake) admitRemoval(ctx context.Context, v arm.View, network arm.ID, before, after []object) error {
	for _, s := range before {
		gone := !slices.ContainsFunc(after, func(o object) bool { return strings.EqualFold(o.text("name"), s.text("name")) })
		if !gone {
			continue
		}
		id, err := arm.ParseID(network.String() + "/subnets/" + s.text("name"))
		if err != nil {
			return err
		}
		if _, err := f.usedNetwork(ctx, v, &arm.Resource{ID: id}); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) admitGroup(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	return edit(next, old, f, func(o, _ object) error {
		for _, r := range o.list("securityRules") {
			if err := fillRule(r, next.ID.String(), "securityRules"); err != nil {
				return err
			}
		}
		if err := errors.Join(unique(o.list("securityRules"), next.ID), conflicts(o.list("securityRules"))); err != nil {
			return err
		}
		o.fill("securityRules", []any{})
		var rules []any
		for _, d := range defaultRules() {
			if err := fillRule(d, next.ID.String(), "defaultSecurityRules"); err != nil {
				return err
			}
			rules = append(rules, d)
		}
		o["defaultSecurityRules"] = rules
		return nil
	})
}

// defaultRules are those that every network security group begins with.
func defaultRules() []object {
	rule := func(name, description, from, to, access, direction string, priority int) object {
		return object{"name": name, "properties": map[string]any{
			"description": description, "protocol": "*", "sourcePortRange": "*", "destinationPortRange": "*",
			"sourceAddressPrefix": from, "destinationAddressPrefix": to, "access": access, "priority": float64(priority), "direction": direction,
		}}
	}
	return []object{
		rule("AllowVnetInBound", "Allow inbound traffic from all VMs in VNET", "VirtualNetwork", "VirtualNetwork", "Allow", "Inbound", 65000),
		rule("AllowAzureLoadBalancerInBound", "Allow inbound traffic from azure load balancer", "AzureLoadBalancer", "*", "Allow", "Inbound", 65001),
		rule("DenyAllInBound", "Deny all inbound traffic", "*", "*", "Deny", "Inbound", 65500),
		rule("AllowVnetOutBound", "Allow outbound traffic from all VMs to all VMs in VNET", "VirtualNetwork", "VirtualNetwork", "Allow", "Outbound", 65000),
		rule("AllowInternetOutBound", "Allow outbound traffic from all VMs to Internet", "*", "Internet", "Allow", "Outbound", 65001),
		rule("DenyAllOutBound", "Deny all outbound traffic", "*", "*", "Deny", "Outbound", 65500),
	}
}

func fillRule(r object, group, kind string) error {
	if r.text("name") == "" {
		return format("Security rule of %s has no name.", group)
	}
	id := group + "/" + kind + "/" + r.text("name")
	r["id"], r["type"] = id, typeGroup+"/"+kind
	p := r.child("properties")
	word := func(name string, allowed ...string) error {
		for _, a := range allowed {
			if strings.EqualFold(p.text(name), a) {
				p[name] = a
				return nil
			}
		}
		return &arm.Error{Status: 400, Code: "SecurityRuleInvalid" + strings.ToUpper(name[:1]) + name[1:], Message: fmt.Sprintf("Security rule has invalid %s. Value provided: %s Allowed values: %s.", name, p.text(name), strings.Join(allowed, ","))}
	}
	for _, err := range []error{word("protocol", "Tcp", "Udp", "*"), word("access", "Allow", "Deny"), word("direction", "Inbound", "Outbound")} {
		if err != nil {
			return err
		}
	}
	priority, _ := p["priority"].(float64)
	if kind == "securityRules" && (priority < 100 || priority > 4096) {
		return &arm.Error{Status: 400, Code: "SecurityRuleInvalidPriority", Message: fmt.Sprintf("Security rule has invalid Priority. Value provided: %v Allowed range 100-4096.", p["priority"])}
	}
	for _, side := range []string{"source", "destination"} {
		p.fill(side+"PortRanges", []any{})
		p.fill(side+"AddressPrefixes", []any{})
	}
	p["provisioningState"] = "Succeeded"
	return nil
}

// conflicts refuses two rules of one direction and priority.
func conflicts(rules []object) error {
	seen := map[string]string{}
	for _, r := range rules {
		p := r.child("properties")
		place := fmt.Sprint(p.text("direction"), p["priority"])
		if other, taken := seen[place]; taken {
			return &arm.Error{Status: 400, Code: "SecurityRuleConflict", Message: fmt.Sprintf("Security rule %s conflicts with rule %s. Rules cannot have the same Priority and Direction. To learn more, see aka.ms/nsgrules.", r.text("name"), other)}
		}
		seen[place] = r.text("name")
	}
	return nil
}

// deletion goes on once nothing is to be waited for.
func deletion(wait bool, err error) (arm.Result, error) {
	if wait && err == nil {
		return arm.Result{RequeueAfter: deletionWait}, nil
	}
	return arm.Result{Done: err == nil}, err
}

// networkReconciler has virtual networks and security groups take effect on the VMs.
type networkReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f networkReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if r.Deleting {
		return deletion(f.usedNetwork(ctx, v, r))
	}
	err := f.refreshFirewalls(ctx, v, r.ID)
	return arm.Result{Done: err == nil}, err
}
