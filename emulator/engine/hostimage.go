package engine

import (
	_ "embed"
	"encoding/json"
	"path"
	"strings"
	"sync"
)

//go:embed hostimages.json
var hostImagesJSON []byte

// HostImage is an image that this host stands for where containers are its
// processes: a Python, a plain distribution, or a base image of the SDK's, of
// which a container is given the host's. No other image is.
type HostImage struct {
	// Match is as MatchImage takes it.
	Match string
	// Command is what the image runs where the container says nothing.
	Command []string
	// MovesPorts says that what runs of it listens at LAZULITE_LISTEN_n, which is then set to host:port,
	// in place of its port n, so that two containers can have one port.
	MovesPorts bool
}

// HostImages is the table of hostimages.json; the first row that matches counts.
var HostImages = sync.OnceValue(func() []HostImage {
	var all []HostImage
	if err := json.Unmarshal(hostImagesJSON, &all); err != nil {
		panic("engine: embedded hostimages.json: " + err.Error())
	}
	return all
})

// FindHostImage gives the row of an image: one of the caller's own, or of HostImages.
func FindHostImage(image string, own ...HostImage) (HostImage, bool) {
	for _, rows := range [][]HostImage{own, HostImages()} {
		for _, row := range rows {
			if MatchImage(row.Match, image) {
				return row, true
			}
		}
	}
	return HostImage{}, false
}

// MatchImage says whether a pattern, in which * is anything up to the next slash,
// is an image's name as clients send it, or that name without tag and digest. Case does
// not count, nor does docker.io/ or docker.io/library/ in front. A pattern that
// path.Match can't read matches nothing.
func MatchImage(pattern, image string) bool {
	pattern, image = foldImage(pattern), foldImage(image)
	bare, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(bare, ":"); i > strings.LastIndex(bare, "/") {
		bare = bare[:i]
	}
	for _, name := range []string{image, bare} {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

func foldImage(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
}
