package arm_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
)

func (r *rig) hold(name string) { r.things.set(func() { r.things.hold[name] = true }) }

// letGo lets a held reconcile be done at its next step, once it sleeps.
func (r *rig) letGo(name string) {
	r.t.Helper()
	r.until("the reconciler sleeps", func() bool { n, _ := r.clock.Waiting(); return n > 0 })
	r.things.set(func() { delete(r.things.hold, name) })
	r.clock.Advance(time.Second)
}

func (r *rig) poll(u string) answer { r.t.Helper(); return r.do("GET "+u, "") }

// done polls a status URL until the operation is over.
func (r *rig) done(u string) answer {
	r.t.Helper()
	var a answer
	r.until("the operation is over", func() bool {
		a = r.poll(u)
		return a.status == 200 && a.get("status") != "InProgress" && a.get("status") != "Running"
	})
	return a
}

const locBody = `{"location":"East US 2"}`

// Ensure that each recorded style of a long-running PUT is on the wire as it was recorded.
func TestPutStyles(t *testing.T) {
	prefix := host + "/subscriptions/" + sub + "/providers/Microsoft.Things/locations/eastus2/"
	for _, tt := range []struct {
		typ             string
		status          int
		empty           bool
		async, location string // {op} is the id; empty: not sent
		state           string
	}{
		{"compute", 201, false, prefix + "operations/{op}?api-version=2018-05-01", "", "Creating"},
		{"storage", 202, true, "", prefix + "asyncoperations/{op}?monitor=true&api-version=2018-05-01", "Creating"},
		{"batch", 202, true, prefix + "operationresults/{op}?api-version=2018-05-01", prefix + "operationstatuses/{op}?api-version=2018-05-01", "Creating"},
		{"groups", 201, false, prefix + "operations/{op}?api-version=2018-06-01", "", "Pending"},
		{"hdi", 200, false, host + "/subscriptions/" + sub + "/resourceGroups/g/providers/Microsoft.Things/hdi/x/azureasyncoperations/create?api-version=2018-05-01", "", "Creating"},
		{"ml", 201, false, prefix + "computeOperationsStatus/{op}?api-version=2018-05-01", "", "Creating"},
	} {
		t.Run(tt.typ, func(t *testing.T) {
			r := newRig(t)
			r.group()
			r.hold("x")
			a := r.must(tt.status, "PUT {P}/"+tt.typ+"/x", locBody)
			if (a.body == "") != tt.empty || tt.empty && a.header.Get("Content-Length") != "0" || !tt.empty && a.get("properties.provisioningState") != tt.state {
				t.Errorf("body %q", a.body)
			}
			retry := "1"
			if tt.typ == "ml" {
				retry = "5"
			}
			if a.header.Get("Retry-After") != retry {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			async, location := a.header.Get("Azure-AsyncOperation"), a.header.Get("Location")
			for _, h := range []struct{ got, want string }{{async, tt.async}, {location, tt.location}} {
				before, after, _ := strings.Cut(h.want, "{op}")
				if !strings.HasPrefix(h.got, before) || !strings.HasSuffix(h.got, after) || (h.got == "") != (h.want == "") {
					t.Errorf("header %q, want %q", h.got, h.want)
				}
			}
			// The resource answers at once, while it is being made.
			if a := r.must(200, "GET {P}/"+tt.typ+"/x", ""); a.get("properties.provisioningState") != tt.state {
				t.Error(a.body)
			}
			if async != "" {
				if a := r.poll(async); a.status != 200 || a.get("status") != "InProgress" || a.header.Get("Retry-After") != retry {
					t.Errorf("status %s %v", a.body, a.header)
				}
			}
			if location != "" {
				if a := r.poll(location); a.status != 202 || a.body != "" || a.header.Get("Location") != location || a.header.Get("Retry-After") != "1" {
					t.Errorf("result %d %s %v", a.status, a.body, a.header)
				}
			}
			if a := r.do("PUT {P}/"+tt.typ+"/x", locBody); a.status != 409 || a.get("error.code") != "AnotherOperationInProgress" {
				t.Errorf("second PUT: %s", a.body)
			}
			r.letGo("x")
			if async != "" {
				if a := r.done(async); a.get("status") != "Succeeded" || a.header.Get("Retry-After") != "" || a.get("error") != nil {
					t.Errorf("status %s %v", a.body, a.header)
				}
			}
			if location != "" {
				r.until("the result", func() bool { return r.poll(location).status == 200 })
				if a := r.poll(location); a.get("name") != "x" || a.get("properties.provisioningState") != "Succeeded" {
					t.Error(a.body)
				}
			}
			// SDK 0.1.68 appends another api-version to the URL.
			if async != "" {
				if a := r.poll(async + "&api-version=2018-03-01-preview"); a.status != 200 {
					t.Error(a.body)
				}
			}
			r.must(200, "GET {P}/"+tt.typ+"/x", "")
		})
	}
}

func TestOperationDocuments(t *testing.T) {
	r := newRig(t)
	r.group()
	r.things.fail["bad"] = arm.Errorf(400, "QuotaExceeded", "Too many cores.")
	a := r.must(202, "PUT {P}/batch/ok", locBody)
	url := a.header.Get("Azure-AsyncOperation")
	d := r.done(url)
	id := strings.TrimSuffix(url[strings.LastIndex(url, "/")+1:], "?api-version=2018-05-01")
	if d.get("name") != id || !strings.HasSuffix(d.get("id").(string), "/operationresults/"+id) || d.get("startTime") != "2018-10-20T10:00:00.0000000Z" || d.get("endTime") == nil {
		t.Error(d.body)
	}
	// Failed: the status says why, the result is the error itself, and the resource stays.
	a = r.must(202, "PUT {P}/batch/bad", locBody)
	if d := r.done(a.header.Get("Azure-AsyncOperation")); d.get("status") != "Failed" || d.get("error.code") != "QuotaExceeded" || d.get("error.message") != "Too many cores." {
		t.Error(d.body)
	}
	if d := r.poll(a.header.Get("Location")); d.status != 400 || d.get("error.code") != "QuotaExceeded" {
		t.Error(d.body)
	}
	if d := r.must(200, "GET {P}/batch/bad", ""); d.get("properties.provisioningState") != "Failed" {
		t.Error(d.body)
	}
	// Rendered in the type's own way.
	a = r.must(201, "PUT {P}/ml/bad", locBody)
	if d := r.done(a.header.Get("Azure-AsyncOperation")); d.body != `{"error":{"error":{"code":"QuotaExceeded","message":"Too many cores."}},"status":"Failed"}` {
		t.Error(d.body)
	}
	if d := r.poll(host + "/subscriptions/11111111-0000-4000-8000-0000000000aa/providers/Microsoft.Things/locations/eastus2/operationresults/" + id + "?api-version=2018-05-01"); d.status != 404 {
		t.Error(d.body)
	}
	// After a day it is forgotten.
	r.clock.Advance(25 * time.Hour)
	r.must(202, "PUT {P}/batch/later", locBody)
	if d := r.poll(url); d.status != 404 {
		t.Error(d.body)
	}
}

// Ensure that a type without LRO answers when the work is done, and with its error.
func TestSynchronous(t *testing.T) {
	r := newRig(t)
	r.group()
	r.hold("w")
	got := make(chan answer)
	go func() { got <- r.do("PUT {P}/waiting/w", locBody) }()
	r.until("it is being made", func() bool {
		return r.do("GET {P}/waiting/w", "").get("properties.provisioningState") == "Creating" && r.things.count("w") > 0
	})
	r.letGo("w")
	if a := <-got; a.status != 201 || a.get("properties.provisioningState") != "Succeeded" {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.things.set(func() { r.things.fail["bad"] = arm.Errorf(403, "Denied", "No.") })
	if a := r.must(403, "PUT {P}/waiting/bad", locBody); a.get("error.code") != "Denied" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/waiting/bad", ""); a.get("properties.provisioningState") != "Failed" {
		t.Error(a.body)
	}
	r.things.set(func() { delete(r.things.fail, "bad") })
	if a := r.must(200, "PUT {P}/waiting/bad", locBody); a.get("properties.provisioningState") != "Succeeded" {
		t.Error(a.body)
	}
	r.must(200, "DELETE {P}/waiting/bad", "")
	r.must(404, "GET {P}/waiting/bad", "")
	// A client that leaves does not stop the work.
	r.hold("left")
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() { r.doContext(ctx, "PUT {P}/waiting/left", locBody); close(gone) }()
	r.until("it has begun", func() bool { return r.things.count("left") > 0 })
	cancel()
	<-gone
	r.letGo("left")
	r.until("it is made", func() bool {
		return r.do("GET {P}/waiting/left", "").get("properties.provisioningState") == "Succeeded"
	})
}

func TestActions(t *testing.T) {
	r := newRig(t)
	r.group()
	r.done(r.must(201, "PUT {P}/compute/c", `{"location":"eastus2","properties":{"secret":"s3"}}`).header.Get("Azure-AsyncOperation"))
	if a := r.must(200, "POST {P}/compute/c/LISTKEYS", ""); a.body != `{"keys":{"secret":"s3"}}` {
		t.Error(a.body)
	}
	if a := r.must(204, "POST {P}/compute/c/stop", ""); a.body != "" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/compute/c", ""); a.get("properties.power") != "off" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/compute/c/View/disk", ""); a.body != `{"of":"c","part":"disk"}` {
		t.Error(a.body)
	}
	r.hold("c")
	a := r.must(202, "POST {P}/compute/c/start", "")
	async, location := a.header.Get("Azure-AsyncOperation"), a.header.Get("Location")
	if strings.Replace(location, "monitor=true&", "", 1) != async || a.body != "" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%q %q", async, location)
	}
	if a := r.poll(location); a.status != 202 {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/compute/c", ""); a.get("properties.provisioningState") != "Updating" || a.get("properties.power") != "on" {
		t.Error(a.body)
	}
	if a := r.do("POST {P}/compute/c/start", ""); a.status != 409 || !strings.Contains(a.body, async) {
		t.Error(a.body)
	}
	r.letGo("c")
	r.done(async)
	if a := r.poll(location); a.status != 200 || a.body != `{"started":"c"}` {
		t.Error(a.body)
	}
	a = r.must(202, "DELETE {P}/compute/c", "")
	r.done(a.header.Get("Azure-AsyncOperation"))
	if d := r.poll(a.header.Get("Location")); d.status != 200 || d.body != "" {
		t.Error(d.body)
	}
	// The earlier operation's result went with the resource.
	if d := r.poll(location); d.status != 404 {
		t.Error(d.body)
	}
	r.must(204, "DELETE {P}/compute/c", "")
}

// Ensure that a DELETE ends a PUT that is under way, and that a second DELETE follows the first.
func TestDeletePreempts(t *testing.T) {
	r := newRig(t)
	r.group()
	r.hold("x")
	put := r.must(202, "PUT {P}/batch/x", locBody).header.Get("Azure-AsyncOperation")
	r.until("it has begun", func() bool { return r.things.count("x") > 0 })
	del := r.must(202, "DELETE {P}/batch/x", "").header.Get("Azure-AsyncOperation")
	if again := r.must(202, "DELETE {P}/batch/x", "").header.Get("Azure-AsyncOperation"); again != del {
		t.Errorf("%s, want %s", again, del)
	}
	if a := r.poll(put); a.get("status") != "Canceled" || a.get("error.code") != "OperationPreempted" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/batch/x", ""); a.get("properties.provisioningState") != "Deleting" {
		t.Error(a.body)
	}
	r.must(409, "PUT {P}/batch/x", locBody)
	r.letGo("x")
	if a := r.done(del); a.get("status") != "Succeeded" {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/batch/x", "")
	// A synchronous PUT that is overtaken says so.
	r.hold("w")
	got := make(chan answer)
	go func() { got <- r.do("PUT {P}/waiting/w", locBody) }()
	r.until("it has begun", func() bool { return r.things.count("w") > 0 })
	r.things.set(func() { delete(r.things.hold, "w") })
	r.must(200, "DELETE {P}/waiting/w", "")
	if a := <-got; a.status != 409 || a.get("error.code") != "OperationPreempted" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Ensure that a long step is interrupted by a DELETE, and that its error is then no failure.
func TestDeleteInterrupts(t *testing.T) {
	r := newRig(t)
	r.group()
	r.things.set(func() {
		r.things.during = func(ctx context.Context, res *arm.Resource) {
			if !res.Deleting {
				<-ctx.Done()
			}
		}
		r.things.fail["slow"] = arm.Errorf(400, "SshConnectionFailed", "gone")
	})
	put := r.must(202, "PUT {P}/batch/slow", locBody).header.Get("Azure-AsyncOperation")
	r.until("it has begun", func() bool { return r.things.count("slow") > 0 })
	// A PUT does not wait for the step's end to be refused.
	if a := r.do("PUT {P}/batch/slow", locBody); a.status != 409 || a.get("error.code") != "AnotherOperationInProgress" {
		t.Error(a.body)
	}
	r.things.set(func() { delete(r.things.fail, "slow") })
	del := r.must(202, "DELETE {P}/batch/slow", "").header.Get("Azure-AsyncOperation")
	r.done(del)
	if a := r.poll(put); a.get("status") != "Canceled" {
		t.Error(a.body)
	}
}

type flaky struct{ tries int }

func (f *flaky) Reconcile(_ context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	f.tries++
	switch {
	case f.tries == 1:
		panic("a bug")
	case f.tries < 4:
		return arm.Result{}, errors.New("the network is down")
	}
	return arm.Result{Done: true}, nil
}

// Ensure that other errors, and panics, are tried again with growing pauses.
func TestBackoff(t *testing.T) {
	f := &flaky{}
	r := newRig(t, func(c *arm.Config) {
		c.Providers = append(c.Providers, arm.Provider{Namespace: "Microsoft.Flaky", Registered: true,
			Types: []arm.Type{{Name: "Microsoft.Flaky/ones", Reconciler: f, PutNew: arm.NetworkStyle(201)}}})
	})
	r.group()
	url := r.must(201, "PUT {G}/providers/Microsoft.Flaky/ones/x", "{}").header.Get("Azure-AsyncOperation")
	for _, pause := range []time.Duration{100, 200, 400} {
		if a := r.poll(url); a.get("status") != "InProgress" {
			t.Error(a.body)
		}
		r.advance(pause * time.Millisecond)
	}
	if a := r.done(url); a.body != `{"status":"Succeeded"}` || f.tries != 4 {
		t.Error(a.body, f.tries)
	}
}

// Ensure that deleting a group takes all in it, children first, by their reconcilers.
func TestDeleteGroup(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/plain/a", plainBody)
	r.must(201, "PUT {P}/plain/a/parts/p", `{}`)
	r.must(201, "PUT {P}/plain/a/parts/p/bits/b", `{}`)
	r.must(201, "PUT {P}/whole/user", `{}`)
	r.must(201, "PUT {P}/guarded/lock", `{}`) // refuses while whole/user is there
	r.must(201, "PUT {P}/waiting/w", locBody)
	before := r.things.count("w")
	r.hold("w")
	a := r.must(202, "DELETE {G}", "")
	location := a.header.Get("Location")
	if !strings.HasPrefix(location, host+"/subscriptions/"+sub+"/operationresults/") || a.header.Get("Retry-After") != "1" || a.body != "" {
		t.Errorf("%v", a.header)
	}
	r.until("its reconciler is asked", func() bool { return r.things.count("w") > before })
	if a := r.poll(location); a.status != 202 {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {G}", ""); a.get("properties.provisioningState") != "Deleting" {
		t.Error(a.body)
	}
	if a := r.do("PUT {P}/plain/new", plainBody); a.status != 409 || a.get("error.code") != "ResourceGroupBeingDeleted" {
		t.Error(a.body)
	}
	if a := r.do("PUT {G}", `{"location":"eastus2"}`); a.status != 409 || a.get("error.code") != "ResourceGroupBeingDeleted" {
		t.Error(a.body)
	}
	r.letGo("w")
	r.until("the group is gone", func() bool { return r.poll(location).status == 200 })
	r.must(404, "GET {G}", "")
	r.group()
	if a := r.must(200, "GET {G}/resources", ""); a.body != `{"value":[]}` {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/plain/a/parts/p/bits/b", "")
}

// Ensure that a group stays if something in it can't go, and says what.
func TestDeleteGroupBlocked(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/plain/a", plainBody)
	r.must(201, "PUT {P}/waiting/w", locBody)
	r.things.set(func() { r.things.fail["w"] = arm.Errorf(409, "Stuck", "It sticks.") })
	location := r.must(202, "DELETE {G}", "").header.Get("Location")
	r.until("it has failed", func() bool { return r.poll(location).status == 409 })
	a := r.poll(location)
	if a.get("error.code") != "ResourceGroupDeletionBlocked" || !strings.Contains(a.body, "waiting/w") || a.get("error.details.0.code") != "Stuck" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {G}", ""); a.get("properties.provisioningState") != "Failed" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {P}/waiting/w", ""); a.get("properties.provisioningState") != "Failed" {
		t.Error(a.body)
	}
	r.must(404, "GET {P}/plain/a", "")
	r.things.set(func() { delete(r.things.fail, "w") })
	location = r.must(202, "DELETE {G}", "").header.Get("Location")
	r.until("the group is gone", func() bool { return r.poll(location).status == 200 })
}

func TestDeleteWithChildren(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/plain/a", plainBody)
	r.must(201, "PUT {P}/plain/a/parts/p", `{}`)
	r.must(200, "DELETE {P}/plain/a", "")
	r.must(404, "GET {P}/plain/a", "")
	r.must(201, "PUT {P}/plain/a", plainBody)
	r.must(404, "GET {P}/plain/a/parts/p", "")
}

// Ensure that the wire's way in process is an http.RoundTripper like any other.
func TestTransport(t *testing.T) {
	r := newRig(t)
	req, _ := http.NewRequest("HEAD", "http://emulator.local:80/subscriptions/"+sub+"?api-version=2016-06-01", nil)
	req.Header.Set("Authorization", "Bearer x")
	resp, err := r.engine.Transport().RoundTrip(req)
	if err != nil || resp.StatusCode != 405 || resp.Request != req {
		t.Fatal(resp, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.engine.Transport().RoundTrip(req.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
