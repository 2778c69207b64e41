package emulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/store"
	"lazulite.dev/fakes/batchai"
	"lazulite.dev/fakes/batchai/pool"
)

// newClusters is Batch AI on the emulator's engine, with its storage accounts.
func (e *Emulator) newClusters(host *hardware.Host) *batchai.Fake {
	cfg := e.cfg
	return batchai.New(batchai.Config{Engine: e.engine, Clock: cfg.Clock, Dir: filepath.Join(e.dir, "clusters"),
		Rand: rand.New(rand.NewPCG(uint64(cfg.Seed), 2)), Lifecycle: cfg.Lifecycle, Hardware: host, Environment: cfg.Environment,
		Network: e.network, Storage: mountable{e}, Folders: []string{filepath.Join(e.dir, "blobs")}, Logger: e.log})
}

// mountable is the emulator's storage to clusters that mount it.
type mountable struct{ e *Emulator }

// refusal gives a client storage's own words.
func refusal(err error) error {
	var refused *blob.Error
	if errors.As(err, &refused) {
		return &arm.Error{Status: http.StatusBadRequest, Code: refused.Code, Message: refused.Message}
	}
	return err
}

// Share implements batchai.Storage.
func (s mountable) Share(ctx context.Context, account, key, share string) (string, error) {
	dir, err := s.e.share(ctx, account, key, share)
	return dir, refusal(err)
}

// Container implements batchai.Storage.
func (s mountable) Container(ctx context.Context, account, key, container string) (pool.Mounted, error) {
	m, err := s.e.mount(ctx, account, key, container)
	if err != nil {
		return pool.Mounted{}, refusal(err)
	}
	kept := func(what func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			err := what(ctx)
			if errors.Is(err, store.ErrNotFound) {
				// Who deletes a container deletes what is still to be written to it.
				s.e.log.Warn("a mounted container is gone", "account", account, "container", container)
				return nil
			}
			return err
		}
	}
	return pool.Mounted{Dir: m.Dir(), Flush: kept(m.Flush), Close: kept(m.Close)}, nil
}

// Files implements batchai.Storage.
func (s mountable) Files(ctx context.Context, at batchai.Place, folder string, expiry time.Time) ([]batchai.File, error) {
	folder = strings.Trim(path.Clean("/"+folder), "/")
	var files []batchai.File
	var err error
	if at.Blob {
		files, err = s.blobs(ctx, at, folder)
	} else {
		files, err = s.shared(ctx, at, folder)
	}
	if err != nil {
		return nil, refusal(err)
	}
	for i, f := range files {
		if f.Folder {
			continue
		}
		sign := s.e.signFile
		if at.Blob {
			sign = s.e.signBlob
		}
		if files[i].URL, err = sign(at.Account, at.Key, at.Name, path.Join(folder, f.Name), "rl", expiry); err != nil {
			return nil, refusal(err)
		}
	}
	return files, nil
}

// shared lists a folder of a share, which is one of this host.
func (s mountable) shared(ctx context.Context, at batchai.Place, folder string) ([]batchai.File, error) {
	dir, err := s.e.share(ctx, at.Account, at.Key, at.Name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if folder == "" {
		folder = "."
	}
	f, err := root.Open(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	infos, err := f.Readdir(-1)
	if err != nil {
		return nil, err
	}
	var out []batchai.File
	for _, i := range infos {
		switch {
		case i.IsDir():
			out = append(out, batchai.File{Name: i.Name(), Folder: true})
		case i.Mode().IsRegular():
			out = append(out, batchai.File{Name: i.Name(), Modified: i.ModTime(), Size: i.Size()})
		}
	}
	return out, nil
}

// blobs lists what a prefix has of a container, with one level of its slashes.
func (s mountable) blobs(ctx context.Context, at batchai.Place, folder string) ([]batchai.File, error) {
	keys, err := s.e.blob.Keys(ctx, at.Account)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(keys[:], at.Key) {
		return nil, &blob.Error{Status: http.StatusForbidden, Code: "AuthenticationFailed", Message: "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."}
	}
	prefix := folder + "/"
	if folder == "" {
		prefix = ""
	}
	var out []batchai.File
	for after := ""; ; {
		page, next, err := s.e.blob.List(ctx, at.Account, at.Name, prefix, after, 5000)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		for _, b := range page {
			name, _, below := strings.Cut(strings.TrimPrefix(b.Name, prefix), "/")
			switch {
			case name == "":
			case !below:
				out = append(out, batchai.File{Name: name, Modified: b.LastModified, Size: b.Size})
			case len(out) == 0 || out[len(out)-1].Name != name:
				out = append(out, batchai.File{Name: name, Folder: true})
			}
		}
		if next == "" {
			return withoutMarkers(out), nil
		}
		after = next
	}
}

// withoutMarkers drops the empty blobs by which blobfuse keeps directories, which have their directory's name.
func withoutMarkers(files []batchai.File) []batchai.File {
	folders := map[string]bool{}
	for _, f := range files {
		if f.Folder {
			folders[f.Name] = true
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(files, func(f batchai.File) bool {
		again := f.Folder && seen[f.Name]
		seen[f.Name] = seen[f.Name] || f.Folder
		return again || !f.Folder && f.Size == 0 && folders[f.Name]
	})
}
