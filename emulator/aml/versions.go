package aml

import "lazulite.dev/emulator/arm"

// Api-versions of the control plane: an SDK's upgrade is a row here.
var (
	workspaceVersions = arm.Versions{From: "2018-03-01-preview"}
	computeVersions   = arm.Versions{From: "2018-03-01-preview"}
)

// workspaceShape is how one range of api-versions wants a workspace on the wire.
type workspaceShape struct {
	upTo string // inclusive; empty: all later ones
	// id and created are the names of the two properties that the service sets.
	id, created string
	// settings: the properties that came with later versions are shown.
	settings bool
}

var workspaceShapes = []workspaceShape{
	{upTo: "2018-03-01-preview", id: "workspaceid", created: "creationDate"},
	{upTo: "2018-11-19", id: "workspaceId", created: "creationTime"},
	{id: "workspaceId", created: "creationTime", settings: true},
}

// computeShape is how one range of api-versions wants a compute on the wire.
type computeShape struct {
	upTo string // inclusive; empty: all later ones
	// bareID: "id" is the compute's name. SDK 0.1.68 reads id as the name and builds URLs of it.
	bareID bool
	// attached: properties.isAttachedCompute, which SDK 1.0.2 and later require.
	attached bool
	// nestedError: an operation's error stands in a second "error" (SDK 0.1.68 and 1.0 crash without).
	nestedError bool
	// action: DELETE must say in underlyingResourceAction what becomes of the machine.
	action bool
	// cluster is the name of the type of clusters; flatStatus puts their status among
	// their properties, where 0.1.68 has it under keys with dots in them.
	cluster    string
	flatStatus bool
}

var computeShapes = []computeShape{
	{upTo: "2018-03-01-preview", bareID: true, nestedError: true, cluster: typeBatchAI},
	{upTo: "2019-05-99", attached: true, nestedError: true, action: true, cluster: typeAmlCompute, flatStatus: true},
	{attached: true, action: true, cluster: typeAmlCompute, flatStatus: true},
}

// shapeOf is the first row that reaches as far as the version.
func shapeOf[S interface{ until() string }](shapes []S, version string) S {
	for _, s := range shapes {
		if s.until() == "" || version <= s.until() {
			return s
		}
	}
	return shapes[len(shapes)-1]
}

func (s workspaceShape) until() string { return s.upTo }
func (s computeShape) until() string   { return s.upTo }
