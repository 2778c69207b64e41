package dsvm

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// imageProperties are those of Microsoft.Compute/images (2018-10-01) that mean something here.
type imageProperties struct {
	SourceVirtualMachine *reference `json:"sourceVirtualMachine"`
	StorageProfile       struct {
		OSDisk    *imageDisk  `json:"osDisk"`
		DataDisks []imageDisk `json:"dataDisks"`
	} `json:"storageProfile"`
}

type imageDisk struct {
	LUN         int        `json:"lun"`
	OSType      string     `json:"osType"`
	OSState     string     `json:"osState"`
	ManagedDisk *reference `json:"managedDisk"`
	BlobURI     string     `json:"blobUri"`
	StorageType string     `json:"storageAccountType"`
	SizeGB      int        `json:"diskSizeGB"`
}

// admitImageResource takes an image of a generalized VM, or of a managed disk.
// Its content is the disks' shape alone: what a generalized machine keeps of
// its user's files is nothing, and its system is the engine's.
func (f *Fake) admitImageResource(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	var w imageProperties
	if err := read(next.Properties, &w); err != nil {
		return err
	}
	o, err := parse(next.Properties)
	if err != nil {
		return err
	}
	if old != nil {
		before, err := parse(old.Properties)
		if err != nil {
			return err
		}
		fillFrom(o, before)
		return encodeInto(next, o)
	}
	switch {
	case w.SourceVirtualMachine != nil:
		if w.StorageProfile.OSDisk != nil {
			return invalid("sourceVirtualMachine", "Both sourceVirtualMachine and storageProfile.osDisk can't be given.")
		}
		if err := f.captureInto(ctx, v, o, w.SourceVirtualMachine.ID, next); err != nil {
			return err
		}
	case w.StorageProfile.OSDisk == nil:
		return missing("image.storageProfile.osDisk")
	default:
		if err := f.imageOfDisks(ctx, v, o, w, next); err != nil {
			return err
		}
	}
	return encodeInto(next, o)
}

func (f *Fake) captureInto(ctx context.Context, v arm.View, o object, id string, next *arm.Resource) error {
	parsed, err := arm.ParseID(id)
	if err != nil || !isType(id, typeVM) {
		return badReference("properties.sourceVirtualMachine.id", id)
	}
	vm, err := v.Get(ctx, parsed)
	if isNotFound(err) || err == nil && hardware.Location(vm.Location) != hardware.Location(next.Location) {
		return absentReference(id, next.ID)
	} else if err != nil {
		return err
	}
	p, err := privateOf(vm)
	if err != nil {
		return err
	}
	if !p.Generalized {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Target: "sourceVirtualMachine", Message: fmt.Sprintf("The VM '%s' is not generalized. An image can only be created from a generalized VM.", nameOf(vm.ID))}
	}
	was, err := parse(vm.Properties)
	if err != nil {
		return err
	}
	storage := o.child("storageProfile")
	take := func(d object) map[string]any {
		out := map[string]any{"caching": d["caching"], "storageAccountType": "Standard_LRS", "diskSizeGB": d["diskSizeGB"]}
		if id := d.child("managedDisk").text("id"); id != "" {
			out["managedDisk"] = map[string]any{"id": id}
		} else {
			out["blobUri"] = d.child("vhd").text("uri")
		}
		return out
	}
	data := []any{}
	for i, d := range disksIn(was) {
		part := take(d)
		if i == 0 {
			part["osType"], part["osState"] = "Linux", "Generalized"
			storage["osDisk"] = part
			continue
		}
		part["lun"] = d["lun"]
		data = append(data, part)
	}
	storage["dataDisks"] = data
	return nil
}

func (f *Fake) imageOfDisks(ctx context.Context, v arm.View, o object, w imageProperties, next *arm.Resource) error {
	d := w.StorageProfile.OSDisk
	switch {
	case strings.EqualFold(d.OSType, "Windows"):
		return unsupported("osDisk.osType", "Windows machines can't run here: lazulite's VMs are Linux.")
	case d.ManagedDisk == nil:
		return unsupported("osDisk", "An image can be made of a managed disk alone here.")
	}
	shown := o.child("storageProfile").child("osDisk")
	shown.fillAll(map[string]any{"osType": "Linux", "osState": "Generalized", "caching": "None", "storageAccountType": "Standard_LRS"})
	all := append([]object{shown}, o.child("storageProfile").list("dataDisks")...)
	o.child("storageProfile").fill("dataDisks", []any{})
	for _, disk := range all {
		id := disk.child("managedDisk").text("id")
		var was struct {
			SizeGB int `json:"diskSizeGB"`
		}
		if !isType(id, typeDisk) {
			return badReference("properties.storageProfile.osDisk.managedDisk.id", id)
		}
		ok, err := f.properties(ctx, v, id, &was)
		if err != nil {
			return err
		}
		if !ok {
			return absentReference(id, next.ID)
		}
		disk.fillAll(map[string]any{"diskSizeGB": was.SizeGB, "storageAccountType": "Standard_LRS", "caching": "None"})
	}
	return nil
}

// sourceOf finds what a VM is to be made from.
func (f *Fake) sourceOf(ctx context.Context, v arm.View, i *imageReference, next *arm.Resource) (source, error) {
	from := source{osGB: 30, data: map[int]int{}}
	switch {
	case i == nil:
		return from, nil
	case i.ID == "":
		known, ok := findImage(i.Publisher, i.Offer, i.SKU, i.Version)
		if !ok {
			return from, &arm.Error{Status: http.StatusBadRequest, Code: "InvalidParameter", Target: "imageReference", Message: fmt.Sprintf("The following list of images referenced from the deployment template are not found: Publisher: %s, Offer: %s, Sku: %s, Version: %s. Please refer to https://docs.microsoft.com/en-us/azure/virtual-machines/windows/cli-ps-findimage for instructions on finding available images.", i.Publisher, i.Offer, i.SKU, i.Version)}
		}
		if known.Windows {
			return from, unsupported("imageReference", "Windows machines can't run here: lazulite's VMs are Linux.")
		}
		from.osGB = known.OSDiskGB
		for lun, gb := range known.DataDisksGB {
			from.data[lun] = gb
		}
		return from, nil
	case !isType(i.ID, typeImage):
		return from, badReference("properties.storageProfile.imageReference.id", i.ID)
	}
	id, err := arm.ParseID(i.ID)
	if err != nil {
		return from, badReference("properties.storageProfile.imageReference.id", i.ID)
	}
	r, err := v.Get(ctx, id)
	if isNotFound(err) || err == nil && hardware.Location(r.Location) != hardware.Location(next.Location) {
		return from, &arm.Error{Status: http.StatusNotFound, Code: "NotFound", Message: fmt.Sprintf("The Image '%s' cannot be found in '%s' region.", i.ID, hardware.Location(next.Location))}
	} else if err != nil {
		return from, err
	}
	var w imageProperties
	if err := read(r.Properties, &w); err != nil {
		return from, err
	}
	from.named = true
	if d := w.StorageProfile.OSDisk; d != nil {
		from.kind = d.StorageType
		if d.SizeGB > 0 {
			from.osGB = d.SizeGB
		}
	}
	for _, d := range w.StorageProfile.DataDisks {
		from.data[d.LUN] = d.SizeGB
	}
	return from, nil
}
