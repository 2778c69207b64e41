package history

import (
	"context"
	"net/http"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/plane"
)

// Register adds the routes of history/v1.0: what SDK 0.1.68 calls, its legacy
// paths below /projects, what SDK 1.x calls by an experiment's id or with no
// experiment, and the methods that the 2019-08-01 spec has besides; and metric/v2.0.
func (s *Service) Register(m *plane.Mux) {
	const scope = "history/v1.0/{WS}/"
	for _, kind := range []string{"experiments", "projects"} {
		m.Handle("GET", scope+kind, s.getExperiments)
		m.Handle("POST", scope+kind+":query", s.queryExperiments)
		exp := scope + kind + "/{experiment}"
		m.Handle("GET", exp, s.getExperiment)
		m.Handle("POST", exp, s.postExperiment)

		m.Handle("GET", exp+"/runs", s.getRuns)
		m.Handle("POST", exp+"/runs", s.postRun)
		m.Handle("PATCH", exp+"/runs", s.postRun)
		m.Handle("POST", exp+"/runs:query", s.queryRuns)
		m.Handle("PATCH", exp+"/batch/runs", s.patchRuns)
		m.Handle("GET", exp+"/runcounts", s.getCounts)
		m.Handle("GET", exp+"/runs:runcounts", s.getCounts)

		s.registerRun(m, exp+"/runs/{run}", func(h plane.HandlerFunc) plane.HandlerFunc { return h })
		m.Handle("POST", exp+"/batch/events", s.postEvents)
		m.Handle("GET", exp+"/metrics", s.getMetrics)
		m.Handle("GET", exp+"/runmetrics", s.getMetrics)
		m.Handle("POST", exp+"/metrics:query", s.queryMetrics)
		m.Handle("GET", exp+"/metrics/{metric}", s.getMetric)
		m.Handle("GET", exp+"/runmetrics/{metric}", s.getMetric)
	}
	m.Handle("GET", scope+"experimentids/{id}", s.getExperimentByID)
	m.Handle("PATCH", scope+"experimentids/{id}", s.patchExperiment)
	m.Handle("DELETE", scope+"experimentids/{id}/tags", s.deleteExperimentTags)
	m.Handle("POST", scope+"experimentids/{id}/tags:delete", s.deleteExperimentTags)
	s.registerRun(m, scope+"experimentids/{id}/runs/{run}", s.byExperimentID)
	s.registerRun(m, scope+"runs/{run}", s.byRun)

	const values = "metric/v2.0/{WS}/runs/{run}"
	m.Handle("POST", values+"/batch", s.byRun(s.postRows))
	m.Handle("POST", values+"/full", s.getRows)
	m.Handle("POST", values+"/list", s.listRows)
}

// registerRun adds what can be done with one run, below its path.
func (s *Service) registerRun(m *plane.Mux, run string, in func(plane.HandlerFunc) plane.HandlerFunc) {
	for _, r := range []struct {
		method, path string
		handler      plane.HandlerFunc
	}{
		{"GET", "", s.getRun}, {"PATCH", "", s.patchRun}, {"PUT", "", s.putRun},
		{"GET", "/details", s.getDetails}, {"GET", "/runstatus", s.getDetails}, {"GET", "/token", s.getToken},
		{"GET", "/children", s.getChildren}, {"GET", "/childruns", s.getChildren}, {"POST", "/childruns", s.postChild},
		{"DELETE", "/tags", s.deleteTags}, {"GET", "/events", s.getEvents}, {"POST", "/events", s.postEvent},
		{"POST", "/metrics", s.postMetric}, {"POST", "/runmetrics", s.postMetric}, {"POST", "/batch/metrics", s.postMetric},
		{"GET", "/metricsingest/wait", s.waitIngest},
	} {
		m.Handle(r.method, run+r.path, in(r.handler))
	}
}

// byExperimentID finds the experiment's name for a path that has its id.
func (s *Service) byExperimentID(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		var err error
		if c.Vars["experiment"], err = s.experimentName(r.Context(), c.Workspace, c.Vars["id"]); err != nil {
			return err
		}
		return h(w, r, c)
	}
}

// byRun finds the experiment for a path that names the run alone.
func (s *Service) byRun(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		run, err := s.load(r.Context(), c.Workspace, c.Vars["run"])
		if err != nil {
			return err
		}
		c.Vars["experiment"] = run.Experiment
		return h(w, r, c)
	}
}

// waitIngest is over at once: a metric is stored before its POST is answered.
func (s *Service) waitIngest(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	if _, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], c.Vars["run"]); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, struct{}{})
	return nil
}

func forbidden(caller, what string) *plane.Error {
	return &plane.Error{Status: http.StatusForbidden, Code: "UserError", Inner: "AuthorizationFailed",
		Message: "The token of run " + caller + " does not allow it to write " + what + "."}
}

// allow returns the check that a caller may write a run: a run's token is good
// for the run and for what is below its root, any other token for all.
func (s *Service) allow(ctx context.Context, c *plane.Call) func(r *record) error {
	if c.Caller.RunID == "" {
		return nil
	}
	return func(r *record) error {
		if fold(r.RunID) == fold(c.Caller.RunID) && r.rev != 0 {
			return nil
		}
		own, err := s.load(ctx, c.Workspace, c.Caller.RunID)
		if err != nil && !isNotFound(err) {
			return err
		}
		if err != nil || fold(own.RootRunID) != fold(r.RootRunID) || fold(r.RunID) == fold(r.RootRunID) {
			return forbidden(c.Caller.RunID, "run "+r.RunID)
		}
		return nil
	}
}

// writable loads a run that the caller may write.
func (s *Service) writable(ctx context.Context, c *plane.Call, id string) (*record, error) {
	r, err := s.loadIn(ctx, c.Workspace, c.Vars["experiment"], id)
	if err != nil {
		return nil, err
	}
	if allow := s.allow(ctx, c); allow != nil {
		return r, allow(r)
	}
	return r, nil
}

// byUser refuses run tokens where no run is written.
func byUser(c *plane.Call, what string) error {
	if c.Caller.RunID != "" {
		return forbidden(c.Caller.RunID, what)
	}
	return nil
}

func authorOf(c aad.Claims) author {
	a := author{UserID: c.ObjectID, TenantID: c.Tenant, UserName: c.UPN}
	if a.UserName == "" {
		a.UserName = c.AppID
	}
	return a
}
