package aml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/arm"
)

// Defaults of a created VirtualMachine compute (DsvmCompute.provisioning_configuration says Standard_DS3_v2).
const (
	defaultSize = "Standard_DS3_v2"
	adminUser   = "azureml"
)

// Api-versions with which the service asks for a machine.
const (
	versionCompute = "2018-10-01"
	versionNetwork = "2018-08-01"
	versionDisk    = "2018-09-30"
)

// pollInterval is how often an unfinished machine is looked at again, and
// reachTries how often a machine that answers nothing yet is tried.
const (
	pollInterval = 200 * time.Millisecond
	reachTries   = 20
)

// portTag is how a virtual machine of an emulator says that its SSH is not at port 22 of its address.
const portTag = "lazulite-ssh-port"

// computeReconciler brings a compute up, by the public protocols of what it stands on.
type computeReconciler struct{ s *Service }

// Reconcile moves one compute one step: ask for the machine, wait for it, log in to it.
func (c computeReconciler) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	props, notes, err := computeOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	res, err := c.step(ctx, r, props, notes)
	if e := (*arm.Error)(nil); errors.As(err, &e) && !r.Deleting {
		props.Errors = []computeError{{computeErrorBody{Code: e.Code, Message: e.Message}}}
	}
	props.ModifiedOn = c.s.cfg.Clock.Now().UTC().Format(time.RFC3339)
	p, merr := json.Marshal(props)
	n, nerr := json.Marshal(notes)
	if merr != nil || nerr != nil {
		return arm.Result{}, errors.Join(merr, nerr)
	}
	r.Properties, r.Private = p, n
	return res, err
}

func (c computeReconciler) step(ctx context.Context, r *arm.Resource, props *compute, notes *computeNotes) (arm.Result, error) {
	cluster := isCluster(props.ComputeType)
	switch {
	case r.Deleting && cluster:
		return c.removeCluster(ctx, notes)
	case r.Deleting:
		return c.remove(ctx, r, notes)
	case cluster:
		return c.reconcileCluster(ctx, r, props, notes)
	case notes.Created:
		return c.create(ctx, r, props, notes)
	default:
		return c.attach(ctx, props, notes)
	}
}

// network is the resources that a machine's name stems, in the order of their making.
func network(r *arm.Resource, stem string) []struct {
	path, version string
	body          map[string]any
} {
	base := "/subscriptions/" + r.ID.Subscription() + "/resourceGroups/" + r.ID.ResourceGroup() + "/providers/Microsoft.Network"
	ref := func(path string) map[string]any { return map[string]any{"id": base + path} }
	type step = struct {
		path, version string
		body          map[string]any
	}
	return []step{
		{base + "/networkSecurityGroups/" + stem + "NSG", versionNetwork, map[string]any{"location": r.Location, "properties": map[string]any{
			"securityRules": []any{map[string]any{"name": "default-allow-ssh", "properties": map[string]any{"protocol": "Tcp", "sourcePortRange": "*",
				"destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*", "access": "Allow", "priority": 1000, "direction": "Inbound"}}}}}},
		{base + "/virtualNetworks/" + stem + "VNET", versionNetwork, map[string]any{"location": r.Location, "properties": map[string]any{
			"addressSpace": map[string]any{"addressPrefixes": []string{"10.0.0.0/16"}},
			"subnets":      []any{map[string]any{"name": "default", "properties": map[string]any{"addressPrefix": "10.0.0.0/24"}}}}}},
		{base + "/publicIPAddresses/" + stem + "PublicIP", versionNetwork, map[string]any{"location": r.Location, "properties": map[string]any{"publicIPAllocationMethod": "Dynamic"}}},
		{base + "/networkInterfaces/" + stem + "NIC", versionNetwork, map[string]any{"location": r.Location, "properties": map[string]any{
			"networkSecurityGroup": ref("/networkSecurityGroups/" + stem + "NSG"),
			"ipConfigurations": []any{map[string]any{"name": "ipconfig", "properties": map[string]any{
				"subnet": ref("/virtualNetworks/" + stem + "VNET/subnets/default"), "publicIPAddress": ref("/publicIPAddresses/" + stem + "PublicIP")}}}}}},
	}
}

func machineID(r *arm.Resource, stem string) string {
	return "/subscriptions/" + r.ID.Subscription() + "/resourceGroups/" + r.ID.ResourceGroup() + "/providers/Microsoft.Compute/virtualMachines/" + stem
}

func (c computeReconciler) create(ctx context.Context, r *arm.Resource, props *compute, notes *computeNotes) (arm.Result, error) {
	if notes.Machine == "" {
		public, private, err := execution.NewKeyPair()
		if err != nil {
			return arm.Result{}, err
		}
		notes.Account = account{Username: adminUser, PublicKey: public, PrivateKey: private}
		notes.Machine = r.ID.Name()
		if err := c.s.armCall(ctx, http.MethodGet, machineID(r, notes.Machine), versionCompute, nil, nil); err == nil {
			// A machine of that name is somebody's own: it must not be taken, nor deleted with the compute.
			notes.Machine = fmt.Sprintf("%s-%08x", r.ID.Name(), uint32(r.Created.UnixNano()))
		}
		// The key and the name are stored before anything is made with them.
		return arm.Result{RequeueAfter: time.Nanosecond}, nil
	}
	id := machineID(r, notes.Machine)
	var vm vmDocument
	err := c.s.armCall(ctx, http.MethodGet, id, versionCompute, nil, &vm)
	switch {
	case isNotFound(err):
		return arm.Result{RequeueAfter: pollInterval}, c.order(ctx, r, props, notes)
	case err != nil:
		return arm.Result{}, err
	}
	props.ResourceID = &vm.ID
	switch vm.Properties.ProvisioningState {
	case "Failed", "Canceled":
		return arm.Result{}, c.machineFailed(ctx, id, vm.Properties.ProvisioningState)
	case "Succeeded":
	default:
		return arm.Result{RequeueAfter: pollInterval}, nil
	}
	if props.Properties.Address == "" {
		if err := c.locate(ctx, vm, props); err != nil {
			return arm.Result{}, err
		}
	}
	return c.reach(ctx, props, notes)
}

// checkSize asks Microsoft.Compute whether it has the size in the region.
func (s *Service) checkSize(ctx context.Context, subscription, location, field, size string) error {
	var sizes struct {
		Value []struct {
			Name string `json:"name"`
		} `json:"value"`
	}
	path := "/subscriptions/" + subscription + "/providers/Microsoft.Compute/locations/" + url.PathEscape(location) + "/vmSizes"
	if err := s.armCall(ctx, http.MethodGet, path, versionCompute, nil, &sizes); err != nil {
		return err
	}
	for _, known := range sizes.Value {
		if strings.EqualFold(known.Name, size) {
			return nil
		}
	}
	return badCompute(field, "The VM size '%s' is not available in the region '%s'.", size, location)
}

// order makes what is not there yet; each PUT is idempotent, so a restart in the middle goes on.
func (c computeReconciler) order(ctx context.Context, r *arm.Resource, props *compute, notes *computeNotes) error {
	for _, step := range network(r, notes.Machine) {
		if err := c.s.armCall(ctx, http.MethodPut, step.path, step.version, step.body, nil); err != nil {
			return err
		}
	}
	nic := network(r, notes.Machine)[3].path
	return c.s.armCall(ctx, http.MethodPut, machineID(r, notes.Machine), versionCompute, map[string]any{
		"location": r.Location,
		"properties": map[string]any{
			"hardwareProfile": map[string]any{"vmSize": props.Properties.Size},
			"storageProfile": map[string]any{"imageReference": map[string]any{"publisher": "microsoft-ads", "offer": "linux-data-science-vm-ubuntu",
				"sku": "linuxdsvmubuntu", "version": "latest"}, "osDisk": map[string]any{"createOption": "FromImage"}},
			"osProfile": map[string]any{"computerName": notes.Machine, "adminUsername": notes.Account.Username,
				"linuxConfiguration": map[string]any{"disablePasswordAuthentication": true, "ssh": map[string]any{"publicKeys": []any{
					map[string]any{"path": "/home/" + notes.Account.Username + "/.ssh/authorized_keys", "keyData": notes.Account.PublicKey}}}}},
			"networkProfile": map[string]any{"networkInterfaces": []any{map[string]any{"id": nic}}},
		},
	}, nil)
}

// machineFailed fetches the reason that the instance view gives.
func (c computeReconciler) machineFailed(ctx context.Context, id, state string) error {
	var view struct {
		Statuses []struct{ Code, Level, DisplayStatus, Message string }
	}
	reason := "The virtual machine " + id + " is " + state + "."
	if err := c.s.armCall(ctx, http.MethodGet, id+"/instanceView", versionCompute, nil, &view); err == nil {
		for _, s := range view.Statuses {
			if s.Level == "Error" {
				reason += " " + s.Code + ": " + s.Message
			}
		}
	}
	return &arm.Error{Status: http.StatusBadRequest, Code: "VirtualMachineProvisioningFailed", Message: reason}
}

type vmDocument struct {
	ID         string            `json:"id"`
	Tags       map[string]string `json:"tags"`
	Properties struct {
		ProvisioningState string `json:"provisioningState"`
		StorageProfile    struct {
			OSDisk    diskDocument   `json:"osDisk"`
			DataDisks []diskDocument `json:"dataDisks"`
		} `json:"storageProfile"`
		NetworkProfile struct {
			NetworkInterfaces []struct {
				ID string `json:"id"`
			} `json:"networkInterfaces"`
		} `json:"networkProfile"`
	} `json:"properties"`
}

type diskDocument struct {
	CreateOption string `json:"createOption"`
	ManagedDisk  struct {
		ID string `json:"id"`
	} `json:"managedDisk"`
}

// disks are the managed disks that were made with the machine; one that was attached to it is somebody's own.
func (vm vmDocument) disks() (ids []string) {
	for _, d := range append([]diskDocument{vm.Properties.StorageProfile.OSDisk}, vm.Properties.StorageProfile.DataDisks...) {
		if d.ManagedDisk.ID != "" && !strings.EqualFold(d.CreateOption, "Attach") {
			ids = append(ids, d.ManagedDisk.ID)
		}
	}
	return ids
}

// locate follows the machine's interface to its public address.
func (c computeReconciler) locate(ctx context.Context, vm vmDocument, props *compute) error {
	if len(vm.Properties.NetworkProfile.NetworkInterfaces) == 0 {
		return badCompute("properties.resourceId", "The virtual machine %s has no network interface.", vm.ID)
	}
	var nic struct {
		Properties struct {
			IPConfigurations []struct {
				Properties struct {
					PublicIPAddress struct {
						ID string `json:"id"`
					} `json:"publicIPAddress"`
				} `json:"properties"`
			} `json:"ipConfigurations"`
		} `json:"properties"`
	}
	if err := c.s.armCall(ctx, http.MethodGet, vm.Properties.NetworkProfile.NetworkInterfaces[0].ID, versionNetwork, nil, &nic); err != nil {
		return err
	}
	for _, ip := range nic.Properties.IPConfigurations {
		if ip.Properties.PublicIPAddress.ID == "" {
			continue
		}
		var public struct {
			Properties struct {
				IPAddress string `json:"ipAddress"`
			} `json:"properties"`
		}
		if err := c.s.armCall(ctx, http.MethodGet, ip.Properties.PublicIPAddress.ID, versionNetwork, nil, &public); err != nil {
			return err
		}
		props.Properties.Address = public.Properties.IPAddress
	}
	if props.Properties.Address == "" {
		return badCompute("properties.resourceId", "The virtual machine %s has no public IP address.", vm.ID)
	}
	var port sshPort
	if err := json.Unmarshal([]byte(`"`+vm.Tags[portTag]+`"`), &port); err != nil {
		return err
	}
	if port == 0 {
		port = 22
	}
	props.Properties.SSHPort = port
	return nil
}

// reach logs in; a machine that has only just come up gets some tries.
func (c computeReconciler) reach(ctx context.Context, props *compute, notes *computeNotes) (arm.Result, error) {
	err := execution.TestConnection(ctx, c.s.cfg.Dial, notes.ssh(*props))
	if err == nil {
		return arm.Result{Done: true}, nil
	}
	notes.Attempts++
	if notes.Created && notes.Attempts < reachTries {
		c.s.log.Info("aml: the machine does not answer yet", "machine", notes.Machine, "err", err)
		return arm.Result{RequeueAfter: pollInterval}, nil
	}
	return arm.Result{}, connectionError(err)
}

func (c computeReconciler) attach(ctx context.Context, props *compute, notes *computeNotes) (arm.Result, error) {
	if props.Properties.Address == "" {
		var vm vmDocument
		if err := c.s.armCall(ctx, http.MethodGet, *props.ResourceID, versionCompute, nil, &vm); err != nil {
			return arm.Result{}, err
		}
		port := props.Properties.SSHPort
		if err := c.locate(ctx, vm, props); err != nil {
			return arm.Result{}, err
		}
		if port != 22 {
			props.Properties.SSHPort = port
		}
	}
	return c.reach(ctx, props, notes)
}

// remove deletes the machine of a created compute, newest resource first; an attached or a detached machine is left alone.
func (c computeReconciler) remove(ctx context.Context, r *arm.Resource, notes *computeNotes) (arm.Result, error) {
	if !notes.Created || notes.Detached || notes.Machine == "" {
		return arm.Result{Done: true}, nil
	}
	id := machineID(r, notes.Machine)
	var vm vmDocument
	err := c.s.armCall(ctx, http.MethodGet, id, versionCompute, nil, &vm)
	if err == nil {
		if disks := vm.disks(); len(disks) > 0 && len(notes.Disks) == 0 {
			// Which they are is stored before nobody can tell it any more.
			notes.Disks = disks
			return arm.Result{RequeueAfter: time.Nanosecond}, nil
		}
		if err := c.s.armCall(ctx, http.MethodDelete, id, versionCompute, nil, nil); err != nil && !isNotFound(err) {
			return arm.Result{RequeueAfter: pollInterval}, retryable(err)
		}
		return arm.Result{RequeueAfter: pollInterval}, nil
	}
	if !isNotFound(err) {
		return arm.Result{RequeueAfter: pollInterval}, retryable(err)
	}
	for _, disk := range notes.Disks {
		if err := c.s.armCall(ctx, http.MethodDelete, disk, versionDisk, nil, nil); err != nil && !isNotFound(err) {
			return arm.Result{RequeueAfter: pollInterval}, retryable(err)
		}
	}
	steps := network(r, notes.Machine)
	for i := len(steps) - 1; i >= 0; i-- {
		if err := c.s.armCall(ctx, http.MethodGet, steps[i].path, steps[i].version, nil, nil); isNotFound(err) {
			continue
		}
		if err := c.s.armCall(ctx, http.MethodDelete, steps[i].path, steps[i].version, nil, nil); err != nil && !isNotFound(err) {
			return arm.Result{RequeueAfter: pollInterval}, retryable(err)
		}
		// A NIC must be gone before the public IP that it holds.
		return arm.Result{RequeueAfter: pollInterval}, nil
	}
	return arm.Result{Done: true}, nil
}

// retryable takes the finality off an ARM error: what is in use now may be free in a moment.
func retryable(err error) error { return fmt.Errorf("aml: removing a machine: %s", err) }

func isNotFound(err error) bool {
	var e *arm.Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// notFoundOr returns instead where err is a 404.
func notFoundOr(err, instead error) error {
	if isNotFound(err) {
		return instead
	}
	return err
}

func (n computeNotes) ssh(c compute) execution.SSHTarget {
	return execution.SSHTarget{
		Address: c.Properties.Address, SSHPort: int(c.Properties.SSHPort), Username: n.Account.Username,
		Password: n.Account.Password, PrivateKey: n.Account.PrivateKey, Passphrase: n.Account.Passphrase,
	}
}

// connectionError is how the compute's operation words a failed log-in.
func connectionError(err error) error {
	var e *execution.ConnectError
	if !errors.As(err, &e) {
		return err
	}
	return &arm.Error{Status: http.StatusBadRequest, Code: "Ssh" + string(e.Reason), Message: e.Message}
}
