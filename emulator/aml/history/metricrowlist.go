package history

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// rowPageSize is how many stored metrics a page of metric/v2.0 takes in.
const rowPageSize = 5000

// marshalMember is `"name":value`.
func marshalMember(name string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(strconv.AppendQuote(nil, name), append([]byte{':'}, b...)...), nil
}

// storedMetric is a metric as it is stored, taken apart for metric/v2.0.
type storedMetric struct {
	id, typ, name string
	created       time.Time
	step          []byte
	location      []byte
	cells         [][]byte
	columns       []property
}

func readStored(doc []byte) (*storedMetric, error) {
	ms, err := object(doc)
	if err != nil {
		return nil, err
	}
	m := &storedMetric{step: field(ms, "step"), location: field(ms, "dataLocation")}
	for _, f := range []struct {
		to   *string
		name string
	}{{&m.id, "metricId"}, {&m.typ, "metricType"}, {&m.name, "name"}} {
		if *f.to, err = unquote(field(ms, f.name)); err != nil {
			return nil, err
		}
	}
	at, err := unquote(field(ms, "createdUtc"))
	if err != nil {
		return nil, err
	}
	m.created, _ = parseDate(at)
	if m.cells, err = array(field(ms, "cells")); err != nil {
		return nil, err
	}
	var shape schema
	if err := json.Unmarshal(field(ms, "schema"), &shape); err != nil {
		return nil, err
	}
	m.columns = shape.Properties
	return m, nil
}

// nameOf reads of a stored metric what a search by name needs.
func nameOf(doc []byte) (string, error) {
	ms, err := object(doc)
	if err != nil {
		return "", err
	}
	return unquote(field(ms, "name"))
}

// rows puts a metric's cells as rows. SDK 0.1.68 logs a table cell by cell,
// column after column; 1.x logs rows.
func (m *storedMetric) rows() ([][]member, error) {
	if m.location != nil {
		return [][]member{{{m.name, m.location}}}, nil
	}
	var out [][]member
	at := map[string]int{}
	for _, raw := range m.cells {
		cells, err := object(raw)
		if err != nil {
			return nil, err
		}
		for _, c := range cells {
			i := at[c.name]
			at[c.name]++
			if i == len(out) {
				out = append(out, nil)
			}
			out[i] = append(out[i], c)
		}
	}
	return out, nil
}

// columnSet gathers the columns of a metric with their types as metric/v2.0 words them.
type columnSet struct {
	names []string
	types map[string]string
}

func (s *columnSet) add(m *storedMetric) {
	if s.types == nil {
		s.types = map[string]string{}
	}
	put := func(name, typ string) {
		switch old, there := s.types[name]; {
		case !there:
			s.names = append(s.names, name)
			s.types[name] = typ
		case old == "none" || old == "int" && typ == "double":
			s.types[name] = typ
		}
	}
	if m.location != nil {
		put(m.name, "Artifact")
		return
	}
	for _, c := range m.columns {
		typ := fold(c.Type)
		if typ == "float" {
			typ = "double"
		}
		put(c.ID, typ)
	}
}

func (s *columnSet) json() []byte {
	b := []byte{'{'}
	for i, name := range s.names {
		if i > 0 {
			b = append(b, ',')
		}
		k, _ := json.Marshal(name)
		v, _ := json.Marshal(s.types[name])
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}')
}

// eachMetric calls fn for the stored metrics of a run from the place after on, until fn returns false.
func (s *Service) eachMetric(ctx context.Context, ws plane.Workspace, run, after string, fn func(place string, doc []byte) (bool, error)) error {
	base := key(ws, "metric", fold(run)) + "/"
	if after != "" {
		after = base + after
	}
	for {
		const chunk = 512
		docs, err := s.cfg.Store.List(ctx, base, after, chunk)
		if err != nil {
			return err
		}
		for _, d := range docs {
			after = d.Key
			more, err := fn(strings.TrimPrefix(d.Key, base), d.Value)
			if err != nil || !more {
				return err
			}
		}
		if len(docs) < chunk {
			return nil
		}
	}
}

// listRows answers the names of a run's metrics with their columns: PaginatedMetricDefinitionDto.
func (s *Service) listRows(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	run, err := s.load(r.Context(), c.Workspace, c.Vars["run"])
	if err != nil {
		return err
	}
	var names []string
	columns := map[string]*columnSet{}
	err = s.eachMetric(r.Context(), c.Workspace, run.RunID, "", func(_ string, doc []byte) (bool, error) {
		name, err := nameOf(doc)
		if err != nil {
			return false, err
		}
		set := columns[name]
		if set == nil {
			set = &columnSet{}
			columns[name] = set
			names = append(names, name)
		}
		m, err := readStored(doc)
		if err == nil {
			set.add(m)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	values := make([][]byte, len(names))
	for i, name := range names {
		k, err := marshalMember("metricKey", map[string]string{"namespace": "", "name": name})
		if err != nil {
			return err
		}
		values[i] = append(append(append(append([]byte{'{'}, k...), `,"columns":`...), columns[name].json()...), '}')
	}
	page(w, values, "")
	return nil
}

// fullRequest mirrors RetrieveFullFidelityMetricRequestDto.
type fullRequest struct {
	name       string
	start, end *time.Time
	after      string
}

func readFullRequest(w http.ResponseWriter, r *http.Request) (fullRequest, error) {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return fullRequest{}, err
	}
	ms, err := object(body)
	if err != nil {
		return fullRequest{}, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	q := fullRequest{start: d.date("startTime"), end: d.date("endTime")}
	name, token := d.text("metricName", maxMetricName), d.text("continuationToken", maxURI)
	switch {
	case d.err != nil:
		return q, d.err
	case name == nil || *name == "":
		return q, plane.BadRequest("metricName", "The request has no 'metricName'.")
	}
	q.name = *name
	if token != nil {
		q.after, err = query{token: *token}.where("f")
	}
	return q, err
}

func (q fullRequest) wants(m *storedMetric) bool {
	return m.name == q.name && (q.start == nil || !m.created.Before(*q.start)) && (q.end == nil || !m.created.After(*q.end))
}

// getRows answers one metric of a run with all its rows, page by page: MetricV2Dto.
func (s *Service) getRows(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readFullRequest(w, r)
	if err != nil {
		return err
	}
	run, err := s.load(r.Context(), c.Workspace, c.Vars["run"])
	if err != nil {
		return err
	}
	var found []*storedMetric
	columns := &columnSet{}
	typ, last, next := "", "", ""
	err = s.eachMetric(r.Context(), c.Workspace, run.RunID, "", func(place string, doc []byte) (bool, error) {
		name, err := nameOf(doc)
		if err != nil || name != q.name {
			return true, err
		}
		m, err := readStored(doc)
		if err != nil || !q.wants(m) {
			return true, err
		}
		if typ == "" {
			typ = m.typ
		}
		if m.typ != typ {
			// The first type that was logged under a name is the name's.
			return true, nil
		}
		columns.add(m)
		if place <= q.after || next != "" {
			return true, nil
		}
		if len(found) == rowPageSize {
			next = token("f", last)
			// A table's later rows may bring columns that its first rows are shown with.
			return typ == tableType, nil
		}
		found, last = append(found, m), place
		return true, nil
	})
	if err != nil {
		return err
	}
	if typ == "" {
		return plane.NotFound("Metric %s was not found in run %s", cut(q.name), run.RunID)
	}
	b, err := fullMetric(run, q.name, typ, next, columns, found)
	if err != nil {
		return err
	}
	plane.WriteRaw(w, http.StatusOK, b)
	return nil
}

func fullMetric(run *record, name, typ, next string, columns *columnSet, found []*storedMetric) ([]byte, error) {
	b := bytes.NewBuffer([]byte{'{'})
	for _, m := range []struct {
		name  string
		value any
	}{{"dataContainerId", run.dataContainer()}, {"name", name}, {"properties", map[string]string{"uxMetricType": typ}}} {
		text, err := marshalMember(m.name, m.value)
		if err != nil {
			return nil, err
		}
		b.Write(append(text, ','))
	}
	if next != "" {
		b.WriteString(`"continuationToken":` + strconv.Quote(next) + `,`)
	}
	b.WriteString(`"columns":`)
	b.Write(columns.json())
	b.WriteString(`,"value":[`)
	first := true
	for _, m := range found {
		rows, err := m.rows()
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.WriteString(`{"metricId":` + strconv.Quote(m.id) + `,"createdUtc":"` + stamp(m.created) + `"`)
			if m.step != nil {
				b.WriteString(`,"step":` + string(m.step))
			}
			b.WriteString(`,"data":{`)
			for i, name := range columns.names {
				if i > 0 {
					b.WriteByte(',')
				}
				text, err := json.Marshal(name)
				if err != nil {
					return nil, err
				}
				b.Write(append(text, ':'))
				b.Write(cellOf(row, name))
			}
			b.WriteString("}}")
		}
	}
	b.WriteString("]}")
	return b.Bytes(), nil
}

// cellOf is null where the row lacks the column: SDK 1.x wants every column in every row.
func cellOf(row []member, name string) []byte {
	for _, c := range row {
		if c.name == name {
			return c.raw
		}
	}
	return []byte("null")
}
