package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/store"
)

// stagedLife is how long the service keeps uncommitted blocks.
const stagedLife = 7 * 24 * time.Hour

// bury hands containers that are no longer in the store to the reaper. What
// it does not come to, the next start finds.
func (s *Service) bury(homes ...string) {
	s.deadMu.Lock()
	s.dead = append(s.dead, homes...)
	s.deadMu.Unlock()
	select {
	case s.reap <- struct{}{}:
	default:
	}
}

// reaper sweeps what earlier processes left, then removes the contents of deleted containers.
func (s *Service) reaper() {
	defer close(s.reaped)
	ctx := s.background
	if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Error("blob: sweep", "err", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reap:
		}
		s.deadMu.Lock()
		dead := s.dead
		s.dead = nil
		s.deadMu.Unlock()
		for _, home := range dead {
			if err := s.erase(ctx, home); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Error("blob: remove contents of a deleted container", "container", home, "err", err)
			}
		}
	}
}

// erase removes all documents and files of a container that is gone.
func (s *Service) erase(ctx context.Context, home string) error {
	for _, kind := range []string{blobKeys, listKeys, stageKeys, fileKeys, mountKeys} {
		if err := s.deleteAll(ctx, kind+home+"/"); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(s.files.dir, home))
}

// deleteAll removes all documents under a prefix.
func (s *Service) deleteAll(ctx context.Context, prefix string) error {
	for {
		docs, err := s.cfg.Store.List(ctx, prefix, "", 500)
		if err != nil || len(docs) == 0 {
			return err
		}
		for _, d := range docs {
			s.open.drop(d.Key)
			// One at a time and each by itself: a late write to the dead container may be at work on the same keys.
			if err := s.cfg.Store.Delete(ctx, d.Key, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
}

// sweep removes the containers' leftovers of earlier processes: whole folders
// and documents of containers that are gone, files that no document names,
// blocks that were never committed within a week. It touches nothing that this
// process made, so it runs beside it.
func (s *Service) sweep(ctx context.Context) error {
	live := map[string]bool{}
	var shares []*container
	for _, kind := range []string{containerKeys, shareKeys} {
		err := s.each(ctx, kind, func(d store.Doc) error {
			var c container
			if err := decode(d.Key, d.Value, &c); err != nil {
				return err
			}
			live[c.ID] = true
			if kind == shareKeys {
				shares = append(shares, &c)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	gone := func(home string) bool { return !live[home] && !s.files.mine(home) }
	for _, kind := range []string{blobKeys, listKeys, stageKeys, fileKeys, mountKeys} {
		after := ""
		for {
			// One document tells which container comes next; its own are stepped over.
			docs, err := s.cfg.Store.List(ctx, kind, after, 1)
			if err != nil {
				return err
			}
			if len(docs) == 0 {
				break
			}
			home, _, _ := strings.Cut(strings.TrimPrefix(docs[0].Key, kind), "/")
			if gone(home) {
				if err := s.erase(ctx, home); err != nil {
					return err
				}
			}
			after = kind + home + "/\U0010FFFF"
		}
	}
	folders, err := os.ReadDir(s.files.dir)
	if err != nil {
		return err
	}
	for _, f := range folders {
		home := f.Name()
		if !f.IsDir() {
			continue
		}
		if gone(home) {
			err = s.erase(ctx, home)
		} else {
			err = s.sweepFiles(ctx, home)
		}
		if err != nil {
			return err
		}
	}
	for _, k := range shares {
		if err := s.sweepNotes(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// sweepNotes removes the notes of files that jobs have deleted from a share.
func (s *Service) sweepNotes(ctx context.Context, k *container) error {
	f, err := s.folder(k)
	if err != nil {
		return err
	}
	defer f.close()
	base := fileKeys + k.ID + "/"
	return s.each(ctx, base, func(d store.Doc) error {
		dir, name, _ := strings.Cut(strings.TrimPrefix(d.Key, base), "//")
		if _, info, err := f.find(strings.TrimPrefix(dir+"/"+name, "/")); err != nil || info != nil {
			return err
		}
		err := s.cfg.Store.Delete(ctx, d.Key, d.Rev)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
			return nil // in other hands
		}
		return err
	})
}

// sweepFiles removes files of earlier processes that no document names. The
// files are listed first and uncommitted blocks before blobs: a file only
// ever moves from a block to a blob, so one that is in use is seen.
func (s *Service) sweepFiles(ctx context.Context, home string) error {
	folder, err := os.ReadDir(filepath.Join(s.files.dir, home))
	if err != nil {
		return err
	}
	old := map[string]bool{}
	for _, f := range folder {
		switch {
		case s.files.mine(f.Name()) || f.Name() == treeFolder:
		case f.IsDir():
			if err := s.sweepMount(ctx, home, f.Name()); err != nil {
				return err
			}
		default:
			old[f.Name()] = true
		}
	}
	if len(old) == 0 {
		return nil
	}
	now := s.cfg.Clock.Now()
	err = s.each(ctx, stageKeys+home+"/", func(d store.Doc) error {
		var b block
		if err := decode(d.Key, d.Value, &b); err != nil {
			return err
		}
		if now.Sub(b.Staged) > stagedLife {
			err := s.cfg.Store.Delete(ctx, d.Key, d.Rev)
			if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
				return nil // now unnamed, or in other hands
			}
			return err
		}
		delete(old, b.File)
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{blobKeys, listKeys} {
		err := s.each(ctx, kind+home+"/", func(d store.Doc) error {
			if kind == listKeys {
				var list []block
				if err := decode(d.Key, d.Value, &list); err != nil {
					return err
				}
				for _, b := range list {
					delete(old, b.File)
				}
				return nil
			}
			var doc document
			if err := decode(d.Key, d.Value, &doc); err != nil {
				return err
			}
			delete(old, doc.File)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for f := range old {
		s.files.discard(home, f)
	}
	return nil
}

// sweepMount removes a mount's folder that no document names any more.
func (s *Service) sweepMount(ctx context.Context, home, folder string) error {
	d, err := s.cfg.Store.Get(ctx, mountKey(home))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var doc mountDoc
	if err == nil {
		if err := decode(d.Key, d.Value, &doc); err != nil {
			return err
		}
	}
	if doc.Folder == folder {
		return nil
	}
	if err := s.deleteAll(ctx, agreedPrefix(home, folder)); err != nil {
		return err
	}
	return os.RemoveAll(s.files.path(home, folder))
}

// each visits the documents under prefix page by page.
func (s *Service) each(ctx context.Context, prefix string, visit func(store.Doc) error) error {
	after := ""
	for {
		docs, err := s.cfg.Store.List(ctx, prefix, after, 500)
		if err != nil || len(docs) == 0 {
			return err
		}
		for _, d := range docs {
			if err := visit(d); err != nil {
				return err
			}
			after = d.Key
		}
	}
}
