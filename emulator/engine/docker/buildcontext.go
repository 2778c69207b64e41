package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/moby/moby/client"
)

// buildContext is what docker build is given: files, and folders of this host, by their names in it.
type buildContext struct {
	files   map[string][]byte
	folders map[string]string
}

// write streams it as a tar. Times and owners are left out: they would spoil the daemon's own cache.
func (c buildContext) write(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, n := range slices.Sorted(maps.Keys(c.files)) {
		if err := t.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(c.files[n]))}); err != nil {
			return err
		}
		if _, err := t.Write(c.files[n]); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.folders)) {
		if err := writeFolder(t, n, c.folders[n]); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeFolder(t *tar.Writer, name, folder string) error {
	return filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: path.Join(name, filepath.ToSlash(rel)), Mode: int64(info.Mode().Perm())}
		switch {
		case d.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			return t.WriteHeader(h)
		case d.Type()&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
			if h.Linkname, err = os.Readlink(file); err != nil {
				return err
			}
			return t.WriteHeader(h)
		case !d.Type().IsRegular():
			return nil
		}
		h.Size = info.Size()
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(t, f)
		return err
	})
}

// build runs docker build and names the result.
func (i *Images) build(ctx context.Context, c buildContext, name string, w io.Writer) error {
	r, pipe := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = pipe.CloseWithError(c.write(pipe))
	}()
	defer func() {
		_ = r.Close() // whatever of it the daemon did not want
		<-written
	}()
	answer, err := i.daemon.api.ImageBuild(ctx, r, client.ImageBuildOptions{Tags: []string{name}, Remove: true, ForceRemove: true})
	if err != nil {
		return wrong("building "+name, err)
	}
	defer func() { _ = answer.Body.Close() }()
	var said bytes.Buffer
	if err := progress(answer.Body, io.MultiWriter(w, &said)); err != nil {
		return fmt.Errorf("docker: building %s: %w: %s", name, err, lastLines(said.String(), 8))
	}
	return nil
}
