package aci

import (
	"fmt"
	"time"
)

// event is one of a container or a group, counted where it repeats.
type event struct {
	Count   int       `json:"count"`
	First   time.Time `json:"firstTimestamp"`
	Last    time.Time `json:"lastTimestamp"`
	Name    string    `json:"name"`
	Message string    `json:"message"`
	Type    string    `json:"type"`
}

const (
	normal  = "Normal"
	warning = "Warning"
)

// maxEvents are kept of each container: the oldest go, as Kubernetes' own do in time.
const maxEvents = 100

// note counts an event.
func note(events []*event, now time.Time, kind, name, format string, args ...any) []*event {
	message := fmt.Sprintf(format, args...)
	now = seconds(now)
	for _, e := range events {
		if e.Name == name && e.Message == message && e.Type == kind {
			e.Count++
			e.Last = now
			return events
		}
	}
	events = append(events, &event{1, now, now, name, message, kind})
	return events[max(0, len(events)-maxEvents):]
}
