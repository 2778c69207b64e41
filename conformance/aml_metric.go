package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

type metric struct {
	RunID, MetricType, Name string
	Cells                   []map[string]any
}

// logMetric posts a metric as the SDK's Run.log… do.
func (s *session) logMetric(u, id, name, typ string, cells ...map[string]any) {
	s.data(http.MethodPost, u+"/metrics", metricBody(id, name, typ, cells...))
}

func metricBody(id, name, typ string, cells ...map[string]any) map[string]any {
	var properties []any
	seen := map[string]bool{}
	for _, c := range cells {
		for k, v := range c {
			if !seen[k] {
				seen[k] = true
				properties = append(properties, map[string]string{"propertyId": k, "name": name, "type": cellType(v)})
			}
		}
	}
	return map[string]any{
		"runId": id, "metricId": uuid(), "metricType": "azureml.v1." + typ, "createdUtc": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"name": name, "description": "", "numCells": len(cells), "cells": cells,
		"schema": map[string]any{"numProperties": len(properties), "properties": properties},
	}
}

func cellType(v any) string {
	switch v.(type) {
	case int:
		return "int"
	case float64:
		return "float"
	case bool:
		return "bool"
	case nil:
		return "none"
	}
	return "string"
}

// metrics reads the metrics of one run as get_metrics does.
func (s *session) metrics(id string) []metric {
	return paged[metric](s, s.workspace().experiment("history")+"/metrics?$filter="+url.PathEscape("RunId eq "+id))
}

// cells flattens what is stored of one metric, in order, as "column=value".
func cells(list []metric, name, typ string) []string {
	out := []string{}
	for _, m := range list {
		if m.Name != name || m.MetricType != "azureml.v1."+typ {
			continue
		}
		for _, c := range m.Cells {
			for k, v := range c {
				out = append(out, fmt.Sprintf("%s=%v", k, v))
			}
		}
	}
	return out
}

func metricSpecs() []spec {
	return []spec{
		{"aml.metric.scalar", func(s *session) {
			id, u := s.newRun(nil)
			for _, v := range []any{0.1, 0.2, 0.3} {
				s.logMetric(u, id, "acc", "scalar", map[string]any{"acc": v})
			}
			s.logMetric(u, id, "note", "scalar", map[string]any{"note": "words"})
			s.logMetric(u, id, "flag", "scalar", map[string]any{"flag": true})
			list := s.metrics(id)
			s.Expect(cells(list, "acc", "scalar")).To(gomega.Equal([]string{"acc=0.1", "acc=0.2", "acc=0.3"}), "scalars in the order of logging")
			s.Expect(cells(list, "note", "scalar")).To(gomega.Equal([]string{"note=words"}))
			s.Expect(cells(list, "flag", "scalar")).To(gomega.Equal([]string{"flag=true"}))
		}},
		{"aml.metric.batch", func(s *session) {
			id, u := s.newRun(nil)
			var values, want []any
			for i := range 5 {
				values = append(values, metricBody(id, "b", "scalar", map[string]any{"b": i}))
				want = append(want, fmt.Sprintf("b=%d", i))
			}
			s.data(http.MethodPost, u+"/metrics", map[string]any{"values": values})
			s.Expect(cells(s.metrics(id), "b", "scalar")).To(gomega.HaveExactElements(want...), "a batch is kept in its order")
		}},
		{"aml.metric.list", func(s *session) {
			id, u := s.newRun(nil)
			s.logMetric(u, id, "l", "list", map[string]any{"l": 1}, map[string]any{"l": 2}, map[string]any{"l": 3})
			s.Expect(cells(s.metrics(id), "l", "list")).To(gomega.Equal([]string{"l=1", "l=2", "l=3"}))
		}},
		{"aml.metric.row", func(s *session) {
			id, u := s.newRun(nil)
			s.logMetric(u, id, "r", "table", map[string]any{"x": 1}, map[string]any{"y": 2.5})
			s.logMetric(u, id, "r", "table", map[string]any{"x": 2}, map[string]any{"y": 3.5})
			list := s.metrics(id)
			s.Expect(cells(list, "r", "table")).To(gomega.Equal([]string{"x=1", "y=2.5", "x=2", "y=3.5"}))
			n := 0
			for _, m := range list {
				if m.Name == "r" {
					n++
				}
			}
			// get_metrics of 0.1.68 breaks on two one-row tables of one name.
			s.Expect(n).To(gomega.Equal(1), "rows of one name come back as one table")
		}},
		{"aml.metric.table", func(s *session) {
			id, u := s.newRun(nil)
			s.logMetric(u, id, "t", "table", map[string]any{"a": 1}, map[string]any{"a": 2}, map[string]any{"b": "p"}, map[string]any{"b": "q"})
			s.Expect(cells(s.metrics(id), "t", "table")).To(gomega.Equal([]string{"a=1", "a=2", "b=p", "b=q"}))
		}},
		{"aml.metric.image", func(s *session) {
			id, u := s.newRun(nil)
			s.logMetric(u, id, "i", "image", map[string]any{"name": "aml://artifactId/ExperimentRun/" + id + "/i.png"})
			s.Expect(cells(s.metrics(id), "i", "image")).To(gomega.HaveLen(1))
		}},
		{"aml.metric.runs", func(s *session) {
			a, ua := s.newRun(nil)
			b, ub := s.newRun(nil)
			s.logMetric(ua, a, "m", "scalar", map[string]any{"m": 1})
			s.logMetric(ub, b, "m", "scalar", map[string]any{"m": 2})
			s.logMetric(ua, a, "m", "scalar", map[string]any{"m": 3})
			filter := url.PathEscape("RunId eq " + a + " or RunId eq " + b)
			list := paged[metric](s, s.workspace().experiment("history")+"/metrics?$filter="+filter+"&$orderby=RunId%20asc")
			var order []string
			for _, m := range list {
				if n := len(order); n == 0 || order[n-1] != m.RunID {
					order = append(order, m.RunID)
				}
			}
			s.Expect(order).To(gomega.ConsistOf(a, b), "the metrics of each run lie together")
		}},
		{"aml.metric.absent", func(s *session) {
			id := uuid()
			u := s.workspace().experiment("history") + "/runs/" + id + "/metrics"
			s.lost(s.do(wire.Request{Method: http.MethodPost, URL: u, Body: metricBody(id, "m", "scalar", map[string]any{"m": 1})}))
		}},
		{"aml.metric.wrong", func(s *session) {
			_, u := s.newRun(nil)
			r := s.do(wire.Request{Method: http.MethodPost, URL: u + "/metrics", Body: `{"cells": "none"`})
			s.status(r, http.StatusBadRequest)
		}},
	}
}
