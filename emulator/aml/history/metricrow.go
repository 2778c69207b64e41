package history

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
)

// maxMetricRows bounds the rows that one batch of metric/v2.0 may add.
const maxMetricRows = 10_000

// artifactColumn is the type of a column whose cell names an artifact, as log_image writes it.
const artifactColumn = "artifact"

// metricRows mirrors MetricV2Dto, by which SDK 1.x logs: typed columns, and a
// value for each row. A row is stored as the metric that SDK 0.1.68 would have
// logged, so that each reads what the other wrote.
type metricRows struct {
	name, typ string
	columns   []property
	artifact  bool
	rows      []metric
}

// postRows takes BatchMetricV2Dto. With reportErrors what is not valid is left
// out and told of in a 207; without, it refuses the batch.
func (s *Service) postRows(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	items, err := listIn(body, "values")
	if err != nil {
		return err
	}
	if len(items) > maxMetricBatch {
		return plane.BadRequest("values", "The batch has %d metrics, more than %d.", len(items), maxMetricBatch)
	}
	ms, err := object(body)
	if err != nil {
		return err
	}
	d := &reader{members: ms}
	report := d.flag("reportErrors")
	if d.err != nil {
		return d.err
	}
	run, err := s.writable(r.Context(), c, c.Vars["run"])
	if err != nil {
		return err
	}
	var all []metric
	var refused []refusedRows
	for _, raw := range items {
		m, err := s.readRows(run, raw)
		var bad *plane.Error
		switch {
		case errors.As(err, &bad) && report != nil && *report:
			refused = append(refused, refusedRows{raw, s.response(bad)})
		case err != nil:
			return err
		default:
			all = append(all, m.rows...)
		}
	}
	if len(all) > maxMetricRows {
		return plane.BadRequest("values", "The batch has %d rows, more than %d.", len(all), maxMetricRows)
	}
	if err := s.storeMetrics(r.Context(), c.Workspace, run.RunID, all); err != nil {
		return err
	}
	if len(refused) == 0 {
		plane.WriteJSON(w, http.StatusOK, nil)
		return nil
	}
	b, err := refusal(refused)
	if err != nil {
		return err
	}
	plane.WriteRaw(w, http.StatusMultiStatus, b)
	return nil
}

// refusedRows mirrors PostRunMetricsError: the metric as it came, and what is wrong with it.
type refusedRows struct {
	raw []byte
	why errorResponse
}

func refusal(all []refusedRows) ([]byte, error) {
	b := []byte(`{"errors":[`)
	for i, one := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"metric":`...), one.raw...)
		why, err := marshalMember("errorResponse", one.why)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, ','), why...), '}')
	}
	return append(b, "]}"...), nil
}

// readRows checks a MetricV2Dto that run r logs.
func (s *Service) readRows(r *record, raw []byte) (*metricRows, error) {
	ms, err := object(raw)
	if err != nil {
		return nil, plane.BadRequest("values", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	name, properties, columns := d.text("name", maxMetricName), d.object("properties"), d.object("columns")
	switch {
	case d.err != nil:
		return nil, d.err
	case name == nil || *name == "":
		return nil, plane.BadRequest("name", "The metric has no 'name'.")
	case columns == nil:
		return nil, plane.BadRequest("columns", "The metric '%s' has no 'columns'.", cut(*name))
	}
	m := &metricRows{name: *name, typ: "azureml.v1.scalar"}
	if properties != nil {
		inner, err := object(properties)
		if err != nil {
			return nil, plane.BadRequest("properties", "The value of 'properties' is not valid JSON: %s.", err)
		}
		p := &reader{members: inner}
		if typ := p.text("uxMetricType", maxMetricName); typ != nil && *typ != "" {
			m.typ = *typ
		}
		if p.err != nil {
			return nil, p.err
		}
	}
	if err := m.readColumns(columns); err != nil {
		return nil, err
	}
	values := field(ms, "value")
	if k := kind(values); k != "array" {
		return nil, wrongKind("value", k, "array")
	}
	rows, err := array(values)
	if err != nil {
		return nil, plane.BadRequest("value", "The value of 'value' is not valid JSON: %s.", err)
	}
	for i, row := range rows {
		one, err := s.readRow(r, m, fmt.Sprintf("value[%d]", i), row)
		if err != nil {
			return nil, err
		}
		m.rows = append(m.rows, one)
	}
	return m, nil
}

func (m *metricRows) readColumns(raw []byte) error {
	all, err := object(raw)
	if err != nil {
		return plane.BadRequest("columns", "The value of 'columns' is not valid JSON: %s.", err)
	}
	for _, c := range all {
		typ, err := unquote(c.raw)
		if err != nil {
			return wrongKind("columns."+c.name, kind(c.raw), "string")
		}
		if n := len([]rune(c.name)); n == 0 || n > maxColumnName {
			return plane.BadRequest("columns", "A column's name has %d characters; 1 to %d are allowed.", n, maxColumnName)
		}
		typ = fold(typ)
		switch typ {
		case "double":
			typ = "float"
		case artifactColumn:
			m.artifact, typ = true, "none"
		}
		m.columns = append(m.columns, property{c.name, m.name, typ})
	}
	return nil
}

// readRow checks a MetricV2Value and makes a stored metric of it.
func (s *Service) readRow(r *record, m *metricRows, target string, raw []byte) (metric, error) {
	ms, err := object(raw)
	if err != nil {
		return metric{}, plane.BadRequest(target, "The value of '%s' is not an object.", target)
	}
	d := &reader{members: ms}
	id, at, data := d.text("metricId", 64), d.date("createdUtc"), d.object("data")
	var step *int64
	d.decode("step", "number", &step)
	switch {
	case d.err != nil:
		return metric{}, d.err
	case data == nil:
		return metric{}, plane.BadRequest(target+".data", "The row has no 'data'.")
	}
	out := metric{name: m.name, table: m.typ == tableType}
	if id == nil {
		out.id = uuid.NewString()
	} else if _, err := uuid.Parse(*id); err != nil {
		return metric{}, plane.BadRequest(target+".metricId", "The value of 'metricId' is not a UUID: '%s'.", cut(*id))
	} else {
		out.id = *id
	}
	cells, err := object(data)
	if err != nil {
		return metric{}, plane.BadRequest(target+".data", "The value of 'data' is not valid JSON: %s.", err)
	}
	for _, cell := range cells {
		if !m.has(cell.name) {
			return metric{}, plane.BadRequest(target+".data", "The row has the column '%s', which the metric does not declare.", cut(cell.name))
		}
	}
	created := s.cfg.Clock.Now()
	if at != nil {
		created = *at
	}
	shape, err := marshalMember("schema", schema{Count: len(m.columns), Properties: m.columns})
	if err != nil {
		return metric{}, err
	}
	typ, err := marshalMember("metricType", m.typ)
	if err != nil {
		return metric{}, err
	}
	name, err := marshalMember("name", m.name)
	if err != nil {
		return metric{}, err
	}
	b := bytes.NewBuffer(make([]byte, 0, len(raw)+256))
	fmt.Fprintf(b, `{"runId":%q,"metricId":%q,%s,"createdUtc":%q,%s`, r.RunID, out.id, typ, stamp(created), name)
	if step != nil {
		fmt.Fprintf(b, `,"step":%d`, *step)
	}
	if m.artifact {
		fmt.Fprintf(b, `,"dataLocation":%s`, locationIn(cells))
		data = nil
		for _, c := range m.columns {
			data = append(append(append(data, ','), strconv.AppendQuote(nil, c.ID)...), ":null"...)
		}
		data = append(append([]byte{'{'}, bytes.TrimPrefix(data, []byte(","))...), '}')
	}
	fmt.Fprintf(b, `,"numCells":1,"cells":[%s],%s}`, data, shape)
	out.doc = b.Bytes()
	return out, nil
}

func (m *metricRows) has(column string) bool {
	for _, c := range m.columns {
		if c.ID == column {
			return true
		}
	}
	return false
}

// locationIn is the artifact's name in a row of an artifact's metric.
func locationIn(cells []member) []byte {
	for _, c := range cells {
		if kind(c.raw) == "string" && strings.Contains(string(c.raw), "aml:") {
			return c.raw
		}
	}
	return []byte("null")
}
