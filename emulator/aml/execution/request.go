package execution

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
)

// targetRequest is the body of cancel, clean and diagnostics.
type targetRequest struct {
	RunID        string `json:"RunId"`
	Target       string
	CustomTarget *targetDetails
}

func (s *Service) cancelRun(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var req targetRequest
	if err := plane.ReadJSON(w, r, &req); err != nil {
		return err
	}
	if req.RunID == "" {
		return plane.BadRequest("RunId", "'RunId' must name a run.")
	}
	run, err := s.cfg.Runs.Get(r.Context(), c.Workspace, req.RunID)
	if err != nil {
		return err
	}
	if !history.Terminal(run.Status) {
		rec := record{Workspace: c.Workspace, RunID: req.RunID}
		_, err := s.cfg.Store.Get(r.Context(), rec.key())
		if err == nil {
			if _, err = s.cfg.Runs.SetStatus(r.Context(), c.Workspace, req.RunID, "CancelRequested", nil); err == nil {
				err = s.requestCancel(r.Context(), rec.key())
			}
		} else {
			// Nothing of ours has it: a local run's control script sees this state and ends.
			_, err = s.cfg.Runs.SetStatus(r.Context(), c.Workspace, req.RunID, "Canceled", nil)
		}
		if err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, map[string]string{"runId": run.RunID})
	return nil
}

// machine is the target of a request that is about a machine's folders.
func (s *Service) machine(ctx context.Context, ws plane.Workspace, req targetRequest) (machine, error) {
	t, err := s.resolve(ctx, ws, req.Target, req.CustomTarget)
	if err == nil && t.ordered() {
		err = plane.BadRequest("Target", "The target '%s' keeps no folders of runs: what a run leaves are its artifacts.", req.Target)
	}
	return t.machine, err
}

func (s *Service) clean(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var req targetRequest
	if err := plane.ReadJSON(w, r, &req); err != nil {
		return err
	}
	all := strings.EqualFold(r.URL.Query().Get("all"), "true")
	if !all && !runIDPattern().MatchString(req.RunID) {
		return plane.BadRequest("RunId", "'RunId' must name a run where 'all' is not true.")
	}
	target, err := s.machine(r.Context(), c.Workspace, req)
	if err != nil {
		return err
	}
	what := "--all"
	if !all {
		what = runFolder(req.RunID)
	}
	removed, err := s.ssh.clean(r.Context(), target, what)
	if err != nil {
		return onMachine(target, err)
	}
	b, err := json.Marshal(removed)
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	plane.WriteJSON(w, http.StatusOK, json.RawMessage(b))
	return nil
}

func (s *Service) diagnostics(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var req targetRequest
	if err := plane.ReadJSON(w, r, &req); err != nil {
		return err
	}
	if !runIDPattern().MatchString(req.RunID) {
		return plane.BadRequest("RunId", "'RunId' must name a run.")
	}
	if _, err := s.cfg.Runs.Get(r.Context(), c.Workspace, req.RunID); err != nil {
		return err
	}
	target, err := s.machine(r.Context(), c.Workspace, req)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.cfg.Dir, "diagnostics-*.zip")
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	if err := s.ssh.diagnostics(r.Context(), target, req.RunID, f); err != nil {
		return onMachine(target, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	w.Header().Set("Content-Type", "application/zip")
	_, _ = io.Copy(w, f)
	return nil
}
