package hdinsight

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
)

// Lifecycle says how long each step of a cluster takes besides what it does,
// and how often Azure fails it: create, resize, delete, application, update
// and script. What it leaves out takes no time of its own and goes well.
type Lifecycle map[string]Stage

// Stage is one step: it takes Delay and up to Jitter more, and fails one time in 1/Fail.
type Stage struct {
	Delay, Jitter time.Duration
	Fail          float64
}

//go:embed lifecycle.json
var lifecycleJSON []byte

func embeddedLifecycles() (map[string]Lifecycle, error) {
	var out map[string]Lifecycle
	if err := json.Unmarshal(lifecycleJSON, &out); err != nil {
		return nil, fmt.Errorf("hdinsight: lifecycle.json: %w", err)
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
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{w.Delay, &s.Delay}, {w.Jitter, &s.Jitter}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) delay(step string) time.Duration {
	s := f.lifecycle[step]
	if s.Jitter <= 0 {
		return s.Delay
	}
	f.dice.Lock()
	defer f.dice.Unlock()
	return s.Delay + time.Duration(f.cfg.Rand.Int64N(int64(s.Jitter)))
}

func (f *Fake) fails(step string) bool {
	s := f.lifecycle[step]
	if s.Fail <= 0 {
		return false
	}
	f.dice.Lock()
	defer f.dice.Unlock()
	return f.cfg.Rand.Float64() < s.Fail
}
