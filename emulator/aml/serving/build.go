package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"lazulite.dev/emulator/aml/assets"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// What the container of a build asks for.
const (
	buildCPU    = 1
	buildMemory = 2
	// buildRegion is where images are built for workspaces whose own region has no container instances.
	buildRegion = "eastus"
)

// buildSpec is what build.py gets to know.
type buildSpec struct {
	ID           string          `json:"id"`
	Driver       string          `json:"driver"`
	Assets       []buildFile     `json:"assets"`
	Models       []buildModel    `json:"models"`
	Dependencies json.RawMessage `json:"dependencies"`
	Store        string          `json:"store"` // the blob container, open to reading and writing
	Prefix       string          `json:"prefix"`
}

type buildFile struct {
	Path   string `json:"path"`
	URL    string `json:"url"`
	Unpack bool   `json:"unpack"`
}

type buildModel struct {
	Name    string        `json:"name"`
	Version int64         `json:"version"`
	Unpack  bool          `json:"unpack"`
	Files   []assets.File `json:"files"`
}

// driverFile is what the driver program is called in the image.
func (i image) driverFile() string {
	if strings.HasSuffix(i.DriverProgram, ".py") {
		return i.DriverProgram
	}
	return "main.py"
}

// blobPrefix is where an image's blobs are.
func blobPrefix(id string) string { return "images/" + strings.Replace(id, ":", "/", 1) + "/" }

func buildGroup(op operation) string { return "build-" + op.ID[:8] }

// logURL opens the build log; it is empty while there is none.
func (s *Service) logURL(ctx context.Context, ws plane.Workspace, id string) (string, error) {
	u, err := s.cfg.Blob.SAS(ctx, ws.StorageAccount, imageContainer, blobPrefix(id)+"build.log", "r", s.cfg.Clock.Now().Add(forever))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return u, err
}

// build brings an image's build to its end.
func (s *Service) build(ctx context.Context, op *operation) error {
	ws := op.Workspace
	if err := s.cfg.Blob.EnsureContainer(ctx, ws.StorageAccount, imageContainer); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fail("StorageAccountNotFound", nil, "The storage account '%s' of the workspace does not exist.", ws.StorageAccount)
		}
		return err
	}
	i, _, err := store.Update(ctx, s.cfg.Store, imageKey(ws, op.Image), func(i *image, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		i.State = running
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return fail("ImageNotFound", nil, "The image '%s' was deleted.", op.Image)
	}
	if err != nil {
		return err
	}
	if i.Built == nil {
		if err := s.buildIn(ctx, op, i); err != nil {
			return err
		}
	}
	return s.deleteGroup(ctx, ws, buildGroup(*op))
}

// buildIn has the group build, and keeps what came of it.
func (s *Service) buildIn(ctx context.Context, op *operation, i image) error {
	ws, name := op.Workspace, buildGroup(*op)
	conda, err := s.dependencies(ctx, ws, i)
	if err != nil {
		return s.toldInLog(ctx, ws, i, err)
	}
	_, found, err := s.getGroup(ctx, ws, name)
	if err != nil {
		return err
	}
	if !found {
		if err := s.orderBuild(ctx, op, i, conda); err != nil {
			return s.toldInLog(ctx, ws, i, err)
		}
	}
	code, err := s.await(ctx, op, i)
	if err != nil {
		return s.giveUp(ctx, ws, name, err)
	}
	if code != 0 {
		reason, err := s.read(ctx, ws, blobPrefix(i.ID)+"failure.txt")
		if err != nil || reason == "" {
			reason = fmt.Sprintf("The build ended with exit code %d.", code)
		}
		return s.giveUp(ctx, ws, name, fail("ImageBuildFailed", nil, "The image %s could not be built: %s", i.ID, reason))
	}
	text, err := s.read(ctx, ws, blobPrefix(i.ID)+"result.json")
	if err != nil {
		return err
	}
	var result built
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		return fail("ImageBuildFailed", nil, "The build of image %s left no result.", i.ID)
	}
	result.Dependencies = conda
	_, _, err = store.Update(ctx, s.cfg.Store, imageKey(ws, i.ID), func(i *image, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		i.Built = &result
		return nil
	})
	return err
}

// giveUp removes the group of a build that failed. While it cannot be, the build has not ended either.
func (s *Service) giveUp(ctx context.Context, ws plane.Workspace, name string, cause error) error {
	var f *failure
	if errors.As(cause, &f) {
		if err := s.deleteGroup(ctx, ws, name); err != nil {
			return err
		}
	}
	return cause
}

// toldInLog writes a failure that comes before the container could print anything into the build log.
func (s *Service) toldInLog(ctx context.Context, ws plane.Workspace, i image, err error) error {
	var f *failure
	if errors.As(err, &f) {
		if err := s.putLog(ctx, ws, i.ID, "The image "+i.ID+" could not be built: "+f.cause.Message+"\n"); err != nil {
			return err
		}
	}
	return err
}

func (s *Service) orderBuild(ctx context.Context, op *operation, i image, conda json.RawMessage) error {
	ws := op.Workspace
	expiry := s.cfg.Clock.Now().Add(2 * s.cfg.Patience)
	spec := buildSpec{ID: i.ID, Driver: i.driverFile(), Dependencies: conda, Prefix: blobPrefix(i.ID), Assets: []buildFile{}, Models: []buildModel{}}
	gone := func(err error) error {
		var e *plane.Error
		if errors.As(err, &e) {
			return fail("ArtifactNotFound", nil, "%s", e.Message)
		}
		return err
	}
	for _, a := range i.Assets {
		f := buildFile{Path: a.ID, URL: a.URL, Unpack: a.Unpack}
		if a.ID == i.DriverProgram {
			f.Path = i.driverFile()
		}
		if id, ok := strings.CutPrefix(a.URL, "aml://artifact/"); ok {
			var err error
			if f.URL, err = s.cfg.Assets.ArtifactURL(ctx, ws, id, expiry); err != nil {
				return gone(err)
			}
		}
		spec.Assets = append(spec.Assets, f)
	}
	for _, id := range i.ModelIDs {
		m, err := s.cfg.Assets.Model(ctx, ws, id)
		if err != nil {
			return gone(err)
		}
		files, err := s.cfg.Assets.ModelFiles(ctx, ws, id, expiry)
		if err != nil {
			return gone(err)
		}
		spec.Models = append(spec.Models, buildModel{m.Name, m.Version, m.Unpack, files})
	}
	var err error
	if spec.Store, err = s.cfg.Blob.SAS(ctx, ws.StorageAccount, imageContainer, "", "rcw", expiry); err != nil {
		return err
	}
	u, err := s.putKit(ctx, ws, blobPrefix(i.ID)+"build.zip", spec)
	if err != nil {
		return err
	}
	op.Ordered = true
	if err := s.save(ctx, *op); err != nil {
		return err
	}
	g := group{name: buildGroup(*op), location: ws.Location, restart: "Never", command: command("build.py"),
		tags: map[string]string{"azureml-image": i.ID}, secure: map[string]string{kitVariable: u}, cpu: buildCPU, memory: buildMemory}
	err = s.putGroup(ctx, ws, g)
	if e, ok := refused(err); ok && e.Code == "LocationNotAvailableForResourceType" {
		g.location = buildRegion
		err = s.putGroup(ctx, ws, g)
	}
	if e, ok := refused(err); ok {
		return fail("ImageBuildFailed", nil, "The image %s could not be built: %s: %s", i.ID, e.Code, e.Message)
	}
	return err
}

// await follows the build until its container ends, and keeps its log as it grows; it returns the exit code.
func (s *Service) await(ctx context.Context, op *operation, i image) (int, error) {
	name := buildGroup(*op)
	for kept := ""; ; {
		g, found, err := s.getGroup(ctx, op.Workspace, name)
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, fail("ImageBuildFailed", nil, "The container group %s that built the image was deleted.", name)
		}
		state := g.container().state()
		if log, err := s.groupLogs(ctx, op.Workspace, name, 0); err == nil && log != kept {
			if err := s.putLog(ctx, op.Workspace, i.ID, log); err != nil {
				return 0, err
			}
			kept = log
		}
		switch {
		case state.State == "Terminated" && state.ExitCode != nil:
			// What it printed last came in since.
			log, err := s.groupLogs(ctx, op.Workspace, name, 0)
			if err == nil && log != kept {
				err = s.putLog(ctx, op.Workspace, i.ID, log)
			}
			return *state.ExitCode, err
		case g.Properties.ProvisioningState == "Failed":
			return 0, fail("ImageBuildFailed", nil, "The container that builds the image %s could not be started. %s", i.ID, g.trouble())
		}
		if err := s.overdue(op); err != nil {
			return 0, err
		}
		s.pause(ctx)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

func (s *Service) putLog(ctx context.Context, ws plane.Workspace, id, text string) error {
	_, err := s.cfg.Blob.Put(ctx, ws.StorageAccount, imageContainer, blobPrefix(id)+"build.log", "text/plain; charset=utf-8", strings.NewReader(text))
	return err
}

func (s *Service) read(ctx context.Context, ws plane.Workspace, name string) (string, error) {
	f, _, err := s.cfg.Blob.Open(ctx, ws.StorageAccount, imageContainer, name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxText))
	return string(b), errors.Join(err, f.Close())
}
