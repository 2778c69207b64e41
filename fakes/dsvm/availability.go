package dsvm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
)

const typeAvailabilitySet = "Microsoft.Compute/availabilitySets"

// admitAvailabilitySet fills in the service's defaults (2018-10-01).
func (f *Fake) admitAvailabilitySet(_ context.Context, _ arm.View, _ arm.Call, old, next *arm.Resource) error {
	o, err := parse(next.Properties)
	if err != nil {
		return invalid("properties", "The properties are no JSON object.")
	}
	if len(next.SKU) == 0 || string(next.SKU) == "null" {
		if next.SKU = json.RawMessage(`{"name":"Classic"}`); old != nil {
			next.SKU = old.SKU
		}
	}
	for name, limit := range map[string]struct{ usual, most float64 }{"platformFaultDomainCount": {3, 3}, "platformUpdateDomainCount": {5, 20}} {
		if o[name] == nil {
			o[name] = limit.usual
		}
		if n, ok := o[name].(float64); !ok || n < 1 || n > limit.most || n != float64(int(n)) {
			return invalid(name, fmt.Sprintf("The specified value '%v' for '%s' is invalid. The value must be between 1 and %v.", o[name], name, limit.most))
		}
		if old != nil {
			was, err := parse(old.Properties)
			if err != nil {
				return err
			}
			if was[name] != o[name] {
				return unchangeable(name)
			}
		}
	}
	delete(o, "virtualMachines")
	delete(o, "statuses")
	return encodeInto(next, o)
}

// members are the VMs of an availability set.
func (f *Fake) members(ctx context.Context, v arm.View, set arm.ID) ([]*arm.Resource, error) {
	sub, err := subscriptionID(set)
	if err != nil || v == nil {
		return nil, err
	}
	vms, err := v.List(ctx, sub, typeVM)
	if err != nil {
		return nil, err
	}
	var out []*arm.Resource
	for _, vm := range vms {
		o, err := parse(vm.Properties)
		if err != nil {
			return nil, err
		}
		if same(o.child("availabilitySet").text("id"), set.String()) {
			out = append(out, vm)
		}
	}
	return out, nil
}

func (f *Fake) renderAvailabilitySet(c arm.Call, r *arm.Resource) (any, error) {
	o, err := parse(r.Properties)
	if err != nil {
		return nil, err
	}
	vms, err := f.members(context.Background(), c.View, r.ID)
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, vm := range vms {
		list = append(list, object{"id": vm.ID.String()})
	}
	o["virtualMachines"] = list
	return envelope(r, typeAvailabilitySet, o, r.Tags), nil
}

func (f *Fake) admitAvailabilitySetDelete(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) error {
	vms, err := f.members(ctx, v, r.ID)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		if !vm.Deleting {
			return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Availability Set '%s' cannot be deleted. Before deleting an Availability Set please ensure that it does not contain any VM.", nameOf(r.ID))}
		}
	}
	return nil
}

// admitMembership checks the availability set that a VM is to be in.
func (f *Fake) admitMembership(ctx context.Context, v arm.View, o, before object, next *arm.Resource) error {
	set, ok := o["availabilitySet"].(map[string]any)
	if !ok {
		delete(o, "availabilitySet")
		if had := before["availabilitySet"]; had != nil {
			o["availabilitySet"] = had
		}
		return nil
	}
	id := object(set).text("id")
	if had, _ := before["availabilitySet"].(map[string]any); len(before) > 0 && !same(object(had).text("id"), id) {
		return unchangeable("availabilitySet.id")
	}
	if len(next.Zones) > 0 {
		return &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: fmt.Sprintf("Virtual Machine '%s' can't be in both a zone and an availability set.", nameOf(next.ID))}
	}
	if strings.TrimSpace(id) == "" {
		return missing("availabilitySet.id")
	}
	return exists(ctx, v, next.ID, "properties.availabilitySet.id", id, typeAvailabilitySet)
}
