package execution

import (
	"context"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// kind is what a target does with a run.
type kind int

const (
	overSSH kind = iota
	onBatchAI
	onContainerInstance
)

// target is where a run goes: a machine to log in to, or where it is ordered by ARM.
type target struct {
	Name string
	kind kind
	// machine is of overSSH.
	machine machine
	// hdinsight says that the machine is the head node of a cluster, on whose YARN Spark runs.
	hdinsight bool
	// cluster is the ARM id of onBatchAI's.
	cluster string
}

// machine is where to log in, and under which name its host key is kept.
type machine struct {
	Name string
	Key  string // of the host key and of its place in the queue
	SSHTarget
}

// ordered targets run jobs that the resource manager is asked for.
func (t target) ordered() bool { return t.kind != overSSH }

// check refuses what the target does not do for runs.
func (t target) check(c *configuration) error {
	switch t.kind {
	case onBatchAI:
		return nil
	case onContainerInstance:
		return c.checkContainerInstance()
	default:
		if t.hdinsight {
			return c.checkHDInsight(t.Name)
		}
		return c.checkOneProcess(t.Name)
	}
}

// isLocal follows the SDK's own rule: the name local, or a .compute file of a local kind.
func isLocal(d *definition) bool {
	if d.Configuration.Target == "local" {
		return true
	}
	return d.TargetDetails != nil && (strings.EqualFold(d.TargetDetails.Type, "local") || d.TargetDetails.inDocker() && !d.TargetDetails.remote())
}

// inDocker: kinds of .compute files whose runs are in a container, whatever the run's configuration says.
func (t *targetDetails) inDocker() bool {
	kind := strings.ToLower(t.Type)
	return kind == "docker" || kind == "localdocker" || kind == "remotedocker"
}

func (t *targetDetails) remote() bool {
	return strings.EqualFold(t.Type, "remote") || strings.EqualFold(t.Type, "remotedocker") || t.hdinsight()
}

// hdinsight is a head node, by the name that .compute files have for it.
func (t *targetDetails) hdinsight() bool { return strings.EqualFold(t.Type, "cluster") }

// resolve finds what a target's name means in the workspace.
func (s *Service) resolve(ctx context.Context, ws plane.Workspace, name string, details *targetDetails) (target, error) {
	t, err := s.find(ctx, ws, name, details)
	if err == nil && s.drivers[t.kind] == nil {
		err = plane.BadRequest("Configuration.target", "Runs on the target '%s' are not emulated here: no resource manager is known.", name)
	}
	return t, err
}

func (s *Service) find(ctx context.Context, ws plane.Workspace, name string, details *targetDetails) (target, error) {
	if details != nil {
		return s.resolveLegacy(ctx, ws, name, details)
	}
	const field = "Configuration.target"
	if strings.EqualFold(name, containerInstance) {
		return target{Name: name, kind: onContainerInstance}, nil
	}
	if name == "local" {
		return target{}, plane.BadRequest(field, "The target 'local' is the client's own machine; nothing runs there from here.")
	}
	if s.cfg.Computes == nil {
		return target{}, plane.NotFound("Compute Target with name %s not found in provided workspace", name)
	}
	c, err := s.cfg.Computes.Find(ctx, ws, name)
	if err != nil {
		return target{}, err
	}
	t := target{Name: name}
	switch strings.ToLower(c.Type) {
	case "virtualmachine", "dsvm", "remote", "hdinsight":
		t.hdinsight = strings.EqualFold(c.Type, "hdinsight")
		key := ws.GUID + "/" + strings.ToLower(name) + "/" + strings.ToLower(c.Generation)
		t.machine = machine{Name: name, Key: key, SSHTarget: c.SSHTarget}
	case "batchai", "amlcompute":
		t.kind, t.cluster = onBatchAI, c.ResourceID
	default:
		return target{}, plane.BadRequest(field, "The target '%s' is a %s; runs on that kind of compute are not emulated here.", name, c.Type)
	}
	if !strings.EqualFold(c.State, "Succeeded") {
		return target{}, plane.BadRequest(field, "The target '%s' is not ready: its provisioning state is %s.", name, c.State)
	}
	return t, nil
}

// secretPrefix marks a password that is kept by the credential service.
const secretPrefix = "AzureMlSecret="

// resolveLegacy takes a .compute file: a Batch AI cluster by its names, or
// address and user in clear, the password by the name of a secret, or else the
// workspace's own key.
func (s *Service) resolveLegacy(ctx context.Context, ws plane.Workspace, name string, t *targetDetails) (target, error) {
	const field = "TargetDetails"
	if strings.EqualFold(t.Type, "batchai") {
		return t.legacyCluster(ws, name)
	}
	if !t.remote() {
		return target{}, plane.BadRequest(field+".type", "Runs on targets of type '%s' are not emulated here.", t.Type)
	}
	if t.Address == "" {
		return target{}, plane.BadRequest(field+".address", "The target '%s' has no address.", name)
	}
	if t.Username == "" {
		return target{}, plane.BadRequest(field+".username", "The target '%s' has no user name.", name)
	}
	m := machine{
		Name: name, Key: ws.GUID + "/" + strings.ToLower(name) + "/" + strings.ToLower(t.Address),
		SSHTarget: SSHTarget{Address: t.Address, Username: t.Username, Password: t.Password, PrivateKey: t.PrivateKey},
	}
	for _, secret := range []*string{&m.Password, &m.PrivateKey} {
		if id, ok := strings.CutPrefix(*secret, secretPrefix); ok {
			value, err := s.cfg.Assets.Secret(ctx, ws, id)
			if err != nil {
				return target{}, err
			}
			*secret = value
		}
	}
	if m.Password == "" && m.PrivateKey == "" {
		key, err := s.keyPair(ctx, ws)
		if err != nil {
			return target{}, err
		}
		m.PrivateKey = key.PrivateKey
	}
	return target{Name: name, machine: m, hdinsight: t.hdinsight()}, nil
}

// legacyCluster is the cluster of a .compute file of type batchai.
func (t *targetDetails) legacyCluster(ws plane.Workspace, name string) (target, error) {
	const field = "TargetDetails"
	for _, part := range []struct{ field, value string }{{"clusterName", t.ClusterName}, {"workspaceName", t.WorkspaceName}} {
		if part.value == "" {
			return target{}, plane.BadRequest(field+"."+part.field, "The target '%s' has no %s.", name, part.field)
		}
	}
	subscription, group := t.SubscriptionID, t.ResourceGroup
	if subscription == "" {
		subscription = ws.Subscription
	}
	if group == "" {
		group = ws.ResourceGroup
	}
	return target{Name: name, kind: onBatchAI, cluster: "/subscriptions/" + subscription + "/resourceGroups/" + group +
		"/providers/Microsoft.BatchAI/workspaces/" + t.WorkspaceName + "/clusters/" + t.ClusterName}, nil
}
