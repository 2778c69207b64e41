package blob

import (
	"net/http"
	"strings"
)

// operation is one row of the service's table: what a request must look like,
// what a SAS must grant, and who may do it without one.
type operation struct {
	name string
	// level is how deep the URL goes: service, container, blob ('s', 'c', 'o',
	// the letters of an account SAS's srt).
	level byte
	// srt is the level that a SAS must be for, where that is another one.
	srt           byte
	method        string
	restype, comp string
	// need has the SAS permissions of which any one suffices; empty: no SAS suffices.
	need string
	// service says that a service SAS may do it, not just an account SAS.
	service bool
	// public is the access level that anonymous callers need: blob, container, or none.
	public string
	// when narrows rows that differ by headers alone.
	when func(*http.Request) bool
	do   func(*call) error
}

// resource is the letter that an account SAS's srt must have.
func (op *operation) resource() byte {
	if op.srt != 0 {
		return op.srt
	}
	return op.level
}

func has(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get(name) != "" }
}

// blobOperations are in the order of the Blob service REST API reference. The first row that fits is taken.
var blobOperations = []operation{
	{name: "List Containers", level: 's', method: "GET", comp: "list", need: "l", do: (*call).listContainers},
	{name: "Get Service Properties", level: 's', method: "GET", restype: "service", comp: "properties", need: "r", do: (*call).getService},
	{name: "Set Service Properties", level: 's', method: "PUT", restype: "service", comp: "properties", need: "w", do: (*call).setService},
	{name: "Get Account Information", level: 's', method: "GET", restype: "account", comp: "properties", need: "rl", do: (*call).accountInfo},
	{name: "Get Account Information", level: 'c', method: "GET", restype: "account", comp: "properties", need: "rl", service: true, do: (*call).accountInfo},
	{name: "Get Account Information", level: 'o', method: "GET", restype: "account", comp: "properties", need: "rl", service: true, do: (*call).accountInfo},

	{name: "Create Container", level: 'c', method: "PUT", restype: "container", need: "cw", do: (*call).createContainer},
	{name: "Get Container Properties", level: 'c', method: "GET", restype: "container", need: "r", public: "container", do: (*call).containerProperties},
	{name: "Get Container Metadata", level: 'c', method: "GET", restype: "container", comp: "metadata", need: "r", public: "container", do: (*call).containerProperties},
	{name: "Set Container Metadata", level: 'c', method: "PUT", restype: "container", comp: "metadata", need: "w", do: (*call).setContainerMetadata},
	{name: "Get Container ACL", level: 'c', method: "GET", restype: "container", comp: "acl", do: (*call).getACL},
	{name: "Set Container ACL", level: 'c', method: "PUT", restype: "container", comp: "acl", do: (*call).setACL},
	{name: "Delete Container", level: 'c', method: "DELETE", restype: "container", need: "d", do: (*call).deleteContainer},
	{name: "List Blobs", level: 'c', method: "GET", restype: "container", comp: "list", need: "l", service: true, public: "container", do: (*call).listBlobs},

	{name: "Copy Blob", level: 'o', method: "PUT", need: "cw", service: true, when: has("x-ms-copy-source"), do: (*call).copyBlob},
	{name: "Put Blob", level: 'o', method: "PUT", need: "cw", service: true, do: (*call).putBlob},
	{name: "Get Blob", level: 'o', method: "GET", need: "r", service: true, public: "blob", do: (*call).getBlob},
	{name: "Get Blob Metadata", level: 'o', method: "GET", comp: "metadata", need: "r", service: true, public: "blob", do: (*call).blobMetadata},
	{name: "Set Blob Metadata", level: 'o', method: "PUT", comp: "metadata", need: "w", service: true, do: (*call).setBlobMetadata},
	{name: "Set Blob Properties", level: 'o', method: "PUT", comp: "properties", need: "w", service: true, do: (*call).setBlobProperties},
	{name: "Set Blob Tier", level: 'o', method: "PUT", comp: "tier", need: "w", service: true, do: (*call).setTier},
	{name: "Delete Blob", level: 'o', method: "DELETE", need: "d", service: true, do: (*call).deleteBlob},
	{name: "Put Block From URL", level: 'o', method: "PUT", comp: "block", need: "w", service: true, when: has("x-ms-copy-source"), do: (*call).putBlockFromURL},
	{name: "Put Block", level: 'o', method: "PUT", comp: "block", need: "cw", service: true, do: (*call).putBlock},
	{name: "Put Block List", level: 'o', method: "PUT", comp: "blocklist", need: "cw", service: true, do: (*call).putBlockList},
	{name: "Get Block List", level: 'o', method: "GET", comp: "blocklist", need: "r", service: true, public: "blob", do: (*call).getBlockList},
	{name: "Append Block", level: 'o', method: "PUT", comp: "appendblock", need: "aw", service: true, do: (*call).appendBlock},

	{name: "Abort Copy Blob", level: 'o', method: "PUT", comp: "copy", need: "w", service: true, do: (*call).abortCopy},
}

// route finds the operation that a request asks for.
func (c *call) route() (*operation, error) {
	level := byte('s')
	switch {
	case c.blob != "":
		level = 'o'
	case c.container != "":
		level = 'c'
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	table := blobOperations
	if c.svc == fileService {
		table = fileOperations
	}
	restype, comp := strings.ToLower(c.q.Get("restype")), strings.ToLower(c.q.Get("comp"))
	fits := false
	for i := range table {
		op := &table[i]
		if op.level != level || op.comp != comp || op.restype != restype {
			continue
		}
		fits = true
		if op.method == method && (op.when == nil || op.when(c.r)) {
			return op, nil
		}
	}
	switch {
	case fits:
		return nil, fail("UnsupportedHttpVerb")
	case comp != "" && known[comp]:
		return nil, fail("NotImplemented")
	case comp != "":
		return nil, badQuery("comp", c.q.Get("comp"), "")
	case restype != "":
		return nil, badQuery("restype", c.q.Get("restype"), "")
	}
	return nil, fail("InvalidUri")
}

// known are the comps of the real service that are not in the tables.
var known = map[string]bool{
	"snapshot": true, "lease": true, "page": true, "pagelist": true, "incrementalcopy": true, "undelete": true,
	"tags": true, "blobs": true, "batch": true, "query": true, "expiry": true, "immutabilitypolicies": true,
	"legalhold": true, "seal": true, "userdelegationkey": true, "rename": true, "stats": true, "filepermission": true,
	"listhandles": true, "forceclosehandles": true,
}
