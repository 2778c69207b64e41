package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

const (
	resourcesNamespace = "Microsoft.Resources"
	insightsNamespace  = "microsoft.insights"
)

// addBuiltins declares the resource manager's own types, in the same terms as any provider's.
func (e *Engine) addBuiltins() error {
	if err := e.catalog.add(Provider{Namespace: resourcesNamespace, Registered: true, Types: []Type{
		{
			Name: TypeResourceGroup, Versions: coreVersions, Tracked: true, Render: renderGroup,
			Delete: LRO{Status: http.StatusAccepted, Location: "{base}/subscriptions/{subscription}/operationresults/{operation}?api-version={version}"},
		},
		e.deploymentType(),
	}}); err != nil {
		return err
	}
	info := e.catalog.providers[fold(resourcesNamespace)]
	info.builtin = true
	info.types["resourcegroups"].kind = kindGroup
	info.types["deployments"].kind = kindDeployment
	// az asks for the activity log while it waits for a deployment. Nothing is recorded in one.
	events := Query{Method: http.MethodGet, Pattern: "eventtypes/management/values", Do: func(context.Context, Call) (any, error) {
		return map[string]any{"value": []any{}}, nil
	}}
	if p := e.catalog.providers[insightsNamespace]; p != nil {
		p.queries = append(p.queries, newPattern(events.Pattern, events))
		return nil
	}
	return e.catalog.add(Provider{Namespace: insightsNamespace, Registered: true, Queries: []Query{events}})
}

func (e *Engine) groupType() *typeInfo { return e.catalog.types[fold(TypeResourceGroup)] }

// renderGroup mirrors ResourceGroup of resources.json: "type" came with 2019-05-01.
func renderGroup(c Call, r *Resource) (any, error) {
	env := standard(r, false)
	env.ETag = ""
	doc := struct {
		ID         string            `json:"id"`
		Name       string            `json:"name"`
		Type       string            `json:"type,omitempty"`
		Location   string            `json:"location"`
		Tags       map[string]string `json:"tags,omitempty"`
		Properties json.RawMessage   `json:"properties"`
	}{ID: env.ID, Name: env.Name, Location: r.Location, Tags: r.Tags, Properties: env.Properties}
	if CompareVersions(c.Version, "2019-05-01") >= 0 {
		doc.Type = TypeResourceGroup
	}
	return doc, nil
}

// checkGroupName is the rule for names of resource groups.
func checkGroupName(name string) error {
	if len(name) > 90 {
		return Errorf(http.StatusBadRequest, "InvalidResourceGroup", "The provided resource group name '%s' has a length of '%d' which exceeds the maximum length of '90'.", name, len(name))
	}
	if bad := badRunes(name, "-_.()"); bad != "" {
		return Errorf(http.StatusBadRequest, "InvalidResourceGroup",
			"The provided resource group name '%s' has these invalid characters: '%s'. The name can only be a letter, digit, '-', '.', '(', ')' or '_'.", name, bad)
	}
	if strings.HasSuffix(name, ".") {
		return Errorf(http.StatusBadRequest, "InvalidResourceGroup", "The provided resource group name '%s' can't end with '.'.", name)
	}
	return nil
}
