package history_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func metricOf(run, id, typ, name, cells, schema string) string {
	s := ""
	if schema != "" {
		s = `,"schema":` + schema
	}
	return fmt.Sprintf(`{"runId":%q,"metricId":"00000000-0000-0000-0000-%012s","metricType":%q,"createdUtc":"2018-10-10T12:00:01+00:00","name":%q,"cells":%s%s}`,
		run, id, typ, name, cells, s)
}

const xy = `{"numProperties":2,"properties":[{"propertyId":"x","name":"r","type":"int"},{"propertyId":"y","name":"r","type":"float"}]}`

// Ensure that metrics come back as they were sent, in logging order, tables in one piece.
func TestMetrics(t *testing.T) {
	s := serve(t, options{})
	for _, id := range []string{"b", "a", "empty"} {
		s.must("", "PATCH", "/experiments/exp/runs/"+id, `{}`)
	}
	s.must("", "PATCH", "/experiments/other/runs/c", `{}`)
	post := "/experiments/exp/runs/a/metrics"
	s.play(t, []step{
		{method: "POST", path: post, body: scalar("a", "1", "acc", "0.9")},
		{method: "POST", path: post, body: metricOf("a", "2", "azureml.v1.table", "r", `[{"x":1},{"y":2.0}]`, xy)},
		{method: "POST", path: post, body: metricOf("a", "3", "azureml.v1.list", "l", `[{"l":NaN},{"l":-Infinity},{"l":Infinity},{"l":123456789012345678901234567890},{"l":1.10}]`, "")},
		{method: "POST", path: post, body: metricOf("a", "4", "azureml.v1.table", "r", `[{"x":2},{"y":3.5}]`, xy)},
		{method: "POST", path: post, body: metricOf("a", "5", "azureml.v1.image", "i", `[{"name":"aml://artifactId/p/<x>.png"}]`, "")},
		{method: "POST", path: post, body: metricOf("a", "6", "my.own", "o", `[{"deep":{"a":[1,{}]},"b":null,"c":true,"d":"é"}]`, "")},
		{method: "POST", path: post, body: metricOf("a", "7", "azureml.v1.table", "t", `[{"q":1},{"q":2}]`, "")},
		{method: "POST", path: post, body: metricOf("a", "8", "azureml.v1.table", "r", `[{"z":"s"}]`, `{"numProperties":1,"properties":[{"propertyId":"z","name":"r","type":"string"}]}`)},
		// A second attempt of the same metric is the same metric.
		{method: "POST", path: post, body: scalar("a", "1", "acc", "0.9")},
		{method: "POST", path: "/experiments/exp/runs/b/batch/metrics", body: `{"values":[` + scalar("b", "10", "acc", "1") + `,` + scalar("b", "11", "acc", "2") + `]}`},
		{method: "POST", path: "/projects/exp/runs/b/runmetrics", body: `[` + scalar("b", "11", "acc", "2") + `,` + scalar("b", "12", "acc", "3") + `]`},
		{method: "POST", path: "/experiments/other/runs/c/metrics", body: scalar("c", "20", "acc", "9")},

		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq a", want: []string{"count=6",
			`value.0.name="acc"`, `value.0.description=""`, `value.0.createdUtc="2018-10-10T12:00:01.0000000Z"`, "value.0.cells.0.acc=0.9", `value.0.runId="a"`,
			`value.1.name="r"`, `value.1.cells=[{"x":1},{"y":2.0},{"x":2},{"y":3.5},{"z":"s"}]`, "value.1.numCells=5", "value.1.schema.numProperties=3", `value.1.schema.properties.2.type="string"`,
			`value.2.cells=[{"l":"NaN"},{"l":"-Infinity"},{"l":"Infinity"},{"l":123456789012345678901234567890},{"l":1.10}]`, "value.2.numCells=5",
			`value.2.schema.properties.0.type="float"`, `value.3.metricType="azureml.v1.image"`, `value.3.schema.properties.0.type="string"`,
			`value.4.cells.0.deep={"a":[1,{}]}`, `value.4.schema.numProperties=4`, `value.4.schema.properties.1.type="none"`,
			`value.5.name="t"`, "value.5.numCells=2", `value.5.schema.properties.0.type="int"`}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq b or RunId eq a&$orderby=RunId asc", want: []string{"count=9", `value.0.runId="a"`, `value.5.runId="a"`, `value.6.runId="b"`, "value.8.cells.0.acc=3"}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq a or RunId eq b&$orderby=RunId desc", want: []string{`value.0.runId="b"`, `value.3.runId="a"`}},
		{method: "GET", path: "/projects/exp/runmetrics?$filter=RunId eq b or RunId eq a", want: []string{`value.0.runId="b"`}},
		{method: "GET", path: "/experiments/exp/metrics", want: []string{"count=9", `value.0.runId="a"`}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq a and (Name eq 'acc' or MetricType eq azureml.v1.list)", want: []string{"count=2"}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq empty or RunId eq none or RunId eq c", want: []string{"value=[]", "continuationToken=null"}},
		{method: "POST", path: "/experiments/exp/metrics:query?MergeStrategyType=None", body: `{"filter":"RunId eq a","top":3}`, want: []string{"count=3", "value.1.numCells=2", "continuationToken~"}},
		{method: "POST", path: "/experiments/exp/metrics:query", body: `{"filter":"RunId eq a and Name eq 'r'"}`, want: []string{"count=1", "value.0.numCells=5"}},
		{method: "GET", path: "/experiments/exp/metrics/00000000-0000-0000-0000-000000000004", want: []string{"numCells=2", `runId="a"`}},
		{method: "GET", path: "/projects/exp/runmetrics/00000000-0000-0000-0000-000000000004", want: []string{"numCells=2"}},
	})
	_, b := s.call("", "GET", "/experiments/exp/metrics?$filter=RunId eq a", "")
	for _, raw := range []string{`[{"l":NaN},{"l":-Infinity},{"l":Infinity},`, `"aml://artifactId/p/<x>.png"`, `"d":"é"`} {
		if !strings.Contains(string(b), raw) {
			t.Errorf("%s is not in the reply as it was sent", raw)
		}
	}
}

// Ensure that a bad metric is refused, with the field's name, and a batch with it whole.
func TestMetricErrors(t *testing.T) {
	s := serve(t, options{})
	s.must("", "PATCH", "/experiments/exp/runs/a", `{}`)
	s.must("", "PATCH", "/experiments/other/runs/c", `{}`)
	post := "/experiments/exp/runs/a/metrics"
	s.must("", "POST", post, scalar("a", "1", "acc", "1"))
	bad := http.StatusBadRequest
	big := make([]string, 251)
	for i := range big {
		big[i] = scalar("a", fmt.Sprint(1000+i), "n", "1")
	}
	s.play(t, []step{
		{method: "POST", path: "/experiments/exp/runs/none/metrics", body: scalar("none", "2", "m", "1"), status: 404},
		{method: "POST", path: "/experiments/exp/runs/c/metrics", body: scalar("c", "2", "m", "1"), status: 404},
		{method: "POST", path: post, body: scalar("a", "1", "acc", "2"), status: http.StatusConflict},
		{method: "POST", path: post, body: scalar("b", "2", "m", "1"), status: bad, want: []string{`error.target="runId"`}},
		{method: "POST", path: post, body: scalar("a", "2", "m", "nan"), status: bad, want: []string{"error.message~nan"}},
		{method: "POST", path: post, body: scalar("a", "2", "m", "01"), status: bad},
		{method: "POST", path: post, body: scalar("a", "2", strings.Repeat("n", 256), "1"), status: bad, want: []string{`error.target="name"`}},
		{method: "POST", path: post, body: `{"metricType":"t","name":"n","metricId":"seven"}`, status: bad, want: []string{`error.target="metricId"`}},
		{method: "POST", path: post, body: `{"metricType":"t"}`, status: bad, want: []string{`error.target="name"`}},
		{method: "POST", path: post, body: `{"name":"n"}`, status: bad, want: []string{`error.target="metricType"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","cells":{}}`, status: bad, want: []string{`error.target="cells"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","cells":[1]}`, status: bad, want: []string{`error.target="cells[0]"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","cells":[{"` + strings.Repeat("c", 256) + `":1}]}`, status: bad, want: []string{`error.target="cells"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","schema":{"properties":7}}`, status: bad, want: []string{`error.target="schema"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","createdUtc":"now"}`, status: bad, want: []string{`error.target="createdUtc"`}},
		{method: "POST", path: post, body: `{"name":"n","metricType":"t","cells":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, status: bad, want: []string{"error.message~levels"}},
		{method: "POST", path: post, body: `{"values":[` + scalar("a", "3", "m", "1") + `,{"name":7}]}`, status: bad},
		{method: "POST", path: post, body: `[` + scalar("a", "3", "m", "1") + `,` + scalar("a", "3", "m", "1") + `]`, status: bad, want: []string{`error.target="metricId"`}},
		{method: "POST", path: post, body: `{"values":[` + strings.Join(big, ",") + `]}`, status: bad, want: []string{`error.target="values"`}},
		{method: "POST", path: post, body: `7`, status: bad},
		{method: "GET", path: "/experiments/exp/metrics/00000000-0000-0000-0000-000000000009", status: 404},
		{method: "GET", path: "/experiments/other/metrics/00000000-0000-0000-0000-000000000001", status: 404},
		{method: "GET", path: "/experiments/exp/metrics?$continuationtoken=nonsense", status: bad},
		{method: "GET", path: "/experiments/exp/metrics?$filter=RunId eq a&$continuationtoken=bXovMQ", status: bad},
		{method: "POST", path: "/experiments/exp/metrics:query?MergeStrategyType=MergeToVector", body: `{}`, status: bad, want: []string{`error.target="MergeStrategyType"`}},
		{method: "GET", path: "/experiments/exp/metrics", want: []string{"count=1"}},
	})
}

// Ensure that pages of metrics neither lose nor repeat one, and cut no table.
func TestMetricPages(t *testing.T) {
	s := serve(t, options{})
	id := 0
	for _, run := range []string{"a", "b", "c"} {
		s.must("", "PATCH", "/experiments/exp/runs/"+run, `{}`)
		for i := range 7 {
			id++
			s.must("", "POST", "/experiments/exp/runs/"+run+"/metrics", scalar(run, fmt.Sprint(id), "m", fmt.Sprint(i)))
			id++
			s.must("", "POST", "/experiments/exp/runs/"+run+"/metrics", metricOf(run, fmt.Sprint(id), "azureml.v1.table", "t", fmt.Sprintf(`[{"x":%d}]`, i), ""))
		}
	}
	for top := 1; top < 10; top++ {
		var got []string
		next := ""
		for {
			path := fmt.Sprintf("/experiments/exp/metrics?$filter=RunId eq c or RunId eq a or RunId eq b&$orderby=RunId asc&$top=%d", top)
			if next != "" {
				path += "&$continuationtoken=" + next
			}
			v := s.must("", "GET", path, "")
			for i := 0; at(v, fmt.Sprintf("value.%d", i)) != "absent"; i++ {
				if i >= top {
					t.Fatalf("more than %d on a page", top)
				}
				p := fmt.Sprintf("value.%d.", i)
				got = append(got, strings.Trim(at(v, p+"runId"), `"`)+at(v, p+"cells"))
			}
			if next = strings.Trim(at(v, "continuationToken"), `"`); next == "null" {
				break
			}
		}
		var want []string
		for _, run := range []string{"a", "b", "c"} {
			want = append(want, run+`[{"m":0}]`, run+`[{"x":0},{"x":1},{"x":2},{"x":3},{"x":4},{"x":5},{"x":6}]`)
			for i := 1; i < 7; i++ {
				want = append(want, fmt.Sprintf(`%s[{"m":%d}]`, run, i))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("pages of %d:\n%s", top, strings.Join(got, "\n"))
		}
	}
}
