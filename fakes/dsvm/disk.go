package dsvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

const (
	typeDisk  = "Microsoft.Compute/disks"
	typeImage = "Microsoft.Compute/images"
)

// How large a managed disk may be (2018-09-30).
const maxDiskGB = 4095

// diskTypes are the SKUs of managed disks.
var diskTypes = map[string]string{"standard_lrs": "Standard_LRS", "premium_lrs": "Premium_LRS", "standardssd_lrs": "StandardSSD_LRS", "ultrassd_lrs": "UltraSSD_LRS"}

// diskTiers are what a disk's SKU says besides its name.
func diskSKU(name string) json.RawMessage {
	tier, _, _ := strings.Cut(name, "_")
	if tier == "StandardSSD" || tier == "UltraSSD" {
		tier = strings.TrimSuffix(tier, "SSD")
	}
	sku, _ := json.Marshal(object{"name": name, "tier": tier})
	return sku
}

func (f *Fake) admitDisk(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	o, err := parse(next.Properties)
	if err != nil {
		return invalid("properties", "The properties are no JSON object.")
	}
	sku, err := parse(next.SKU)
	if err != nil {
		return invalid("sku", "The value of parameter sku is invalid.")
	}
	sku.fill("name", "Standard_LRS")
	kind, ok := diskTypes[strings.ToLower(sku.text("name"))]
	if !ok {
		return invalid("disk.sku", fmt.Sprintf("The value '%s' of parameter disk.sku is invalid. Allowed values: Standard_LRS, Premium_LRS, StandardSSD_LRS, UltraSSD_LRS.", fmt.Sprint(sku["name"])))
	}
	next.SKU = diskSKU(kind)
	size, sized := o["diskSizeGB"].(float64)
	if o["diskSizeGB"] != nil && (!sized || size < 1 || size > maxDiskGB) {
		return invalid("disk.diskSizeGB", fmt.Sprintf("The value '%v' of disk.diskSizeGB is out of range. The value must be between '1' and '%d' inclusive.", o["diskSizeGB"], maxDiskGB))
	}
	if old != nil {
		return keepDisk(old, next, o, size)
	}
	creation := o.child("creationData")
	switch option := creation.text("createOption"); strings.ToLower(option) {
	case "":
		return missing("disk.creationData.createOption")
	case "empty":
		if !sized {
			return missing("disk.diskSizeGB")
		}
		creation["createOption"] = "Empty"
	case "copy":
		id, err := arm.ParseID(creation.text("sourceResourceId"))
		if err != nil || !isType(id.String(), typeDisk) {
			return badReference("properties.creationData.sourceResourceId", creation.text("sourceResourceId"))
		}
		source, err := v.Get(ctx, id)
		if isNotFound(err) {
			return absentReference(id.String(), next.ID)
		} else if err != nil {
			return err
		}
		from, err := parse(source.Properties)
		if err != nil {
			return err
		}
		creation["createOption"] = "Copy"
		for _, name := range []string{"diskSizeGB", "osType"} {
			o.fill(name, from[name])
		}
	case "import", "fromimage", "upload", "restore", "attach":
		return unsupported("disk.creationData.createOption", fmt.Sprintf("A disk can't be made by '%s' here: createOption must be Empty or Copy.", option))
	default:
		return invalid("disk.creationData.createOption", fmt.Sprintf("The value '%s' of parameter disk.creationData.createOption is invalid.", option))
	}
	o["timeCreated"] = stamp(next.Created)
	return encodeInto(next, o)
}

// keepDisk carries over what a disk was made with; it can only grow.
func keepDisk(old, next *arm.Resource, o object, size float64) error {
	was, err := parse(old.Properties)
	if err != nil {
		return err
	}
	if had, _ := was["diskSizeGB"].(float64); size > 0 && size < had {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Target: "disk.diskSizeGB",
			Message: fmt.Sprintf("Disk resize is not allowed: the new size %v GB of disk '%s' is smaller than its size %v GB.", size, nameOf(next.ID), had)}
	}
	for name, value := range was {
		o.fill(name, value)
	}
	for _, name := range []string{"creationData", "timeCreated"} {
		o[name] = was[name]
	}
	return encodeInto(next, o)
}

func encodeInto(r *arm.Resource, o object) (err error) {
	delete(o, "provisioningState")
	r.Properties, err = o.encode()
	return err
}

// holderOf finds the VM that has a disk, nil if none.
func (f *Fake) holderOf(ctx context.Context, v arm.View, disk arm.ID) (*arm.Resource, error) {
	sub, err := subscriptionID(disk)
	if err != nil || v == nil {
		return nil, err
	}
	vms, err := v.List(ctx, sub, typeVM)
	if err != nil {
		return nil, err
	}
	for _, vm := range vms {
		o, err := parse(vm.Properties)
		if err != nil {
			return nil, err
		}
		p, err := privateOf(vm)
		if err != nil {
			return nil, err
		}
		for _, d := range disksIn(o) {
			if !p.Gone && same(d.child("managedDisk").text("id"), disk.String()) {
				return vm, nil
			}
		}
	}
	return nil, nil
}

// disksIn are a VM's: the system's first.
func disksIn(o object) []object {
	storage := o.child("storageProfile")
	return append([]object{storage.child("osDisk")}, storage.list("dataDisks")...)
}

func (f *Fake) admitDiskDelete(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) error {
	vm, err := f.holderOf(ctx, v, r.ID)
	if err != nil || vm == nil || vm.Deleting {
		return err
	}
	return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Disk %s is attached to VM %s.", nameOf(r.ID), vm.ID)}
}

func (f *Fake) renderDisk(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	vm, err := f.holderOf(context.Background(), c.View, r.ID)
	if err != nil {
		return nil, err
	}
	out := envelope(r, typeDisk, o, r.Tags)
	o["diskState"] = "Unattached"
	if vm != nil {
		out["managedBy"] = vm.ID.String()
		p, err := privateOf(vm)
		if err != nil {
			return nil, err
		}
		if o["diskState"] = "Attached"; p.Want == "deallocated" {
			o["diskState"] = "Reserved"
		}
	}
	return out, nil
}

// implicitDisks are the resources that a VM's managed disks are, to be made if they aren't there.
func implicitDisks(vm *arm.Resource, o object) ([]*arm.Resource, error) {
	var out []*arm.Resource
	image := o.child("storageProfile").child("imageReference")
	for i, d := range disksIn(o) {
		managed := d.child("managedDisk")
		id, err := arm.ParseID(managed.text("id"))
		if err != nil || strings.EqualFold(d.text("createOption"), "Attach") {
			continue
		}
		creation := object{"createOption": d.text("createOption")}
		p := object{"creationData": creation, "diskSizeGB": d["diskSizeGB"], "timeCreated": stamp(vm.Modified)}
		if i == 0 {
			p["osType"] = "Linux"
		}
		if strings.EqualFold(d.text("createOption"), "FromImage") {
			ref := object{"id": imageID(vm, image)}
			if i > 0 {
				ref["lun"] = d["lun"]
			}
			creation["imageReference"] = ref
		}
		r := &arm.Resource{ID: id, Location: vm.Location, Zones: vm.Zones, SKU: diskSKU(managed.text("storageAccountType"))}
		if vm.Tags != nil {
			r.Tags = map[string]string{}
			for k, t := range vm.Tags {
				r.Tags[k] = t
			}
		}
		if r.Properties, err = p.encode(); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// imageID is the id of what an image reference names.
func imageID(vm *arm.Resource, image object) string {
	if id := image.text("id"); id != "" {
		return id
	}
	return versionID(subscriptionOf(vm.ID), hardware.Location(vm.Location), image.text("publisher"), image.text("offer"), image.text("sku"), image.text("version"))
}

// source is what a VM is made from.
type source struct {
	osGB  int
	data  map[int]int // sizes in GB by lun
	kind  string      // storage account type that the image asks for
	named bool        // a user's image, whose disks are numbered
}

// fillDisks checks a VM's disks and sets what the service adds to them. before is empty for a new VM.
func (f *Fake) fillDisks(ctx context.Context, v arm.View, o, before object, from source, size hardware.VMSize, next *arm.Resource) error {
	first := len(before) == 0
	storage := o.child("storageProfile")
	kind := from.kind
	if kind == "" {
		if kind = "Standard_LRS"; size.Premium() {
			kind = "Premium_LRS"
		}
	}
	disk := storage.child("osDisk")
	disk.fillAll(map[string]any{"osType": "Linux", "createOption": "FromImage", "caching": "ReadWrite", "diskSizeGB": from.osGB})
	if strings.EqualFold(disk.text("createOption"), "FromImage") {
		disk["createOption"] = "FromImage"
	}
	pattern := "%s_OsDisk_1_%s"
	if from.named {
		pattern = "%s_disk1_%s"
	}
	disk.fill("name", fmt.Sprintf(pattern, nameOf(next.ID), f.hex(32)))
	if err := fillManaged(disk, next, kind, size); err != nil {
		return err
	}
	if storage["dataDisks"] == nil && !first {
		storage["dataDisks"] = before.child("storageProfile")["dataDisks"]
	}
	var had []object
	if !first {
		had = before.child("storageProfile").list("dataDisks")
	}
	data, err := f.fillData(ctx, v, storage.list("dataDisks"), had, from, kind, size, next)
	if err == nil && first {
		data, err = f.addImageData(ctx, v, data, from, kind, size, next)
	}
	if err != nil {
		return err
	}
	if len(data) > size.MaxDataDisks {
		return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Target: "dataDisks",
			Message: fmt.Sprintf("The maximum number of data disks allowed to be attached to a VM of this size is %d.", size.MaxDataDisks)}
	}
	storage["dataDisks"] = data
	return nil
}

func fillManaged(disk object, vm *arm.Resource, kind string, size hardware.VMSize) error {
	if disk["vhd"] != nil {
		delete(disk, "managedDisk")
		return nil
	}
	delete(disk, "vhd")
	managed := disk.child("managedDisk")
	managed.fill("storageAccountType", kind)
	word, ok := diskTypes[strings.ToLower(managed.text("storageAccountType"))]
	switch {
	case !ok:
		return invalid("managedDisk.storageAccountType", fmt.Sprintf("The value '%v' of parameter managedDisk.storageAccountType is invalid.", managed["storageAccountType"]))
	case word == "Premium_LRS" && !size.Premium():
		return invalid("osDisk.managedDisk.storageAccountType", fmt.Sprintf("Requested operation cannot be performed because the VM size %s does not support the storage account type Premium_LRS of disk '%s'. Consider updating the VM to a size that supports Premium storage.", size.Name, disk.text("name")))
	}
	managed["storageAccountType"] = word
	managed.fill("id", scopeOf(vm.ID)+"/providers/Microsoft.Compute/disks/"+disk.text("name"))
	return nil
}

// fillData checks the data disks that are given; had are those there were.
func (f *Fake) fillData(ctx context.Context, v arm.View, given, had []object, from source, kind string, size hardware.VMSize, next *arm.Resource) ([]any, error) {
	luns := map[float64]bool{}
	out := []any{}
	for i, d := range given {
		lun, ok := d["lun"].(float64)
		if !ok || lun < 0 || lun != float64(int(lun)) {
			return nil, invalid("dataDisks.lun", "Required parameter 'dataDisk.lun' is missing (null) or invalid.")
		}
		if luns[lun] {
			return nil, invalid("dataDisk.lun", fmt.Sprintf("The value '%v' of parameter 'dataDisk.lun' is used by more than one data disk.", lun))
		}
		luns[lun] = true
		for _, old := range had {
			if old["lun"] == d["lun"] && (d.text("name") == "" || strings.EqualFold(d.text("name"), old.text("name"))) {
				fillFrom(d, old)
			}
		}
		if err := f.fillDataDisk(ctx, v, d, i, from, kind, size, next); err != nil {
			return nil, err
		}
		out = append(out, map[string]any(d))
	}
	return out, nil
}

// addImageData adds the data disks that the image has and the client did not name.
func (f *Fake) addImageData(ctx context.Context, v arm.View, data []any, from source, kind string, size hardware.VMSize, next *arm.Resource) ([]any, error) {
	for _, lun := range slices.Sorted(maps.Keys(from.data)) {
		named := slices.ContainsFunc(data, func(d any) bool { return object(d.(map[string]any))["lun"] == float64(lun) })
		if named {
			continue
		}
		d := object{"lun": float64(lun), "createOption": "FromImage", "diskSizeGB": float64(from.data[lun])}
		if err := f.fillDataDisk(ctx, v, d, len(data), from, kind, size, next); err != nil {
			return nil, err
		}
		data = append(data, map[string]any(d))
	}
	return data, nil
}

// fillFrom fills what a client left out with what there was, down the objects.
func fillFrom(o, old object) {
	for name, value := range old {
		o.fill(name, value)
		inner, ok := o[name].(map[string]any)
		outer, too := value.(map[string]any)
		if ok && too {
			fillFrom(inner, outer)
		}
	}
}

func (f *Fake) fillDataDisk(ctx context.Context, v arm.View, d object, i int, from source, kind string, size hardware.VMSize, next *arm.Resource) error {
	d.fill("caching", "None")
	option := d.text("createOption")
	switch strings.ToLower(option) {
	case "":
		return missing("dataDisk.createOption")
	case "empty":
		d["createOption"] = "Empty"
		if gb, ok := d["diskSizeGB"].(float64); !ok || gb < 1 || gb > maxDiskGB {
			return invalid("dataDisk.diskSizeGB", fmt.Sprintf("The value '%v' of parameter 'dataDisk.diskSizeGB' is out of range. The value must be between '1' and '%d' inclusive.", d["diskSizeGB"], maxDiskGB))
		}
	case "fromimage":
		d["createOption"] = "FromImage"
		lun, _ := d["lun"].(float64)
		gb, ok := from.data[int(lun)]
		if !ok && d["diskSizeGB"] == nil {
			return invalid("dataDisk.lun", fmt.Sprintf("The image has no data disk with lun %v.", d["lun"]))
		}
		d.fill("diskSizeGB", float64(gb))
	case "attach":
		d["createOption"] = "Attach"
		return f.attachDisk(ctx, v, d, next)
	default:
		return invalid("dataDisk.createOption", fmt.Sprintf("The value '%s' of parameter 'dataDisk.createOption' is invalid.", option))
	}
	pattern := "%s_disk%d_%s"
	if d.text("createOption") == "FromImage" && !from.named {
		pattern = "%s_lun_" + fmt.Sprint(d["lun"]) + "_%d_%s"
	}
	d.fill("name", fmt.Sprintf(pattern, nameOf(next.ID), i+2, f.hex(32)))
	return fillManaged(d, next, kind, size)
}

// attachDisk takes a disk that is there and nobody else's.
func (f *Fake) attachDisk(ctx context.Context, v arm.View, d object, vm *arm.Resource) error {
	if d["vhd"] != nil {
		return unsupported("dataDisk.createOption", "An unmanaged disk can't be attached here.")
	}
	text := d.child("managedDisk").text("id")
	id, err := arm.ParseID(text)
	if err != nil || !isType(text, typeDisk) {
		return badReference("properties.storageProfile.dataDisks.managedDisk.id", text)
	}
	r, err := v.Get(ctx, id)
	if isNotFound(err) {
		return &arm.Error{Status: http.StatusNotFound, Code: "NotFound", Message: fmt.Sprintf("Disk %s is not found.", nameOf(id)), Target: "dataDisk"}
	} else if err != nil {
		return err
	}
	holder, err := f.holderOf(ctx, v, id)
	if err != nil {
		return err
	}
	if holder != nil && !same(holder.ID.String(), vm.ID.String()) {
		return &arm.Error{Status: http.StatusConflict, Code: "ConflictingUserInput", Target: "dataDisk",
			Message: fmt.Sprintf("Disk '%s' cannot be attached as the disk is already owned by VM '%s'.", nameOf(id), holder.ID)}
	}
	o, err := parse(r.Properties)
	sku, failed := parse(r.SKU)
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	d.fillAll(map[string]any{"name": nameOf(id), "diskSizeGB": o["diskSizeGB"]})
	d.child("managedDisk").fill("storageAccountType", sku.text("name"))
	return nil
}
