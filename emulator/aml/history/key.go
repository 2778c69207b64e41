package history

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// The documents of a workspace, all below history/{guid}/. Names and ids are
// folded in keys and keep their case in documents.
//
//	experiment/{name}              ExperimentDto and the last run number
//	experimentid/{id}              the folded name
//	run/{run}                      record
//	definition/{run}               the run definition as it came
//	list/e/{experiment}/{when}/{run}   the run's status; newest first, hidden runs left out
//	list/p/{parent}/{when}/{run}       the same for the children of a run
//	list/r/{root}/{when}/{run}         the same for a root and all below it
//	event/{run}/{seq}              one event; event/{run}/heartbeat is the last heartbeat
//	metric/{run}/{seq}             one metric as it came, in logging order
//	metric/{run}/{first}/{seq}     one piece of a table, beside the first piece of its name
//	table/{run}/{hex of name}      {first} of that table
//	metricid/{id}                  key of the metric
//
// and historywatch/{guid}/{run}, the runs whose heartbeats are watched.
const (
	prefix      = "history/"
	watchPrefix = "historywatch/"
	epochKey    = "historyepoch"
)

func fold(s string) string { return strings.ToLower(s) }

func workspacePrefix(ws plane.Workspace) string { return prefix + fold(ws.GUID) + "/" }

func key(ws plane.Workspace, parts ...string) string {
	return workspacePrefix(ws) + strings.Join(parts, "/")
}

func runKey(ws plane.Workspace, id string) string { return key(ws, "run", fold(id)) }

func definitionKey(ws plane.Workspace, id string) string { return key(ws, "definition", fold(id)) }

func experimentKey(ws plane.Workspace, name string) string { return key(ws, "experiment", fold(name)) }

func experimentList(ws plane.Workspace, name string) string {
	return key(ws, "list", "e", fold(name)) + "/"
}

func childList(ws plane.Workspace, id string) string { return key(ws, "list", "p", fold(id)) + "/" }

func rootList(ws plane.Workspace, id string) string { return key(ws, "list", "r", fold(id)) + "/" }

func tableKey(ws plane.Workspace, run, name string) string {
	return key(ws, "table", fold(run), hex.EncodeToString([]byte(name)))
}

func watchKey(ws plane.Workspace, run string) string {
	return watchPrefix + fold(ws.GUID) + "/" + fold(run)
}

// when orders a run in lists, newest first: by its start, or by its making
// while it has not started; the run number decides between equals.
func (r *record) when() string {
	t := r.Created
	if r.Start != nil {
		t = *r.Start
	}
	return fmt.Sprintf("%016x%08x", uint64(math.MaxInt64-t.UnixNano()), uint32(math.MaxUint32-uint32(r.RunNumber)))
}

// listKeys are the lists' keys of a run; a hidden one is in none.
func (r *record) listKeys(ws plane.Workspace) []string {
	if r == nil || r.Hidden {
		return nil
	}
	tail := r.when() + "/" + fold(r.RunID)
	keys := []string{experimentList(ws, r.Experiment) + tail, rootList(ws, r.RootRunID) + tail}
	if r.ParentRunID != "" {
		keys = append(keys, childList(ws, r.ParentRunID)+tail)
	}
	return keys
}

// listOps takes the lists from what old is in to what r must be in.
func listOps(ws plane.Workspace, old, r *record) []store.Op {
	var ops []store.Op
	now := r.listKeys(ws)
	for _, k := range old.listKeys(ws) {
		if !contains(now, k) {
			ops = append(ops, store.Op{Key: k, If: store.Any})
		}
	}
	for _, k := range now {
		if old == nil || old.Status != r.Status || !contains(old.listKeys(ws), k) {
			ops = append(ops, store.Op{Key: k, Value: []byte(r.Status), If: store.Any})
		}
	}
	return ops
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// watchOps keeps the document that brings a watch back after a restart.
func watchOps(ws plane.Workspace, old, r *record) []store.Op {
	had := old != nil && old.watched()
	switch {
	case r.watched() && (!had || old.TTL != r.TTL):
		return []store.Op{{Key: watchKey(ws, r.RunID), Value: []byte(strconv.Itoa(int(r.ttl().Seconds()))), If: store.Any}}
	case had && !r.watched():
		return []store.Op{{Key: watchKey(ws, r.RunID), If: store.Any}}
	}
	return nil
}

// locks serialises what reads a document and writes it again.
type locks struct {
	once    sync.Once
	seed    maphash.Seed
	stripes [64]sync.Mutex
}

// lock returns the function that unlocks.
func (l *locks) lock(key string) func() {
	l.once.Do(func() { l.seed = maphash.MakeSeed() })
	m := &l.stripes[maphash.String(l.seed, key)%uint64(len(l.stripes))]
	m.Lock()
	return m.Unlock
}

// sequence numbers events and metrics in the order in which they came. The
// clock cannot: it may be set back, or run faster before a restart than after.
type sequence struct {
	mu    sync.Mutex
	epoch int64
	n     int64
}

// next returns a string that sorts after all that were returned before, also
// by processes that had this store open earlier.
func (q *sequence) next(ctx context.Context, st *store.Store) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.epoch == 0 {
		var last int64
		rev := store.Absent
		d, err := st.Get(ctx, epochKey)
		switch {
		case err == nil:
			rev = d.Rev
			if last, err = strconv.ParseInt(string(d.Value), 10, 64); err != nil {
				return "", fmt.Errorf("history: %s: %w", epochKey, err)
			}
		case !errors.Is(err, store.ErrNotFound):
			return "", err
		}
		_, err = st.Put(ctx, epochKey, []byte(strconv.FormatInt(last+1, 10)), rev)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return "", err
		}
		q.epoch = last + 1
	}
	q.n++
	return fmt.Sprintf("%08x%010x", q.epoch, q.n), nil
}
