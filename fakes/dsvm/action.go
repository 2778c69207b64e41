package dsvm

import (
	"context"
	"fmt"
	"net/http"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// vmActions are POST {vm}/{name}, those that go on afterwards answered as later says.
func (f *Fake) vmActions(later arm.LRO) map[string]arm.Action {
	begin := func(change func(r *arm.Resource, p *private) error) arm.Action {
		return arm.Action{LRO: later, Begin: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
			p, err := privateOf(r)
			if err != nil {
				return err
			}
			if err := change(r, &p); err != nil {
				return err
			}
			return p.store(r)
		}}
	}
	run := later
	return map[string]arm.Action{
		"start": begin(func(r *arm.Resource, p *private) error {
			p.Want = "running"
			return p.bootable(r, "start")
		}),
		"powerOff": begin(func(_ *arm.Resource, p *private) error {
			if p.Want != "deallocated" { // else it is off already, and stays without cost
				p.Want = "stopped"
			}
			return nil
		}),
		"deallocate": begin(func(_ *arm.Resource, p *private) error {
			p.Want = "deallocated"
			return nil
		}),
		"restart":  begin(func(r *arm.Resource, p *private) error { return p.again(r, "restart") }),
		"redeploy": begin(func(r *arm.Resource, p *private) error { return p.again(r, "redeploy") }),
		"reimage":  begin(func(r *arm.Resource, p *private) error { return p.again(r, "reimage") }),
		"performMaintenance": {Sync: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
			return 0, nil, &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation 'performMaintenance' is not allowed on VM '%s' since the Subscription of this VM is not eligible.", nameOf(r.ID))}
		}},
		"capture": {Sync: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
			return 0, nil, &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation 'capture' is not allowed on VM '%s': only VMs with unmanaged disks are captured into a storage account, and this one's content is not in one. Create an image of it instead.", nameOf(r.ID))}
		}},
		"retrieveBootDiagnosticsData": {Sync: f.retrieveLog, ReadOnly: true},
		"generalize":                  {Sync: f.generalize},
		"runCommand":                  {LRO: run, Begin: f.beginRunCommand},
	}
}

// bootable refuses what a generalized VM can't do any more.
func (p *private) bootable(r *arm.Resource, operation string) error {
	if p.Generalized {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation '%s' is not allowed on VM '%s' since the VM is generalized.", operation, nameOf(r.ID))}
	}
	return nil
}

// again has the machine come up anew.
func (p *private) again(r *arm.Resource, operation string) error {
	if p.Want == "deallocated" {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation '%s' is not allowed on VM '%s' since the VM is either deallocated or marked to be deallocated.", operation, nameOf(r.ID))}
	}
	p.Want, p.Again = "running", operation
	return p.bootable(r, operation)
}

// generalize marks a VM as one to make images of.
func (f *Fake) generalize(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	p, err := privateOf(r)
	if err != nil {
		return 0, nil, err
	}
	if f.machine(p.ID).power() == "running" {
		return 0, nil, &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation 'generalize' is not allowed on VM '%s' since the VM is running. Please power off or deallocate it first.", nameOf(r.ID))}
	}
	p.Generalized = true
	return http.StatusOK, nil, p.store(r)
}

// readSizes is GET {id}/vmSizes: what the VM could become.
func (f *Fake) readSizes(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	return 0, sizesOf(hardware.Location(r.Location)), nil
}
