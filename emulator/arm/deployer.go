package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// deployer is the reconciler of deployments: it PUTs each resource of the
// template through the engine's own door, as soon as what it depends on is there.
type deployer struct{ e *Engine }

// Reconcile implements Reconciler.
func (d deployer) Reconcile(ctx context.Context, _ View, r *Resource) (Result, error) {
	if r.Deleting {
		return Result{Done: true}, nil
	}
	notes, err := loadDeployment(r)
	if err != nil {
		return Result{}, err
	}
	if !notes.End.IsZero() {
		return Result{Done: true}, nil
	}
	t, s, err := d.e.scopeOf(r.ID, notes)
	if err != nil {
		return Result{}, d.fail(notes, r, nil, nil, err)
	}
	s.reference, s.list = d.reference(ctx, notes), d.list(ctx, notes)
	waiting := false
	for _, p := range notes.Resources {
		if p.State != "Running" {
			continue
		}
		if err := d.drive(ctx, r.ID, notes, t, s, p); err != nil {
			return Result{}, errors.Join(err, notes.store(r, t, s, "Running"))
		}
		waiting = waiting || p.State == "Running"
	}
	if notes.Cancel && !waiting {
		r.Modified = d.e.cfg.Clock.Now()
		return Result{}, d.canceled(notes, r, t, s)
	}
	// What is begun is stored first: a restart then knows whether the PUT may have been made.
	if !notes.Cancel && notes.next(d.e) {
		return Result{RequeueAfter: time.Nanosecond}, notes.store(r, t, s, "Running")
	}
	if waiting {
		return Result{}, notes.store(r, t, s, "Running")
	}
	return d.finish(ctx, notes, r, t, s)
}

// next marks the resources whose turn it is, unless one has failed.
func (d *deployment) next(e *Engine) bool {
	state := map[string]string{}
	for _, p := range d.Resources {
		state[p.ID.Key()] = p.State
		if p.State == "Failed" {
			return false
		}
	}
	begun := false
	for _, p := range d.Resources {
		ready := p.State == ""
		for _, key := range p.DependsOn {
			ready = ready && (state[key] == "Succeeded" || state[key] == "Skipped")
		}
		if ready {
			p.State, p.Start, begun = "Running", e.cfg.Clock.Now(), true
			if ent := e.index.get(p.ID.Key()); ent != nil {
				p.Before = ent.res.ETag
			}
		}
	}
	return begun
}

// drive PUTs a resource, once, and then looks whether it is there.
func (d deployer) drive(ctx context.Context, id ID, notes *deployment, t *template, s *scope, p *planned) error {
	if ent := d.e.index.get(p.ID.Key()); !p.Asked && ent != nil && ent.res.ETag != p.Before {
		// The engine was stopped between the PUT and the note of it.
		p.Asked, p.Status = true, http.StatusOK
	}
	if !p.Asked {
		var body any
		err := s.within(p.Loops, func() (err error) {
			body, err = s.resolve(t.body(p.Path))
			return err
		})
		if err != nil {
			p.failed(d.e, http.StatusBadRequest, errTemplate("Unable to process template language expressions for resource '%s': %s", p.ID, capital(err)))
			return nil
		}
		status, answer, err := d.request(ctx, notes, http.MethodPut, p.ID.String(), p.Version, body)
		if err != nil {
			return err
		}
		if status == http.StatusServiceUnavailable || ctx.Err() != nil {
			return errors.New("the engine stops")
		}
		p.Asked, p.Status = true, status
		if status >= 400 {
			p.State, p.End = "Failed", d.e.cfg.Clock.Now()
			if p.Error = answer; !json.Valid(answer) {
				p.Error = nil
			}
			return nil
		}
	}
	// Follow before looking, so that no end is missed.
	if ent := d.e.find(p.ID); ent != nil {
		d.e.progress.follow(ent.key, id.Key())
	}
	ent := d.e.find(p.ID)
	switch {
	case ent == nil:
		p.failed(d.e, http.StatusConflict, Errorf(http.StatusNotFound, "ResourceNotFound", "The resource '%s' was deleted while it was deployed.", p.ID))
	case ent.busy(d.e):
	case ent.failure != nil || ent.res.State == ent.typ.states.Failed:
		failure := Errorf(http.StatusConflict, "ResourceDeploymentFailure", "The resource operation completed with terminal provisioning state '%s'.", ent.res.State)
		if ent.failure != nil {
			failure.Details = []Error{*ent.failure}
		}
		p.failed(d.e, http.StatusConflict, failure)
	default:
		p.State, p.End = "Succeeded", d.e.cfg.Clock.Now()
	}
	return nil
}

// busy reports whether a resource's write is still being worked on.
func (ent *entry) busy(e *Engine) bool {
	s := ent.res.State
	return ent.res.Deleting || len(e.operations.of(ent.key)) > 0 ||
		ent.active && s != ent.typ.states.Succeeded && s != ent.typ.states.Failed && s != ent.typ.states.Canceled
}

// failed notes why a resource could not be deployed, in the form in which an operation's status has it.
func (p *planned) failed(e *Engine, status int, why *Error) {
	p.State, p.Status, p.End = "Failed", status, e.cfg.Clock.Now()
	p.Error, _ = marshal(map[string]any{"status": "Failed", "error": why})
}

// request goes through the engine's own door.
func (d deployer) request(ctx context.Context, notes *deployment, method, path, version string, body any) (int, []byte, error) {
	var payload io.Reader
	if body != nil {
		b, err := marshal(body)
		if err != nil {
			return 0, nil, err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, notes.Base+escapePath(path)+"?api-version="+url.QueryEscape(version), payload)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Ms-Correlation-Request-Id", notes.Correlation)
	resp, err := roundTripper{d.e, true}.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// locate turns the argument of reference or list* into an id and an api-version.
func (notes *deployment) locate(name, version string) (string, string, error) {
	p := findPlanned(notes.Resources, name)
	if p != nil && version == "" {
		version = p.Version
	}
	switch {
	case p != nil:
		return p.ID.String(), version, nil
	case !strings.HasPrefix(name, "/"):
		return "", "", fmt.Errorf("the resource '%s' is not defined in the template", name)
	case version == "":
		return "", "", fmt.Errorf("the resource '%s' is not defined in the template: an api-version is required", name)
	}
	return name, version, nil
}

func (d deployer) reference(ctx context.Context, notes *deployment) func(string, string, bool) (any, error) {
	return func(name, version string, full bool) (any, error) {
		id, version, err := notes.locate(name, version)
		if err != nil {
			return nil, err
		}
		v, err := d.value(ctx, notes, http.MethodGet, id, version, nil)
		if err != nil || full {
			return v, err
		}
		props, _ := memberOf(asObject(v), "properties")
		return props, nil
	}
}

func (d deployer) list(ctx context.Context, notes *deployment) func(string, string, string, any) (any, error) {
	return func(action, name, version string, body any) (any, error) {
		id, version, err := notes.locate(name, version)
		if err != nil {
			return nil, err
		}
		return d.value(ctx, notes, http.MethodPost, id+"/"+action, version, body)
	}
}

func (d deployer) value(ctx context.Context, notes *deployment, method, path, version string, body any) (any, error) {
	status, answer, err := d.request(ctx, notes, method, path, version, body)
	if err != nil {
		return nil, err
	}
	if status >= 400 {
		return nil, fmt.Errorf("%s %s answered %d: %s", method, path, status, answer)
	}
	return decodeAny(answer)
}

// finish ends a deployment of which nothing runs any more.
func (d deployer) finish(ctx context.Context, notes *deployment, r *Resource, t *template, s *scope) (Result, error) {
	var details []Error
	for _, p := range notes.Resources {
		if p.State == "Failed" {
			details = append(details, Error{Code: strings.ReplaceAll(http.StatusText(p.Status), " ", ""), Message: string(p.Error)})
		}
	}
	if len(details) > 0 {
		return Result{}, d.fail(notes, r, t, s, &Error{Status: http.StatusConflict, Code: "DeploymentFailed", Details: details,
			Message: "At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/arm-debug for usage details."})
	}
	if notes.Mode == "Complete" {
		if waiting, err := d.clear(ctx, notes, r, t, s); err != nil || waiting {
			return Result{}, err
		}
	}
	outputs, err := t.evaluateOutputs(s)
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	if err != nil {
		return Result{}, d.fail(notes, r, t, s, err)
	}
	if notes.Outputs, err = marshal(outputs); err != nil {
		return Result{}, err
	}
	return Result{Done: true}, d.over(notes, r, t, s, "Succeeded", nil)
}

// evaluateOutputs gives each output's type and, unless it is secure, its value.
func (t *template) evaluateOutputs(s *scope) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range sortedKeys(t.outputs) {
		def := asObject(t.outputs[name])
		kind, _ := memberOf(def, "type")
		word, _ := kind.(string)
		if parameterKinds[fold(word)] == "" {
			return nil, errKind(word)
		}
		raw, _ := memberOf(def, "value")
		v, err := s.resolve(raw)
		if declaration, _ := memberOf(def, "copy"); declaration != nil && raw == nil && err == nil {
			var l copyLoop
			if l, err = readLoop(withName(declaration, name), s, true); err == nil {
				v, err = l.values(s)
			}
		}
		if err != nil {
			return nil, Errorf(http.StatusBadRequest, "DeploymentOutputEvaluationFailed", "Unable to evaluate template outputs: '%s'. Please see error details and deployment operations. %s.", name, capital(err))
		}
		shown := map[string]any{"type": parameterKinds[fold(word)]}
		if !strings.HasPrefix(fold(word), "secure") {
			shown["value"] = v
		}
		out[name] = shown
	}
	return out, nil
}

// clear is mode Complete: what the group has and the template has not goes.
func (d deployer) clear(ctx context.Context, notes *deployment, r *Resource, t *template, s *scope) (waiting bool, err error) {
	first := !notes.Clearing
	notes.Clearing = true
	var left []Error
	for _, child := range d.e.index.children(s.group.ID.Key()) {
		inTemplate := slices.ContainsFunc(notes.Resources, func(p *planned) bool {
			return p.ID.Key() == child.key || strings.HasPrefix(p.ID.Key(), child.key+"/")
		})
		if child.typ.kind == kindDeployment || inTemplate {
			continue
		}
		d.e.progress.follow(child.key, r.ID.Key())
		if first && !child.res.Deleting {
			refused, err := d.e.beginDelete(ctx, child.key)
			if err != nil {
				return false, err
			}
			if refused != nil {
				left = append(left, blockedBy(child, refused))
			}
		}
		switch now := d.e.index.get(child.key); {
		case now == nil:
		case now.res.Deleting:
			waiting = true
		case len(left) == 0 || left[len(left)-1].Target != child.res.ID.String():
			left = append(left, blockedBy(child, now.failure))
		}
	}
	if waiting {
		return true, notes.store(r, t, s, "Running")
	}
	if len(left) > 0 {
		return false, d.fail(notes, r, t, s, &Error{Status: http.StatusConflict, Code: "DeploymentFailed", Details: left,
			Message: "At least one resource that is not in the template could not be deleted."})
	}
	return false, nil
}

// fail ends the deployment with an error. What is no *Error is the engine's trouble, and comes again.
func (d deployer) fail(notes *deployment, r *Resource, t *template, s *scope, why error) error {
	failure, ok := asError(why)
	if !ok {
		return why
	}
	if err := d.over(notes, r, t, s, "Failed", failure); err != nil {
		return err
	}
	return failure
}

func (d deployer) canceled(notes *deployment, r *Resource, t *template, s *scope) error {
	failure := Errorf(http.StatusConflict, "DeploymentCanceled", "The deployment '%s' was canceled.", r.ID.Name())
	if err := d.over(notes, r, t, s, "Canceled", failure); err != nil {
		return err
	}
	return failure
}

// over stores the end, and forgets the secure parameters: nothing needs them any more.
func (d deployer) over(notes *deployment, r *Resource, t *template, s *scope, state string, failure *Error) error {
	notes.End = d.e.cfg.Clock.Now()
	r.Modified = notes.End
	notes.Given = nil
	if failure != nil {
		notes.Error = storeError(failure)
	}
	return notes.store(r, t, s, state)
}
