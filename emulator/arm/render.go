package arm

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// rendered is a resource's answer to one api-version and base, ready to be
// written. A few variants hang in a list; all go with their entry.
type rendered struct {
	version, base string
	body          []byte
	etag, length  []string
	next          *rendered
}

// maxVariants bounds the list: beyond it, answers are made anew.
const maxVariants = 4

// envelope is ARM's own form of a resource.
type envelope struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Location   string          `json:"location,omitempty"`
	Tags       any             `json:"tags,omitempty"`
	SKU        json.RawMessage `json:"sku,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	Identity   json.RawMessage `json:"identity,omitempty"`
	Plan       json.RawMessage `json:"plan,omitempty"`
	Zones      []string        `json:"zones,omitempty"`
	ETag       string          `json:"etag,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
}

// Envelope is the standard wire form, for a Render that changes but a little of it.
func Envelope(r *Resource) (map[string]any, error) {
	b, err := marshal(standard(r, r.Tags != nil))
	if err != nil {
		return nil, err
	}
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return m, dec.Decode(&m)
}

func standard(r *Resource, tags bool) envelope {
	env := envelope{ID: r.ID.String(), Name: r.ID.Name(), Type: r.ID.Type(), Location: r.Location, SKU: r.SKU, Kind: r.Kind,
		Identity: r.Identity, Plan: r.Plan, Zones: r.Zones, ETag: strings.Trim(r.ETag, `"`), Properties: withState(r.Properties, r.State)}
	if r.Tags != nil {
		env.Tags = r.Tags
	} else if tags {
		env.Tags = map[string]string{}
	}
	return env
}

// withState puts provisioningState into properties.
func withState(properties json.RawMessage, state string) json.RawMessage {
	word, _ := json.Marshal(state)
	trimmed := bytes.TrimSpace(properties)
	if len(trimmed) < 2 || trimmed[0] != '{' {
		trimmed = []byte("{}")
	}
	out := append([]byte(`{"provisioningState":`), word...)
	if rest := bytes.TrimSpace(trimmed[1:]); rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, trimmed[1:]...)
}

// render makes the wire form of a resource.
func (t *typeInfo) render(c Call, r *Resource) (any, error) {
	if t.Render != nil {
		return t.Render(c, r)
	}
	env := standard(r, t.Tracked)
	env.Type = t.Name
	return env, nil
}

// wire returns the rendered answer, from the entry's list if it is there.
func (x *exchange) wire(ent *entry) (*rendered, error) {
	base := ""
	keep := !ent.typ.Live
	if ent.typ.Render != nil {
		base = x.host()
		keep = keep && len(x.query) <= 1
	}
	n := 0
	for w := ent.wire.Load(); w != nil && keep; w = w.next {
		if (w.version == x.version || ent.typ.Render == nil) && w.base == base {
			return w, nil
		}
		n++
	}
	r := ent.res
	if ent.typ.Render != nil {
		r = r.clone()
	}
	v, err := ent.typ.render(x.call(nil, nil, ent.res.ID), r)
	if err != nil {
		return nil, err
	}
	b, err := marshal(v)
	if err != nil {
		return nil, err
	}
	w := &rendered{version: x.version, base: base, body: b, etag: []string{ent.res.ETag}, length: []string{strconv.Itoa(len(b))}}
	if keep && n < maxVariants {
		w.next = ent.wire.Load()
		// Who loses a race has only rendered once for nothing.
		ent.wire.CompareAndSwap(w.next, w)
	}
	return w, nil
}

// show answers with a resource as it is.
func (x *exchange) show(ent *entry) error {
	w, err := x.wire(ent)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h["Etag"] = w.etag
	if none := x.r.Header["If-None-Match"]; len(none) > 0 && matches(none[0], ent.res.ETag) {
		x.send(http.StatusNotModified, nil)
		return nil
	}
	h["Content-Type"], h["Content-Length"] = typeJSON, w.length
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(w.body)
	return nil
}

// matches compares an etag with a header's list of them, weakly.
func matches(header, etag string) bool {
	for _, sent := range strings.Split(header, ",") {
		sent = strings.TrimPrefix(strings.TrimSpace(sent), "W/")
		if sent == "*" || strings.Trim(sent, `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}
