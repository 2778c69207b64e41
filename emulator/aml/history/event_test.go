package history_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock/clocktest"
)

// Ensure that statuses only move forward, whoever reports them.
func TestStatus(t *testing.T) {
	for name, row := range map[string]struct {
		posts []string // events, or PATCH:Status
		want  string
	}{
		"interactive":             {[]string{"Start", "Completed"}, "Completed"},
		"whole path":              {[]string{"PATCH:Starting", "PATCH:Provisioning", "PATCH:Preparing", "PATCH:Queued", "PATCH:running", "PATCH:Finalizing", "Completed"}, "Completed"},
		"no way back":             {[]string{"Start", "PATCH:Queued", "PATCH:NotStarted"}, "Running"},
		"failed stays":            {[]string{"Start", "Failed", "Completed", "Canceled"}, "Failed"},
		"start after canceled":    {[]string{"Canceled", "Start"}, "Canceled"},
		"cancel requested":        {[]string{"Start", "CancelRequested", "Start", "PATCH:Finalizing"}, "CancelRequested"},
		"canceled after request":  {[]string{"Start", "PATCH:CancelRequested", "Canceled"}, "Canceled"},
		"completed after request": {[]string{"Start", "CancelRequested", "Completed"}, "Completed"},
		"never started":           {[]string{"Failed"}, "Failed"},
		"unknown event":           {[]string{"Start", "Wondered"}, "Running"},
		"heartbeat alone":         {[]string{"Heartbeat"}, "NotStarted"},
		"not responding":          {[]string{"Start", "PATCH:NotResponding"}, "NotResponding"},
		"responding again":        {[]string{"Start", "PATCH:NotResponding", "Heartbeat"}, "Running"},
		"queued cannot respond":   {[]string{"PATCH:Queued", "PATCH:NotResponding"}, "Queued"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, options{})
			s.must("", "PATCH", "/experiments/exp/runs/a", `{"runId":"a"}`)
			events := 0
			for _, p := range row.posts {
				if len(p) > 6 && p[:6] == "PATCH:" {
					s.must("", "PATCH", "/experiments/exp/runs/a", `{"status":"`+p[6:]+`"}`)
					continue
				}
				events++
				if status, b := s.call("", "POST", "/experiments/exp/runs/a/events", event(p, "a", "")); status != 200 || len(b) != 0 {
					t.Fatalf("%s: %d %q", p, status, b)
				}
			}
			v := s.must("", "GET", "/experiments/exp/runs/a", "")
			if got := at(v, "status"); got != `"`+row.want+`"` {
				t.Errorf("status %s, want %s", got, row.want)
			}
			if ended := at(v, "endTimeUtc") != "absent"; ended != history.Terminal(row.want) {
				t.Errorf("endTimeUtc is %s when %s", at(v, "endTimeUtc"), row.want)
			}
			if n := len(row.posts); events > 0 && n > 0 {
				if got := at(s.must("", "GET", "/experiments/exp/runs/a/events", ""), "count"); got != itoa(events) {
					t.Errorf("%s events are recorded, want %d", got, events)
				}
			}
		})
	}
}

// Ensure that events are kept with their data, and times are set once.
func TestEvents(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{"runId":"a"}`)
	s.must("", "PATCH", "/experiments/exp/runs/b", `{"runId":"b"}`)
	ev := "/experiments/exp/runs/a/events"
	bad := http.StatusBadRequest
	s.play(t, []step{
		{method: "POST", path: ev, body: `{"timestamp":"2018-10-10T12:00:05Z","name":"Microsoft.MachineLearning.Run.Start","data":{"RunId":"a","StartTime":"2018-10-10T12:00:04Z","extra":{"x":[NaN]}}}`},
		{method: "POST", path: ev, body: event("Start", "a", `,"StartTime":"2018-10-10T12:09:00Z"`)},
		{method: "POST", path: ev, body: event("Heartbeat", "a", `,"TimeToLiveSeconds":120`)},
		{method: "POST", path: ev, body: event("Heartbeat", "a", `,"TimeToLiveSeconds":60`)},
		{method: "POST", path: ev, body: `{"name":"my.own"}`},
		{method: "POST", path: ev, body: event("Failed", "a", `,"EndTime":"2018-10-10T12:10:00Z","Error":"no such file"`)},
		{method: "POST", path: ev, body: event("Completed", "a", `,"EndTime":"2018-10-10T12:20:00Z"`)},
		{method: "GET", path: "/experiments/exp/runs/a", want: []string{
			`startTimeUtc="2018-10-10T12:00:04.0000000Z"`, `endTimeUtc="2018-10-10T12:10:00.0000000Z"`, "heartbeatEnabled=true",
			`error.error.message="no such file"`, `error.error.code="UserError"`}},
		{method: "GET", path: ev, want: []string{"count=6", `value.0.name="Microsoft.MachineLearning.Run.Start"`,
			`value.0.timestamp="2018-10-10T12:00:05.0000000Z"`, `value.0.data.extra.x.0="NaN"`, `value.2.name="my.own"`,
			`value.2.timestamp="2018-10-10T12:00:00.0000000Z"`, "value.5.data.TimeToLiveSeconds=60"}},
		{method: "GET", path: ev + "?$orderby=StartTimeUtc desc&$top=2", want: []string{"count=2", "value.0.data.TimeToLiveSeconds=60", `value.1.name="Microsoft.MachineLearning.Run.Completed"`}},
		{method: "POST", path: "/experiments/exp/batch/events", body: `{"events":[` + event("Start", "b", "") + `,` + event("Start", "none", "") + `,{"data":{}}]}`,
			want: []string{"errors.#=2", `errors.0.key.data.RunId="none"`, "errors.0.value.error.message~none", "errors.1.value.error.message~name"}},
		{method: "GET", path: "/experiments/exp/runs/b", want: []string{`status="Running"`}},

		{method: "POST", path: "/experiments/exp/runs/none/events", body: event("Start", "none", ""), status: 404},
		{method: "POST", path: ev, body: event("Start", "b", ""), status: bad, want: []string{`error.target="RunId"`}},
		{method: "POST", path: ev, body: `{"data":{}}`, status: bad, want: []string{`error.target="name"`}},
		{method: "POST", path: ev, body: `{"name":"x","timestamp":"then"}`, status: bad, want: []string{`error.target="timestamp"`}},
		{method: "POST", path: ev, body: `{"name":"x","data":[]}`, status: bad, want: []string{`error.target="data"`}},
		{method: "POST", path: ev, body: event("Start", "a", `,"StartTime":"then"`), status: bad, want: []string{`error.target="StartTime"`}},
		{method: "POST", path: ev, body: event("Failed", "a", `,"Error":[1]`), status: bad, want: []string{`error.target="Error"`}},
		{method: "POST", path: ev, body: event("Heartbeat", "a", `,"TimeToLiveSeconds":0`), status: bad, want: []string{`error.target="TimeToLiveSeconds"`}},
		{method: "POST", path: ev, body: event("Heartbeat", "a", `,"TimeToLiveSeconds":"x"`), status: bad},
		{method: "POST", path: ev, body: `{`, status: bad},
		{method: "POST", path: "/experiments/exp/batch/events", body: `{"events":7}`, status: bad},
		{method: "GET", path: ev, want: []string{"count=6"}},
	})
}

// Ensure that a silent run becomes NotResponding, and comes back, also across a restart.
func TestHeartbeat(t *testing.T) {
	path := file(t)
	s := serve(t, options{path: path})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{"runId":"a"}`)
	s.must("", "PATCH", "/experiments/exp/runs/quiet", `{"runId":"quiet"}`)
	post := func(s *server, name, run, more string) {
		t.Helper()
		s.must("", "POST", "/experiments/exp/runs/"+run+"/events", event(name, run, more))
	}
	status := func(s *server, run, want string) {
		t.Helper()
		clocktest.Until(t, run+" is "+want, 10*time.Second, func() bool {
			return at(s.must("", "GET", "/experiments/exp/runs/"+run, ""), "status") == `"`+want+`"`
		})
	}
	asleep := func(s *server) {
		t.Helper()
		clocktest.Until(t, "the watch sleeps", 10*time.Second, func() bool { n, _ := s.clock.Waiting(); return n == 1 })
	}
	post(s, "Start", "a", "")
	post(s, "Start", "quiet", "")
	post(s, "Heartbeat", "a", `,"TimeToLiveSeconds":120`)
	asleep(s)
	s.clock.Advance(119 * time.Second)
	post(s, "Heartbeat", "a", `,"TimeToLiveSeconds":120`)
	s.clock.Advance(119 * time.Second)
	asleep(s)
	status(s, "a", "Running")
	s.clock.Advance(time.Second)
	status(s, "a", "NotResponding")
	post(s, "Heartbeat", "a", `,"TimeToLiveSeconds":120`)
	status(s, "a", "Running")
	asleep(s)
	s.clock.Advance(time.Minute)
	now := s.clock.Now()
	s.stop()

	s = serve(t, options{path: path, at: now})
	asleep(s)
	s.clock.Advance(119 * time.Second)
	asleep(s)
	status(s, "a", "Running")
	s.clock.Advance(time.Second)
	status(s, "a", "NotResponding")
	// A run that never sent a heartbeat is not missed, and one that ended is not watched.
	status(s, "quiet", "Running")
	post(s, "Heartbeat", "a", "")
	post(s, "Completed", "a", "")
	s.clock.Advance(time.Hour)
	status(s, "a", "Completed")
}

// Ensure that the run service's calls do what they say, and see what clients did.
func TestRunService(t *testing.T) {
	s := serve(t, options{})
	ctx, ws := t.Context(), workspace
	ended, stop := s.Ended()
	defer stop()
	r, err := s.Create(ctx, ws, history.NewRun{Experiment: "exp", RunID: "exp_1", Status: "Preparing", Target: "local", ScriptName: "train.py",
		RunType: "azureml.scriptrun", UserID: "u", RunDefinition: []byte(`{"a":NaN}`), Properties: map[string]string{"p": "q"}, Tags: map[string]string{"t": "u"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.RunNumber != 1 || r.RootRunID != "exp_1" || r.Status != "Preparing" || string(r.RunDefinition) != `{"a":NaN}` || r.Experiment != "exp" {
		t.Errorf("created %+v", r)
	}
	var refused *plane.Error
	if _, err := s.Create(ctx, ws, history.NewRun{Experiment: "exp", RunID: "EXP_1"}); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("second Create: %v", err)
	}
	s.must("", "PATCH", "/experiments/exp/runs/early", `{"runId":"early","properties":{"ContentSnapshotId":"g"}}`)
	if r, err := s.Create(ctx, ws, history.NewRun{Experiment: "exp", RunID: "early", Status: "Starting", UserID: "u", RunDefinition: []byte(`{"x":1}`)}); err != nil || r.Status != "Starting" || r.Properties["ContentSnapshotId"] != "g" || r.RunNumber != 2 {
		t.Errorf("Create of a NotStarted run: %+v, %v", r, err)
	}
	for name, n := range map[string]history.NewRun{
		"experiment": {Experiment: "e p", RunID: "x"}, "id": {Experiment: "exp"}, "status": {Experiment: "exp", RunID: "x", Status: "Odd"},
		"definition": {Experiment: "exp", RunID: "x", RunDefinition: []byte(`{"a":`)}, "parent": {Experiment: "exp", RunID: "x", ParentRunID: "none"},
	} {
		if _, err := s.Create(ctx, ws, n); !errors.As(err, &refused) {
			t.Errorf("Create with a bad %s: %v", name, err)
		}
	}
	if _, err := s.Get(ctx, ws, "none"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("Get: %v", err)
	}
	for _, row := range []struct {
		status  string
		failure *history.RunError
		changed bool
	}{
		{"Queued", nil, true}, {"Preparing", nil, false}, {"Running", nil, true}, {"CancelRequested", nil, true},
		{"Failed", &history.RunError{Code: "JobFailed", Message: "exit 3"}, true}, {"Canceled", nil, false},
	} {
		if changed, err := s.SetStatus(ctx, ws, "exp_1", row.status, row.failure); err != nil || changed != row.changed {
			t.Errorf("SetStatus %s: %v, %v", row.status, changed, err)
		}
	}
	if _, err := s.SetStatus(ctx, ws, "exp_1", "Odd", nil); !errors.As(err, &refused) {
		t.Errorf("SetStatus Odd: %v", err)
	}
	if err := s.AddWarning(ctx, ws, "exp_1", history.Warning{Source: "disk", Message: "full"}); err != nil {
		t.Error(err)
	}
	s.must("", "POST", "/experiments/exp/runs/early/events", event("Canceled", "early", ""))
	for _, want := range []string{"exp_1 CancelRequested", "exp_1 Failed", "early Canceled"} {
		c := <-ended
		if got := c.RunID + " " + c.Status; got != want || c.Workspace != ws {
			t.Errorf("Ended told %s, want %s", got, want)
		}
	}
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runs/exp_1/details", want: []string{`error.error.code="JobFailed"`, `error.error.message="exit 3"`,
			`warnings.0.source="disk"`, `runDefinition.a="NaN"`, `tags.t="u"`}},
		{method: "GET", path: "/experiments/exp/runs/exp_1", want: []string{`userId="u"`, `runType="azureml.scriptrun"`, `scriptName="train.py"`}},
	})
	if token, err := s.Token(ctx, ws, "exp_1"); err != nil || token.Token != tokenOf("exp_1") || !token.Expires.After(noon()) {
		t.Errorf("Token: %+v, %v", token, err)
	}

	s.must("", "POST", "/experiments/exp/runs/exp_1/metrics", scalar("exp_1", "1", "m", "1"))
	if err := s.DeleteWorkspace(ctx, ws); err != nil {
		t.Fatal(err)
	}
	if docs, err := s.store.List(ctx, "history", "", 0); err != nil || len(docs) != 1 {
		t.Errorf("DeleteWorkspace left %d documents, want the epoch alone: %v", len(docs), err)
	}
}
