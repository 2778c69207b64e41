package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"

	"lazulite.dev/conformance/openapi"
	"lazulite.dev/conformance/wire"
)

// spec binds a requirement of the catalogue to what checks it.
type spec struct {
	id  string
	run func(s *session)
}

// specs lists all specs in the order in which they run: later ones use the
// group and the workspace that earlier ones made, and the deletion of the workspace is the last.
func specs() []spec {
	var all []spec
	for _, part := range [][]spec{
		authSpecs(), groupSpecs(), requestSpecs(), resourceSpecs(), deploymentSpecs(),
		workspaceSpecs(), historySpecs(), metricSpecs(), artifactSpecs(), storageSpecs(), snapshotSpecs(), modelSpecs(),
		localSpecs(), vmSpecs(), dsvmSpecs(), gpuSpecs(), batchAISpecs(), aciSpecs(), hdinsightSpecs(), hdinsightRunSpecs(), hdinsightEndSpecs(), deploySpecs(), workflowSpecs(), deletionSpecs(),
	} {
		all = append(all, part...)
	}
	return all
}

// suite is one run over one implementation.
type suite struct {
	cfg     Config
	client  *wire.Client
	watch   *openapi.Watch // nil without documents
	seen    *observer
	filter  types.LabelFilter
	byID    map[string]Requirement
	started time.Time
	spent   float64
	paid    map[string]bool // requirements whose resources there are
	results []Result
	fix     fixtures
}

func newSuite(cfg Config) (*suite, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	su := &suite{cfg: cfg, byID: map[string]Requirement{}, paid: map[string]bool{}, started: time.Now()}
	wired := cfg.Wire()
	if cfg.Documents != "" {
		docs, err := openapi.Load(cfg.Documents)
		if err != nil {
			return nil, err
		}
		if su.watch, err = openapi.NewWatch(docs); err != nil {
			return nil, err
		}
	}
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	wired.Watch = func(base http.RoundTripper) http.RoundTripper {
		if su.watch != nil {
			base = su.watch.Transport(base)
		}
		su.seen = &observer{base: base, endpoint: endpoint.Host, seen: map[Observed]bool{}}
		return su.seen
	}
	su.client, err = wire.New(wired)
	if err != nil {
		return nil, err
	}
	su.filter, err = types.ParseLabelFilter(cfg.Labels)
	if err != nil {
		return nil, fmt.Errorf("labels %q: %w", cfg.Labels, err)
	}
	list, err := Catalogue()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		su.byID[r.ID] = r
	}
	return su, nil
}

// halt ends a spec; it is thrown by the methods of session and caught by execute.
type halt struct {
	status Status
	detail string
}

// session is what a spec has in hand.
type session struct {
	gomega.Gomega
	*suite
	ctx context.Context
	// created are the types of what the spec, or a fixture that it uses, created.
	created map[string]bool
	// undo runs when the spec is over, last first.
	undo []func()
}

func (s *session) fail(format string, args ...any) { panic(halt{Fail, fmt.Sprintf(format, args...)}) }
func (s *session) skip(format string, args ...any) { panic(halt{Skip, fmt.Sprintf(format, args...)}) }
func (s *session) unsupported(format string, args ...any) {
	panic(halt{Unsupported, fmt.Sprintf(format, args...)})
}

// must ends the spec as our own error.
func (s *session) must(err error) {
	if err != nil {
		panic(halt{Errored, err.Error()})
	}
}

// track remembers something that came to be in another way than by create.
func (s *session) track(path, version string) {
	s.must(s.client.Track(path, version))
	s.creates(path)
}

func (s *session) creates(path string) { s.created[resourceType(path)] = true }

// later runs f when the spec is over, however it ends.
func (s *session) later(f func()) { s.undo = append(s.undo, f) }

// disabled says why a requirement isn't checked in this run, or "".
func (su *suite) disabled(r Requirement) string {
	if !su.filter(append(slices.Clone(r.Labels), r.ID)) {
		return fmt.Sprintf("the label filter %q leaves it out", su.cfg.Labels)
	}
	for _, l := range r.Labels {
		target, ok := strings.CutPrefix(l, "target:")
		if ok && len(su.cfg.Targets) > 0 && !contains(su.cfg.Targets, target) {
			return "target " + target + " is not asked for"
		}
	}
	if time.Since(su.started) > su.cfg.Budget.Time {
		return fmt.Sprintf("the time budget of %s is spent", su.cfg.Budget.Time)
	}
	if price := su.price(r); price > 0 && su.cfg.Budget.Cost != FreeOfCost && su.spent+price > su.cfg.Budget.Cost {
		return fmt.Sprintf("it costs about $%.2f, and $%.2f of $%.2f are spent", price, su.spent, su.cfg.Budget.Cost)
	}
	return ""
}

// machineMade is the requirement whose machine a login of the configuration's own stands for.
const machineMade = "vm.dsvm.create"

// price is what checking a requirement now would cost.
func (su *suite) price(r Requirement) float64 {
	given := r.Uses == machineMade && su.cfg.SSH.Address != ""
	if r.Uses == "" || su.paid[r.Uses] || given {
		return r.Cost
	}
	return r.Cost + su.byID[r.Uses].Cost
}

// pay counts what checking a requirement costs.
func (su *suite) pay(r Requirement) {
	su.spent += su.price(r)
	su.paid[r.ID], su.paid[r.Uses] = true, true
}

// execute checks one requirement and records the result.
func (su *suite) execute(ctx context.Context, sp spec) (res Result) {
	req, ok := su.byID[sp.id]
	if !ok {
		req = Requirement{ID: sp.id, Level: Must}
	}
	res = Result{Requirement: req, Status: Pass}
	start := time.Now()
	defer func() {
		res.Seconds = time.Since(start).Round(time.Millisecond).Seconds()
		su.results = append(su.results, res)
	}()
	if !ok {
		res.Status, res.Detail = Errored, "the catalogue has no such requirement"
		return res
	}
	if res.Detail = su.disabled(req); res.Detail != "" {
		res.Status = Disabled
		return res
	}
	su.pay(req)
	h, created := su.call(ctx, sp)
	res.Created, res.Observed = created, su.seen.take()
	if h != nil {
		res.Status, res.Detail = h.status, wire.Redact(h.detail)
	}
	if res.Status == Unsupported && req.Retired != "" {
		res.Detail = "Azure retired it on " + req.Retired + ": " + res.Detail
	}
	if fresh := su.watch.Fresh(); len(fresh) > 0 && (res.Status == Pass || res.Status == Fail) {
		res.Status = Fail
		res.Detail = strings.TrimSpace(res.Detail + "\nanswers that their OpenAPI document does not allow:\n" + strings.Join(fresh, "\n"))
	}
	return res
}

// call runs the spec and its undo list and returns what types it created; nil is a pass.
func (su *suite) call(ctx context.Context, sp spec) (h *halt, created []string) {
	s := &session{suite: su, ctx: ctx, created: map[string]bool{}}
	defer func() { created = slices.Sorted(maps.Keys(s.created)) }()
	s.Gomega = gomega.NewGomega(func(message string, _ ...int) { panic(halt{Fail, message}) })
	h = protect(func() { sp.run(s) })
	for i := len(s.undo) - 1; i >= 0; i-- {
		if u := protect(s.undo[i]); u != nil && h == nil {
			h = u
		}
	}
	// Whoever stopped us, it was not the implementation.
	if err := ctx.Err(); h != nil && h.status == Fail && err != nil {
		h = &halt{Errored, fmt.Sprintf("the run was stopped (%s): %s", context.Cause(ctx), h.detail)}
	}
	return h, nil
}

func protect(f func()) (h *halt) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case halt:
			h = &p
		default:
			h = &halt{Errored, fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	f()
	return nil
}

// finish deletes what was made and returns the report.
func (su *suite) finish(ctx context.Context) Report {
	rep := Report{Endpoint: su.cfg.Endpoint, Started: su.started.UTC().Round(time.Second), Results: su.results}
	if su.cfg.Keep {
		for _, m := range su.client.Tracked() {
			rep.Left = append(rep.Left, m.Path+" (kept as asked)")
		}
	} else if err := su.client.CleanUp(ctx); err != nil {
		rep.Left = strings.Split(wire.Redact(err.Error()), "\n")
	}
	su.fix.close()
	if su.watch != nil {
		d := &Documented{}
		d.Answers, d.Operations, d.Beyond = su.watch.Sums()
		rep.Documented = d
	}
	rep.Seconds = time.Since(su.started).Round(time.Millisecond).Seconds()
	return rep
}

var errStopped = errors.New("stopped by the caller")

func contains(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}
