package conformance_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
)

func everyResult() conformance.Report {
	rep := conformance.Report{Endpoint: "https://<x>&y", Started: time.Date(2018, 10, 1, 0, 0, 0, 0, time.UTC), Seconds: 1.5, Left: []string{"/a/b: it stays"}}
	for _, r := range []struct {
		id, level string
		status    conformance.Status
	}{{"a.pass", "must", conformance.Pass}, {"a.fail", "must", conformance.Fail}, {"a.fail-should", "should", conformance.Fail}, {"b.skip", "must", conformance.Skip},
		{"b.disabled", "must", conformance.Disabled}, {"b.unsupported", "must", conformance.Unsupported}, {"b.error", "must", conformance.Errored}} {
		detail := "<script>alert(1)</script>\x00 of " + r.id
		if r.status == conformance.Pass {
			detail = ""
		}
		rep.Results = append(rep.Results, conformance.Result{Status: r.status, Detail: detail, Seconds: 0.25,
			Requirement: conformance.Requirement{ID: r.id, Level: conformance.Level(r.level), Text: "does <it>", Source: "a source", Labels: []string{"core"}}})
	}
	rep.Results[0].Observed = []conformance.Observed{{Operation: "PUT Contoso.Widgets/<w>", Version: "2018-01-01", Status: 201}, {Operation: "PUT Contoso.Widgets/<w>", Version: "2018-01-01", Status: 200}}
	rep.Results[1].Observed = []conformance.Observed{{Operation: "DELETE Contoso.Widgets/<w>", Version: "2018-01-01", Status: 204}}
	return rep
}

func render(t *testing.T, rep conformance.Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := rep.Write(&b, format); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.String()
}

func TestJUnit(t *testing.T) {
	var doc struct {
		Suites []struct {
			Name                             string `xml:"name,attr"`
			Tests, Failures, Errors, Skipped int    `xml:",attr"`
			T                                int    `xml:"tests,attr"`
			F                                int    `xml:"failures,attr"`
			E                                int    `xml:"errors,attr"`
			S                                int    `xml:"skipped,attr"`
			Case                             []struct {
				Class string `xml:"classname,attr"`
				Name  string `xml:"name,attr"`
				Fail  *struct {
					Text string `xml:",chardata"`
				} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
			Err string `xml:"system-err"`
		} `xml:"testsuite"`
	}
	text := render(t, everyResult(), "junit")
	if err := xml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	s := doc.Suites[0]
	if s.Name != "conformance of https://<x>&y" || s.T != 7 || s.F != 1 || s.E != 1 || s.S != 4 || s.Err != "/a/b: it stays" {
		t.Errorf("the suite is %+v", s)
	}
	for i, want := range []string{"pass", "failure", "should", "skip", "disabled", "unsupported", "error"} {
		c, got := s.Case[i], "pass"
		switch {
		case c.Fail != nil:
			got = "failure"
			if !strings.Contains(c.Fail.Text, "<script>") {
				t.Errorf("the failure's text is %q", c.Fail.Text)
			}
		case c.Error != nil:
			got = "error"
		case c.Skipped != nil:
			got, _, _ = strings.Cut(c.Skipped.Message, " ")
			if got == "fail" {
				got = "should"
			}
		}
		if got != want {
			t.Errorf("%s is %s, want %s", c.Name, got, want)
		}
	}
}

// element is what Jenkins' schema of JUnit files (junit-10.xsd of its xUnit plugin)
// says of an element: the attributes it may have (! those it must), and its children.
type element struct{ attributes, children string }

// TestJUnitSchema holds the rendering against that schema.
func TestJUnitSchema(t *testing.T) {
	outcome := element{attributes: "type message"}
	schema := map[string]element{
		"testsuites": {"name time tests failures errors", "testsuite"},
		"testsuite": {"name! tests! failures! errors! group time skipped timestamp hostname id package file log url",
			"testsuite properties testcase system-out system-err"},
		"properties": {"", "property"}, "property": {"name! value!", ""},
		"testcase": {"name! time classname group", "skipped error failure system-out system-err"},
		"skipped":  outcome, "error": outcome, "failure": outcome, "system-out": {}, "system-err": {},
	}
	seconds := regexp.MustCompile(`^[0-9]*\.[0-9]*$`)
	dec := xml.NewDecoder(strings.NewReader(render(t, everyResult(), "junit")))
	var open []string
	seen := map[string]int{}
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			name := e.Name.Local
			seen[name]++
			rule, ok := schema[name]
			if !ok {
				t.Fatalf("there is no element %s", name)
			}
			if len(open) == 0 && name != "testsuites" || len(open) > 0 && !slices.Contains(strings.Fields(schema[open[len(open)-1]].children), name) {
				t.Errorf("%s in %q", name, open)
			}
			for _, a := range strings.Fields(rule.attributes) {
				if must, ok := strings.CutSuffix(a, "!"); ok && !slices.ContainsFunc(e.Attr, func(has xml.Attr) bool { return has.Name.Local == must }) {
					t.Errorf("%s lacks %s", name, must)
				}
			}
			for _, a := range e.Attr {
				if !slices.Contains(strings.Fields(strings.ReplaceAll(rule.attributes, "!", "")), a.Name.Local) {
					t.Errorf("%s has the attribute %s", name, a.Name.Local)
				}
				if a.Name.Local == "time" && !seconds.MatchString(a.Value) {
					t.Errorf("%s takes %q", name, a.Value)
				}
			}
			open = append(open, name)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			text := len(open) > 0 && slices.Contains([]string{"skipped", "error", "failure", "system-out", "system-err"}, open[len(open)-1])
			if !text && strings.TrimSpace(string(e)) != "" {
				t.Errorf("text in %q: %q", open, e)
			}
		}
	}
	if seen["testcase"] != 7 || seen["skipped"] != 4 || seen["property"] != 6 {
		t.Errorf("elements: %v", seen)
	}
}

func TestHTML(t *testing.T) {
	page := render(t, everyResult(), "html")
	if strings.Contains(page, "<script>") || strings.Contains(page, "src=") || strings.Contains(page, "href=") {
		t.Error("the page has what the judged service wrote, or needs more than itself")
	}
	if strings.Contains(page, "DELETE Contoso.Widgets") {
		t.Error("what did not pass is a witness")
	}
	for _, want := range []string{"does not conform", "1 unsupported", "1 disabled", "does &lt;it&gt;", "a source", "it stays", "&lt;script&gt;",
		"<td><code>PUT Contoso.Widgets/&lt;w&gt;</code></td><td>2018-01-01</td><td>200, 201</td><td><code>a.pass</code></td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, f := range conformance.Formats() {
		if render(t, everyResult(), f) == "" {
			t.Errorf("%s is empty", f)
		}
	}
	if err := everyResult().Write(&bytes.Buffer{}, "pdf"); err == nil || !strings.Contains(err.Error(), "pdf") {
		t.Errorf("pdf: %v", err)
	}
}
