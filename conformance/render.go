package conformance

import (
	"embed"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

// Formats are the names that Write takes.
func Formats() []string { return []string{"text", "json", "junit", "html"} }

// Write renders the report in one of Formats.
func (r Report) Write(w io.Writer, format string) error {
	switch format {
	case "text", "":
		return r.WriteText(w)
	case "json":
		return r.WriteJSON(w)
	case "junit":
		return r.WriteJUnit(w)
	case "html":
		return r.WriteHTML(w)
	}
	return fmt.Errorf("there is no format %q: it is one of %s", format, strings.Join(Formats(), ", "))
}

// The elements of JUnit's XML, as Jenkins and GitLab read them.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string          `xml:"name,attr"`
		Tests     int             `xml:"tests,attr"`
		Failures  int             `xml:"failures,attr"`
		Errors    int             `xml:"errors,attr"`
		Skipped   int             `xml:"skipped,attr"`
		Time      string          `xml:"time,attr"`
		Timestamp string          `xml:"timestamp,attr"`
		Property  []junitProperty `xml:"properties>property"`
		Cases     []junitCase     `xml:"testcase"`
		Left      string          `xml:"system-err,omitempty"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitOutcome `xml:"failure,omitempty"`
		Error   *junitOutcome `xml:"error,omitempty"`
		Skipped *junitOutcome `xml:"skipped,omitempty"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitOutcome struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML, for the pages of CI systems. JUnit
// has four results for our six: what is disabled or unsupported is skipped with
// that word first, and a should or may that failed is skipped too, for it breaks no one's build.
func (r Report) WriteJUnit(w io.Writer) error {
	s := junitSuite{Name: "conformance of " + r.Endpoint, Time: seconds(r.Seconds), Timestamp: r.Started.Format(time.RFC3339), Left: strings.Join(r.Left, "\n")}
	for _, status := range statuses() {
		s.Property = append(s.Property, junitProperty{string(status), fmt.Sprint(r.Count(status))})
	}
	for _, x := range r.Results {
		s.Tests++
		class, _, _ := strings.Cut(x.ID, ".")
		c := junitCase{Class: class, Name: x.ID + ": " + x.Text, Time: seconds(x.Seconds)}
		first, _, _ := strings.Cut(x.Detail, "\n")
		out := &junitOutcome{Message: printable(first), Type: string(x.Level), Text: printable(x.Detail)}
		switch {
		case x.Status == Pass:
		case x.Status == Errored:
			s.Errors++
			c.Error = out
		case x.Status == Fail && x.Level == Must:
			s.Failures++
			c.Failure = out
		default:
			s.Skipped++
			c.Skipped = &junitOutcome{Message: printable(fmt.Sprintf("%s (%s): %s", x.Status, x.Level, first))}
			c.Out = printable(x.Detail)
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{s}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// printable replaces what XML 1.0 cannot hold: answers of a judged service may have anything in them.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c != 0xFFFE && c != 0xFFFF {
			return c
		}
		return '\uFFFD'
	}, s)
}

//go:embed report.html
var pages embed.FS

// WriteHTML writes the report as one page that needs nothing else.
func (r Report) WriteHTML(w io.Writer) error {
	page, err := template.New("report.html").Funcs(template.FuncMap{
		"count":    func(s Status) int { return r.Count(s) },
		"statuses": statuses,
		"part":     func(id string) string { part, _, _ := strings.Cut(id, "."); return part },
		"ok":       func() bool { return r.OK() },
		"fidelity": func() []Claim { return Fidelity(r) },
		"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	}).ParseFS(pages, "report.html")
	if err != nil {
		return err
	}
	return page.Execute(w, r)
}
