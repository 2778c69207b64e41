package aml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/arm"
)

// isoMicro is the date format of the workspace's creationDate.
const isoMicro = "2006-01-02T15:04:05.000000Z"

// workspaceProperties mirrors WorkspaceProperties of machineLearningServices.json
// 2018-03-01-preview, and batchaiWorkspace, which SDK 0.1.68 sends though the document lacks it.
type workspaceProperties struct {
	WorkspaceID         string `json:"workspaceid"`
	Description         string `json:"description"`
	FriendlyName        string `json:"friendlyName"`
	CreationDate        string `json:"creationDate"`
	ContainerRegistry   string `json:"containerRegistry,omitempty"`
	KeyVault            string `json:"keyVault,omitempty"`
	ApplicationInsights string `json:"applicationInsights,omitempty"`
	BatchAIWorkspace    string `json:"batchaiWorkspace,omitempty"`
	StorageAccount      string `json:"storageAccount,omitempty"`
	DiscoveryURL        string `json:"discoveryUrl"`
	// What later versions let a client set: kept and shown, and of no effect here.
	HBI                 *bool  `json:"hbiWorkspace,omitempty"`
	PublicBehindNetwork *bool  `json:"allowPublicAccessWhenBehindVnet,omitempty"`
	LegacyMode          *bool  `json:"v1LegacyMode,omitempty"`
	ImageBuildCompute   string `json:"imageBuildCompute,omitempty"`
	DatastoresAuthMode  string `json:"systemDatastoresAuthMode,omitempty"`
	NetworkAccess       string `json:"publicNetworkAccess,omitempty"`
}

// workspaceSettings are the properties that are shown only to versions that know them.
var workspaceSettings = []string{"hbiWorkspace", "allowPublicAccessWhenBehindVnet", "v1LegacyMode", "imageBuildCompute", "systemDatastoresAuthMode", "publicNetworkAccess"}

// workspaceName is the service's rule (and the SDK's): 3 to 33 characters.
var workspaceName = regexp.MustCompile(`^[a-zA-Z0-9][\w-]{2,32}$`)

// dependent names a resource that a workspace leans on.
type dependent struct {
	field, resourceType string
	get                 func(*workspaceProperties) string
}

var dependents = []dependent{
	{"storageAccount", "Microsoft.Storage/storageAccounts", func(p *workspaceProperties) string { return p.StorageAccount }},
	{"keyVault", "Microsoft.KeyVault/vaults", func(p *workspaceProperties) string { return p.KeyVault }},
	{"applicationInsights", "Microsoft.Insights/components", func(p *workspaceProperties) string { return p.ApplicationInsights }},
	{"containerRegistry", "Microsoft.ContainerRegistry/registries", func(p *workspaceProperties) string { return p.ContainerRegistry }},
	{"batchaiWorkspace", "Microsoft.BatchAI/workspaces", func(p *workspaceProperties) string { return p.BatchAIWorkspace }},
}

func (s *Service) workspaceType() arm.Type {
	return arm.Type{
		Name:     Namespace + "/workspaces",
		Versions: workspaceVersions,
		Tracked:  true,
		// SDK 0.1.68 takes 200 and 204 alone for a DELETE, and would ask for page 1 for ever on a nextLink.
		NoPaging:   true,
		Schema:     workspaceSchema(),
		Admit:      s.admitWorkspace,
		Reconciler: workspaceReconciler{s},
		Render:     renderWorkspace,
		Actions: map[string]arm.Action{
			"resynckeys": {ReadOnly: true, Sync: func(context.Context, arm.View, arm.Call, *arm.Resource) (int, any, error) {
				// The keys are read from the storage account whenever they are needed: nothing is out of step.
				return http.StatusOK, nil, nil
			}},
			"listKeys": {ReadOnly: true, Sync: s.listWorkspaceKeys},
		},
	}
}

// renderWorkspace names the properties as the api-version that asks does.
func renderWorkspace(call arm.Call, r *arm.Resource) (any, error) {
	doc, err := arm.Envelope(r)
	if err != nil {
		return nil, err
	}
	if doc["tags"] == nil {
		doc["tags"] = map[string]string{}
	}
	doc["type"] = Namespace + "/workspaces"
	p, ok := doc["properties"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("aml: workspace %s has no properties", r.ID)
	}
	shape := shapeOf(workspaceShapes, call.Version)
	for stored, shown := range map[string]string{"workspaceid": shape.id, "creationDate": shape.created} {
		v := p[stored]
		delete(p, stored)
		p[shown] = v
	}
	if !shape.settings {
		for _, name := range workspaceSettings {
			delete(p, name)
		}
	}
	return doc, nil
}

func (s *Service) admitWorkspace(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	if !workspaceName.MatchString(next.ID.Name()) {
		return &arm.Error{Status: http.StatusBadRequest, Code: "ValidationError", Target: "workspaceName",
			Message: fmt.Sprintf("Workspace name '%s' is invalid. It must be 3 to 33 characters of letters, digits, '-' and '_', and start with a letter or digit.", next.ID.Name())}
	}
	var p workspaceProperties
	if err := json.Unmarshal(next.Properties, &p); err != nil {
		return err
	}
	if old == nil {
		p.WorkspaceID = uuid.NewString()
		p.CreationDate = next.Created.UTC().Format(isoMicro)
		if p.StorageAccount == "" {
			return &arm.Error{Status: http.StatusBadRequest, Code: "ValidationError", Target: "storageAccount",
				Message: "Missing dependent resources in workspace json: storageAccount."}
		}
		if p.FriendlyName == "" {
			p.FriendlyName = next.ID.Name()
		}
		if len(next.Identity) > 0 {
			next.Identity, _ = json.Marshal(map[string]string{"principalId": uuid.NewString(), "tenantId": s.cfg.Tenant, "type": "SystemAssigned"})
		}
	} else {
		var was workspaceProperties
		if err := json.Unmarshal(old.Properties, &was); err != nil {
			return err
		}
		p.WorkspaceID, p.CreationDate = was.WorkspaceID, was.CreationDate
		// A dependent that a PUT leaves out stays; one that it changes is refused.
		for _, d := range dependents {
			if have, want := d.get(&was), d.get(&p); want != "" && !strings.EqualFold(have, want) && have != "" {
				return &arm.Error{Status: http.StatusBadRequest, Code: "ValidationError", Target: d.field,
					Message: fmt.Sprintf("The property '%s' of workspace '%s' can't be changed.", d.field, next.ID.Name())}
			}
		}
		keepDependents(&p, &was)
		next.Identity = old.Identity
	}
	for _, d := range dependents {
		if err := checkDependent(ctx, v, d, d.get(&p)); err != nil {
			return err
		}
	}
	p.DiscoveryURL = discoveryURL(next.Location)
	var err error
	next.Properties, err = json.Marshal(p)
	return err
}

func keepDependents(p, was *workspaceProperties) {
	for _, f := range []struct{ now, before *string }{
		{&p.StorageAccount, &was.StorageAccount}, {&p.KeyVault, &was.KeyVault}, {&p.ApplicationInsights, &was.ApplicationInsights},
		{&p.ContainerRegistry, &was.ContainerRegistry}, {&p.BatchAIWorkspace, &was.BatchAIWorkspace},
	} {
		if *f.now == "" {
			*f.now = *f.before
		}
	}
}

func checkDependent(ctx context.Context, v arm.View, d dependent, raw string) error {
	if raw == "" {
		return nil
	}
	id, err := arm.ParseID(raw)
	if err != nil || !strings.EqualFold(id.Type(), d.resourceType) {
		return &arm.Error{Status: http.StatusBadRequest, Code: "ValidationError", Target: d.field,
			Message: fmt.Sprintf("The value '%s' of '%s' is not the id of a %s.", raw, d.field, d.resourceType)}
	}
	if _, err := v.Get(ctx, id); err != nil {
		var e *arm.Error
		if errors.As(err, &e) && e.Status == http.StatusNotFound {
			return &arm.Error{Status: http.StatusBadRequest, Code: "ValidationError", Target: d.field,
				Message: fmt.Sprintf("The resource '%s' that '%s' names was not found.", raw, d.field)}
		}
		return err
	}
	return nil
}

type workspaceReconciler struct{ s *Service }

// Reconcile gives a new workspace its datastores, and takes its data along when it goes.
func (w workspaceReconciler) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	if !r.Deleting {
		return arm.Result{Done: true}, w.s.assets.Provision(ctx, ws)
	}
	err = errors.Join(w.s.serving.DeleteWorkspace(ctx, ws), w.s.execution.DeleteWorkspace(ctx, ws), w.s.history.DeleteWorkspace(ctx, ws), w.s.assets.DeleteWorkspace(ctx, ws))
	return arm.Result{Done: err == nil}, err
}

// listWorkspaceKeys mirrors ListWorkspaceKeysResult of 2018-03-01-preview.
func (s *Service) listWorkspaceKeys(ctx context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	var p workspaceProperties
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return 0, nil, err
	}
	keys, err := s.cfg.Blob.Keys(ctx, ws.StorageAccount)
	if err != nil {
		return 0, nil, fmt.Errorf("aml: keys of %s: %w", ws.StorageAccount, err)
	}
	return http.StatusOK, map[string]string{"userStorageKey": keys[0], "userStorageResourceId": p.StorageAccount}, nil
}
