package aci

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
)

// mountError says why a volume is not there.
type mountError struct{ why string }

func (e *mountError) Error() string { return e.why }

// gitLimit is how long a repository may take to come.
const gitLimit = 5 * time.Minute

// makeVolumes fills the volumes' folders. Those that are there go on being used:
// an emptyDir has what was written in it for as long as its group runs.
func (p *pod) makeVolumes(ctx context.Context) error {
	for i, v := range p.file.Order.Spec.Volumes {
		dir := p.volumeDir(v.Name)
		if v.AzureFile != nil {
			if _, err := p.share(ctx, v); err != nil {
				return err
			}
			continue
		}
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		fresh := dir + ".new"
		if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
			return err
		}
		var err error
		switch {
		case v.EmptyDir != nil:
			err = os.Chmod(fresh, 0o777)
		case v.Secret != nil:
			err = writeSecrets(fresh, v.Secret)
		case v.GitRepo != nil:
			err = p.clone(ctx, fresh, v.Name, *p.file.Order.Spec.Volumes[i].GitRepo)
		}
		if err == nil {
			err = os.Rename(fresh, dir)
		}
		if err != nil {
			return errors.Join(err, os.RemoveAll(fresh))
		}
	}
	return nil
}

func (p *pod) volumeDir(name string) string { return filepath.Join(p.dir, "volumes", name) }

// clean removes what lasts no longer than a run of the whole group.
func (p *pod) clean() error {
	return errors.Join(os.RemoveAll(filepath.Join(p.dir, "volumes")), os.RemoveAll(filepath.Join(p.dir, "homes")), os.RemoveAll(filepath.Join(p.dir, "logs")))
}

func writeSecrets(dir string, secrets map[string]string) error {
	for name, content := range secrets {
		data, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// clone fetches a repository into the folder of its volume, as kubelet does it.
func (p *pod) clone(ctx context.Context, dir, name string, r gitRepo) error {
	ctx, cancel := context.WithTimeout(ctx, gitLimit)
	defer cancel()
	target := r.Directory
	args := []string{"clone", "--", r.Repository}
	if target != "" {
		args = append(args, path.Clean(target))
	}
	if err := p.git(ctx, dir, args...); err != nil {
		return &mountError{fmt.Sprintf("MountVolume.SetUp failed for volume \"%s\" : failed to exec 'git clone -- %s %s': %v", name, r.Repository, target, err)}
	}
	if r.Revision == "" {
		return nil
	}
	into := dir
	if target == "" {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 1 {
			return &mountError{fmt.Sprintf("MountVolume.SetUp failed for volume \"%s\" : unexpected directory contents: %d", name, len(files))}
		}
		into = filepath.Join(dir, files[0].Name())
	} else {
		into = filepath.Join(dir, path.Clean(target))
	}
	for _, args := range [][]string{{"checkout", r.Revision}, {"reset", "--hard"}} {
		if err := p.git(ctx, into, args...); err != nil {
			return &mountError{fmt.Sprintf("MountVolume.SetUp failed for volume \"%s\" : failed to exec 'git %s': %v", name, strings.Join(args, " "), err)}
		}
	}
	return nil
}

// git runs a command of git's, which asks nobody, runs no hooks, and reads no files by way of a URL.
func (p *pod) git(ctx context.Context, dir string, args ...string) error {
	env := append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, p.fake.cfg.Environment...)
	env = append(env, "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https:git:ssh", "HOME="+p.dir, "GIT_CONFIG_NOSYSTEM=1")
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Dir, cmd.Env = dir, env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// share is the folder of an Azure file share.
func (p *pod) share(ctx context.Context, v volume) (string, error) {
	a := v.AzureFile
	failed := func(why string) error {
		return &mountError{fmt.Sprintf("MountVolume.SetUp failed for volume \"%s\" : mount failed: exit status 32 Mounting arguments: -t cifs //%s.file.core.windows.net/%s Output: %s", v.Name, a.StorageAccountName, a.ShareName, why)}
	}
	if p.fake.cfg.Share == nil {
		return "", failed("this emulator has no file shares that could be mounted")
	}
	dir, err := p.fake.cfg.Share(ctx, a.StorageAccountName, a.StorageAccountKey, a.ShareName)
	switch {
	case errors.Is(err, ErrShareKey):
		return "", failed("mount error(13): Permission denied")
	case errors.Is(err, ErrShareAbsent):
		return "", failed("mount error(2): No such file or directory")
	}
	return dir, err
}

// mounts are a container's volumes for the engine.
func (p *pod) mounts(c *containerItem, e engine.Engine) ([]engine.Mount, error) {
	var out []engine.Mount
	for _, m := range c.Properties.VolumeMounts {
		if onHost(e) {
			return nil, fmt.Errorf("%w: nothing can be mounted at %s: containers are processes of this host here, with its files; run lazulite with Docker for volumes", engine.ErrInvalid, m.MountPath)
		}
		for _, v := range p.file.Order.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			mount := engine.Mount{Source: p.volumeDir(v.Name), Target: path.Clean(m.MountPath), ReadOnly: m.ReadOnly != nil && *m.ReadOnly || v.Secret != nil}
			if a := v.AzureFile; a != nil {
				dir, err := p.share(p.fake.life, v)
				if err != nil {
					return nil, err
				}
				mount.Source = dir
				mount.ReadOnly = mount.ReadOnly || a.ReadOnly != nil && *a.ReadOnly
			}
			out = append(out, mount)
		}
	}
	return out, nil
}
