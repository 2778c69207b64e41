package hdinsight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lazulite.dev/emulator/arm"
)

// soon brings a reconciler back as soon as its result is stored.
const soon = time.Nanosecond

type clusterReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f clusterReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	n, err := notesOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	s, err := shownOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	step := nextStep(n, r.Deleting)
	if step == "" {
		return arm.Result{Done: true}, nil
	}
	now := f.cfg.Clock.Now()
	if n.Step != step {
		n.Step, n.Due = step, now.Add(f.delay(delayOf(step)))
		s.pass(step)
		return arm.Result{RequeueAfter: soon}, errors.Join(s.store(r), n.store(r))
	}
	if wait := n.Due.Sub(now); wait > 0 {
		return arm.Result{RequeueAfter: wait}, nil
	}
	err = f.perform(ctx, step, r, &s, &n)
	if err != nil && ctx.Err() != nil {
		return arm.Result{}, err // the emulator ends, or the cluster is to go
	}
	if errors.Is(err, errAgain) {
		return arm.Result{RequeueAfter: soon}, errors.Join(s.store(r), n.store(r))
	}
	n.Step, n.Work = "", nil
	final := asFailure(step, err)
	if final != nil && step == "create" {
		s.ClusterState, s.Errors = "Error", []stateError{{final.Code, final.Message}}
	} else if !r.Deleting {
		s.ClusterState, s.Errors = "Running", nil
	}
	if err := errors.Join(s.store(r), n.store(r)); err != nil {
		return arm.Result{}, err
	}
	if final != nil {
		return arm.Result{}, final
	}
	return arm.Result{Done: true}, nil
}

// nextStep is what to do with a cluster, "" for nothing.
func nextStep(n notes, deleting bool) string {
	switch {
	case deleting:
		return "delete"
	case !n.Created:
		return "create"
	case n.Work != nil:
		return n.Work.Kind
	}
	return ""
}

func delayOf(step string) string {
	switch step {
	case "gateway", "restart", "extension":
		return "update"
	}
	return step
}

// pass shows the state that a step goes through.
func (s *shown) pass(step string) {
	switch step {
	case "create":
		s.ClusterState = "AzureVMConfiguration"
	case "delete":
		s.ClusterState = "Deleting"
	case "resize":
		s.ClusterState = "ResizeInProgress"
	}
}

// errAgain says that a step has noted that it begins, and is to be called again once that is stored.
var errAgain = errors.New("hdinsight: begun")

// asFailure is the error that an operation ends with; nil if all went well.
func asFailure(step string, err error) *arm.Error {
	var final *arm.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &final):
		return final
	}
	code := map[string]string{"create": "ClusterCreationFailed", "resize": "ResizeFailed", "delete": "ClusterDeletionFailed", "script": "ScriptExecutionFailed"}[step]
	if code == "" {
		code = "OperationFailed"
	}
	if u, ok := unavailable(err); ok {
		return arm.Errorf(500, code, "%s", u.Error())
	}
	return arm.Errorf(500, code, "%v", err)
}

// perform does one step for real.
func (f clusterReconciler) perform(ctx context.Context, step string, r *arm.Resource, s *shown, n *notes) error {
	c := f.fleet.Cluster(n.ID)
	switch step {
	case "delete":
		if err := f.closeLivy(ctx, c.Spec().ID); err != nil {
			return err
		}
		return c.Remove(ctx)
	case "create":
		if f.fails(step) {
			return arm.Errorf(500, "AzureVMDeploymentFailed", "Azure VM deployment failed: allocation failed. We do not have sufficient capacity for the requested VM size in this region.")
		}
		return f.create(ctx, r, s, n)
	case "resize":
		if f.fails(step) {
			f.unresize(s, n)
			return arm.Errorf(500, "ResizeFailed", "Azure VM deployment failed: allocation failed. We do not have sufficient capacity for the requested VM size in this region.")
		}
		if err := c.Apply(ctx, n.spec(r, s.ClusterDefinition.Kind)); err != nil {
			if ctx.Err() == nil {
				f.unresize(s, n)
			}
			return err
		}
		return f.prepareNew(ctx, c, n)
	case "gateway":
		return c.SetGateway(n.spec(r, s.ClusterDefinition.Kind).Gateway)
	case "script":
		return f.runScripts(ctx, c, n)
	case "restart":
		return c.Restart(ctx, n.Work.Hosts)
	case "extension":
		return nil // it is what the notes say
	}
	return fmt.Errorf("hdinsight: there is no step %q", step)
}

func (f clusterReconciler) create(ctx context.Context, r *arm.Resource, s *shown, n *notes) error {
	c := f.fleet.Cluster(n.ID)
	if err := c.Apply(ctx, n.spec(r, s.ClusterDefinition.Kind)); err != nil {
		return err
	}
	if len(n.Script) > 0 {
		if n.Work == nil {
			n.Work = &work{Kind: "script", Scripts: n.Script, Persist: true}
		}
		if err := f.runScripts(ctx, c, n); err != nil {
			return err
		}
	}
	n.Created = true
	s.complete(n.User)
	_, port, ok := c.Place("hn0")
	if !ok {
		port = 22
	}
	s.Endpoints = endpoints(r.ID.Name(), port)
	return nil
}

// complete adds what comes with every cluster.
func (s *shown) complete(user string) {
	if s.role("zookeepernode") == nil {
		s.ComputeProfile.Roles = append(s.ComputeProfile.Roles, role{Name: "zookeepernode", TargetInstanceCount: 3,
			HardwareProfile: hardwareProfile{"Medium"}, OSProfile: &osProfile{linuxProfile{user}}})
	}
}
