// Package store keeps documents by key, each with a revision, on SQLite.
//
// It is the one place where lazulite's state lives. A write that returned nil
// survives kill -9 of the process: SQLite's write-ahead log is in the kernel's
// hands by then. Writers are grouped: whatever arrives while a transaction
// commits shares the next one, so that many small acknowledged writes cost few
// commits.
//
// Keys are slash-separated and ordered bytewise; the caller folds case. It is
// no query engine: there is Get, List by prefix, and nothing else.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// Errors that callers test for with errors.Is.
var (
	ErrNotFound = errors.New("store: no such document")
	// ErrConflict says that the document is not at the revision that the caller named.
	ErrConflict = errors.New("store: revision does not match")
	ErrClosed   = errors.New("store: closed")
)

// Revisions with a meaning of their own in Put and Delete.
const (
	// Any writes whatever the document's revision is, or if there is none.
	Any int64 = -1
	// Absent writes only where no document is.
	Absent int64 = 0
)

// Doc is one document. Rev grows with each write to any key, so it orders
// writes and serves as an etag.
type Doc struct {
	Key   string
	Rev   int64
	Value []byte
}

// Op is one write of a Batch: a put, or a delete when Value is nil.
type Op struct {
	Key   string
	Value []byte
	// If is the revision that the document must be at: a Doc.Rev, Any or Absent.
	If int64
}

// Event tells a watcher of one committed write. Deleted documents come with a nil Value.
type Event struct{ Doc }

// Config says where the documents live.
type Config struct {
	// Path of the database file; its folder is made if absent. Empty: in memory.
	Path string
}

// Store is a set of documents. Its methods may be called from many goroutines.
type Store struct {
	db     *sql.DB
	writes chan *write
	done   chan struct{}

	closeOnce sync.Once
	closing   chan struct{}

	// The fixed statements, compiled once for each connection.
	get, revOf, last, bump, remove, put *sql.Stmt

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type write struct {
	ctx  context.Context
	ops  []Op
	docs []Doc
	err  chan error
}

type watcher struct {
	prefix string
	c      chan Event
}

const schema = `
CREATE TABLE IF NOT EXISTS doc (key TEXT PRIMARY KEY, rev INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rev (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO rev (id, last) VALUES (1, 0);
`

// Open opens or makes the database.
func Open(cfg Config) (*Store, error) {
	dsn := "file:lazulite?mode=memory&cache=private"
	if cfg.Path != "" {
		if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		dsn = "file:" + strings.NewReplacer("?", "%3f", "#", "%23").Replace(cfg.Path)
	}
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	// synchronous=NORMAL with WAL loses nothing when the process dies, only when the machine does.
	// A transaction takes the write lock as it begins, where busy_timeout waits for it: SQLite does not wait in a
	// transaction that has read before it writes, and readers hold that lock too, for the moment in which they
	// look again at an index that was being written.
	dsn += sep + "_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-1024)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if cfg.Path == "" {
		// Each connection to a private in-memory database is a database of its own.
		db.SetMaxOpenConns(1)
	} else {
		db.SetMaxOpenConns(4)
		db.SetMaxIdleConns(2)
	}
	if _, err := db.Exec(schema); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("store: open %s: %w", cfg.Path, err)
	}
	s := &Store{
		db:       db,
		writes:   make(chan *write),
		done:     make(chan struct{}),
		closing:  make(chan struct{}),
		watchers: map[*watcher]struct{}{},
	}
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.get, `SELECT rev, value FROM doc WHERE key = ?`},
		{&s.revOf, `SELECT rev FROM doc WHERE key = ?`},
		{&s.last, `SELECT last FROM rev WHERE id = 1`},
		{&s.bump, `UPDATE rev SET last = ? WHERE id = 1`},
		{&s.remove, `DELETE FROM doc WHERE key = ?`},
		{&s.put, `INSERT INTO doc (key, rev, value) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET rev = excluded.rev, value = excluded.value`},
	} {
		if *p.to, err = db.Prepare(p.text); err != nil {
			return nil, errors.Join(fmt.Errorf("store: %w", err), db.Close())
		}
	}
	go s.writer()
	return s, nil
}

// Close waits for the writes under way and closes the database.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	<-s.done
	return s.db.Close()
}

// Get returns the document at key, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (Doc, error) {
	d := Doc{Key: key}
	err := s.get.QueryRowContext(ctx, key).Scan(&d.Rev, &d.Value)
	if errors.Is(err, sql.ErrNoRows) {
		return Doc{}, ErrNotFound
	}
	if err != nil {
		return Doc{}, fmt.Errorf("store: get %s: %w", key, err)
	}
	return d, nil
}

// List returns up to limit documents whose key starts with prefix and comes
// after the key after (empty: from the first), in key order. A limit of zero
// or less means all.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]Doc, error) {
	if limit <= 0 {
		limit = -1
	}
	from, cmp := prefix, ">="
	if after >= prefix && after != "" {
		from, cmp = after, ">"
	}
	q := `SELECT key, rev, value FROM doc WHERE key ` + cmp + ` ? AND key < ? ORDER BY key LIMIT ?`
	rows, err := s.db.QueryContext(ctx, q, from, prefix+"\U0010FFFF", limit)
	if err != nil {
		return nil, fmt.Errorf("store: list %s: %w", prefix, err)
	}
	defer func() { _ = rows.Close() }()
	var out []Doc
	for rows.Next() {
		var d Doc
		if err := rows.Scan(&d.Key, &d.Rev, &d.Value); err != nil {
			return nil, fmt.Errorf("store: list %s: %w", prefix, err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// Put writes one document. ifRev is a revision, Any or Absent.
func (s *Store) Put(ctx context.Context, key string, value []byte, ifRev int64) (Doc, error) {
	if value == nil {
		value = []byte{}
	}
	docs, err := s.Batch(ctx, []Op{{Key: key, Value: value, If: ifRev}})
	if err != nil {
		return Doc{}, err
	}
	return docs[0], nil
}

// Delete removes one document: ErrNotFound if there is none, ErrConflict if
// it is at another revision than ifRev (Any: whatever it is at).
func (s *Store) Delete(ctx context.Context, key string, ifRev int64) error {
	_, err := s.Batch(ctx, []Op{{Key: key, If: ifRev}})
	return err
}

// Batch applies all of ops or none of them. It returns the documents as
// written (a deleted one has a nil Value). When it returns nil, the writes
// survive the death of the process.
func (s *Store) Batch(ctx context.Context, ops []Op) ([]Doc, error) {
	w := &write{ctx: ctx, ops: ops, err: make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-s.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := <-w.err; err != nil {
		return nil, err
	}
	return w.docs, nil
}

// Watch delivers every write under prefix that commits after the call, in
// commit order, until stop is called. A watcher that falls 1,024 events
// behind is cut off: its channel closes, and it must List and Watch again.
func (s *Store) Watch(prefix string) (events <-chan Event, stop func()) {
	w := &watcher{prefix: prefix, c: make(chan Event, 1024)}
	s.mu.Lock()
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	return w.c, func() { s.drop(w) }
}

func (s *Store) drop(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.watchers[w]; ok {
		delete(s.watchers, w)
		close(w.c)
	}
}
