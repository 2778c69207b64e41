package arm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

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
	// Done ends the operation: the resource is Succeeded, or gone if it was Deleting.
	Done bool
	// Output is what the operation has to show once it is Done: it is in the
	// Operation, and the answer at Location of an action that has no Result.
	Output json.RawMessage
	// Create names resources that come into being with this one, such as a VM's
	// disk. Those that are not there yet are stored, without their type's Admit,
	// before this step's result is. ID, Location and what Admit would have filled in are to be set.
	Create []*Resource
	// RequeueAfter calls Reconcile again after that time; with Done too, for what goes on
	// without an operation. A microsecond or less is at once, after what changed is stored.
	// Neither: it is called again when something Enqueues the resource.
	RequeueAfter time.Duration
}

// Reconciler moves one resource one step forward. It may change r's
// Properties, Private and State; the engine stores them, also when it returns
// an error. It is called by one goroutine at a time for each resource, and no
// PUT, PATCH or action changes the resource meanwhile; it is called again
// after RequeueAfter, after a restart, and when something Enqueues the id. An
// *Error ends the operation as Failed (as Canceled, if r.State was set to the
// type's word for that); another error is tried again with back-off. ctx ends when the engine closes or the resource is to be deleted:
// whatever error comes then is no failure.
type Reconciler interface {
	Reconcile(ctx context.Context, v View, r *Resource) (Result, error)
}

// View is a reconciler's and a hook's only way to see other resources.
type View interface {
	// Get returns the resource, or an *Error with status 404.
	Get(ctx context.Context, id ID) (*Resource, error)
	// List returns the resources of a type below parent, at any depth, in the order of
	// their ids. A zero parent lists all, an empty type every type.
	List(ctx context.Context, parent ID, resourceType string) ([]*Resource, error)
	// Enqueue wakes another resource's reconciler.
	Enqueue(id ID)
}

func (r *Resource) clone() *Resource {
	c := *r
	c.Tags = maps.Clone(r.Tags)
	c.Zones = slices.Clone(r.Zones)
	for _, p := range []*json.RawMessage{&c.SKU, &c.Plan, &c.Identity, &c.Properties, &c.Private} {
		*p = bytes.Clone(*p)
	}
	return &c
}

// sameState reports whether a reconcile left alone what it may change.
func sameState(a, b *Resource) bool {
	return a.State == b.State && a.Deleting == b.Deleting && a.Kind == b.Kind && a.Location == b.Location &&
		bytes.Equal(a.Properties, b.Properties) && bytes.Equal(a.Private, b.Private) && bytes.Equal(a.Identity, b.Identity) &&
		bytes.Equal(a.SKU, b.SKU) && bytes.Equal(a.Plan, b.Plan) && maps.Equal(a.Tags, b.Tags) && slices.Equal(a.Zones, b.Zones)
}

// document is a resource in the store.
type document struct {
	ID         ID                `json:"id"`
	Location   string            `json:"location,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	SKU        json.RawMessage   `json:"sku,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Plan       json.RawMessage   `json:"plan,omitempty"`
	Identity   json.RawMessage   `json:"identity,omitempty"`
	Zones      []string          `json:"zones,omitempty"`
	Properties json.RawMessage   `json:"properties,omitempty"`
	Private    json.RawMessage   `json:"private,omitempty"`
	State      string            `json:"state,omitempty"`
	Deleting   bool              `json:"deleting,omitempty"`
	Created    time.Time         `json:"created"`
	Modified   time.Time         `json:"modified"`
	Version    string            `json:"version,omitempty"`
	Active     bool              `json:"active,omitempty"`
	Failure    *storedError      `json:"failure,omitempty"`
}

func encodeDocument(r *Resource, active bool, failure *Error) ([]byte, error) {
	return marshal(document{ID: r.ID, Location: r.Location, Tags: r.Tags, SKU: r.SKU, Kind: r.Kind, Plan: r.Plan, Identity: r.Identity, Zones: r.Zones,
		Properties: r.Properties, Private: r.Private, State: r.State, Deleting: r.Deleting, Created: r.Created, Modified: r.Modified, Version: r.Version,
		Active: active, Failure: storeError(failure)})
}

func decodeDocument(b []byte) (r *Resource, active bool, failure *Error, err error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, false, nil, err
	}
	return &Resource{ID: d.ID, Location: d.Location, Tags: d.Tags, SKU: d.SKU, Kind: d.Kind, Plan: d.Plan, Identity: d.Identity, Zones: d.Zones,
		Properties: d.Properties, Private: d.Private, State: d.State, Deleting: d.Deleting, Created: d.Created, Modified: d.Modified, Version: d.Version,
	}, d.Active, d.Failure.load(), nil
}

// etag is in the form of Azure's table store.
func etag(rev int64) string { return fmt.Sprintf(`"0x8D6%011X"`, rev) }

// marshal leaves <, > and & as they are, as Azure does.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
