package arm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
)

// Ensure that each kind of long operation goes on after the engine was closed
// in the middle of it, on the same URLs, and that nothing is lost.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name, prepare, request string
		gone                   bool
	}{
		{"PutCompute", "", "PUT {P}/compute/x", false},
		{"PutStorage", "", "PUT {P}/storage/x", false},
		{"PutBatch", "", "PUT {P}/batch/x", false},
		{"PutHDInsight", "", "PUT {P}/hdi/x", false},
		{"PutML", "", "PUT {P}/ml/x", false},
		{"Patch", "PUT {P}/compute/x", "PATCH {P}/compute/x", false},
		{"PutOld", "PUT {P}/compute/x", "PUT {P}/compute/x", false},
		{"Action", "PUT {P}/compute/x", "POST {P}/compute/x/start", false},
		{"DeleteCompute", "PUT {P}/compute/x", "DELETE {P}/compute/x", true},
		{"DeleteBatch", "PUT {P}/batch/x", "DELETE {P}/batch/x", true},
		{"DeleteGroup", "PUT {P}/compute/x", "DELETE {G}", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.group()
			get := strings.TrimSuffix(strings.Replace(strings.Replace(tt.request[strings.Index(tt.request, " "):], "/start", "", 1), "{G}", "{P}/compute/x", 1), " ")
			state := func() any { return r.do("GET"+get, "").get("properties.provisioningState") }
			if tt.prepare != "" {
				r.do(tt.prepare, locBody)
				r.until("prepared", func() bool { return state() == "Succeeded" })
			}
			r.hold("x")
			calls := r.things.count("x")
			body := locBody
			if strings.HasPrefix(tt.request, "PATCH") {
				body = `{"tags":{"new":"tag"}}`
			}
			a := r.do(tt.request, body)
			if a.status > 202 {
				t.Fatal(a.body)
			}
			async, location := a.header.Get("Azure-AsyncOperation"), a.header.Get("Location")
			r.until("its reconciler ran", func() bool { return r.things.count("x") > calls })
			before := r.do("GET"+get, "").body
			// Twice, and the second time before anything moved.
			for range 2 {
				calls = r.things.count("x")
				r.reopen()
				if after := r.do("GET"+get, "").body; after != before {
					t.Errorf("after the restart\n%s\n%s", after, before)
				}
				if async != "" {
					if d := r.poll(async); d.get("status") != "InProgress" {
						t.Error(d.body)
					}
				}
				r.until("it was taken up", func() bool { return r.things.count("x") > calls })
			}
			r.letGo("x")
			if async != "" {
				if d := r.done(async); d.get("status") != "Succeeded" {
					t.Error(d.body)
				}
			}
			if location != "" {
				r.until("the result", func() bool { return r.poll(location).status == 200 })
			}
			check := func() {
				t.Helper()
				if tt.gone {
					r.must(404, "GET"+get, "")
				} else if state() != "Succeeded" {
					t.Error(state())
				}
			}
			r.until("the end", func() bool { return tt.gone || state() == "Succeeded" })
			check()
			// What is over stays over.
			calls = r.things.count("x")
			r.reopen()
			check()
			if async != "" {
				if d := r.poll(async); d.get("status") != "Succeeded" {
					t.Error(d.body)
				}
			}
			if got := r.things.count("x"); got != calls {
				t.Errorf("the reconciler ran %d times more", got-calls)
			}
		})
	}
}

// Ensure that a failure, its reason and its status survive.
func TestRestartFailed(t *testing.T) {
	r := newRig(t)
	r.group()
	r.things.fail["x"] = &arm.Error{Status: 403, Code: "Denied", Message: "No.", Target: "it", Details: []arm.Error{{Code: "Inner", Message: "Really."}}}
	a := r.must(202, "PUT {P}/batch/x", locBody)
	r.done(a.header.Get("Azure-AsyncOperation"))
	before := r.poll(a.header.Get("Location"))
	r.reopen()
	after := r.poll(a.header.Get("Location"))
	if after.status != 403 || after.body != before.body || after.get("error.details.0.code") != "Inner" {
		t.Errorf("%d %s", after.status, after.body)
	}
}

// Ensure that everything written is there after the process's end: resources, tags, etags, groups.
func TestRestartKeeps(t *testing.T) {
	r := newRig(t)
	r.group()
	for i := range 20 {
		r.must(201, fmt.Sprintf("PUT {P}/plain/p%02d", i), plainBody)
		r.must(201, fmt.Sprintf("PUT {P}/plain/p%02d/parts/q", i), `{"properties":{"n":1.50,"s":"<&>"}}`)
	}
	r.must(200, "DELETE {P}/plain/p07", "")
	dump := func() string {
		var b strings.Builder
		for i := range 20 {
			for _, line := range []string{"GET {P}/plain/p%02d", "GET {P}/plain/p%02d/parts/q"} {
				a := r.do(fmt.Sprintf(line, i), "")
				fmt.Fprintln(&b, a.status, a.header.Get("Etag"), a.body)
			}
		}
		return b.String()
	}
	before := dump()
	if !strings.Contains(before, `"n":1.50,"s":"<&>"`) {
		t.Error(before)
	}
	r.reopen()
	if after := dump(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// Ensure that requests before Open are accepted, and worked on after it.
func TestBeforeOpen(t *testing.T) {
	r := newRig(t)
	r.group()
	r.close()
	r.open()
	cfg := r.cfg
	other, err := arm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.client.Transport = other.Transport()
	a := r.must(202, "PUT {P}/batch/x", locBody)
	if d := r.poll(a.header.Get("Azure-AsyncOperation")); d.get("status") != "InProgress" {
		t.Error(d.body)
	}
	if err := other.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.done(a.header.Get("Azure-AsyncOperation"))
	if err := other.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// Closed, it refuses what would have to wait.
	if a := r.do("PUT {P}/waiting/w", locBody); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Error(a.body)
	}
	r.clock.Advance(time.Second)
}
