package hdinsight

import (
	"context"
	"encoding/json"
	"strings"

	"lazulite.dev/emulator/arm"
)

// listHosts is POST listHosts: the nodes that run.
func (f *Fake) listHosts(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	_, n, err := ready(r)
	if err != nil {
		return 0, nil, err
	}
	type host struct {
		Name string `json:"name"`
	}
	out := []host{}
	for _, node := range f.fleet.Cluster(n.ID).Nodes() {
		out = append(out, host{node.Host})
	}
	return 0, out, nil
}

// beginRestart is POST restartHosts.
func (f *Fake) beginRestart(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	_, n, err := ready(r)
	if err != nil {
		return err
	}
	var hosts []string
	if err := json.Unmarshal(c.Body, &hosts); err != nil || len(hosts) == 0 {
		return badRequest("The request must be a list of host names.")
	}
	for _, h := range hosts {
		known := false
		for _, node := range f.fleet.Cluster(n.ID).Nodes() {
			known = known || strings.EqualFold(node.Host, h)
		}
		if !known {
			return badRequest("The host '%s' is not one of the cluster '%s'.", h, r.ID.Name())
		}
	}
	n.Work = &work{Kind: "restart", Hosts: hosts}
	return n.store(r)
}
