package aci

import "time"

// Restart policies of a group.
const (
	always    = "Always"
	onFailure = "OnFailure"
	never     = "Never"
)

// kubelet's own times.
const (
	syncPeriod   = 2 * time.Second  // how long an end is seen before anything is done about it
	backoffFirst = 10 * time.Second // doubled with each restart
	backoffMost  = 5 * time.Minute
	backoffReset = 10 * time.Minute // of running make the next restart the first again
	settleTime   = time.Second      // of running before it is seen, as kubelet looks each second
	stopGrace    = 10 * time.Second // after SIGTERM
)

// restarts says whether a container that has ended is to be started again.
func restarts(policy string, exitCode int) bool {
	return policy == always || policy == onFailure && exitCode != 0
}

// backoff is how long a container waits before its restart number n, from 0.
func backoff(n int) time.Duration {
	switch {
	case n <= 0:
		return 0
	case n > 6:
		return backoffMost
	}
	return min(backoffFirst<<(n-1), backoffMost)
}
