package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"lazulite.dev/emulator/aml/plane"
)

// Limits that Azure documents for runs ("Service limits in Azure Machine
// Learning"); beyond them a request is refused whole.
const (
	maxRunID       = 255
	maxExperiment  = 255
	maxName        = 256
	maxDescription = 5000
	maxPairs       = 50 // tags, and properties, of a run
	maxPairKey     = 100
	maxPairValue   = 1000
	maxURI         = 1000
)

// change is the body of a PATCH or PUT: CreateRun of the spec. What is nil is kept.
type change struct {
	RunID, ParentRunID, Status                 *string
	Start, End                                 *time.Time
	Heartbeat, Hidden                          *bool
	Name, Description, RunType, Target         *string
	ScriptName                                 *string
	DataContainerID, CancelURI, DiagnosticsURI *string
	DisplayName, PrimaryMetric                 *string
	Definition, CreatedFrom, RunTypeV2         []byte
	Properties, Tags                           map[string]*string
}

func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func pointers(m map[string]string) map[string]*string {
	out := make(map[string]*string, len(m))
	for k, v := range m {
		out[k] = &v
	}
	return out
}

// reader takes fields out of a body and keeps the first error.
type reader struct {
	members []member
	err     error
}

func (d *reader) decode(name, want string, v any) bool {
	raw := field(d.members, name)
	if raw == nil || d.err != nil {
		return false
	}
	if err := json.Unmarshal(raw, v); err != nil {
		if k := kind(raw); k != want {
			d.err = wrongKind(name, k, want)
		} else {
			d.err = plane.BadRequest(name, "The value of '%s' does not fit.", name)
		}
		return false
	}
	return true
}

func (d *reader) text(name string, max int) *string {
	var s string
	if !d.decode(name, "string", &s) {
		return nil
	}
	if n := len([]rune(s)); n > max {
		d.err = plane.BadRequest(name, "The value of '%s' has %d characters, more than %d.", name, n, max)
	}
	return &s
}

func (d *reader) flag(name string) *bool {
	var v bool
	if !d.decode(name, "bool", &v) {
		return nil
	}
	return &v
}

func (d *reader) date(name string) *time.Time {
	var s string
	if !d.decode(name, "string", &s) {
		return nil
	}
	t, ok := parseDate(s)
	if !ok {
		d.err = plane.BadRequest(name, "The value of '%s' is not a date in ISO 8601: '%s'.", name, s)
		return nil
	}
	return &t
}

func (d *reader) object(name string) []byte {
	raw := field(d.members, name)
	if raw == nil || d.err != nil {
		return nil
	}
	if k := kind(raw); k != "object" {
		d.err = wrongKind(name, k, "object")
		return nil
	}
	return raw
}

// pairs reads tags or properties. Numbers and booleans are taken as the text that they are.
func (d *reader) pairs(name string) map[string]*string {
	raw := d.object(name)
	if raw == nil {
		return nil
	}
	ms, err := object(raw)
	if err != nil {
		d.err = plane.BadRequest(name, "The value of '%s' is not valid JSON: %s.", name, err)
		return nil
	}
	out := make(map[string]*string, len(ms))
	for _, m := range ms {
		target := name + "." + m.name
		switch kind(m.raw) {
		case "null":
			out[m.name] = nil
			continue
		case "object", "array":
			d.err = wrongKind(target, kind(m.raw), "string")
			return nil
		case "string":
			s, err := unquote(m.raw)
			if err != nil {
				d.err = plane.BadRequest(target, "The value of '%s' does not fit.", target)
				return nil
			}
			out[m.name] = &s
		default:
			s := string(m.raw)
			out[m.name] = &s
		}
		if n := len([]rune(m.name)); n == 0 || n > maxPairKey {
			d.err = plane.BadRequest(name, "A key of '%s' has %d characters; 1 to %d are allowed.", name, n, maxPairKey)
		}
		if n := len([]rune(*out[m.name])); n > maxPairValue {
			d.err = plane.BadRequest(target, "The value of '%s' has %d characters, more than %d.", target, n, maxPairValue)
		}
	}
	return out
}

// unquote decodes a JSON string; most have nothing to decode.
func unquote(raw []byte) (string, error) {
	if n := len(raw); n > 1 && raw[0] == '"' && raw[n-1] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : n-1]), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// readChange parses a body of CreateRun, or of ModifyRun, which is a part of it.
func readChange(body []byte) (change, error) {
	ms, err := object(body)
	if err != nil {
		return change{}, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	c := change{
		RunID: d.text("runId", maxRunID), ParentRunID: d.text("parentRunId", maxRunID), Status: d.text("status", maxName),
		Start: d.date("startTimeUtc"), End: d.date("endTimeUtc"),
		Heartbeat: d.flag("heartbeatEnabled"), Hidden: d.flag("hidden"),
		Name: d.text("name", maxName), Description: d.text("description", maxDescription),
		RunType: d.text("runType", maxName), ScriptName: d.text("scriptName", maxURI), Target: d.text("target", maxName),
		DataContainerID: d.text("dataContainerId", 261), CancelURI: d.text("cancelUri", maxURI),
		DiagnosticsURI: d.text("diagnosticsUri", maxURI),
		DisplayName:    d.text("displayName", maxName), PrimaryMetric: d.text("primaryMetricName", maxMetricName),
		Definition: d.object("runDefinition"), CreatedFrom: d.object("createdFrom"), RunTypeV2: d.object("runTypeV2"),
		Properties: d.pairs("properties"), Tags: d.pairs("tags"),
	}
	for name, raw := range map[string][]byte{"createdFrom": c.CreatedFrom, "runTypeV2": c.RunTypeV2} {
		if raw != nil && d.err == nil && !json.Valid(raw) {
			d.err = plane.BadRequest(name, "The value of '%s' is not valid JSON.", name)
		}
	}
	if d.err == nil && c.Status != nil {
		if _, ok := canonical(*c.Status); !ok {
			d.err = unknownStatus(*c.Status)
		}
	}
	return c, d.err
}

// apply merges the change into a run. The status only moves forward: one that
// lies behind is left out without a word, since the SDK sends NotStarted again
// and again.
func (c *change) apply(r *record, now time.Time) error {
	set := func(dst, src *string) {
		if src != nil {
			*dst = *src
		}
	}
	set(&r.Name, c.Name)
	set(&r.Description, c.Description)
	set(&r.RunType, c.RunType)
	set(&r.ScriptName, c.ScriptName)
	set(&r.Target, c.Target)
	set(&r.DataContainerID, c.DataContainerID)
	set(&r.CancelURI, c.CancelURI)
	set(&r.DiagnosticsURI, c.DiagnosticsURI)
	set(&r.DisplayName, c.DisplayName)
	set(&r.PrimaryMetric, c.PrimaryMetric)
	if c.RunTypeV2 != nil {
		r.RunTypeV2 = c.RunTypeV2
	}
	if c.CreatedFrom != nil {
		r.CreatedFrom = c.CreatedFrom
	}
	if c.Hidden != nil {
		r.Hidden = *c.Hidden
	}
	if c.Heartbeat != nil {
		r.Heartbeat = *c.Heartbeat
	}
	if c.Definition != nil {
		r.HasDefinition = true
	}
	// A property with no value says nothing: the SDK sends ContentSnapshotId so when it took none.
	for k, v := range c.Properties {
		if v != nil {
			r.Properties[k] = *v
		}
	}
	for k, v := range c.Tags {
		r.Tags[k] = v
	}
	if len(r.Properties) > maxPairs {
		return plane.BadRequest("properties", "A run has at most %d properties; this one would have %d.", maxPairs, len(r.Properties))
	}
	if len(r.Tags) > maxPairs {
		return plane.BadRequest("tags", "A run has at most %d tags; this one would have %d.", maxPairs, len(r.Tags))
	}
	if c.Start != nil && r.Start == nil {
		r.Start = c.Start
	}
	if c.End != nil && r.End == nil {
		r.End = c.End
	}
	if c.Status != nil {
		to, ok := canonical(*c.Status)
		if !ok {
			return unknownStatus(*c.Status)
		}
		r.move(to, now)
	}
	return nil
}

func checkRunID(id string) error {
	if len(id) == 0 || len(id) > maxRunID || !word(id, true) {
		return plane.BadRequest("runId", "Run id '%s' is not valid: run ids have 1 to %d characters, all of them letters, digits, dashes or underscores.",
			cut(id), maxRunID)
	}
	return nil
}

func checkExperiment(name string) error {
	if len(name) == 0 || len(name) > maxExperiment || !word(name, false) {
		return plane.BadRequest("experimentName", "Experiment name '%s' is not valid: experiment names have 1 to %d characters, the first a letter or digit, the others letters, digits, dashes or underscores.",
			cut(name), maxExperiment)
	}
	return nil
}

// word reports whether s has only ASCII letters, digits, dashes and underscores.
func word(s string, anyFirst bool) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '_') && (anyFirst || i > 0):
		default:
			return false
		}
	}
	return true
}

// cut keeps a client's text short enough for a message.
func cut(s string) string {
	if r := []rune(s); len(r) > 64 {
		return fmt.Sprintf("%s…", string(r[:64]))
	}
	return s
}
