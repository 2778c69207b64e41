package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"sync"
	"time"

	"lazulite.dev/emulator/store"
)

// state is one blob as it is: its document and, of an append blob, its tail.
type state struct {
	document
	rev   int64
	count uint64
}

// check decides under the blob's lock whether a write may go on. The state
// is nil where there is no committed blob.
type check func(*state) error

func anyState(*state) error { return nil }

// etag is new with each write: rev orders all writes of documents, and count those of one append blob.
func etag(rev int64, count uint64) string { return fmt.Sprintf("\"0x8D%07X%06X\"", rev, count) }

func (b *state) etag() string { return etag(b.rev, b.count) }

func (b *state) properties(name string) Properties {
	return Properties{
		Name: name, Size: b.Size, ContentType: b.Headers.Type, ETag: b.etag(),
		LastModified: b.Modified, Append: b.Kind == appendBlob,
	}
}

func (b *state) apply(t tail) {
	b.Size, b.count = t.size, t.count
	if t.modified.After(b.Modified) {
		b.Modified = t.modified
	}
}

func (s *Service) lock(cid, name string) *sync.RWMutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(cid + "/" + name)) // a hash takes every write
	return &s.locks[h.Sum32()%uint32(len(s.locks))]
}

// peek wants the blob's lock. It returns nil where nothing is, drafts included as they are.
func (s *Service) peek(ctx context.Context, c *container, name string) (*state, error) {
	key := blobKey(c.ID, name)
	if b, ok := s.open.state(key); ok {
		return b, nil
	}
	d, err := s.cfg.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.revive(c, d)
}

func (s *Service) revive(c *container, d store.Doc) (*state, error) {
	b := &state{rev: d.Rev}
	if err := decode(d.Key, d.Value, &b.document); err != nil {
		return nil, err
	}
	if b.Kind != appendBlob {
		return b, nil
	}
	f, err := os.Open(s.files.path(c.ID, b.File))
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	defer func() { _ = f.Close() }()
	t, err := readTail(f)
	if err != nil {
		return nil, err
	}
	b.apply(t)
	return b, nil
}

// committed hides drafts.
func committed(b *state) *state {
	if b == nil || b.Draft {
		return nil
	}
	return b
}

// blocks wants the blob's lock.
func (s *Service) blocks(ctx context.Context, c *container, name string) ([]block, error) {
	d, err := s.cfg.Store.Get(ctx, listKey(c.ID, name))
	if err != nil {
		return nil, fmt.Errorf("blob: block list of %s: %w", name, err)
	}
	var out []block
	return out, decode(d.Key, d.Value, &out)
}

// contentFiles names the files that hold the blob's content; it wants the blob's lock.
func (s *Service) contentFiles(ctx context.Context, c *container, name string, b *state) ([]string, error) {
	switch {
	case b == nil:
		return nil, nil
	case !b.Blocks:
		return []string{b.File}, nil
	}
	list, err := s.blocks(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return blockFiles(list), nil
}

func blockFiles(list []block) []string {
	out := make([]string, 0, len(list))
	for _, b := range list {
		out = append(out, b.File)
	}
	return out
}

// staged lists the uncommitted blocks; it wants the blob's lock.
func (s *Service) staged(ctx context.Context, c *container, name string) ([]store.Doc, []block, error) {
	docs, err := s.cfg.Store.List(ctx, stagePrefix(c.ID, name), "", 0)
	if err != nil {
		return nil, nil, err
	}
	blocks := make([]block, len(docs))
	for i, d := range docs {
		if err := decode(d.Key, d.Value, &blocks[i]); err != nil {
			return nil, nil, err
		}
	}
	return docs, blocks, nil
}

// replace puts a whole new blob in the place of what is there, uncommitted
// blocks included. It owns the files that the new one names: they are
// discarded if the write fails.
func (s *Service) replace(ctx context.Context, c *container, name string, doc document, list []block, ok check) (_ *state, err error) {
	fresh := append(blockFiles(list), doc.File)
	defer func() {
		if err != nil {
			s.files.discard(c.ID, fresh...)
		}
	}()
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if err := ok(committed(cur)); err != nil {
		return nil, err
	}
	ops, old, err := s.clear(ctx, c, name, cur)
	if err != nil {
		return nil, err
	}
	if doc.Blocks = list != nil; doc.Blocks {
		ops = append(ops, store.Op{Key: listKey(c.ID, name), Value: encode(list), If: store.Any})
	}
	doc.Created = s.cfg.Clock.Now()
	doc.Modified = doc.Created
	return s.commit(ctx, c, name, doc, ops, old)
}

// commit wants the blob's lock. It writes ops and the document at once, then discards old files.
func (s *Service) commit(ctx context.Context, c *container, name string, doc document, ops []store.Op, old []string) (*state, error) {
	key := blobKey(c.ID, name)
	docs, err := s.cfg.Store.Batch(ctx, append(ops, store.Op{Key: key, Value: encode(doc), If: store.Any}))
	if err != nil {
		return nil, fmt.Errorf("blob: write %s: %w", name, err)
	}
	s.open.drop(key)
	s.files.discard(c.ID, old...)
	return &state{document: doc, rev: docs[len(docs)-1].Rev}, nil
}

// clear wants the blob's lock. It gives what to delete beside the blob's own
// document, and the files that go with it.
func (s *Service) clear(ctx context.Context, c *container, name string, cur *state) ([]store.Op, []string, error) {
	var ops []store.Op
	if cur == nil {
		return nil, nil, nil
	}
	files, err := s.contentFiles(ctx, c, name, cur)
	if err != nil {
		return nil, nil, err
	}
	if cur.Blocks {
		ops = append(ops, store.Op{Key: listKey(c.ID, name), If: store.Any})
	}
	docs, blocks, err := s.staged(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range docs {
		ops = append(ops, store.Op{Key: d.Key, If: store.Any})
	}
	return ops, append(files, blockFiles(blocks)...), nil
}

// remove deletes a committed blob.
func (s *Service) remove(ctx context.Context, c *container, name string, ok check) error {
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return err
	}
	if committed(cur) == nil {
		return fail("BlobNotFound")
	}
	if err := ok(cur); err != nil {
		return err
	}
	ops, files, err := s.clear(ctx, c, name, cur)
	if err != nil {
		return err
	}
	key := blobKey(c.ID, name)
	if _, err := s.cfg.Store.Batch(ctx, append(ops, store.Op{Key: key, If: store.Any})); err != nil {
		return fmt.Errorf("blob: delete %s: %w", name, err)
	}
	s.open.drop(key)
	s.files.discard(c.ID, files...)
	return nil
}

// update changes the document of a committed blob and leaves its content.
// quiet keeps Last-Modified, as changes of the tier do.
func (s *Service) update(ctx context.Context, c *container, name string, quiet bool, ok check, change func(*document)) (*state, error) {
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if committed(cur) == nil {
		return nil, fail("BlobNotFound")
	}
	if err := ok(cur); err != nil {
		return nil, err
	}
	doc := cur.document
	change(&doc)
	if !quiet {
		doc.Modified = s.cfg.Clock.Now()
	}
	b, err := s.commit(ctx, c, name, doc, nil, nil)
	if err != nil {
		return nil, err
	}
	b.count = cur.count
	return b, nil
}

// look returns a committed blob's state.
func (s *Service) look(ctx context.Context, c *container, name string) (*state, error) {
	l := s.lock(c.ID, name)
	l.RLock()
	defer l.RUnlock()
	b, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if committed(b) == nil {
		return nil, fail("BlobNotFound")
	}
	return b, nil
}

// openBlob opens a committed blob for reading as it is now.
func (s *Service) openBlob(ctx context.Context, c *container, name string, ok check) (*state, *reader, error) {
	l := s.lock(c.ID, name)
	l.RLock()
	defer l.RUnlock()
	b, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	if committed(b) == nil {
		return nil, nil, fail("BlobNotFound")
	}
	if ok != nil {
		if err := ok(b); err != nil {
			return nil, nil, err
		}
	}
	var segments []segment
	switch {
	case b.Blocks:
		list, err := s.blocks(ctx, c, name)
		if err != nil {
			return nil, nil, err
		}
		for _, k := range list {
			if k.Size > 0 {
				segments = append(segments, segment{file: k.File, id: k.ID, size: k.Size})
			}
		}
	case b.Size > 0 && b.Kind == appendBlob:
		segments = []segment{{file: b.File, base: appendBase, size: b.Size}}
	case b.Size > 0:
		segments = []segment{{file: b.File, size: b.Size}}
	}
	return b, newReader(s.files, c.ID, segments), nil
}

// httpTime is t as HTTP headers show it.
func httpTime(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }
