package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"lazulite.dev/emulator/engine"
)

// Pull implements engine.Puller.
func (e *Engine) Pull(ctx context.Context, name string, login *engine.RegistryLogin) error {
	_, err := e.images.resolve(ctx, name, login)
	return err
}

// loginHeader is a registry's login as the daemon takes it, if it is for the image's registry.
func loginHeader(image string, login *engine.RegistryLogin) (string, error) {
	if login == nil || !strings.HasPrefix(strings.ToLower(image), strings.ToLower(strings.TrimSuffix(login.Server, "/"))+"/") {
		return "", nil
	}
	b, err := json.Marshal(map[string]string{"username": login.User, "password": login.Password, "serveraddress": login.Server})
	return base64.URLEncoding.EncodeToString(b), err
}
