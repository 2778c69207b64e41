package aml

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
)

// lookLimit bounds how long a compute's answer waits for its cluster's.
const lookLimit = 5 * time.Second

// renderCluster completes a cluster's compute with what its cluster is now, in
// the words of the api-version that asks. A cluster that is gone, or a compute
// that is not there yet, adds nothing.
func (s *Service) renderCluster(shape computeShape, r *arm.Resource, c *compute, notes *computeNotes) map[string]any {
	out := map[string]any{}
	c.ComputeType = shape.cluster
	if c.Properties.Scale != nil {
		out["properties"] = clusterSettings(shape, c.Properties)
	}
	id := notes.Cluster
	if !notes.Created && c.ResourceID != nil {
		id = *c.ResourceID
	}
	if id == "" || r.State == "Creating" {
		// Enough nodes would be the end of a client's wait for a compute that takes no runs yet.
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	doc, err := s.cluster(ctx, id)
	if err != nil {
		if !isNotFound(err) {
			s.log.Warn("aml: the cluster of a compute cannot be asked", "compute", r.ID.String(), "err", err)
		}
		return out
	}
	p := doc.Properties
	if !notes.Created {
		c.Properties.VMSize, c.Properties.VMPriority, c.Properties.Scale = p.VMSize, p.VMPriority, p.ScaleSettings.settings()
		out["properties"] = clusterSettings(shape, c.Properties)
	}
	if !shape.flatStatus {
		out["status"] = map[string]any{"detailedStatus": p.detailed()}
		return out
	}
	settings, _ := out["properties"].(map[string]any)
	for name, value := range p.flat() {
		settings[name] = value
	}
	return out
}

// clusterSettings is the inner properties: all of its keys, or the SDKs won't read it.
func clusterSettings(shape computeShape, c computeProperties) map[string]any {
	least, most, automatic := c.Scale.nodes()
	if !shape.flatStatus {
		return map[string]any{"vmSize": c.VMSize, "vmPriority": c.VMPriority, "scaleSettings": map[string]any{
			"autoScaleEnabled": automatic, "minNodeCount": least, "maxNodeCount": most}}
	}
	idle := c.Scale.IdleTime
	if idle == "" {
		idle = "PT120S"
	}
	priority := "Dedicated"
	if strings.EqualFold(c.VMPriority, "lowpriority") {
		priority = "LowPriority"
	}
	out := map[string]any{"vmSize": c.VMSize, "vmPriority": priority, "subnet": nil, "scaleSettings": map[string]any{
		"minNodeCount": least, "maxNodeCount": most, "nodeIdleTimeBeforeScaleDown": idle}}
	if u := c.User; u != nil {
		out["userAccountCredentials"] = map[string]any{"adminUserName": u.Name, "adminUserSshPublicKey": nilIfEmpty(u.PublicKey), "adminUserPassword": nil}
	}
	return out
}

// detailed is the status as SDK 0.1.68 reads it: keys with dots in them. The
// scale settings of a failed cluster are left out, or the SDK takes it for one with enough nodes.
func (p clusterProperties) detailed() map[string]any {
	out := map[string]any{
		"properties.allocationState": p.AllocationState, "properties.currentNodeCount": p.CurrentNodeCount,
		"properties.errors": p.errors(), "properties.nodeStateCounts": p.counts(false),
		"properties.provisioningState": p.ProvisioningState,
		"properties.vmPriority":        p.VMPriority, "properties.vmSize": p.VMSize,
	}
	for name, at := range map[string]string{"allocationStateTransitionTime": p.AllocationStateTransitionTime,
		"creationTime": p.CreationTime, "provisioningStateTransitionTime": p.ProvisioningStateTransitionTime} {
		if at != "" {
			out["properties."+name] = at
		}
	}
	if !strings.EqualFold(p.ProvisioningState, "failed") {
		out["properties.scaleSettings"] = p.ScaleSettings
	}
	return out
}

// flat is the status as later versions have it, among the inner properties.
func (p clusterProperties) flat() map[string]any {
	target := p.CurrentNodeCount
	if m := p.ScaleSettings.Manual; m != nil {
		target = m.TargetNodeCount
	} else if a := p.ScaleSettings.AutoScale; a != nil {
		target = max(a.MinimumNodeCount, p.CurrentNodeCount)
	}
	out := map[string]any{"currentNodeCount": p.CurrentNodeCount, "targetNodeCount": target, "nodeStateCounts": p.counts(true),
		"errors": p.errors(), "allocationState": "Steady"}
	if strings.EqualFold(p.AllocationState, "resizing") {
		out["allocationState"] = "Resizing"
	}
	if p.AllocationStateTransitionTime != "" {
		out["allocationStateTransitionTime"] = p.AllocationStateTransitionTime
	}
	return out
}

// errors are null where there are none.
func (p clusterProperties) errors() []json.RawMessage {
	if len(p.Errors) == 0 {
		return nil
	}
	return p.Errors
}

func (p clusterProperties) counts(preempted bool) map[string]int {
	out := map[string]int{}
	for _, name := range []string{"idleNodeCount", "leavingNodeCount", "preparingNodeCount", "runningNodeCount", "unusableNodeCount"} {
		out[name] = p.NodeStateCounts[name]
	}
	if preempted {
		out["preemptedNodeCount"] = p.NodeStateCounts["preemptedNodeCount"]
	}
	return out
}

// listNodes answers where the nodes of a cluster can be logged in to, as AmlComputeNodesInformation of 2018-11-19.
func (s *Service) listNodes(ctx context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	var c compute
	if err := json.Unmarshal(r.Properties, &c); err != nil {
		return 0, nil, err
	}
	if !isCluster(c.ComputeType) || c.ResourceID == nil {
		return 0, nil, badCompute("properties.computeType", "The compute '%s' of type %s has no nodes to list.", r.ID.Name(), c.ComputeType)
	}
	var logins struct {
		Value []struct {
			NodeID    string `json:"nodeId"`
			IPAddress string `json:"ipAddress"`
			Port      int    `json:"port"`
		} `json:"value"`
	}
	if err := s.armCall(ctx, http.MethodPost, *c.ResourceID+"/listRemoteLoginInformation", versionBatchAI, nil, &logins); err != nil {
		return 0, nil, err
	}
	nodes := []any{}
	for _, n := range logins.Value {
		nodes = append(nodes, map[string]any{"nodeId": n.NodeID, "ipAddress": n.IPAddress, "publicIpAddress": n.IPAddress, "port": n.Port})
	}
	return http.StatusOK, map[string]any{"computeType": typeAmlCompute, "nodes": nodes}, nil
}
