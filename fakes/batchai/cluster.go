package batchai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
	"lazulite.dev/fakes/batchai/pool"
)

// ubuntu is the image of nodes for which none was named.
const ubuntu = "Canonical:UbuntuServer:16.04-LTS:latest"

// pause is how often a reconciler looks again at what the pool does; a change wakes it before.
const pause = time.Second

// clusterProperties are those that mean something here (ClusterBaseProperties of 2018-05-01).
type clusterProperties struct {
	VMSize        string        `json:"vmSize"`
	VMPriority    string        `json:"vmPriority"`
	ScaleSettings scaleSettings `json:"scaleSettings"`
	Configuration struct {
		ImageReference *struct {
			Publisher, Offer, SKU, Version string
			VirtualMachineImageID          string `json:"virtualMachineImageId"`
		} `json:"imageReference"`
	} `json:"virtualMachineConfiguration"`
	NodeSetup struct {
		SetupTask *struct {
			CommandLine          string     `json:"commandLine"`
			EnvironmentVariables []variable `json:"environmentVariables"`
			Secrets              []variable `json:"secrets"`
			StdOutErrPathPrefix  string     `json:"stdOutErrPathPrefix"`
		} `json:"setupTask"`
		MountVolumes                *mountSettings `json:"mountVolumes"`
		PerformanceCountersSettings *struct {
			AppInsightsReference struct {
				InstrumentationKey                string          `json:"instrumentationKey"`
				InstrumentationKeySecretReference json.RawMessage `json:"instrumentationKeySecretReference"`
			} `json:"appInsightsReference"`
		} `json:"performanceCountersSettings"`
	} `json:"nodeSetup"`
	UserAccountSettings accountSettings `json:"userAccountSettings"`
}

type scaleSettings struct {
	Manual *struct {
		TargetNodeCount        int    `json:"targetNodeCount"`
		NodeDeallocationOption string `json:"nodeDeallocationOption"`
	} `json:"manual"`
	AutoScale *struct {
		MinimumNodeCount int `json:"minimumNodeCount"`
		MaximumNodeCount int `json:"maximumNodeCount"`
		InitialNodeCount int `json:"initialNodeCount"`
	} `json:"autoScale"`
}

type variable struct {
	Name                 string          `json:"name"`
	Value                *string         `json:"value"`
	ValueSecretReference json.RawMessage `json:"valueSecretReference"`
}

type accountSettings struct {
	AdminUserName         string `json:"adminUserName"`
	AdminUserSSHPublicKey string `json:"adminUserSshPublicKey"`
	AdminUserPassword     string `json:"adminUserPassword"`
}

type login struct{ name, hash, key string }

// login is what an administrator may log in with; one of password and key is needed.
func (a accountSettings) login(kind, target string) (login, error) {
	if a.AdminUserPassword == "" && a.AdminUserSSHPublicKey == "" {
		return login{}, propertyMissing(kind, target+".adminUserPassword")
	}
	if !validUser(a.AdminUserName) {
		return login{}, propertyRefused(kind, target+".adminUserName", a.AdminUserName, "is not a name that an account of Linux can have.")
	}
	l := login{name: a.AdminUserName, key: a.AdminUserSSHPublicKey}
	if a.AdminUserPassword != "" {
		var err error
		if l.hash, err = sshd.HashPassword(a.AdminUserPassword); err != nil {
			return l, propertyRefused(kind, target+".adminUserPassword", "***", "is too long.")
		}
	}
	return l, nil
}

func validUser(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '-' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 32 && name != "root"
}

// clusterPrivate is kept of a cluster out of sight.
type clusterPrivate struct {
	Location    string
	Spec        pool.Cluster // its scale is the one that is wanted
	Provisioned string       // provisioningStateTransitionTime
	// Writes that were accepted, and those that the pool knows of. Until it does, the
	// cluster is shown as it was: the answer to a PATCH has the old allocationState.
	Writes, Done int
	Was          *allocation `json:",omitempty"`
}

// allocation is what is shown of a cluster's nodes.
type allocation struct {
	State  string
	Since  string
	Nodes  int
	Counts pool.Counts
}

func clusterNotes(r *arm.Resource) (p clusterPrivate, err error) {
	if len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &p)
	}
	return p, err
}

func (f *Fake) admitCluster(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	properties, err := decode(next.Properties)
	if err != nil {
		return err
	}
	f.fit(kindCluster, c.Version, properties)
	if err := f.complete(kindCluster, c.Version, properties); err != nil {
		return err
	}
	// Of a PATCH both are there: the old one, and the one that was sent. As for any PUT, the sent one counts.
	if old != nil {
		if err := oneScale(c, properties); err != nil {
			return err
		}
	}
	var w clusterProperties
	if err := convert(properties, &w); err != nil {
		return err
	}
	scale, err := w.ScaleSettings.scale()
	if err != nil {
		return err
	}
	var p clusterPrivate
	if old != nil {
		if p, err = clusterNotes(old); err != nil {
			return err
		}
		fillCluster(properties)
		if err := f.keep(kindCluster, c.Version, old, next, properties, "scaleSettings"); err != nil {
			return err
		}
		now := f.allocation(p)
		p.Spec.Scale, p.Was, p.Writes = scale, &now, p.Writes+1
		return encode(p, &next.Private)
	}
	if p.Location, err = f.location(ctx, v, next); err != nil {
		return err
	}
	size, ok := f.size(w.VMSize, p.Location)
	if !ok {
		return propertyRefused(kindCluster, "vmSize", w.VMSize, "is not a supported VM size. See additional details for supported VM sizes.",
			arm.Error{Code: "SupportedVMSizes", Message: f.sizes(p.Location)})
	}
	count, err := f.clusterCount(ctx, v, next.ID.Subscription(), p.Location)
	if err != nil {
		return err
	}
	if count >= f.cfg.Clusters {
		return quotaReached("ClusterQuotaReached", "Microsoft.BatchAI/clusters", f.cfg.Clusters, count, "")
	}
	p.Spec = pool.Cluster{ID: f.newID(), Account: accountOf(next.ID.Subscription(), p.Location, size.Family), Size: size.Name,
		LowPriority: w.VMPriority == "lowpriority", Scale: scale, Image: ubuntu}
	if i := w.Configuration.ImageReference; i != nil {
		if i.VirtualMachineImageID != "" {
			return propertyRefused(kindCluster, "virtualMachineConfiguration.imageReference.virtualMachineImageId", i.VirtualMachineImageID, "is not supported: images of your own can't be booted here.")
		}
		p.Spec.Image = strings.Join([]string{i.Publisher, i.Offer, i.SKU, i.Version}, ":")
	}
	user, err := w.UserAccountSettings.login(kindCluster, "userAccountSettings")
	if err != nil {
		return err
	}
	p.Spec.User, p.Spec.PasswordHash, p.Spec.PublicKey = user.name, user.hash, user.key
	if p.Spec.Volumes, err = f.volumes(ctx, v, kindCluster, "nodeSetup.mountVolumes", w.NodeSetup.MountVolumes, next.ID.Subscription()); err != nil {
		return err
	}
	if err := f.admitSetup(w, next.ID, properties, &p.Spec); err != nil {
		return err
	}
	fillCluster(properties)
	conceal(properties)
	return errors.Join(encode(properties, &next.Properties), encode(p, &next.Private))
}

// admitSetup takes the setup task and the reporting of performance counters.
func (f *Fake) admitSetup(w clusterProperties, id arm.ID, properties map[string]any, spec *pool.Cluster) error {
	if s := w.NodeSetup.PerformanceCountersSettings; s != nil {
		const at = "nodeSetup.performanceCountersSettings.appInsightsReference."
		a := s.AppInsightsReference
		if a.InstrumentationKey == "" && len(a.InstrumentationKeySecretReference) > 0 {
			return vaultRefused(kindCluster, at+"instrumentationKeySecretReference")
		}
		if a.InstrumentationKey == "" {
			return propertyMissing(kindCluster, at+"instrumentationKey")
		}
	}
	s := w.NodeSetup.SetupTask
	if s == nil {
		return nil
	}
	const at = "nodeSetup.setupTask."
	if err := pool.CheckPath(s.StdOutErrPathPrefix); err != nil {
		return propertyRefused(kindCluster, at+"stdOutErrPathPrefix", s.StdOutErrPathPrefix, pathWords)
	}
	variables, err := variablesOf(kindCluster, at, s.EnvironmentVariables, s.Secrets)
	if err != nil {
		return err
	}
	suffix := id.Subscription() + "/" + id.ResourceGroup() + strings.TrimPrefix(id.Parent().String()+"/clusters/"+id.Name(), groupPath(id)) + "/" + spec.ID
	spec.Setup = &pool.Setup{CommandLine: s.CommandLine, Variables: variables, StdOutErrPathPrefix: s.StdOutErrPathPrefix, Suffix: suffix}
	child(child(properties, "nodeSetup"), "setupTask")["stdOutErrPathSuffix"] = suffix
	return nil
}

const pathWords = "is not a path below $AZ_BATCHAI_MOUNT_ROOT or $AZ_BATCHAI_JOB_MOUNT_ROOT."

// variablesOf are environment variables and secrets; target ends in a dot.
func variablesOf(kind, target string, plain, hidden []variable) ([]pool.Variable, error) {
	var out []pool.Variable
	for i, set := range [][]variable{plain, hidden} {
		name := target + []string{"environmentVariables", "secrets"}[i]
		for j, v := range set {
			at := fmt.Sprintf("%s[%d]", name, j)
			switch {
			case strings.ContainsAny(v.Name, "=\x00") || v.Name == "":
				return nil, propertyRefused(kind, at+".name", v.Name, "is not a name that a variable can have.")
			case v.Value == nil && len(v.ValueSecretReference) > 0:
				return nil, vaultRefused(kind, at+".valueSecretReference")
			case v.Value == nil:
				return nil, propertyMissing(kind, at+".value")
			}
			out = append(out, pool.Variable{Name: v.Name, Value: *v.Value, Secret: i == 1})
		}
	}
	return out, nil
}

// fillCluster sets the defaults that a schema can't: those of objects that were not sent at all.
func fillCluster(properties map[string]any) {
	if _, ok := child(properties, "virtualMachineConfiguration")["imageReference"]; !ok {
		part := strings.Split(ubuntu, ":")
		child(properties, "virtualMachineConfiguration")["imageReference"] = map[string]any{"publisher": part[0], "offer": part[1], "sku": part[2], "version": part[3]}
	}
	scale := child(properties, "scaleSettings")
	if len(scale) == 0 {
		scale["manual"] = map[string]any{"targetNodeCount": json.Number("0"), "nodeDeallocationOption": "requeue"}
	}
}

// oneScale takes from the scale settings of a changed cluster what the request does not name.
func oneScale(c arm.Call, properties map[string]any) error {
	var sent struct {
		Properties struct {
			ScaleSettings map[string]json.RawMessage `json:"scaleSettings"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(c.Body, &sent); err != nil {
		return nil // the engine has refused what is not JSON
	}
	scale := child(properties, "scaleSettings")
	for _, pair := range [][2]string{{"manual", "autoScale"}, {"autoScale", "manual"}} {
		if hasFold(sent.Properties.ScaleSettings, pair[0]) && !hasFold(sent.Properties.ScaleSettings, pair[1]) {
			delete(scale, pair[1])
		}
	}
	return nil
}

func hasFold(m map[string]json.RawMessage, name string) bool {
	for k, v := range m {
		if strings.EqualFold(k, name) && string(v) != "null" {
			return true
		}
	}
	return false
}

// scale checks the settings and makes them the pool's.
func (s scaleSettings) scale() (pool.Scale, error) {
	const at = "scaleSettings"
	switch {
	case s.Manual != nil && s.AutoScale != nil:
		return pool.Scale{}, propertyRefused(kindCluster, at, "manual and autoScale", "is not supported: only one of manual and autoScale may be specified.")
	case s.AutoScale != nil:
		a := s.AutoScale
		if a.MinimumNodeCount > a.MaximumNodeCount {
			return pool.Scale{}, propertyRefused(kindCluster, at+".autoScale.minimumNodeCount", a.MinimumNodeCount, fmt.Sprintf("is greater than the maximumNodeCount %d.", a.MaximumNodeCount))
		}
		if a.InitialNodeCount > a.MaximumNodeCount {
			return pool.Scale{}, propertyRefused(kindCluster, at+".autoScale.initialNodeCount", a.InitialNodeCount, fmt.Sprintf("is greater than the maximumNodeCount %d.", a.MaximumNodeCount))
		}
		return pool.Scale{Auto: &pool.Auto{Minimum: a.MinimumNodeCount, Maximum: a.MaximumNodeCount, Initial: a.InitialNodeCount}}, nil
	case s.Manual != nil:
		return pool.Scale{Manual: &pool.Manual{Target: s.Manual.TargetNodeCount, Deallocation: pool.Deallocation(s.Manual.NodeDeallocationOption)}}, nil
	}
	return pool.Scale{Manual: &pool.Manual{}}, nil
}

type clusterReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler: it tells the pool what is wanted. A cluster is provisioned
// when the pool has it; that its nodes come is its allocationState.
func (f clusterReconciler) Reconcile(_ context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	p, err := clusterNotes(r)
	if err != nil {
		return arm.Result{}, err
	}
	f.follow(v, p.Spec.ID, r.ID)
	if r.Deleting {
		gone, err := f.remove(p.Spec.ID)
		if err != nil || !gone {
			return arm.Result{RequeueAfter: pause}, err
		}
		return arm.Result{Done: true}, nil
	}
	if p.Provisioned == "" {
		if err := f.pool.Create(p.Spec); err != nil && !errors.Is(err, pool.ErrExists) {
			return arm.Result{}, fmt.Errorf("batchai: %w", err)
		}
		p.Provisioned = stamp(f.cfg.Clock.Now())
	}
	if p.Writes > p.Done {
		if err := f.pool.SetScale(p.Spec.ID, p.Spec.Scale); err != nil {
			return arm.Result{}, fmt.Errorf("batchai: %w", err)
		}
		p.Done, p.Was = p.Writes, nil
	}
	return arm.Result{Done: true}, encode(p, &r.Private)
}

// remove has the pool delete a cluster, and says whether it is gone.
func (f *Fake) remove(id string) (gone bool, err error) {
	s, ok := f.pool.Cluster(id)
	switch {
	case !ok:
		f.unfollow(id)
		return true, nil
	case s.Deleting:
		return false, nil
	}
	if err := f.pool.Delete(id); err != nil && !errors.Is(err, pool.ErrNotFound) {
		return false, fmt.Errorf("batchai: %w", err)
	}
	return false, nil
}

// allocation is how a cluster's nodes are now.
func (f *Fake) allocation(p clusterPrivate) allocation {
	if p.Writes > p.Done && p.Was != nil {
		return *p.Was
	}
	s, ok := f.pool.Cluster(p.Spec.ID)
	if !ok {
		return allocation{State: "resizing"}
	}
	a := allocation{State: "steady", Since: stamp(s.Since), Nodes: s.Allocated, Counts: s.Counts}
	if s.Resizing || s.Deleting {
		a.State = "resizing"
	}
	return a
}

func (f *Fake) renderCluster(c arm.Call, r *arm.Resource) (any, error) {
	p, err := clusterNotes(r)
	if err != nil {
		return nil, err
	}
	properties, err := timed(r, p.Provisioned)
	if err != nil {
		return nil, err
	}
	a := f.allocation(p)
	if a.Since == "" {
		a.Since = stamp(r.Created)
	}
	properties["allocationState"], properties["allocationStateTransitionTime"] = a.State, a.Since
	properties["currentNodeCount"] = a.Nodes
	properties["nodeStateCounts"] = map[string]any{"idleNodeCount": a.Counts.Idle, "runningNodeCount": a.Counts.Running, "unusableNodeCount": a.Counts.Unusable,
		"preparingNodeCount": a.Counts.Preparing, "leavingNodeCount": a.Counts.Leaving}
	if s, ok := f.pool.Cluster(p.Spec.ID); ok {
		errs := append(s.Errors, f.short(s)...)
		if len(errs) > 0 {
			properties["errors"] = errorsOf(errs)
		}
	}
	return f.envelope(kindCluster, c, r, properties)
}

// short says that a cluster does not get the nodes that it wants, for its account has no more cores.
func (f *Fake) short(s pool.ClusterStatus) []pool.Error {
	size, ok := hardware.Size(s.Size)
	missing := s.Target - len(s.Nodes)
	if !ok || missing <= 0 || s.Deleting {
		return nil
	}
	limit, used := f.cores(s.Account, s.LowPriority), f.pool.UsedCores(s.Account, s.LowPriority)
	if limit-used >= size.Cores {
		return nil
	}
	return []pool.Error{{Code: "ClusterCoreQuotaReached", Message: fmt.Sprintf("Operation results in exceeding quota limits of Core. Maximum allowed: %d, Current in use: %d, Additional requested: %d.", limit, used, missing*size.Cores)}}
}

// errorsOf are the pool's errors as BatchAIError has them.
func errorsOf(all []pool.Error) []any {
	out := []any{}
	for _, e := range all {
		one := map[string]any{"code": e.Code, "message": e.Message}
		if len(e.Details) > 0 {
			var details []any
			for _, d := range e.Details {
				details = append(details, map[string]any{"name": d.Name, "value": d.Value})
			}
			one["details"] = details
		}
		out = append(out, one)
	}
	return out
}

// location is where a resource is: its own, or its workspace's.
func (f *Fake) location(ctx context.Context, v arm.View, r *arm.Resource) (string, error) {
	if r.Location != "" {
		return hardware.Location(r.Location), nil
	}
	for id := r.ID.Parent(); !id.IsZero(); id = id.Parent() {
		if strings.EqualFold(id.Type(), typeWorkspace) {
			w, err := v.Get(ctx, id)
			if err != nil {
				return "", err
			}
			return hardware.Location(w.Location), nil
		}
	}
	return "", fmt.Errorf("batchai: %s has no location", r.ID)
}

// groupPath is the part of an id that names subscription, group and provider.
func groupPath(id arm.ID) string {
	s := id.String()
	i := strings.Index(strings.ToLower(s), "/providers/microsoft.batchai")
	return s[:i+len("/providers/microsoft.batchai")]
}
