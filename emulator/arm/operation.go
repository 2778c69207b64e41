package arm

import (
	"encoding/json"
	"path"
	"slices"
	"sync"
	"time"
)

// Words of Operation.Status; an LRO's Running replaces the first on the wire.
const (
	StatusInProgress = "InProgress"
	StatusSucceeded  = "Succeeded"
	StatusFailed     = "Failed"
	StatusCanceled   = "Canceled"
)

// retention is how long an operation that is over can still be asked for.
const retention = 24 * time.Hour

// Operation is a stored long-running operation.
type Operation struct {
	ID         string
	ResourceID string
	Verb       string // PUT, PATCH, DELETE or the action's name
	Status     string // InProgress, Succeeded, Failed, Canceled
	Start, End time.Time
	Percent    float64
	Error      *Error
	Output     json.RawMessage // of the Result that ended it
}

// record is an operation in the store, with where its polls arrive.
type record struct {
	Operation
	Key        string // folded id of the resource, of a part's parent
	Type       string // folded name of its type
	New        bool   // a PUT that created
	StatusPath string // folded paths of the two headers
	ResultPath string
}

type recordDocument struct {
	ID         string          `json:"id"`
	ResourceID string          `json:"resourceId"`
	Verb       string          `json:"verb"`
	Status     string          `json:"status"`
	Start      time.Time       `json:"start"`
	End        time.Time       `json:"end"`
	Percent    float64         `json:"percent,omitempty"`
	Error      *storedError    `json:"error,omitempty"`
	Type       string          `json:"type"`
	New        bool            `json:"new,omitempty"`
	StatusPath string          `json:"statusPath,omitempty"`
	ResultPath string          `json:"resultPath,omitempty"`
	Key        string          `json:"key,omitempty"` // if it is not ResourceID's
	Output     json.RawMessage `json:"output,omitempty"`
}

func (r *record) encode() ([]byte, error) {
	key := r.Key
	if key == fold(r.ResourceID) {
		key = ""
	}
	return marshal(recordDocument{Key: key, Output: r.Output, ID: r.ID, ResourceID: r.ResourceID, Verb: r.Verb, Status: r.Status, Start: r.Start, End: r.End, Percent: r.Percent,
		Error: storeError(r.Error), Type: r.Type, New: r.New, StatusPath: r.StatusPath, ResultPath: r.ResultPath})
}

func decodeRecord(b []byte) (*record, error) {
	var d recordDocument
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, err
	}
	if d.Key == "" {
		d.Key = fold(d.ResourceID)
	}
	return &record{Operation: Operation{Output: d.Output, ID: d.ID, ResourceID: d.ResourceID, Verb: d.Verb, Status: d.Status, Start: d.Start, End: d.End, Percent: d.Percent,
		Error: d.Error.load()}, Key: d.Key, Type: d.Type, New: d.New, StatusPath: d.StatusPath, ResultPath: d.ResultPath}, nil
}

func (r *record) over() bool { return r.Status != StatusInProgress }

// ended is the record as it is when the work is over.
func (r *record) ended(status string, failure *Error, now time.Time) *record {
	c := *r
	c.Status, c.Error, c.End = status, failure, now
	if status == StatusSucceeded {
		c.Percent = 100
	}
	return &c
}

// lro finds the declaration under which the operation was begun.
func (r *record) lro(t *typeInfo) LRO {
	switch {
	case r.Verb == "PUT" && r.New:
		return t.PutNew
	case r.Verb == "PUT":
		return t.PutOld
	case r.Verb == "PATCH":
		return t.Patch
	case r.Verb == "DELETE":
		return t.Delete
	}
	return t.Actions[r.Verb].LRO
}

// operations are all records, by id, by the paths of their URLs, and the unfinished ones by resource.
type operations struct {
	mu         sync.RWMutex
	byID       map[string]*record
	byPath     map[string]string
	unfinished map[string][]string
}

func newOperations() *operations {
	return &operations{byID: map[string]*record{}, byPath: map[string]string{}, unfinished: map[string][]string{}}
}

func (o *operations) put(r *record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byID[r.ID] = r
	for _, p := range []string{r.StatusPath, r.ResultPath} {
		if p != "" && (o.byID[o.byPath[p]] == nil || !o.byID[o.byPath[p]].Start.After(r.Start)) {
			o.byPath[p] = r.ID
		}
	}
	ids := o.unfinished[r.Key]
	i := slices.Index(ids, r.ID)
	switch {
	case !r.over() && i < 0:
		o.unfinished[r.Key] = append(ids, r.ID)
	case r.over() && i >= 0:
		if ids = slices.Delete(slices.Clone(ids), i, i+1); len(ids) > 0 {
			o.unfinished[r.Key] = ids
		} else {
			delete(o.unfinished, r.Key)
		}
	}
}

// at finds the operation that a folded request path asks for: by the path
// itself, or by its last segment, which is the operation's id.
func (o *operations) at(p string) *record {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if id, ok := o.byPath[p]; ok {
		return o.byID[id]
	}
	return o.byID[path.Base(p)]
}

// of returns the unfinished operations of a resource, oldest first.
func (o *operations) of(key string) []*record {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var out []*record
	for _, id := range o.unfinished[key] {
		out = append(out, o.byID[id])
	}
	return out
}

// expired takes out the records that ended before the instant, and returns their ids.
func (o *operations) expired(before time.Time) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids []string
	for id, r := range o.byID {
		if r.over() && r.End.Before(before) {
			ids = append(ids, id)
			delete(o.byID, id)
			for _, p := range []string{r.StatusPath, r.ResultPath} {
				if o.byPath[p] == id {
					delete(o.byPath, p)
				}
			}
		}
	}
	return ids
}
