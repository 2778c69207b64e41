package history

import (
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// The states of a run, in the order in which it goes through them.
// NotResponding is beside Running: it comes from there and goes back.
const (
	NotStarted      = "NotStarted"
	Starting        = "Starting"
	Provisioning    = "Provisioning"
	Preparing       = "Preparing"
	Queued          = "Queued"
	Running         = "Running"
	NotResponding   = "NotResponding"
	Finalizing      = "Finalizing"
	CancelRequested = "CancelRequested"
	Completed       = "Completed"
	Failed          = "Failed"
	Canceled        = "Canceled"
)

// Terminal reports whether a status is final.
func Terminal(status string) bool {
	return status == Completed || status == Failed || status == Canceled
}

// statuses returns all states; the rank of one is its place here.
func statuses() [12]string {
	return [...]string{NotStarted, Starting, Provisioning, Preparing, Queued, Running, NotResponding,
		Finalizing, CancelRequested, Completed, Failed, Canceled}
}

// canonical finds a status whatever case it is written in.
func canonical(status string) (string, bool) {
	for _, s := range statuses() {
		if strings.EqualFold(s, status) {
			return s, true
		}
	}
	return "", false
}

func rank(status string) int {
	for i, s := range statuses() {
		if s == status {
			return i
		}
	}
	return -1
}

func unknownStatus(status string) *plane.Error {
	all := statuses()
	return plane.BadRequest("status", "'%s' is not a status of a run; it is one of %s.", status, strings.Join(all[:], ", "))
}

// next is the state machine: the state after a report of to in the state from.
func next(from, to string) string {
	switch {
	case Terminal(from):
		return from
	case from == NotResponding && to == Running:
		return to
	case to == NotResponding && from != Running:
		return from
	case rank(to) > rank(from):
		return to
	}
	return from
}

// move takes a run to a status, if that is forward, and sets the times that
// go with it, once.
func (r *record) move(to string, at time.Time) (changed bool) {
	n := next(r.Status, to)
	if n == r.Status {
		return false
	}
	r.Status = n
	if n == Running && r.Start == nil {
		at := r.notBefore(r.Created, at)
		r.Start = &at
	}
	if Terminal(n) && r.End == nil {
		from := r.Created
		if r.Start != nil {
			from = *r.Start
		}
		at := r.notBefore(from, at)
		r.End = &at
	}
	return true
}

// notBefore mends what clients cut off: the SDK sends whole seconds, so that
// a run seemed to start before it was made.
func (r *record) notBefore(from, at time.Time) time.Time {
	if d := from.Sub(at); d > 0 && d < time.Second {
		return from
	}
	return at.UTC()
}
