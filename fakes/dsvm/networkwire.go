package dsvm

import (
	"context"
	"encoding/json"
	"strings"

	"lazulite.dev/emulator/arm"
)

// The wire forms of Microsoft.Network: what a resource says of others is looked
// up when it is shown, and each part has the etag of the whole.

// whole is the properties as they are shown, and the envelope's function over them.
func whole(r *arm.Resource) (object, error) {
	o, err := parse(r.Properties)
	if err == nil && r.State != "" {
		o["provisioningState"] = r.State
	}
	return o, err
}

// weak is an etag as Microsoft.Network writes it into bodies.
func weak(r *arm.Resource) string { return "W/" + `"` + strings.Trim(r.ETag, `"`) + `"` }

// stampParts gives the parts in a list the etag of the whole.
func stampParts(o object, r *arm.Resource, lists ...string) {
	for _, name := range lists {
		for _, part := range o.list(name) {
			part["etag"] = weak(r)
		}
	}
}

func (f *Fake) renderNetwork(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	stampParts(o, r, "subnets")
	for _, s := range o.list("subnets") {
		users, err := f.subnetUsers(c.View, s.text("id"))
		if err != nil {
			return nil, err
		}
		if len(users) > 0 {
			s.child("properties")["ipConfigurations"] = users
		}
	}
	return envelope(r, typeNetwork, o, r.Tags), nil
}

// subnetUsers are the ids of the configurations that have an address of a subnet.
func (f *Fake) subnetUsers(v arm.View, subnet string) ([]object, error) {
	nics, err := f.nicsAround(v, subnet)
	if err != nil {
		return nil, err
	}
	var out []object
	for _, n := range nics {
		for _, c := range n.w.IPConfigurations {
			if c.Properties.Subnet != nil && same(c.Properties.Subnet.ID, subnet) {
				out = append(out, object{"id": n.ID.String() + "/ipConfigurations/" + c.Name})
			}
		}
	}
	return out, nil
}

// nicsAround are the interfaces of the subscription that an id is in.
func (f *Fake) nicsAround(v arm.View, id string) ([]nic, error) {
	parsed, err := arm.ParseID(id)
	if err != nil || v == nil {
		return nil, err
	}
	return f.nics(context.Background(), v, parsed)
}

func (f *Fake) renderGroup(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	stampParts(o, r, "securityRules", "defaultSecurityRules")
	nics, err := f.nicsAround(c.View, r.ID.String())
	if err != nil {
		return nil, err
	}
	var users []object
	for _, n := range nics {
		if g := n.w.NetworkSecurityGroup; g != nil && same(g.ID, r.ID.String()) {
			users = append(users, object{"id": n.ID.String()})
		}
	}
	if users != nil {
		o["networkInterfaces"] = users
	}
	return envelope(r, typeGroup, o, r.Tags), nil
}

// renderPart is a subnet or a rule by itself.
func (f *Fake) renderPart(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	kind := typeRule
	if isType(r.ID.String(), typeSubnet) {
		kind = typeSubnet
		users, err := f.subnetUsers(c.View, r.ID.String())
		if err != nil {
			return nil, err
		}
		if len(users) > 0 {
			o["ipConfigurations"] = users
		}
	}
	return envelope(r, kind, o, nil), nil
}

func (f *Fake) renderNIC(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	stampParts(o, r, "ipConfigurations")
	for _, config := range o.list("ipConfigurations") {
		p := config.child("properties")
		if arm.CompareVersions(c.Version, "2018-01-01") >= 0 && arm.CompareVersions(c.Version, "2018-11-01") <= 0 {
			p["isInUseWithService"] = false
		}
	}
	if arm.CompareVersions(c.Version, "2018-08-01") >= 0 {
		o.fillAll(map[string]any{"hostedWorkloads": []any{}, "tapConfigurations": []any{}})
	}
	return envelope(r, typeNIC, o, r.Tags), nil
}

func (f *Fake) renderPublicIP(_ arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	var p publicIPPrivate
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &p); err != nil {
			return nil, err
		}
	}
	return envelope(r, typePublicIP, o, portTag(r.Tags, p.Port)), nil
}
