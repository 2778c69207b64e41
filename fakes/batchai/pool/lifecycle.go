package pool

import (
	_ "embed"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"lazulite.dev/emulator/lifecycle"
)

// Lifecycle says how long each step of a cluster's life takes and how often it
// fails, by the step's name: allocate, prepare and leave of a node, replace of
// one that was preempted, begin of a job; evaluate is the time between two
// evaluations of autoscaling, idle how long a node must have been idle for one
// to let it go, preempt the mean time until a low-priority node is preempted.
// What it leaves out takes no time, goes well and does not happen. In the
// embedded ones "real" repeats what recordings of Batch AI of June 2018 show.
type Lifecycle = lifecycle.Lifecycle

//go:embed lifecycle.json
var lifecycleJSON []byte

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

func (d *dice) delay(step string) time.Duration { return d.lifecycle.Delay(step, d.rand) }

func (d *dice) fails(step string) bool { return d.lifecycle.Fails(step, d.rand) }

// lifetime until a preemption; 0: there is none.
func (d *dice) lifetime() time.Duration {
	mean := d.lifecycle["preempt"].Delay
	if mean <= 0 {
		return 0
	}
	return max(1, time.Duration(-float64(mean)*math.Log(1-d.rand.Float64())))
}
