package pool

import (
	"container/heap"
	"time"
)

// alarm rings at a time, under the cluster's lock.
func (c *cluster) alarm(at time.Time, ring func()) {
	heap.Push(&c.alarms, alarm{at, ring})
}

type alarm struct {
	at   time.Time
	ring func()
}

type alarms []alarm

func (a *alarms) pop() alarm { return heap.Pop(a).(alarm) }

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}
