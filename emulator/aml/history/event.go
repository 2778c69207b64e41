package history

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// eventPrefix starts the names of the events that change a run's status.
const eventPrefix = "Microsoft.MachineLearning.Run."

// maxTTL bounds TimeToLiveSeconds of a heartbeat.
const maxTTL = 7 * 24 * 3600

// event is a BaseEvent of the spec, read.
type event struct {
	name  string
	runID string    // data.RunId; may be empty
	at    time.Time // data.StartTime or data.EndTime, else timestamp, else now
	stamp time.Time
	ttl   int // data.TimeToLiveSeconds
	error *rootError
	// warning of an event that warns; SDK 1.x sends those, and errors before the end.
	warning *Warning
	data    []byte
}

// status that the event reports; empty if it reports none.
func (e *event) status() string {
	switch fold(e.name) {
	case fold(eventPrefix + "Start"), fold(eventPrefix + "Heartbeat"):
		return Running
	case fold(eventPrefix + Completed):
		return Completed
	case fold(eventPrefix + Failed):
		return Failed
	case fold(eventPrefix + Canceled):
		return Canceled
	case fold(eventPrefix + CancelRequested):
		return CancelRequested
	}
	return ""
}

func (e *event) is(kind string) bool { return strings.EqualFold(e.name, eventPrefix+kind) }

func (e *event) heartbeat() bool { return strings.EqualFold(e.name, eventPrefix+"Heartbeat") }

func readEvent(body []byte, now time.Time) (*event, error) {
	ms, err := object(body)
	if err != nil {
		return nil, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	name, at, data := d.text("name", maxName), d.date("timestamp"), d.object("data")
	if d.err != nil {
		return nil, d.err
	}
	if name == nil || *name == "" {
		return nil, plane.BadRequest("name", "The event has no 'name'.")
	}
	e := &event{name: *name, at: now, stamp: now, data: data}
	if at != nil {
		e.at, e.stamp = *at, *at
	}
	if data == nil {
		e.data = []byte("{}")
		return e, nil
	}
	return e, e.readData()
}

func (e *event) readData() error {
	ms, err := object(e.data)
	if err != nil {
		return plane.BadRequest("data", "The value of 'data' is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	if id := d.text("RunId", maxRunID); id != nil {
		e.runID = *id
	}
	switch e.status() {
	case "":
		switch {
		case e.is("Error"):
			e.readError(d, "ErrorResponse")
		case e.is("Warning"):
			source, message := d.text("Source", maxName), d.text("Message", maxDescription)
			if message != nil {
				e.warning = &Warning{Message: *message}
				if source != nil {
					e.warning.Source = *source
				}
			}
		}
		// Other data is its sender's own affair.
		return d.err
	case Running:
		if t := d.date("StartTime"); t != nil {
			e.at = *t
		}
	case Failed:
		e.readError(d, "Error")
		fallthrough
	default:
		if t := d.date("EndTime"); t != nil {
			e.at = *t
		}
	}
	if e.heartbeat() && d.decode("TimeToLiveSeconds", "number", &e.ttl) && (e.ttl < 1 || e.ttl > maxTTL) {
		d.err = plane.BadRequest("TimeToLiveSeconds", "The value of 'TimeToLiveSeconds' must be from 1 to %d.", maxTTL)
	}
	return d.err
}

// readError takes a member of data: a text, a {code, message, ...}, or an ErrorResponse around it.
func (e *event) readError(d *reader, name string) {
	raw := field(d.members, name)
	if raw == nil || d.err != nil {
		return
	}
	switch kind(raw) {
	case "string":
		text, err := unquote(raw)
		if err != nil {
			d.err = plane.BadRequest(name, "The value of '%s' does not fit.", name)
			return
		}
		e.error = &rootError{Code: "UserError", Message: text}
	case "object":
		ms, err := object(raw)
		if err != nil {
			d.err = plane.BadRequest(name, "The value of '%s' is not valid JSON: %s.", name, err)
			return
		}
		if inner := field(ms, "error"); kind(inner) == "object" {
			raw = inner
		}
		var root rootError
		if err := json.Unmarshal(raw, &root); err != nil {
			d.err = plane.BadRequest(name, "The value of '%s' is not an error with code and message.", name)
			return
		}
		e.error = &root
	default:
		d.err = wrongKind(name, kind(raw), "object")
	}
}

// doc is the event as it is stored and listed: its data untouched.
func (e *event) doc(experimentID string) ([]byte, error) {
	head, err := json.Marshal(struct {
		Timestamp    string `json:"timestamp"`
		Name         string `json:"name"`
		ExperimentID string `json:"experimentId"`
	}{stamp(e.stamp), e.name, experimentID})
	if err != nil {
		return nil, err
	}
	b := append(head[:len(head)-1], `,"data":`...)
	return append(append(b, e.data...), '}'), nil
}

// apply makes the event's report the run's state; a state that lies behind stays.
func (e *event) apply(r *record) {
	if e.heartbeat() {
		r.Heartbeat = true
		if e.ttl > 0 {
			r.TTL = e.ttl
		}
		if r.Status == NotResponding {
			r.move(Running, e.at)
		}
		return
	}
	if e.warning != nil {
		r.Warnings = append(r.Warnings[:len(r.Warnings):len(r.Warnings)], *e.warning)
	}
	if e.is("Error") && !Terminal(r.Status) {
		r.fail(e.error)
	}
	if to := e.status(); to != "" && r.move(to, e.at) && to == Failed {
		r.fail(e.error)
	}
}

// record stores an event and what it changes, together. Of heartbeats the
// last one stands for all: there is one each 24 seconds.
func (s *Service) record(ctx context.Context, ws plane.Workspace, id string, e *event) error {
	_, err := s.modifyWith(ctx, ws, id, func(_, r *record) ([]store.Op, error) {
		place := "heartbeat"
		if !e.heartbeat() {
			var err error
			if place, err = s.seq.next(ctx, s.cfg.Store); err != nil {
				return nil, err
			}
		}
		doc, err := e.doc(r.ExperimentID)
		if err != nil {
			return nil, err
		}
		e.apply(r)
		if e.heartbeat() && r.watched() {
			s.beats.set(beatKey{fold(ws.GUID), fold(r.RunID)}, s.cfg.Clock.Now().Add(r.ttl()))
		}
		return []store.Op{{Key: key(ws, "event", fold(r.RunID), place), Value: doc, If: store.Any}}, nil
	})
	return err
}

func (s *Service) postEvent(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	e, err := readEvent(body, s.cfg.Clock.Now())
	if err != nil {
		return err
	}
	run, err := s.writable(r.Context(), c, c.Vars["run"])
	if err != nil {
		return err
	}
	if e.runID != "" && fold(e.runID) != fold(run.RunID) {
		return plane.BadRequest("RunId", "The event's RunId '%s' is not the run of the path.", cut(e.runID))
	}
	if err := s.record(r.Context(), c.Workspace, run.RunID, e); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// eventError mirrors KeyValuePairBaseEventErrorResponse of the spec.
type eventError struct {
	Key   json.RawMessage `json:"key"`
	Value errorResponse   `json:"value"`
}

// postEvents takes BatchEventCommand: each event for itself, its run in data.RunId.
func (s *Service) postEvents(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return err
	}
	items, err := listIn(body, "events")
	if err != nil {
		return err
	}
	failed := []eventError{}
	for _, raw := range items {
		err := s.postOne(r.Context(), c, raw)
		var refused *plane.Error
		switch {
		case err == nil:
		case errors.As(err, &refused):
			if !json.Valid(raw) {
				raw = []byte("null")
			}
			failed = append(failed, eventError{raw, s.response(refused)})
		default:
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, map[string]any{"errors": failed})
	return nil
}

func (s *Service) postOne(ctx context.Context, c *plane.Call, raw []byte) error {
	e, err := readEvent(raw, s.cfg.Clock.Now())
	if err != nil {
		return err
	}
	if e.runID == "" {
		return plane.BadRequest("RunId", "The event's data has no RunId.")
	}
	run, err := s.writable(ctx, c, e.runID)
	if err != nil {
		return err
	}
	return s.record(ctx, c.Workspace, run.RunID, e)
}

// getEvents lists the events in the order in which they came, the last
// heartbeat at the end; the newest first if any order with desc is asked for.
func (s *Service) getEvents(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	run, err := s.loadIn(r.Context(), c.Workspace, c.Vars["experiment"], c.Vars["run"])
	if err != nil {
		return err
	}
	docs, err := s.cfg.Store.List(r.Context(), key(c.Workspace, "event", fold(run.RunID))+"/", "", 0)
	if err != nil {
		return err
	}
	if words := strings.Fields(fold(q.orderBy)); len(words) > 1 && words[1] == "desc" {
		slices.Reverse(docs)
	}
	docs, next, err := offset(q, docs, q.limit(pageSize))
	if err != nil {
		return err
	}
	values := make([][]byte, len(docs))
	for i, d := range docs {
		values[i] = d.Value
	}
	page(w, values, next)
	return nil
}
