package history

import (
	"context"
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// runFields are the fields of a run by which lists are filtered and ordered.
func runFields(name string) (fieldKind, bool) {
	switch name {
	case "runid", "rootrunid", "parentrunid", "experimentid":
		return idField, true
	case "status", "runtype", "name", "description", "scriptname", "target", "userid":
		return textField, true
	case "runnumber":
		return numberField, true
	case "createdutc", "starttimeutc", "endtimeutc":
		return dateField, true
	case "hidden", "heartbeatenabled":
		return flagField, true
	case "tags", "properties", "runtypev2":
		return openField, true
	}
	return 0, false
}

// cell implements row.
func (r *record) cell(name, key string) (cell, bool) {
	text := func(s string) (cell, bool) { return cell{null: s == "", text: s}, true }
	flag := func(b bool) (cell, bool) {
		if b {
			return cell{text: "true"}, true
		}
		return cell{text: "false"}, true
	}
	switch name {
	case "runid":
		return text(r.RunID)
	case "rootrunid":
		return text(r.RootRunID)
	case "parentrunid":
		return text(r.ParentRunID)
	case "experimentid":
		return text(r.ExperimentID)
	case "status":
		return text(r.Status)
	case "runtype":
		return text(r.RunType)
	case "name":
		return text(r.Name)
	case "description":
		return text(r.Description)
	case "scriptname":
		return text(r.ScriptName)
	case "target":
		return text(r.Target)
	case "userid":
		return text(r.UserID)
	case "runnumber":
		return cell{num: float64(r.RunNumber)}, true
	case "createdutc":
		return cell{date: r.Created}, true
	case "starttimeutc":
		if r.Start != nil {
			return cell{date: *r.Start}, true
		}
	case "endtimeutc":
		if r.End != nil {
			return cell{date: *r.End}, true
		}
	case "hidden":
		return flag(r.Hidden)
	case "heartbeatenabled":
		return flag(r.Heartbeat)
	case "tags":
		v, ok := r.Tags[key]
		if !ok {
			return cell{}, false
		}
		if v != nil {
			return cell{text: *v}, true
		}
	case "properties":
		v, ok := r.Properties[key]
		return cell{text: v}, ok
	case "runtypev2":
		v, ok := r.runTypeV2(key)
		return cell{text: v}, ok
	}
	return cell{null: true}, true
}

// eachRun calls fn for the runs of a list that match, in the list's order,
// newest first, from the key after on, until fn returns false.
func (s *Service) eachRun(ctx context.Context, ws plane.Workspace, experiment, list, after string, f expr, fn func(r *record, key string) bool) error {
	for {
		docs, err := s.cfg.Store.List(ctx, list, after, 256)
		if err != nil {
			return err
		}
		for _, d := range docs {
			after = d.Key
			r, err := s.load(ctx, ws, d.Key[strings.LastIndexByte(d.Key, '/')+1:])
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			// A run that was changed since the list was read may be elsewhere in it now, or hidden.
			if r.Hidden || fold(r.Experiment) != fold(experiment) || (f != nil && !f.match(r)) {
				continue
			}
			if !fn(r, d.Key) {
				return nil
			}
		}
		if len(docs) < 256 {
			return nil
		}
	}
}

// source picks the shortest list that holds all matches of a filter.
func source(ws plane.Workspace, experiment string, f expr) string {
	if f != nil {
		if roots, ok := f.only("rootrunid"); ok && len(roots) == 1 {
			return rootList(ws, roots[0])
		}
		if parents, ok := f.only("parentrunid"); ok && len(parents) == 1 {
			return childList(ws, parents[0])
		}
	}
	return experimentList(ws, experiment)
}

// runs answers one page of a list; list is empty for what the filter makes of it.
func (s *Service) runs(w http.ResponseWriter, r *http.Request, c *plane.Call, list string, q query) error {
	ctx, ws, experiment := r.Context(), c.Workspace, c.Vars["experiment"]
	f, err := parseFilter(q.filter, runFields)
	if err != nil {
		return err
	}
	by, err := parseOrder(q.orderBy, runFields)
	if err != nil {
		return err
	}
	var found []*record
	var next string
	limit := q.limit(pageSize)
	if ids, ok := onlyIDs(f); ok && list == "" {
		if found, err = s.runsByID(ctx, ws, experiment, ids, f); err != nil {
			return err
		}
		sortRows(found, by)
		found, next, err = offset(q, found, limit)
	} else {
		if list == "" {
			list = source(ws, experiment, f)
		}
		if newestFirst(by) {
			found, next, err = s.runPage(ctx, ws, experiment, list, f, q, limit)
		} else {
			err = s.eachRun(ctx, ws, experiment, list, "", f, func(r *record, _ string) bool {
				found = append(found, r)
				return true
			})
			if err == nil {
				sortRows(found, by)
				found, next, err = offset(q, found, limit)
			}
		}
	}
	if err != nil {
		return err
	}
	values := make([][]byte, len(found))
	for i, r := range found {
		definition, err := s.definition(ctx, ws, r)
		if err != nil {
			return err
		}
		if values[i], err = withDefinition(r.dto(), definition); err != nil {
			return err
		}
	}
	page(w, values, next)
	return nil
}

func onlyIDs(f expr) ([]string, bool) {
	if f == nil {
		return nil, false
	}
	return f.only("runid")
}

// newestFirst says that an order is the one in which lists are kept.
func newestFirst(by []order) bool {
	return len(by) == 0 || by[0] == order{name: "starttimeutc", desc: true}
}

func (s *Service) runsByID(ctx context.Context, ws plane.Workspace, experiment string, ids []string, f expr) ([]*record, error) {
	var found []*record
	for _, id := range ids {
		r, err := s.loadIn(ctx, ws, experiment, id)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !r.Hidden && f.match(r) {
			found = append(found, r)
		}
	}
	return found, nil
}

// runPage reads a page in the kept order; the token is where it ended.
func (s *Service) runPage(ctx context.Context, ws plane.Workspace, experiment, list string, f expr, q query, limit int) (found []*record, next string, err error) {
	where, err := q.where("k")
	if err != nil {
		return nil, "", err
	}
	after, last := "", ""
	if where != "" {
		after = list + where
	}
	err = s.eachRun(ctx, ws, experiment, list, after, f, func(r *record, key string) bool {
		if len(found) == limit {
			next = token("k", strings.TrimPrefix(last, list))
			return false
		}
		found, last = append(found, r), key
		return true
	})
	return found, next, err
}

// runCounts mirrors RunCountsDto of the 2018 SDK.
type runCounts struct {
	Provisioning  int `json:"provisioning"`
	Queued        int `json:"queued"`
	NotStarted    int `json:"notStarted"`
	Starting      int `json:"starting"`
	Preparing     int `json:"preparing"`
	Running       int `json:"running"`
	Finalizing    int `json:"finalizing"`
	Cancel        int `json:"cancelRequested"`
	Completed     int `json:"completed"`
	Failed        int `json:"failed"`
	Canceled      int `json:"canceled"`
	NotResponding int `json:"notResponding"`
}

func (n *runCounts) add(status string) {
	switch status {
	case Provisioning:
		n.Provisioning++
	case Queued:
		n.Queued++
	case NotStarted:
		n.NotStarted++
	case Starting:
		n.Starting++
	case Preparing:
		n.Preparing++
	case Running:
		n.Running++
	case Finalizing:
		n.Finalizing++
	case CancelRequested:
		n.Cancel++
	case Completed:
		n.Completed++
	case Failed:
		n.Failed++
	case Canceled:
		n.Canceled++
	case NotResponding:
		n.NotResponding++
	}
}

// getCounts answers runcounts; without a filter the list's own statuses do.
func (s *Service) getCounts(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	f, err := parseFilter(q.filter, runFields)
	if err != nil {
		return err
	}
	var n runCounts
	experiment := c.Vars["experiment"]
	if f != nil {
		err = s.eachRun(r.Context(), c.Workspace, experiment, source(c.Workspace, experiment, f), "", f, func(r *record, _ string) bool {
			n.add(r.Status)
			return true
		})
	} else {
		list, after := experimentList(c.Workspace, experiment), ""
		for more := true; more && err == nil; {
			docs, lerr := s.cfg.Store.List(r.Context(), list, after, 1000)
			for _, d := range docs {
				after = d.Key
				n.add(string(d.Value))
			}
			more, err = len(docs) == 1000, lerr
		}
	}
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, n)
	return nil
}
