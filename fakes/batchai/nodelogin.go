package batchai

import (
	"context"
	"net/http"
	"slices"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai/pool"
)

// clusterLogins is POST listRemoteLoginInformation of a cluster: all nodes that can be reached.
func (f *Fake) clusterLogins(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	p, err := clusterNotes(r)
	if err != nil {
		return 0, nil, err
	}
	return f.logins(p.Spec.ID, func(pool.NodeStatus) bool { return true })
}

// jobLogins is that of a job: the nodes that it runs on.
func (f *Fake) jobLogins(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	p, err := jobNotes(r)
	if err != nil {
		return 0, nil, err
	}
	s, ok := f.pool.Job(p.Spec.ID)
	if !ok || s.State != pool.JobRunning && s.State != pool.JobTerminating {
		return f.logins("", nil)
	}
	return f.logins(p.Spec.Cluster, func(n pool.NodeStatus) bool { return slices.Contains(s.Nodes, n.ID) })
}

func (f *Fake) logins(cluster string, want func(pool.NodeStatus) bool) (int, any, error) {
	list := []any{}
	s, _ := f.pool.Cluster(cluster)
	for _, n := range s.Nodes {
		if n.Address != "" && want(n) {
			list = append(list, map[string]any{"nodeId": n.ID, "ipAddress": n.Address, "port": n.Port})
		}
	}
	return http.StatusOK, map[string]any{"value": list}, nil
}
