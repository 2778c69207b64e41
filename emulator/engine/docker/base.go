package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"lazulite.dev/emulator/engine"
)

// labelSource says what an image was built from.
const labelSource = "dev.lazulite.source"

// packages of the base image, besides a minimal system: what a machine is
// expected to have, and the libraries that interpreters mounted from the host
// and wheels from PyPI link to.
var packages = []string{
	"openssh-server", "openssh-client", "openssh-sftp-server", "rsync", "sudo", "ca-certificates", "procps", "iproute2", "git", "curl",
	"python3", "python3-venv", "python3-pip", "libgomp1", "libnsl2", "libuuid1", "less",
	"openmpi-bin",
}

// instructions of the base image: docker import keeps none.
func instructions(source string) []string {
	return []string{
		"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ENV LANG=C.UTF-8",
		"EXPOSE 22",
		`CMD ["/bin/bash"]`,
		"LABEL " + labelImage + "=base " + labelSource + "=" + quote(source),
	}
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// Base says how to build the base image.
type Base struct {
	// Name of the image; empty: BaseImage.
	Name string
	// Packages that it has besides those of every base image.
	Packages []string
	// Folders of this host that it has besides, with all that is in them: the place in the image -> the folder.
	Folders map[string]string
	// From is an image to build it on, ubuntu:18.04 say, which is pulled if it
	// is not here. Empty: Debian's or Ubuntu's packages as this host gets them, by mmdebstrap.
	From string
	// Sources are lines of an apt sources.list for mmdebstrap; nil: this machine's.
	Sources []string
	// Epoch is the time of all files, so that the same packages make the same
	// image, bit for bit; zero: that of the newest package list.
	Epoch time.Time
	// CA is a bundle of certificates that the image trusts instead of its own,
	// for networks with an authority of their own; empty: the image's.
	CA string
	// UV adds the uv installer from PyPI, by this host's pip; left out, with a word, where that can't.
	UV bool
	// Progress is written to while it is built; nil: nothing is.
	Progress io.Writer
}

func (b Base) packages() []string { return append(slices.Clone(packages), b.Packages...) }

// ErrNoBuilder says that this machine can't build a base image, and what it lacks.
var ErrNoBuilder = errors.New("docker: no way to build the base image")

// BuildBase builds the base image and gives it its name. The image that had the
// name before keeps its id, for the containers that have it.
func (i *Images) BuildBase(ctx context.Context, b Base) (Image, error) {
	if b.Progress == nil {
		b.Progress = io.Discard
	}
	if b.Name == "" {
		b.Name = BaseImage
	}
	if err := i.buildWhole(ctx, b); err != nil {
		return Image{}, err
	}
	all, err := i.List(ctx)
	if err != nil {
		return Image{}, err
	}
	for _, img := range all {
		if slices.Contains(img.Names, b.Name) {
			return img, nil
		}
	}
	return Image{}, fmt.Errorf("%w: %s was built and is not there", engine.ErrNoImage, b.Name)
}

func (i *Images) buildWhole(ctx context.Context, b Base) error {
	system := b
	if len(b.Folders) > 0 {
		repo, tag, _ := strings.Cut(b.Name, ":")
		system.Name = repo + "-system:" + tag
		defer func() {
			_, _ = i.daemon.api.ImageRemove(context.WithoutCancel(ctx), system.Name, client.ImageRemoveOptions{})
		}()
	}
	build := i.bootstrap
	if b.From != "" {
		build = i.buildOn
	}
	if err := build(ctx, system); err != nil || len(b.Folders) == 0 {
		return err
	}
	_, _ = fmt.Fprintf(b.Progress, "adding %s\n", strings.Join(slices.Sorted(maps.Keys(b.Folders)), ", "))
	dockerfile, folders := "FROM "+system.Name+"\n", map[string]string{}
	for n, place := range slices.Sorted(maps.Keys(b.Folders)) {
		name := fmt.Sprintf("folder%d", n)
		folders[name] = b.Folders[place]
		dockerfile += "COPY " + name + " " + place + "\n"
	}
	return i.build(ctx, buildContext{files: map[string][]byte{"Dockerfile": []byte(dockerfile)}, folders: folders}, b.Name, b.Progress)
}

// buildOn builds it by docker build on an image of Ubuntu or Debian.
func (i *Images) buildOn(ctx context.Context, b Base) error {
	if _, err := i.inspect(ctx, b.From); errors.Is(err, engine.ErrNoImage) {
		_, _ = fmt.Fprintf(b.Progress, "pulling %s\n", b.From)
		if err := i.pull(ctx, b.From, nil); err != nil {
			return fmt.Errorf("%w: %q is not here and no registry gave it (%w): leave --base out to build from packages", engine.ErrNoImage, b.From, err)
		}
	} else if err != nil {
		return err
	}
	files := map[string][]byte{"finish": []byte(finishScript)}
	lines := []string{"FROM " + b.From, "ENV DEBIAN_FRONTEND=noninteractive", "COPY finish /tmp/finish"}
	if b.CA != "" {
		data, err := os.ReadFile(b.CA)
		if err != nil {
			return err
		}
		files["ca.crt"] = data
		lines = append(lines, "COPY ca.crt /tmp/ca.crt")
	}
	lines = append(lines,
		"RUN apt-get "+strings.Join(aptOptions(ctx), " ")+" update && apt-get install -y --no-install-recommends "+strings.Join(b.packages(), " ")+
			" && { "+strings.ReplaceAll(clientScript, "\n", "; ")+"; } && rm -rf /var/lib/apt/lists/* && sh /tmp/finish / && rm -f /tmp/finish /tmp/ca.crt")
	lines = append(lines, instructions(b.From)...)
	lines = append(lines, "ENV DEBIAN_FRONTEND=")
	files["Dockerfile"] = []byte(strings.Join(lines, "\n") + "\n")
	return i.build(ctx, buildContext{files: files}, b.Name, b.Progress)
}

// bootstrap builds it from packages, with no image to begin with.
func (i *Images) bootstrap(ctx context.Context, b Base) error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return fmt.Errorf("%w: from packages it takes mmdebstrap (apt-get install mmdebstrap); where a registry answers, name an image to build on: lazulite images build --base ubuntu:24.04", ErrNoBuilder)
	}
	suite, sources, err := machineSources("/etc/os-release", "/etc/apt")
	if err != nil {
		return err
	}
	if b.Sources != nil {
		sources = b.Sources
	}
	dir, err := os.MkdirTemp("", "lazulite-base-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	finish := filepath.Join(dir, "finish")
	if err := os.WriteFile(finish, []byte(finishScript), 0o755); err != nil {
		return err
	}
	args := []string{"--variant=apt", "--include=" + strings.Join(b.packages(), ","), "--format=tar"}
	for _, o := range aptOptions(ctx) {
		args = append(args, "--aptopt="+strings.TrimPrefix(o, "-o "))
	}
	if b.UV {
		if uv, err := fetchUV(ctx, dir); err != nil {
			_, _ = fmt.Fprintf(b.Progress, "uv is left out of the image: %v\n", err)
		} else {
			args = append(args, "--customize-hook=upload "+uv+" /usr/local/bin/uv", `--customize-hook=chmod 755 "$1/usr/local/bin/uv"`)
		}
	}
	if b.CA != "" {
		args = append(args, "--customize-hook=upload "+b.CA+" /tmp/ca.crt")
	}
	args = append(args, `--customize-hook=chroot "$1" sh -c '`+clientScript+`'`)
	args = append(args, "--customize-hook="+finish+` "$1"`, suite, "-")
	args = append(args, sources...)
	epoch := b.Epoch
	if epoch.IsZero() {
		epoch = newestList("/var/lib/apt/lists")
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()))
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(b.Progress, &said)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(b.Progress, "building %s from the packages of %s\n", b.Name, suite)
	if err := cmd.Start(); err != nil {
		return err
	}
	// The name is given only to what is whole.
	repo, tag, _ := strings.Cut(b.Name, ":")
	r, failed := i.daemon.api.ImageImport(ctx, client.ImageImportSource{Source: out, SourceName: "-"}, repo+"-unfinished",
		client.ImageImportOptions{Tag: tag, Message: "lazulite base image of " + suite, Changes: instructions(suite)})
	if failed == nil {
		failed = progress(r, io.Discard)
		_ = r.Close()
	}
	_, _ = io.Copy(io.Discard, out)
	ran := cmd.Wait()
	unfinished := repo + "-unfinished:" + tag
	defer func() {
		_, _ = i.daemon.api.ImageRemove(context.WithoutCancel(ctx), unfinished, client.ImageRemoveOptions{})
	}()
	if ran != nil {
		return fmt.Errorf("docker: mmdebstrap: %w: %s", ran, lastLines(said.String(), 5))
	}
	if failed != nil {
		return wrong("importing the base image", failed)
	}
	if _, err := i.daemon.api.ImageTag(ctx, client.ImageTagOptions{Source: unfinished, Target: b.Name}); err != nil {
		return wrong("naming the base image", err)
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// finishScript ends the base image's making, on the root folder that it is given.
//
// Interpreters of the host are mounted where they are there, which may be under
// /root: others must get through. pip may install outside of virtual
// environments, as it did in 2018. Host keys and machine id are each machine's
// own. The mirror that it was made from is this machine's business.
const finishScript = `set -e
r=${1%/}
chmod 711 "$r/root"
rm -f "$r"/usr/lib/python3*/EXTERNALLY-MANAGED "$r"/etc/ssh/ssh_host_*_key*
ln -sf python3 "$r/usr/bin/python"
mkdir -p "$r/run/sshd"
if [ -f "$r/tmp/ca.crt" ]; then
  cp "$r/tmp/ca.crt" "$r/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$r/etc/pip.conf"
  rm -f "$r/tmp/ca.crt"
fi
rm -rf "$r"/var/cache/apt/* "$r"/var/lib/apt/lists/* "$r"/var/cache/debconf/*-old "$r"/var/cache/ldconfig/aux-cache
find "$r/var/log" -type f -delete
find "$r" -xdev -name __pycache__ -type d -prune -exec rm -rf {} +
: >"$r/etc/machine-id"
rm -f "$r/var/lib/dbus/machine-id"
[ -z "$r" ] || rm -f "$r/etc/hostname" "$r/etc/resolv.conf"
`

// clientScript takes the docker command alone out of the distribution's
// package, which in most has the daemon with it.
const clientScript = `set -e; cd /tmp
apt-get download docker-cli 2>/dev/null || apt-get download docker.io
dpkg-deb --fsys-tarfile docker*.deb | tar -x -C / ./usr/bin/docker
rm -f docker*.deb`

// fetchUV gets the uv program by this host's pip, which knows the host's index and certificates.
func fetchUV(ctx context.Context, dir string) (string, error) {
	target := filepath.Join(dir, "uv")
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "install", "-q", "--no-compile", "--no-deps", "--disable-pip-version-check", "--target", target, "uv")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip: %w: %s", err, lastLines(string(out), 2))
	}
	uv := filepath.Join(target, "bin", "uv")
	if _, err := os.Stat(uv); err != nil {
		return "", err
	}
	return uv, nil
}

// newestList is the time of the newest package list that this machine has.
func newestList(dir string) time.Time {
	newest := time.Unix(0, 0)
	files, _ := filepath.Glob(filepath.Join(dir, "*Release"))
	for _, f := range files {
		if s, err := os.Stat(f); err == nil && s.ModTime().After(newest) {
			newest = s.ModTime()
		}
	}
	if newest.Unix() == 0 {
		return time.Now()
	}
	return newest
}
