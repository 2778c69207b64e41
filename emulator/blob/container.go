package blob

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"lazulite.dev/emulator/store"
)

// notFound and exists are the codes for containers (kind containerKeys) and file shares (shareKeys).
func notFound(kind string) *Error {
	if kind == shareKeys {
		return fail("ShareNotFound")
	}
	return fail("ContainerNotFound")
}

func exists(kind string) *Error {
	if kind == shareKeys {
		return fail("ShareAlreadyExists")
	}
	return fail("ContainerAlreadyExists")
}

// container finds a container or share; the one that it returns is not to be changed.
func (s *Service) container(ctx context.Context, a *account, kind, name string) (*container, error) {
	key := kind + a.ID + "/" + name
	s.dirMu.RLock()
	c := s.containers[key]
	s.dirMu.RUnlock()
	if c != nil {
		return c, nil
	}
	if err := checkContainerName(name); err != nil {
		return nil, err
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	return s.readContainer(ctx, kind, key)
}

// readContainer wants dirMu.
func (s *Service) readContainer(ctx context.Context, kind, key string) (*container, error) {
	if c := s.containers[key]; c != nil {
		return c, nil
	}
	d, err := s.cfg.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(kind)
	}
	if err != nil {
		return nil, err
	}
	c := &container{rev: d.Rev}
	if err := decode(d.Key, d.Value, c); err != nil {
		return nil, err
	}
	s.containers[key] = c
	return c, nil
}

// makeContainer reports whether it made the container or found it there.
func (s *Service) makeContainer(ctx context.Context, a *account, kind, name string, fill func(*container)) (*container, bool, error) {
	if err := checkContainerName(name); err != nil {
		return nil, false, err
	}
	key := kind + a.ID + "/" + name
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if s.accounts[a.Name] == nil || s.accounts[a.Name].ID != a.ID {
		return nil, false, noAccount() // deleted in between
	}
	if c, err := s.readContainer(ctx, kind, key); !errors.Is(err, store.ErrNotFound) {
		return c, false, err
	}
	c := &container{Name: name, ID: s.files.newID(), Modified: s.cfg.Clock.Now()}
	if fill != nil {
		fill(c)
	}
	d, err := s.cfg.Store.Put(ctx, key, encode(c), store.Absent)
	if err != nil {
		return nil, false, fmt.Errorf("blob: container %s: %w", name, err)
	}
	c.rev = d.Rev
	s.containers[key] = c
	return c, true, nil
}

// changeContainer checks and writes a changed copy of the container's document.
func (s *Service) changeContainer(ctx context.Context, a *account, kind, name string, cond conditions, change func(*container)) (*container, error) {
	if err := checkContainerName(name); err != nil {
		return nil, err
	}
	key := kind + a.ID + "/" + name
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	old, err := s.readContainer(ctx, kind, key)
	if err != nil {
		return nil, err
	}
	if err := cond.write(old.etag(), old.Modified); err != nil {
		return nil, err
	}
	c := *old
	c.Meta = maps.Clone(old.Meta)
	change(&c)
	c.Modified = s.cfg.Clock.Now()
	d, err := s.cfg.Store.Put(ctx, key, encode(c), store.Any)
	if err != nil {
		return nil, fmt.Errorf("blob: container %s: %w", name, err)
	}
	c.rev = d.Rev
	s.containers[key] = &c
	return &c, nil
}

// deleteContainer takes the container away at once and its contents in the background.
func (s *Service) deleteContainer(ctx context.Context, a *account, kind, name string, cond conditions) error {
	if err := checkContainerName(name); err != nil {
		return err
	}
	key := kind + a.ID + "/" + name
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	c, err := s.readContainer(ctx, kind, key)
	if err != nil {
		return err
	}
	if err := cond.write(c.etag(), c.Modified); err != nil {
		return err
	}
	if err := s.cfg.Store.Delete(ctx, key, store.Any); err != nil {
		return fmt.Errorf("blob: delete container %s: %w", name, err)
	}
	delete(s.containers, key)
	s.bury(c.ID)
	return nil
}

func (c *container) etag() string { return etag(c.rev, 0) }
