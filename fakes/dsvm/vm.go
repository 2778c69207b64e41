package dsvm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
)

// The types' names.
const (
	typeVM       = "Microsoft.Compute/virtualMachines"
	typeNIC      = "Microsoft.Network/networkInterfaces"
	typePublicIP = "Microsoft.Network/publicIPAddresses"
	typeNetwork  = "Microsoft.Network/virtualNetworks"
	typeSubnet   = "Microsoft.Network/virtualNetworks/subnets"
	typeGroup    = "Microsoft.Network/networkSecurityGroups"
	typeRule     = "Microsoft.Network/networkSecurityGroups/securityRules"
)

// PortTag names the tag that tells a VM's and its public address's SSH port
// where that is not 22.
const PortTag = "lazulite-ssh-port"

// vmProperties are those of Microsoft.Compute/virtualMachines (2018-06-01) that mean something here.
type vmProperties struct {
	HardwareProfile *struct {
		VMSize string `json:"vmSize"`
	} `json:"hardwareProfile"`
	StorageProfile struct {
		ImageReference *imageReference `json:"imageReference"`
		OSDisk         struct {
			OSType       string `json:"osType"`
			CreateOption string `json:"createOption"`
			VHD          *struct {
				URI string `json:"uri"`
			} `json:"vhd"`
		} `json:"osDisk"`
	} `json:"storageProfile"`
	OSProfile      *osProfile `json:"osProfile"`
	NetworkProfile *struct {
		NetworkInterfaces []reference `json:"networkInterfaces"`
	} `json:"networkProfile"`
}

type imageReference struct {
	ID        string `json:"id"`
	Publisher string `json:"publisher"`
	Offer     string `json:"offer"`
	SKU       string `json:"sku"`
	Version   string `json:"version"`
}

type osProfile struct {
	ComputerName         string          `json:"computerName"`
	AdminUsername        string          `json:"adminUsername"`
	AdminPassword        *string         `json:"adminPassword"`
	CustomData           *string         `json:"customData"`
	WindowsConfiguration json.RawMessage `json:"windowsConfiguration"`
	LinuxConfiguration   struct {
		DisablePasswordAuthentication *bool `json:"disablePasswordAuthentication"`
		SSH                           struct {
			PublicKeys []struct {
				Path    string `json:"path"`
				KeyData string `json:"keyData"`
			} `json:"publicKeys"`
		} `json:"ssh"`
	} `json:"linuxConfiguration"`
}

// reference to another resource.
type reference struct {
	ID string `json:"id"`
}

// private is what the fake keeps of a VM out of sight: its secrets, what is
// wanted of it, and where the reconciler stands.
type private struct {
	ID           string // vmId, and the machine's
	User         string
	PasswordHash string   `json:",omitempty"`
	Keys         []string `json:",omitempty"`
	Size         string
	NICs         []string
	Want         string   // power: running, stopped, deallocated
	Changes      int      // writes asked for after the first
	Changed      int      // and done
	Again        string   `json:",omitempty"` // restart, redeploy or reimage, when asked for
	CustomData   []byte   `json:",omitempty"`
	Generalized  bool     `json:",omitempty"`
	Commands     int      `json:",omitempty"` // run commands asked for
	Command      *command `json:",omitempty"` // the one under way
	Created      bool
	Gone         bool
	Step         string    `json:",omitempty"` // under way
	Due          time.Time // when it ends
	Provisioned  time.Time
	Address      string
	Port         int
	Wake         []string  `json:",omitempty"` // interfaces that are to show a change
	TellBy       time.Time // until when that is waited for
	Failure      *failure  `json:",omitempty"` // that the operation is to end with
	LastFailure  *failure  `json:",omitempty"` // that the last one did end with
}

type failure struct {
	Status        int
	Code, Message string
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

func vmName() *regexp.Regexp { return regexp.MustCompile(`^[^_\W]([\w.-]{0,78}[\w])?$`) }

func (f *Fake) admitVM(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	delete(next.Tags, PortTag)
	var w vmProperties
	if err := read(next.Properties, &w); err != nil {
		return err
	}
	o, err := parse(next.Properties)
	if err != nil {
		return err
	}
	p := private{Want: "running"}
	if old != nil {
		if p, err = privateOf(old); err != nil {
			return err
		}
		if old.Deleting {
			return &arm.Error{Status: 409, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation 'createOrUpdate' is not allowed on VM '%s' since the VM is marked for deletion. You can only retry the Delete operation (or wait for an ongoing one to complete).", nameOf(old.ID))}
		}
		p.Changes++
	} else if !vmName().MatchString(nameOf(next.ID)) || len(nameOf(next.ID)) > 64 {
		return invalid("vmName", fmt.Sprintf("The entity name '%s' is invalid according to its validation rule: ^[^_\\W][\\w-._]{0,79}(?<![-.])$.", nameOf(next.ID)))
	}
	size, err := f.admitSize(next, w)
	if err != nil {
		return err
	}
	if err := admitImage(w, old == nil); err != nil {
		return err
	}
	before := object{}
	var from source
	if old == nil {
		if from, err = f.sourceOf(ctx, v, w.StorageProfile.ImageReference, next); err != nil {
			return err
		}
		err = admitProfile(w, c, next, o, &p)
	} else {
		if before, err = parse(old.Properties); err != nil {
			return err
		}
		err = keepProfile(w, old, o, &p)
	}
	if err != nil {
		return err
	}
	if err := f.admitMembership(ctx, v, o, before, next); err != nil {
		return err
	}
	if err := admitDiagnostics(o, c.Version); err != nil {
		return err
	}
	p.Wake, p.TellBy = append(p.Wake, p.NICs...), f.cfg.Clock.Now().Add(tellLimit) // those it had
	if p.NICs, err = f.admitNICs(ctx, v, w, next); err != nil {
		return err
	}
	if err := f.admitQuota(ctx, v, next, p, size); err != nil {
		return err
	}
	if p.ID == "" {
		p.ID = f.newID()
	}
	p.Size = size.Name
	if err := f.fillDisks(ctx, v, o, before, from, size, next); err != nil {
		return err
	}
	f.fillVM(o, p, size)
	if next.Properties, err = o.encode(); err != nil {
		return err
	}
	return p.store(next)
}

func (f *Fake) admitSize(next *arm.Resource, w vmProperties) (hardware.VMSize, error) {
	if w.HardwareProfile == nil {
		return hardware.VMSize{}, missing("hardwareProfile")
	}
	if w.HardwareProfile.VMSize == "" {
		return hardware.VMSize{}, missing("vmSize")
	}
	size, ok := hardware.Size(w.HardwareProfile.VMSize)
	if !ok || !size.SoldIn(next.Location) {
		var names []string
		for _, s := range hardware.Sizes(next.Location) {
			names = append(names, s.Name)
		}
		return size, invalid("vmSize", fmt.Sprintf("The value %s provided for the VM size is not valid. The valid sizes in the current region are: %s. Find out more on the available VM sizes in each region at https://aka.ms/azure-regions.", w.HardwareProfile.VMSize, strings.Join(names, ",")))
	}
	return size, nil
}

func admitImage(w vmProperties, first bool) error {
	i := w.StorageProfile.ImageReference
	windows := strings.EqualFold(w.StorageProfile.OSDisk.OSType, "Windows") || w.OSProfile != nil && len(w.OSProfile.WindowsConfiguration) > 0 && string(w.OSProfile.WindowsConfiguration) != "null"
	if i != nil {
		publisher, offer := strings.ToLower(i.Publisher), strings.ToLower(i.Offer)
		windows = windows || strings.HasPrefix(publisher, "microsoftwindows") || strings.Contains(offer, "windows") && !strings.Contains(offer, "linux") ||
			publisher == "microsoft-ads" && offer == "standard-data-science-vm" || publisher == "microsoftvisualstudio" || publisher == "microsoftsqlserver" && strings.Contains(offer, "-ws")
	}
	switch option := w.StorageProfile.OSDisk.CreateOption; {
	case windows:
		return unsupported("imageReference", "Windows machines can't run here: lazulite's VMs are Linux.")
	case strings.EqualFold(option, "Attach"), strings.EqualFold(option, "Empty"):
		return unsupported("osDisk.createOption", "A VM can't start from an existing disk here: createOption must be FromImage.")
	case option != "" && !strings.EqualFold(option, "FromImage"):
		return invalid("osDisk.createOption", "The value of parameter osDisk.createOption is invalid.")
	case i == nil && first:
		return missing("imageReference")
	case i != nil && i.ID == "" && (i.Publisher == "" || i.Offer == "" || i.SKU == "" || i.Version == ""):
		return invalid("imageReference", "The image reference must name an id, or publisher, offer, sku and version.")
	}
	return nil
}

// admitProfile takes a new VM's names and secrets; the secrets leave the properties.
func admitProfile(w vmProperties, c arm.Call, next *arm.Resource, o object, p *private) error {
	if w.OSProfile == nil {
		return missing("osProfile")
	}
	os := o.child("osProfile")
	os.fill("computerName", nameOf(next.ID))
	if err := checkComputerName(os.text("computerName")); err != nil {
		return err
	}
	if err := credentials(w.OSProfile, c.Version, p); err != nil {
		return err
	}
	if text := w.OSProfile.CustomData; text != nil && *text != "" {
		var err error
		if p.CustomData, err = customData(*text); err != nil {
			return err
		}
	}
	hideSecrets(os)
	return nil
}

// admitDiagnostics checks where the serial log is to be kept; before 2020-06-01 that had to be said.
func admitDiagnostics(o object, version string) error {
	d, ok := o["diagnosticsProfile"].(map[string]any)
	if !ok {
		delete(o, "diagnosticsProfile")
		return nil
	}
	boot := object(d).child("bootDiagnostics")
	on, _ := boot["enabled"].(bool)
	uri := boot.text("storageUri")
	if on && uri == "" && arm.CompareVersions(version, "2020-06-01") < 0 {
		return missing("diagnosticsProfile.bootDiagnostics.storageUri")
	}
	if u, err := url.Parse(uri); uri != "" && (err != nil || u.Host == "" || !strings.Contains(u.Host, ".blob.")) {
		return invalid("bootDiagnostics.storageUri", fmt.Sprintf("The storage uri '%s' is invalid: it must be the URI of a storage account's blob service.", uri))
	}
	return nil
}

func hideSecrets(os object) {
	delete(os, "adminPassword")
	delete(os, "customData")
}

// keepProfile refuses changes of what a VM got when it was made.
func keepProfile(w vmProperties, old *arm.Resource, o object, p *private) error {
	var was vmProperties
	if err := read(old.Properties, &was); err != nil {
		return err
	}
	before, err := parse(old.Properties)
	if err != nil {
		return err
	}
	if w.OSProfile == nil {
		o["osProfile"] = before["osProfile"]
	} else {
		os := o.child("osProfile")
		os.fill("computerName", was.OSProfile.ComputerName)
		if !strings.EqualFold(os.text("computerName"), was.OSProfile.ComputerName) {
			return unchangeable("osProfile.computerName")
		}
		os.fill("adminUsername", was.OSProfile.AdminUsername)
		if os.text("adminUsername") != was.OSProfile.AdminUsername {
			return unchangeable("osProfile.adminUsername")
		}
		if secret := w.OSProfile.AdminPassword; secret != nil && !sshd.PasswordMatches(p.PasswordHash, *secret) {
			return unchangeable("osProfile.adminPassword")
		}
		if text := w.OSProfile.CustomData; text != nil && *text != "" {
			data, err := customData(*text)
			if err != nil {
				return err
			}
			if !bytes.Equal(data, p.CustomData) {
				return unchangeable("osProfile.customData")
			}
		}
		linux := os.child("linuxConfiguration")
		kept := object(before.child("osProfile")).child("linuxConfiguration")
		for name, value := range kept {
			linux.fill(name, value)
		}
		if !equalJSON(linux["ssh"], kept["ssh"]) {
			return unchangeable("linuxConfiguration.ssh.publicKeys")
		}
		hideSecrets(os)
	}
	if i, j := w.StorageProfile.ImageReference, was.StorageProfile.ImageReference; i != nil && j != nil && *i != *j {
		return unchangeable("imageReference")
	}
	if len(before) > 0 && w.StorageProfile.ImageReference == nil {
		o.child("storageProfile").fill("imageReference", before.child("storageProfile")["imageReference"])
	}
	fillFrom(o.child("storageProfile").child("osDisk"), before.child("storageProfile").child("osDisk"))
	return nil
}

func equalJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

func (o object) fillAll(values map[string]any) {
	for name, value := range values {
		o.fill(name, value)
	}
}

// fillVM sets what the service adds to a VM's properties.
func (f *Fake) fillVM(o object, p private, size hardware.VMSize) {
	delete(o, "instanceView")
	delete(o, "provisioningState")
	o["vmId"] = p.ID
	o.child("hardwareProfile")["vmSize"] = size.Name
	os := o.child("osProfile")
	os.child("linuxConfiguration").fillAll(map[string]any{"disablePasswordAuthentication": false, "provisionVMAgent": true})
	os.fillAll(map[string]any{"secrets": []any{}, "allowExtensionOperations": true})
}

func (f *Fake) admitNICs(ctx context.Context, v arm.View, w vmProperties, next *arm.Resource) ([]string, error) {
	if w.NetworkProfile == nil || len(w.NetworkProfile.NetworkInterfaces) == 0 {
		return nil, missing("networkProfile")
	}
	var out []string
	for i, n := range w.NetworkProfile.NetworkInterfaces {
		path := fmt.Sprintf("properties.networkProfile.networkInterfaces[%d].id", i)
		if !isType(n.ID, typeNIC) {
			return nil, badReference(path, n.ID)
		}
		id, err := arm.ParseID(n.ID)
		if err != nil {
			return nil, badReference(path, n.ID)
		}
		nic, err := v.Get(ctx, id)
		if isNotFound(err) || err == nil && hardware.Location(nic.Location) != hardware.Location(next.Location) {
			return nil, absentReference(n.ID, next.ID)
		} else if err != nil {
			return nil, err
		}
		user, err := f.vmOf(ctx, v, id)
		if err != nil {
			return nil, err
		}
		if user != nil && !same(user.ID.String(), next.ID.String()) {
			return nil, nicInUse(id, user.ID)
		}
		out = append(out, n.ID)
	}
	return out, nil
}

func isNotFound(err error) bool {
	var e *arm.Error
	return errors.As(err, &e) && e.Status == 404
}

// vmOf finds the VM that has a network interface, nil if none.
func (f *Fake) vmOf(ctx context.Context, v arm.View, nic arm.ID) (*arm.Resource, error) {
	sub, err := subscriptionID(nic)
	if err != nil {
		return nil, err
	}
	vms, err := v.List(ctx, sub, typeVM)
	if err != nil {
		return nil, err
	}
	for _, vm := range vms {
		p, err := privateOf(vm)
		if err != nil {
			return nil, err
		}
		if !p.Gone && p.has(nic.String()) {
			return vm, nil
		}
	}
	return nil, nil
}
