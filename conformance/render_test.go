package conformance_test

import (
	"bytes"
	"encoding/xml"
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

func TestHTML(t *testing.T) {
	page := render(t, everyResult(), "html")
	if strings.Contains(page, "<script>") || strings.Contains(page, "src=") || strings.Contains(page, "href=") {
		t.Error("the page has what the judged service wrote, or needs more than itself")
	}
	for _, want := range []string{"does not conform", "1 unsupported", "1 disabled", "does &lt;it&gt;", "a source", "it stays", "&lt;script&gt;"} {
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
