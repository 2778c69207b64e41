package blob

import (
	"container/list"
	"context"
	"fmt"
	"os"
	"sync"
)

// maxAppends is how many appends the service takes to one blob.
const maxAppends = 50_000

// appendRules are the conditions of one append.
type appendRules struct {
	// make makes an absent blob; the service's count limit is then off, as this is the emulator's own log.
	make bool
	ok   check
	// position and maxSize are x-ms-blob-condition-appendpos and -maxsize; nil: none.
	position, maxSize *int64
	// offset is told where the bytes went.
	offset *int64
}

// append adds a spooled body to an append blob.
func (s *Service) append(ctx context.Context, c *container, name string, body *spooled, rules appendRules) (*state, error) {
	l := s.lock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	a, err := s.openAppend(ctx, c, name, rules.make)
	if err != nil {
		return nil, err
	}
	defer s.open.release(a)
	cur := &a.state
	if rules.ok != nil {
		if err := rules.ok(cur); err != nil {
			return nil, err
		}
	}
	switch {
	case rules.position != nil && *rules.position != cur.Size:
		return nil, fail("AppendPositionConditionNotMet")
	case rules.maxSize != nil && cur.Size+body.size > *rules.maxSize:
		return nil, fail("MaxBlobSizeConditionNotMet")
	case !rules.make && cur.count >= maxAppends:
		return nil, fail("BlockCountExceedsLimit")
	}
	if body.size > 0 {
		if err := body.writeTo(a.f, appendBase+cur.Size); err != nil {
			return nil, fmt.Errorf("blob: append to %s: %w", name, err)
		}
		t := tail{size: cur.Size + body.size, count: cur.count + 1, modified: s.cfg.Clock.Now()}
		if err := t.write(a.f); err != nil {
			return nil, fmt.Errorf("blob: append to %s: %w", name, err)
		}
		if rules.offset != nil {
			*rules.offset = cur.Size
		}
		cur.apply(t)
	}
	b := *cur
	return &b, nil
}

// openAppend wants the blob's lock. The caller releases what it gets.
func (s *Service) openAppend(ctx context.Context, c *container, name string, create bool) (*appendFile, error) {
	key := blobKey(c.ID, name)
	if a := s.open.acquire(key); a != nil {
		return a, nil
	}
	cur, err := s.peek(ctx, c, name)
	if err != nil {
		return nil, err
	}
	switch {
	case committed(cur) == nil && !create:
		return nil, fail("BlobNotFound")
	case committed(cur) == nil:
		if cur, err = s.makeAppend(ctx, c, name, cur); err != nil {
			return nil, err
		}
	case cur.Kind != appendBlob:
		return nil, fail("InvalidBlobType")
	}
	f, err := os.OpenFile(s.files.path(c.ID, cur.File), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return s.open.add(&appendFile{key: key, f: f, state: *cur}), nil
}

// makeAppend wants the blob's lock; it turns nothing or a draft into an empty append blob.
func (s *Service) makeAppend(ctx context.Context, c *container, name string, cur *state) (*state, error) {
	file, err := s.emptyAppend(c.ID)
	if err != nil {
		return nil, err
	}
	ops, old, err := s.clear(ctx, c, name, cur)
	if err != nil {
		s.files.discard(c.ID, file)
		return nil, err
	}
	now := s.cfg.Clock.Now()
	doc := document{Kind: appendBlob, File: file, Created: now, Modified: now, Headers: headers{Type: octets}}
	b, err := s.commit(ctx, c, name, doc, ops, old)
	if err != nil {
		s.files.discard(c.ID, file)
	}
	return b, err
}

// emptyAppend makes the content file of an append blob without bytes.
func (s *Service) emptyAppend(home string) (string, error) {
	f, file, err := s.files.create(home)
	if err != nil {
		return "", err
	}
	err = tail{modified: s.cfg.Clock.Now()}.write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		s.files.discard(home, file)
		return "", fmt.Errorf("blob: %w", err)
	}
	return file, nil
}

// appendFile is an append blob that is open for writing. Its state is guarded by the blob's lock.
type appendFile struct {
	key   string
	f     *os.File
	state state
	refs  int
	gone  bool
}

// maxOpen is how many append blobs are kept open between appends.
const maxOpen = 128

// openAppends keeps the append blobs that were written last open, so that a
// log line costs neither a document nor an open.
type openAppends struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List // most recently used first
}

func newOpenAppends() *openAppends {
	return &openAppends{byKey: map[string]*list.Element{}, order: list.New()}
}

func (o *openAppends) acquire(key string) *appendFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byKey[key]
	if e == nil {
		return nil
	}
	o.order.MoveToFront(e)
	a := e.Value.(*appendFile)
	a.refs++
	return a
}

func (o *openAppends) add(a *appendFile) *appendFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	a.refs = 1
	o.byKey[a.key] = o.order.PushFront(a)
	for e := o.order.Back(); e != nil && o.order.Len() > maxOpen; {
		prev := e.Prev()
		if old := e.Value.(*appendFile); old.refs == 0 {
			o.forget(e)
		}
		e = prev
	}
	return a
}

func (o *openAppends) release(a *appendFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.refs--; a.refs == 0 && a.gone {
		_ = a.f.Close()
	}
}

// state wants the blob's lock; it is a copy.
func (o *openAppends) state(key string) (*state, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byKey[key]
	if e == nil {
		return nil, false
	}
	b := e.Value.(*appendFile).state
	return &b, true
}

// drop forgets a blob whose document changed.
func (o *openAppends) drop(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.byKey[key]; e != nil {
		o.forget(e)
	}
}

func (o *openAppends) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for e := o.order.Front(); e != nil; e = o.order.Front() {
		o.forget(e)
	}
}

// forget wants mu.
func (o *openAppends) forget(e *list.Element) {
	a := o.order.Remove(e).(*appendFile)
	delete(o.byKey, a.key)
	if a.gone = true; a.refs == 0 {
		_ = a.f.Close()
	}
}
