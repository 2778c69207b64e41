package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
)

// mountedVolume is a volume while it is mounted.
type mountedVolume struct {
	Path string
	Mounted
}

// mount opens volumes; if one can't be, none is.
func (p *Pool) mount(ctx context.Context, all []Volume) ([]mountedVolume, error) {
	var out []mountedVolume
	for _, v := range all {
		m, err := Mounted{}, error(Error{Code: "MountFailed", Message: "this emulator mounts no volumes"})
		if p.cfg.Mount != nil {
			m, err = p.cfg.Mount(ctx, v)
		}
		if err != nil {
			unmount(context.WithoutCancel(ctx), out, p.cfg.Logger)
			return nil, fmt.Errorf("%s: %w", v.Path, err)
		}
		out = append(out, mountedVolume{path.Clean(v.Path), m})
	}
	return out, nil
}

func mountError(err error) Error {
	var e Error
	if errors.As(err, &e) && e.Code != "MountFailed" {
		return e
	}
	return Error{Code: "MountFailed", Message: fmt.Sprintf("A volume could not be mounted at %v.", err)}
}

// unmount lets them go, with all that was written.
func unmount(ctx context.Context, all []mountedVolume, log *slog.Logger) {
	for _, v := range all {
		if v.Close == nil {
			continue
		}
		if err := v.Close(ctx); err != nil {
			log.Error("a volume is not written back", "volume", v.Path, "error", err)
		}
	}
}

// flush has the far sides know what was written.
func flush(ctx context.Context, all []mountedVolume) error {
	var errs []error
	for _, v := range all {
		if v.Flush != nil {
			errs = append(errs, v.Flush(ctx))
		}
	}
	return errors.Join(errs...)
}

// below finds where a path of a mount root is on this host.
func below(all []mountedVolume, root, rest string) string {
	rest = strings.TrimPrefix(path.Clean("/"+rest), "/")
	for _, v := range all {
		if inner, ok := strings.CutPrefix(rest, v.Path); ok && (inner == "" || inner[0] == '/') {
			return path.Join(v.Dir, inner)
		}
	}
	return path.Join(root, rest)
}

// sharedVolumes are a cluster's: mounted once, when the first node needs them.
type sharedVolumes struct {
	mu     sync.Mutex
	opened bool
	all    []mountedVolume
}

func (s *sharedVolumes) open(ctx context.Context, p *Pool, all []Volume) ([]mountedVolume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return s.all, nil
	}
	mounted, err := p.mount(ctx, all)
	if err != nil {
		return nil, err
	}
	s.opened, s.all = true, mounted
	return mounted, nil
}

func (s *sharedVolumes) list() []mountedVolume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func (s *sharedVolumes) close(ctx context.Context, log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unmount(ctx, s.all, log)
	s.opened, s.all = false, nil
}

// removeAll deletes a folder; what a container left there as root may need root.
func removeAll(dir string, log *slog.Logger) {
	if err := os.RemoveAll(dir); err != nil {
		log.Warn("a folder is left", "folder", dir, "error", err)
	}
}
