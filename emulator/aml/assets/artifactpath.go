package assets

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"lazulite.dev/emulator/aml/plane"
)

// Limits of an artifact's path: a blob's name has 1,024 characters and 254 segments at most.
const (
	maxPath    = 1024
	maxSlashes = 253
)

// Origins of artifacts.
const (
	originRun   = "ExperimentRun"
	originLocal = "LocalUpload"
)

// RunContainer is what a run's data container is called by in front of the
// run's id. SDK 1.x names a run's artifacts by it and 0.1.68 by the bare id
// (which never holds a dot): both mean the same files.
const RunContainer = "dcid."

// artifactName is origin, container and normalised path.
type artifactName struct{ Origin, Container, Path string }

// ID is the artifact's id, and its blob's name.
func (n artifactName) ID() string { return n.Origin + "/" + n.Container + "/" + n.Path }

// parseOrigin folds the origin to its own spelling.
func parseOrigin(origin string) (string, error) {
	for _, o := range []string{originRun, originLocal} {
		if strings.EqualFold(o, origin) {
			return o, nil
		}
	}
	return "", plane.BadRequest("origin", "The artifact origin '%s' is not known; it must be one of %s and %s.", origin, originRun, originLocal)
}

func parseContainer(origin, container string) (artifactName, error) {
	o, err := parseOrigin(origin)
	if err != nil {
		return artifactName{}, err
	}
	if strings.ContainsAny(container, "/\\") || container == "." || container == ".." || len(container) > 256 || hasControl(container) {
		return artifactName{}, plane.BadRequest("container", "The artifact container '%s' is not valid.", container)
	}
	if o == originRun {
		container = strings.TrimPrefix(container, RunContainer)
	}
	return artifactName{Origin: o, Container: container}, nil
}

// hasControl also tells U+10FFFF, which no blob's name may hold.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x10FFFF })
}

// units is the length as storage counts it: in UTF-16.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

// cleanPath normalises "./outputs//m.txt" to "outputs/m.txt", and an absolute
// path, by which SDK 0.1.68's log_image names its artifact, to one below the container. Everything that
// a reader of the path could take for a way out of its folder is refused.
func cleanPath(target, path string) (string, error) {
	bad := func(why string) error {
		shown := path
		if len(shown) > 200 {
			shown = strings.ToValidUTF8(shown[:200], "") + "..."
		}
		return plane.BadRequest(target, "The artifact path '%s' is not valid: %s.", shown, why)
	}
	switch {
	case path == "":
		return "", bad("it is empty")
	case units(path) > maxPath:
		return "", bad("it is longer than 1024 characters")
	case hasControl(path):
		return "", bad("it holds control characters or is not UTF-8")
	case strings.Contains(path, "\\"):
		return "", bad("it holds a backslash")
	case strings.HasSuffix(path, "/"):
		return "", bad("it names a folder")
	}
	var kept []string
	for _, seg := range strings.Split(path, "/") {
		switch seg {
		case "", ".":
		case "..":
			return "", bad("it leaves its container")
		default:
			kept = append(kept, seg)
		}
	}
	if len(kept) == 0 {
		return "", bad("it names no file")
	}
	return strings.Join(kept, "/"), nil
}

// parseArtifact checks all three parts.
func parseArtifact(origin, container, path string) (artifactName, error) {
	n, err := parseContainer(origin, container)
	if err != nil {
		return n, err
	}
	if n.Path, err = cleanPath("path", path); err != nil {
		return n, err
	}
	return n, checkID("path", n)
}

// checkID refuses an id that is no blob name for its length.
func checkID(target string, n artifactName) error {
	if strings.Count(n.ID(), "/") > maxSlashes {
		return plane.BadRequest(target, "The artifact path '%.200s...' is not valid: it has more than %d folders.", n.Path, maxSlashes)
	}
	if units(n.ID()) > maxPath {
		return plane.BadRequest(target, "The artifact path '%.200s...' is not valid: with its container it is longer than 1024 characters.", n.Path)
	}
	return nil
}

// parseArtifactID splits "ExperimentRun/run/outputs/m.txt".
func parseArtifactID(target, id string) (artifactName, error) {
	parts := strings.SplitN(id, "/", 3)
	if len(parts) < 3 {
		return artifactName{}, plane.BadRequest(target, "'%s' is not an artifact id: it must be {origin}/{container}/{path}.", id)
	}
	return parseArtifact(parts[0], parts[1], strings.TrimSuffix(parts[2], "/"))
}
