package arm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// A part is a resource that stands in its parent's properties and nowhere
// else, as a subnet in its network: written with the parent or by itself, it is
// the same document. Its writes are writes of the parent, in the part's words.

// holder is the type whose resources hold those of t, nil if t's stand by themselves.
func (e *Engine) holder(t *typeInfo) *typeInfo {
	if t.Part == "" {
		return nil
	}
	return e.catalog.types[t.folded[:strings.LastIndexByte(t.folded, '/')]]
}

// find returns a resource's entry; a part's is made from its parent's and has
// the parent's key, for that is what is worked on.
func (e *Engine) find(id ID) *entry {
	if ent := e.index.get(id.Key()); ent != nil {
		return ent
	}
	t := e.catalog.types[fold(id.Type())]
	if t == nil || t.Part == "" {
		return nil
	}
	parent := e.index.get(id.Parent().Key())
	if parent == nil {
		return nil
	}
	return partEntry(t, parent, id.Name())
}

func partEntry(t *typeInfo, parent *entry, name string) *entry {
	for _, ent := range partEntries(t, parent) {
		if strings.EqualFold(ent.res.ID.Name(), name) {
			return ent
		}
	}
	return nil
}

// partEntries are all parts of one type that a parent has.
func partEntries(t *typeInfo, parent *entry) []*entry {
	_, list := partsOf(t, parent.res)
	var out []*entry
	for _, raw := range list {
		el := asObject(raw)
		name := nameIn(raw)
		if name == "" {
			continue
		}
		properties, _ := memberOf(el, "properties")
		r := &Resource{ID: ID{parent.res.ID.s + "/" + t.Name[strings.LastIndexByte(t.Name, '/')+1:] + "/" + name},
			State: t.states.Succeeded, ETag: parent.res.ETag, Created: parent.res.Created, Modified: parent.res.Modified, Version: parent.res.Version}
		props := asObject(properties)
		delete(props, "provisioningState")
		r.Properties, _ = marshal(props)
		if props == nil {
			r.Properties = json.RawMessage("{}")
		}
		if s := parent.res.State; s != parent.typ.states.Succeeded && parent.active {
			r.State = t.states.Updating
		}
		out = append(out, &entry{key: parent.key, parent: parent.key, typ: t, res: r, rev: parent.rev, active: parent.active, failure: parent.failure})
	}
	return out
}

// partsOf decodes a parent's properties and the list that holds its parts.
func partsOf(t *typeInfo, parent *Resource) (properties map[string]any, list []any) {
	v, err := decodeAny(parent.Properties)
	if err != nil {
		return map[string]any{}, nil
	}
	properties = asObject(v)
	raw, _ := memberOf(properties, t.Part)
	list, _ = raw.([]any)
	return properties, list
}

// part answers a verb on a part. Its ancestors are checked.
func (x *exchange) part(t *typeInfo, id ID) error {
	holder := x.e.index.get(id.Parent().Key())
	if holder == nil {
		return errParent(id.Parent().Name())
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		ent := partEntry(t, holder, id.Name())
		if ent == nil {
			return t.notFound(id)
		}
		if x.r.Method == http.MethodHead {
			x.w.Header()["Etag"] = []string{ent.res.ETag}
			x.send(http.StatusNoContent, nil)
			return nil
		}
		return x.show(ent)
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	var c *content
	if x.r.Method != http.MethodDelete {
		if c, err = parseContent(body, id, t); err != nil {
			return err
		}
	}
	if err := x.early(holder.res.ID); err != nil {
		return err
	}
	release, err := x.e.locks.take(x.r.Context(), holder.key)
	if err != nil {
		return err
	}
	p, err := x.acceptPart(t, id, holder.key, c, body)
	release()
	switch {
	case err != nil:
		return err
	case p == nil:
		x.send(http.StatusNoContent, nil)
		return nil
	}
	return x.answer(p)
}

// acceptPart checks a write of a part and stores it as one of its parent,
// whose lock the caller holds. No content is a DELETE; nothing comes back if there was nothing to delete.
func (x *exchange) acceptPart(t *typeInfo, id ID, key string, c *content, body []byte) (*pending, error) {
	holder := x.e.index.get(key)
	if holder == nil {
		return nil, errParent(id.Parent().Name())
	}
	if err := x.admissible(holder); err != nil {
		return nil, err
	}
	old := partEntry(t, holder, id.Name())
	if err := x.preconditions(old); err != nil {
		return nil, err
	}
	p := &pending{t: t, key: key, id: id, verb: x.r.Method, isNew: old == nil, part: true}
	var before *Resource
	if old != nil {
		p.id, before = old.res.ID, old.res.clone()
	}
	next := holder.res.clone()
	next.Modified = x.e.cfg.Clock.Now()
	if c == nil {
		if old == nil {
			return nil, nil
		}
		if t.AdmitDelete != nil {
			if err := t.AdmitDelete(x.r.Context(), engineView{x.e}, x.call(body, nil, p.id), before); err != nil {
				return nil, err
			}
		}
		p.lro, p.last = t.Delete, old
		if err := setPart(t, next, p.id.Name(), nil); err != nil {
			return nil, err
		}
		return p, x.beginPart(p, holder, next, body)
	}
	switch {
	case old == nil && p.verb == http.MethodPatch:
		return nil, t.notFound(id)
	case old == nil:
		if err := checkName(t, id); err != nil {
			return nil, err
		}
		p.lro = t.PutNew
	case p.verb == http.MethodPatch:
		p.lro = t.Patch
	default:
		p.lro = t.PutOld
	}
	r, err := x.merge(t, p.id, old, c)
	if err != nil {
		return nil, err
	}
	if t.Admit != nil {
		if err := t.Admit(x.r.Context(), engineView{x.e}, x.call(body, nil, p.id), before, r); err != nil {
			return nil, err
		}
	}
	if err := setPart(t, next, p.id.Name(), r.Properties); err != nil {
		return nil, err
	}
	return p, x.beginPart(p, holder, next, body)
}

// beginPart has the parent's type say the last word on what the write makes of the parent.
func (x *exchange) beginPart(p *pending, holder *entry, next *Resource, body []byte) error {
	if holder.typ.Admit != nil {
		if err := holder.typ.Admit(x.r.Context(), engineView{x.e}, x.call(body, nil, holder.res.ID), holder.res.clone(), next); err != nil {
			return err
		}
		next.ID = holder.res.ID
	}
	return x.begin(p, holder, next)
}

// setPart puts a part into its parent's list, in the place of the one of that name; nil takes it out.
func setPart(t *typeInfo, parent *Resource, name string, properties json.RawMessage) error {
	props, list := partsOf(t, parent)
	var kept []any
	done := properties == nil
	for _, raw := range list {
		had := nameIn(raw)
		if !strings.EqualFold(had, name) {
			kept = append(kept, raw)
			continue
		}
		if !done {
			kept, done = append(kept, map[string]any{"name": had, "properties": properties}), true
		}
	}
	if !done {
		kept = append(kept, map[string]any{"name": name, "properties": properties})
	}
	if kept == nil {
		kept = []any{}
	}
	for k := range props {
		if strings.EqualFold(k, t.Part) {
			delete(props, k)
		}
	}
	props[t.Part] = kept
	var err error
	parent.Properties, err = marshal(props)
	return err
}

// nameIn is the name that stands in a part.
func nameIn(part any) string {
	v, _ := memberOf(asObject(part), "name")
	s, _ := v.(string)
	return s
}

// listParts answers GET of a parent's parts.
func (x *exchange) listParts(t *typeInfo, parent *entry) error {
	p := page{Value: []json.RawMessage{}}
	for _, ent := range partEntries(t, parent) {
		w, err := x.wire(ent)
		if err != nil {
			return err
		}
		p.Value = append(p.Value, w.body)
	}
	x.send(http.StatusOK, p)
	return nil
}

// ensure makes a resource that comes into being with another, unless it is there.
func (e *Engine) ensure(ctx context.Context, r *Resource) error {
	key := r.ID.Key()
	if e.index.get(key) != nil {
		return nil
	}
	t := e.catalog.types[fold(r.ID.Type())]
	if t == nil {
		return errNamespace(r.ID.Provider())
	}
	release, err := e.locks.take(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	if e.index.get(key) != nil {
		return nil
	}
	parent := r.ID.Parent().Key()
	group := ID{"/subscriptions/" + r.ID.Subscription() + "/resourceGroups/" + r.ID.ResourceGroup()}.Key()
	if err := e.index.reserve(parent, group, r.ID); err != nil {
		return err
	}
	defer e.index.release(parent)
	next := r.clone()
	next.Created = e.cfg.Clock.Now()
	next.Modified, next.State = next.Created, t.states.Succeeded
	if t.Reconciler != nil {
		next.State = t.states.Creating
	}
	if _, err := e.commit(ctx, change{key: key, next: next, typ: t, active: t.Reconciler != nil}); err != nil {
		return err
	}
	if t.Reconciler != nil {
		e.queue.push(key)
	}
	return nil
}
