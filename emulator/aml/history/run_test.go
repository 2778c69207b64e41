package history_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Ensure that PATCH makes runs, merges into them, and never resets what is there.
func TestRuns(t *testing.T) {
	s := serve(t, options{})
	s.play(t, []step{
		{method: "GET", path: "/experiments", want: []string{"value=[]", "continuationToken=null", "count=0"}},
		{method: "PATCH", path: "/experiments/exp/runs/prep", body: `{"runId":"prep","hidden":true}`,
			want: []string{"runNumber=1", "hidden=true", `status="NotStarted"`, `rootRunId="prep"`, "token=absent"}},
		{method: "PATCH", path: "/experiments/exp/runs/a", body: `{"runId":"a","status":"NotStarted","name":"run_a","target":"sdk","runDefinition":{"Arguments":["--x",NaN,12345678901234567890],"b":{}},"tags":{"k":"v","flag":null,"n":3}}`,
			want: []string{"runNumber=2", `name="run_a"`, `tags.k="v"`, "tags.flag=null", `tags.n="3"`, `createdUtc="2018-10-10T12:00:00.0000000Z"`,
				`userId="o-1"`, `createdBy.userName="nobody@example.com"`, "properties={}", "heartbeatEnabled=false", "warnings=[]"}},
		{method: "PATCH", path: "/experiments/exp/runs/a", body: `{"runId":"a","properties":{"ContentSnapshotId":"g1","none":null},"status":"Preparing"}`,
			want: []string{"runNumber=2", `properties.ContentSnapshotId="g1"`, "properties.#=1", `tags.k="v"`, `name="run_a"`, `status="Preparing"`}},
		{method: "PATCH", path: "/experiments/exp/runs/a", body: `{"properties":{"x":"1"},"tags":{"k":"w"},"status":"NotStarted"}`,
			want: []string{`properties.ContentSnapshotId="g1"`, `properties.x="1"`, `tags.k="w"`, "tags.flag=null", `status="Preparing"`}},
		// The case of no segment matters, neither the service's nor the client's.
		{method: "PATCH", path: "/EXPERIMENTS/EXP/RUNS/A", body: `{"description":"d"}`, want: []string{`runId="a"`, `description="d"`, "runNumber=2"}},
		{method: "PUT", path: "/experiments/exp/runs/a", body: `{"name":"new","tags":{"p":"q"}}`, want: []string{`name="new"`, `tags.p="q"`, `tags.k="w"`}},
		{method: "DELETE", path: "/experiments/exp/runs/a/tags", body: `{"tags":["p","absent"]}`, want: []string{"tags.p=absent", `tags.k="w"`}},
		{method: "GET", path: "/experiments/exp/runs/prep", want: []string{"hidden=true"}},
		{method: "PATCH", path: "/experiments/exp/runs/prep", body: `{"tags":{"z":"1"}}`, want: []string{"hidden=true"}},
		{method: "GET", path: "/experiments/exp/runs", want: []string{"count=1", `value.0.runId="a"`}},
		{method: "GET", path: "/projects/exp/runs/a", want: []string{`runId="a"`}},
		{method: "POST", path: "/projects/exp/runs", body: `{"runId":"legacy"}`, want: []string{`runId="legacy"`, "runNumber=3"}},
		{method: "POST", path: "/projects/exp/runs/a/childruns", body: `{"runId":"lc"}`, want: []string{`parentRunId="a"`, `rootRunId="a"`}},
		{method: "GET", path: "/projects/exp/runs/a/childruns", want: []string{"count=1"}},
		{method: "PATCH", path: "/experiments/exp/batch/runs", body: `{"runs":[{"runId":"b1"},{"runId":"b2","parentRunId":"nobody"}]}`,
			want: []string{`runs.b1.runId="b1"`, "runs.b2=absent", "errors.b2.error.message~nobody"}},
		{method: "GET", path: "/experiments/exp/runs/a/token", want: []string{`token="` + tokenOf("a") + `"`, `expiryTimeUtc="2018-10-24T12:00:00.0000000Z"`}},
		{method: "GET", path: "/experiments/exp", want: []string{`name="exp"`, "createdUtc~2018", `latestCreatedRunId="b1"`}},
	})
	_, b := s.call("", "GET", "/experiments/exp/runs/a", "")
	if want := `"runDefinition":{"Arguments":["--x",NaN,12345678901234567890],"b":{}}`; !strings.Contains(string(b), want) {
		t.Errorf("the definition was touched: %s", b)
	}
	id := at(s.must("", "GET", "/experiments/exp", ""), "experimentId")
	id = strings.Trim(id, `"`)
	s.play(t, []step{
		{method: "GET", path: "/experimentids/" + id, want: []string{`name="exp"`}},
		{method: "PATCH", path: "/experimentids/" + id, body: `{"description":"d","tags":{"a":"b","c":null},"archive":true}`,
			want: []string{`description="d"`, `tags.a="b"`, "tags.c=null", "archivedTime~2018"}},
		{method: "PATCH", path: "/experimentids/" + id, body: `{"archive":false}`, want: []string{"archivedTime=absent", `description="d"`}},
		{method: "DELETE", path: "/experimentids/" + id + "/tags", body: `{"tags":["a"]}`, want: []string{"tags.#=1"}},
		{method: "GET", path: "/experimentids/nobody", status: http.StatusNotFound},
		{method: "POST", path: "/experiments/second", want: []string{`name="second"`}},
		{method: "POST", path: "/experiments/SECOND", want: []string{`name="second"`}},
		{method: "GET", path: "/experiments?$orderby=Name desc&$top=1", want: []string{"count=1", `value.0.name="second"`}},
		{method: "POST", path: "/experiments:query", body: `{"filter":"Name eq 'exp' and Tags.c eq null","top":5}`, want: []string{"count=1", `value.0.name="exp"`}},
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"filter":"RunId eq a","orderBy":"RunId asc"}`, want: []string{"count=1"}},
	})
}

// Ensure that each bad request is refused, with the field's name, and changes nothing.
func TestRunErrors(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{"runId":"a","name":"n"}`)
	s.must("", "PATCH", "/experiments/exp/runs/c", `{"runId":"c","parentRunId":"a"}`)
	s.must("", "PATCH", "/experiments/other/runs/o", `{"runId":"o"}`)
	before := at(s.must("", "GET", "/experiments/exp/runs", ""), "")
	run := "/experiments/exp/runs/a"
	long := strings.Repeat("x", 300)
	many := `{"tags":{"t0":"0"`
	for i := range 51 {
		many += `,"m` + strings.Repeat("i", i+1) + `":"1"`
	}
	many += `}}`
	bad := http.StatusBadRequest
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runs/none", status: 404, want: []string{`error.code="UserError"`, `error.message="Run none was not found"`, `error.innerError.code="NotFound"`}},
		{method: "GET", path: "/experiments/other/runs/a", status: 404},
		{method: "GET", path: "/experiments/none", status: 404, want: []string{"error.message~none"}},
		{method: "PUT", path: "/experiments/exp/runs/none", body: `{"name":"x"}`, status: 404},
		{method: "GET", path: "/experiments/exp/runs/none/details", status: 404},
		{method: "GET", path: "/experiments/exp/runs/none/token", status: 404},
		{method: "GET", path: "/experiments/exp/runs/none/children", status: 404},
		{method: "GET", path: "/experiments/exp/runs/none/events", status: 404},
		{method: "DELETE", path: "/experiments/exp/runs/none/tags", body: `{"tags":[]}`, status: 404},
		{method: "PATCH", path: "/experiments/other/runs/a", body: `{"name":"x"}`, status: http.StatusConflict, want: []string{"error.message~exp"}},
		{method: "PATCH", path: "/experiments/-bad/runs/x", body: `{"runId":"x"}`, status: bad, want: []string{"error.message~-bad", `error.target="experimentName"`}},
		{method: "PATCH", path: "/experiments/b%20d/runs/x", body: `{"runId":"x"}`, status: bad, want: []string{"error.message~b d"}},
		{method: "PATCH", path: "/experiments/exp/runs/b%20d", body: `{}`, status: bad, want: []string{`error.target="runId"`}},
		{method: "PATCH", path: "/experiments/exp/runs/" + long, body: `{}`, status: bad, want: []string{`error.target="runId"`}},
		{method: "PATCH", path: "/experiments/exp/runs/new", body: `{"runId":"new","parentRunId":"none"}`, status: 404, want: []string{"error.message~none"}},
		{method: "PATCH", path: "/experiments/exp/runs/new", body: `{"runId":"new","parentRunId":"o"}`, status: 404},
		{method: "PATCH", path: "/experiments/exp/runs/new", body: `{"runId":"new","parentRunId":"new"}`, status: bad, want: []string{`error.target="parentRunId"`}},
		{method: "PATCH", path: "/experiments/exp/runs/c", body: `{"parentRunId":"c"}`, status: bad, want: []string{`error.target="parentRunId"`}},
		{method: "PATCH", path: run, status: bad, want: []string{`error.target="body"`}},
		{method: "PATCH", path: run, body: `{"name":`, status: bad, want: []string{`error.target="body"`}},
		{method: "PATCH", path: run, body: `[]`, status: bad},
		{method: "PATCH", path: run, body: `{"runId":"b"}`, status: bad, want: []string{`error.target="runId"`}},
		{method: "PATCH", path: run, body: `{"name":7}`, status: bad, want: []string{`error.target="name"`, "error.message~number"}},
		{method: "PATCH", path: run, body: `{"name":"` + long + `"}`, status: bad, want: []string{`error.target="name"`}},
		{method: "PATCH", path: run, body: `{"hidden":"yes"}`, status: bad, want: []string{`error.target="hidden"`}},
		{method: "PATCH", path: run, body: `{"tags":[]}`, status: bad, want: []string{`error.target="tags"`}},
		{method: "PATCH", path: run, body: `{"tags":{"k":{}}}`, status: bad, want: []string{`error.target="tags.k"`}},
		{method: "PATCH", path: run, body: `{"tags":{"` + long + `":"v"}}`, status: bad, want: []string{`error.target="tags"`}},
		{method: "PATCH", path: run, body: `{"properties":{"k":"` + strings.Repeat("y", 1001) + `"}}`, status: bad, want: []string{`error.target="properties.k"`}},
		{method: "PATCH", path: run, body: many, status: bad, want: []string{`error.target="tags"`}},
		{method: "PATCH", path: run, body: `{"status":"Sleeping"}`, status: bad, want: []string{`error.target="status"`, "error.message~Sleeping"}},
		{method: "PATCH", path: run, body: `{"startTimeUtc":"soon"}`, status: bad, want: []string{`error.target="startTimeUtc"`}},
		{method: "PATCH", path: run, body: `{"runDefinition":"x"}`, status: bad, want: []string{`error.target="runDefinition"`}},
		{method: "POST", path: "/experiments/exp/runs/a/childruns", body: `{"runId":"z","parentRunId":"c"}`, status: bad, want: []string{`error.target="parentRunId"`}},
		{method: "PATCH", path: "/experiments/exp/batch/runs", body: `{"runs":[{"name":"x"}]}`, status: bad, want: []string{`error.target="runId"`}},
		{method: "PATCH", path: "/experiments/exp/batch/runs", body: `{}`, status: bad, want: []string{`error.target="runs"`}},
		{method: "DELETE", path: run + "/tags", body: `{}`, status: bad, want: []string{`error.target="tags"`}},
		{method: "POST", path: "/experiments/-bad", status: bad, want: []string{`error.target="experimentName"`}},
		{as: "forged", method: "GET", path: run, status: http.StatusUnauthorized},
		{method: "POST", path: run, body: `{}`, status: http.StatusMethodNotAllowed},
		{method: "PATCH", path: run, body: `{"name":"` + strings.Repeat("z", 33<<20) + `"}`, status: http.StatusRequestEntityTooLarge},
	})
	if after := at(s.must("", "GET", "/experiments/exp/runs", ""), ""); after != before {
		t.Errorf("a refused request changed something:\n%s\n%s", before, after)
	}
}

// Ensure that a run's token writes its own run and what is below its root, and nothing else.
func TestRunToken(t *testing.T) {
	s := serve(t, options{})
	for _, b := range []string{`{"runId":"root"}`, `{"runId":"kid","parentRunId":"root"}`, `{"runId":"grandkid","parentRunId":"kid"}`, `{"runId":"alien"}`} {
		id := at(decode([]byte(b)), "runId")
		s.must("", "PATCH", "/experiments/exp/runs/"+strings.Trim(id, `"`), b)
	}
	no := http.StatusForbidden
	rootToken, kidToken := tokenOf("root"), tokenOf("kid")
	s.play(t, []step{
		{as: rootToken, method: "PATCH", path: "/experiments/exp/runs/root", body: `{"tags":{"a":"b"}}`, want: []string{"token=absent"}},
		{as: rootToken, method: "PATCH", path: "/experiments/exp/runs/new", body: `{"runId":"new","parentRunId":"root","status":"NotStarted"}`,
			want: []string{`token="` + tokenOf("new") + `"`, `tokenExpiryTimeUtc="2018-10-24T12:00:00.0000000Z"`, `rootRunId="root"`}},
		{as: rootToken, method: "POST", path: "/experiments/exp/runs/grandkid/events", body: event("Start", "grandkid", "")},
		{as: tokenOf("new"), method: "POST", path: "/experiments/exp/runs/new/metrics", body: scalar("new", "1", "m", "1")},
		{as: kidToken, method: "PATCH", path: "/experiments/exp/runs/sib", body: `{"runId":"sib","parentRunId":"grandkid"}`},
		{as: kidToken, method: "GET", path: "/experiments/exp/runs/alien"},
		{as: rootToken, method: "GET", path: "/experiments/exp/runs/kid/token"},

		{as: kidToken, method: "PATCH", path: "/experiments/exp/runs/root", body: `{"tags":{"a":"c"}}`, status: no, want: []string{`error.innerError.code="AuthorizationFailed"`}},
		{as: rootToken, method: "PATCH", path: "/experiments/exp/runs/alien", body: `{"tags":{"a":"c"}}`, status: no},
		{as: rootToken, method: "PUT", path: "/experiments/exp/runs/alien", body: `{"tags":{"a":"c"}}`, status: no},
		{as: rootToken, method: "DELETE", path: "/experiments/exp/runs/alien/tags", body: `{"tags":["a"]}`, status: no},
		{as: rootToken, method: "PATCH", path: "/experiments/exp/runs/fresh", body: `{"runId":"fresh"}`, status: no},
		{as: rootToken, method: "PATCH", path: "/experiments/exp/runs/fresh", body: `{"runId":"fresh","parentRunId":"alien"}`, status: no},
		{as: rootToken, method: "POST", path: "/experiments/exp/runs/alien/events", body: event("Failed", "alien", ""), status: no},
		{as: rootToken, method: "POST", path: "/experiments/exp/runs/alien/metrics", body: scalar("alien", "2", "m", "1"), status: no},
		{as: rootToken, method: "GET", path: "/experiments/exp/runs/alien/token", status: no},
		{as: rootToken, method: "POST", path: "/experiments/another", status: no},
		{as: tokenOf("gone"), method: "POST", path: "/experiments/exp/runs/kid/events", body: event("Start", "kid", ""), status: no},
		{as: "run:other-guid:root", method: "GET", path: "/experiments/exp/runs/root", status: no},
	})
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runs/alien", want: []string{"tags={}", `status="NotStarted"`}},
		{method: "GET", path: "/experiments/exp/runs/fresh", status: 404},
	})
}

// Ensure that details have what the SDK iterates, always.
func TestDetails(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/logged", `{"runId":"logged","target":"local","runDefinition":{"script":"<train>.py"}}`)
	s.must("", "PATCH", "/experiments/exp/runs/bare", `{"runId":"bare"}`)
	s.must("", "POST", "/experiments/exp/runs/bare/events", event("Start", "bare", ""))
	s.clock.Advance(time.Minute)
	s.must("", "POST", "/experiments/exp/runs/bare/events",
		event("Failed", "bare", `,"EndTime":"2018-10-10T12:00:30Z","Error":{"error":{"code":"UserError","message":"exit code 3","details":[{"code":"c","message":"m"}],"innerError":{"code":"i"}}}`))
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runs/logged/details", want: []string{
			`logFiles={"azureml-logs/80_driver_log.txt":"https://a.blob/logged"}`, `runDefinition.script="\u003ctrain\u003e.py"`,
			"error=absent", "warnings=[]", `target="local"`, "properties={}"}},
		{method: "GET", path: "/experiments/exp/runs/bare/details", want: []string{
			"logFiles={}", "runDefinition=absent", `status="Failed"`, `startTimeUtc="2018-10-10T12:00:01.0000000Z"`,
			`endTimeUtc="2018-10-10T12:00:30.0000000Z"`, `error.error.message="exit code 3"`, `error.error.details.0.code="c"`,
			`error.error.innerError.code="i"`, "error.correlation={}"}},
		{method: "GET", path: "/experiments/exp/runs/bare/runstatus", want: []string{`status="Failed"`}},
		{method: "GET", path: "/experiments/exp/runs/bare", want: []string{`error.error.code="UserError"`}},
	})
}
