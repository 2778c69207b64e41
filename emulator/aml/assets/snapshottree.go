package assets

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"lazulite.dev/emulator/aml/plane"
)

// Limits of a snapshot, as the SDK of 2018 names them to its user.
const (
	maxSnapshotFiles = 2000
	maxSnapshotBytes = 300 << 20
	// maxTree and maxDepth bound what a tree may cost to read; file systems go no deeper.
	maxTree  = 64 << 20
	maxDepth = 256
)

const (
	typeFile      = "File"
	typeDirectory = "Directory"
)

// node is one entry of a snapshot's tree: as the client sends it (children a
// list), and with what the service knows of the content.
type node struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Timestamp string  `json:"timestamp"`
	Hash      string  `json:"hash"`
	Children  []*node `json:"children"`
	// Content is the SHA-256 of the file; empty while it has not come.
	Content string `json:"content,omitempty"`
	Size    int64  `json:"size,omitempty"`
}

// UnmarshalJSON takes children as the list of SDK 0.1.68 and as the dictionary of 1.x.
func (n *node) UnmarshalJSON(b []byte) error {
	type plain node
	doc := struct {
		*plain
		Children json.RawMessage `json:"children"`
	}{plain: (*plain)(n)}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if c := bytes.TrimSpace(doc.Children); len(c) == 0 || c[0] != '{' {
		if len(c) == 0 {
			return nil
		}
		return json.Unmarshal(c, &n.Children)
	}
	var named map[string]*node
	if err := json.Unmarshal(doc.Children, &named); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		n.Children = append(n.Children, named[name])
	}
	return nil
}

// wireNode is the form that the service answers: children a dictionary.
type wireNode struct {
	Name      string              `json:"name"`
	Type      string              `json:"type"`
	Timestamp string              `json:"timestamp"`
	Hash      string              `json:"hash"`
	Children  map[string]wireNode `json:"children"`
}

func (n *node) wire() wireNode {
	w := wireNode{Name: n.Name, Type: n.Type, Timestamp: n.Timestamp, Hash: n.Hash, Children: map[string]wireNode{}}
	for _, c := range n.Children {
		w.Children[c.Name] = c.wire()
	}
	return w
}

// parseTree reads and checks a tree: no name may lead out of its folder, none
// may come twice, and there are files and directories and nothing else.
func parseTree(b []byte) (*node, error) {
	var root *node
	if err := json.Unmarshal(b, &root); err != nil || root == nil {
		return nil, plane.BadRequest("dirTreeRootFile", "The directory tree is not valid JSON of a snapshot's tree.")
	}
	if root.Name != "" || root.Type != typeDirectory {
		return nil, plane.BadRequest("dirTreeRootFile", "The root of the directory tree must be a Directory without a name.")
	}
	return root, root.check("", 0)
}

func (n *node) check(path string, depth int) error {
	// What a client claims about content is no concern of the service's.
	n.Content, n.Size = "", 0
	if depth > maxDepth {
		return plane.BadRequest("dirTreeRootFile", "The directory tree is deeper than %d folders.", maxDepth)
	}
	switch n.Type {
	case typeDirectory:
	case typeFile:
		if len(n.Children) > 0 {
			return plane.BadRequest("dirTreeRootFile", "The file '%s' of the directory tree has children.", path)
		}
	default:
		return plane.BadRequest("dirTreeRootFile", "The entry '%s' of the directory tree is of type '%s'; a snapshot holds files and directories alone.", path, n.Type)
	}
	seen := map[string]bool{}
	for _, c := range n.Children {
		if c == nil {
			return plane.BadRequest("dirTreeRootFile", "The directory '%s' of the tree has a null entry.", path)
		}
		if why := badName(c.Name); why != "" {
			return plane.BadRequest("dirTreeRootFile", "The name '%s' in directory '%s' of the tree is not valid: %s.", c.Name, path, why)
		}
		if seen[c.Name] {
			return plane.BadRequest("dirTreeRootFile", "The name '%s' comes twice in directory '%s' of the tree.", c.Name, path)
		}
		seen[c.Name] = true
		if err := c.check(strings.TrimPrefix(path+"/"+c.Name, "/"), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// badName says why name can't be one segment of a relative path on any system; empty if it can.
func badName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it leaves its folder"
	case strings.ContainsAny(name, "/\\"):
		return "it holds a path separator"
	case isDrive(name):
		return "it is absolute"
	case len(name) > 255:
		return "it is longer than 255 bytes"
	case !utf8.ValidString(name) || hasControl(name):
		return "it holds control characters or is not UTF-8"
	}
	return ""
}

// isDrive tells "C:" and "C:name", which Windows resolves against a drive.
func isDrive(name string) bool {
	return len(name) >= 2 && name[1] == ':' && (name[0]|0x20) >= 'a' && (name[0]|0x20) <= 'z'
}

// badRelPath says why path can't be unpacked below any folder; empty if it can.
func badRelPath(path string) string {
	switch {
	case path == "":
		return "it is empty"
	case strings.HasPrefix(path, "/"):
		return "it is absolute"
	case len(path) > 4096:
		return "it is too long"
	}
	for _, seg := range strings.Split(path, "/") {
		if why := badName(seg); why != "" {
			return why
		}
	}
	return ""
}

// files calls f for each file with its path.
func (n *node) files(path string, f func(path string, n *node)) {
	for _, c := range n.Children {
		p := strings.TrimPrefix(path+"/"+c.Name, "/")
		if c.Type == typeFile {
			f(p, c)
		} else {
			c.files(p, f)
		}
	}
}
