package arm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/store"
)

const (
	sub    = "00000000-0000-4000-8000-0000000000aa"
	tenant = "72f988bf-0000-4000-8000-000000000001"
	host   = "https://management.azure.com"
	vapi   = "2018-05-01"
)

var start = time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)

// rig is an engine on a store file with a manual clock, which can be closed and opened again.
type rig struct {
	t      testing.TB
	path   string
	store  *store.Store
	clock  *clock.Manual
	engine *arm.Engine
	client *http.Client
	cfg    arm.Config
	things *things
}

func newRig(t testing.TB, change ...func(*arm.Config)) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "arm.db"), clock: clock.NewManual(start), things: &things{hold: map[string]bool{}, fail: map[string]*arm.Error{}, calls: map[string]int{}}}
	r.cfg = arm.Config{Clock: r.clock, Tenant: tenant, Subscriptions: []arm.Subscription{{ID: sub, DisplayName: "Emulator"}},
		Providers: r.things.providers(), PageSize: 3}
	for _, f := range change {
		f(&r.cfg)
	}
	r.open()
	t.Cleanup(func() { r.close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.store, err = store.Open(store.Config{Path: r.path}); err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Store = r.store
	if r.engine, err = arm.New(r.cfg); err != nil {
		r.t.Fatal(err)
	}
	if err := r.engine.Open(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.client = &http.Client{Transport: r.engine.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (r *rig) close() {
	if r.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.engine.Close(ctx); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Errorf("store: %v", err)
	}
	r.store = nil
}

func (r *rig) reopen() { r.t.Helper(); r.close(); r.open() }

// answer is one response, read.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a answer) get(path string) any {
	var v any = a.json
	for _, p := range strings.Split(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[p]
		case []any:
			var i int
			if _, err := fmt.Sscan(p, &i); err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// do sends "METHOD /path?query" with a token, a body and "Name: value" headers.
func (r *rig) do(line, body string, headers ...string) answer {
	r.t.Helper()
	return r.doContext(context.Background(), line, body, headers...)
}

func (r *rig) doContext(ctx context.Context, line, body string, headers ...string) answer {
	r.t.Helper()
	method, url, _ := strings.Cut(line, " ")
	url = strings.NewReplacer("{SUB}", "/subscriptions/"+sub, "{G}", "/subscriptions/"+sub+"/resourceGroups/g", "{P}", "/subscriptions/"+sub+"/resourceGroups/g/providers/Microsoft.Things").Replace(url)
	if strings.HasPrefix(url, "/") {
		if !strings.Contains(url, "api-version") && !strings.HasSuffix(url, "!") {
			sep := "?"
			if strings.Contains(url, "?") {
				sep = "&"
			}
			url += sep + "api-version=" + vapi
		}
		url = host + strings.TrimSuffix(url, "!")
	}
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
		if v == "" {
			req.Header.Del(k)
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return answer{}
		}
		r.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.json); err != nil {
			var list []any
			if json.Unmarshal(b, &list) != nil {
				r.t.Fatalf("%s answered what is no JSON: %s", line, b)
			}
		}
	}
	return a
}

// must is do, with the status checked.
func (r *rig) must(status int, line, body string, headers ...string) answer {
	r.t.Helper()
	a := r.do(line, body, headers...)
	if a.status != status {
		r.t.Fatalf("%s: status %d, want %d: %s", line, a.status, status, a.body)
	}
	return a
}

func (r *rig) group() { r.t.Helper(); r.must(201, "PUT {G}", `{"location":"eastus2"}`) }

// until polls a condition with a deadline.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	clocktest.Until(r.t, what, 10*time.Second, ok)
}

// advance moves the clock once something waits on it.
func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	r.until("a timer", func() bool { n, _ := r.clock.Waiting(); return n > 0 })
	r.clock.Advance(d)
}

// things is a provider whose reconciler does what the test says.
type things struct {
	mu    sync.Mutex
	hold  map[string]bool // names that are not done yet
	fail  map[string]*arm.Error
	calls map[string]int
	// during is called in each Reconcile.
	during func(ctx context.Context, r *arm.Resource)
}

func (p *things) set(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

func (p *things) count(name string) int { p.mu.Lock(); defer p.mu.Unlock(); return p.calls[name] }

type thingProperties struct {
	Size   string `json:"size,omitempty"`
	Power  string `json:"power,omitempty"`
	Count  int    `json:"count,omitempty"`
	Secret string `json:"secret,omitempty"`
}

func (p *things) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	name := r.ID.Name()
	p.mu.Lock()
	p.calls[name]++
	hold, fail, during := p.hold[name], p.fail[name], p.during
	p.mu.Unlock()
	if during != nil {
		during(ctx, r)
	}
	if fail != nil {
		return arm.Result{}, fail
	}
	if hold {
		return arm.Result{RequeueAfter: time.Second}, nil
	}
	return arm.Result{Done: true}, nil
}

func (p *things) providers() []arm.Provider {
	versions := arm.Versions{From: "2018-03-01-preview", Known: []string{"2018-05-01", "2018-03-01-preview"}}
	admit := func(_ context.Context, _ arm.View, _ arm.Call, _, next *arm.Resource) error {
		var props thingProperties
		if err := json.Unmarshal(next.Properties, &props); err != nil {
			return err
		}
		if props.Size == "Enormous" {
			return arm.InvalidParameter("properties.size", "The size 'Enormous' is not available.")
		}
		if props.Secret != "" {
			next.Private = json.RawMessage(`{"secret":"` + props.Secret + `"}`)
			props.Secret = ""
		}
		var err error
		next.Properties, err = json.Marshal(props)
		return err
	}
	one, ten := 1.0, 10.0
	schema := &arm.Schema{Type: "object", Properties: map[string]*arm.Schema{
		"size":  {Type: "string", Enum: []string{"Small", "Large", "Enormous"}},
		"count": {Type: "integer", Minimum: &one, Maximum: &ten},
		"made":  {Type: "string", ReadOnly: true},
		"flag":  {Type: "boolean"},
	}}
	return []arm.Provider{
		{Namespace: "Microsoft.Things", Registered: true, Types: []arm.Type{
			{Name: "Microsoft.Things/plain", Versions: versions, Tracked: true, Schema: schema},
			{Name: "Microsoft.Things/plain/parts", Versions: versions},
			{Name: "Microsoft.Things/plain/parts/bits", Versions: versions},
			{Name: "Microsoft.Things/waiting", Versions: versions, Tracked: true, Schema: schema, Admit: admit, Reconciler: p},
			{Name: "Microsoft.Things/compute", Versions: versions, Tracked: true, Admit: admit, Reconciler: p,
				PutNew: arm.ComputeStyle(201), PutOld: arm.ComputeStyle(200), Patch: arm.ComputeStyle(200), Delete: arm.ComputeStyle(202),
				Reads: map[string]arm.Read{"view/{part}": func(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
					return 0, map[string]string{"part": c.Vars["part"], "of": r.ID.Name()}, nil
				}},
				Actions: map[string]arm.Action{
					"start": {LRO: arm.ComputeStyle(202), Begin: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
						r.Properties = json.RawMessage(`{"power":"on"}`)
						return nil
					}, Result: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (any, error) {
						return map[string]string{"started": r.ID.Name()}, nil
					}},
					"listKeys": {Sync: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
						return 0, map[string]any{"keys": r.Private}, nil
					}},
					"stop": {Sync: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
						r.Properties = json.RawMessage(`{"power":"off"}`)
						return 204, nil, nil
					}},
				}},
			{Name: "Microsoft.Things/storage", Versions: versions, Tracked: true, Reconciler: p, PutNew: arm.StorageStyle()},
			{Name: "Microsoft.Things/batch", Versions: versions, Tracked: true, Reconciler: p, PutNew: arm.BatchAIStyle(), Delete: arm.BatchAIStyle(),
				NotFound: &arm.Error{Code: "ClusterNotFound", Message: "The specified cluster %s is not found"}},
			{Name: "Microsoft.Things/groups", Versions: versions, Tracked: true, Reconciler: p, PutNew: arm.ContainerInstanceStyle(),
				States: &arm.States{Creating: "Pending"}, Delete: arm.LRO{Status: 200, WithBody: true}},
			{Name: "Microsoft.Things/hdi", Versions: versions, Tracked: true, Reconciler: p, PutNew: arm.HDInsightStyle("create")},
			{Name: "Microsoft.Things/ml", Versions: versions, Reconciler: p,
				PutNew: arm.LRO{Status: 201, AsyncOperation: "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/computeOperationsStatus/{operation}?api-version={version}",
					RetryAfter: 5, Operation: func(_ arm.Call, op *arm.Operation, _ *arm.Resource) any {
						doc := map[string]any{"status": op.Status}
						if op.Error != nil {
							doc["error"] = map[string]any{"error": op.Error}
						}
						return doc
					}},
				Delete: arm.LRO{Status: 202, NoBody: true},
				Render: func(_ arm.Call, r *arm.Resource) (any, error) {
					return map[string]any{"id": r.ID.Name(), "name": r.ID.Name(), "location": r.Location, "properties": map[string]any{"provisioningState": r.State}}, nil
				}},
			{Name: "Microsoft.Things/whole", Versions: versions, NoPaging: true, Without: []string{"PATCH"}, NameRule: regexp.MustCompile(`^[a-z]{3,8}$`)},
			{Name: "Microsoft.Things/guarded", Versions: versions, AdmitDelete: func(ctx context.Context, v arm.View, _ arm.Call, r *arm.Resource) error {
				users, err := v.List(ctx, r.ID.Parent(), "Microsoft.Things/whole")
				if err == nil && len(users) > 0 {
					err = arm.Errorf(400, "InUse", "%s is in use by %s.", r.ID.Name(), users[0].ID.Name())
				}
				return err
			}},
		}, Queries: []arm.Query{{Method: "GET", Pattern: "locations/{location}/sizes", Versions: versions, Do: func(_ context.Context, c arm.Call) (any, error) {
			return map[string]any{"value": []string{c.Vars["location"], c.Vars["subscription"]}}, nil
		}}}},
		{Namespace: "Microsoft.Shy", Types: []arm.Type{{Name: "Microsoft.Shy/ones", Versions: versions, Tracked: true}}},
	}
}
