package arm

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// fold is the one way in which names are compared.
func fold(s string) string { return strings.ToLower(s) }

// entry is one resource as the last commit left it. It never changes: a
// write puts another in its place, so readers need no lock.
type entry struct {
	key, parent string
	typ         *typeInfo
	res         *Resource
	rev         int64
	// active: the reconciler has not said Done.
	active bool
	// failure is why State is Failed.
	failure *Error
	// wire keeps rendered answers; see render.go.
	wire atomic.Pointer[rendered]
}

// index holds every resource, so that reads never touch the store.
type index struct {
	mu      sync.RWMutex
	entries map[string]*entry
	sorted  []string
	// reserved counts, by parent, the children that are about to be stored.
	reserved map[string]int
	// sealed resources are about to go: they take no more children.
	sealed map[string]bool
}

func newIndex() *index {
	return &index{entries: map[string]*entry{}, reserved: map[string]int{}, sealed: map[string]bool{}}
}

func (x *index) get(key string) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.entries[key]
}

func (x *index) put(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.entries[e.key] == nil {
		i, _ := slices.BinarySearch(x.sorted, e.key)
		x.sorted = slices.Insert(x.sorted, i, e.key)
	}
	x.entries[e.key] = e
}

// fill loads many entries at once.
func (x *index) fill(all []*entry) {
	for _, e := range all {
		x.entries[e.key] = e
		x.sorted = append(x.sorted, e.key)
	}
	sort.Strings(x.sorted)
}

func (x *index) remove(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.entries, key)
	delete(x.sealed, key)
	if i, ok := slices.BinarySearch(x.sorted, key); ok {
		x.sorted = slices.Delete(x.sorted, i, i+1)
	}
}

// reserve announces a child of parent. It fails with the parent's refusal if
// the parent is absent, or going. The group, if it is not the parent itself, must stay too.
func (x *index) reserve(parent, group string, id ID) *Error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, key := range []string{group, parent} {
		e := x.entries[key]
		isGroup := key == group
		switch {
		case e == nil && isGroup:
			return errGroup(id.ResourceGroup())
		case e == nil:
			return errParent(id.Parent().Name())
		case (e.res.Deleting || x.sealed[key]) && isGroup:
			return errGroupDeleting(e.res.ID.Name())
		case e.res.Deleting || x.sealed[key]:
			return errParentDeleting(e.res.ID.Name())
		}
	}
	x.reserved[parent]++
	return nil
}

func (x *index) release(parent string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.reserved[parent]--; x.reserved[parent] <= 0 {
		delete(x.reserved, parent)
	}
}

// seal closes a resource to new children, if it has none and none is on its way.
func (x *index) seal(key string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.reserved[key] > 0 || len(x.childrenLocked(key)) > 0 {
		return false
	}
	x.sealed[key] = true
	return true
}

func (x *index) unseal(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sealed, key)
}

func (x *index) children(key string) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.childrenLocked(key)
}

func (x *index) childrenLocked(key string) []*entry {
	var out []*entry
	x.scanLocked(key+"/", "", func(e *entry) bool {
		if e.parent == key {
			out = append(out, e)
		}
		return true
	})
	return out
}

// scan visits the resources below a prefix, after a key, in key order, until visit says no.
func (x *index) scan(prefix, after string, visit func(*entry) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.scanLocked(prefix, after, visit)
}

func (x *index) scanLocked(prefix, after string, visit func(*entry) bool) {
	i, found := slices.BinarySearch(x.sorted, max(prefix, after))
	if found && after >= prefix {
		i++
	}
	for ; i < len(x.sorted) && strings.HasPrefix(x.sorted[i], prefix); i++ {
		if !visit(x.entries[x.sorted[i]]) {
			return
		}
	}
}
