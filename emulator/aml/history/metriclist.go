package history

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// maxMetricBytes ends a page, or a merged table, that grew large before it was full.
const maxMetricBytes = 16 << 20

func metricFields(name string) (fieldKind, bool) {
	switch name {
	case "runid", "metricid":
		return idField, true
	case "metrictype", "name", "description", "label":
		return textField, true
	case "createdutc":
		return dateField, true
	case "numcells":
		return numberField, true
	}
	return 0, false
}

// metricRow is a stored metric in a filter; it is parsed only if more than its run is asked for.
type metricRow struct {
	run     string
	doc     []byte
	members []member
}

// cell implements row.
func (m *metricRow) cell(name, _ string) (cell, bool) {
	if name == "runid" {
		return cell{text: m.run}, true
	}
	if m.members == nil {
		m.members, _ = object(m.doc)
	}
	raw := field(m.members, name)
	if raw == nil {
		return cell{null: true}, true
	}
	if kind(raw) == "number" {
		n, err := strconv.ParseFloat(string(raw), 64)
		return cell{num: n}, err == nil
	}
	text, err := unquote(raw)
	if err != nil {
		return cell{}, false
	}
	c := cell{text: text}
	if name == "createdutc" {
		c.date, _ = parseDate(text)
	}
	return c, true
}

func (s *Service) getMetrics(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	return s.metrics(w, r, c, q, true)
}

// queryMetrics is metrics:query of the spec. Of its merge strategies Default
// is what the 2018 SDK can read, None leaves tables in the pieces that were logged.
func (s *Service) queryMetrics(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQueryBody(w, r)
	if err != nil {
		return err
	}
	merge := true
	for name, v := range r.URL.Query() {
		if !strings.EqualFold(name, "MergeStrategyType") {
			continue
		}
		switch fold(v[0]) {
		case "", "default":
		case "none":
			merge = false
		default:
			return plane.BadRequest("MergeStrategyType", "The merge strategy '%s' is not supported: it is Default or None.", cut(v[0]))
		}
	}
	return s.metrics(w, r, c, q, merge)
}

func (s *Service) getMetric(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	id := c.Vars["metric"]
	doc, err := s.metricByID(r.Context(), c.Workspace, id)
	if err != nil {
		return err
	}
	ms, err := object(doc)
	if err != nil {
		return err
	}
	run, err := unquote(field(ms, "runId"))
	if err != nil {
		return err
	}
	if _, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], run); err != nil {
		if isNotFound(err) {
			return plane.NotFound("Metric %s was not found", id)
		}
		return err
	}
	plane.WriteRaw(w, http.StatusOK, doc)
	return nil
}

// metrics answers a page of metrics: run by run, each run's in the order in
// which they were logged, the pieces of a table together where the first was.
func (s *Service) metrics(w http.ResponseWriter, r *http.Request, c *plane.Call, q query, merge bool) error {
	f, err := parseFilter(q.filter, metricFields)
	if err != nil {
		return err
	}
	by, err := parseOrder(q.orderBy, func(name string) (fieldKind, bool) { return idField, name == "runid" })
	if err != nil {
		return err
	}
	ids, err := s.metricRuns(r.Context(), c, f, by)
	if err != nil {
		return err
	}
	where, err := q.where("m")
	if err != nil {
		return err
	}
	at := 0
	run, after, resumed := strings.Cut(where, "/")
	if resumed {
		for at < len(ids) && fold(ids[at]) != run {
			at++
		}
		if at == len(ids) {
			return plane.BadRequest("$continuationtoken", "The continuation token does not belong to this list.")
		}
	}
	p := &metricPage{limit: q.limit(metricPageSize), filter: f, merge: merge}
	for ; at < len(ids) && p.next == ""; at++ {
		if _, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], ids[at]); isNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		if err := s.metricsOf(r.Context(), c.Workspace, fold(ids[at]), after, p); err != nil {
			return err
		}
		after = ""
	}
	page(w, p.values, p.next)
	return nil
}

// metricRuns are the runs whose metrics are asked for: those that the filter
// names, in its order, or all of the experiment.
func (s *Service) metricRuns(ctx context.Context, c *plane.Call, f expr, by []order) ([]string, error) {
	ids, ok := onlyIDs(f)
	if !ok {
		docs, err := s.cfg.Store.List(ctx, experimentList(c.Workspace, c.Vars["experiment"]), "", 0)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			ids = append(ids, d.Key[strings.LastIndexByte(d.Key, '/')+1:])
		}
		// The list's own order moves when a run starts, and pages must not.
		sort.Strings(ids)
	}
	if len(by) > 0 {
		sort.SliceStable(ids, func(i, j int) bool {
			if by[0].desc {
				i, j = j, i
			}
			return fold(ids[i]) < fold(ids[j])
		})
	}
	return ids, nil
}

// metricsOf adds a run's metrics from the key after on to the page.
func (s *Service) metricsOf(ctx context.Context, ws plane.Workspace, run, after string, p *metricPage) error {
	base := key(ws, "metric", run) + "/"
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
			place := strings.TrimPrefix(d.Key, base)
			full, err := p.add(run, place, d.Value)
			if err != nil {
				return err
			}
			if full {
				p.next = token("m", run+"/"+strings.TrimPrefix(after, base))
				return nil
			}
			after = d.Key
		}
		if len(docs) < chunk {
			return p.flush()
		}
	}
}

// metricPage gathers a page.
type metricPage struct {
	limit  int
	filter expr
	merge  bool

	values [][]byte
	next   string
	size   int

	table  string // the place of the table that pieces belongs to
	pieces [][]byte
}

// add takes one stored metric, or reports that the page was full before it.
func (p *metricPage) add(run, place string, doc []byte) (full bool, err error) {
	table, _, piece := strings.Cut(place, "/")
	piece = piece && p.merge
	if piece && table == p.table && len(p.pieces) > 0 {
		// Two pieces at least: the SDK trips over a table that begins with a single row and goes on.
		if p.size > maxMetricBytes && len(p.pieces) > 1 {
			return true, p.flush()
		}
	} else {
		if err := p.flush(); err != nil {
			return false, err
		}
		if len(p.values) >= p.limit || p.size > maxMetricBytes {
			return true, nil
		}
	}
	if p.filter != nil && !p.filter.match(&metricRow{run: run, doc: doc}) {
		return false, nil
	}
	p.size += len(doc)
	if piece {
		p.table, p.pieces = table, append(p.pieces, doc)
		return false, nil
	}
	p.values = append(p.values, doc)
	return false, nil
}

// flush ends the table that is being gathered.
func (p *metricPage) flush() error {
	if len(p.pieces) == 0 {
		return nil
	}
	doc, err := mergeTable(p.pieces)
	if err != nil {
		return err
	}
	p.values, p.pieces, p.table = append(p.values, doc), nil, ""
	return nil
}

// mergeTable makes one metric of the pieces of a table: the first one's
// fields, the cells of all. The SDK cannot fold two log_row of one name.
func mergeTable(pieces [][]byte) ([]byte, error) {
	if len(pieces) == 1 {
		return pieces[0], nil
	}
	var head []member
	var cells bytes.Buffer
	var all schema
	var last []byte
	count, known := 0, map[string]bool{}
	for i, doc := range pieces {
		ms, err := object(doc)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			head = ms
		}
		raw := field(ms, "cells")
		if inner := bytes.TrimSpace(raw[1 : len(raw)-1]); len(inner) > 0 {
			if cells.Len() > 0 {
				cells.WriteByte(',')
			}
			cells.Write(inner)
		}
		n, err := strconv.Atoi(string(field(ms, "numCells")))
		if err != nil {
			return nil, err
		}
		count += n
		shape := field(ms, "schema")
		if bytes.Equal(shape, last) {
			continue
		}
		last = shape
		var one schema
		if err := json.Unmarshal(shape, &one); err != nil {
			return nil, err
		}
		for _, prop := range one.Properties {
			if !known[prop.ID] {
				known[prop.ID] = true
				all.Properties = append(all.Properties, prop)
			}
		}
	}
	all.Count = len(all.Properties)
	shape, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, m := range head {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(strconv.AppendQuote(b, m.name), ':'), m.raw...)
		switch m.name {
		case "numCells":
			b = strconv.AppendInt(b[:len(b)-len(m.raw)], int64(count), 10)
		case "cells":
			b = append(append(append(b[:len(b)-len(m.raw)], '['), cells.Bytes()...), ']')
		case "schema":
			b = append(b[:len(b)-len(m.raw)], shape...)
		}
	}
	return append(b, '}'), nil
}
