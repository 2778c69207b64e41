package pool

import "fmt"

// Deallocation is what a manual resize does to the jobs of the nodes that go
// (nodeDeallocationOption of Batch AI 2018-05-01).
type Deallocation string

// The deallocation options. Empty means Requeue.
const (
	Requeue              Deallocation = "requeue"
	Terminate            Deallocation = "terminate"
	WaitForJobCompletion Deallocation = "waitforjobcompletion"
)

// Scale is scaleSettings of Batch AI 2018-05-01: exactly one of the two is set.
type Scale struct {
	Manual *Manual `json:",omitempty"`
	Auto   *Auto   `json:",omitempty"`
}

// Manual scale.
type Manual struct {
	Target       int
	Deallocation Deallocation `json:",omitempty"`
}

// Auto scale. Initial counts at the cluster's creation alone.
type Auto struct{ Minimum, Maximum, Initial int }

// Max is the most nodes that the cluster can ever have under this scale.
func (s Scale) Max() int {
	switch {
	case s.Auto != nil:
		return s.Auto.Maximum
	case s.Manual != nil:
		return s.Manual.Target
	}
	return 0
}

// Check says what is wrong with a scale.
func (s Scale) Check() error {
	switch {
	case (s.Manual == nil) == (s.Auto == nil):
		return fmt.Errorf("%w: one of manual and autoScale is needed", ErrInvalid)
	case s.Manual != nil && s.Manual.Target < 0:
		return fmt.Errorf("%w: targetNodeCount is negative", ErrInvalid)
	case s.Manual != nil:
		switch s.Manual.Deallocation {
		case "", Requeue, Terminate, WaitForJobCompletion:
			return nil
		}
		return fmt.Errorf("%w: nodeDeallocationOption %q", ErrInvalid, s.Manual.Deallocation)
	case s.Auto.Minimum < 0 || s.Auto.Initial < 0:
		return fmt.Errorf("%w: a node count is negative", ErrInvalid)
	case s.Auto.Minimum > s.Auto.Maximum:
		return fmt.Errorf("%w: minimumNodeCount is above maximumNodeCount", ErrInvalid)
	case s.Auto.Initial > s.Auto.Maximum:
		return fmt.Errorf("%w: initialNodeCount is above maximumNodeCount", ErrInvalid)
	}
	return nil
}

func (s Scale) deallocation() Deallocation {
	if s.Manual == nil || s.Manual.Deallocation == "" {
		return Requeue
	}
	return s.Manual.Deallocation
}

// first is the target at the cluster's creation.
func (s Scale) first() int {
	if s.Auto != nil {
		return max(s.Auto.Initial, s.Auto.Minimum)
	}
	return s.Max()
}
