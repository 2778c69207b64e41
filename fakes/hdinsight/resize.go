package hdinsight

import (
	"context"
	"encoding/json"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight/cluster"
)

// beginResize is POST roles/{role}/resize.
func (f *Fake) beginResize(ctx context.Context, v arm.View, c arm.Call, r *arm.Resource) error {
	s, n, err := ready(r)
	if err != nil {
		return err
	}
	name := c.Vars["role"]
	changed := s.role(name)
	if changed == nil || !strings.EqualFold(name, "workernode") {
		return badRequest("The role '%s' of the cluster '%s' can't be resized: only 'workernode' can.", name, r.ID.Name())
	}
	var body struct {
		TargetInstanceCount *int `json:"targetInstanceCount"`
	}
	if err := json.Unmarshal(c.Body, &body); len(c.Body) > 0 && err != nil {
		return badTarget("The value of 'targetInstanceCount' is not a number.")
	}
	switch {
	case body.TargetInstanceCount == nil:
		return badTarget("The value of 'targetInstanceCount' is missing.")
	case *body.TargetInstanceCount < 1:
		return badTarget("The target instance count %d of the role 'workernode' is invalid: it must be at least 1.", *body.TargetInstanceCount)
	}
	size, _ := f.catalogue.size(changed.HardwareProfile.VMSize)
	more := size.Cores * (*body.TargetInstanceCount - n.Workers)
	if more > 0 {
		if err := f.checkQuota(ctx, v, r, s.QuotaInfo.CoresUsed+more, s.QuotaInfo.CoresUsed); err != nil {
			return err
		}
	}
	n.Work = &work{Kind: "resize", Before: n.Workers}
	n.Workers = *body.TargetInstanceCount
	changed.TargetInstanceCount = n.Workers
	s.QuotaInfo.CoresUsed += more
	if err := s.store(r); err != nil {
		return err
	}
	return n.store(r)
}

// refuseAutoscale is POST roles/{role}/autoscale: no cluster scales itself here,
// so that only what turns it off has nothing to do.
func (f *Fake) refuseAutoscale(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	s, _, err := ready(r)
	if err != nil {
		return err
	}
	var body struct {
		Autoscale json.RawMessage `json:"autoscale"`
	}
	if err := json.Unmarshal(c.Body, &body); len(c.Body) > 0 && err != nil {
		return badRequest("The value of 'autoscale' is of a wrong type.")
	}
	switch {
	case s.role(c.Vars["role"]) == nil:
		return badRequest("The role '%s' is not one of the cluster '%s'.", c.Vars["role"], r.ID.Name())
	case len(body.Autoscale) > 0 && string(body.Autoscale) != "null":
		return badRequest("Autoscale is not available for this subscription: the role '%s' of the cluster '%s' keeps its size.", c.Vars["role"], r.ID.Name())
	}
	return nil
}

func badTarget(format string, args ...any) *arm.Error {
	e := badRequest(format, args...)
	e.Target = "targetInstanceCount"
	return e
}

// unresize shows the workers that there were.
func (f *Fake) unresize(s *shown, n *notes) {
	workers := s.role("workernode")
	size, _ := f.catalogue.size(workers.HardwareProfile.VMSize)
	s.QuotaInfo.CoresUsed -= size.Cores * (n.Workers - n.Work.Before)
	n.Workers, workers.TargetInstanceCount = n.Work.Before, n.Work.Before
}

// prepareNew runs the persisted scripts on workers that came.
func (f *Fake) prepareNew(ctx context.Context, c *cluster.Cluster, n *notes) error {
	fresh := map[string]bool{}
	for i := n.Work.Before; i < n.Workers; i++ {
		fresh[workerName(i)] = true
	}
	if len(fresh) == 0 {
		return nil
	}
	for _, a := range n.Persisted {
		if !a.onRole("workernode") {
			continue
		}
		e := f.runOne(ctx, c, a, func(node cluster.Node) bool { return fresh[node.Name] }, "ScaleUp")
		n.History = append([]execution{e}, n.History...)
		if e.Status != "Succeeded" {
			return scriptFailed(e)
		}
	}
	return nil
}

// ready reads a cluster that must be up.
func ready(r *arm.Resource) (s shown, n notes, err error) {
	if s, err = shownOf(r); err != nil {
		return s, n, err
	}
	if n, err = notesOf(r); err != nil {
		return s, n, err
	}
	if !n.Created {
		return s, n, notRunning(r.ID.Name(), s.ClusterState)
	}
	return s, n, nil
}
