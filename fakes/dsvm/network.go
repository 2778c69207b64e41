package dsvm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
)

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
			Name: name, Versions: arm.Versions{From: "2015-06-15"}, Tracked: tracked,
			PutNew: write(http.StatusCreated), PutOld: write(http.StatusOK), Patch: arm.LRO{Status: http.StatusOK}, Delete: remove,
			Admit: admit, Reconciler: reconciler, States: states,
		}
	}
	types := []arm.Type{
		declare(typeNetwork, true, f.admitNetwork, partsReconciler{f, "subnets", typeSubnet}),
		declare(typeSubnet, false, f.admitSubnet, partReconciler{f}),
		declare(typeGroup, true, f.admitGroup, partsReconciler{f, "securityRules", typeRule}),
		declare(typeRule, false, f.admitRule, partReconciler{f}),
		declare(typeNIC, true, f.admitNIC, nicReconciler{f}),
		declare(typePublicIP, true, f.admitPublicIP, publicIPReconciler{f}),
	}
	types[5].Render = f.renderPublicIP
	for i, use := range []usage{f.usedNetwork, f.usedNetwork, f.usedNetwork, nil, f.usedNIC, f.usedPublicIP} {
		if use != nil {
			types[i].AdmitDelete = func(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) error {
				_, err := use(ctx, v, r)
				return err
			}
		}
	}
	return arm.Provider{Namespace: "Microsoft.Network", Registered: true, Types: types}
}

// usage says by an error that a resource can't be deleted because of what uses
// it, or that this is going as well and must be waited for.
type usage = func(ctx context.Context, v arm.View, r *arm.Resource) (wait bool, err error)

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

func (f *Fake) admitNetwork(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	return edit(next, old, f, func(o, _ object) error {
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

func (f *Fake) admitSubnet(ctx context.Context, v arm.View, _ arm.Call, _, next *arm.Resource) error {
	parent, err := parentOf(next.ID)
	if err != nil {
		return err
	}
	network, err := v.Get(ctx, parent)
	if err != nil {
		return err
	}
	var w struct {
		AddressSpace struct {
			AddressPrefixes []netip.Prefix `json:"addressPrefixes"`
		} `json:"addressSpace"`
	}
	if err := read(network.Properties, &w); err != nil {
		return err
	}
	return admitPart(next, func(whole object) error {
		return fillSubnet(whole, parent.String(), w.AddressSpace.AddressPrefixes)
	})
}

func (f *Fake) admitRule(_ context.Context, _ arm.View, _ arm.Call, _, next *arm.Resource) error {
	parent, err := parentOf(next.ID)
	if err != nil {
		return err
	}
	return admitPart(next, func(whole object) error { return fillRule(whole, parent.String(), "securityRules") })
}

func admitPart(next *arm.Resource, fill func(whole object) error) error {
	o, err := parse(next.Properties)
	if err != nil {
		return invalid("properties", "The properties are no JSON object.")
	}
	whole := object{"name": nameOf(next.ID), "properties": map[string]any(o)}
	if err := fill(whole); err != nil {
		return err
	}
	next.Properties, err = whole.child("properties").encode()
	return err
}

func (f *Fake) admitGroup(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	return edit(next, old, f, func(o, _ object) error {
		for _, r := range o.list("securityRules") {
			if err := fillRule(r, next.ID.String(), "securityRules"); err != nil {
				return err
			}
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

// deletion goes on once nothing is to be waited for.
func deletion(wait bool, err error) (arm.Result, error) {
	if wait && err == nil {
		return arm.Result{RequeueAfter: deletionWait}, nil
	}
	return arm.Result{Done: err == nil}, err
}

// partsReconciler keeps a parent's list of parts together with those that are
// resources of their own, and refuses to delete what a network interface uses.
type partsReconciler struct {
	*Fake
	list, kind string
}

// Reconcile implements arm.Reconciler.
func (f partsReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if r.Deleting {
		return deletion(f.usedNetwork(ctx, v, r))
	}
	parts, err := v.List(ctx, r.ID, f.kind)
	if err != nil {
		return arm.Result{}, err
	}
	o, err := parse(r.Properties)
	if err != nil {
		return arm.Result{}, err
	}
	own, names := map[string]*arm.Resource{}, []string{}
	for _, p := range parts {
		own[strings.ToLower(nameOf(p.ID))] = p
		names = append(names, strings.ToLower(nameOf(p.ID)))
	}
	var had []string // that were resources, so that one which is gone goes from the list as well
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &had); err != nil {
			return arm.Result{}, err
		}
	}
	merged := []any{}
	put := func(p *arm.Resource) {
		if !p.Deleting {
			merged = append(merged, object{"name": nameOf(p.ID), "id": p.ID.String(), "type": f.kind, "properties": json.RawMessage(p.Properties)})
		}
	}
	for _, inline := range o.list(f.list) {
		name := strings.ToLower(inline.text("name"))
		if p := own[name]; p != nil {
			put(p)
			delete(own, name)
			continue
		}
		if slices.Contains(had, name) {
			continue
		}
		merged = append(merged, inline)
	}
	for _, p := range parts {
		if own[strings.ToLower(nameOf(p.ID))] != nil {
			put(p)
		}
	}
	o[f.list] = merged
	if r.Properties, err = o.encode(); err != nil {
		return arm.Result{}, err
	}
	r.Private, err = json.Marshal(names)
	return arm.Result{Done: true}, err
}

// partReconciler tells the parent, and refuses to delete a subnet in use.
type partReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f partReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if r.Deleting {
		if result, err := deletion(f.usedNetwork(ctx, v, r)); err != nil || !result.Done {
			return result, err
		}
	}
	parent, err := parentOf(r.ID)
	if err != nil {
		return arm.Result{}, err
	}
	v.Enqueue(parent)
	return arm.Result{Done: true}, nil
}
