// Package clocktest has tests wait for what other goroutines or processes do:
// a condition is looked at again and again until it holds or its time is over.
// It is the one place where tests sleep. What depends on a clock of ours is not
// waited for but advanced (clock.Manual).
package clocktest

import (
	"testing"
	"time"
)

// The pauses between two looks: short at first, so that what is quick is not
// measured by them, and then such that what is slow is not disturbed.
const (
	pauseFirst = time.Millisecond
	pauseMost  = 20 * time.Millisecond
)

// Until waits until cond holds, and fails t where it does not within limit.
func Until(t testing.TB, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	Missing(t, limit, func() string {
		if cond() {
			return ""
		}
		return "there is no " + what
	})
}

// Missing waits until nothing is missing: cond says what is, or "". What was
// missing last is told where that takes longer than limit. It is called from
// the test's own goroutine, as t.Fatal is.
func Missing(t testing.TB, limit time.Duration, cond func() (missing string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := pauseFirst; ; pause = min(2*pause, pauseMost) {
		missing := cond()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", limit, missing)
		}
		time.Sleep(pause)
	}
}
