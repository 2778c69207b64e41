package dsvm

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
)

// sshPort is where SSH is as security rules have it, wherever the machine really listens.
const sshPort = 22

// firewall is what the security groups make of connections to a machine's SSH.
// A connection passes if it passes all gates of one of the interfaces; without
// interfaces in the account everything passes.
type firewall struct {
	Interfaces [][]gate
}

// gate is a security group's inbound rules about SSH, the first that matches decides. Without any nothing passes.
type gate []gateRule

type gateRule struct {
	Allow bool
	// Sources are the address prefixes; "*" is every address.
	Sources []string
	// Ports are the source's port ranges; none is every port.
	Ports []string `json:",omitempty"`
}

// passes says whether a client may connect.
func (w firewall) passes(from net.Addr) bool {
	if len(w.Interfaces) == 0 {
		return true
	}
	client, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return false
	}
	return slices.ContainsFunc(w.Interfaces, func(gates []gate) bool {
		for _, g := range gates {
			if !g.passes(client) {
				return false
			}
		}
		return true
	})
}

func (g gate) passes(client netip.AddrPort) bool {
	for _, r := range g {
		if r.matches(client) {
			return r.Allow
		}
	}
	return false
}

func (r gateRule) matches(client netip.AddrPort) bool {
	if len(r.Ports) > 0 && !inRanges(r.Ports, int(client.Port())) {
		return false
	}
	address := client.Addr().Unmap()
	return slices.ContainsFunc(r.Sources, func(prefix string) bool {
		if prefix == "*" {
			return true
		}
		p, err := netip.ParsePrefix(prefix)
		if one, failed := netip.ParseAddr(prefix); failed == nil {
			p, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		switch {
		case err != nil:
			return false // a service's tag: nobody here
		case p.Contains(address):
			return true
		}
		// Over loopback a client's public address can't be told: it stands for whichever one a rule lets in.
		return r.Allow && address.IsLoopback()
	})
}

// inRanges looks a port up in what Azure calls port ranges: "*", "22", "20-30".
func inRanges(ranges []string, port int) bool {
	return slices.ContainsFunc(ranges, func(s string) bool {
		if s == "*" {
			return true
		}
		from, to, isRange := strings.Cut(s, "-")
		if !isRange {
			to = from
		}
		low, err := strconv.Atoi(strings.TrimSpace(from))
		if err != nil {
			return false
		}
		high, err := strconv.Atoi(strings.TrimSpace(to))
		return err == nil && low <= port && port <= high
	})
}

// rules are what a security group says of SSH, own rules and defaults in order of priority.
func rules(group *arm.Resource) (gate, error) {
	o, err := parse(group.Properties)
	if err != nil {
		return nil, err
	}
	type placed struct {
		priority float64
		rule     gateRule
	}
	var all []placed
	for _, r := range append(o.list("securityRules"), o.list("defaultSecurityRules")...) {
		p := r.child("properties")
		priority, _ := p["priority"].(float64)
		protocol := p.text("protocol")
		if !strings.EqualFold(p.text("direction"), "Inbound") || protocol != "*" && !strings.EqualFold(protocol, "Tcp") || !inRanges(p.either("destinationPortRange"), sshPort) {
			continue
		}
		rule := gateRule{Allow: strings.EqualFold(p.text("access"), "Allow")}
		for _, s := range p.either("sourceAddressPrefix") {
			switch strings.ToLower(s) {
			case "*", "internet", "any", "0.0.0.0/0", "::/0":
				s = "*"
			}
			rule.Sources = append(rule.Sources, s)
		}
		if ports := p.either("sourcePortRange"); !slices.Contains(ports, "*") {
			rule.Ports = ports
		}
		all = append(all, placed{priority, rule})
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.priority, b.priority) })
	out := gate{}
	for _, p := range all {
		out = append(out, p.rule)
	}
	return out, nil
}

// either is what a rule says by a member, or by the list of that name's plural.
func (o object) either(name string) []string {
	var out []string
	if s := o.text(name); s != "" {
		out = append(out, s)
	}
	plural := name + "s"
	if strings.HasSuffix(name, "x") {
		plural = name + "es"
	}
	all, _ := o[plural].([]any)
	for _, e := range all {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// firewallOf reads a VM's groups: the subnet's and the interface's own, for each interface.
func (f *Fake) firewallOf(ctx context.Context, v arm.View, p private) (firewall, error) {
	var w firewall
	for _, s := range p.NICs {
		var n nicProperties
		if ok, err := f.properties(ctx, v, s, &n); err != nil {
			return w, err
		} else if !ok {
			continue
		}
		gates := []gate{}
		add := func(ref *reference) error {
			if ref == nil || ref.ID == "" {
				return nil
			}
			id, err := arm.ParseID(ref.ID)
			if err != nil {
				return err
			}
			group, err := v.Get(ctx, id)
			if isNotFound(err) {
				return nil
			} else if err != nil {
				return err
			}
			g, err := rules(group)
			gates = append(gates, g)
			return err
		}
		for _, c := range n.IPConfigurations {
			var subnet struct {
				NetworkSecurityGroup *reference `json:"networkSecurityGroup"`
			}
			if c.Properties.Subnet != nil {
				if _, err := f.properties(ctx, v, c.Properties.Subnet.ID, &subnet); err != nil {
					return w, err
				}
			}
			if err := add(subnet.NetworkSecurityGroup); err != nil {
				return w, err
			}
		}
		if err := add(n.NetworkSecurityGroup); err != nil {
			return w, err
		}
		closed, err := f.standardAddress(ctx, v, n)
		if err != nil {
			return w, err
		}
		if closed && len(gates) == 0 {
			gates = append(gates, gate{}) // a Standard address lets nothing in without a group
		}
		w.Interfaces = append(w.Interfaces, gates)
	}
	return w, nil
}

// standardAddress says whether an interface has a public address of SKU Standard.
func (f *Fake) standardAddress(ctx context.Context, v arm.View, n nicProperties) (bool, error) {
	for _, c := range n.IPConfigurations {
		if c.Properties.PublicIPAddress == nil {
			continue
		}
		id, err := arm.ParseID(c.Properties.PublicIPAddress.ID)
		if err != nil {
			return false, err
		}
		a, err := v.Get(ctx, id)
		if isNotFound(err) {
			continue
		} else if err != nil {
			return false, err
		}
		sku, err := parse(a.SKU)
		if err != nil {
			return false, err
		}
		if strings.EqualFold(sku.text("name"), "Standard") {
			return true, nil
		}
	}
	return false, nil
}

// properties decodes those of another resource; false if there is none.
func (f *Fake) properties(ctx context.Context, v arm.View, id string, into any) (bool, error) {
	parsed, err := arm.ParseID(id)
	if err != nil {
		return false, err
	}
	r, err := v.Get(ctx, parsed)
	if isNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, read(r.Properties, into)
}

// refreshFirewalls makes a change of the network true for the VMs of its
// subscription that are there; those to come read it when they start.
func (f *Fake) refreshFirewalls(ctx context.Context, v arm.View, of arm.ID) error {
	sub, err := subscriptionID(of)
	if err != nil {
		return err
	}
	vms, err := v.List(ctx, sub, typeVM)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		p, err := privateOf(vm)
		if err != nil {
			return err
		}
		if !p.Created || p.Gone {
			continue
		}
		if err := f.refreshFirewall(ctx, v, p); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) refreshFirewall(ctx context.Context, v arm.View, p private) error {
	w, err := f.firewallOf(ctx, v, p)
	if err != nil {
		return err
	}
	f.mu.Lock()
	m := f.machines[p.ID]
	f.mu.Unlock()
	// A machine that has no VM yet, or no longer, has no firewall either.
	if m == nil || m.snapshot().VM == "" || equalJSON(m.snapshot().Firewall, w) {
		return nil
	}
	return m.save(func(file *machineFile) { file.Firewall = w })
}
