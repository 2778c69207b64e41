package dsvm

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// publicIPPrivate is what is kept of a public address out of sight.
type publicIPPrivate struct{ Port int }

func labelRule() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`) }

func (f *Fake) admitPublicIP(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	delete(next.Tags, PortTag)
	if len(next.SKU) == 0 || string(next.SKU) == "null" {
		next.SKU = json.RawMessage(`{"name":"Basic","tier":"Regional"}`)
	}
	return edit(next, old, f, func(o, before object) error {
		for name, allowed := range map[string][2]string{"publicIPAllocationMethod": {"Dynamic", "Static"}, "publicIPAddressVersion": {"IPv4", "IPv6"}} {
			o.fill(name, allowed[0])
			if v := o.text(name); v != allowed[0] && v != allowed[1] {
				return format("Invalid value %q of %s. Allowed values: %s, %s.", fmt.Sprint(o[name]), name, allowed[0], allowed[1])
			}
		}
		if label := o.child("dnsSettings").text("domainNameLabel"); label != "" {
			if !labelRule().MatchString(label) {
				return &arm.Error{Status: 400, Code: "InvalidDomainNameLabel", Message: fmt.Sprintf("The domain name label %s is invalid. It must conform to the following regular expression: ^[a-z][a-z0-9-]{1,61}[a-z0-9]$.", label)}
			}
			o.child("dnsSettings")["fqdn"] = label + "." + hardware.Location(next.Location) + ".cloudapp.azure.com"
		} else {
			delete(o, "dnsSettings")
		}
		o.fillAll(map[string]any{"idleTimeoutInMinutes": 4, "ipTags": []any{}})
		for _, name := range []string{"ipAddress", "ipConfiguration"} {
			delete(o, name)
			if before[name] != nil {
				o[name] = before[name]
			}
		}
		return nil
	})
}

// publicIPReconciler gives the address the place at which its VM really
// listens. A dynamic one is lost when the VM is deallocated, as in Azure; a
// static one is known only from the VM's first start on.
type publicIPReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f publicIPReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if r.Deleting {
		return deletion(f.usedPublicIP(ctx, v, r))
	}
	nics, err := f.nics(ctx, v, r.ID)
	if err != nil {
		return arm.Result{}, err
	}
	o, err := parse(r.Properties)
	if err != nil {
		return arm.Result{}, err
	}
	delete(o, "ipConfiguration")
	port := 0
	for _, n := range nics {
		if config := n.configWith(r.ID); config != "" && !n.Deleting {
			o["ipConfiguration"] = object{"id": config}
			vm, err := f.vmOf(ctx, v, n.ID)
			if err != nil {
				return arm.Result{}, err
			}
			if vm == nil {
				continue
			}
			p, err := privateOf(vm)
			if err != nil {
				return arm.Result{}, err
			}
			if p.addressable(o) {
				o["ipAddress"], port = p.Address, p.Port
			}
		}
	}
	if port == 0 && o.text("publicIPAllocationMethod") != "Static" {
		delete(o, "ipAddress")
	}
	if r.Properties, err = o.encode(); err != nil {
		return arm.Result{}, err
	}
	r.Private, err = json.Marshal(publicIPPrivate{Port: port})
	return arm.Result{Done: true}, err
}

// configWith is the id of the interface's configuration that has a public address, "" if none.
func (n nic) configWith(public arm.ID) string {
	for _, c := range n.w.IPConfigurations {
		if c.Properties.PublicIPAddress != nil && same(c.Properties.PublicIPAddress.ID, public.String()) {
			return n.ID.String() + "/ipConfigurations/" + c.Name
		}
	}
	return ""
}

// usedPublicIP is the usage of a public address.
func (f *Fake) usedPublicIP(ctx context.Context, v arm.View, r *arm.Resource) (wait bool, err error) {
	nics, err := f.nics(ctx, v, r.ID)
	if err != nil {
		return false, err
	}
	for _, n := range nics {
		config := n.configWith(r.ID)
		switch {
		case config == "":
		case n.Deleting:
			wait = true
		default:
			return false, &arm.Error{Status: 400, Code: "PublicIPAddressCannotBeDeleted", Message: fmt.Sprintf("Public IP address %s can not be deleted since it is still allocated to resource %s. In order to delete the public IP, disassociate/detach the Public IP address from the resource.", r.ID, config)}
		}
	}
	return wait, nil
}

func (f *Fake) renderPublicIP(_ arm.Call, r *arm.Resource) (any, error) {
	o, err := parse(r.Properties)
	if err != nil {
		return nil, err
	}
	var p publicIPPrivate
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &p); err != nil {
			return nil, err
		}
	}
	if r.State != "" {
		o["provisioningState"] = r.State
	}
	return envelope(r, typePublicIP, o, portTag(r.Tags, p.Port)), nil
}
