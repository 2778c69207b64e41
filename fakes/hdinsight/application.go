package hdinsight

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight/cluster"
)

// application is ApplicationProperties.
type application struct {
	ComputeProfile         computeProfile  `json:"computeProfile"`
	InstallScriptActions   []scriptAction  `json:"installScriptActions"`
	UninstallScriptActions []scriptAction  `json:"uninstallScriptActions"`
	HTTPSEndpoints         []httpsEndpoint `json:"httpsEndpoints"`
	SSHEndpoints           []sshEndpoint   `json:"sshEndpoints"`
	ApplicationState       string          `json:"applicationState"`
	CreatedDate            string          `json:"createdDate"`
	ApplicationType        string          `json:"applicationType,omitempty"`
	Errors                 []stateError    `json:"errors,omitempty"`
}

type httpsEndpoint struct {
	AccessModes     []string `json:"accessModes"`
	Location        string   `json:"location,omitempty"`
	DestinationPort int      `json:"destinationPort"`
	PublicPort      int      `json:"publicPort,omitempty"`
	SubDomainSuffix string   `json:"subDomainSuffix,omitempty"`
}

type sshEndpoint struct {
	Location        *string `json:"location"`
	DestinationPort int     `json:"destinationPort"`
	PublicPort      int     `json:"publicPort"`
}

// applicationNotes are what the fake keeps of an application out of sight.
type applicationNotes struct {
	Cluster   string // id of the cluster behind the cluster
	Size      string
	Install   []scriptAction
	Uninstall []scriptAction
	Step      string
	Due       time.Time
	Epoch     string // of the Fake that began the scripts
	Installed bool
}

func (n applicationNotes) store(r *arm.Resource) (err error) {
	r.Private, err = json.Marshal(n)
	return err
}

func (a application) store(r *arm.Resource) (err error) {
	r.Properties, err = json.Marshal(a)
	return err
}

// admitApplication is the last word before a PUT of an application.
func (f *Fake) admitApplication(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	if old != nil {
		return badRequest("The application '%s' exists already and can't be changed. Delete it first.", old.ID.Name())
	}
	parent, err := v.Get(ctx, next.ID.Parent())
	if err != nil {
		return err
	}
	s, cn, err := ready(parent)
	if err != nil {
		return err
	}
	var a application
	if err := decode(next.Properties, &a); err != nil {
		return err
	}
	edge, size, err := f.edge(a)
	if err != nil {
		return err
	}
	n := applicationNotes{Cluster: cn.ID, Size: size, Install: a.InstallScriptActions, Uninstall: a.UninstallScriptActions}
	for _, list := range []*[]scriptAction{&a.InstallScriptActions, &a.UninstallScriptActions} {
		shownScripts := []scriptAction{}
		for i := range *list {
			script := &(*list)[i]
			if err := f.checkScript(ctx, *script, s); err != nil {
				return err
			}
			script.ApplicationName = next.ID.Name()
			// Parameters may hold secrets: they are not shown.
			shownScripts = append(shownScripts, scriptAction{Name: script.Name, URI: script.URI, Roles: script.Roles})
		}
		*list = shownScripts
	}
	a.ComputeProfile = computeProfile{[]role{edge}}
	if a.HTTPSEndpoints == nil {
		a.HTTPSEndpoints = []httpsEndpoint{}
	}
	a.SSHEndpoints, a.Errors = []sshEndpoint{}, nil
	a.ApplicationState, a.CreatedDate = "Accepted", f.cfg.Clock.Now().UTC().Format(stampFormat)
	if err := a.store(next); err != nil {
		return err
	}
	return n.store(next)
}

// edge is the one node that an application has.
func (f *Fake) edge(a application) (role, string, error) {
	const at = "properties.computeProfile.roles"
	if len(a.ComputeProfile.Roles) != 1 || !strings.EqualFold(a.ComputeProfile.Roles[0].Name, "edgenode") {
		return role{}, "", invalidDocument(at, "An application must have one role, 'edgenode'")
	}
	r := a.ComputeProfile.Roles[0]
	size, ok := f.catalogue.size(r.HardwareProfile.VMSize)
	if !ok {
		return role{}, "", invalidDocument(at+".hardwareProfile.vmSize", "VM size '%s' provided in the CSM document is invalid or not supported for role '%s'", r.HardwareProfile.VMSize, r.Name)
	}
	if r.TargetInstanceCount != 1 {
		return role{}, "", invalidDocument(at+".targetInstanceCount", "The target instance count %d of role '%s' must be 1", r.TargetInstanceCount, r.Name)
	}
	return role{Name: r.Name, TargetInstanceCount: 1, HardwareProfile: r.HardwareProfile}, size.Name, nil
}

type applicationReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f applicationReconciler) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	var n applicationNotes
	var a application
	if err := errors.Join(json.Unmarshal(r.Private, &n), json.Unmarshal(r.Properties, &a)); err != nil {
		return arm.Result{}, err
	}
	step := "create"
	if r.Deleting {
		step = "delete"
	} else if n.Installed {
		return arm.Result{Done: true}, nil
	}
	now := f.cfg.Clock.Now()
	if n.Step != step {
		n.Step, n.Due, n.Epoch = step, now.Add(f.delay("application")), ""
		if a.ApplicationState = "AzureVMConfiguration"; step == "delete" {
			a.ApplicationState = "Deleting"
		}
		return arm.Result{RequeueAfter: soon}, errors.Join(a.store(r), n.store(r))
	}
	if wait := n.Due.Sub(now); wait > 0 {
		return arm.Result{RequeueAfter: wait}, nil
	}
	var err error
	if step == "delete" {
		err = f.uninstall(ctx, r, &n)
	} else {
		err = f.install(ctx, r, &a, &n)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return arm.Result{}, err
	case errors.Is(err, errAgain):
		return arm.Result{RequeueAfter: soon}, errors.Join(a.store(r), n.store(r))
	}
	final := asFailure("application", err)
	if final != nil {
		a.ApplicationState, a.Errors = "Error", []stateError{{final.Code, final.Message}}
		n.Step = ""
	}
	if err := errors.Join(a.store(r), n.store(r)); err != nil {
		return arm.Result{}, err
	}
	if final != nil {
		return arm.Result{}, final
	}
	return arm.Result{Done: true}, nil
}

func (f applicationReconciler) install(ctx context.Context, r *arm.Resource, a *application, n *applicationNotes) error {
	if f.fails("application") {
		return arm.Errorf(500, "AzureVMDeploymentFailed", "Azure VM deployment failed: allocation failed. We do not have sufficient capacity for the requested VM size in this region.")
	}
	c := f.fleet.Cluster(n.Cluster)
	if err := c.AddEdge(ctx, cluster.Edge{Name: r.ID.Name(), Size: n.Size}); err != nil {
		return err
	}
	_, port, ok := c.Place("ed-" + r.ID.Name())
	if !ok {
		port = 22
	}
	host := strings.ToLower(r.ID.Name() + "." + r.ID.Parent().Name() + "-ssh.azurehdinsight.net")
	location := host + ":22"
	a.SSHEndpoints = []sshEndpoint{{&location, 22, port}}
	a.ApplicationState = "ApplicationConfiguration"
	if err := f.applicationScripts(ctx, c, n, n.Install); err != nil {
		return err
	}
	a.ApplicationState, n.Installed = "Running", true
	return nil
}

func (f applicationReconciler) uninstall(ctx context.Context, r *arm.Resource, n *applicationNotes) error {
	c := f.fleet.Cluster(n.Cluster)
	if n.Installed {
		if err := f.applicationScripts(ctx, c, n, n.Uninstall); errors.Is(err, errAgain) || ctx.Err() != nil {
			return err
		} else if err != nil {
			f.cfg.Logger.Warn("an application's uninstall script", "application", r.ID.String(), "error", err)
		}
	}
	return c.RemoveEdge(ctx, r.ID.Name())
}

func (f applicationReconciler) applicationScripts(ctx context.Context, c *cluster.Cluster, n *applicationNotes, scripts []scriptAction) error {
	if len(scripts) == 0 {
		return nil
	}
	switch n.Epoch {
	case "":
		n.Epoch = f.epoch
		return errAgain
	case f.epoch:
	default:
		return arm.Errorf(500, "ScriptExecutionFailed", "The application's scripts were interrupted: the emulator ended while they ran.")
	}
	for _, s := range scripts {
		if e := f.runOne(ctx, c, s, byRole(s), "ApplicationConfiguration"); e.Status != "Succeeded" {
			return scriptFailed(e)
		}
	}
	return nil
}
