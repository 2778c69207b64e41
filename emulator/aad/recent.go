package aad

import "sync"

// recent remembers up to about two generations of entries. When the newer
// generation is full it becomes the older one, and what had been there and was
// not asked for since is forgotten; so its size is bounded without bookkeeping.
type recent[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]V
}

const generation = 4096

func (c *recent[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	v, ok := c.young[k]
	if ok {
		c.mu.RUnlock()
		return v, true
	}
	v, ok = c.old[k]
	c.mu.RUnlock()
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *recent[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, v)
}

// add wants the lock held.
func (c *recent[K, V]) add(k K, v V) {
	if len(c.young) >= generation || c.young == nil {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[k] = v
}

// first reports whether k is new, and remembers it.
func (c *recent[K, V]) first(k K, v V) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[k]; ok {
		return false
	}
	if _, ok := c.old[k]; ok {
		return false
	}
	c.add(k, v)
	return true
}
