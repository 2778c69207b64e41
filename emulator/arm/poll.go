package arm

import (
	"net/http"
	"strings"
	"time"
)

// poll answers the URLs of a long-running operation.
func (x *exchange) poll(rec *record) error {
	id, err := ParseID(rec.ResourceID)
	if err != nil {
		return err
	}
	if len(x.path) > 1 && fold(x.path[0]) == "subscriptions" {
		if err := x.subscription(x.path[1]); err != nil {
			return err
		}
		// An operation is not there under another subscription.
		if !strings.EqualFold(x.path[1], id.Subscription()) {
			return errNoRoute()
		}
	}
	if err := x.versionFormat(coreVersions.list()); err != nil {
		return err
	}
	t := x.e.catalog.types[rec.Type]
	if t == nil {
		return errNamespace(id.Provider())
	}
	lro := rec.lro(t)
	var r *Resource
	ent := x.e.find(id)
	if ent != nil {
		r = ent.res.clone()
	}
	if after := lro.retryAfter(); after != "" && !rec.over() {
		x.w.Header()["Retry-After"] = []string{after}
	}
	if x.folded == rec.ResultPath && rec.ResultPath != rec.StatusPath || strings.EqualFold(x.param("monitor"), "true") {
		return x.result(rec, t, lro, ent, r)
	}
	op := rec.Operation
	if !rec.over() && lro.Running != "" {
		op.Status = lro.Running
	}
	call := x.call(nil, nil, id)
	if lro.Operation != nil {
		x.send(http.StatusOK, lro.Operation(call, &op, r))
		return nil
	}
	x.send(http.StatusOK, x.status(&op))
	return nil
}

// statusDocument is the resource manager's own form of an operation.
type statusDocument struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Start      string `json:"startTime"`
	End        string `json:"endTime,omitempty"`
	Properties any    `json:"properties,omitempty"`
	Error      *Error `json:"error,omitempty"`
}

func (x *exchange) status(op *Operation) statusDocument {
	d := statusDocument{ID: x.r.URL.Path, Name: op.ID, Status: op.Status, Start: stampOf(op.Start), Error: op.Error}
	if !op.End.IsZero() {
		d.End = stampOf(op.End)
	}
	return d
}

// stampOf is a time in Azure's seven decimals.
func stampOf(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// result is what Location gives: 202 until the operation is over, then what came of it.
func (x *exchange) result(rec *record, t *typeInfo, lro LRO, ent *entry, r *Resource) error {
	if !rec.over() {
		x.w.Header()["Location"] = []string{x.host() + x.r.URL.RequestURI()}
		x.send(http.StatusAccepted, nil)
		return nil
	}
	if rec.Error != nil {
		return rec.Error
	}
	final := lro.Final
	if final == 0 {
		final = http.StatusOK
	}
	switch action, ok := t.Actions[rec.Verb]; {
	case rec.Verb == http.MethodDelete:
		x.send(final, nil)
		return nil
	case r == nil:
		id, err := ParseID(rec.ResourceID)
		if err != nil {
			return err
		}
		return t.notFound(id)
	case ok && action.Result == nil && rec.Output != nil:
		x.send(final, rec.Output)
		return nil
	case ok && action.Result == nil:
		x.send(final, nil)
		return nil
	case ok:
		body, err := action.Result(x.r.Context(), engineView{x.e}, x.call(nil, nil, r.ID), r)
		return x.reply(final, body, err)
	}
	w, err := x.wire(ent)
	if err != nil {
		return err
	}
	x.w.Header()["Etag"] = w.etag
	x.sendBytes(final, w.body)
	return nil
}
