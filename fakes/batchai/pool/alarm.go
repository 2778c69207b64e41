package pool

import (
	"container/heap"
	"time"
)

// alarm rings at a time, under the cluster's lock.
func (c *cluster) alarm(at time.Time, ring func()) *alarm {
	a := &alarm{at: at, ring: ring}
	heap.Push(&c.alarms, a)
	return a
}

// quiet has an alarm that has not rung never do; nil: there is none.
func (c *cluster) quiet(a *alarm) {
	if a != nil && a.index >= 0 {
		heap.Remove(&c.alarms, a.index)
	}
}

type alarm struct {
	at    time.Time
	ring  func()
	index int // in the heap; below zero: it is not there any more
}

type alarms []*alarm

func (a *alarms) pop() *alarm { return heap.Pop(a).(*alarm) }

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

func (a *alarms) Push(x any) {
	one := x.(*alarm)
	one.index = len(*a)
	*a = append(*a, one)
}

func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*a, x.index = old[:len(old)-1], -1
	return x
}
