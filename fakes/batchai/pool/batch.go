package pool

import (
	"slices"
	"time"
)

// batch is what one step changes: written in one go, and then begun.
type batch struct {
	cluster *cluster
	now     time.Time
	entries []entry
	begin   []func()
	notes   []Change
}

func (b *batch) record(e entry) { b.entries = append(b.entries, e) }

func (b *batch) node(n *node) {
	b.record(record(kindNode, n.rec.ID, n.rec))
	b.note("")
}

func (b *batch) job(j *job) {
	b.record(record(kindStatus, j.spec.ID, j.rec))
	b.note(j.spec.ID)
}

func (b *batch) self() {
	b.record(record(kindCluster, b.cluster.spec.ID, b.cluster.rec))
	b.note("")
}

func (b *batch) note(job string) {
	n := Change{Cluster: b.cluster.spec.ID, Job: job}
	if !slices.Contains(b.notes, n) {
		b.notes = append(b.notes, n)
	}
}

// commit writes, and begins only what is written.
func (b *batch) commit() {
	c := b.cluster
	if len(b.entries) > 0 && c.broken == nil {
		if err := c.pool.journal.append(b.entries...); err != nil {
			c.broken = err
			c.rec.Errors = append(c.rec.Errors, Error{Code: "InternalError", Message: "The cluster's state can't be kept: " + err.Error()})
			c.pool.cfg.Logger.Error("a cluster's state can't be kept: it stands still", "cluster", c.spec.ID, "error", err)
		}
	}
	if c.broken == nil {
		for _, f := range b.begin {
			f()
		}
	}
	for _, n := range b.notes {
		c.pool.changes.note(n)
	}
}
