package aml

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/arm"
)

// Compute types of clusters: one of Batch AI, under two names that two times gave it.
const (
	typeBatchAI    = "BatchAI"
	typeAmlCompute = "AmlCompute"
)

// versionBatchAI is the api-version with which clusters are asked for.
const versionBatchAI = "2018-05-01"

// defaultClusterSize is the size of a cluster that was asked for without one.
const defaultClusterSize = "STANDARD_D2_V2"

// cluster mirrors BatchAI.properties of machineLearningServices.json
// 2018-03-01-preview and AmlCompute.properties of 2018-11-19, as far as a client sets them.
type cluster struct {
	VMSize     string         `json:"vmSize,omitempty"`
	VMPriority string         `json:"vmPriority,omitempty"`
	Scale      *scaleSettings `json:"scaleSettings,omitempty"`
	User       *clusterUser   `json:"userAccountCredentials,omitempty"`
}

// scaleSettings has the members of both types.
type scaleSettings struct {
	MinNodeCount *int  `json:"minNodeCount,omitempty"`
	MaxNodeCount *int  `json:"maxNodeCount,omitempty"`
	AutoScale    *bool `json:"autoScaleEnabled,omitempty"`
	// IdleTime is of AmlCompute; Batch AI decides by itself when a node was idle for long.
	IdleTime string `json:"nodeIdleTimeBeforeScaleDown,omitempty"`
}

// clusterUser mirrors UserAccountCredentials of 2018-11-19. The password is kept in Resource.Private alone.
type clusterUser struct {
	Name      string `json:"adminUserName,omitempty"`
	PublicKey string `json:"adminUserSshPublicKey,omitempty"`
	Password  string `json:"adminUserPassword,omitempty"`
}

func isCluster(computeType string) bool {
	return strings.EqualFold(computeType, typeBatchAI) || strings.EqualFold(computeType, typeAmlCompute)
}

// nodes are the bounds of the cluster's size; automatic ones are grown and shrunk between.
func (s *scaleSettings) nodes() (least, most int, automatic bool) {
	if s == nil {
		return 0, 1, true
	}
	if s.MinNodeCount != nil {
		least = *s.MinNodeCount
	}
	if s.MaxNodeCount != nil {
		most = *s.MaxNodeCount
	}
	return least, most, s.AutoScale == nil || *s.AutoScale
}

func (s *scaleSettings) check() error {
	const field = "properties.properties.scaleSettings"
	if s == nil {
		return nil
	}
	if s.MaxNodeCount == nil {
		return badCompute(field+".maxNodeCount", "'maxNodeCount' is required in the scale settings of a cluster.")
	}
	switch least, most, automatic := s.nodes(); {
	case least < 0 || most < 0:
		return badCompute(field, "The node counts %d and %d are invalid: they must be 0 or more.", least, most)
	case least > most:
		return badCompute(field+".minNodeCount", "The minimum node count %d is larger than the maximum node count %d.", least, most)
	case !automatic && least != most:
		return badCompute(field, "The minimum node count %d and the maximum node count %d must be equal where autoscale is disabled.", least, most)
	}
	return nil
}

// batchAI words the settings for Batch AI.
func (s *scaleSettings) batchAI() map[string]any {
	least, most, automatic := s.nodes()
	if !automatic {
		return map[string]any{"manual": map[string]any{"targetNodeCount": least, "nodeDeallocationOption": "requeue"}}
	}
	return map[string]any{"autoScale": map[string]any{"minimumNodeCount": least, "maximumNodeCount": most, "initialNodeCount": least}}
}

// admitCluster checks a cluster that is to be made, attached or resized.
func (s *Service) admitCluster(ctx context.Context, v arm.View, call arm.Call, old *compute, next *arm.Resource, c *compute, notes *computeNotes) error {
	if want := shapeOf(computeShapes, call.Version).cluster; !strings.EqualFold(c.ComputeType, want) {
		return badCompute("properties.computeType", "The compute type '%s' is not supported by the api-version '%s'. Supported types are: VirtualMachine, %s.", c.ComputeType, call.Version, want)
	}
	if err := c.Properties.Scale.check(); err != nil {
		return err
	}
	switch strings.ToLower(c.Properties.VMPriority) {
	case "", "dedicated", "lowpriority":
	default:
		return badCompute("properties.properties.vmPriority", "The VM priority '%s' is invalid: it must be dedicated or lowpriority.", c.Properties.VMPriority)
	}
	if old != nil {
		return resizeCluster(old, c, notes)
	}
	if c.ResourceID != nil && *c.ResourceID != "" {
		return s.admitAttachedCluster(ctx, v, c)
	}
	notes.Created = true
	if c.Properties.VMSize == "" {
		c.Properties.VMSize = defaultClusterSize
	}
	if c.Properties.VMPriority == "" {
		c.Properties.VMPriority = "dedicated"
	}
	if c.Properties.Scale == nil {
		zero, one, automatic := 0, 1, true
		c.Properties.Scale = &scaleSettings{MinNodeCount: &zero, MaxNodeCount: &one, AutoScale: &automatic}
	}
	if u := c.Properties.User; u != nil {
		notes.Account = account{Username: u.Name, PublicKey: u.PublicKey, Password: u.Password}
		u.Password = ""
		if u.Name == "" || u.PublicKey == "" && notes.Account.Password == "" {
			return badCompute("properties.properties.userAccountCredentials", "A user account needs a name, and a password or an SSH public key.")
		}
	}
	location := next.Location
	if c.ComputeLocation != "" {
		location = c.ComputeLocation
	}
	return s.checkSize(ctx, next.ID.Subscription(), location, "properties.properties.vmSize", c.Properties.VMSize)
}

func (s *Service) admitAttachedCluster(ctx context.Context, v arm.View, c *compute) error {
	id, err := arm.ParseID(*c.ResourceID)
	switch {
	case err != nil || !strings.EqualFold(id.Type(), "Microsoft.BatchAI/workspaces/clusters"):
		return badCompute("properties.resourceId", "The resource id '%s' is not that of a Batch AI cluster in a workspace.", *c.ResourceID)
	case strings.EqualFold(c.ComputeType, typeAmlCompute):
		return badCompute("properties.resourceId", "A compute of type %s is created by the workspace: it can't be attached.", typeAmlCompute)
	}
	_, err = v.Get(ctx, id)
	return err
}

// resizeCluster lets the scale settings alone change.
func resizeCluster(old, c *compute, notes *computeNotes) error {
	was := old.Properties
	if c.Properties.VMSize != "" && !strings.EqualFold(c.Properties.VMSize, was.VMSize) {
		return badCompute("properties.properties.vmSize", "The VM size of a compute cannot be changed from '%s' to '%s'.", was.VMSize, c.Properties.VMSize)
	}
	if c.Properties.VMPriority != "" && !strings.EqualFold(c.Properties.VMPriority, was.VMPriority) {
		return badCompute("properties.properties.vmPriority", "The VM priority of a compute cannot be changed from '%s' to '%s'.", was.VMPriority, c.Properties.VMPriority)
	}
	if !notes.Created {
		return &arm.Error{Status: http.StatusConflict, Code: "Conflict", Message: "An attached cluster is resized where it was made: by Batch AI."}
	}
	scale := c.Properties.Scale
	was.User = c.Properties.User
	c.Properties = was
	if c.Properties.User == nil {
		c.Properties.User = old.Properties.User
	}
	if scale != nil {
		if scale.AutoScale == nil && old.Properties.Scale != nil {
			scale.AutoScale = old.Properties.Scale.AutoScale
		}
		c.Properties.Scale = scale
	}
	c.ResourceID, c.ComputeLocation, c.CreatedOn = old.ResourceID, old.ComputeLocation, old.CreatedOn
	notes.Resize = true
	return nil
}

// clusterDocument is what is read of a cluster of Batch AI.
type clusterDocument struct {
	ID         string            `json:"id"`
	Properties clusterProperties `json:"properties"`
}

type clusterProperties struct {
	VMSize                          string             `json:"vmSize"`
	VMPriority                      string             `json:"vmPriority"`
	ScaleSettings                   clusterScale       `json:"scaleSettings"`
	ProvisioningState               string             `json:"provisioningState"`
	ProvisioningStateTransitionTime string             `json:"provisioningStateTransitionTime"`
	AllocationState                 string             `json:"allocationState"`
	AllocationStateTransitionTime   string             `json:"allocationStateTransitionTime"`
	CreationTime                    string             `json:"creationTime"`
	CurrentNodeCount                int                `json:"currentNodeCount"`
	NodeStateCounts                 map[string]int     `json:"nodeStateCounts"`
	Errors                          []json.RawMessage  `json:"errors"`
	UserAccountSettings             *clusterUserOfNode `json:"userAccountSettings,omitempty"`
}

type clusterUserOfNode struct {
	AdminUserName string `json:"adminUserName"`
}

type clusterScale struct {
	Manual *struct {
		TargetNodeCount        int    `json:"targetNodeCount"`
		NodeDeallocationOption string `json:"nodeDeallocationOption"`
	} `json:"manual"`
	AutoScale *struct {
		MaximumNodeCount int `json:"maximumNodeCount"`
		MinimumNodeCount int `json:"minimumNodeCount"`
		InitialNodeCount int `json:"initialNodeCount"`
	} `json:"autoScale"`
}

// settings are the scale settings as a compute has them.
func (s clusterScale) settings() *scaleSettings {
	out := &scaleSettings{MinNodeCount: new(int), MaxNodeCount: new(int), AutoScale: new(bool)}
	switch {
	case s.AutoScale != nil:
		*out.MinNodeCount, *out.MaxNodeCount, *out.AutoScale = s.AutoScale.MinimumNodeCount, s.AutoScale.MaximumNodeCount, true
	case s.Manual != nil:
		*out.MinNodeCount, *out.MaxNodeCount = s.Manual.TargetNodeCount, s.Manual.TargetNodeCount
	}
	return out
}

func (s *Service) cluster(ctx context.Context, id string) (*clusterDocument, error) {
	var doc clusterDocument
	if err := s.armCall(ctx, http.MethodGet, id, versionBatchAI, nil, &doc); err != nil {
		return nil, err
	}
	return &doc, nil
}

// reconcileCluster moves a cluster's compute one step: ask for the cluster, or its size, wait for it.
func (c computeReconciler) reconcileCluster(ctx context.Context, r *arm.Resource, props *compute, notes *computeNotes) (arm.Result, error) {
	if !notes.Created {
		doc, err := c.s.cluster(ctx, *props.ResourceID)
		if err != nil {
			return arm.Result{}, err
		}
		props.ResourceID = &doc.ID
		return c.clusterUp(doc)
	}
	if notes.Cluster == "" {
		// Name and key are stored before anything is made with them.
		return arm.Result{RequeueAfter: time.Nanosecond}, c.nameCluster(ctx, r, props, notes)
	}
	doc, err := c.s.cluster(ctx, notes.Cluster)
	switch {
	case isNotFound(err):
		return arm.Result{RequeueAfter: pollInterval}, c.orderCluster(ctx, props, notes)
	case err != nil:
		return arm.Result{}, err
	}
	props.ResourceID = &doc.ID
	if notes.Resize {
		notes.Resize = false
		body := map[string]any{"properties": map[string]any{"scaleSettings": props.Properties.Scale.batchAI()}}
		return arm.Result{RequeueAfter: pollInterval}, c.s.armCall(ctx, http.MethodPatch, notes.Cluster, versionBatchAI, body, nil)
	}
	return c.clusterUp(doc)
}

// clusterUp tells from the cluster's state whether its compute is there. How many nodes are, the status tells.
func (c computeReconciler) clusterUp(doc *clusterDocument) (arm.Result, error) {
	switch strings.ToLower(doc.Properties.ProvisioningState) {
	case "succeeded":
		return arm.Result{Done: true}, nil
	case "failed":
		reason := "The Batch AI cluster " + doc.ID + " failed."
		for _, e := range doc.Properties.Errors {
			var told computeErrorBody
			if json.Unmarshal(e, &told) == nil && told.Message != "" {
				reason += " " + told.Code + ": " + told.Message
			}
		}
		return arm.Result{}, &arm.Error{Status: http.StatusBadRequest, Code: "BatchAIClusterFailed", Message: reason}
	}
	return arm.Result{RequeueAfter: pollInterval}, nil
}

// nameCluster chooses where the cluster goes: the workspace's own Batch AI
// workspace, or one made for the compute where there is none in its region.
func (c computeReconciler) nameCluster(ctx context.Context, r *arm.Resource, props *compute, notes *computeNotes) error {
	if notes.Account.Username == "" {
		public, private, err := execution.NewKeyPair()
		if err != nil {
			return err
		}
		notes.Account = account{Username: adminUser, PublicKey: public, PrivateKey: private}
	}
	// The compute's name, and what tells it from another of the name that is going.
	name := fmt.Sprintf("%s-%08x", strings.ReplaceAll(r.ID.Name(), "_", "-"), uint32(r.Created.UnixNano()))
	var ws struct {
		Location   string              `json:"location"`
		Properties workspaceProperties `json:"properties"`
	}
	if err := c.s.armCall(ctx, http.MethodGet, r.ID.Parent().String(), "2018-03-01-preview", nil, &ws); err != nil {
		return err
	}
	home := ws.Properties.BatchAIWorkspace
	if home != "" {
		var at struct {
			Location string `json:"location"`
		}
		err := c.s.armCall(ctx, http.MethodGet, home, versionBatchAI, nil, &at)
		if err != nil && !isNotFound(err) {
			return err
		}
		if err != nil || !strings.EqualFold(at.Location, props.ComputeLocation) {
			home = ""
		}
	}
	if home == "" {
		notes.Home = "/subscriptions/" + r.ID.Subscription() + "/resourceGroups/" + r.ID.ResourceGroup() + "/providers/Microsoft.BatchAI/workspaces/" + name
		home = notes.Home
	}
	notes.Cluster = home + "/clusters/" + name
	return nil
}

// orderCluster makes what is not there yet; each PUT is idempotent, so a restart in the middle goes on.
func (c computeReconciler) orderCluster(ctx context.Context, props *compute, notes *computeNotes) error {
	if notes.Home != "" {
		err := c.s.armCall(ctx, http.MethodGet, notes.Home, versionBatchAI, nil, nil)
		if isNotFound(err) {
			err = c.s.armCall(ctx, http.MethodPut, notes.Home, versionBatchAI, map[string]any{"location": props.ComputeLocation}, nil)
		}
		if err != nil {
			return err
		}
	}
	user := map[string]any{"adminUserName": notes.Account.Username}
	if notes.Account.PublicKey != "" {
		user["adminUserSshPublicKey"] = notes.Account.PublicKey
	}
	if notes.Account.Password != "" {
		user["adminUserPassword"] = notes.Account.Password
	}
	return c.s.armCall(ctx, http.MethodPut, notes.Cluster, versionBatchAI, map[string]any{"properties": map[string]any{
		"vmSize": props.Properties.VMSize, "vmPriority": strings.ToLower(props.Properties.VMPriority),
		"scaleSettings": props.Properties.Scale.batchAI(), "userAccountSettings": user}}, nil)
}

// removeCluster deletes the cluster of a created compute, with the Batch AI
// workspace that was made for it; an attached or a detached one is left alone.
func (c computeReconciler) removeCluster(ctx context.Context, notes *computeNotes) (arm.Result, error) {
	if !notes.Created || notes.Detached {
		return arm.Result{Done: true}, nil
	}
	for _, id := range []string{notes.Cluster, notes.Home} {
		if id == "" {
			continue
		}
		err := c.s.armCall(ctx, http.MethodGet, id, versionBatchAI, nil, nil)
		if isNotFound(err) {
			continue
		}
		if err == nil {
			err = c.s.armCall(ctx, http.MethodDelete, id, versionBatchAI, nil, nil)
		}
		if err != nil && !isNotFound(err) {
			return arm.Result{RequeueAfter: pollInterval}, retryable(err)
		}
		return arm.Result{RequeueAfter: pollInterval}, nil
	}
	return arm.Result{Done: true}, nil
}
