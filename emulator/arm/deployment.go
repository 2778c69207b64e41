package arm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// deployment is what the engine keeps in Private of a Microsoft.Resources/deployments.
type deployment struct {
	Mode     string          `json:"mode"`
	Template json.RawMessage `json:"template"`
	// Given are the request's parameters; the secure ones go when the deployment is over.
	Given       json.RawMessage `json:"given,omitempty"`
	Correlation string          `json:"correlation"`
	Start       time.Time       `json:"start"`
	End         time.Time       `json:"end"`
	Resources   []*planned      `json:"resources"`
	// Base is where the client reached the engine, for URLs inside answers.
	Base      string          `json:"base"`
	Outputs   json.RawMessage `json:"outputs,omitempty"`
	Cancel    bool            `json:"cancel,omitempty"`
	Clearing  bool            `json:"clearing,omitempty"` // mode Complete: what is not in the template is being deleted
	Error     *storedError    `json:"error,omitempty"`
	Debugging any             `json:"debugSetting,omitempty"`
}

// deploymentType mirrors Microsoft.Resources/deployments at the levels of a group and of a subscription.
func (e *Engine) deploymentType() Type {
	put := LRO{Running: "Running", Operation: bareOperation,
		AsyncOperation: "{base}/subscriptions/{subscription}/resourcegroups/{resourceGroup}/providers/Microsoft.Resources/deployments/{name}/operationStatuses/{operation}?api-version={version}"}
	created := put
	created.Status = http.StatusCreated
	return Type{
		Name: resourcesNamespace + "/deployments", Versions: coreVersions,
		Without: []string{http.MethodPatch},
		PutNew:  created, PutOld: put,
		Delete: LRO{Status: http.StatusAccepted, Final: http.StatusNoContent,
			Location: "{base}/subscriptions/{subscription}/operationresults/{operation}?api-version={version}"},
		States:     &States{Creating: "Accepted", Updating: "Accepted"},
		NotFound:   &Error{Code: "DeploymentNotFound", Message: "Deployment '%s' could not be found."},
		Admit:      e.admitDeployment,
		Reconciler: deployer{e},
		Render:     renderDeployment,
		Actions: map[string]Action{
			"validate":       {Sync: e.validateDeployment, ReadOnly: true, Absent: true},
			"cancel":         {Sync: e.cancelDeployment},
			"exportTemplate": {Sync: exportTemplate, ReadOnly: true},
		},
		Reads: map[string]Read{
			"operations":             listOperations,
			"operations/{operation}": getOperation,
		},
	}
}

// readDeployment checks properties of a PUT or validate, and plans the deployment.
func (e *Engine) readDeployment(id ID, properties any, base string, now time.Time) (*deployment, *template, *scope, error) {
	props, ok := properties.(map[string]any)
	if !ok || len(props) == 0 {
		return nil, nil, nil, errContent("Required property 'properties' not found in JSON. Path ''")
	}
	d := &deployment{Start: now, Correlation: uuid.NewString(), Base: base}
	for _, link := range []string{"templateLink", "parametersLink"} {
		if v, _ := memberOf(props, link); v != nil {
			uri, _ := memberOf(asObject(v), "uri")
			return nil, nil, nil, Errorf(http.StatusBadRequest, "InvalidContentLink", "Unable to download deployment content from '%v': linked content is not supported.", uri)
		}
	}
	mode, _ := memberOf(props, "mode")
	word, _ := mode.(string)
	switch fold(word) {
	case "incremental":
		d.Mode = "Incremental"
	case "complete":
		if id.ResourceGroup() == "" {
			return nil, nil, nil, Errorf(http.StatusBadRequest, "InvalidDeployment", "The 'mode' property of deployment '%s' must be 'Incremental' at the scope of the subscription.", id.Name())
		}
		d.Mode = "Complete"
	case "":
		return nil, nil, nil, errContent("Required property 'mode' not found in JSON. Path 'properties'")
	default:
		return nil, nil, nil, errContent("Error converting value \"%s\" to type 'DeploymentMode'. Path 'properties.mode'", word)
	}
	raw, _ := memberOf(props, "template")
	if raw == nil {
		return nil, nil, nil, errContent("Required property 'template' not found in JSON. Path 'properties'")
	}
	given, _ := memberOf(props, "parameters")
	var err error
	if d.Template, err = marshal(raw); err != nil {
		return nil, nil, nil, err
	}
	if d.Given, err = marshal(given); err != nil {
		return nil, nil, nil, err
	}
	t, s, err := e.scopeOf(id, d)
	if err != nil {
		return nil, nil, nil, err
	}
	d.Resources, err = t.plan(s)
	return d, t, s, err
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// scopeOf reads a deployment's template and binds its parameters.
func (e *Engine) scopeOf(id ID, d *deployment) (*template, *scope, error) {
	raw, err := decodeAny(d.Template)
	if err != nil {
		return nil, nil, err
	}
	t, err := parseTemplate(raw)
	if err != nil {
		return nil, nil, err
	}
	var group *Resource
	if name := id.ResourceGroup(); name != "" {
		ent := e.index.get(ID{"/subscriptions/" + id.Subscription() + "/resourceGroups/" + name}.Key())
		if ent == nil {
			return nil, nil, errGroup(name)
		}
		group = ent.res
	}
	s := &scope{template: t, group: group, sub: e.subscriptions[fold(id.Subscription())], tenant: e.cfg.Tenant, name: id.Name(), resolving: map[string]bool{}}
	var given any
	if len(d.Given) > 0 {
		if given, err = decodeAny(d.Given); err != nil {
			return nil, nil, err
		}
	}
	_, err = t.bind(given, s)
	return t, s, err
}

func (e *Engine) admitDeployment(_ context.Context, _ View, c Call, _, next *Resource) error {
	properties, err := decodeAny(next.Properties)
	if err != nil {
		return err
	}
	d, t, s, err := e.readDeployment(next.ID, properties, c.Base, next.Modified)
	if err != nil {
		return err
	}
	if next.ID.ResourceGroup() == "" && next.Location == "" {
		return errLocationRequired()
	}
	for _, p := range d.Resources {
		// Clients register the provider that the answer names, and send the deployment again.
		if provider := e.catalog.providers[fold(p.ID.Provider())]; provider != nil && p.State != "Skipped" {
			if err := e.registered(provider, p.ID.Subscription()); err != nil {
				return err
			}
		}
		p.Operation = strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", "")[:16])
	}
	return d.store(next, t, s, "Accepted")
}

// store puts the deployment into its resource: notes into Private, the visible part into Properties.
func (d *deployment) store(r *Resource, t *template, s *scope, state string) error {
	end := d.End
	if end.IsZero() {
		end = r.Modified
	}
	props := map[string]any{
		"templateHash": d.hash(), "mode": d.Mode, "timestamp": stampOf(end), "duration": duration(end.Sub(d.Start)),
		"correlationId": d.Correlation, "providers": d.providers(), "dependencies": d.dependencies(),
	}
	// A deployment whose group is gone has no scope any more; it keeps what it showed.
	if s != nil {
		props["parameters"] = shownParameters(t, s)
	} else {
		var was map[string]json.RawMessage
		if err := json.Unmarshal(r.Properties, &was); err != nil {
			return err
		}
		props["parameters"] = was["parameters"]
	}
	if len(d.Outputs) > 0 {
		props["outputs"] = d.Outputs
	}
	if d.Error != nil {
		props["error"] = d.Error.load()
	}
	if state == "Succeeded" {
		out := []any{}
		for _, p := range d.Resources {
			if p.State == "Succeeded" {
				out = append(out, map[string]any{"id": p.ID})
			}
		}
		props["outputResources"] = out
	}
	var err error
	if r.Properties, err = marshal(props); err != nil {
		return err
	}
	r.Private, err = marshal(d)
	r.State = state
	return err
}

func loadDeployment(r *Resource) (*deployment, error) {
	var d deployment
	if err := json.Unmarshal(r.Private, &d); err != nil {
		return nil, fmt.Errorf("arm: deployment %s: %w", r.ID, err)
	}
	return &d, nil
}

// hash is in the form of the real templateHash: a decimal number.
func (d *deployment) hash() string {
	sum := sha256.Sum256(d.Template)
	return strconv.FormatUint(binary.BigEndian.Uint64(sum[:]), 10)
}

// shownParameters leaves secure values out.
func shownParameters(t *template, s *scope) map[string]any {
	out := map[string]any{}
	for _, name := range t.names {
		p := t.parameters[fold(name)]
		shown := map[string]any{"type": parameterKinds[p.kind]}
		if !p.secure() {
			shown["value"] = s.parameters[fold(name)]
		}
		out[name] = shown
	}
	return out
}

func (d *deployment) providers() []any {
	type resourceType struct {
		Type      string   `json:"resourceType"`
		Locations []string `json:"locations"`
	}
	types := map[string][]resourceType{}
	var order []string
	for _, p := range d.Resources {
		namespace, short, _ := strings.Cut(p.Type, "/")
		if _, seen := types[namespace]; !seen {
			order = append(order, namespace)
		}
		locations := []string{}
		if p.Location != "" {
			locations = append(locations, normalLocation(p.Location))
		}
		types[namespace] = append(types[namespace], resourceType{short, locations})
	}
	out := []any{}
	for _, namespace := range order {
		out = append(out, map[string]any{"namespace": namespace, "resourceTypes": types[namespace]})
	}
	return out
}

func (d *deployment) dependencies() []any {
	byKey := map[string]*planned{}
	for _, p := range d.Resources {
		byKey[p.ID.Key()] = p
	}
	show := func(p *planned) map[string]any {
		return map[string]any{"id": p.ID, "resourceType": p.Type, "resourceName": p.Name}
	}
	out := []any{}
	for _, p := range d.Resources {
		if len(p.DependsOn) == 0 {
			continue
		}
		on := []any{}
		for _, key := range p.DependsOn {
			on = append(on, show(byKey[key]))
		}
		entry := show(p)
		entry["dependsOn"] = on
		out = append(out, entry)
	}
	return out
}

// duration is in ISO 8601.
func duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	out := "PT"
	if h := int(d.Hours()); h > 0 {
		out += fmt.Sprintf("%dH", h)
	}
	if m := int(d.Minutes()) % 60; m > 0 {
		out += fmt.Sprintf("%dM", m)
	}
	return out + strconv.FormatFloat(float64(d%time.Minute)/float64(time.Second), 'f', -1, 64) + "S"
}

// renderDeployment mirrors DeploymentExtended of resources.json: it has no etag, and no type in 2018.
func renderDeployment(c Call, r *Resource) (any, error) {
	doc := struct {
		ID         string            `json:"id"`
		Name       string            `json:"name"`
		Type       string            `json:"type,omitempty"`
		Location   string            `json:"location,omitempty"`
		Tags       map[string]string `json:"tags,omitempty"`
		Properties json.RawMessage   `json:"properties"`
	}{ID: r.ID.String(), Name: r.ID.Name(), Tags: r.Tags, Properties: withState(r.Properties, r.State)}
	if r.ID.ResourceGroup() == "" {
		doc.Location = r.Location
	}
	if CompareVersions(c.Version, "2019-05-01") >= 0 {
		doc.Type = resourcesNamespace + "/deployments"
	}
	return doc, nil
}

// validateDeployment answers POST .../validate: a plan, and nothing is made.
func (e *Engine) validateDeployment(_ context.Context, _ View, c Call, r *Resource) (int, any, error) {
	body, err := decodeBody(c.Body)
	if err != nil {
		return 0, nil, err
	}
	properties, _ := memberOf(body, "properties")
	now := e.cfg.Clock.Now()
	d, t, s, err := e.readDeployment(r.ID, properties, c.Base, now)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range d.Resources {
		if err := e.validatePlanned(p); err != nil {
			return 0, nil, err
		}
	}
	shown := &Resource{ID: r.ID, Modified: now}
	if err := d.store(shown, t, s, "Succeeded"); err != nil {
		return 0, nil, err
	}
	doc, err := renderDeployment(c, shown)
	return http.StatusOK, doc, err
}

func (e *Engine) validatePlanned(p *planned) error {
	namespace, short, _ := strings.Cut(p.Type, "/") // of the type: a resource group's id has none
	provider := e.catalog.providers[fold(namespace)]
	if provider == nil {
		return errNamespace(namespace)
	}
	t := e.catalog.types[fold(p.Type)]
	if t == nil {
		return errType(provider.Namespace, short, p.Version)
	}
	if !versionFormat.MatchString(p.Version) || !t.Versions.Contains(p.Version) {
		return errVersionUnsupported(t, p.Version, p.Location)
	}
	return e.registered(provider, p.ID.Subscription())
}

func (e *Engine) cancelDeployment(_ context.Context, _ View, _ Call, r *Resource) (int, any, error) {
	if r.State != "Accepted" && r.State != "Running" {
		return 0, nil, Errorf(http.StatusConflict, "DeploymentCannotBeCancelled",
			"The deployment '%s' can't be cancelled: its provisioning state is '%s'.", r.ID.Name(), r.State)
	}
	d, err := loadDeployment(r)
	if err != nil {
		return 0, nil, err
	}
	d.Cancel = true
	r.Private, err = marshal(d)
	return http.StatusNoContent, nil, err
}

func exportTemplate(_ context.Context, _ View, _ Call, r *Resource) (int, any, error) {
	d, err := loadDeployment(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"template": d.Template}, nil
}

func (p *planned) operation(deployment ID, now time.Time) map[string]any {
	end := p.End
	if end.IsZero() {
		end = now
	}
	props := map[string]any{"provisioningOperation": "Create", "provisioningState": p.State, "timestamp": stampOf(end), "duration": duration(end.Sub(p.Start)),
		"trackingId": p.Operation, "targetResource": map[string]any{"id": p.ID, "resourceType": p.Type, "resourceName": p.Name}}
	if p.Status != 0 {
		props["statusCode"] = strings.ReplaceAll(http.StatusText(p.Status), " ", "")
	}
	if len(p.Error) > 0 {
		props["statusMessage"] = p.Error
	}
	return map[string]any{"id": deployment.String() + "/operations/" + p.Operation, "operationId": p.Operation, "properties": props}
}

func listOperations(_ context.Context, _ View, _ Call, r *Resource) (int, any, error) {
	d, err := loadDeployment(r)
	if err != nil {
		return 0, nil, err
	}
	out := []any{}
	for _, p := range d.Resources {
		if p.State != "" && p.State != "Skipped" {
			out = append(out, p.operation(r.ID, r.Modified))
		}
	}
	return http.StatusOK, map[string]any{"value": out}, nil
}

func getOperation(_ context.Context, _ View, c Call, r *Resource) (int, any, error) {
	d, err := loadDeployment(r)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range d.Resources {
		if strings.EqualFold(p.Operation, c.Vars["operation"]) && p.State != "" && p.State != "Skipped" {
			return http.StatusOK, p.operation(r.ID, r.Modified), nil
		}
	}
	return 0, nil, Errorf(http.StatusNotFound, "DeploymentOperationNotFound", "Deployment operation '%s' could not be found.", c.Vars["operation"])
}
