package dsvm

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lazulite.dev/emulator/arm"
)

//go:embed images.json
var imagesJSON []byte

// platformImage is a row of images.json: a SKU of the marketplace.
type platformImage struct {
	Publisher, Offer, SKU string
	Versions              []string // oldest first
	OSDiskGB              int
	DataDisksGB           []int
	// Plan says that using it takes a purchase plan, of the SKU's name.
	Plan       bool
	Windows    bool
	Generation string
}

var platformImages = sync.OnceValue(func() []platformImage {
	var all []platformImage
	if err := json.Unmarshal(imagesJSON, &all); err != nil {
		panic("dsvm: embedded images.json: " + err.Error())
	}
	return all
})

// findImage looks a reference up; version may be "latest".
func findImage(publisher, offer, sku, version string) (platformImage, bool) {
	for _, i := range platformImages() {
		if strings.EqualFold(i.Publisher, publisher) && strings.EqualFold(i.Offer, offer) && strings.EqualFold(i.SKU, sku) &&
			(strings.EqualFold(version, "latest") || slices.Contains(i.Versions, version)) {
			return i, true
		}
	}
	return platformImage{}, false
}

// versionID is the id of an image's version, in the spelling of Microsoft.Compute.
func versionID(subscription, location, publisher, offer, sku, version string) string {
	return fmt.Sprintf("/Subscriptions/%s/Providers/Microsoft.Compute/Locations/%s/Publishers/%s/ArtifactTypes/VMImage/Offers/%s/Skus/%s/Versions/%s", subscription, location, publisher, offer, sku, version)
}

// imageQueries are the reads of virtualMachineImages (2018-10-01), each a list of names but the last.
func (f *Fake) imageQueries(versions arm.Versions) []arm.Query {
	const publishers = "locations/{location}/publishers"
	paths := []string{publishers, publishers + "/{publisher}/artifacttypes/vmimage/offers"}
	paths = append(paths, paths[1]+"/{offer}/skus")
	paths = append(paths, paths[2]+"/{sku}/versions")
	out := []arm.Query{{Method: http.MethodGet, Pattern: paths[3] + "/{version}", Versions: versions, Do: f.getImage}}
	for depth, path := range paths {
		out = append(out, arm.Query{Method: http.MethodGet, Pattern: path, Versions: versions, Do: func(_ context.Context, c arm.Call) (any, error) {
			return f.listImages(c, depth)
		}})
	}
	return out
}

func artifactNotFound() *arm.Error {
	return &arm.Error{Status: http.StatusNotFound, Code: "NotFound", Message: "Artifact: VMImage was not found."}
}

// listImages gives what the catalogue has below a path: publishers, offers, SKUs, versions by depth.
func (f *Fake) listImages(c arm.Call, depth int) (any, error) {
	location, err := f.location(c, "locations/publishers")
	if err != nil {
		return nil, err
	}
	want := []string{variable(c, "publisher"), variable(c, "offer"), variable(c, "sku")}
	var path []string // as the catalogue spells it
	names := []string{}
	if depth == 0 {
		for _, h := range handlers {
			if !slices.Contains(names, h.publisher) {
				names = append(names, h.publisher)
			}
		}
	}
	for _, i := range platformImages() {
		have := []string{i.Publisher, i.Offer, i.SKU}
		if !slices.EqualFunc(want[:depth], have[:depth], strings.EqualFold) {
			continue
		}
		path = have[:depth]
		if depth == len(have) {
			names = append(names, i.Versions...)
		} else if !slices.Contains(names, have[depth]) {
			names = append(names, have[depth])
		}
	}
	if path == nil && depth > 0 {
		return nil, artifactNotFound()
	}
	slices.Sort(names)
	if depth == 3 {
		if names, err = cut(c, names); err != nil {
			return nil, err
		}
	}
	steps := []string{"Publishers", "ArtifactTypes/VMImage/Offers", "Skus", "Versions"}
	base := fmt.Sprintf("/Subscriptions/%s/Providers/Microsoft.Compute/Locations/%s", variable(c, "subscription"), location)
	for i, p := range path {
		base += "/" + steps[i] + "/" + p
	}
	out := []object{}
	for _, n := range names {
		out = append(out, object{"location": location, "name": n, "id": base + "/" + steps[depth] + "/" + n})
	}
	return out, nil
}

// cut applies $orderby and $top.
func cut(c arm.Call, names []string) ([]string, error) {
	param := func(name string) string {
		for k, v := range c.Query {
			if strings.EqualFold(k, name) && len(v) > 0 {
				return v[0]
			}
		}
		return ""
	}
	slices.SortFunc(names, compareVersions)
	if strings.EqualFold(strings.TrimSpace(param("$orderby")), "name desc") {
		slices.Reverse(names)
	}
	if top := param("$top"); top != "" {
		n, err := strconv.Atoi(top)
		if err != nil || n < 1 {
			return nil, invalid("$top", fmt.Sprintf("The value '%s' of parameter '$top' is invalid.", top))
		}
		names = names[:min(n, len(names))]
	}
	return names, nil
}

// compareVersions orders by the numbers between the points.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if c := cmp.Compare(m, n); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// getImage is GET of one version.
func (f *Fake) getImage(_ context.Context, c arm.Call) (any, error) {
	location, err := f.location(c, "locations/publishers")
	if err != nil {
		return nil, err
	}
	version := variable(c, "version")
	i, ok := findImage(variable(c, "publisher"), variable(c, "offer"), variable(c, "sku"), version)
	if !ok {
		return nil, artifactNotFound()
	}
	if strings.EqualFold(version, "latest") {
		version = i.Versions[len(i.Versions)-1]
	}
	system := "Linux"
	if i.Windows {
		system = "Windows"
	}
	data := []object{}
	for lun := range i.DataDisksGB {
		data = append(data, object{"lun": lun})
	}
	p := object{"automaticOSUpgradeProperties": object{"automaticOSUpgradeSupported": false}, "osDiskImage": object{"operatingSystem": system}, "dataDiskImages": data}
	if i.Plan {
		p["plan"] = object{"publisher": i.Publisher, "name": i.SKU, "product": i.Offer}
	}
	if arm.CompareVersions(c.Version, "2019-03-01") >= 0 {
		if p["hyperVGeneration"] = i.Generation; i.Generation == "" {
			p["hyperVGeneration"] = "V1"
		}
		p["architecture"] = "x64"
		p["osDiskImage"] = object{"operatingSystem": system, "sizeInGb": i.OSDiskGB}
	}
	return object{"location": location, "name": version, "properties": p, "id": versionID(variable(c, "subscription"), location, i.Publisher, i.Offer, i.SKU, version)}, nil
}
