package execution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
)

// runType makes the SDK's get_runs return ScriptRun objects.
const runType = "azureml.scriptrun"

// localRun answers localrun and localprepare: the run is made, and its control scripts go out as a zip.
func (s *Service) localRun(prepareOnly bool) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		experiment, runID := c.Vars["experiment"], r.URL.Query().Get("runId")
		if err := checkExperiment(experiment); err != nil {
			return err
		}
		if !runIDPattern().MatchString(runID) {
			return plane.BadRequest("runId", "'%s' is no run id: letters, digits, '-' and '_' only, 255 at most.", runID)
		}
		sub, err := s.readSubmission(w, r, prepareOnly, maxConfigZip)
		if err != nil {
			return err
		}
		defer sub.discard() // the machine has the project; its configuration is in the definition
		if !isLocal(sub.def) {
			return plane.BadRequest("Configuration.target", "The target '%s' is not local.", sub.def.Configuration.Target)
		}
		if err := sub.def.Configuration.checkOneProcess("local"); err != nil {
			return err
		}
		inv, err := s.newInvocation(r.Context(), c.Workspace, experiment, runID, c.Base, sub.def, target{}, prepareOnly)
		if err != nil {
			return err
		}
		if err := s.createLocal(r.Context(), c, sub.def, inv); err != nil {
			return err
		}
		var b bytes.Buffer
		if err := inv.write(&b); err != nil {
			return s.abandon(r.Context(), c.Workspace, runID, err)
		}
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		_, _ = w.Write(b.Bytes())
		return nil
	}
}

func (s *Service) createLocal(ctx context.Context, c *plane.Call, d *definition, inv *invocation) error {
	n := newRun(c, d, inv.job.Experiment, inv.job.RunID)
	_, err := s.cfg.Runs.Create(ctx, c.Workspace, n)
	var e *plane.Error
	if errors.As(err, &e) && e.Status == http.StatusConflict {
		// The answer to a first try may have been lost: the same request again gets it.
		old, gerr := s.cfg.Runs.Get(ctx, c.Workspace, inv.job.RunID)
		if gerr != nil || old.Status != n.Status || old.Experiment != n.Experiment || !sameJSON(old.RunDefinition, n.RunDefinition) {
			return err
		}
		err = nil
	}
	if err != nil {
		return err
	}
	if err := s.identify(ctx, c.Workspace, inv); err != nil {
		return s.abandon(ctx, c.Workspace, inv.job.RunID, err)
	}
	return s.warn(ctx, c.Workspace, inv)
}

// abandon fails a run that was made but cannot be started, and passes the error on.
func (s *Service) abandon(ctx context.Context, ws plane.Workspace, runID string, err error) error {
	message := "The run could not be started."
	var e *plane.Error
	if errors.As(err, &e) {
		message = e.Message
	}
	if _, serr := s.cfg.Runs.SetStatus(ctx, ws, runID, "Failed", &history.RunError{Code: "ServiceError", Message: message}); serr != nil {
		return errors.Join(err, serr)
	}
	return err
}

// warn tells in the run's details what will be done otherwise than asked.
func (s *Service) warn(ctx context.Context, ws plane.Workspace, inv *invocation) error {
	for _, ref := range inv.job.DataReferences {
		if ref.Mode != "mount" {
			continue
		}
		err := s.cfg.Runs.AddWarning(ctx, ws, inv.job.RunID, history.Warning{Source: "execution", Message: fmt.Sprintf(
			"The data reference '%s' is not mounted: its files are copied in before the script starts, and what it writes is copied back at its end.", ref.Name)})
		if err != nil {
			return err
		}
	}
	return nil
}

func newRun(c *plane.Call, d *definition, experiment, runID string) history.NewRun {
	n := history.NewRun{
		Experiment: experiment, RunID: runID, Status: "Preparing", Target: d.Configuration.Target,
		ScriptName: d.Configuration.Script, RunType: runType, UserID: c.Caller.ObjectID, RunDefinition: d.raw,
		Properties: map[string]string{"azureml.runsource": "experiment"},
	}
	n.ParentRunID = d.ParentRunID
	if d.SnapshotID != "" {
		n.Properties["ContentSnapshotId"] = d.SnapshotID
	}
	return n
}

func checkExperiment(name string) error {
	if !experimentName.MatchString(name) {
		return plane.BadRequest("experimentName",
			"The experiment name '%s' must be 3 to 33 characters long, start with a letter or a digit, and hold only letters, digits, '-' and '_'.", name)
	}
	return nil
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
