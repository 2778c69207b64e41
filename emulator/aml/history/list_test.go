package history_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tree makes four runs a minute apart: r1 with children k1 (and its child g1) and k2; then s2, and a hidden one.
func tree(t *testing.T, s *server) {
	t.Helper()
	for _, b := range []string{
		`{"runId":"r1","runType":"azureml.scriptrun","tags":{"k":"v","it":"it's","my key":"x"},"properties":{"azureml.runsource":"experiment"}}`,
		`{"runId":"k1","parentRunId":"r1","tags":{"k":null}}`,
		`{"runId":"g1","parentRunId":"k1","properties":{"azureml.runsource":"azureml.scriptrun"}}`,
		`{"runId":"k2","parentRunId":"r1","name":"second kid"}`,
		`{"runId":"s2","tags":{"k":"w"}}`,
		`{"runId":"h","hidden":true,"parentRunId":"r1"}`,
	} {
		id := strings.Trim(at(decode([]byte(b)), "runId"), `"`)
		s.must("", "PATCH", "/experiments/exp/runs/"+id, b)
		s.clock.Advance(time.Minute)
	}
	// k1 starts last, and so is the newest.
	s.must("", "POST", "/experiments/exp/runs/k1/events",
		`{"name":"Microsoft.MachineLearning.Run.Start","data":{"RunId":"k1","StartTime":"2018-10-10T13:00:00Z"}}`)
}

func ids(v any) string {
	var out []string
	for i := 0; ; i++ {
		id := at(v, fmt.Sprintf("value.%d.runId", i))
		if id == "absent" {
			return strings.Join(out, " ")
		}
		out = append(out, strings.Trim(id, `"`))
	}
}

// Ensure that lists are in the order, of the extent and of the runs asked for.
func TestLists(t *testing.T) {
	s := serve(t, options{})
	tree(t, s)
	for _, row := range []struct{ path, want string }{
		{"/runs", "k1 s2 k2 g1 r1"},
		{"/runs?$orderby=StartTimeUtc desc&$top=0", "k1 s2 k2 g1 r1"},
		{"/runs?$orderby=RunNumber asc", "r1 k1 g1 k2 s2"},
		{"/runs?$orderby=RunId desc", "s2 r1 k2 k1 g1"},
		{"/runs?$orderby=Status,RunId", "g1 k2 r1 s2 k1"},
		{"/runs?$top=2", "k1 s2"},
		{"/runs/r1/children?$orderby=StartTimeUtc desc", "k1 k2"},
		{"/runs/r1/children?$filter=Tags.k eq null", "k1"},
		{"/runs/k2/children", ""},
		{"/runs?$filter=RootRunId eq r1&$orderby=StartTimeUtc desc", "k1 k2 g1 r1"},
		{"/runs?$filter=RootRunId eq R1 and RunNumber gt 2", "k2 g1"},
		{"/runs?$filter=ParentRunId eq k1", "g1"},
		{"/runs?$filter=ParentRunId eq null", "s2 r1"},
		{"/runs?$filter=RunId eq s2 or RunId eq r1 or RunId eq h or RunId eq none&$orderby=RunId desc", "s2 r1"},
		{"/runs?$filter=(Tags.k eq 'v')", "r1"},
		{"/runs?$filter=(Tags.k ne 'v')", "k1 s2"},
		{"/runs?$filter=(Tags.k ne null or Tags.k eq null)", "k1 s2 r1"},
		{"/runs?$filter=(Tags.it eq 'it's') and (Tags.my key eq 'x')", "r1"},
		{"/runs?$filter=Tags.it eq 'it''s'", "r1"},
		{"/runs?$filter=(Properties.azureml.runsource eq 'experiment')", "r1"},
		{"/runs?$filter=(RunType eq azureml.scriptrun or Properties.azureml.runsource eq azureml.scriptrun)", "g1 r1"},
		{"/runs?$filter=(CreatedUtc ge 2018-10-10 12:03:00)", "s2 k2"},
		{"/runs?$filter=CreatedUtc lt 2018-10-10T12:02:00Z", "k1 r1"},
		{"/runs?$filter=CreatedUtc le datetime'2018-10-10T12:00:00'", "r1"},
		{"/runs?$filter=CreatedUtc ge 2018-10-10 12:01:00%2B00:00 and not (Status eq Running)", "s2 k2 g1"},
		{"/runs?$filter=StartTimeUtc ne null", "k1"},
		{"/runs?$filter=name eq 'second kid'", "k2"},
		{"/runs?$filter=Hidden eq true", ""},
		{"/runs?$filter=Status eq 'Running' or Status eq 'NotStarted' and RunNumber le 1", "k1 r1"},
	} {
		path := strings.ReplaceAll(row.path, "%2B", "+")
		v := s.must("", "GET", "/experiments/exp"+path, "")
		if got := ids(v); got != row.want {
			t.Errorf("%s: %q, want %q", row.path, got, row.want)
		}
	}
	s.play(t, []step{
		{method: "GET", path: "/experiments/exp/runcounts", want: []string{"running=1", "notStarted=4", "completed=0"}},
		{method: "GET", path: "/projects/exp/runs:runcounts?$filter=RootRunId eq r1", want: []string{"running=1", "notStarted=3"}},
		{method: "GET", path: "/experiments/none/runs", want: []string{"value=[]"}},
		{method: "PATCH", path: "/experiments/exp/runs/h", body: `{"hidden":false}`},
		{method: "GET", path: "/experiments/exp/runs/r1/children", want: []string{"count=3"}},
		{method: "PATCH", path: "/experiments/exp/runs/h", body: `{"hidden":true}`},
		{method: "GET", path: "/experiments/exp/runs/r1/children", want: []string{"count=2"}},
	})
}

// Ensure that pages follow each other without a gap, in the kept order and in any other.
func TestPages(t *testing.T) {
	s := serve(t, options{})
	for i := range 25 {
		s.must("", "PATCH", fmt.Sprintf("/experiments/exp/runs/r%02d", i), `{"tags":{"odd":"`+fmt.Sprint(i%2)+`"}}`)
		s.must("", "PATCH", fmt.Sprintf("/experiments/e%02d/runs/x%02d", i, i), `{}`)
	}
	for _, row := range []struct {
		path        string
		pages, rows int
	}{
		{"/experiments/exp/runs?$top=10", 3, 25},
		{"/experiments/exp/runs?$top=5", 5, 25},
		{"/experiments/exp/runs?$top=5&$filter=Tags.odd eq '1'", 3, 12},
		{"/experiments/exp/runs?$top=10&$orderby=RunNumber", 3, 25},
		{"/experiments?$top=10", 3, 26},
	} {
		seen := map[string]bool{}
		next, pages := "", 0
		for {
			path := row.path
			if next != "" {
				path += "&$continuationtoken=" + next
			}
			v := s.must("", "GET", path, "")
			pages++
			for i := 0; at(v, fmt.Sprintf("value.%d", i)) != "absent"; i++ {
				id := at(v, fmt.Sprintf("value.%d.runId", i)) + at(v, fmt.Sprintf("value.%d.name", i))
				if seen[id] {
					t.Errorf("%s: %s is there twice", row.path, id)
				}
				seen[id] = true
			}
			if next = strings.Trim(at(v, "continuationToken"), `"`); next == "null" {
				break
			}
		}
		if pages != row.pages || len(seen) != row.rows {
			t.Errorf("%s: %d pages with %d rows, want %d with %d", row.path, pages, len(seen), row.pages, row.rows)
		}
	}
}

// Ensure that a query that cannot be understood is refused with the bad token's name.
func TestQueryErrors(t *testing.T) {
	s := serve(t, options{})
	tree(t, s)
	for _, row := range []struct{ query, target, part string }{
		{"$filter=Colour eq red", "$filter", "Colour"},
		{"$filter=RunId is r1", "$filter", "'is'"},
		{"$filter=RunId eq", "$filter", "the end"},
		{"$filter=RunId eq r1 or", "$filter", "the end"},
		{"$filter=RunId eq r1 xor RunId eq k1", "$filter", "'xor'"},
		{"$filter=(RunId eq r1", "$filter", "the end"},
		{"$filter=RunId eq r1)", "$filter", "')'"},
		{"$filter=Tags.k eq 'v", "$filter", "'v"},
		{"$filter=Tags.k", "$filter", "Tags.k"},
		{"$filter=RunNumber gt one", "$filter", "'one'"},
		{"$filter=CreatedUtc ge yesterday", "$filter", "'yesterday'"},
		{"$filter=Hidden eq maybe", "$filter", "'maybe'"},
		{"$filter=startswith(Name, 'x')", "$filter", "startswith"},
		{"$filter=" + strings.Repeat("(", 200), "$filter", "deep"},
		{"$orderby=Colour", "$orderby", "Colour"},
		{"$orderby=RunId sideways", "$orderby", "sideways"},
		{"$top=many", "$top", "many"},
		{"$top=-1", "$top", "-1"},
		{"$continuationtoken=nonsense", "$continuationtoken", "token"},
	} {
		for _, list := range []string{"/experiments/exp/runs?", "/experiments/exp/runs/r1/children?"} {
			status, b := s.call("", "GET", list+row.query, "")
			v := decode(b)
			if status != http.StatusBadRequest || at(v, "error.target") != `"`+row.target+`"` || !strings.Contains(at(v, "error.message"), row.part) {
				t.Errorf("%s: %d %s", row.query, status, b)
			}
		}
	}
	s.play(t, []step{
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"top":"x"}`, status: 400, want: []string{`error.target="top"`}},
		{method: "POST", path: "/experiments/exp/runs:query", body: `{"top":-1}`, status: 400},
		{method: "POST", path: "/experiments:query", body: `[`, status: 400},
		{method: "GET", path: "/experiments?$filter=Status eq x", status: 400, want: []string{"error.message~Status"}},
		{method: "GET", path: "/experiments/exp/metrics?$filter=Status eq x", status: 400, want: []string{"error.message~Status"}},
		{method: "GET", path: "/experiments/exp/metrics?$orderby=Name", status: 400, want: []string{`error.target="$orderby"`}},
	})
}
