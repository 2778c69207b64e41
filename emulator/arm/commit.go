package arm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lazulite.dev/emulator/store"
)

// Prefixes of the engine's keys in the store.
const (
	resourcePrefix     = "arm/resource"
	operationPrefix    = "arm/operation/"
	registrationPrefix = "arm/registration/"
)

// change is one atomic write: a resource, or its removal, with the operations that it concerns.
type change struct {
	key     string
	old     *entry
	next    *Resource // nil: the resource is removed
	typ     *typeInfo
	active  bool
	failure *Error
	records []*record
}

// commit stores a change and then shows it. The caller holds the resource's lock.
func (e *Engine) commit(ctx context.Context, c change) (*entry, error) {
	// An acknowledged write must not depend on whether its client is still there.
	ctx = context.WithoutCancel(ctx)
	var ops []store.Op
	write := store.Op{Key: resourcePrefix + c.key, If: store.Absent}
	if c.old != nil {
		write.If = c.old.rev
	}
	if c.next != nil {
		value, err := encodeDocument(c.next, c.active, c.failure)
		if err != nil {
			return nil, fmt.Errorf("arm: encode %s: %w", c.key, err)
		}
		write.Value = value
	}
	if c.next != nil || c.old != nil {
		ops = append(ops, write)
	}
	for _, r := range c.records {
		value, err := r.encode()
		if err != nil {
			return nil, fmt.Errorf("arm: encode operation %s: %w", r.ID, err)
		}
		ops = append(ops, store.Op{Key: operationPrefix + r.ID, Value: value, If: store.Any})
	}
	docs, err := e.cfg.Store.Batch(ctx, ops)
	if err != nil {
		return nil, fmt.Errorf("arm: store %s: %w", c.key, err)
	}
	var ent *entry
	if c.next != nil {
		c.next.ETag = etag(docs[0].Rev)
		ent = e.newEntry(c.key, c.typ, c.next, docs[0].Rev, c.active, c.failure)
		e.index.put(ent)
	} else if c.old != nil {
		e.index.remove(c.key)
	}
	for _, r := range c.records {
		e.operations.put(r)
	}
	return ent, nil
}

func (e *Engine) newEntry(key string, t *typeInfo, r *Resource, rev int64, active bool, failure *Error) *entry {
	return &entry{key: key, parent: r.ID.Parent().Key(), typ: t, res: r, rev: rev, active: active, failure: failure}
}

// load fills index and operations from the store.
func (e *Engine) load(ctx context.Context) error {
	docs, err := e.cfg.Store.List(ctx, resourcePrefix+"/", "", 0)
	if err != nil {
		return fmt.Errorf("arm: load: %w", err)
	}
	var all []*entry
	for _, d := range docs {
		r, active, failure, err := decodeDocument(d.Value)
		if err != nil {
			return fmt.Errorf("arm: load %s: %w", d.Key, err)
		}
		t := e.catalog.types[fold(r.ID.Type())]
		if t == nil {
			// Kept in the store: the provider may be declared again another time.
			e.log.Warn("arm: no provider declares the type of a stored resource", "id", r.ID.String())
			continue
		}
		if t.Part != "" {
			continue // it is in its parent
		}
		r.ETag = etag(d.Rev)
		all = append(all, e.newEntry(strings.TrimPrefix(d.Key, resourcePrefix), t, r, d.Rev, active, failure))
	}
	e.index.fill(all)
	if docs, err = e.cfg.Store.List(ctx, operationPrefix, "", 0); err != nil {
		return fmt.Errorf("arm: load: %w", err)
	}
	for _, d := range docs {
		r, err := decodeRecord(d.Value)
		if err != nil {
			return fmt.Errorf("arm: load %s: %w", d.Key, err)
		}
		e.operations.put(r)
	}
	return e.registrations.load(ctx, e.cfg.Store)
}

// prune forgets operations that ended long ago, at most once an hour.
func (e *Engine) prune(ctx context.Context) {
	now := e.cfg.Clock.Now()
	last := e.pruned.Load()
	if last != 0 && now.Sub(time.Unix(0, last)) < time.Hour || !e.pruned.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	for _, id := range e.operations.expired(now.Add(-retention)) {
		if err := e.cfg.Store.Delete(context.WithoutCancel(ctx), operationPrefix+id, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
			e.log.Error("arm: forget operation", "operation", id, "err", err)
		}
	}
}
