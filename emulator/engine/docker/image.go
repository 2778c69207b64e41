package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	imagetypes "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// labelImage marks the images that were built here; its value is "base" or "recipe".
const labelImage = "dev.lazulite.image"

// How long a registry may take to send an image.
const pullTimeout = 10 * time.Minute

// Images of a daemon: built here, or pulled where a registry answers.
type Images struct {
	daemon *daemon
	table  Table
	log    *slog.Logger
}

// NewImages connects to a daemon for its images alone.
func NewImages(ctx context.Context, cfg Config) (*Images, error) {
	cfg = cfg.withDefaults()
	d, err := connect(ctx, cfg.Host, cfg.Logger)
	if err != nil {
		return nil, err
	}
	return &Images{daemon: d, table: cfg.Table, log: cfg.Logger}, nil
}

// Close gives up the connection.
func (i *Images) Close() error { return i.daemon.close() }

// image is what an engine needs to know of one.
type image struct {
	name, id string
	dir      string // its working directory
	env      []string
	command  []string // what it runs of itself
	ours     bool
}

// resolve finds the image that a name means: the one of that very name if it
// is there, else what the table says stands for it, else what a registry has.
func (i *Images) resolve(ctx context.Context, name string, login *engine.RegistryLogin) (image, error) {
	if name != "" {
		if img, err := i.inspect(ctx, name); !errors.Is(err, engine.ErrNoImage) {
			return img, err
		}
	}
	if stands, ok := i.table.Lookup(name); ok {
		img, err := i.inspect(ctx, stands)
		if errors.Is(err, engine.ErrNoImage) {
			if command := builtBy(stands); command != "" {
				return image{}, fmt.Errorf("%w: %s stands for %q and has not been built here: run %s", engine.ErrNoImage, stands, name, command)
			}
			return image{}, fmt.Errorf("%w: %s, which the image table has for %q, is not here: docker pull it, or change the table", engine.ErrNoImage, stands, name)
		}
		return img, err
	}
	if err := i.pull(ctx, name, login); err != nil {
		return image{}, fmt.Errorf("%w: %q is not here, no row of the image table stands for it, and no registry gave it (%w): docker load it, or run lazulite images build and map it to %s with --map",
			engine.ErrNoImage, name, err, BaseImage)
	}
	return i.inspect(ctx, name)
}

func (i *Images) inspect(ctx context.Context, name string) (image, error) {
	r, err := i.daemon.api.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) {
		return image{}, fmt.Errorf("%w: %q", engine.ErrNoImage, name)
	} else if err != nil {
		return image{}, wrong("asking for the image "+name, err)
	}
	img := image{name: name, id: r.ID}
	if r.Config != nil {
		img.dir, img.env = r.Config.WorkingDir, r.Config.Env
		img.command = append(slices.Clone(r.Config.Entrypoint), r.Config.Cmd...)
		img.ours = r.Config.Labels[labelImage] != ""
	}
	return img, nil
}

func (i *Images) pull(ctx context.Context, name string, login *engine.RegistryLogin) error {
	auth, err := loginHeader(name, login)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	i.log.Info("pulling an image", "image", name)
	r, err := i.daemon.api.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	defer r.Close()
	return progress(r, io.Discard)
}

// progress reads a daemon's stream of JSON messages to its end, and tells the error that is among them.
func progress(r io.Reader, w io.Writer) error {
	dec := json.NewDecoder(r)
	for {
		var m struct {
			Stream, Status, Error string
			Progress              string
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case m.Error != "":
			return errors.New(strings.TrimSpace(m.Error))
		case m.Stream != "":
			_, _ = io.WriteString(w, m.Stream)
		case m.Status != "" && m.Progress == "":
			_, _ = fmt.Fprintln(w, m.Status)
		}
	}
}

// Has says whether the image of that name, or the one that stands for it, is there.
func (i *Images) Has(ctx context.Context, name string) (bool, error) {
	_, err := i.inspect(ctx, name)
	if stands, ok := i.table.Lookup(name); ok && errors.Is(err, engine.ErrNoImage) {
		_, err = i.inspect(ctx, stands)
	}
	if errors.Is(err, engine.ErrNoImage) {
		return false, nil
	}
	return err == nil, err
}

// HasBase says whether the base image is there.
func (i *Images) HasBase(ctx context.Context) (bool, error) {
	_, err := i.inspect(ctx, BaseImage)
	if errors.Is(err, engine.ErrNoImage) {
		return false, nil
	}
	return err == nil, err
}

// Image is one that was built here.
type Image struct {
	ID      string
	Names   []string
	Kind    string // "base" or "recipe"
	Source  string // what it was built from
	Created time.Time
	Size    int64 // bytes
	InUse   bool  // a container has it
}

// List gives the images that were built here, newest first.
func (i *Images) List(ctx context.Context) ([]Image, error) {
	r, err := i.daemon.api.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("label", labelImage)})
	if err != nil {
		return nil, wrong("listing images", err)
	}
	all, err := i.daemon.api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, wrong("listing containers", err)
	}
	used := map[string]bool{}
	for _, c := range all.Items {
		used[c.ImageID] = true
	}
	var out []Image
	for _, s := range r.Items {
		out = append(out, listed(s, used[s.ID]))
	}
	slices.SortFunc(out, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return out, nil
}

func listed(s imagetypes.Summary, used bool) Image {
	names := slices.DeleteFunc(slices.Clone(s.RepoTags), func(n string) bool { return n == "<none>:<none>" })
	return Image{ID: s.ID, Names: names, Kind: s.Labels[labelImage], Source: s.Labels[labelSource], Created: time.Unix(s.Created, 0), Size: s.Size, InUse: used}
}

// Unused selects what no container has and nothing will ask for by name: base
// images that newer ones have replaced, and all recipes, which can be built
// again; with base the base image too.
func Unused(all []Image, base bool) []Image {
	var out []Image
	for _, img := range all {
		if !img.InUse && (img.Kind != "base" || len(img.Names) == 0 || base) {
			out = append(out, img)
		}
	}
	return out
}

// Remove removes images. Those that a container has, or that others are built
// on, stay; removed are the others.
func (i *Images) Remove(ctx context.Context, images []Image) (removed []Image, err error) {
	for _, img := range images {
		name := img.ID
		if len(img.Names) == 1 {
			name = img.Names[0] // by its id one that is in use would lose its name
		}
		_, err := i.daemon.api.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
		if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
			continue
		} else if err != nil {
			return removed, wrong("removing the image "+name, err)
		}
		removed = append(removed, img)
	}
	return removed, nil
}
