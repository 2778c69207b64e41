package pool

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// Cluster is what a cluster is ordered with. All but Scale is fixed from then on.
type Cluster struct {
	// ID is the caller's own name of it, unique in the Pool; a file name of at
	// most 64 letters, digits and hyphens.
	ID string
	// Account is whose cores its nodes count against, a subscription and a region say.
	Account string
	// Size of its nodes, as hardware.Size knows it.
	Size        string
	LowPriority bool
	Scale       Scale
	// Image of the nodes, as the engine's image table knows it (publisher:offer:sku:version).
	Image string
	// User may log in to the nodes, with either.
	User         string
	PasswordHash string `json:",omitempty"` // as sshd.HashPassword made it
	PublicKey    string `json:",omitempty"`
	// Volumes are at $AZ_BATCHAI_MOUNT_ROOT on every node.
	Volumes []Volume `json:",omitempty"`
	// Setup runs on each node before it takes jobs; nil: nothing does.
	Setup *Setup `json:",omitempty"`
}

// Volume is a file system of a cluster or a job.
type Volume struct {
	// Path below the mount root.
	Path string
	// Source is for Config.Mount to understand; it is kept in the state.
	Source json.RawMessage
}

// Setup is setupTask of Batch AI 2018-05-01.
type Setup struct {
	CommandLine string
	Variables   []Variable `json:",omitempty"`
	// StdOutErrPathPrefix may begin with $AZ_BATCHAI_MOUNT_ROOT. Suffix is the path
	// below it of this cluster's setup; each node's output is in a folder of its own there.
	StdOutErrPathPrefix, Suffix string
}

// Variable of a task's environment. A secret one is never in a status or a log of the Pool's.
type Variable struct {
	Name, Value string
	Secret      bool `json:",omitempty"`
}

// ClusterStatus is a snapshot.
type ClusterStatus struct {
	Cluster
	// Target is the number of nodes that it is on its way to.
	Target int
	// Allocated is currentNodeCount: nodes that are there in any state.
	Allocated int
	Counts    Counts
	// Resizing says that nodes are being added or removed, since Since.
	Resizing bool
	Since    time.Time
	Nodes    []NodeStatus // in the order of their making
	Errors   []Error      // of node setup and of allocation
	Deleting bool
}

// Counts are nodeStateCounts of Batch AI 2018-05-01, and the preempted ones that it left out.
type Counts struct{ Preparing, Idle, Running, Leaving, Unusable, Preempted int }

// NodeState as Batch AI names them.
type NodeState string

// Node states. An Allocating node is not there yet: Batch AI does not count it.
const (
	Allocating NodeState = "allocating"
	Preparing  NodeState = "preparing"
	Idle       NodeState = "idle"
	Running    NodeState = "running"
	Leaving    NodeState = "leaving"
	Unusable   NodeState = "unusable"
	Preempted  NodeState = "preempted"
)

// NodeStatus is a node's snapshot.
type NodeStatus struct {
	ID    string
	State NodeState
	Since time.Time
	Job   string // that it runs
	// Address takes SSH logins, as seen from this host; empty where it can't (the simulated engine).
	Address string
	Port    int
	Errors  []Error
}

// Error is BatchAIError of 2018-05-01.
type Error struct {
	Code, Message string
	Details       []Detail `json:",omitempty"`
}

// Detail is NameValuePair of 2018-05-01.
type Detail struct{ Name, Value string }

// Error implements error.
func (e Error) Error() string {
	text := e.Code + ": " + e.Message
	for _, d := range e.Details {
		text += " (" + d.Name + ": " + d.Value + ")"
	}
	return text
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

func (c Cluster) check() error {
	if !idPattern.MatchString(c.ID) {
		return fmt.Errorf("%w: cluster id %q", ErrInvalid, c.ID)
	}
	if err := checkVolumes(c.Volumes); err != nil {
		return err
	}
	if c.Setup != nil && c.Setup.CommandLine == "" {
		return fmt.Errorf("%w: setupTask.commandLine is empty", ErrInvalid)
	}
	return c.Scale.Check()
}
