package history_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// rowsOf is a MetricV2Dto as SDK 1.61 posts it; each row has an id of its own.
func rowsOf(name, kind, columns string, rows ...string) string {
	for i, r := range rows {
		rows[i] = fmt.Sprintf(`{"metricId":"00000000-0000-0000-%04x-%012x","createdUtc":"2018-10-10T12:00:0%d.000Z",%s}`, len(name)<<8|int(name[0]), i+1, i%10, r)
	}
	return fmt.Sprintf(`{"name":%q,"columns":%s,"value":[%s],"properties":{"uxMetricType":%q}}`, name, columns, strings.Join(rows, ","), kind)
}

func batchOf(metrics ...string) string {
	return `{"values":[` + strings.Join(metrics, ",") + `],"reportErrors":true}`
}

// Ensure that what SDK 1.x logs comes back to it by rows, and to SDK 0.1.68 by cells.
func TestMetricRows(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	const run = "/metric/v2.0/runs/a"
	body := batchOf(
		rowsOf("acc", "azureml.v1.scalar", `{"acc":"double"}`, `"step":3,"data":{"acc":0.9}`, `"data":{"acc":NaN}`),
		rowsOf("table", "azureml.v1.table", `{"a":"int","b":"string"}`, `"data":{"a":1,"b":"x"}`, `"data":{"a":2,"b":"y"}`),
		rowsOf("image", "azureml.v2.image", `{"image":"Artifact"}`, `"data":{"image":"aml://artifactId/ExperimentRun/dcid.a/p.png"}`))
	s.play(t, []step{
		{method: "POST", path: run + "/batch", body: body},
		// A second attempt of the same batch is the same batch.
		{method: "POST", path: run + "/batch", body: body},
		{method: "POST", path: run + "/list", body: `{}`, want: []string{"value.#=3", `value.0.metricKey.name="acc"`, `value.0.columns={"acc":"double"}`,
			`value.1.columns={"a":"int","b":"string"}`, `value.2.columns={"image":"Artifact"}`}},
		{method: "POST", path: run + "/full", body: `{"metricName":"acc"}`, want: []string{`dataContainerId="dcid.a"`, `properties.uxMetricType="azureml.v1.scalar"`,
			"value.#=2", "value.0.step=3", `value.0.data={"acc":0.9}`, `value.1.data={"acc":"NaN"}`, "value.1.step=absent", `value.0.createdUtc="2018-10-10T12:00:00.0000000Z"`}},
		{method: "POST", path: run + "/full", body: `{"metricName":"acc","startTime":"2018-10-10T12:00:01Z"}`, want: []string{"value.#=1", `value.0.data={"acc":"NaN"}`}},
		{method: "POST", path: run + "/full", body: `{"metricName":"table"}`, want: []string{"value.#=2", `value.1.data={"a":2,"b":"y"}`}},
		{method: "POST", path: run + "/full", body: `{"metricName":"image"}`, want: []string{`columns={"image":"Artifact"}`, `value.0.data.image="aml://artifactId/ExperimentRun/dcid.a/p.png"`}},
		// As SDK 0.1.68 reads it.
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq a", want: []string{"count=4", "value.0.cells.0.acc=0.9", `value.0.schema.properties.0.type="float"`,
			`value.2.cells=[{"a":1,"b":"x"},{"a":2,"b":"y"}]`, "value.2.numCells=2", `value.3.dataLocation="aml://artifactId/ExperimentRun/dcid.a/p.png"`, `value.3.cells=[{"image":null}]`}},
	})
}

// Ensure that SDK 1.x reads what SDK 0.1.68 logged, a table cell by cell among it.
func TestMetricRowsOfCells(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	post := "/experiments/exp/runs/a/metrics"
	s.play(t, []step{
		{method: "POST", path: post, body: scalar("a", "1", "acc", "1")},
		{method: "POST", path: post, body: metricOf("a", "2", "azureml.v1.table", "r", `[{"x":1},{"x":2},{"y":2.5},{"y":3.5}]`, xy)},
		{method: "POST", path: post, body: metricOf("a", "3", "azureml.v1.table", "r", `[{"x":3},{"z":"s"}]`, "")},
		{method: "POST", path: post, body: metricOf("a", "4", "azureml.v1.list", "l", `[{"l":1},{"l":2}]`, "")},
		// The first type of a name is the name's.
		{method: "POST", path: post, body: metricOf("a", "5", "azureml.v1.list", "acc", `[{"acc":7}]`, "")},
		{method: "POST", path: "/metric/v2.0/runs/A/full", body: `{"metricName":"acc"}`, want: []string{"value.#=1", `columns.acc="double"`, "value.0.data.acc=1"}},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"r"}`, want: []string{`columns={"x":"int","y":"double","z":"string"}`,
			"value.#=3", `value.0.data={"x":1,"y":2.5,"z":null}`, `value.1.data={"x":2,"y":3.5,"z":null}`, `value.2.data={"x":3,"y":null,"z":"s"}`}},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"l"}`, want: []string{"value.#=2", "value.1.data.l=2"}},
		{method: "POST", path: "/metric/v2.0/runs/a/list", body: `{}`, want: []string{"value.#=3"}},
	})
}

// Ensure that a metric of more rows than a page has comes in pages.
func TestMetricRowPages(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	for i := range 6 {
		rows := make([]string, 1000)
		for j := range rows {
			rows[j] = fmt.Sprintf(`{"data":{"m":%d}}`, i*1000+j)
		}
		s.must("", "POST", "/metric/v2.0/runs/a/batch", `{"values":[{"name":"m","columns":{"m":"int"},"value":[`+strings.Join(rows, ",")+`]}]}`)
	}
	first := s.must("", "POST", "/metric/v2.0/runs/a/full", `{"metricName":"m"}`)
	token := at(first, "continuationToken")
	if at(first, "value.#") != "5000" || token == "absent" {
		t.Fatal(at(first, "value.#"), token)
	}
	s.play(t, []step{
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"m","continuationToken":` + token + `}`,
			want: []string{"value.#=1000", "value.0.data.m=5000", "value.999.data.m=5999", "continuationToken=absent"}},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"m","continuationToken":"x"}`, status: 400, want: []string{"error.message~continuation token"}},
	})
}

func TestMetricRowRefusals(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	s.must("", "PATCH", "/experiments/exp/runs/b", `{}`)
	const batch = "/metric/v2.0/runs/a/batch"
	good := rowsOf("ok", "azureml.v1.scalar", `{"ok":"int"}`, `"data":{"ok":1}`)
	bad := `{"name":"bad","columns":{"bad":"int"},"value":[{"data":{"other":1}}]}`
	one := func(m string) string { return `{"values":[` + m + `]}` }
	s.play(t, []step{
		{method: "POST", path: batch, body: batchOf(bad, good), status: http.StatusMultiStatus, want: []string{"errors.#=1", `errors.0.metric.name="bad"`, "errors.0.errorResponse.error.message~other"}},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"ok"}`, want: []string{"value.#=1"}},
		{method: "POST", path: batch, body: one(bad), status: 400, want: []string{`error.target="value[0].data"`}},
		{method: "POST", path: batch, body: `{}`, status: 400, want: []string{`error.target="values"`}},
		{method: "POST", path: batch, body: one(`{"columns":{},"value":[]}`), status: 400, want: []string{`error.target="name"`}},
		{method: "POST", path: batch, body: one(`{"name":"x","value":[]}`), status: 400, want: []string{`error.target="columns"`}},
		{method: "POST", path: batch, body: one(`{"name":"x","columns":{"x":1},"value":[]}`), status: 400, want: []string{`error.target="columns.x"`}},
		{method: "POST", path: batch, body: one(`{"name":"x","columns":{"x":"int"}}`), status: 400, want: []string{`error.target="value"`}},
		{method: "POST", path: batch, body: one(`{"name":"x","columns":{"x":"int"},"value":[{"metricId":"no","data":{"x":1}}]}`), status: 400, want: []string{`error.target="value[0].metricId"`}},
		{method: "POST", path: batch, body: one(`{"name":"x","columns":{"x":"int"},"value":[{}]}`), status: 400, want: []string{`error.target="value[0].data"`}},
		{method: "POST", path: "/metric/v2.0/runs/none/batch", body: batchOf(good), status: 404},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{"metricName":"none"}`, status: 404, want: []string{"error.message~none"}},
		{method: "POST", path: "/metric/v2.0/runs/a/full", body: `{}`, status: 400, want: []string{`error.target="metricName"`}},
		{as: tokenOf("b"), method: "POST", path: batch, body: batchOf(good), status: 403},
	})
}

// Ensure that runs are reached by the experiment's id and by their own alone, with what SDK 1.x keeps of them.
func TestRunsBySDK1(t *testing.T) {
	s := serve(t, options{})
	id := strings.Trim(at(s.must("", "POST", "/experiments/exp", ""), "experimentId"), `"`)
	s.play(t, []step{
		{method: "PATCH", path: "/experimentids/" + id + "/runs/a", body: `{"runId":"a","displayName":"A","primaryMetricName":"acc","runTypeV2":{"orchestrator":"Execution","traits":["x"]},"tags":{"k":"v w"}}`,
			want: []string{`displayName="A"`, `dataContainerId="dcid.a"`, `primaryMetricName="acc"`, `runTypeV2.orchestrator="Execution"`}},
		{method: "PATCH", path: "/experimentids/none/runs/b", body: `{}`, status: 404},
		{method: "GET", path: "/experimentids/" + id + "/runs/a", want: []string{`runId="a"`}},
		{method: "GET", path: "/runs/a", want: []string{`experimentId="` + id + `"`}},
		{method: "GET", path: "/runs/none", status: 404},
		{method: "GET", path: "/experiments/exp/runs/a/metricsingest/wait"},
		{method: "GET", path: "/experiments/exp/runs/none/metricsingest/wait", status: 404},
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"filter":"(Tags/k eq \"v w\") and (RunTypeV2/Orchestrator eq Execution)"}`, want: []string{"count=1"}},
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"filter":"(RunTypeV2/Traits/x ne null) or (RunTypeV2/Traits/x eq null)"}`, want: []string{"count=1"}},
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"filter":"(RunTypeV2/Orchestrator eq Other)"}`, want: []string{"count=0"}},
		{method: "DELETE", path: "/experiments/exp/runs/a/tags", body: `["k"]`, want: []string{"tags={}"}},
		{method: "DELETE", path: "/experiments/exp/runs/a/tags", body: `"k"`, status: 400, want: []string{`error.target="tags"`}},
		{method: "POST", path: "/experiments/exp/runs/a/events", body: event("Warning", "a", `,"Source":"me","Message":"careful"`)},
		{method: "POST", path: "/experiments/exp/runs/a/events", body: event("Error", "a", `,"ErrorResponse":{"error":{"code":"Tired","message":"gave up"}}`)},
		{method: "POST", path: "/experiments/exp/runs/a/events", body: event("Failed", "a", "")},
		{method: "GET", path: "/experiments/exp/runs/a/details", want: []string{`status="Failed"`, `error.error.code="Tired"`, `error.error.message="gave up"`, `warnings.0.message="careful"`}},
		{method: "PATCH", path: "/experimentids/" + id, body: `{"archive":true}`},
		{method: "POST", path: "/experiments:query", body: `{"viewType":"ActiveOnly"}`, want: []string{"count=0"}},
		{method: "POST", path: "/experiments:query", body: `{"viewType":"ArchivedOnly"}`, want: []string{"count=1"}},
		{method: "POST", path: "/experiments:query", body: `{"viewType":"Some"}`, status: 400, want: []string{`error.target="viewType"`}},
	})
}
