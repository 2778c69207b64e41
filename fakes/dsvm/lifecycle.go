package dsvm

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
)

// Lifecycle says how long each step of a VM takes and how often it fails, by
// the step's name: create, start, powerOff, restart, deallocate, update,
// resize, delete. What it leaves out takes no time and goes well. In the
// embedded ones "real" repeats what recordings of Azure of autumn 2018 show.
type Lifecycle map[string]Stage

// Stage is one step: it takes Delay and up to Jitter more, and its allocation fails one time in 1/Fail.
type Stage struct {
	Delay, Jitter time.Duration
	Fail          float64
}

//go:embed lifecycle.json
var lifecycleJSON []byte

func embeddedLifecycles() (map[string]Lifecycle, error) {
	var out map[string]Lifecycle
	if err := json.Unmarshal(lifecycleJSON, &out); err != nil {
		return nil, fmt.Errorf("dsvm: lifecycle.json: %w", err)
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

func (f *Fake) delay(step string) time.Duration {
	s := f.lifecycle[step]
	if s.Jitter <= 0 {
		return s.Delay
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.Delay + time.Duration(f.cfg.Rand.Int64N(int64(s.Jitter)))
}

func (f *Fake) fails(step string) bool {
	s := f.lifecycle[step]
	if s.Fail <= 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg.Rand.Float64() < s.Fail
}
