package history

import (
	"context"
	"net/http"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/plane"
)

// Register adds the routes of history/v1.0: what SDK 0.1.68 calls, its legacy
// paths below /projects, and the methods that the 2019-08-01 spec has besides.
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

		run := exp + "/runs/{run}"
		m.Handle("GET", run, s.getRun)
		m.Handle("PATCH", run, s.patchRun)
		m.Handle("PUT", run, s.putRun)
		m.Handle("GET", run+"/details", s.getDetails)
		m.Handle("GET", run+"/runstatus", s.getDetails)
		m.Handle("GET", run+"/token", s.getToken)
		m.Handle("GET", run+"/children", s.getChildren)
		m.Handle("GET", run+"/childruns", s.getChildren)
		m.Handle("POST", run+"/childruns", s.postChild)
		m.Handle("DELETE", run+"/tags", s.deleteTags)

		m.Handle("GET", run+"/events", s.getEvents)
		m.Handle("POST", run+"/events", s.postEvent)
		m.Handle("POST", exp+"/batch/events", s.postEvents)

		m.Handle("POST", run+"/metrics", s.postMetric)
		m.Handle("POST", run+"/runmetrics", s.postMetric)
		m.Handle("POST", run+"/batch/metrics", s.postMetric)
		m.Handle("GET", exp+"/metrics", s.getMetrics)
		m.Handle("GET", exp+"/runmetrics", s.getMetrics)
		m.Handle("POST", exp+"/metrics:query", s.queryMetrics)
		m.Handle("GET", exp+"/metrics/{metric}", s.getMetric)
		m.Handle("GET", exp+"/runmetrics/{metric}", s.getMetric)
	}
	m.Handle("GET", scope+"experimentids/{id}", s.getExperimentByID)
	m.Handle("PATCH", scope+"experimentids/{id}", s.patchExperiment)
	m.Handle("DELETE", scope+"experimentids/{id}/tags", s.deleteExperimentTags)
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
