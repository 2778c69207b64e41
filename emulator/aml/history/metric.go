package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// tableType is the metric of log_row and log_table; all other types are kept apart.
const tableType = "azureml.v1.table"

// Limits that Azure documents for metrics.
const (
	maxMetricName  = 255
	maxColumnName  = 255
	maxMetricBatch = 250
)

// metric is a RunMetricDto that was checked.
type metric struct {
	id, name string
	table    bool
	// doc is the DTO as it is stored and returned: strings, cells and schema as they came.
	doc []byte
}

// readMetric checks a RunMetricDto or Metric of the spec that run r logs.
func (s *Service) readMetric(r *record, raw []byte) (metric, error) {
	ms, err := object(raw)
	if err != nil {
		return metric{}, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	run, id, at := d.text("runId", maxRunID), d.text("metricId", 64), d.date("createdUtc")
	name, typ := d.text("name", maxMetricName), d.text("metricType", maxMetricName)
	d.text("description", maxDescription)
	d.text("label", maxMetricName)
	d.text("dataContainerId", 261)
	d.text("dataLocation", maxURI)
	schema := d.object("schema")
	switch {
	case d.err != nil:
		return metric{}, d.err
	case run != nil && fold(*run) != fold(r.RunID):
		return metric{}, plane.BadRequest("runId", "The metric's runId '%s' is not the run of the path.", cut(*run))
	case name == nil || *name == "":
		return metric{}, plane.BadRequest("name", "The metric has no 'name'.")
	case typ == nil || *typ == "":
		return metric{}, plane.BadRequest("metricType", "The metric has no 'metricType'.")
	}
	m := metric{name: *name, table: *typ == tableType}
	if id == nil {
		m.id = uuid.NewString()
	} else if _, err := uuid.Parse(*id); err != nil {
		return metric{}, plane.BadRequest("metricId", "The value of 'metricId' is not a UUID: '%s'.", cut(*id))
	} else {
		m.id = *id
	}
	cells, columns, n, err := readCells(ms)
	if err != nil {
		return metric{}, err
	}
	if schema == nil {
		if schema, err = schemaOf(*name, columns); err != nil {
			return metric{}, err
		}
	} else if err := checkSchema(schema); err != nil {
		return metric{}, err
	}
	created := s.cfg.Clock.Now()
	if at != nil {
		created = *at
	}
	b := bytes.NewBuffer(make([]byte, 0, len(raw)+128))
	fmt.Fprintf(b, `{"runId":%q,"metricId":%q,"metricType":%s,"createdUtc":%q,"name":%s`,
		r.RunID, m.id, field(ms, "metricType"), stamp(created), field(ms, "name"))
	for _, optional := range [...]string{"description", "label", "dataContainerId", "dataLocation"} {
		if raw := field(ms, optional); raw != nil {
			fmt.Fprintf(b, `,%q:%s`, optional, raw)
		}
	}
	fmt.Fprintf(b, `,"numCells":%d,"cells":%s,"schema":%s}`, n, cells, schema)
	m.doc = b.Bytes()
	return m, nil
}

// column is a cell's name with the value that it first had.
type column struct {
	name string
	raw  []byte
}

// readCells checks that cells are objects, and finds their columns.
func readCells(ms []member) (cells []byte, columns []column, n int, err error) {
	raw := field(ms, "cells")
	if raw == nil {
		return []byte("[]"), nil, 0, nil
	}
	if k := kind(raw); k != "array" {
		return nil, nil, 0, wrongKind("cells", k, "array")
	}
	all, err := array(raw)
	if err != nil {
		return nil, nil, 0, plane.BadRequest("cells", "The value of 'cells' is not valid JSON: %s.", err)
	}
	seen := map[string]bool{}
	for i, c := range all {
		if k := kind(c); k != "object" {
			return nil, nil, 0, wrongKind("cells["+strconv.Itoa(i)+"]", k, "object")
		}
		values, err := object(c)
		if err != nil {
			return nil, nil, 0, plane.BadRequest("cells", "The value of 'cells' is not valid JSON: %s.", err)
		}
		for _, v := range values {
			if seen[v.name] {
				continue
			}
			if n := len([]rune(v.name)); n > maxColumnName {
				return nil, nil, 0, plane.BadRequest("cells", "A column's name has %d characters, more than %d.", n, maxColumnName)
			}
			seen[v.name] = true
			columns = append(columns, column(v))
		}
	}
	return raw, columns, len(all), nil
}

// property mirrors MetricSchemaProperty of the spec.
type property struct {
	ID   string `json:"propertyId"`
	Name string `json:"name"`
	Type string `json:"type"`
}

type schema struct {
	Count      int        `json:"numProperties"`
	Properties []property `json:"properties"`
}

func checkSchema(raw []byte) error {
	var v schema
	if err := json.Unmarshal(raw, &v); err != nil {
		return plane.BadRequest("schema", "The value of 'schema' is not a MetricSchema.")
	}
	return nil
}

// schemaOf describes cells that came without a schema: the SDK cannot read such a metric.
func schemaOf(name string, columns []column) ([]byte, error) {
	v := schema{Count: len(columns), Properties: []property{}}
	for _, c := range columns {
		v.Properties = append(v.Properties, property{c.name, name, cellType(c.raw)})
	}
	return json.Marshal(v)
}

// cellType is a value's type in the words of the SDK.
func cellType(raw []byte) string {
	switch kind(raw) {
	case "string":
		return "string"
	case "bool":
		return "bool"
	case "null":
		return "none"
	case "number":
		if bytes.ContainsAny(raw, ".eENI") {
			return "float"
		}
		return "int"
	}
	return kind(raw)
}

// postMetric takes one metric, an array of them, or a BatchMetric {"values": [...]}.
func (s *Service) postMetric(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	items, err := metricsIn(body)
	if err != nil {
		return err
	}
	if len(items) > maxMetricBatch {
		return plane.BadRequest("values", "The batch has %d metrics, more than %d.", len(items), maxMetricBatch)
	}
	run, err := s.writable(r.Context(), c, c.Vars["run"])
	if err != nil {
		return err
	}
	all := make([]metric, len(items))
	seen := map[string]bool{}
	for i, raw := range items {
		if all[i], err = s.readMetric(run, raw); err != nil {
			return err
		}
		if seen[fold(all[i].id)] {
			return plane.BadRequest("metricId", "The batch has metricId %s twice.", all[i].id)
		}
		seen[fold(all[i].id)] = true
	}
	if err := s.storeMetrics(r.Context(), c.Workspace, run.RunID, all); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func metricsIn(body []byte) ([][]byte, error) {
	trimmed := bytes.TrimSpace(body)
	if kind(trimmed) == "array" {
		items, err := array(trimmed)
		if err != nil {
			return nil, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
		}
		return items, nil
	}
	ms, err := object(trimmed)
	if err != nil {
		return nil, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	if field(ms, "values") != nil {
		return listIn(trimmed, "values")
	}
	return [][]byte{trimmed}, nil
}

// maxTries bounds how often a write is tried again that met another one.
const maxTries = 16

// storeMetrics writes all of the metrics or none, after those that are there.
// A metric that is there already, as a client's second attempt, is left alone;
// another one under its id is a conflict.
func (s *Service) storeMetrics(ctx context.Context, ws plane.Workspace, run string, all []metric) error {
	for range maxTries {
		ops, err := s.metricOps(ctx, ws, run, all)
		if err != nil || len(ops) == 0 {
			return err
		}
		_, err = s.cfg.Store.Batch(ctx, ops)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if all, err = s.missing(ctx, ws, all); err != nil {
			return err
		}
	}
	return fmt.Errorf("history: metrics of run %s: %w after %d attempts", run, store.ErrConflict, maxTries)
}

func (s *Service) metricOps(ctx context.Context, ws plane.Workspace, run string, all []metric) ([]store.Op, error) {
	ops := make([]store.Op, 0, 2*len(all))
	tables := map[string]string{}
	for _, m := range all {
		place, err := s.seq.next(ctx, s.cfg.Store)
		if err != nil {
			return nil, err
		}
		if m.table {
			first, ok := tables[m.name]
			if !ok {
				k := tableKey(ws, run, m.name)
				d, err := s.cfg.Store.Get(ctx, k)
				switch {
				case err == nil:
					first = string(d.Value)
				case errors.Is(err, store.ErrNotFound):
					first = place
					ops = append(ops, store.Op{Key: k, Value: []byte(first), If: store.Absent})
				default:
					return nil, err
				}
				tables[m.name] = first
			}
			place = first + "/" + place
		}
		k := key(ws, "metric", fold(run), place)
		ops = append(ops,
			store.Op{Key: key(ws, "metricid", fold(m.id)), Value: []byte(k), If: store.Absent},
			store.Op{Key: k, Value: m.doc, If: store.Any})
	}
	return ops, nil
}

// missing returns those of all that are not stored.
func (s *Service) missing(ctx context.Context, ws plane.Workspace, all []metric) ([]metric, error) {
	var out []metric
	for _, m := range all {
		have, err := s.metricByID(ctx, ws, m.id)
		switch {
		case isNotFound(err):
			out = append(out, m)
		case err != nil:
			return nil, err
		case !bytes.Equal(have, m.doc):
			return nil, plane.Conflict("Metric %s exists already.", m.id)
		}
	}
	return out, nil
}

// metricByID finds a stored DTO; a *plane.Error 404 if there is none.
func (s *Service) metricByID(ctx context.Context, ws plane.Workspace, id string) ([]byte, error) {
	d, err := s.cfg.Store.Get(ctx, key(ws, "metricid", fold(id)))
	if err == nil {
		d, err = s.cfg.Store.Get(ctx, string(d.Value))
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, plane.NotFound("Metric %s was not found", id)
	}
	return d.Value, err
}
