package batchai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai/pool"
)

// Preempt takes a low-priority node of a cluster away, by the cluster's ARM id and
// the node's as listRemoteLoginInformation has it, as Azure did when it had need of
// it: the node's job is queued again and another node comes in its place. A refusal is an *arm.Error.
func (f *Fake) Preempt(ctx context.Context, cluster, node string) error {
	id, err := arm.ParseID(cluster)
	if err != nil || !strings.EqualFold(id.Type(), typeCluster) && !strings.EqualFold(id.Type(), typeOldCluster) {
		return propertyRefused(kindCluster, "id", cluster, "is not the resource id of a cluster.")
	}
	f.mu.Lock()
	v := f.view
	f.mu.Unlock()
	absent := &arm.Error{Status: http.StatusNotFound, Code: "ClusterNotFound", Message: fmt.Sprintf("The specified cluster %s is not found", id.Name())}
	if v == nil {
		return absent // none was ever made or taken up
	}
	r, err := v.Get(ctx, id)
	if err != nil {
		return err
	}
	p, err := clusterNotes(r)
	if err != nil {
		return err
	}
	switch err := f.pool.Preempt(p.Spec.ID, node); {
	case errors.Is(err, pool.ErrNotFound):
		if _, there := f.pool.Cluster(p.Spec.ID); !there {
			return absent
		}
		return &arm.Error{Status: http.StatusNotFound, Code: "NodeNotFound", Message: fmt.Sprintf("The specified node %s is not found", node)}
	case errors.Is(err, pool.ErrInvalid):
		return &arm.Error{Status: http.StatusConflict, Code: "NodeNotPreemptible", Message: fmt.Sprintf("The node %s can't be preempted: %s.", node, strings.TrimPrefix(err.Error(), pool.ErrInvalid.Error()+": "))}
	default:
		return err
	}
}
