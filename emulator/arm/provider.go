package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strings"
)

// Subscription that the engine knows. Others are SubscriptionNotFound.
type Subscription struct{ ID, DisplayName string }

// Provider is a namespace and its types.
type Provider struct {
	Namespace string // "Microsoft.Compute"
	// Authorizations are the identities that act for the provider, as its description shows them.
	Authorizations []Authorization
	Types          []Type
	// Actions below a provider or a location, such as usages and vmSizes:
	// pattern below /subscriptions/{s}/providers/{namespace}, e.g. "locations/{location}/vmSizes".
	Queries []Query
	// Registered says that subscriptions have the provider registered from the start.
	Registered bool
}

// Authorization is an application of a provider's and the role that it has.
type Authorization struct {
	ApplicationID    string `json:"applicationId"`
	RoleDefinitionID string `json:"roleDefinitionId,omitempty"`
}

// Query is a read, or a write, at subscription level that is no resource.
type Query struct {
	Method   string
	Pattern  string
	Versions Versions
	Do       func(ctx context.Context, c Call) (any, error)
}

// Call is what a hook or an action gets to know of the request.
type Call struct {
	Method  string // of the request
	Version string // api-version as sent
	// List says that what is rendered is one of a list, of which some services show less.
	List bool
	// Vars are captured segments: {location} of a Query, {container} of an action's
	// name, and always "subscription" and "resourceGroup" where the path has them.
	Vars   map[string]string
	Query  map[string][]string
	Header http.Header
	Body   json.RawMessage
	// Base is scheme and host as the client sees them, for the URLs in answers; Path is the request's own.
	Base, Path string
	// View of the engine, for a hook that gets none as an argument. nil in a Call that no engine made.
	View View
}

// Type declares one resource type.
type Type struct {
	// Name with its namespace: "Microsoft.BatchAI/workspaces/clusters".
	Name     string
	Versions Versions
	// Zones says that the type can be put into a zone, which the provider's description shows.
	Zones bool
	// Profiles are the api-versions that Azure's profiles name for the type.
	Profiles map[string]string
	// Part names the list of the parent's properties that holds the resources of
	// this type, as a network holds its subnets: {"name", "properties"} each. They
	// are stored there alone, so a write of one is a write of the parent and runs
	// the parent's Admit and Reconciler; the type has no Reconciler and no Actions.
	Part string
	// Tracked types have a location, which PUT requires, and tags.
	Tracked bool
	// PutNew, PutOld, Patch and Delete say how each verb answers. A zero LRO is a
	// plain synchronous answer: the request waits until the reconciler is done, and
	// answers its *Error as its own.
	PutNew, PutOld, Patch, Delete LRO
	// Without names the methods that the type lacks ("PATCH", "LIST"): they answer 405.
	Without []string
	// NoPaging answers every list whole: SDK 0.1.68 would ask for a workspace list's first page for ever.
	NoPaging bool
	// Overlap lets a PUT, PATCH or Begin come while an operation is under way;
	// otherwise it is refused with Busy (nil: 409 AnotherOperationInProgress).
	Overlap bool
	Busy    *Error
	// NameRule is what a new resource's name must match (nil: ARM's own rule alone).
	NameRule *regexp.Regexp
	// Schema checks properties; nil takes any object.
	Schema *Schema
	// Admit is the last word before a PUT or PATCH is stored: it checks what a
	// schema can't, fills defaults into next.Properties and puts secrets into next.Private. old is nil on create.
	// next starts with old's Private. Admit must not write to the resource itself through the engine.
	Admit func(ctx context.Context, v View, c Call, old, next *Resource) error
	// AdmitDelete may refuse a DELETE (in use); the resource stays as it is. What it
	// notes in r.Private for the reconciler is stored. c is empty where what the
	// resource hangs off is deleted.
	AdmitDelete func(ctx context.Context, v View, c Call, r *Resource) error
	// Reconciler drives the resource after the write; nil: it is Succeeded at once.
	Reconciler Reconciler
	// Actions by name: POST {id}/{name}. A name may be a pattern:
	// "containers/{container}/exec", and begin with another method: "DELETE scriptActions/{script}".
	Actions map[string]Action
	// Reads by name: GET {id}/{name}, such as "instanceView"; patterns as with Actions.
	Reads map[string]Read
	// Render turns a resource into its wire form; nil: the standard envelope {id,name,type,location,tags,sku,kind,identity,plan,zones,etag,properties}.
	// The answer is kept until the resource is written again, for each api-version
	// and base, unless the request has more query parameters: Render must depend on
	// nothing else, or the type must be Live.
	Render func(c Call, r *Resource) (any, error)
	Live   bool
	// NotFound overrides code and message of a 404 ("%s" is the name).
	NotFound *Error
	// State is the word in properties.provisioningState while an operation runs and when it ended; zero: Creating|Updating|Deleting, Succeeded, Failed.
	States *States
	// Children need no declaration here: all types below this one are deleted with the resource, before it.
}

// States are the provisioningState words of a type. An empty one is the default's.
type States struct{ Creating, Updating, Deleting, Succeeded, Failed, Canceled string }

// Read answers GET {id}/{name}. A status of 0 is 200.
type Read func(ctx context.Context, v View, c Call, r *Resource) (status int, body any, err error)

// Action answers POST {id}/{name}, or the method that its name begins with.
type Action struct {
	LRO LRO
	// Sync does it now and returns the body (nil: empty) and the status (0: 200).
	// What it changes in r's Properties and Private is stored.
	Sync func(ctx context.Context, v View, c Call, r *Resource) (status int, body any, err error)
	// Begin changes r (for example its wanted power state); the reconciler does the work, and the operation ends with its Done.
	Begin func(ctx context.Context, v View, c Call, r *Resource) error
	// Result is the body at Location (monitor=true) once the operation is over.
	Result func(ctx context.Context, v View, c Call, r *Resource) (any, error)
	// ReadOnly lets Sync run while the resource is being reconciled; its changes are dropped.
	ReadOnly bool
	// Absent calls Sync for a resource that does not exist too; r then has the ID alone.
	Absent bool
	// List takes an array as the request's body, where others take an object.
	List bool
}

var defaultStates = States{Creating: "Creating", Updating: "Updating", Deleting: "Deleting", Succeeded: "Succeeded", Failed: "Failed", Canceled: "Canceled"}

// typeInfo is a declared Type with what the engine derives from it.
type typeInfo struct {
	Type
	provider *providerInfo
	short    string // name without the namespace
	folded   string
	states   States
	actions  map[string][]pattern[Action] // by method
	reads    []pattern[Read]
	// kind picks the few rules that the resource manager's own types have.
	kind typeKind
}

type typeKind int

const (
	kindPlain typeKind = iota
	kindGroup
	kindDeployment
)

type providerInfo struct {
	Provider
	types   map[string]*typeInfo // by folded short name
	order   []*typeInfo
	queries []pattern[Query]
	// builtin providers need no registration.
	builtin bool
}

// catalog is all that was declared.
type catalog struct {
	providers map[string]*providerInfo // by folded namespace
	order     []*providerInfo
	types     map[string]*typeInfo // by folded full name
}

func newCatalog(providers []Provider) (*catalog, error) {
	c := &catalog{providers: map[string]*providerInfo{}, types: map[string]*typeInfo{}}
	for _, p := range providers {
		if err := c.add(p); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *catalog) add(p Provider) error {
	if p.Namespace == "" || strings.Contains(p.Namespace, "/") {
		return fmt.Errorf("arm: %q is no namespace of a provider", p.Namespace)
	}
	key := strings.ToLower(p.Namespace)
	if c.providers[key] != nil {
		return fmt.Errorf("arm: provider %s is declared twice", p.Namespace)
	}
	info := &providerInfo{Provider: p, types: map[string]*typeInfo{}}
	for _, q := range p.Queries {
		if q.Do == nil || q.Method == "" || q.Pattern == "" {
			return fmt.Errorf("arm: provider %s: the query %s %q is incomplete", p.Namespace, q.Method, q.Pattern)
		}
		info.queries = append(info.queries, newPattern(q.Pattern, q))
	}
	for _, t := range p.Types {
		ti, err := newTypeInfo(info, t)
		if err != nil {
			return err
		}
		if c.types[ti.folded] != nil {
			return fmt.Errorf("arm: type %s is declared twice", t.Name)
		}
		c.types[ti.folded] = ti
		info.types[strings.ToLower(ti.short)] = ti
		info.order = append(info.order, ti)
	}
	for _, t := range info.order {
		i := strings.LastIndexByte(t.short, '/')
		if i < 0 {
			continue
		}
		switch parent := info.types[strings.ToLower(t.short[:i])]; {
		case parent == nil:
			return fmt.Errorf("arm: type %s: its parent type is not declared", t.Name)
		case parent.Part != "":
			return fmt.Errorf("arm: type %s: its parent is a part of another", t.Name)
		}
	}
	c.providers[key] = info
	c.order = append(c.order, info)
	sort.Slice(c.order, func(i, j int) bool { return c.order[i].Namespace < c.order[j].Namespace })
	return nil
}

func newTypeInfo(p *providerInfo, t Type) (*typeInfo, error) {
	namespace, short, ok := strings.Cut(t.Name, "/")
	if !ok || short == "" || !strings.EqualFold(namespace, p.Namespace) {
		return nil, fmt.Errorf("arm: type %q is not in the namespace %s", t.Name, p.Namespace)
	}
	ti := &typeInfo{Type: t, provider: p, short: short, folded: strings.ToLower(t.Name), states: defaultStates, actions: map[string][]pattern[Action]{}}
	if s := t.States; s != nil {
		for _, f := range []struct {
			to   *string
			from string
		}{{&ti.states.Creating, s.Creating}, {&ti.states.Updating, s.Updating}, {&ti.states.Deleting, s.Deleting},
			{&ti.states.Succeeded, s.Succeeded}, {&ti.states.Failed, s.Failed}, {&ti.states.Canceled, s.Canceled}} {
			if f.from != "" {
				*f.to = f.from
			}
		}
	}
	if t.Part != "" && (t.Reconciler != nil || len(t.Actions) > 0 || strings.Count(t.Name, "/") < 2) {
		return nil, fmt.Errorf("arm: type %s: a part is below another type and has neither Reconciler nor Actions", t.Name)
	}
	for name, a := range t.Actions {
		if (a.Sync == nil) == (a.Begin == nil) {
			return nil, fmt.Errorf("arm: type %s: action %s needs either Sync or Begin", t.Name, name)
		}
		if a.Begin != nil && t.Reconciler == nil {
			return nil, fmt.Errorf("arm: type %s: action %s has Begin, but the type has no Reconciler", t.Name, name)
		}
		method, path, other := strings.Cut(name, " ")
		if !other {
			method, path = http.MethodPost, name
		}
		p := newPattern(path, a)
		p.text = name
		ti.actions[method] = append(ti.actions[method], p)
	}
	for name, r := range t.Reads {
		ti.reads = append(ti.reads, newPattern(name, r))
	}
	if t.Schema != nil {
		if err := t.Schema.compile("properties"); err != nil {
			return nil, fmt.Errorf("arm: type %s: %w", t.Name, err)
		}
	}
	for _, l := range []LRO{t.PutNew, t.PutOld, t.Patch, t.Delete} {
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("arm: type %s: %w", t.Name, err)
		}
	}
	return ti, nil
}

func (t *typeInfo) lacks(method string) bool {
	for _, m := range t.Without {
		if strings.EqualFold(m, method) {
			return true
		}
	}
	return false
}

func (t *typeInfo) allow(collection bool) []string {
	methods := []string{"GET", "HEAD", "PUT", "PATCH", "DELETE"}
	if collection {
		methods = []string{"GET"}
	}
	var out []string
	for _, m := range methods {
		if !t.lacks(m) && (!collection || !t.lacks("LIST")) {
			out = append(out, m)
		}
	}
	return out
}

// action finds an action by method and the path below the resource.
func (t *typeInfo) action(method string, rest []string) (a Action, name string, vars map[string]string, ok bool) {
	return find(t.actions[method], rest)
}

func (t *typeInfo) read(rest []string) (r Read, name string, vars map[string]string, ok bool) {
	return find(t.reads, rest)
}

// pattern is a slash-separated path with {captures}; literals match in any case.
type pattern[T any] struct {
	text  string
	segs  []string
	value T
}

func newPattern[T any](text string, value T) pattern[T] {
	return pattern[T]{text: text, segs: strings.Split(strings.Trim(text, "/"), "/"), value: value}
}

// find prefers a pattern that has fewer captures: one path may fit "extensions/clustermonitoring" and "extensions/{name}".
func find[T any](patterns []pattern[T], path []string) (value T, text string, vars map[string]string, ok bool) {
	for _, p := range patterns {
		if v, fits := match(p.segs, path); fits && (!ok || len(v) < len(vars)) {
			value, text, vars, ok = p.value, p.text, v, true
		}
	}
	return value, text, vars, ok
}

func match(segs, path []string) (map[string]string, bool) {
	if len(segs) != len(path) {
		return nil, false
	}
	vars := map[string]string{}
	for i, s := range segs {
		switch {
		case strings.HasPrefix(s, "{"):
			vars[strings.Trim(s, "{}")] = path[i]
		case !strings.EqualFold(s, path[i]):
			return nil, false
		}
	}
	return vars, true
}
