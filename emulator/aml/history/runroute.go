package history

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
)

func (s *Service) getRuns(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	return s.runs(w, r, c, "", q)
}

func (s *Service) queryRuns(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQueryBody(w, r)
	if err != nil {
		return err
	}
	return s.runs(w, r, c, "", q)
}

func (s *Service) getChildren(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	parent, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], c.Vars["run"])
	if err != nil {
		return err
	}
	return s.runs(w, r, c, childList(c.Workspace, parent.RunID), q)
}

func (s *Service) writeRun(ctx context.Context, w http.ResponseWriter, c *plane.Call, r *record, dto runDTO) error {
	definition, err := s.definition(ctx, c.Workspace, r)
	if err != nil {
		return err
	}
	b, err := withDefinition(dto, definition)
	if err != nil {
		return err
	}
	plane.WriteRaw(w, http.StatusOK, b)
	return nil
}

func (s *Service) getRun(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	rec, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], c.Vars["run"])
	if err != nil {
		return err
	}
	return s.writeRun(r.Context(), w, c, rec, rec.dto())
}

func (s *Service) getDetails(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	ctx := r.Context()
	rec, err := s.loadIn(ctx, c.Workspace, c.Vars["experiment"], c.Vars["run"])
	if err != nil {
		return err
	}
	var logs map[string]string
	if s.cfg.LogFiles != nil {
		if logs, err = s.cfg.LogFiles(ctx, c.Workspace, rec.RunID); err != nil {
			return err
		}
	}
	definition, err := s.definition(ctx, c.Workspace, rec)
	if err != nil {
		return err
	}
	b, err := withDefinition(rec.details(logs), definition)
	if err != nil {
		return err
	}
	plane.WriteRaw(w, http.StatusOK, b)
	return nil
}

// tokenResult mirrors TokenResult of the 2018 SDK.
type tokenResult struct {
	Token   string `json:"token"`
	Expires string `json:"expiryTimeUtc"`
}

// getToken hands out a right to write, and so asks for it.
func (s *Service) getToken(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	rec, err := s.writable(r.Context(), c, c.Vars["run"])
	if err != nil {
		return err
	}
	t, err := s.Token(r.Context(), c.Workspace, rec.RunID)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, tokenResult{t.Token, stamp(t.Expires)})
	return nil
}

func (s *Service) patchRun(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.changeRun(w, r, c, c.Vars["run"], false)
}

// putRun is the SDK's update_run: ModifyRunDto, for a run that exists.
func (s *Service) putRun(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.changeRun(w, r, c, c.Vars["run"], true)
}

// postRun is the legacy way: the id is in the body alone, or left to the service.
func (s *Service) postRun(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.changeRun(w, r, c, "", false)
}

func (s *Service) changeRun(w http.ResponseWriter, r *http.Request, c *plane.Call, id string, exists bool) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	ch, err := readChange(body)
	if err != nil {
		return err
	}
	rec, dto, err := s.putFor(r.Context(), c, id, ch, exists)
	if err != nil {
		return err
	}
	return s.writeRun(r.Context(), w, c, rec, dto)
}

// postChild is the legacy way to make a child: the path has the parent.
func (s *Service) postChild(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	ch, err := readChange(body)
	if err != nil {
		return err
	}
	parent := c.Vars["run"]
	if ch.ParentRunID != nil && fold(*ch.ParentRunID) != fold(parent) {
		return plane.BadRequest("parentRunId", "The body's parentRunId '%s' is not the run of the path.", cut(*ch.ParentRunID))
	}
	ch.ParentRunID = &parent
	rec, dto, err := s.putFor(r.Context(), c, "", ch, false)
	if err != nil {
		return err
	}
	return s.writeRun(r.Context(), w, c, rec, dto)
}

// putFor is put with the caller's rights. A child that a run makes comes with
// its token: the run's own is not given to it.
func (s *Service) putFor(ctx context.Context, c *plane.Call, id string, ch change, exists bool) (*record, runDTO, error) {
	switch {
	case ch.RunID != nil && id != "" && fold(*ch.RunID) != fold(id):
		return nil, runDTO{}, plane.BadRequest("runId", "The body's runId '%s' is not the run of the path.", cut(*ch.RunID))
	case id == "" && ch.RunID != nil:
		id = *ch.RunID
	case id == "":
		id = uuid.NewString()
	}
	rec, err := s.put(ctx, c.Workspace, putRun{
		experiment: c.Vars["experiment"], id: id, change: ch, by: authorOf(c.Caller), allow: s.allow(ctx, c), exists: exists,
	})
	if err != nil {
		return nil, runDTO{}, err
	}
	dto := rec.dto()
	if c.Caller.RunID != "" && ch.ParentRunID != nil {
		t, err := s.Token(ctx, c.Workspace, rec.RunID)
		if err != nil {
			return nil, runDTO{}, err
		}
		dto.Token, dto.TokenExpiry = t.Token, stamp(t.Expires)
	}
	return rec, dto, nil
}

// batchResult mirrors BatchAddOrModifyRunResult of the spec.
type batchResult struct {
	Runs   map[string]runDTO        `json:"runs"`
	Errors map[string]errorResponse `json:"errors"`
}

// patchRuns makes or changes many runs, each for itself.
func (s *Service) patchRuns(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	items, err := listIn(body, "runs")
	if err != nil {
		return err
	}
	changes := make([]change, len(items))
	for i, raw := range items {
		if changes[i], err = readChange(raw); err != nil {
			return err
		}
		if changes[i].RunID == nil {
			return plane.BadRequest("runId", "A run of the batch has no runId.")
		}
	}
	out := batchResult{Runs: map[string]runDTO{}, Errors: map[string]errorResponse{}}
	for _, ch := range changes {
		_, dto, err := s.putFor(r.Context(), c, *ch.RunID, ch, false)
		var refused *plane.Error
		switch {
		case err == nil:
			out.Runs[*ch.RunID] = dto
		case errors.As(err, &refused):
			out.Errors[*ch.RunID] = s.response(refused)
		default:
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// response is an error of one item in a batch.
func (s *Service) response(e *plane.Error) errorResponse {
	root := &rootError{Code: e.Code, Message: e.Message, Target: e.Target, Details: []errorDetail{}}
	if e.Inner != "" {
		root.InnerError = &innerError{Code: e.Inner}
	}
	return errorResponse{Error: root, Correlation: map[string]string{}, Time: stamp(s.cfg.Clock.Now())}
}

// listIn returns the elements of the array under name in an object.
func listIn(body []byte, name string) ([][]byte, error) {
	ms, err := object(body)
	if err != nil {
		return nil, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	raw := field(ms, name)
	if k := kind(raw); k != "array" {
		return nil, wrongKind(name, k, "array")
	}
	return array(raw)
}

// deleteTags removes tags by name (DeleteTagsCommand); those that are not there are no error.
func (s *Service) deleteTags(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	names, err := readTagNames(w, r)
	if err != nil {
		return err
	}
	if _, err := s.writable(r.Context(), c, c.Vars["run"]); err != nil {
		return err
	}
	rec, err := s.modify(r.Context(), c.Workspace, c.Vars["run"], func(r *record) error {
		for _, n := range names {
			delete(r.Tags, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.writeRun(r.Context(), w, c, rec, rec.dto())
}

// readTagNames takes DeleteTagsCommand, and the bare list that SDK 1.x sends for a run.
func readTagNames(w http.ResponseWriter, r *http.Request) ([]string, error) {
	var raw json.RawMessage
	if err := plane.ReadJSON(w, r, &raw); err != nil {
		return nil, err
	}
	var cmd struct {
		Tags []string `json:"tags"`
	}
	to := any(&cmd)
	if kind(raw) == "array" {
		to = &cmd.Tags
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return nil, plane.BadRequest("tags", "The value of 'tags' is not a list of names.")
	}
	if cmd.Tags == nil {
		return nil, plane.BadRequest("tags", "The body has no list 'tags'.")
	}
	return cmd.Tags, nil
}
