// Package arm is lazulite's Azure Resource Manager: one engine that every
// resource provider declares itself to.
//
// A provider is data (Provider, Type, LRO, Schema) and, where something goes
// on after a write, a Reconciler. The engine does the rest: it authenticates,
// parses, checks versions, parents, registration, body, envelope, schema and
// preconditions, stores resource and operation in one batch, answers as the
// type declares, and drives the resource until its reconciler says Done. The
// wording of every refusal is the real service's.
//
// All that the engine knows is in the store: a restart loads it and goes on
// with whatever was unfinished. Reads come from memory.
//
// It is no role-based access control, no policy and no throttling: a caller
// that Authenticate lets pass may do everything.
package arm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of an Engine.
type Config struct {
	Store         *store.Store
	Clock         clock.Clock // nil: the machine's
	Logger        *slog.Logger
	Tenant        string
	Subscriptions []Subscription
	Providers     []Provider
	// Authenticate refuses a request (an *Error, status 401 or 403) or passes it.
	// nil takes any request that has an Authorization header.
	Authenticate func(r *http.Request) error
	// Workers is how many resources are reconciled at once (0: 16).
	Workers int
	// PageSize is how many resources a list gives at once when the client does not say (0: 1000).
	PageSize int
}

// Engine is the whole of ARM as an http.Handler.
type Engine struct {
	cfg           Config
	log           *slog.Logger
	catalog       *catalog
	subscriptions map[string]Subscription // by folded id
	index         *index
	operations    *operations
	registrations *registrations
	locks         *locks
	queue         *queue
	progress      *progress
	pruned        atomic.Int64
}

// New checks the declarations and loads what the store holds; it starts nothing.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil {
		return nil, errors.New("arm: no store")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 16
	}
	if cfg.PageSize <= 0 {
		cfg.PageSize = 1000
	}
	if cfg.Authenticate == nil {
		cfg.Authenticate = func(r *http.Request) error {
			if r.Header.Get("Authorization") == "" {
				return errAuthenticationMissing()
			}
			return nil
		}
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, subscriptions: map[string]Subscription{}, index: newIndex(), operations: newOperations(),
		registrations: newRegistrations(cfg.Clock), locks: newLocks(), progress: newProgress()}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	for _, s := range cfg.Subscriptions {
		if s.ID == "" || strings.Contains(s.ID, "/") {
			return nil, fmt.Errorf("arm: %q is no subscription id", s.ID)
		}
		e.subscriptions[fold(s.ID)] = s
	}
	var err error
	if e.catalog, err = newCatalog(cfg.Providers); err != nil {
		return nil, err
	}
	if err := e.addBuiltins(); err != nil {
		return nil, err
	}
	e.queue = newQueue(cfg.Clock, cfg.Workers, e.step)
	return e, e.load(context.Background())
}

// Open starts the reconcile queue and takes up every operation found unfinished.
func (e *Engine) Open(context.Context) error {
	e.index.scan("", "", func(ent *entry) bool {
		if ent.active {
			e.queue.push(ent.key)
		}
		return true
	})
	e.queue.start()
	return nil
}

// Close stops the queue; what is unfinished goes on at the next Open of an engine on the same store.
func (e *Engine) Close(ctx context.Context) error { return e.queue.close(ctx) }

// Get returns one resource, for the data planes that hang off it (an *Error with status 404 if absent).
func (e *Engine) Get(_ context.Context, id ID) (*Resource, error) {
	ent := e.find(id)
	if ent == nil {
		return nil, e.notFound(id)
	}
	return ent.res.clone(), nil
}

func (e *Engine) notFound(id ID) *Error {
	if t := e.catalog.types[fold(id.Type())]; t != nil {
		return t.notFound(id)
	}
	return NotFound(id)
}

// notFound is the 404 in the type's words.
func (t *typeInfo) notFound(id ID) *Error {
	switch {
	case t.kind == kindGroup:
		return errGroup(id.Name())
	case t.NotFound != nil:
		e := *t.NotFound
		if e.Status == 0 {
			e.Status = http.StatusNotFound
		}
		e.Message = strings.ReplaceAll(e.Message, "%s", id.Name())
		e.Phrase = strings.ReplaceAll(e.Phrase, "%s", id.Name())
		return &e
	}
	return NotFound(id)
}

// View of the engine, for callers that are no reconciler.
func (e *Engine) View() View { return engineView{e} }

type engineView struct{ e *Engine }

// Get implements View.
func (v engineView) Get(ctx context.Context, id ID) (*Resource, error) { return v.e.Get(ctx, id) }

// List implements View.
func (v engineView) List(_ context.Context, parent ID, resourceType string) ([]*Resource, error) {
	var out []*Resource
	want := fold(resourceType)
	if t := v.e.catalog.types[want]; t != nil && t.Part != "" {
		return v.parts(t, parent), nil
	}
	v.e.index.scan(parent.Key()+"/", "", func(ent *entry) bool {
		if want == "" || ent.typ.folded == want {
			out = append(out, ent.res.clone())
		}
		return true
	})
	return out, nil
}

// parts are those of the parent itself, if it is of the type that holds them, or of all such below it.
func (v engineView) parts(t *typeInfo, parent ID) []*Resource {
	var out []*Resource
	holder := v.e.holder(t)
	take := func(ent *entry) bool {
		if ent.typ == holder {
			for _, p := range partEntries(t, ent) {
				out = append(out, p.res)
			}
		}
		return true
	}
	if ent := v.e.index.get(parent.Key()); ent != nil {
		take(ent)
	}
	v.e.index.scan(parent.Key()+"/", "", take)
	return out
}

// Enqueue implements View.
func (v engineView) Enqueue(id ID) { v.e.queue.push(id.Key()) }
