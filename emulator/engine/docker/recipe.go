package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"lazulite.dev/emulator/engine"
)

// Recipe is an image of dependencies on a base image.
type Recipe struct {
	// Base image, as a Spec would name it.
	Base string
	// Files are put into the folder /lazulite of the image.
	Files map[string][]byte
	// Run are commands for the image's shell, each a layer, in that folder.
	Run []string
	// Env of the image.
	Env map[string]string
	// Source says in words what it is, for List.
	Source string
	// Progress is written to while it is built; nil: nothing is.
	Progress io.Writer
}

// BuildRecipe gives the name of the image that a recipe makes. One that was
// made before of the same content, and on the same base, is taken as it is.
func (i *Images) BuildRecipe(ctx context.Context, r Recipe) (name string, cached bool, err error) {
	base, err := i.resolve(ctx, r.Base, nil)
	if err != nil {
		return "", false, err
	}
	key, err := r.key(base.id)
	if err != nil {
		return "", false, err
	}
	name = "lazulite/recipe:" + key
	if _, err := i.inspect(ctx, name); err == nil {
		return name, true, nil
	} else if !errors.Is(err, engine.ErrNoImage) {
		return "", false, err
	}
	files := map[string][]byte{}
	for n, data := range r.Files {
		if n == "" || strings.HasPrefix(n, "/") || slices.Contains(strings.Split(n, "/"), "..") {
			return "", false, fmt.Errorf("%w: %q is no name for a file of a recipe", engine.ErrInvalid, n)
		}
		files["files/"+n] = data
	}
	// The label comes first, so that what a build leaves that fails is known too.
	lines := []string{"FROM " + base.id, "LABEL " + labelImage + "=recipe " + labelSource + "=" + quote(strings.ReplaceAll(r.Source, "\n", " "))}
	for _, n := range slices.Sorted(maps.Keys(r.Env)) {
		lines = append(lines, "ENV "+n+"="+quote(r.Env[n]))
	}
	if len(files) > 0 {
		lines = append(lines, "COPY files /lazulite")
	}
	lines = append(lines, "WORKDIR /lazulite")
	for _, command := range r.Run {
		// As JSON a command may hold line breaks and quotes.
		form, err := json.Marshal([]string{"/bin/sh", "-ec", command})
		if err != nil {
			return "", false, err
		}
		lines = append(lines, "RUN "+string(form))
	}
	workdir := base.dir
	if workdir == "" {
		workdir = "/"
	}
	lines = append(lines, "WORKDIR "+workdir)
	files["Dockerfile"] = []byte(strings.Join(lines, "\n") + "\n")
	w := r.Progress
	if w == nil {
		w = io.Discard
	}
	if err := i.build(ctx, buildContext{files: files}, name, w); err != nil {
		return "", false, err
	}
	return name, false, nil
}

// key is the hash of all that decides what the image becomes.
func (r Recipe) key(base string) (string, error) {
	data, err := json.Marshal(struct {
		Base  string
		Files map[string][]byte
		Run   []string
		Env   map[string]string
	}{base, r.Files, r.Run, r.Env})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:12]), nil
}
