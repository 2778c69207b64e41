package history

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

func experimentFields(name string) (fieldKind, bool) {
	switch name {
	case "experimentid", "name":
		return idField, true
	case "description", "latestcreatedrunid":
		return textField, true
	case "createdutc", "archivedtime", "latestcreatedruncreatedutc":
		return dateField, true
	case "tags":
		return openField, true
	}
	return 0, false
}

// cell implements row.
func (e *experiment) cell(name, key string) (cell, bool) {
	switch name {
	case "experimentid":
		return cell{text: e.ID}, true
	case "name":
		return cell{text: e.Name}, true
	case "description":
		return cell{text: e.Description, null: e.Description == ""}, true
	case "latestcreatedrunid":
		return cell{text: e.LatestRun, null: e.LatestRun == ""}, true
	case "createdutc":
		return cell{date: e.Created}, true
	case "archivedtime":
		if e.Archived != nil {
			return cell{date: *e.Archived}, true
		}
	case "latestcreatedruncreatedutc":
		if e.LatestAt != nil {
			return cell{date: *e.LatestAt}, true
		}
	case "tags":
		v, ok := e.Tags[key]
		if !ok {
			return cell{}, false
		}
		if v != nil {
			return cell{text: *v}, true
		}
	}
	return cell{null: true}, true
}

func (s *Service) getExperiments(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	return s.experiments(w, r, c, q)
}

func (s *Service) queryExperiments(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQueryBody(w, r)
	if err != nil {
		return err
	}
	return s.experiments(w, r, c, q)
}

// experiments lists them by name; there are few enough to sort any other way in memory.
func (s *Service) experiments(w http.ResponseWriter, r *http.Request, c *plane.Call, q query) error {
	switch q.view {
	case "", "default", "all", "activeonly", "archivedonly":
	default:
		return plane.BadRequest("viewType", "The view type '%s' is not one of Default, All, ActiveOnly and ArchivedOnly.", cut(q.view))
	}
	f, err := parseFilter(q.filter, experimentFields)
	if err != nil {
		return err
	}
	by, err := parseOrder(q.orderBy, experimentFields)
	if err != nil {
		return err
	}
	docs, err := s.cfg.Store.List(r.Context(), key(c.Workspace, "experiment", ""), "", 0)
	if err != nil {
		return err
	}
	var found []*experiment
	for _, d := range docs {
		e, err := readExperiment(d)
		if err != nil {
			return err
		}
		if q.view == "activeonly" && e.Archived != nil || q.view == "archivedonly" && e.Archived == nil {
			continue
		}
		if f == nil || f.match(e) {
			found = append(found, e)
		}
	}
	sortRows(found, by)
	found, next, err := offset(q, found, q.limit(pageSize))
	if err != nil {
		return err
	}
	values := make([][]byte, len(found))
	for i, e := range found {
		if values[i], err = json.Marshal(e.dto()); err != nil {
			return err
		}
	}
	page(w, values, next)
	return nil
}

func (s *Service) getExperiment(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	e, err := s.experimentOf(r.Context(), c.Workspace, c.Vars["experiment"])
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, e.dto())
	return nil
}

// postExperiment makes an experiment without a run; one that is there is answered as it is.
func (s *Service) postExperiment(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	if err := byUser(c, "an experiment"); err != nil {
		return err
	}
	var dto experimentDTO
	err := s.changeExperiment(r.Context(), c.Workspace, c.Vars["experiment"], func(e *experiment) error {
		dto = e.dto()
		if e.rev != store.Absent {
			return nil
		}
		return s.storeExperiment(r.Context(), c.Workspace, e)
	})
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, dto)
	return nil
}

// experimentName finds the name to an id; a *plane.Error 404 if there is none.
func (s *Service) experimentName(ctx context.Context, ws plane.Workspace, id string) (string, error) {
	d, err := s.cfg.Store.Get(ctx, key(ws, "experimentid", fold(id)))
	if errors.Is(err, store.ErrNotFound) {
		return "", experimentNotFound(id)
	}
	return string(d.Value), err
}

func (s *Service) getExperimentByID(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, err := s.experimentName(r.Context(), c.Workspace, c.Vars["id"])
	if err != nil {
		return err
	}
	e, err := s.experimentOf(r.Context(), c.Workspace, name)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, e.dto())
	return nil
}

// patchExperiment takes ModifyExperiment of the spec.
func (s *Service) patchExperiment(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	ms, err := object(body)
	if err != nil {
		return plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	description, archive, tags := d.text("description", maxDescription), d.flag("archive"), d.pairs("tags")
	if d.err != nil {
		return d.err
	}
	return s.modifyExperiment(w, r, c, func(e *experiment) error {
		if description != nil {
			e.Description = *description
		}
		if archive != nil {
			e.Archived = nil
			if *archive {
				now := s.cfg.Clock.Now()
				e.Archived = &now
			}
		}
		for k, v := range tags {
			if e.Tags == nil {
				e.Tags = map[string]*string{}
			}
			e.Tags[k] = v
		}
		if len(e.Tags) > maxPairs {
			return plane.BadRequest("tags", "An experiment has at most %d tags; this one would have %d.", maxPairs, len(e.Tags))
		}
		return nil
	})
}

func (s *Service) deleteExperimentTags(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	names, err := readTagNames(w, r)
	if err != nil {
		return err
	}
	return s.modifyExperiment(w, r, c, func(e *experiment) error {
		for _, n := range names {
			delete(e.Tags, n)
		}
		return nil
	})
}

func (s *Service) modifyExperiment(w http.ResponseWriter, r *http.Request, c *plane.Call, fn func(e *experiment) error) error {
	if err := byUser(c, "an experiment"); err != nil {
		return err
	}
	name, err := s.experimentName(r.Context(), c.Workspace, c.Vars["id"])
	if err != nil {
		return err
	}
	var dto experimentDTO
	err = s.changeExperiment(r.Context(), c.Workspace, name, func(e *experiment) error {
		if err := fn(e); err != nil {
			return err
		}
		dto = e.dto()
		return s.storeExperiment(r.Context(), c.Workspace, e)
	})
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, dto)
	return nil
}
