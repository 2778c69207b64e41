package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
)

// imageRequest is what an image is made of: of ImageRequest as azureml-core 0.1.68 sends it, and of EnvironmentImageRequest (modelManagement.json, 2019-08-01).
type imageRequest struct {
	DriverProgram string         `json:"driverProgram"`
	Assets        []imageAsset   `json:"assets"`
	ModelIDs      []string       `json:"modelIds"`
	TargetRuntime *targetRuntime `json:"targetRuntime"`
	DockerFileURI *string        `json:"dockerFileUri"`
	BaseImage     *string        `json:"baseImage"`
	ImageType     string         `json:"imageType"`
	ImageFlavor   string         `json:"imageFlavor"`
}

// imageAsset is a file of the image. The SDK sends the driver without Unpack, and wants it back.
type imageAsset struct {
	ID       string `json:"id"`
	MimeType string `json:"mimeType"`
	URL      string `json:"url"`
	Unpack   bool   `json:"unpack"`
}

// targetRuntime is TargetRuntime.
type targetRuntime struct {
	RuntimeType        string         `json:"runtimeType"`
	TargetArchitecture string         `json:"targetArchitecture,omitempty"`
	Properties         map[string]any `json:"properties"`
}

// text is a property that is a string; empty if there is none.
func (t *targetRuntime) text(name string) string {
	if t == nil {
		return ""
	}
	v, _ := t.Properties[name].(string)
	return v
}

var (
	imageNames   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][-.a-z0-9]{1,30}[a-z0-9]$`) })
	serviceNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}[a-z0-9]$`) })
)

func validName(name string, rule func() *regexp.Regexp) bool { return rule().MatchString(name) }

// checkImage refuses what cannot be built before anything is; what only the build can tell fails there.
func (s *Service) checkImage(ctx context.Context, ws plane.Workspace, in *imageRequest) error {
	bad := func(code, target, format string, args ...any) error {
		return mms.Fault(http.StatusBadRequest, code, target, format, args...)
	}
	none := func(v *string) bool { return v == nil || *v == "" }
	if t := in.TargetRuntime; t != nil {
		switch {
		case strings.EqualFold(t.RuntimeType, "SparkPython"):
			return bad("NotSupported", "targetRuntime.runtimeType", "Images of the runtime SparkPython are not emulated here: Python is.")
		case !strings.EqualFold(t.RuntimeType, "Python") && !strings.EqualFold(t.RuntimeType, "PythonSlim") && !strings.EqualFold(t.RuntimeType, "PythonCustom"):
			return bad("InvalidRuntimeType", "targetRuntime.runtimeType", "The runtime type '%s' is not one of Python, PythonSlim and PythonCustom.", t.RuntimeType)
		case t.TargetArchitecture != "" && !strings.EqualFold(t.TargetArchitecture, "amd64"):
			return bad("NotSupported", "targetRuntime.targetArchitecture", "Images for '%s' are not emulated here: those for amd64 are.", t.TargetArchitecture)
		}
		if on, _ := t.Properties["installCuda"].(bool); on {
			return bad("NotSupported", "targetRuntime.properties.installCuda", "CUDA is not put into images here: packages from PyPI bring what they need of it.")
		}
	}
	switch {
	case !none(in.DockerFileURI):
		return bad("NotSupported", "dockerFileUri", "Steps of a Dockerfile are not emulated here: an image is made of its files, models and conda dependencies.")
	case !none(in.BaseImage):
		return bad("NotSupported", "baseImage", "Base images of one's own are not emulated here: an image is made of its files, models and conda dependencies.")
	case in.ImageType != "" && in.ImageType != "Docker":
		return bad("InvalidImageType", "imageType", "The image type '%s' is not Docker.", in.ImageType)
	case in.ImageFlavor != "" && in.ImageFlavor != "WebApiContainer":
		return bad("NotSupported", "imageFlavor", "Images of the flavor '%s' are not emulated here: WebApiContainer is.", in.ImageFlavor)
	case in.DriverProgram == "":
		return bad("MissingField", "driverProgram", "The image's 'driverProgram' is missing.")
	}
	if err := s.checkAssets(ctx, ws, in); err != nil {
		return err
	}
	for _, id := range in.ModelIDs {
		_, err := s.cfg.Assets.Model(ctx, ws, id)
		var e *plane.Error
		if errors.As(err, &e) {
			return bad("ModelNotFound", "modelIds", "The model with id '%s' was not found.", id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkAssets(ctx context.Context, ws plane.Workspace, in *imageRequest) error {
	driver := false
	for i, a := range in.Assets {
		driver = driver || a.ID == in.DriverProgram
		if a.ID == "" || path.IsAbs(a.ID) || !cleanPath(a.ID) {
			return mms.Fault(http.StatusBadRequest, "InvalidAsset", "assets", "The id '%s' of asset %d is no name of a file.", a.ID, i)
		}
		if err := s.checkURL(ctx, ws, "assets", a.URL); err != nil {
			return err
		}
	}
	if !driver {
		return mms.Fault(http.StatusBadRequest, "DriverNotFound", "driverProgram", "The driver program '%s' is not among the assets.", in.DriverProgram)
	}
	for _, name := range []string{"pipRequirements", "condaEnvFile"} {
		if u := in.TargetRuntime.text(name); u != "" {
			if err := s.checkURL(ctx, ws, "targetRuntime.properties."+name, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// cleanPath reports whether a relative path stays where it is put.
func cleanPath(p string) bool {
	return !strings.ContainsAny(p, "\\\x00") && path.Clean(p) != "." && path.Clean(p) != ".." && !strings.HasPrefix(path.Clean(p), "../")
}

// checkURL takes artifacts that are there, and addresses of the web.
func (s *Service) checkURL(ctx context.Context, ws plane.Workspace, target, u string) error {
	if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
		return nil
	}
	id, ok := strings.CutPrefix(u, "aml://artifact/")
	if !ok {
		return mms.Fault(http.StatusBadRequest, "InvalidUrl", target, "The url '%s' must be aml://artifact/{artifact id} or an address of the web.", u)
	}
	_, err := s.cfg.Assets.ArtifactURL(ctx, ws, id, s.cfg.Clock.Now())
	var e *plane.Error
	if errors.As(err, &e) {
		return mms.Fault(http.StatusBadRequest, "ArtifactNotFound", target, "The artifact '%s' does not exist.", id)
	}
	return err
}

// environmentRequest is EnvironmentImageRequest: what SDK 1.x deploys without making an image of it first.
type environmentRequest struct {
	imageRequest
	Environment json.RawMessage `json:"environment"`
}

// modelEnvironment is ModelEnvironmentDefinition, as far as it is heeded.
type modelEnvironment struct {
	Name                 string            `json:"name"`
	EnvironmentVariables map[string]string `json:"environmentVariables"`
	Python               struct {
		UserManaged       bool            `json:"userManagedDependencies"`
		CondaDependencies json.RawMessage `json:"condaDependencies"`
	} `json:"python"`
	Docker struct {
		BaseDockerfile *string `json:"baseDockerfile"`
	} `json:"docker"`
}

func (s *Service) checkEnvironment(ctx context.Context, ws plane.Workspace, in *environmentRequest) error {
	const section = "environmentImageRequest.environment."
	if len(in.Environment) == 0 || string(in.Environment) == "null" {
		return mms.Fault(http.StatusBadRequest, "NotSupported", "environmentImageRequest.environment",
			"Models are not deployed here without an entry script and an environment of their own.")
	}
	var env modelEnvironment
	if err := json.Unmarshal(in.Environment, &env); err != nil {
		return mms.Fault(http.StatusBadRequest, "EmptyOrInvalidPayload", "environmentImageRequest.environment", "The environment cannot be read: %s.", err)
	}
	switch {
	case env.Docker.BaseDockerfile != nil && *env.Docker.BaseDockerfile != "":
		return mms.Fault(http.StatusBadRequest, "NotSupported", section+"docker.baseDockerfile", "Base images from a Dockerfile are not emulated here.")
	case env.Python.UserManaged:
		return mms.Fault(http.StatusBadRequest, "NotSupported", section+"python.userManagedDependencies", "Environments that a base image brings are not emulated here: name the conda dependencies.")
	}
	return s.checkImage(ctx, ws, &in.imageRequest)
}
