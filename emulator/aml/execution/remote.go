package execution

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"lazulite.dev/emulator/aml/history"
	"lazulite.dev/emulator/aml/plane"
)

// source is how a remote run's project comes.
type source int

const (
	fromZip      source = iota // with the request, as project.zip
	fromSnapshot               // by the id of a snapshot
)

// remoteRun answers run, snapshotrun, prepare and snapshotprepare.
func (s *Service) remoteRun(from source, prepareOnly bool) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		experiment := c.Vars["experiment"]
		if err := checkExperiment(experiment); err != nil {
			return err
		}
		runID := r.URL.Query().Get("runId")
		if runID != "" && !runIDPattern().MatchString(runID) {
			return plane.BadRequest("runId", "'%s' is no run id: letters, digits, '-' and '_' only, 255 at most.", runID)
		}
		sub, err := s.readRemote(w, r, c, from, prepareOnly)
		if err != nil {
			return err
		}
		defer sub.discard()
		t, err := s.resolve(r.Context(), c.Workspace, sub.def.Configuration.Target, sub.def.TargetDetails)
		if err != nil {
			return err
		}
		if err := t.check(sub.def.Configuration); err != nil {
			return err
		}
		if runID == "" {
			if runID, err = s.newRunID(experiment); err != nil {
				return err
			}
		}
		if err := s.accept(r.Context(), c, experiment, runID, sub, t, prepareOnly); err != nil {
			return err
		}
		plane.WriteJSON(w, http.StatusOK, map[string]string{"runId": runID, "target": sub.def.Configuration.Target})
		return nil
	}
}

func (s *Service) readRemote(w http.ResponseWriter, r *http.Request, c *plane.Call, from source, prepareOnly bool) (*submission, error) {
	var sub *submission
	if from == fromZip {
		var err error
		if sub, err = s.readSubmission(w, r, prepareOnly, maxProjectZip); err != nil {
			return nil, err
		}
	} else {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDefinition))
		if err != nil {
			return nil, plane.TooLarge("The definition is larger than %d MB.", maxDefinition>>20)
		}
		def, err := parseDefinition(b, prepareOnly)
		if err != nil {
			return nil, err
		}
		if def.SnapshotID == "" {
			return nil, plane.BadRequest("SnapshotId", "'SnapshotId' must name a snapshot of the project.")
		}
		sub = &submission{def: def}
		if sub.zip, err = s.snapshot(r.Context(), c.Workspace, def.SnapshotID); err != nil {
			return nil, err
		}
	}
	return sub, nil
}

// snapshot writes the snapshot's files to a temporary zip.
func (s *Service) snapshot(ctx context.Context, ws plane.Workspace, id string) (string, error) {
	f, err := os.CreateTemp(s.cfg.Dir, "incoming-*.zip")
	if err != nil {
		return "", fmt.Errorf("execution: %w", err)
	}
	err = s.cfg.Assets.SnapshotZip(ctx, ws, id, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = checkZip(f.Name(), "The snapshot")
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// newRunID makes an id as the SDK does: {experiment}_{unix seconds}_{8 hex}.
func (s *Service) newRunID(experiment string) (string, error) {
	b := make([]byte, 4)
	if _, err := io.ReadFull(s.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("execution: %w", err)
	}
	return fmt.Sprintf("%s_%d_%s", experiment, s.cfg.Clock.Now().Unix(), hex.EncodeToString(b)), nil
}

// accept makes the run and its record. The record comes first: a crash between
// the two leaves a record without a run, which the next Open drops.
func (s *Service) accept(ctx context.Context, c *plane.Call, experiment, runID string, sub *submission, t target, prepareOnly bool) error {
	endpoint := c.Base
	if s.cfg.Endpoint != nil {
		endpoint = s.cfg.Endpoint(c.Workspace)
	}
	inv, err := s.newInvocation(ctx, c.Workspace, experiment, runID, endpoint, sub.def, t, prepareOnly)
	if err != nil {
		return err
	}
	rec := &record{
		Workspace: c.Workspace, Experiment: experiment, RunID: runID, Target: sub.def.Configuration.Target,
		Details: sub.def.TargetDetails, Definition: sub.def.raw, Endpoint: endpoint, PrepareOnly: prepareOnly,
	}
	if _, err := s.cfg.Store.Get(ctx, rec.key()); err == nil {
		return plane.Conflict("The run %s exists already.", runID)
	}
	failure := ""
	if !prepareOnly && sub.def.Configuration.Script != "" {
		ok, err := hasScript(sub.zip, sub.def.Configuration.Script)
		if err != nil {
			return err
		}
		if !ok {
			failure = fmt.Sprintf("The script '%s' is not in the project folder.", sub.def.Configuration.Script)
		}
	}
	if failure == "" {
		if err := s.keepProject(rec, sub); err != nil {
			return err
		}
		if err := s.save(ctx, rec); err != nil {
			return err
		}
	}
	if err := s.createRemote(ctx, c, sub, rec, inv, t); err != nil {
		if failure == "" {
			err = errors.Join(err, s.drop(ctx, rec))
		}
		return err
	}
	if failure != "" {
		_, err := s.cfg.Runs.SetStatus(ctx, c.Workspace, runID, "Failed", &history.RunError{Code: "UserError", Message: failure})
		return err
	}
	s.supervise(rec)
	return nil
}

func (s *Service) createRemote(ctx context.Context, c *plane.Call, sub *submission, rec *record, inv *invocation, t target) error {
	n := newRun(c, sub.def, rec.Experiment, rec.RunID)
	if t.ordered() {
		n.Status = history.Starting
	}
	if _, err := s.cfg.Runs.Create(ctx, c.Workspace, n); err != nil {
		return err
	}
	if err := s.warn(ctx, c.Workspace, inv); err != nil {
		return s.abandon(ctx, c.Workspace, rec.RunID, err)
	}
	if sub.def.SnapshotID != "" {
		return nil
	}
	name := sub.zip
	if name == "" {
		name = s.projectFile(rec.key())
	}
	f, err := os.Open(name)
	if err != nil {
		return s.abandon(ctx, c.Workspace, rec.RunID, fmt.Errorf("execution: %w", err))
	}
	defer func() { _ = f.Close() }()
	if err := s.cfg.Assets.StoreProject(ctx, c.Workspace, rec.RunID, f); err != nil {
		return s.abandon(ctx, c.Workspace, rec.RunID, err)
	}
	return nil
}

// keepProject moves the project to where a restart finds it.
func (s *Service) keepProject(rec *record, sub *submission) error {
	name := s.projectFile(rec.key())
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	if err := os.Rename(sub.zip, name); err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	sub.zip = ""
	return s.keepLogin(rec.key(), sub.def.Configuration)
}

// checkPrepare asks the machine whether a run could start there without preparing anything.
func (s *Service) checkPrepare(from source) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		experiment := c.Vars["experiment"]
		if err := checkExperiment(experiment); err != nil {
			return err
		}
		sub, err := s.readRemote(w, r, c, from, true)
		if err != nil {
			return err
		}
		defer sub.discard()
		t, err := s.resolve(r.Context(), c.Workspace, sub.def.Configuration.Target, sub.def.TargetDetails)
		if err != nil {
			return err
		}
		if t.ordered() {
			// Its machine is not there before the run.
			plane.WriteJSON(w, http.StatusOK, map[string]bool{"environmentPrepared": false})
			return nil
		}
		id, err := s.newRunID("check")
		if err != nil {
			return err
		}
		inv, err := s.newInvocation(r.Context(), c.Workspace, experiment, id, c.Base, sub.def, t, true)
		if err != nil {
			return err
		}
		ok, err := s.ssh.prepared(r.Context(), t.machine, sub.zip, inv)
		if err != nil {
			return onMachine(t.machine, err)
		}
		plane.WriteJSON(w, http.StatusOK, map[string]bool{"environmentPrepared": ok})
		return nil
	}
}

// onMachine words a failure to talk to a machine for the client.
func onMachine(m machine, err error) error {
	var e *ConnectError
	if errors.As(err, &e) {
		return plane.BadRequest("Target", "The target '%s' cannot be used: %s", m.Name, e.Error())
	}
	return err
}
