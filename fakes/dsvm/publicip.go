package dsvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// publicIPPrivate is what is kept of a public address out of sight: the port of
// the VM that has it, and where a static one is kept for a VM to come.
type publicIPPrivate struct {
	Port    int
	Kept    string `json:",omitempty"` // address
	KeptFor int    `json:",omitempty"` // port
}

func labelRule() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{1,61}[a-z0-9]$`) }

func (f *Fake) admitPublicIP(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	delete(next.Tags, PortTag)
	if len(next.SKU) == 0 || string(next.SKU) == "null" {
		next.SKU = json.RawMessage(`{"name":"Basic","tier":"Regional"}`)
	}
	return edit(next, old, f, func(o, before object) error {
		for name, allowed := range map[string][2]string{"publicIPAllocationMethod": {"Dynamic", "Static"}, "publicIPAddressVersion": {"IPv4", "IPv6"}} {
			o.fill(name, allowed[0])
			v := o.text(name)
			i := slices.IndexFunc(allowed[:], func(a string) bool { return strings.EqualFold(a, v) })
			if i < 0 {
				return format("Invalid value %q of %s. Allowed values: %s, %s.", fmt.Sprint(o[name]), name, allowed[0], allowed[1])
			}
			o[name] = allowed[i]
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
// static one is kept from the start, for whichever VM is started with it.
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
	var kept publicIPPrivate
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &kept); err != nil {
			return arm.Result{}, err
		}
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
	switch static := o.text("publicIPAllocationMethod") == "Static"; {
	case port != 0 && static:
		kept.Kept, kept.KeptFor = o.text("ipAddress"), port
	case port != 0:
	case !static:
		delete(o, "ipAddress")
		kept = publicIPPrivate{}
	case kept.Kept == "":
		if kept.Kept, kept.KeptFor, err = f.reserve(ctx, v, r.ID); err != nil {
			return arm.Result{}, err
		}
		fallthrough
	default:
		o["ipAddress"], port = kept.Kept, kept.KeptFor
	}
	if r.Properties, err = o.encode(); err != nil {
		return arm.Result{}, err
	}
	kept.Port = port
	r.Private, err = json.Marshal(kept)
	return arm.Result{Done: true}, errors.Join(err, f.refreshFirewalls(ctx, v, r.ID))
}

// reserve draws a place for a static address, where a machine will be able to listen.
func (f *Fake) reserve(ctx context.Context, v arm.View, of arm.ID) (address string, port int, err error) {
	taken, err := f.reserved(ctx, v, of)
	if err != nil {
		return "", 0, err
	}
	draw := func(own bool) sshd.Place { return f.candidate(own, taken) }
	l, place, err := engine.Settle(ctx, !f.cfg.HighPorts, draw, func(ctx context.Context, p sshd.Place) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", p.String())
	})
	if err != nil {
		return "", 0, &arm.Error{Status: 409, Code: "PublicIPAddressCannotBeAllocated", Message: fmt.Sprintf("No free address was found for %s.", of)}
	}
	return place.Address, place.Port, l.Close()
}

// reserved are the places that static addresses keep.
func (f *Fake) reserved(ctx context.Context, v arm.View, of arm.ID) (map[string]bool, error) {
	sub, err := subscriptionID(of)
	if err != nil {
		return nil, err
	}
	all, err := v.List(ctx, sub, typePublicIP)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, a := range all {
		var kept publicIPPrivate
		if len(a.Private) == 0 {
			continue
		}
		if err := json.Unmarshal(a.Private, &kept); err != nil {
			return nil, err
		}
		if kept.Kept != "" {
			out[machineFile{Address: kept.Kept, Port: kept.KeptFor}.endpoint()] = true
		}
	}
	return out, nil
}

// staticAddress is the place that is kept for a VM, "" if none.
func (f *Fake) staticAddress(ctx context.Context, v arm.View, p private) (address string, port int, err error) {
	for _, s := range p.NICs {
		var n nicProperties
		if _, err := f.properties(ctx, v, s, &n); err != nil {
			return "", 0, err
		}
		for _, c := range n.IPConfigurations {
			if c.Properties.PublicIPAddress == nil {
				continue
			}
			id, err := arm.ParseID(c.Properties.PublicIPAddress.ID)
			if err != nil {
				return "", 0, err
			}
			a, err := v.Get(ctx, id)
			if isNotFound(err) || err == nil && len(a.Private) == 0 {
				continue
			} else if err != nil {
				return "", 0, err
			}
			var kept publicIPPrivate
			if err := json.Unmarshal(a.Private, &kept); err != nil {
				return "", 0, err
			}
			if kept.Kept != "" {
				return kept.Kept, kept.KeptFor, nil
			}
		}
	}
	return "", 0, nil
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

// usedPublicIP is what uses a public address.
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
