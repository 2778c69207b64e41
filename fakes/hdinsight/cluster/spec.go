package cluster

import "encoding/json"

// Spec is what a cluster is to be.
type Spec struct {
	ID       string
	Name     string // of the resource, and the first label of its host names
	Resource string // its id
	// Account of the logins, on every node that has any.
	User         string
	PasswordHash string   `json:",omitempty"`
	Keys         []string `json:",omitempty"`
	Gateway      Gateway
	Kind         string // as the client wrote it
	// HeadSize and WorkerSize are names of hardware's table.
	HeadSize   string
	WorkerSize string
	Workers    int
	// Edges come and go by AddEdge and RemoveEdge; Apply leaves them.
	Edges []Edge `json:",omitempty"`
	// Hadoop says that YARN and Spark are to run.
	Hadoop bool
	// Storage accounts; the first is the default file system.
	Storage []Storage `json:",omitempty"`
	// Sites are further configurations by file ("yarn-site"), name and value.
	Sites map[string]map[string]string `json:",omitempty"`
}

// Gateway is the login of the cluster's web services.
type Gateway struct {
	Enabled bool
	User    string
	Digest  string // of the password, by whoever made the Spec
}

// Edge is the node of an application.
type Edge struct{ Name, Size string }

// Storage is a container of a storage account.
type Storage struct {
	Account   string // its host name, NAME.blob.core.windows.net
	Container string
	Key       string
}

// Role of a node, as HDInsight names it.
type Role string

// The roles of nodes that run.
const (
	Head   Role = "headnode"
	Worker Role = "workernode"
	EdgeOf Role = "edgenode"
)

// clusterFile is cluster.json.
type clusterFile struct {
	Spec   Spec
	On     bool
	Places map[string]place `json:",omitempty"` // of nodes with logins
	OwnSSH map[string]bool  `json:",omitempty"` // nodes whose container serves them itself
	// Ports of YARN's on the loopback of this host.
	Ports map[string]int `json:",omitempty"`
}

type place struct {
	Address string
	Port    int
}

func (f *clusterFile) parse(data []byte) error { return json.Unmarshal(data, f) }
