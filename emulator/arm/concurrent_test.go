package arm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
)

// Ensure that of many conditional writes at once one wins each round, and no write is lost.
func TestConcurrentIfMatch(t *testing.T) {
	r := newRig(t)
	r.group()
	etag := r.must(201, "PUT {P}/plain/x", plainBody).header.Get("Etag")
	for range 5 {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				a := r.do("PUT {P}/plain/x", fmt.Sprintf(`{"location":"eastus2","properties":{"count":%d}}`, i+1), "If-Match: "+etag)
				switch a.status {
				case 200:
					won.Add(1)
				case 412:
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d writes won", won.Load())
		}
		etag = r.do("GET {P}/plain/x", "").header.Get("Etag")
	}
	var created atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if a := r.do("PUT {P}/plain/new", plainBody, "If-None-Match: *"); a.status == 201 {
				created.Add(1)
			} else if a.status != 412 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 {
		t.Errorf("%d created", created.Load())
	}
}

// Ensure that children never outlive their parent, whatever comes at the same time.
func TestConcurrentDelete(t *testing.T) {
	r := newRig(t, func(c *arm.Config) { c.Clock = clock.Real(); c.PageSize = 1000 })
	r.group()
	var wg sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewSource(int64(w)))
		wg.Go(func() {
			for range 60 {
				n := rnd.Intn(3)
				var a answer
				switch rnd.Intn(5) {
				case 0:
					a = r.do(fmt.Sprintf("PUT {P}/plain/p%d", n), plainBody)
				case 1:
					a = r.do(fmt.Sprintf("PUT {P}/plain/p%d/parts/q%d", n, w), `{}`)
				case 2:
					a = r.do(fmt.Sprintf("PUT {P}/waiting/w%d", n), locBody)
				case 3:
					a = r.do(fmt.Sprintf("DELETE {P}/plain/p%d", n), "")
				case 4:
					a = r.do(fmt.Sprintf("DELETE {P}/waiting/w%d", n), "")
				}
				switch a.status {
				case 200, 201, 204, 404, 409:
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
	all, err := r.engine.View().List(context.Background(), arm.ID{}, "Microsoft.Things/plain/parts")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range all {
		if _, err := r.engine.Get(context.Background(), part.ID.Parent()); err != nil {
			t.Errorf("%s has no parent", part.ID)
		}
	}
	location := r.must(202, "DELETE {G}", "").header.Get("Location")
	r.until("the group is gone", func() bool { return r.poll(location).status == 200 })
	if all, _ := r.engine.View().List(context.Background(), arm.ID{}, ""); len(all) != 0 {
		t.Errorf("%d resources are left, such as %s", len(all), all[0].ID)
	}
	r.reopen()
	if all, _ := r.engine.View().List(context.Background(), arm.ID{}, ""); len(all) != 0 {
		t.Errorf("%d resources are left in the store", len(all))
	}
}

// chain makes another resource through the wire, and waits for it.
type chain struct{ client *http.Client }

func (c *chain) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	var depth int
	if _, err := fmt.Sscanf(r.ID.Name(), "n%d", &depth); err != nil || depth == 0 || r.Deleting {
		return arm.Result{Done: true}, nil
	}
	url := host + strings.Replace(r.ID.String(), r.ID.Name(), fmt.Sprintf("n%d%s", depth-1, strings.TrimPrefix(r.ID.Name(), fmt.Sprintf("n%d", depth))), 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url+"?api-version="+vapi, strings.NewReader("{}"))
	if err != nil {
		return arm.Result{}, err
	}
	req.Header.Set("Authorization", "Bearer x")
	resp, err := c.client.Do(req)
	if err != nil {
		return arm.Result{}, err
	}
	if resp.StatusCode > 201 {
		b, _ := io.ReadAll(resp.Body)
		return arm.Result{}, arm.Errorf(500, "Chain", "%s", b)
	}
	return arm.Result{Done: true}, nil
}

// Ensure that reconcilers that wait for each other through the engine can't use its workers up.
func TestWaitingReconcilers(t *testing.T) {
	c := &chain{client: &http.Client{}}
	r := newRig(t, func(cfg *arm.Config) {
		cfg.Workers, cfg.Clock = 2, clock.Real()
		cfg.Providers = append(cfg.Providers, arm.Provider{Namespace: "Microsoft.Chain", Registered: true, Types: []arm.Type{{Name: "Microsoft.Chain/links", Reconciler: c}, {Name: "Microsoft.Chain/bg", Reconciler: c, PutNew: arm.NetworkStyle(201)}}})
	})
	c.client.Transport = r.engine.Transport()
	r.group()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			r.done(r.must(201, fmt.Sprintf("PUT {G}/providers/Microsoft.Chain/bg/n9-%d", i), "{}").header.Get("Azure-AsyncOperation"))
			r.must(201, fmt.Sprintf("PUT {G}/providers/Microsoft.Chain/links/n9-%d", i), "{}")
		})
	}
	wg.Wait()
}

// Ensure that no path, query or body makes the engine panic or answer 5xx.
func FuzzHandler(f *testing.F) {
	r := newRig(f)
	r.group()
	r.must(201, "PUT {P}/plain/p", plainBody)
	base := "/subscriptions/" + sub
	for _, seed := range []string{base, base + "/resourceGroups/g", base + "/resourceGroups/g/providers/Microsoft.Things/plain/p/parts/q", base + "/resourceGroups/g/providers/Microsoft.Resources/deployments/d",
		base + "/providers/Microsoft.Things/locations/x/sizes", "/providers", "/metadata/endpoints", "//", "/%zz", "/subscriptions/x/resourceGroups//", base + "/resourceGroups/g/providers/Microsoft.Things/compute/c/start"} {
		for i, method := range []string{"GET", "PUT", "PATCH", "POST", "DELETE", "HEAD"} {
			f.Add(method, seed, []string{"api-version=2018-05-01", "$filter=name eq 'x'&api-version=2018-05-01", "api-version=&api-version=%", "$skiptoken=YQ&api-version=2018-05-01"}[i%4], plainBody)
		}
	}
	f.Add("PUT", base+"/resourceGroups/g/providers/Microsoft.Resources/deployments/d", "api-version=2018-05-01", deploymentBody(`"resources":[{"type":"[concat('Microsoft.Things/','plain')]","name":"x","apiVersion":"2018-05-01"}]`))
	f.Fuzz(func(t *testing.T, method, path, query, body string) { probe(t, r.engine, method, path, query, body) })
}

func probe(t *testing.T, e *arm.Engine, method, path, query, body string) {
	req := httptest.NewRequest(http.MethodGet, "https://management.azure.com/", bytes.NewReader([]byte(body)))
	req.Method = method
	req.URL.Path, req.URL.RawQuery = path, query
	req.Header.Set("Authorization", "Bearer x")
	// A synchronous write may wait for a reconciler that a fuzzed name holds.
	w := httptest.NewRecorder()
	e.ServeHTTP(w, req)
	if w.Code >= 500 {
		t.Errorf("%s %q %q %q: %d %s", method, path, query, body, w.Code, w.Body)
	}
}

// Ensure the same for random mixes of what paths and bodies are made of.
func TestRandomRequests(t *testing.T) {
	r := newRig(t, func(c *arm.Config) { c.Clock = clock.Real() })
	r.group()
	r.must(201, "PUT {P}/plain/p", plainBody)
	segs := []string{"subscriptions", sub, "resourceGroups", "g", "providers", "Microsoft.Things", "plain", "p", "parts", "compute", "waiting", "batch", "start", "Microsoft.Resources", "deployments", "operations", "validate", "cancel",
		"resources", "locations", "x", "", ".", "..", "%", "é", "\x00", strings.Repeat("z", 300), "operationresults", "microsoft.insights", "eventtypes", "register", "{id}", "K"}
	bodies := []string{"", "{}", "null", "[]", "1", `"x"`, "{", plainBody, `{"properties":null}`, `{"properties":{"size":null,"count":1e400}}`, `{"tags":null,"sku":null,"location":null}`, `{"location":"eastus2","tags":{"":""}}`, "\xff\xfe", "\xef\xbb\xbf{}",
		deploymentBody(`"resources":[{}]`), deploymentBody(`"resources":[1]`), deploymentBody(`"resources":null`), deploymentBody(`"parameters":[],"resources":[]`), deploymentBody(`"resources":[{"type":1,"name":[],"apiVersion":{}}]`),
		`{"properties":{"mode":"complete","template":{"$schema":"","contentVersion":"","resources":[],"outputs":{"a":1,"b":{"type":"string","value":"[]"}}}}}`, strings.Repeat("[", 100000), `{"properties":{"template":{"resources":{}},"mode":1}}`}
	queries := []string{"api-version=2018-05-01", "", "api-version=2018-05-01&$top=-1", "api-version=2018-05-01&$top=99999999999999999999", "api-version=2018-05-01&$filter=((((", "api-version=2018-05-01&$filter=" + strings.Repeat("not ", 300) + "name eq 'x'",
		"api-version=2018-05-01&$skiptoken=L3N1YnNjcmlwdGlvbnM", "api-version=2018-05-01&monitor=true", "%zz", "api-version=9999-99-99-preview", "api-version=2018-05-01;x=y"}
	rnd := rand.New(rand.NewSource(1))
	for range 6000 {
		path := []string{"/subscriptions/" + sub + "/resourceGroups/g/providers/Microsoft.Things", "/subscriptions/" + sub + "/resourceGroups/g/providers/Microsoft.Resources/deployments", "", "/subscriptions/" + sub}[rnd.Intn(4)]
		for range rnd.Intn(6) {
			path += "/" + segs[rnd.Intn(len(segs))]
		}
		method := []string{"GET", "PUT", "PATCH", "POST", "HEAD", "OPTIONS", "TRACE", "put", "GET", "PUT"}[rnd.Intn(10)]
		probe(t, r.engine, method, path, queries[rnd.Intn(len(queries))*rnd.Intn(2)], bodies[rnd.Intn(len(bodies))])
	}
}
