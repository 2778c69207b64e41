// Package arm is lazulite's Azure Resource Manager: one engine that every
// resource provider declares itself to.
package arm

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of an Engine.
type Config struct {
	Store         *store.Store
	Clock         clock.Clock
	Logger        *slog.Logger
	Tenant        string
	Subscriptions []Subscription
	Providers     []Provider
	// Authenticate refuses a request (an *Error, status 401 or 403) or passes it.
	Authenticate func(r *http.Request) error
}

// Subscription that the engine knows. Others are SubscriptionNotFound.
type Subscription struct{ ID, DisplayName string }

// Provider is a namespace and its types.
type Provider struct {
	Namespace string // "Microsoft.Compute"
	Types     []Type
	// Actions below a provider or a location, such as usages and vmSizes:
	// pattern below /subscriptions/{s}/providers/{namespace}, e.g. "locations/{location}/vmSizes".
	Queries []Query
	// Registered says that subscriptions have the provider registered from the start.
	Registered bool
}

// Query is a read at subscription level that is no resource.
type Query struct {
	Method   string
	Pattern  string
	Versions Versions
	Do       func(ctx context.Context, c Call) (any, error)
}

// Versions is an inclusive range of api-versions; an empty end is open.
// "-preview" sorts before the plain date.
type Versions struct{ From, To string }

// Call is what a hook or an action gets to know of the request.
type Call struct {
	Version string // api-version as sent
	Vars    map[string]string
	Query   map[string][]string
	Header  http.Header
	Body    json.RawMessage
	// Base is scheme and host as the client sees them, for the URLs in answers.
	Base string
}

// Type declares one resource type.
type Type struct {
	// Name with its namespace: "Microsoft.BatchAI/workspaces/clusters".
	Name     string
	Versions Versions
	// Tracked types have a location, which PUT requires, and tags.
	Tracked bool
	// PutNew, PutOld, Patch and Delete say how each verb answers. A zero LRO is a plain synchronous answer.
	PutNew, PutOld, Patch, Delete LRO
	// NoPatch, NoList ... : methods that the type lacks answer 405.
	Without []string
	// Schema checks properties; nil takes any object.
	Schema *Schema
	// Admit is the last word before a PUT or PATCH is stored: it checks what a
	// schema can't, fills defaults into next.Properties and puts secrets into next.Private. old is nil on create.
	Admit func(ctx context.Context, v View, c Call, old, next *Resource) error
	// Reconciler drives the resource after the write; nil: it is Succeeded at once.
	Reconciler Reconciler
	// Actions by name: POST {id}/{name}.
	Actions map[string]Action
	// Render turns a resource into its wire form; nil: the standard envelope {id,name,type,location,tags,sku,kind,identity,plan,zones,etag,properties}.
	Render func(c Call, r *Resource) (any, error)
	// NotFound overrides code and message of a 404 ("%s" is the name).
	NotFound *Error
	// State is the word in properties.provisioningState while an operation runs and when it ended; zero: Creating|Updating|Deleting, Succeeded, Failed.
	States *States
	// Children are deleted with the resource by the engine itself (all types below it).
}

// States are the provisioningState words of a type.
type States struct{ Creating, Updating, Deleting, Succeeded, Failed, Canceled string }

// LRO says how a verb answers when the work goes on afterwards.
// Headers are templates over {base} {subscription} {resourceGroup} {provider} {location} {id} {name} {operation} {version}.
type LRO struct {
	Status int  // 0: 200 or 201 by whether it is new (DELETE: 200)
	NoBody bool // the answer is empty
	// AsyncOperation and Location are header templates; empty: not sent.
	AsyncOperation, Location string
	// Operation renders the status document; nil: {"id","name","status","startTime","endTime","error"}.
	Operation func(c Call, op *Operation, r *Resource) any
	// Versions of the engine's default words "InProgress", "Succeeded", "Failed", "Canceled" if the service has others.
	Running string
}

// Resource is one stored resource.
type Resource struct {
	ID         ID
	Location   string
	Tags       map[string]string
	SKU        json.RawMessage
	Kind       string
	Plan       json.RawMessage
	Identity   json.RawMessage
	Zones      []string
	Properties json.RawMessage
	// Private is the provider's own notes: stored, never on the wire.
	Private json.RawMessage
	ETag    string
	State   string
	// Deleting is set when a Reconcile must take the resource down; Done then removes it.
	Deleting bool
	Created  time.Time
	Modified time.Time
	// Version is the api-version of the last write.
	Version string
}

// Result of one Reconcile.
type Result struct {
	Done         bool
	RequeueAfter time.Duration
}

// Reconciler moves one resource one step forward. It may change r's
// Properties, Private and State; the engine stores them. It is called by one
// goroutine at a time for each resource, again after RequeueAfter, after a
// restart, and when something Enqueues the id. An *Error ends the operation
// as Failed; another error is tried again with back-off.
type Reconciler interface {
	Reconcile(ctx context.Context, v View, r *Resource) (Result, error)
}

// View is a reconciler's and a hook's only way to see other resources.
type View interface {
	Get(ctx context.Context, id ID) (*Resource, error)
	List(ctx context.Context, parent ID, resourceType string) ([]*Resource, error)
	// Enqueue wakes another resource's reconciler.
	Enqueue(id ID)
}

// Action answers POST {id}/{name}.
type Action struct {
	LRO LRO
	// Sync does it now and returns the body (nil: empty) and the status (0: 200).
	Sync func(ctx context.Context, v View, c Call, r *Resource) (status int, body any, err error)
	// Begin changes r (for example its wanted power state); the reconciler does the work, and the operation ends with its Done.
	Begin func(ctx context.Context, v View, c Call, r *Resource) error
	// Result is the body at Location (monitor=true) once the operation is over.
	Result func(ctx context.Context, v View, c Call, r *Resource) (any, error)
}

// Operation is a stored long-running operation.
type Operation struct {
	ID         string
	ResourceID string
	Verb       string // PUT, PATCH, DELETE or the action's name
	Status     string // InProgress, Succeeded, Failed, Canceled
	Start, End time.Time
	Percent    float64
	Error      *Error
}

// Error is ARM's error envelope, and a Go error.
type Error struct {
	Status  int `json:"-"`
	Code    string
	Message string
	Target  string
	Details []Error
	// Header goes out with the answer (WWW-Authenticate, Retry-After).
	Header http.Header `json:"-"`
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Engine is the whole of ARM as an http.Handler.
type Engine struct{ cfg Config }

// New checks the declarations and loads what the store holds; it starts nothing.
func New(cfg Config) (*Engine, error) { return &Engine{cfg: cfg}, nil }

// Open starts the reconcile queue and takes up every operation found unfinished.
func (e *Engine) Open(ctx context.Context) error { return nil }

// Close stops the queue; what is unfinished goes on at the next Open.
func (e *Engine) Close(ctx context.Context) error { return nil }

// ServeHTTP answers for management.azure.com.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("unbuilt") }

// Get returns one resource, for the data planes that hang off it (an *Error with status 404 if absent).
func (e *Engine) Get(ctx context.Context, id ID) (*Resource, error) { panic("unbuilt") }

// View of the engine, for callers that are no reconciler.
func (e *Engine) View() View { panic("unbuilt") }

// ID is an ARM resource id: case kept, compared without it.
type ID struct{ s string }

// ParseID accepts any resource, resource group, subscription or provider-level id.
func ParseID(s string) (ID, error) { return ID{s}, nil }

// String is the id as it was written first.
func (id ID) String() string { return id.s }

// Schema is the compact form of a type's properties.
type Schema struct{}
