package assets

import (
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
)

// key of a record: "assets/{workspace GUID}/{kind}/{name}".
func key(ws plane.Workspace, kind string, name ...string) string {
	k := "assets/" + strings.ToLower(ws.GUID) + "/"
	if kind == "" {
		return k
	}
	return k + kind + "/" + strings.Join(name, "/")
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
