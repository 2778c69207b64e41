package hdinsight

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight/cluster"
)

// notes are what the fake keeps of a cluster out of sight: its secrets, what
// is asked for, and where the reconciler stands.
type notes struct {
	ID           string // clusterId, and the cluster's behind it
	User         string
	PasswordHash string   `json:",omitempty"`
	Keys         []string `json:",omitempty"`
	Gateway      gatewayLogin
	Storage      []cluster.Storage            `json:",omitempty"`
	Sites        map[string]map[string]string `json:",omitempty"` // configurations, but the gateway's
	HeadSize     string
	WorkerSize   string
	Workers      int
	Created      bool
	Script       []scriptAction `json:",omitempty"` // to run when the nodes are there
	Persisted    []scriptAction `json:",omitempty"`
	History      []execution    `json:",omitempty"` // newest first
	Extensions   map[string]extension
	Work         *work     `json:",omitempty"` // asked for and not done
	Step         string    `json:",omitempty"` // under way
	Due          time.Time // when its delay is over
}

// gatewayLogin is the cluster login.
type gatewayLogin struct {
	Enabled  bool
	Username string
	Password string
}

// work is one operation on a cluster that is there.
type work struct {
	Kind    string // resize, gateway, script, update, restart
	Scripts []scriptAction
	Persist bool
	Hosts   []string
	// Before is how many workers there were.
	Before int
	// Epoch of the Fake that began it, for what must not be done twice.
	Epoch string
}

func notesOf(r *arm.Resource) (n notes, err error) {
	if len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &n)
	}
	return n, err
}

func (n notes) store(r *arm.Resource) (err error) {
	r.Private, err = json.Marshal(n)
	return err
}

// digest of a gateway's password, for the cluster's own file.
func (n notes) digest(password string) string {
	sum := sha256.Sum256([]byte(n.ID + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

// spec is what the cluster is to be.
func (n notes) spec(r *arm.Resource, kind string) cluster.Spec {
	return cluster.Spec{ID: n.ID, Name: r.ID.Name(), Resource: r.ID.String(), User: n.User, PasswordHash: n.PasswordHash, Keys: n.Keys,
		Gateway:  cluster.Gateway{Enabled: n.Gateway.Enabled, User: n.Gateway.Username, Digest: n.digest(n.Gateway.Password)},
		HeadSize: n.HeadSize, WorkerSize: n.WorkerSize, Workers: n.Workers, Kind: kind, Hadoop: hadoop(kind), Storage: n.Storage, Sites: n.Sites}
}
