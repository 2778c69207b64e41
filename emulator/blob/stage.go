package blob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"lazulite.dev/emulator/store"
)

// maxBlocks is how many blocks a blob may have.
const maxBlocks = 50_000

// stage keeps an uncommitted block; the file is discarded if that fails.
func (s *Service) stage(ctx context.Context, c *container, name, id string, got received, ok check) (err error) {
	defer func() {
		if err != nil {
			s.files.discard(c.ID, got.file)
		}
	}()
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return err
	}
	if b := committed(cur); b != nil && b.Kind != blockBlob {
		return fail("InvalidBlobType")
	}
	if err := ok(committed(cur)); err != nil {
		return err
	}
	if err := s.sameLength(ctx, c, name, id); err != nil {
		return err
	}
	key := stageKey(c.ID, name, id)
	var old block
	switch d, err := s.cfg.Store.Get(ctx, key); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	default:
		if err := decode(key, d.Value, &old); err != nil {
			return err
		}
	}
	now := s.cfg.Clock.Now()
	ops := []store.Op{{Key: key, Value: encode(block{ID: id, File: got.file, Size: got.size, Staged: now}), If: store.Any}}
	if cur == nil {
		draft := document{Kind: blockBlob, Draft: true, Created: now, Modified: now}
		ops = append(ops, store.Op{Key: blobKey(c.ID, name), Value: encode(draft), If: store.Any})
	}
	if _, err := s.cfg.Store.Batch(ctx, ops); err != nil {
		return fmt.Errorf("blob: stage block of %s: %w", name, err)
	}
	s.files.discard(c.ID, old.File)
	return nil
}

// sameLength holds the rule that all uncommitted block ids of a blob are of one length.
func (s *Service) sameLength(ctx context.Context, c *container, name, id string) error {
	docs, err := s.cfg.Store.List(ctx, stagePrefix(c.ID, name), "", 1)
	if err != nil || len(docs) == 0 {
		return err
	}
	var first block
	if err := decode(docs[0].Key, docs[0].Value, &first); err != nil {
		return err
	}
	// The rule is about the ids before base64. Both decode, or they would not be here.
	a, _ := base64.StdEncoding.DecodeString(first.ID)
	b, _ := base64.StdEncoding.DecodeString(id)
	if len(a) != len(b) {
		return fail("InvalidBlobOrBlock")
	}
	return nil
}

// blockRef is one line of a block list that a client sends.
type blockRef struct{ from, id string } // from: Latest, Committed or Uncommitted

// assemble makes a blob of blocks that are there; no byte is copied.
func (s *Service) assemble(ctx context.Context, c *container, name string, refs []blockRef, doc document, ok check) (*state, error) {
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if b := committed(cur); b != nil && b.Kind != blockBlob {
		return nil, fail("InvalidBlobType")
	}
	if err := ok(committed(cur)); err != nil {
		return nil, err
	}
	ops, old, err := s.clear(ctx, c, name, cur)
	if err != nil {
		return nil, err
	}
	list, size, err := s.resolve(ctx, c, name, cur, refs)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	for _, b := range list {
		kept[b.File] = true
	}
	old = slices.DeleteFunc(old, func(f string) bool { return kept[f] })
	ops = append(ops, store.Op{Key: listKey(c.ID, name), Value: encode(list), If: store.Any})
	doc.Kind, doc.Blocks, doc.Size = blockBlob, true, size
	doc.Created = s.cfg.Clock.Now()
	doc.Modified = doc.Created
	return s.commit(ctx, c, name, doc, ops, old)
}

// resolve finds the blocks that a list names; it wants the blob's lock.
func (s *Service) resolve(ctx context.Context, c *container, name string, cur *state, refs []blockRef) ([]block, int64, error) {
	_, staged, err := s.staged(ctx, c, name)
	if err != nil {
		return nil, 0, err
	}
	var have []block
	if cur != nil && cur.Blocks {
		if have, err = s.blocks(ctx, c, name); err != nil {
			return nil, 0, err
		}
	}
	uncommitted, already := map[string]block{}, map[string]block{}
	for _, b := range staged {
		uncommitted[b.ID] = b
	}
	for _, b := range have {
		already[b.ID] = b
	}
	list := make([]block, 0, len(refs))
	var size int64
	for _, r := range refs {
		b, ok := uncommitted[r.id]
		if r.from == "Committed" || r.from == "Latest" && !ok {
			b, ok = already[r.id]
		}
		if !ok {
			return nil, 0, fail("InvalidBlockList")
		}
		list = append(list, block{ID: b.ID, File: b.File, Size: b.Size})
		size += b.Size
	}
	return list, size, nil
}

// blockLists returns a blob's committed and uncommitted blocks. The state is
// nil where there are uncommitted ones alone; nothing at all is an error.
func (s *Service) blockLists(ctx context.Context, c *container, name string) (*state, []block, []block, error) {
	l := s.lock(c.ID, name)
	l.RLock()
	defer l.RUnlock()
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, nil, nil, err
	}
	if cur == nil {
		return nil, nil, nil, fail("BlobNotFound")
	}
	if cur.Kind != blockBlob {
		return nil, nil, nil, fail("InvalidBlobType")
	}
	var have []block
	if cur.Blocks {
		if have, err = s.blocks(ctx, c, name); err != nil {
			return nil, nil, nil, err
		}
	}
	_, staged, err := s.staged(ctx, c, name)
	return committed(cur), have, staged, err
}
