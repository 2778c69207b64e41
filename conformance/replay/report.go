package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"lazulite.dev/conformance"
)

// Outcome of one recorded request.
type Outcome string

// The outcomes. Only agreeing and differing requests are counted.
const (
	Agrees  Outcome = "agrees"
	Differs Outcome = "differs"
	Poll    Outcome = "poll"    // followed
	Skipped Outcome = "skipped" // Reason says why
)

// Request is one recorded request with what came of it.
type Request struct {
	N           int          `json:"n"`
	Method      string       `json:"method"`
	URL         string       `json:"url"`
	Outcome     Outcome      `json:"outcome"`
	Reason      string       `json:"reason,omitempty"`
	Polls       int          `json:"polls,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
	Notes       []Difference `json:"notes,omitempty"`
}

// pardonEmptyLists makes notes of lists that are empty: a filter by the times of the recording may rightly find nothing.
func (q *Request) pardonEmptyLists() {
	var kept []Difference
	for _, d := range q.Differences {
		if d.Kind == "body" && strings.HasSuffix(d.At, "[]") && d.Answered == "none" {
			q.Notes = append(q.Notes, d)
		} else {
			kept = append(kept, d)
		}
	}
	q.Differences = kept
}

// File is one recording. Error says why nothing of it was played.
type File struct {
	Name     string    `json:"name"`
	Error    string    `json:"error,omitempty"`
	Requests []Request `json:"requests"`
	// Left names what the replay made and could not delete.
	Left []string `json:"left,omitempty"`
}

// Report of a replay.
type Report struct {
	Endpoint string `json:"endpoint"`
	Files    []File `json:"files"`
	Agree    int    `json:"agree"`
	Counted  int    `json:"counted"`
	Polls    int    `json:"polls"`
	Skipped  int    `json:"skipped"`
}

func (r *Report) sum() {
	for _, f := range r.Files {
		for _, q := range f.Requests {
			switch q.Outcome {
			case Agrees:
				r.Agree++
				r.Counted++
			case Differs:
				r.Counted++
			case Poll:
				r.Polls++
			case Skipped:
				r.Skipped++
			}
		}
	}
}

// OK says whether everything that was played agrees, and something was.
func (r Report) OK() bool {
	for _, f := range r.Files {
		if f.Error != "" {
			return false
		}
	}
	return r.Counted > 0 && r.Agree == r.Counted
}

// Tree is the report as the suite's own result tree, a requirement for each
// recorded request that was played, for its renderings. Polls are left out.
func (r Report) Tree() conformance.Report {
	tree := conformance.Report{Endpoint: r.Endpoint}
	for _, f := range r.Files {
		name := strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name))
		add := func(n int, text string, status conformance.Status, detail string) {
			tree.Results = append(tree.Results, conformance.Result{Status: status, Detail: detail, Requirement: conformance.Requirement{
				ID: fmt.Sprintf("replay.%s.%d", name, n), Level: conformance.Must, Text: text, Source: "recording " + filepath.Base(f.Name), Labels: []string{"replay"}}})
		}
		if f.Error != "" {
			add(0, "the recording is played", conformance.Errored, f.Error)
		}
		for _, q := range f.Requests {
			text := q.Method + " " + shorten(q.URL)
			switch q.Outcome {
			case Agrees:
				add(q.N, text, conformance.Pass, "")
			case Skipped:
				add(q.N, text, conformance.Skip, q.Reason)
			case Differs:
				lines := make([]string, len(q.Differences))
				for i, d := range q.Differences {
					lines[i] = d.String()
				}
				add(q.N, text, conformance.Fail, strings.Join(lines, "\n"))
			}
		}
		tree.Left = append(tree.Left, f.Left...)
	}
	return tree
}

// Share is the last line of the text report.
func (r Report) Share() string {
	share := 0.0
	if r.Counted > 0 {
		share = 100 * float64(r.Agree) / float64(r.Counted)
	}
	return fmt.Sprintf("%d of %d requests agree (%.1f%%)", r.Agree, r.Counted, share)
}

// WriteJSON writes the report as indented JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// shorten leaves out of a URL what is the same in all of them.
func shorten(u string) string {
	return strings.Replace(u, "/subscriptions/"+zeroGUID, "", 1)
}

// WriteText writes one line for each difference, one for what was skipped in a row for one reason, and the share last.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Files {
		name := filepath.Base(f.Name)
		if f.Error != "" {
			fmt.Fprintf(&b, "%s: not played: %s\n", name, f.Error)
		}
		for i := 0; i < len(f.Requests); i++ {
			q := f.Requests[i]
			at := fmt.Sprintf("%s #%d %s %s", name, q.N, q.Method, shorten(q.URL))
			for _, d := range q.Differences {
				fmt.Fprintf(&b, "%s: %s\n", at, d)
			}
			if q.Outcome != Skipped {
				continue
			}
			first := i
			for i+1 < len(f.Requests) && f.Requests[i+1].Reason == q.Reason {
				i++
			}
			if i > first {
				at = fmt.Sprintf("%s #%d to #%d %s %s", name, q.N, f.Requests[i].N, q.Method, shorten(q.URL))
			}
			fmt.Fprintf(&b, "%s: skipped: %s\n", at, q.Reason)
		}
		for _, l := range f.Left {
			fmt.Fprintf(&b, "%s: left behind: %s\n", name, l)
		}
	}
	fmt.Fprintf(&b, "%d polls followed, %d requests skipped\n%s\n", r.Polls, r.Skipped, r.Share())
	_, err := io.WriteString(w, b.String())
	return err
}
