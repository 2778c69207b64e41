package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lazulite.dev/emulator/store"
)

// Mount is a blob container as a folder, as blobfuse shows it: blobs are
// files, the slashes of their names make directories, and an empty directory is
// a blob whose metadata has hdi_isfolder=true. What is in the container is in
// the folder when Mount returns. What is written, made or deleted in the folder
// is in the container after the next Flush, which also happens by itself every few
// seconds, and so the other way round; of a file that both sides wrote, the folder's is taken.
//
// All mounts of one container are one folder. It outlives kill -9: what was
// not yet uploaded is when the container is mounted again, or by Service.Unmount.
//
// A blob that can't be a file is left out: a part of its name is empty, a dot
// or two, or its name is a directory of others'. Of links, those to files in the folder are uploaded.
type Mount struct {
	m    *mirror
	once sync.Once
	err  error
}

// mountDoc says which folder a container is mounted at.
type mountDoc struct {
	Folder string `json:"folder"`
}

// The mount's document, and before each path the state in which both ends were the same.
func mountKey(cid string) string             { return mountKeys + cid + "/" }
func agreedPrefix(cid, folder string) string { return mountKey(cid) + folder + "/" }

// Mount mounts a container for one who has a key of the account: another is
// refused with AuthenticationFailed, and what is not there with
// ResourceNotFound (the account) and ContainerNotFound. Close it; a Mount that
// is not is unmounted with the Service, and its folder is taken up again.
func (s *Service) Mount(ctx context.Context, account, key, container string) (*Mount, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	k, err := s.keyed(ctx, account, key, containerKeys, container)
	if err != nil {
		return nil, err
	}
	a, err := s.account(ctx, account)
	if err != nil {
		return nil, err
	}
	m, err := s.mirror(ctx, containerKeys+a.ID+"/"+k.Name, k)
	if err != nil {
		return nil, err
	}
	if err := m.sync(ctx); err != nil {
		return nil, errors.Join(err, s.release(ctx, m, false))
	}
	return &Mount{m: m}, nil
}

// Dir is the folder's absolute path.
func (m *Mount) Dir() string { return m.m.dir }

// Flush makes folder and container the same. The error names what could not
// be; the rest is done.
func (m *Mount) Flush(ctx context.Context) error {
	if err := m.m.s.enter(); err != nil {
		return err
	}
	defer m.m.s.leave()
	return m.m.sync(ctx)
}

// Close flushes and gives the folder up, which goes with its last user; what
// used it must have ended. After an error the folder stays as it is for the next Mount.
// A second Close does nothing.
func (m *Mount) Close(ctx context.Context) error {
	m.once.Do(func() {
		s := m.m.s
		if m.err = s.enter(); m.err != nil {
			return
		}
		defer s.leave()
		m.err = m.m.sync(ctx)
		m.err = errors.Join(m.err, s.release(ctx, m.m, m.err == nil))
	})
	return m.err
}

// Unmount flushes and removes the folders that an earlier process left and
// nobody has mounted in this one. Call it when all have taken up again what they go on with.
func (s *Service) Unmount(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	type left struct {
		key string
		k   *container
	}
	var all []left
	err := s.each(ctx, containerKeys, func(d store.Doc) error {
		k := &container{rev: d.Rev}
		if err := decode(d.Key, d.Value, k); err != nil {
			return err
		}
		if _, err := s.cfg.Store.Get(ctx, mountKey(k.ID)); err == nil {
			all = append(all, left{d.Key, k})
		}
		return nil
	})
	errs := []error{err}
	for _, l := range all {
		m, err := s.mirror(ctx, l.key, l.k)
		if err == nil {
			err = m.sync(ctx)
			err = errors.Join(err, s.release(ctx, m, err == nil))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// mirror finds or makes the one mirror of a container and counts a user.
func (s *Service) mirror(ctx context.Context, key string, k *container) (*mirror, error) {
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	if m := s.mounts[k.ID]; m != nil {
		m.uses++
		return m, nil
	}
	m := &mirror{s: s, key: key, k: k, agreed: map[string]agreed{}, stored: map[string]bool{}, dirty: map[string]bool{}, logged: map[string]bool{}, done: make(chan struct{})}
	if err := m.resume(ctx); err != nil {
		return nil, err
	}
	if m.folder == "" {
		if err := m.begin(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	if m.dir, err = filepath.Abs(s.files.path(k.ID, m.folder)); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	m.uses = 1
	s.mounts[k.ID] = m
	var life context.Context
	life, m.stop = context.WithCancel(s.background)
	go m.run(life)
	return m, nil
}

// resume takes up the folder that an earlier process left.
func (m *mirror) resume(ctx context.Context) error {
	s := m.s
	d, err := s.cfg.Store.Get(ctx, mountKey(m.k.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var doc mountDoc
	if err := decode(d.Key, d.Value, &doc); err != nil {
		return err
	}
	if fi, err := os.Stat(s.files.path(m.k.ID, doc.Folder)); err != nil || !fi.IsDir() {
		// Without its folder, all would seem to have been deleted in it.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("blob: %w", err)
		}
		return s.forget(ctx, m.k.ID, doc.Folder)
	}
	prefix := agreedPrefix(m.k.ID, doc.Folder)
	err = s.each(ctx, prefix, func(d store.Doc) error {
		var k agreed
		if err := decode(d.Key, d.Value, &k); err != nil {
			return err
		}
		path := strings.TrimPrefix(d.Key, prefix)
		m.agreed[path], m.stored[path] = k, true
		return nil
	})
	m.folder = doc.Folder
	return err
}

// begin makes an empty folder, and then the document that says so.
func (m *mirror) begin(ctx context.Context) error {
	m.folder = m.s.files.newID()
	dir := m.s.files.path(m.k.ID, m.folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	// Beyond what the process's umask allows.
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	if _, err := m.s.cfg.Store.Put(ctx, mountKey(m.k.ID), encode(mountDoc{m.folder}), store.Absent); err != nil {
		return fmt.Errorf("blob: mount %s: %w", m.k.Name, err)
	}
	return nil
}

// release counts a user out. With the last the mirror ends, and its folder goes if that is in the container.
func (s *Service) release(ctx context.Context, m *mirror, saved bool) error {
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	if m.uses--; m.uses > 0 {
		return nil
	}
	delete(s.mounts, m.k.ID)
	m.stop()
	<-m.done
	if !saved {
		return nil
	}
	if err := s.forget(ctx, m.k.ID, m.folder); err != nil {
		return err
	}
	return os.RemoveAll(m.dir)
}

// forget removes a mount's documents, the one that names the folder first:
// whatever is left then is swept at the next start.
func (s *Service) forget(ctx context.Context, cid, folder string) error {
	if err := s.cfg.Store.Delete(ctx, mountKey(cid), store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("blob: unmount: %w", err)
	}
	return s.deleteAll(ctx, agreedPrefix(cid, folder))
}

// closeMounts ends all mirrors and leaves their folders.
func (s *Service) closeMounts() {
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	for id, m := range s.mounts {
		m.stop()
		<-m.done
		delete(s.mounts, id)
	}
}
