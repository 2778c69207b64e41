package pool

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// Lifecycle says how long each step of a cluster's life takes and how often it
// fails, by the step's name: allocate, prepare and leave of a node, replace of
// one that was preempted, begin of a job; evaluate is the time between two
// evaluations of autoscaling, idle how long a node must have been idle for one
// to let it go, preempt the mean time until a low-priority node is preempted.
// What it leaves out takes no time, goes well and does not happen. In the
// embedded ones "real" repeats what recordings of Batch AI of June 2018 show.
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
		return nil, fmt.Errorf("pool: lifecycle.json: %w", err)
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
	for text, to := range map[string]*time.Duration{w.Delay: &s.Delay, w.Jitter: &s.Jitter} {
		if text == "" {
			continue
		}
		if *to, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	return nil
}

// dice of one subject's life. They depend on the seed and on the subject alone,
// so that what happens at the same time can't change what another one draws.
type dice struct {
	lifecycle Lifecycle
	rand      *rand.Rand
}

func newDice(l Lifecycle, seed uint64, subject string, attempt int) *dice {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", subject, attempt)
	return &dice{l, rand.New(rand.NewPCG(seed, h.Sum64()))}
}

func (d *dice) delay(step string) time.Duration {
	s := d.lifecycle[step]
	if s.Jitter <= 0 {
		return s.Delay
	}
	return s.Delay + time.Duration(d.rand.Int64N(int64(s.Jitter)))
}

func (d *dice) fails(step string) bool {
	s := d.lifecycle[step]
	return s.Fail > 0 && d.rand.Float64() < s.Fail
}

// lifetime until a preemption; 0: there is none.
func (d *dice) lifetime() time.Duration {
	mean := d.lifecycle["preempt"].Delay
	if mean <= 0 {
		return 0
	}
	return max(1, time.Duration(-float64(mean)*math.Log(1-d.rand.Float64())))
}
