package batchai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/fakes/batchai/pool"
)

// week is how long a job may take for which nothing was said.
const week = 7 * day

// jobProperties are those that mean something here (JobBaseProperties of 2018-05-01, and priority of the versions before).
type jobProperties struct {
	SchedulingPriority string                        `json:"schedulingPriority"`
	Priority           int                           `json:"priority"`
	Cluster            reference                     `json:"cluster"`
	MountVolumes       *mountSettings                `json:"mountVolumes"`
	NodeCount          int                           `json:"nodeCount"`
	ContainerSettings  *containerSettings            `json:"containerSettings"`
	JobPreparation     *struct{ CommandLine string } `json:"jobPreparation"`

	StdOutErrPathPrefix string `json:"stdOutErrPathPrefix"`
	InputDirectories    []struct{ ID, Path string }
	OutputDirectories   []struct{ ID, PathPrefix, PathSuffix string }

	EnvironmentVariables []variable `json:"environmentVariables"`
	Secrets              []variable `json:"secrets"`
	Constraints          struct {
		MaxWallClockTime string `json:"maxWallClockTime"`
	} `json:"constraints"`
}

type containerSettings struct {
	ShmSize             string `json:"shmSize"`
	ImageSourceRegistry struct {
		ServerURL   string `json:"serverUrl"`
		Image       string `json:"image"`
		Credentials *struct {
			Username                string          `json:"username"`
			Password                string          `json:"password"`
			PasswordSecretReference json.RawMessage `json:"passwordSecretReference"`
		} `json:"credentials"`
	} `json:"imageSourceRegistry"`
}

// jobPrivate is kept of a job out of sight.
type jobPrivate struct {
	Spec        pool.Job
	Provisioned string                `json:",omitempty"`
	Login       *engine.RegistryLogin `json:",omitempty"`
	// Outputs are the job's directories by their ids, as far as they are in storage.
	Outputs map[string]output `json:",omitempty"`
	// Terminate is set when that was asked for.
	Terminate bool `json:",omitempty"`
	// Refused is why the pool never got it.
	Refused *pool.Error `json:",omitempty"`
}

func jobNotes(r *arm.Resource) (p jobPrivate, err error) {
	if len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &p)
	}
	return p, err
}

func (f *Fake) admitJob(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	properties, err := decode(next.Properties)
	if err != nil {
		return err
	}
	f.fit(kindJob, c.Version, properties)
	if err := f.complete(kindJob, c.Version, properties); err != nil {
		return err
	}
	var w jobProperties
	if err := convert(properties, &w); err != nil {
		return err
	}
	limit := week
	if text := w.Constraints.MaxWallClockTime; text != "" {
		if limit, err = parseDuration(text); err != nil || limit <= 0 {
			return propertyRefused(kindJob, "constraints.maxWallClockTime", text, "is not a positive duration.")
		}
	}
	child(properties, "constraints")["maxWallClockTime"] = formatDuration(limit)
	if old != nil {
		return f.keep(kindJob, c.Version, old, next, properties)
	}
	cluster, err := f.clusterOf(ctx, v, w.Cluster.ID, next)
	if err != nil {
		return err
	}
	p := jobPrivate{Spec: pool.Job{ID: f.newID(), Cluster: cluster.Spec.ID, Priority: w.priority(), Nodes: w.NodeCount,
		StdOutErrPathPrefix: w.StdOutErrPathPrefix, MaxWallClockTime: limit}}
	p.Spec.Segment = segment(next.ID, p.Spec.ID)
	if most := cluster.Spec.Scale.Max(); cluster.Spec.Scale.Auto != nil && w.NodeCount > most {
		return propertyRefused(kindJob, "nodeCount", w.NodeCount, fmt.Sprintf("is greater than the maximumNodeCount %d of the cluster.", most))
	}
	kind, toolkit, err := toolkitOf(properties, w.NodeCount)
	if err != nil {
		return err
	}
	p.Spec.Toolkit = toolkit
	properties["toolType"] = kind
	if err := w.admitContainer(&p); err != nil {
		return err
	}
	if w.JobPreparation != nil {
		p.Spec.Preparation = w.JobPreparation.CommandLine
	}
	if p.Spec.Variables, err = variablesOf(kindJob, "", w.EnvironmentVariables, w.Secrets); err != nil {
		return err
	}
	if p.Spec.Volumes, err = f.volumes(ctx, v, kindJob, "mountVolumes", w.MountVolumes, next.ID.Subscription()); err != nil {
		return err
	}
	if err := w.admitDirectories(&p); err != nil {
		return err
	}
	p.Outputs = outputsOf(p.Spec, cluster.Spec)
	properties["jobOutputDirectoryPathSegment"] = p.Spec.Segment
	if e := next.ID.Parent(); strings.EqualFold(e.Type(), typeExperiment) {
		properties["experimentName"] = e.Name()
	}
	conceal(properties)
	return errors.Join(encode(properties, &next.Properties), encode(p, &next.Private))
}

// segment makes a job's directories its own: jobs of one name, too, never share one.
func segment(id arm.ID, unique string) string {
	return id.Subscription() + "/" + id.ResourceGroup() + strings.TrimPrefix(id.String(), groupPath(id)) + "/" + unique
}

// priority of the job; before 2018-05-01 it was a number.
func (w jobProperties) priority() pool.Priority {
	switch {
	case w.SchedulingPriority != "":
		return pool.Priority(w.SchedulingPriority)
	case w.Priority < 0:
		return pool.Low
	case w.Priority > 0:
		return pool.High
	}
	return pool.Normal
}

// clusterOf finds the cluster of a job, in the subscription that the job is in.
func (f *Fake) clusterOf(ctx context.Context, v arm.View, id string, job *arm.Resource) (clusterPrivate, error) {
	at, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(at.Type(), typeCluster) && !strings.EqualFold(at.Type(), typeOldCluster) {
		return clusterPrivate{}, propertyRefused(kindJob, "cluster.id", id, "is not the resource id of a cluster.")
	}
	if !strings.EqualFold(at.Subscription(), job.ID.Subscription()) {
		return clusterPrivate{}, propertyRefused(kindJob, "cluster.id", id, "is not in the subscription of the job.")
	}
	r, err := v.Get(ctx, at)
	if err != nil {
		return clusterPrivate{}, err
	}
	if r.Deleting {
		return clusterPrivate{}, &arm.Error{Status: http.StatusConflict, Code: "ClusterBeingDeleted", Message: fmt.Sprintf("The specified cluster %s is being deleted", at.Name())}
	}
	return clusterNotes(r)
}

func (w jobProperties) admitContainer(p *jobPrivate) error {
	s := w.ContainerSettings
	if s == nil {
		return nil
	}
	registry := s.ImageSourceRegistry
	server := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(registry.ServerURL, "https://"), "http://"), "/")
	image := registry.Image
	if server != "" && !strings.HasPrefix(image, server+"/") {
		image = server + "/" + image
	}
	p.Spec.Container = &pool.Container{Image: image, SHMSize: s.ShmSize}
	if c := registry.Credentials; c != nil {
		const at = "containerSettings.imageSourceRegistry.credentials."
		if c.Password == "" && len(c.PasswordSecretReference) > 0 {
			return vaultRefused(kindJob, at+"passwordSecretReference")
		}
		if c.Password == "" {
			return propertyMissing(kindJob, at+"password")
		}
		p.Login = &engine.RegistryLogin{Server: server, User: c.Username, Password: c.Password}
	}
	return nil
}

// admitDirectories takes where the job reads and writes; nothing may be written outside of mounts and the job's own folder.
func (w jobProperties) admitDirectories(p *jobPrivate) error {
	if err := pool.CheckPath(w.StdOutErrPathPrefix); err != nil {
		return propertyRefused(kindJob, "stdOutErrPathPrefix", w.StdOutErrPathPrefix, pathWords)
	}
	seen := map[string]bool{}
	for i, d := range w.InputDirectories {
		at := fmt.Sprintf("inputDirectories[%d].id", i)
		if err := directoryID(at, d.ID, "input", seen); err != nil {
			return err
		}
		p.Spec.Inputs = append(p.Spec.Inputs, pool.Input{ID: d.ID, Path: d.Path})
	}
	for i, d := range w.OutputDirectories {
		at := fmt.Sprintf("outputDirectories[%d].", i)
		if err := directoryID(at+"id", d.ID, "output", seen); err != nil {
			return err
		}
		if strings.EqualFold(d.ID, standardOutput) {
			return propertyRefused(kindJob, at+"id", d.ID, "is reserved.")
		}
		if err := pool.CheckPath(d.PathPrefix); err != nil {
			return propertyRefused(kindJob, at+"pathPrefix", d.PathPrefix, pathWords)
		}
		if d.PathSuffix != "" && leaves(d.PathSuffix) {
			return propertyRefused(kindJob, at+"pathSuffix", d.PathSuffix, "leaves the job's output directory.")
		}
		p.Spec.Outputs = append(p.Spec.Outputs, pool.Output{ID: d.ID, PathPrefix: d.PathPrefix, PathSuffix: d.PathSuffix})
	}
	return nil
}

// directoryID refuses what can't be part of a variable's name, and what is there twice.
func directoryID(at, id, kind string, seen map[string]bool) error {
	if strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return propertyRefused(kindJob, at, id, "may have letters, digits and underscores alone.")
	}
	if seen[kind+id] {
		return propertyRefused(kindJob, at, id, "is there more than once.")
	}
	seen[kind+id] = true
	return nil
}

type jobReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler: it hands the job to the pool, which runs it; once only, for
// the pool knows a job by its id. What follows is the job's executionState.
func (f jobReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	p, err := jobNotes(r)
	if err != nil {
		return arm.Result{}, err
	}
	f.follow(v, p.Spec.ID, r.ID)
	status, known := f.pool.Job(p.Spec.ID)
	if r.Deleting {
		return f.forget(p.Spec.ID, status, known)
	}
	if p.Provisioned == "" && !known {
		if err := f.submit(ctx, p); err != nil {
			var refused *arm.Error
			if errors.As(err, &refused) {
				p.Provisioned = stamp(f.cfg.Clock.Now())
				p.Refused = &pool.Error{Code: refused.Code, Message: refused.Message}
				return arm.Result{}, errors.Join(encode(p, &r.Private), err)
			}
			return arm.Result{}, err
		}
	}
	if p.Provisioned == "" {
		p.Provisioned = stamp(f.cfg.Clock.Now())
	}
	if p.Terminate && known && !status.Done() {
		if err := f.pool.Terminate(p.Spec.ID); err != nil && !errors.Is(err, pool.ErrNotFound) {
			return arm.Result{}, fmt.Errorf("batchai: %w", err)
		}
		return arm.Result{RequeueAfter: pause}, encode(p, &r.Private)
	}
	p.Terminate = false
	return arm.Result{Done: true}, encode(p, &r.Private)
}

// submit has the pool queue the job. An *arm.Error is final.
func (f *Fake) submit(ctx context.Context, p jobPrivate) error {
	if puller, ok := f.cfg.Engine.(engine.Puller); ok && p.Login != nil && p.Spec.Container != nil {
		if err := puller.Pull(ctx, p.Spec.Container.Image, p.Login); errors.Is(err, engine.ErrNoImage) {
			return &arm.Error{Status: http.StatusBadRequest, Code: "DockerImagePullFailed", Message: fmt.Sprintf("The image %s could not be pulled: %v", p.Spec.Container.Image, err)}
		} else if err != nil {
			return err
		}
	}
	switch err := f.pool.Submit(p.Spec); {
	case err == nil || errors.Is(err, pool.ErrExists):
		return nil
	case errors.Is(err, pool.ErrNotFound):
		return &arm.Error{Status: http.StatusNotFound, Code: "ClusterNotFound", Message: "The cluster of the job was deleted before the job was queued"}
	case errors.Is(err, pool.ErrInvalid):
		return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidJob", Message: err.Error()}
	default:
		return fmt.Errorf("batchai: %w", err)
	}
}

// forget ends a job that is to be deleted, and has the pool know nothing of it.
func (f *Fake) forget(id string, status pool.JobStatus, known bool) (arm.Result, error) {
	switch {
	case !known:
		f.unfollow(id)
		return arm.Result{Done: true}, nil
	case status.Done():
		if err := f.pool.Remove(id); err != nil && !errors.Is(err, pool.ErrNotFound) {
			return arm.Result{}, fmt.Errorf("batchai: %w", err)
		}
		f.unfollow(id)
		return arm.Result{Done: true}, nil
	}
	if err := f.pool.Terminate(id); err != nil && !errors.Is(err, pool.ErrNotFound) {
		return arm.Result{}, fmt.Errorf("batchai: %w", err)
	}
	return arm.Result{RequeueAfter: pause}, nil
}

// terminate is POST terminate.
func (f *Fake) terminate(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
	p, err := jobNotes(r)
	if err != nil {
		return err
	}
	p.Terminate = true
	return encode(p, &r.Private)
}

func (f *Fake) renderJob(c arm.Call, r *arm.Resource) (any, error) {
	p, err := jobNotes(r)
	if err != nil {
		return nil, err
	}
	properties, err := decode(r.Properties)
	if err != nil {
		return nil, err
	}
	properties["creationTime"] = stamp(r.Created)
	properties["provisioningStateTransitionTime"] = transition(r, p.Provisioned)
	s, known := f.pool.Job(p.Spec.ID)
	if !known {
		s = pool.JobStatus{State: pool.JobQueued, Since: r.Created}
		if p.Refused != nil {
			s.State, s.Since, s.Errors = pool.JobFailed, r.Modified, []pool.Error{*p.Refused}
		}
	}
	if s.State == pool.JobQueued && s.Waiting != "" {
		s.Errors = append(s.Errors, pool.Error{Code: "JobWaiting", Message: s.Waiting})
	}
	properties["executionState"], properties["executionStateTransitionTime"] = string(s.State), stamp(s.Since)
	info := map[string]any{}
	for name, t := range map[string]time.Time{"startTime": s.Started, "endTime": s.Ended} {
		if !t.IsZero() {
			info[name] = stamp(t)
		}
	}
	if s.ExitCode != nil {
		info["exitCode"] = *s.ExitCode
	}
	if len(s.Errors) > 0 {
		info["errors"] = errorsOf(s.Errors)
	}
	if len(s.Warnings) > 0 {
		// Not of Azure, where nothing stood for anything else.
		info["lazuliteWarnings"] = s.Warnings
	}
	if (arm.Versions{To: "2018-03-01"}).Contains(c.Version) && s.Started.IsZero() {
		// There a start is required of it: a job that waits has none, and one that ended so ended as it would have begun.
		if s.Done() {
			info["endTime"] = stamp(s.Since)
			info["startTime"] = info["endTime"]
		} else {
			info = nil
		}
	}
	if len(info) > 0 {
		properties["executionInfo"] = info
	}
	return f.envelope(kindJob, c, r, properties)
}
