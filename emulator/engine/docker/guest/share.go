package guest

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// shareFiles leads bind mounts to the folders that the machine has of the host.
func (c *call) shareFiles(host map[string]any) error {
	binds, _ := host["Binds"].([]any)
	for i, b := range binds {
		bind, _ := b.(string)
		parts := strings.Split(bind, ":")
		if len(parts) < 2 {
			continue // a volume without a name
		}
		if !strings.HasPrefix(parts[0], "/") {
			parts[0] = c.cfg.Prefix + parts[0]
		} else {
			source, readOnly, err := c.onHost(parts[0])
			if err != nil {
				return err
			}
			if strings.Contains(source, ":") {
				return refuse(http.StatusBadRequest, "%q can't be named with -v: use --mount", parts[0])
			}
			parts[0] = source
			if len(parts) == 2 {
				parts = append(parts, "")
			}
			if parts[2], err = mode(parts[2], readOnly); err != nil {
				return err
			}
		}
		binds[i] = strings.TrimSuffix(strings.Join(parts, ":"), ":")
	}
	mounts, _ := host["Mounts"].([]any)
	for _, m := range mounts {
		one, _ := m.(map[string]any)
		switch kind := text(one, "Type"); kind {
		case "tmpfs":
		case "volume":
			options, _ := one["VolumeOptions"].(map[string]any)
			if !zero(options["DriverConfig"]) {
				return notOffered("Mounts.VolumeOptions.DriverConfig")
			}
			if name := text(one, "Source"); name != "" {
				one["Source"] = c.cfg.Prefix + name
			}
		case "bind":
			options, _ := one["BindOptions"].(map[string]any)
			if p := text(options, "Propagation"); p != "" && p != "rprivate" && p != "private" {
				return notOffered("Mounts.BindOptions.Propagation")
			}
			source, readOnly, err := c.onHost(text(one, "Source"))
			if err != nil {
				return err
			}
			one["Source"] = source
			if readOnly {
				one["ReadOnly"] = true
			}
		default:
			return notOffered("Mounts.Type " + kind)
		}
	}
	return nil
}

// mode is the third part of a bind: "ro,z" and the like.
func mode(given string, readOnly bool) (string, error) {
	var out []string
	for _, o := range strings.Split(given, ",") {
		switch o {
		case "", "rw":
		case "ro", "z", "Z", "private", "rprivate", "nocopy", "consistent", "cached", "delegated":
			out = append(out, o)
		default:
			return "", notOffered("Binds mode " + o)
		}
	}
	if readOnly && !slices.Contains(out, "ro") {
		out = append(out, "ro")
	}
	return strings.Join(out, ","), nil
}

// shareVolumes has volumes of containers of the machine alone.
func (c *call) shareVolumes(host map[string]any) error {
	from, _ := host["VolumesFrom"].([]any)
	for i, f := range from {
		name, _ := f.(string)
		ref, mode, has := strings.Cut(name, ":")
		id, err := c.owned(c.r.Context(), ref)
		if err != nil {
			return err
		}
		if has {
			id += ":" + mode
		}
		from[i] = id
	}
	return nil
}

// maxLinks is how many links a path may go through.
const maxLinks = 40

// onHost is the host's path of a file of the machine. Links on the way are
// followed as the machine sees them, so that none leads anywhere else.
func (c *call) onHost(file string) (host string, readOnly bool, err error) {
	file = path.Clean(file)
	for range maxLinks {
		if file == "/var/run/docker.sock" || file == "/run/docker.sock" {
			return c.cfg.Socket, false, nil
		}
		m, rest, ok := c.mountOf(file)
		if !ok {
			return "", false, refuse(http.StatusForbidden, "%s can't be shared with a container: on this machine, which is a container itself, that can be what is in %s", file, c.shareable())
		}
		host, link, err := walk(m.Source, rest)
		if err != nil {
			return "", false, refuse(http.StatusBadRequest, "invalid mount config for type \"bind\": %s: %v", file, err)
		}
		if link == nil {
			return host, m.ReadOnly, nil
		}
		at := path.Join(m.Target, link.folder)
		if path.IsAbs(link.to) {
			at = "/"
		}
		file = path.Join(at, link.to, link.rest)
	}
	return "", false, refuse(http.StatusBadRequest, "invalid mount config for type \"bind\": %s: too many levels of symbolic links", file)
}

// Check says whether the files that a container shares are on the machine's
// disk still: the daemon, which follows links as the host has them, looks for
// them anew at each start.
func (g *Guest) Check(ctx context.Context, id string) error {
	var found struct {
		HostConfig struct {
			Binds  []string
			Mounts []struct{ Type, Source string }
		}
	}
	status, err := g.ask(ctx, "/containers/"+url.PathEscape(id)+"/json", &found)
	if err != nil || status != http.StatusOK {
		return err // what is gone the daemon says itself
	}
	var sources []string
	for _, b := range found.HostConfig.Binds {
		source, _, _ := strings.Cut(b, ":")
		sources = append(sources, source)
	}
	for _, m := range found.HostConfig.Mounts {
		if m.Type == "bind" {
			sources = append(sources, m.Source)
		}
	}
	for _, source := range sources {
		if strings.HasPrefix(source, "/") && !g.holds(source) {
			return refuse(http.StatusForbidden, "a file that container %s shares is another since it was made: a link leads from there to what is not on the disk of this machine, which is a container itself", id)
		}
	}
	return nil
}

// holds says whether a path of the host is the machine's, with no link on the way.
func (g *Guest) holds(host string) bool {
	if host == g.cfg.Socket {
		return true
	}
	for _, m := range g.cfg.Mounts {
		source := path.Clean(m.Source)
		rest, in := strings.CutPrefix(host, source)
		if !in || rest != "" && rest[0] != '/' {
			continue
		}
		if at, link, err := walk(source, rest); err == nil && link == nil && at == path.Clean(host) {
			return true
		}
	}
	return false
}

// mountOf finds the mount that a file of the machine is in.
func (g *Guest) mountOf(file string) (m Mount, rest string, ok bool) {
	for _, one := range g.cfg.Mounts {
		target := path.Clean(one.Target)
		r, in := strings.CutPrefix(file, target)
		if in && (r == "" || r[0] == '/') && (!ok || len(target) > len(path.Clean(m.Target))) {
			m, rest, ok = one, strings.TrimPrefix(r, "/"), true
		}
	}
	return m, rest, ok
}

func (g *Guest) shareable() string {
	var out []string
	for _, m := range g.cfg.Mounts {
		if s, err := os.Stat(m.Source); err == nil && s.IsDir() && !m.ReadOnly {
			out = append(out, m.Target)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// link is a symbolic link that was met on the way.
type link struct {
	folder string // that it is in, from where the walk began
	to     string
	rest   string // of the way, after it
}

// walk goes down from a folder of the host, to the end of the way or the first
// link. What is not there yet ends the way as it is.
func walk(root, way string) (string, *link, error) {
	at, folder := root, ""
	words := strings.Split(way, "/")
	for i, w := range words {
		if w == "" {
			continue
		}
		next := filepath.Join(at, w)
		s, err := os.Lstat(next)
		if err == nil && s.Mode()&os.ModeSymlink != 0 {
			to, err := os.Readlink(next)
			return "", &link{folder, to, path.Join(words[i+1:]...)}, err
		}
		if err != nil && !os.IsNotExist(err) {
			return "", nil, err
		}
		at, folder = next, path.Join(folder, w)
	}
	return at, nil, nil
}
