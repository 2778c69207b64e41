package execution

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
)

// dockerSection is environment.docker of a run configuration.
type dockerSection struct {
	Enabled           bool          `json:"enabled"`
	BaseImage         string        `json:"baseImage"`
	BaseImageRegistry imageRegistry `json:"baseImageRegistry"`
	SharedVolumes     *bool         `json:"sharedVolumes"`
	GPUSupport        bool          `json:"gpuSupport"`
	ShmSize           string        `json:"shmSize"`
	Arguments         []word        `json:"arguments"`
	// What SDK 1.x has in the place of a base image.
	BaseDockerfile string          `json:"baseDockerfile"`
	BuildContext   json.RawMessage `json:"buildContext"`
}

// imageRegistry is a private registry that the base image comes from.
type imageRegistry struct {
	Address  string `json:"address"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// dockerRuntime is how SDK 1.x says that a run wants a container, beside its environment.
type dockerRuntime struct {
	UseDocker     bool   `json:"useDocker"`
	SharedVolumes *bool  `json:"sharedVolumes"`
	ShmSize       string `json:"shmSize"`
	Arguments     []word `json:"arguments"`
}

// jobDocker is what the control script gets to know of the container it is to run.
type jobDocker struct {
	Image string `json:"image"`
	// StandIn is an image that is taken where Image is not on the machine; empty: none.
	StandIn       string `json:"standIn"`
	Registry      string `json:"registry"` // address without scheme; empty: Docker's own
	SharedVolumes bool   `json:"sharedVolumes"`
	GPU           bool   `json:"gpu"`
	ShmSize       string `json:"shmSize"`
	Arguments     []word `json:"arguments"`
}

// registryLogin is a private registry's user, of the job's secrets.
type registryLogin struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// imageName is what docker takes for an image: no option, and nothing that a shell would see.
var imageName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,511}$`) })

// inDocker: both SDKs' ways to ask for a container.
func (c *configuration) inDocker() bool {
	return c.Environment.Docker.Enabled || c.Docker != nil && c.Docker.UseDocker
}

func (c *configuration) checkDocker() error {
	if !c.inDocker() {
		return nil
	}
	const section = "Configuration.environment.docker."
	d := c.Environment.Docker
	switch {
	case d.BaseDockerfile != "":
		return plane.BadRequest(section+"baseDockerfile", "Base images from a Dockerfile are not emulated here: docker build it, and name the image in '%sbaseImage'.", section)
	case len(d.BuildContext) > 0 && string(d.BuildContext) != "null":
		return plane.BadRequest(section+"buildContext", "Base images from a build context are not emulated here: docker build it, and name the image in '%sbaseImage'.", section)
	case d.BaseImage == "":
		return plane.BadRequest(section+"baseImage", "'%sbaseImage' must name an image where docker is enabled.", section)
	case !imageName().MatchString(d.BaseImage):
		return plane.BadRequest(section+"baseImage", "'%s' is no name of an image.", d.BaseImage)
	}
	const registry = section + "baseImageRegistry."
	r := d.BaseImageRegistry
	switch {
	case r.Address != "" && !imageName().MatchString(registryAddress(r.Address)):
		return plane.BadRequest(registry+"address", "'%s' is no address of a registry.", r.Address)
	case r.Username != "" && r.Password == "":
		return plane.BadRequest(registry+"password", "The user '%s' of the registry has no password.", r.Username)
	case r.Username == "" && r.Password != "":
		return plane.BadRequest(registry+"username", "'%susername' must be given with the password.", registry)
	case strings.ContainsAny(r.Username+r.Password, "\r\n\x00") || strings.HasPrefix(r.Username, "-"):
		return plane.BadRequest(registry+"username", "User name or password of the registry hold what none can.")
	}
	return nil
}

// registryAddress is an address as image names begin with it.
func registryAddress(address string) string {
	for _, scheme := range []string{"https://", "http://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	return strings.TrimRight(address, "/")
}

// jobImage is the image that a run asks for, where whoever runs it makes the container.
type jobImage struct {
	Image, Registry, Username, Password, ShmSize string
}

// image is the container's image; nil: the run wants none.
func (c *configuration) image() *jobImage {
	if !c.inDocker() {
		return nil
	}
	d := c.Environment.Docker
	i := &jobImage{Image: d.BaseImage, Registry: registryAddress(d.BaseImageRegistry.Address),
		Username: d.BaseImageRegistry.Username, Password: d.BaseImageRegistry.Password, ShmSize: d.ShmSize}
	if r := c.Docker; r != nil && r.UseDocker && r.ShmSize != "" {
		i.ShmSize = r.ShmSize
	}
	switch i.Registry {
	case "", "docker.io", "index.docker.io", "index.docker.io/v1":
	default:
		if !strings.HasPrefix(i.Image, i.Registry+"/") {
			i.Image = i.Registry + "/" + i.Image
		}
	}
	return i
}

// jobDocker words the container for the control script; nil: the run wants none.
func (s *Service) jobDocker(c *configuration) *jobDocker {
	if !c.inDocker() {
		return nil
	}
	d, image := c.Environment.Docker, c.image()
	j := &jobDocker{
		Image: image.Image, Registry: image.Registry, SharedVolumes: d.SharedVolumes == nil || *d.SharedVolumes,
		GPU: d.GPUSupport, ShmSize: image.ShmSize, Arguments: append([]word{}, d.Arguments...),
	}
	if r := c.Docker; r != nil && r.UseDocker {
		j.Arguments = append(j.Arguments, r.Arguments...)
		if r.SharedVolumes != nil {
			j.SharedVolumes = *r.SharedVolumes
		}
	}
	if s.cfg.StandIn != nil {
		j.StandIn, _ = s.cfg.StandIn(j.Image)
	}
	return j
}

// withoutPassword is a configuration as history may show it and the record may
// keep it: the same, but for the registry's password. Only one that has a
// password is written anew.
func withoutPassword(c *configuration, raw json.RawMessage) (json.RawMessage, error) {
	if c.Environment.Docker.BaseImageRegistry.Password == "" {
		return raw, nil
	}
	return rewrite(raw, "environment", func(b json.RawMessage) (json.RawMessage, error) {
		return rewrite(b, "docker", func(b json.RawMessage) (json.RawMessage, error) {
			return rewrite(b, "baseImageRegistry", func(b json.RawMessage) (json.RawMessage, error) {
				return rewrite(b, "password", func(json.RawMessage) (json.RawMessage, error) { return json.RawMessage("null"), nil })
			})
		})
	})
}

// rewrite changes the members of an object that Go reads as name, in whatever case they are.
func rewrite(object json.RawMessage, name string, change func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, fmt.Errorf("execution: %w", err)
	}
	for key, value := range members {
		if !strings.EqualFold(key, name) || string(value) == "null" {
			continue
		}
		b, err := change(value)
		if err != nil {
			return nil, err
		}
		members[key] = b
	}
	b, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("execution: %w", err)
	}
	return b, nil
}

// loginFile keeps the registry's password of a remote run until the run has ended, beside its project.
func (s *Service) loginFile(key string) string {
	return strings.TrimSuffix(s.projectFile(key), ".zip") + ".registry"
}

func (s *Service) keepLogin(key string, c *configuration) error {
	password := c.Environment.Docker.BaseImageRegistry.Password
	if password == "" {
		return nil
	}
	if err := os.WriteFile(s.loginFile(key), []byte(password), 0o600); err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	return nil
}

// restoreLogin puts the password into a configuration that was read from a record.
func (s *Service) restoreLogin(key string, c *configuration) error {
	b, err := os.ReadFile(s.loginFile(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	c.Environment.Docker.BaseImageRegistry.Password = string(b)
	return nil
}
