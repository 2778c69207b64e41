package aci

import (
	_ "embed"
	"encoding/json"
	"path"
	"strings"
	"sync"
)

//go:embed images.json
var imagesJSON []byte

// HostImage is an image that this host stands for on the process engine: a
// Python or a plain distribution, of which a container is given the host's.
type HostImage struct {
	// Match is a name without its tag; * stands for anything up to the next slash.
	Match string
	// Command is what the image runs where the container says nothing.
	Command []string
	// MovesPorts says that what runs of it listens at LAZULITE_PORT_n of the loopback, which is then
	// set, in place of its port n, so that two groups can have one port.
	MovesPorts bool
}

var hostImages = sync.OnceValue(func() []HostImage {
	var all []HostImage
	if err := json.Unmarshal(imagesJSON, &all); err != nil {
		panic("aci: embedded images.json: " + err.Error())
	}
	return all
})

// hostImage finds the row of an image.
func (f *Fake) hostImage(image string) (HostImage, bool) {
	name := strings.ToLower(image)
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	for _, rows := range [][]HostImage{f.cfg.Images, hostImages()} {
		for _, row := range rows {
			if ok, err := path.Match(strings.ToLower(row.Match), name); ok && err == nil {
				return row, true
			}
		}
	}
	return HostImage{}, false
}
