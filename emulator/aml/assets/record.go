package assets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// key of a record: "assets/{workspace GUID}/{kind}/{name}".
func key(ws plane.Workspace, kind string, name ...string) string {
	k := "assets/" + strings.ToLower(ws.GUID) + "/"
	if kind == "" {
		return k
	}
	return k + kind + "/" + strings.Join(name, "/")
}

func decode[T any](d store.Doc) (T, error) {
	var v T
	if err := json.Unmarshal(d.Value, &v); err != nil {
		return v, fmt.Errorf("assets: record %s: %w", d.Key, err)
	}
	return v, nil
}

// read returns a record and its revision; store.ErrNotFound if there is none.
func read[T any](ctx context.Context, st *store.Store, k string) (T, int64, error) {
	d, err := st.Get(ctx, k)
	if err != nil {
		var zero T
		return zero, store.Absent, err
	}
	v, err := decode[T](d)
	return v, d.Rev, err
}

func write(ctx context.Context, st *store.Store, k string, v any, ifRev int64) (int64, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	d, err := st.Put(ctx, k, b, ifRev)
	return d.Rev, err
}

// update changes a record by f, again when another writer came between. f
// gets the zero value and found=false where there is no record.
func update[T any](ctx context.Context, st *store.Store, k string, f func(v *T, found bool) error) (T, int64, error) {
	for {
		v, rev, err := read[T](ctx, st, k)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return v, 0, err
		}
		if err := f(&v, err == nil); err != nil {
			return v, 0, err
		}
		next, err := write(ctx, st, k, v, rev)
		if !errors.Is(err, store.ErrConflict) {
			return v, next, err
		}
	}
}

// keyedMutex serialises work on one name while others go on.
type keyedMutex struct {
	mu sync.Mutex
	m  map[string]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int
}

// lock returns the function that unlocks.
func (k *keyedMutex) lock(name string) func() {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*keyedLock{}
	}
	l := k.m[name]
	if l == nil {
		l = &keyedLock{}
		k.m[name] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.m, name)
		}
	}
}

// putOp is the write of v as part of a batch.
func putOp(k string, v any, ifRev int64) (store.Op, error) {
	b, err := json.Marshal(v)
	return store.Op{Key: k, Value: b, If: ifRev}, err
}
