package aci

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// private is what is stored of a group beside what its wire shows.
type private struct {
	ID         string           // of the pod
	Spec       *groupProperties // with the secrets
	Generation int              // another one is another start of all containers
	Stopped    bool
}

func privateOf(r *arm.Resource) (p private, err error) {
	if len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &p)
	}
	return p, err
}

func (p private) store(r *arm.Resource) (err error) {
	r.Private, err = json.Marshal(p)
	return err
}

// admit is the last word on a PUT or PATCH: it checks what the schema can't and parts secrets from the rest.
func (f *Fake) admit(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	if c.Method == http.MethodPatch && old != nil {
		// It changes tags alone.
		next.Properties, next.Private, next.Identity = old.Properties, old.Private, old.Identity
		return nil
	}
	place, refused := findRegion(next.Location)
	if refused != nil {
		return refused
	}
	var spec groupProperties
	if err := decode(next.Properties, &spec); err != nil {
		return err
	}
	if arm.CompareVersions(c.Version, "2019-12-01") < 0 {
		spec.InitContainers = nil
	}
	name := next.ID.Name()
	if err := check(&spec, name, place); err != nil {
		return err
	}
	if err := f.checkNetwork(ctx, v, next, &spec); err != nil {
		return err
	}
	p, err := privateOf(next)
	if err != nil {
		return err
	}
	if err := f.enter(ctx, v, old, next, &p, &spec, place); err != nil {
		return err
	}
	if next.Identity, err = f.identity(ctx, v, next, old); err != nil {
		return err
	}
	if old == nil || p.Stopped || old.State == "Failed" || !p.Spec.equal(&spec) || f.pod(p.ID).finished() {
		p.Generation++
	}
	p.Spec, p.Stopped = &spec, false
	if err := p.store(next); err != nil {
		return err
	}
	next.Properties, err = json.Marshal(spec.public())
	return err
}

// enter completes what the service gives: an address and a name; and what an update can't change.
func (f *Fake) enter(ctx context.Context, v arm.View, old, next *arm.Resource, p *private, spec *groupProperties, place region) error {
	others, err := v.List(ctx, arm.ID{}, typeGroup)
	if err != nil {
		return err
	}
	taken, here := map[string]bool{}, 0
	for _, o := range others {
		if o.ID.Key() == next.ID.Key() {
			continue
		}
		var has groupProperties
		if err := json.Unmarshal(o.Properties, &has); err != nil {
			return err
		}
		if same(o.Location, next.Location) {
			here++
		}
		if a := has.IPAddress; a != nil {
			taken[a.IP] = true
			if spec.IPAddress != nil && a.DNSNameLabel != "" && a.DNSNameLabel == spec.IPAddress.DNSNameLabel && same(o.Location, next.Location) {
				return labelTaken(a.DNSNameLabel, next.ID.Name())
			}
		}
	}
	if old == nil {
		p.ID = f.newID()
		if here >= f.cfg.Groups {
			return overQuota(next.Location, f.cfg.Groups, here)
		}
	} else if err := unchanged(p.Spec, spec, next.ID.Name()); err != nil {
		return err
	}
	if a := spec.IPAddress; a != nil {
		if p.Spec != nil && p.Spec.IPAddress != nil {
			a.IP = p.Spec.IPAddress.IP
		} else {
			if a.IP, err = f.newAddress(ctx, taken, a.Ports); err != nil {
				return err
			}
		}
		if a.FQDN = ""; a.DNSNameLabel != "" {
			a.FQDN = a.DNSNameLabel + "." + place.Name + ".azurecontainer.io"
		}
	}
	return nil
}

// unchanged refuses an update of what a group keeps for life.
func unchanged(was, now *groupProperties, group string) error {
	if was == nil {
		return nil
	}
	cpuWas, memoryWas := total(was)
	cpu, memory := total(now)
	if was.OSType == now.OSType && was.RestartPolicy == now.RestartPolicy && cpuWas == cpu && memoryWas == memory && len(was.Containers) == len(now.Containers) {
		return nil
	}
	return refuse("InvalidContainerGroupUpdate", "", "The updates on container group '%s' are invalid. If you are going to update the os type, restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first and then create a new one.", group)
}

// checkNetwork refuses networks that are not there: no virtual network reaches into a group here.
func (f *Fake) checkNetwork(ctx context.Context, v arm.View, r *arm.Resource, spec *groupProperties) error {
	if n := spec.NetworkProfile; n != nil {
		id, err := arm.ParseID(n.ID)
		if err != nil {
			return refuse("InvalidNetworkProfile", "properties.networkProfile.id", "The network profile id '%s' in container group '%s' is invalid.", n.ID, r.ID.Name())
		}
		var missing *arm.Error
		if _, err := v.Get(ctx, id); errors.As(err, &missing) {
			return refuse("NetworkProfileNotFound", "properties.networkProfile.id", "The network profile '%s' in container group '%s' is not found.", n.ID, r.ID.Name())
		} else if err != nil {
			return err
		}
		return unsupported("properties.networkProfile", "Container groups in virtual networks are not emulated.")
	}
	if len(spec.SubnetIDs) > 0 || spec.IPAddress != nil && spec.IPAddress.Type == "Private" {
		return unsupported("properties.subnetIds", "Container groups in virtual networks are not emulated.")
	}
	return nil
}

func overQuota(location string, limit, used int) *arm.Error {
	e := refuse("ContainerGroupQuotaReached", "", "Resource type '%s' container group quota 'ContainerGroups' exceeded in region '%s'. Limit: '%d', Usage: '%d' Requested: '1'.", typeGroup, hardware.Location(location), limit, used)
	e.Status = http.StatusConflict
	return e
}

// decode reads what the schema has let through.
func decode(b json.RawMessage, into any) error {
	err := json.Unmarshal(b, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return refuse("InvalidRequestContent", "properties."+wrong.Field, "The request content was invalid and could not be deserialized: 'Error converting value to type '%s'. Path 'properties.%s''.", wrong.Type, wrong.Field)
	}
	return err
}

func same(a, b string) bool { return hardware.Location(a) == hardware.Location(b) }

// lower is a name as identities compare it.
func lower(s string) string { return strings.ToLower(strings.Trim(s, "/")) }
