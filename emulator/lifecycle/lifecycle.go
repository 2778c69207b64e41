// Package lifecycle reads how long things take at Azure and how often they
// fail there: data, by the names of lifecycles (fast, real, chaos) and of the
// steps that a fake takes.
package lifecycle

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// Lifecycle is a stage for each step. What it leaves out takes no time and goes well.
type Lifecycle map[string]Stage

// Stage is one step: it takes Delay and up to Jitter more, and fails one time in 1/Fail.
type Stage struct {
	Delay, Jitter time.Duration
	Fail          float64
}

// Read reads lifecycles by name from JSON: {"real": {"create": {"delay": "90s", "jitter": "30s", "fail": 0.1}}}.
func Read(data []byte) (map[string]Lifecycle, error) {
	var out map[string]Lifecycle
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	return out, nil
}

// UnmarshalJSON reads durations as Go writes them.
func (s *Stage) UnmarshalJSON(data []byte) (err error) {
	var w struct {
		Delay, Jitter string
		Fail          float64
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	s.Fail = w.Fail
	if s.Delay, err = duration(w.Delay); err != nil {
		return err
	}
	s.Jitter, err = duration(w.Jitter)
	return err
}

func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// Delay draws how long a step takes. Dice are thrown for a step with Jitter alone.
func (l Lifecycle) Delay(step string, dice *rand.Rand) time.Duration {
	s := l[step]
	if s.Jitter <= 0 {
		return s.Delay
	}
	return s.Delay + time.Duration(dice.Int64N(int64(s.Jitter)))
}

// Fails draws whether a step fails. Dice are thrown for a step that can alone.
func (l Lifecycle) Fails(step string, dice *rand.Rand) bool {
	s := l[step]
	return s.Fail > 0 && dice.Float64() < s.Fail
}
