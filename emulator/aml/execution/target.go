package execution

import (
	"context"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// machine is a resolved target: where to log in, and under which name its host key is kept.
type machine struct {
	Name string
	Key  string // of the host key and of its place in the queue
	SSHTarget
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
	return strings.EqualFold(t.Type, "remote") || strings.EqualFold(t.Type, "remotedocker")
}

// resolve finds the machine that a target's name means in the workspace.
func (s *Service) resolve(ctx context.Context, ws plane.Workspace, name string, details *targetDetails) (machine, error) {
	if details != nil {
		return s.resolveLegacy(ctx, ws, name, details)
	}
	const field = "Configuration.target"
	if strings.EqualFold(name, "containerinstance") {
		return machine{}, plane.BadRequest(field, "The target 'containerinstance' (Azure Container Instances) is not emulated here.")
	}
	if name == "local" {
		return machine{}, plane.BadRequest(field, "The target 'local' is the client's own machine; nothing runs there from here.")
	}
	if s.cfg.Computes == nil {
		return machine{}, plane.NotFound("Compute Target with name %s not found in provided workspace", name)
	}
	c, err := s.cfg.Computes.Find(ctx, ws, name)
	if err != nil {
		return machine{}, err
	}
	switch strings.ToLower(c.Type) {
	case "virtualmachine", "dsvm", "remote":
	default:
		return machine{}, plane.BadRequest(field, "The target '%s' is a %s; runs on that kind of compute are not emulated here.", name, c.Type)
	}
	if !strings.EqualFold(c.State, "Succeeded") {
		return machine{}, plane.BadRequest(field, "The target '%s' is not ready: its provisioning state is %s.", name, c.State)
	}
	key := ws.GUID + "/" + strings.ToLower(name) + "/" + strings.ToLower(c.Generation)
	return machine{Name: name, Key: key, SSHTarget: c.SSHTarget}, nil
}

// secretPrefix marks a password that is kept by the credential service.
const secretPrefix = "AzureMlSecret="

// resolveLegacy takes a .compute file: address and user in clear, the password
// by the name of a secret, or else the workspace's own key.
func (s *Service) resolveLegacy(ctx context.Context, ws plane.Workspace, name string, t *targetDetails) (machine, error) {
	const field = "TargetDetails"
	if !t.remote() {
		return machine{}, plane.BadRequest(field+".type", "Runs on targets of type '%s' are not emulated here.", t.Type)
	}
	if t.Address == "" {
		return machine{}, plane.BadRequest(field+".address", "The target '%s' has no address.", name)
	}
	if t.Username == "" {
		return machine{}, plane.BadRequest(field+".username", "The target '%s' has no user name.", name)
	}
	m := machine{
		Name: name, Key: ws.GUID + "/" + strings.ToLower(name) + "/" + strings.ToLower(t.Address),
		SSHTarget: SSHTarget{Address: t.Address, Username: t.Username, Password: t.Password, PrivateKey: t.PrivateKey},
	}
	for _, secret := range []*string{&m.Password, &m.PrivateKey} {
		if id, ok := strings.CutPrefix(*secret, secretPrefix); ok {
			value, err := s.cfg.Assets.Secret(ctx, ws, id)
			if err != nil {
				return machine{}, err
			}
			*secret = value
		}
	}
	if m.Password == "" && m.PrivateKey == "" {
		key, err := s.keyPair(ctx, ws)
		if err != nil {
			return machine{}, err
		}
		m.PrivateKey = key.PrivateKey
	}
	return m, nil
}
