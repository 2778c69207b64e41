package arm

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// registering is how long a provider says Registering (or Unregistering).
const registering = time.Second

// registrations are what subscriptions asked for, over what providers declare.
type registrations struct {
	clock clock.Clock
	mu    sync.RWMutex
	asked map[string]registration // "sub/namespace", folded
}

type registration struct {
	Registered bool      `json:"registered"`
	Since      time.Time `json:"since"`
}

func newRegistrations(c clock.Clock) *registrations {
	return &registrations{clock: c, asked: map[string]registration{}}
}

func (g *registrations) load(ctx context.Context, s *store.Store) error {
	docs, err := s.List(ctx, registrationPrefix, "", 0)
	if err != nil {
		return fmt.Errorf("arm: load: %w", err)
	}
	for _, d := range docs {
		var r registration
		if err := json.Unmarshal(d.Value, &r); err != nil {
			return fmt.Errorf("arm: load %s: %w", d.Key, err)
		}
		g.asked[strings.TrimPrefix(d.Key, registrationPrefix)] = r
	}
	return nil
}

func registrationKey(p *providerInfo, subscription string) string {
	return fold(subscription + "/" + p.Namespace)
}

// state is the registrationState word.
func (g *registrations) state(p *providerInfo, subscription string) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r, ok := g.asked[registrationKey(p, subscription)]
	word := "NotRegistered"
	if ok && r.Registered || !ok && p.Registered || p.builtin {
		word = "Registered"
	}
	if !ok || p.builtin || g.clock.Since(r.Since) >= registering {
		return word
	}
	if r.Registered {
		return "Registering"
	}
	return "Unregistering"
}

// registered refuses a write to a provider that the subscription does not have.
func (e *Engine) registered(p *providerInfo, subscription string) error {
	switch e.registrations.state(p, subscription) {
	case "Registered", "Registering":
		return nil
	}
	return errRegistration(p.Namespace)
}

// register answers POST .../register and .../unregister.
func (x *exchange) register(namespace string, want bool) error {
	p := x.e.catalog.providers[fold(namespace)]
	if p == nil {
		return errNamespace(namespace)
	}
	sub := x.path[1]
	g := x.e.registrations
	has := g.state(p, sub) == "Registered" || g.state(p, sub) == "Registering"
	if has != want && !p.builtin {
		key, r := registrationKey(p, sub), registration{Registered: want, Since: x.e.cfg.Clock.Now()}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := x.e.cfg.Store.Put(x.r.Context(), registrationPrefix+key, b, store.Any); err != nil {
			return fmt.Errorf("arm: register %s: %w", p.Namespace, err)
		}
		g.mu.Lock()
		g.asked[key] = r
		g.mu.Unlock()
	}
	x.send(http.StatusOK, x.providerOf(p))
	return nil
}

type resourceTypeDocument struct {
	Type         string            `json:"resourceType"`
	Locations    []string          `json:"locations"`
	Versions     []string          `json:"apiVersions"`
	Default      string            `json:"defaultApiVersion,omitempty"`
	Profiles     []profileDocument `json:"apiProfiles,omitempty"`
	Zones        []zoneDocument    `json:"zoneMappings,omitempty"`
	Capabilities string            `json:"capabilities,omitempty"`
}

type profileDocument struct {
	Profile string `json:"profileVersion"`
	Version string `json:"apiVersion"`
}

type zoneDocument struct {
	Location string   `json:"location"`
	Zones    []string `json:"zones"`
}

type providerDocument struct {
	ID             string                 `json:"id"`
	Namespace      string                 `json:"namespace"`
	Authorizations []Authorization        `json:"authorizations,omitempty"`
	Types          []resourceTypeDocument `json:"resourceTypes"`
	State          string                 `json:"registrationState,omitempty"`
}

// providerOf mirrors Provider of resources.json; at tenant level it has no state.
func (x *exchange) providerOf(p *providerInfo) providerDocument {
	d := providerDocument{ID: "/providers/" + p.Namespace, Namespace: p.Namespace, Authorizations: p.Authorizations, Types: []resourceTypeDocument{}}
	if fold(x.path[0]) == "subscriptions" {
		d.ID = "/subscriptions/" + x.path[1] + d.ID
		d.State = x.e.registrations.state(p, x.path[1])
	}
	for _, t := range p.order {
		rt := resourceTypeDocument{Type: t.short, Locations: []string{}, Versions: t.Versions.list(), Capabilities: "None"}
		if t.Tracked {
			rt.Locations, rt.Capabilities = displayNames(), "SupportsTags, SupportsLocation"
		}
		if rt.Versions == nil {
			rt.Versions = []string{}
		} else {
			rt.Default = rt.Versions[0]
		}
		for _, name := range slices.Sorted(maps.Keys(t.Profiles)) {
			rt.Profiles = append(rt.Profiles, profileDocument{name, t.Profiles[name]})
		}
		if t.Zones {
			rt.Zones = zoneMappings()
		}
		d.Types = append(d.Types, rt)
	}
	return d
}

func (x *exchange) listProviders() error {
	all := make([]providerDocument, 0, len(x.e.catalog.order))
	for _, p := range x.e.catalog.order {
		all = append(all, x.providerOf(p))
	}
	x.send(http.StatusOK, map[string]any{"value": all})
	return nil
}

func (x *exchange) getProvider(namespace string) error {
	p := x.e.catalog.providers[fold(namespace)]
	if p == nil {
		return errNamespace(namespace)
	}
	x.send(http.StatusOK, x.providerOf(p))
	return nil
}
