package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"

	"lazulite.dev/emulator/aml/plane"
)

// maxText bounds what of an image is read here: requirements and conda files.
const maxText = 1 << 20

// server is what the scoring server needs beside what was asked for. The
// drivers of 2018 import azureml.api, which imports pkg_resources.
var server = []any{"gunicorn>=19.9", "setuptools<81"}

// dependencies are the conda dependencies of an image, with what it runs on. A
// file that does not parse is a failure of the build.
func (s *Service) dependencies(ctx context.Context, ws plane.Workspace, i image) (json.RawMessage, error) {
	var conda map[string]any
	switch {
	case i.Environment != nil:
		var env modelEnvironment
		if err := json.Unmarshal(i.Environment, &env); err != nil {
			return nil, err
		}
		if d := env.Python.CondaDependencies; len(d) > 0 {
			if err := json.Unmarshal(d, &conda); err != nil {
				return nil, fail("InvalidCondaDependencies", nil, "The conda dependencies are not an object: %s.", err)
			}
		}
	case i.TargetRuntime.text("condaEnvFile") != "":
		text, err := s.text(ctx, ws, i.TargetRuntime.text("condaEnvFile"))
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &conda); err != nil {
			return nil, fail("InvalidCondaEnvFile", nil, "The conda file does not parse: %s", err)
		}
	}
	pip := append([]any{}, server...)
	if u := i.TargetRuntime.text("pipRequirements"); u != "" {
		text, err := s.text(ctx, ws, u)
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				pip = append(pip, line)
			}
		}
	}
	return merge(conda, pip)
}

// merge adds pip's lines to conda dependencies.
func merge(conda map[string]any, pip []any) (json.RawMessage, error) {
	var kept []any
	if d := conda["dependencies"]; d != nil {
		list, ok := d.([]any)
		if !ok {
			return nil, fail("InvalidCondaEnvFile", nil, "The 'dependencies' of the conda file are not a list.")
		}
		for _, d := range list {
			section, ok := d.(map[string]any)
			if !ok {
				kept = append(kept, d)
				continue
			}
			lines, ok := section["pip"].([]any)
			if !ok || len(section) != 1 {
				return nil, fail("InvalidCondaEnvFile", nil, "The conda file has a dependency that is neither a package nor a list of pip's.")
			}
			pip = append(append([]any{}, lines...), pip...)
		}
	}
	out := map[string]any{"name": "project_environment", "dependencies": append(kept, map[string]any{"pip": pip})}
	if c := conda["channels"]; c != nil {
		out["channels"] = c
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fail("InvalidCondaEnvFile", nil, "The conda file holds what is no dependency: %s.", err)
	}
	return b, nil
}

// text reads a small file of the image.
func (s *Service) text(ctx context.Context, ws plane.Workspace, u string) ([]byte, error) {
	var b []byte
	var err error
	if id, ok := strings.CutPrefix(u, "aml://artifact/"); ok {
		b, err = s.cfg.Assets.ReadArtifact(ctx, ws, id, maxText)
	} else {
		b, err = s.download(ctx, u)
	}
	var e *plane.Error
	if errors.As(err, &e) {
		return nil, fail("ArtifactNotFound", nil, "%s", e.Message)
	}
	return b, err
}

func (s *Service) download(ctx context.Context, u string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fail("InvalidUrl", nil, "The url '%s' cannot be read: %s.", u, err)
	}
	resp, err := s.cfg.Web.RoundTrip(req)
	if err != nil {
		return nil, fail("DownloadFailed", nil, "The file %s cannot be had: %s.", u, err)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxText+1))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("serving: %s: %w", u, err)
	}
	if resp.StatusCode != http.StatusOK || len(b) > maxText {
		return nil, fail("DownloadFailed", nil, "The file %s cannot be had: status %d, %d bytes.", u, resp.StatusCode, len(b))
	}
	return b, nil
}
