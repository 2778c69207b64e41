package arm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// pending is an accepted write whose answer is still to be given.
type pending struct {
	t      *typeInfo
	key    string
	id     ID
	verb   string
	lro    LRO
	isNew  bool
	rec    *record
	waiter *waiter
	// over: nothing goes on after the write.
	over bool
	// async and location are the expanded headers.
	async, location string
	// last is the resource as it was accepted.
	last *entry
	// part: key is the parent's, and the write is one of the parent.
	part bool
}

// write answers PUT and PATCH.
func (x *exchange) write(t *typeInfo, id ID) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	c, err := parseContent(body, id, t)
	if err != nil {
		return err
	}
	if err := x.early(id); err != nil {
		return err
	}
	release, err := x.e.locks.take(x.r.Context(), id.Key())
	if err != nil {
		return err
	}
	p, err := x.accept(t, id, c, body)
	release()
	if err != nil {
		return err
	}
	return x.answer(p)
}

// early refuses what is busy without waiting for the step that keeps it so.
func (x *exchange) early(id ID) error {
	if ent := x.e.index.get(id.Key()); ent != nil {
		return x.admissible(ent)
	}
	return nil
}

// accept checks a PUT or PATCH and stores it. The caller holds the resource's lock.
func (x *exchange) accept(t *typeInfo, id ID, c *content, body []byte) (*pending, error) {
	key := id.Key()
	old := x.e.index.get(key)
	p := &pending{t: t, key: key, id: id, verb: x.r.Method, isNew: old == nil}
	switch {
	case old != nil:
		p.id = old.res.ID
		if err := x.admissible(old); err != nil {
			return nil, err
		}
		p.lro = t.PutOld
		if p.verb == http.MethodPatch {
			p.lro = t.Patch
		}
	case p.verb == http.MethodPatch:
		return nil, t.notFound(id)
	default:
		if err := checkName(t, id); err != nil {
			return nil, err
		}
		p.lro = t.PutNew
	}
	if err := x.preconditions(old); err != nil {
		return nil, err
	}
	next, err := x.merge(t, p.id, old, c)
	if err != nil {
		return nil, err
	}
	if t.Admit != nil {
		var before *Resource
		if old != nil {
			before = old.res.clone()
		}
		call := x.call(body, nil, p.id)
		if err := t.Admit(x.r.Context(), engineView{x.e}, call, before, next); err != nil {
			return nil, err
		}
		next.ID = p.id
	}
	if p.isNew && id.ResourceGroup() != "" && t.kind != kindGroup {
		parent := id.Parent().Key()
		group := ID{"/subscriptions/" + id.Subscription() + "/resourceGroups/" + id.ResourceGroup()}.Key()
		if err := x.e.index.reserve(parent, group, id); err != nil {
			return nil, err
		}
		defer x.e.index.release(parent)
	}
	return p, x.begin(p, old, next)
}

// admissible refuses a write on what is going, or busy.
func (x *exchange) admissible(old *entry) error {
	t := old.typ
	switch {
	case old.res.Deleting && t.kind == kindGroup:
		return errGroupDeleting(old.res.ID.Name())
	case old.res.Deleting:
		return x.busy(old)
	case t.Overlap:
		return nil
	}
	going := len(x.e.operations.of(old.key)) > 0
	if s := old.res.State; old.active && s != t.states.Succeeded && (s == t.states.Creating || s == t.states.Updating) {
		going = true
	}
	if going {
		return x.busy(old)
	}
	return nil
}

func (x *exchange) busy(old *entry) error {
	switch {
	case old.typ.kind == kindDeployment:
		return errDeploymentActive(old.res.ID.Name(), old.res.Modified)
	case old.typ.Busy != nil:
		e := *old.typ.Busy
		if e.Status == 0 {
			e.Status = http.StatusConflict
		}
		return &e
	}
	uri := ""
	if ops := x.e.operations.of(old.key); len(ops) > 0 {
		uri, _ = x.headers(ops[0].lro(old.typ), ops[0].ID, old.res)
	}
	return errBusy(uri)
}

// preconditions are If-Match and If-None-Match.
func (x *exchange) preconditions(old *entry) error {
	have := ""
	if old != nil {
		have = old.res.ETag
	}
	if m := x.r.Header.Get("If-Match"); m != "" && (old == nil || !matches(m, have)) {
		return errPrecondition("If-Match", m, have)
	}
	if m := x.r.Header.Get("If-None-Match"); m != "" && old != nil && matches(m, have) {
		return errPrecondition("If-None-Match", m, have)
	}
	return nil
}

// merge makes the next resource of the old one and the request.
func (x *exchange) merge(t *typeInfo, id ID, old *entry, c *content) (*Resource, error) {
	now := x.e.cfg.Clock.Now()
	patch := x.r.Method == http.MethodPatch
	next := &Resource{ID: id, Created: now}
	if old != nil {
		was := old.res.clone()
		if patch {
			next = was
		} else {
			next.Created, next.Private, next.State, next.Location = was.Created, was.Private, was.State, was.Location
			next.Identity, next.ETag = was.Identity, was.ETag
		}
	}
	next.Modified, next.Version = now, x.version
	if err := x.place(t, next, old, c); err != nil {
		return nil, err
	}
	if c.hasTags {
		next.Tags = c.tags
	}
	for _, f := range []struct {
		to   *json.RawMessage
		from json.RawMessage
	}{{&next.SKU, c.sku}, {&next.Plan, c.plan}, {&next.Identity, c.identity}} {
		if f.from != nil {
			*f.to = f.from
		}
	}
	if c.kind != nil {
		next.Kind = *c.kind
	}
	if c.zones != nil {
		next.Zones = c.zones
	}
	properties, err := x.properties(t, next, c)
	if err != nil {
		return nil, err
	}
	next.Properties, err = marshal(properties)
	return next, err
}

// place decides the location.
func (x *exchange) place(t *typeInfo, next *Resource, old *entry, c *content) error {
	if c.location == nil || *c.location == "" {
		if t.Tracked && old == nil {
			return errLocationRequired()
		}
		if t.Tracked && x.r.Method == http.MethodPut && c.location == nil && t.kind == kindGroup {
			return errLocationRequired()
		}
		return nil
	}
	want := *c.location
	switch {
	case old != nil && old.res.Location != "" && normalLocation(old.res.Location) != normalLocation(want):
		if t.kind == kindGroup {
			return errGroupLocation(old.res.Location, want)
		}
		return errLocationChange(old.res, want)
	case !isRegion(want) && t.kind == kindGroup:
		return errGroupRegion(want)
	case !isRegion(want):
		return errRegion(want, t.Name)
	}
	if old == nil || old.res.Location == "" {
		next.Location = want
		if t.kind == kindGroup {
			next.Location = normalLocation(want)
		}
	}
	return nil
}

// properties merges a PATCH and applies the schema.
func (x *exchange) properties(t *typeInfo, next *Resource, c *content) (any, error) {
	var v any = map[string]any{}
	if c.properties != nil {
		v = c.properties
	}
	if x.r.Method == http.MethodPatch {
		was, err := decodeBody(next.Properties)
		if err != nil {
			return nil, err
		}
		if v = any(was); c.hasProperties && c.properties != nil {
			v = mergePatch(was, c.properties)
		}
	}
	m := v.(map[string]any)
	for k := range m {
		if fold(k) == "provisioningstate" {
			delete(m, k)
		}
	}
	if t.kind == kindGroup {
		return map[string]any{}, nil
	}
	if t.Schema == nil {
		return m, nil
	}
	return t.Schema.apply("properties", m)
}

// begin stores an accepted write, with its operation if clients can follow one.
func (x *exchange) begin(p *pending, old *entry, next *Resource) error {
	t := p.t
	if p.part {
		t = x.e.holder(t)
	}
	p.over = t.Reconciler == nil
	switch {
	case p.over:
		next.State = t.states.Succeeded
	case old == nil || p.verb == http.MethodPut && next.State == t.states.Creating:
		next.State = t.states.Creating
	default:
		next.State = t.states.Updating
	}
	ch := change{key: p.key, old: old, next: next, typ: t, active: !p.over}
	if p.lro.polled() {
		x.open(p, next)
		if p.over {
			p.rec = p.rec.ended(StatusSucceeded, nil, x.e.cfg.Clock.Now())
		}
		ch.records = append(ch.records, p.rec)
	}
	if !p.over && p.lro.zero() {
		p.waiter = x.e.progress.wait(p.key)
	}
	ent, err := x.e.commit(x.r.Context(), ch)
	if err != nil {
		if p.waiter != nil {
			x.e.progress.leave(p.key, p.waiter)
		}
		return err
	}
	if p.last = ent; p.part {
		p.last = partEntry(p.t, ent, p.id.Name())
	}
	if !p.over && p.waiter == nil {
		x.e.queue.push(p.key)
	}
	return nil
}

// open makes the record of a new operation.
func (x *exchange) open(p *pending, r *Resource) {
	p.rec = &record{Operation: Operation{ID: uuid.NewString(), ResourceID: p.id.String(), Verb: p.verb, Status: StatusInProgress, Start: x.e.cfg.Clock.Now()},
		Key: p.key, Type: p.t.folded, New: p.isNew}
	p.async, p.location = x.headers(p.lro, p.rec.ID, r)
	p.rec.StatusPath, p.rec.ResultPath = pollPath(p.async), pollPath(p.location)
	x.e.prune(x.r.Context())
}

// headers expands the two templates of an LRO.
func (x *exchange) headers(l LRO, operation string, r *Resource) (async, location string) {
	place := x.e.locate(r)
	return expand(l.AsyncOperation, x.host(), x.version, operation, place, r.ID), expand(l.Location, x.host(), x.version, operation, place, r.ID)
}

// locate is where a resource is: its own location, or that of what it hangs off.
func (e *Engine) locate(r *Resource) string {
	for id, location := r.ID, r.Location; ; {
		if location != "" {
			return location
		}
		if id = id.Parent(); id.IsZero() {
			return "global"
		}
		if ent := e.index.get(id.Key()); ent != nil {
			location = ent.res.Location
		}
	}
}

// wait lets the request's own goroutine do the work that it waits for.
func (x *exchange) wait(p *pending) error {
	defer x.e.progress.leave(p.key, p.waiter)
	if err := x.e.queue.lend(x.r.Context(), p.key, p.waiter.done); err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return errClosed()
		}
		return err
	}
	if p.waiter.failure != nil {
		return p.waiter.failure
	}
	return nil
}

// answer says how a write went, as the type declares.
func (x *exchange) answer(p *pending) error {
	if p.waiter != nil {
		if err := x.wait(p); err != nil {
			return err
		}
	}
	status := p.lro.Status
	if status == 0 {
		status = http.StatusOK
		if p.isNew && p.verb == http.MethodPut {
			status = http.StatusCreated
		}
	}
	if p.lro.Self {
		x.w.Header()["Location"] = []string{(&url.URL{Path: p.id.String()}).EscapedPath()}
	}
	x.follow(p)
	body := !p.lro.NoBody
	if p.verb != http.MethodPut && p.verb != http.MethodPatch {
		body = p.lro.WithBody
	}
	if !body || status == http.StatusNoContent {
		x.send(status, nil)
		return nil
	}
	ent := p.last
	if p.waiter != nil && p.verb != http.MethodDelete {
		if ent = x.e.find(p.id); ent == nil {
			return errPreempted()
		}
	}
	w, err := x.wire(ent)
	if err != nil {
		return err
	}
	x.w.Header()["Etag"] = w.etag
	x.sendBytes(status, w.body)
	return nil
}

// follow sets the headers by which a client follows the operation.
func (x *exchange) follow(p *pending) {
	if p.rec == nil {
		return
	}
	h := x.w.Header()
	if p.async != "" {
		h["Azure-Asyncoperation"] = []string{p.async}
	}
	if p.location != "" {
		h["Location"] = []string{p.location}
	}
	if after := p.lro.retryAfter(); after != "" {
		h["Retry-After"] = []string{after}
	}
}

// remove answers DELETE.
func (x *exchange) remove(t *typeInfo, id ID) error {
	key := id.Key()
	// A step under way would keep the lock, and its work is in vain. The entry is
	// read once: another DELETE may take it away at any moment.
	if ent := x.e.index.get(key); ent != nil && !ent.res.Deleting {
		x.e.progress.interrupt(key)
	}
	release, err := x.e.locks.take(x.r.Context(), key)
	if err != nil {
		return err
	}
	p, err := x.acceptDelete(t, id)
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

func (x *exchange) acceptDelete(t *typeInfo, id ID) (*pending, error) {
	key := id.Key()
	old := x.e.index.get(key)
	if err := x.preconditions(old); err != nil {
		return nil, err
	}
	if old == nil {
		if t.kind == kindGroup {
			return nil, errGroup(id.Name())
		}
		return nil, nil
	}
	p := &pending{t: t, key: key, id: old.res.ID, verb: http.MethodDelete, lro: t.Delete, last: old}
	if old.res.Deleting {
		// A second DELETE follows the first one's operation.
		if ops := x.e.operations.of(key); len(ops) > 0 && p.lro.polled() {
			p.rec = ops[0]
			p.async, p.location = x.headers(p.lro, p.rec.ID, old.res)
			return p, nil
		}
		if p.lro.zero() {
			p.waiter = x.e.progress.wait(key)
		}
		return p, nil
	}
	next := old.res.clone()
	if t.AdmitDelete != nil {
		if err := t.AdmitDelete(x.r.Context(), engineView{x.e}, x.call(nil, nil, old.res.ID), next); err != nil {
			return nil, err
		}
	}
	if p.lro.polled() {
		x.open(p, old.res)
	}
	if p.lro.zero() {
		p.waiter = x.e.progress.wait(key)
	}
	gone, err := x.e.markDeleting(x.r.Context(), old, next.Private, p.rec)
	if err != nil || gone {
		if p.waiter != nil {
			x.e.progress.leave(key, p.waiter)
			p.waiter = nil
		}
	}
	return p, err
}

// act answers POST {id}/{action}.
func (x *exchange) act(t *typeInfo, id ID, a Action, name string, vars map[string]string) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	if len(strings.TrimSpace(string(body))) > 0 {
		if err := a.checkBody(body); err != nil {
			return err
		}
	} else {
		body = nil
	}
	call := x.call(body, vars, id)
	if a.Sync != nil && (a.ReadOnly || x.e.index.get(id.Key()) == nil) {
		r := &Resource{ID: id}
		if ent := x.e.index.get(id.Key()); ent != nil {
			r = ent.res.clone()
		} else if !a.Absent {
			return t.notFound(id)
		}
		return x.reply(a.Sync(x.r.Context(), engineView{x.e}, call, r))
	}
	if a.Begin != nil {
		if err := x.early(id); err != nil {
			return err
		}
	}
	release, err := x.e.locks.take(x.r.Context(), id.Key())
	if err != nil {
		return err
	}
	p, done, err := x.acceptAction(t, id, a, name, call)
	release()
	if err != nil || done {
		return err
	}
	return x.answer(p)
}

// checkBody refuses what is not JSON, or not of the kind that the action takes.
func (a Action) checkBody(body []byte) error {
	if a.List {
		// In an object it meets the same parser, and its words.
		body = append(append([]byte(`{"value":`), body...), '}')
	}
	_, err := decodeBody(body)
	return err
}

func (x *exchange) acceptAction(t *typeInfo, id ID, a Action, name string, call Call) (p *pending, done bool, err error) {
	key := id.Key()
	old := x.e.index.get(key)
	if old == nil {
		return nil, false, t.notFound(id)
	}
	next := old.res.clone()
	if a.Sync != nil {
		status, body, err := a.Sync(x.r.Context(), engineView{x.e}, call, next)
		if err != nil {
			return nil, false, err
		}
		next.ID, next.Deleting = old.res.ID, old.res.Deleting
		if !sameState(old.res, next) {
			next.Modified = x.e.cfg.Clock.Now()
			if _, err := x.e.commit(x.r.Context(), change{key: key, old: old, next: next, typ: t, active: old.active || t.Reconciler != nil, failure: old.failure}); err != nil {
				return nil, false, err
			}
			x.e.queue.push(key)
		}
		return nil, true, x.reply(status, body, nil)
	}
	if err := x.admissible(old); err != nil {
		return nil, false, err
	}
	if err := a.Begin(x.r.Context(), engineView{x.e}, call, next); err != nil {
		return nil, false, err
	}
	next.ID, next.Modified = old.res.ID, x.e.cfg.Clock.Now()
	p = &pending{t: t, key: key, id: old.res.ID, verb: name, lro: a.LRO}
	return p, false, x.begin(p, old, next)
}

// reply sends what a hook returned.
func (x *exchange) reply(status int, body any, err error) error {
	if err != nil {
		return err
	}
	if status == 0 {
		status = http.StatusOK
	}
	x.send(status, body)
	return nil
}
