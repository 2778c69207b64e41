package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// maxGroup bounds how many callers share one transaction, so that the first
// of them is not kept waiting by a stream of later ones.
const maxGroup = 256

// writer is the only goroutine that writes. It takes whatever is waiting into
// one transaction, each caller in a savepoint of its own: a conflict undoes
// that caller's writes alone.
func (s *Store) writer() {
	defer close(s.done)
	for {
		var group []*write
		select {
		case w := <-s.writes:
			group = append(group, w)
		case <-s.closing:
			return
		}
	more:
		for len(group) < maxGroup {
			select {
			case w := <-s.writes:
				group = append(group, w)
			default:
				break more
			}
		}
		s.commit(group)
	}
}

func (s *Store) commit(group []*write) {
	results, err := s.apply(group)
	if err == nil {
		s.publish(group, results)
	}
	for i, w := range group {
		switch {
		case err != nil:
			w.err <- fmt.Errorf("store: commit: %w", err)
		default:
			w.err <- results[i]
		}
	}
}

// apply returns one result for each writer, or an error that concerns all.
func (s *Store) apply(group []*write) ([]error, error) {
	tx, err := s.db.Begin()
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	var rev int64
	if err := tx.Stmt(s.last).QueryRow().Scan(&rev); err != nil {
		return nil, err
	}
	results := make([]error, len(group))
	put, remove, revOf := tx.Stmt(s.put), tx.Stmt(s.remove), tx.Stmt(s.revOf)
	for i, w := range group {
		if w.ctx.Err() != nil {
			results[i] = w.ctx.Err()
			continue
		}
		if _, err := tx.Exec(`SAVEPOINT w`); err != nil {
			return nil, err
		}
		docs, next, err := applyOps(revOf, put, remove, w.ops, rev)
		if err != nil {
			if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
				return nil, err
			}
			if _, rerr := tx.Exec(`ROLLBACK TO w`); rerr != nil {
				return nil, rerr
			}
			results[i] = err
		} else {
			w.docs, rev = docs, next
		}
		if _, err := tx.Exec(`RELEASE w`); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Stmt(s.bump).Exec(rev); err != nil {
		return nil, err
	}
	return results, tx.Commit()
}

func applyOps(revOf, put, remove *sql.Stmt, ops []Op, rev int64) ([]Doc, int64, error) {
	docs := make([]Doc, 0, len(ops))
	for _, op := range ops {
		if op.If != Any || op.Value == nil {
			var have int64
			err := revOf.QueryRow(op.Key).Scan(&have)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				have = Absent
			case err != nil:
				return nil, 0, err
			}
			if op.Value == nil && have == Absent {
				return nil, 0, fmt.Errorf("%w: %s", ErrNotFound, op.Key)
			}
			if op.If != Any && op.If != have {
				return nil, 0, fmt.Errorf("%w: %s is at %d, not %d", ErrConflict, op.Key, have, op.If)
			}
		}
		rev++
		var err error
		if op.Value == nil {
			_, err = remove.Exec(op.Key)
		} else {
			_, err = put.Exec(op.Key, rev, op.Value)
		}
		if err != nil {
			return nil, 0, err
		}
		docs = append(docs, Doc{Key: op.Key, Rev: rev, Value: op.Value})
	}
	return docs, rev, nil
}

func (s *Store) publish(group []*write, results []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range group {
		if results[i] != nil {
			continue
		}
		for _, d := range w.docs {
			for watch := range s.watchers {
				if !strings.HasPrefix(d.Key, watch.prefix) {
					continue
				}
				select {
				case watch.c <- Event{d}:
				default:
					delete(s.watchers, watch)
					close(watch.c)
				}
			}
		}
	}
}
