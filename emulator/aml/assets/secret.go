package assets

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// secret is the record of one credential of a legacy .compute file.
type secret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *Service) registerSecrets(m *plane.Mux) {
	const base = "credential/v1.0/{WS}/secrets"
	m.Handle(http.MethodPut, base, notForRuns(s.putSecret))
	m.Handle(http.MethodGet, base+"/{name}", notForRuns(s.getSecret))
	m.Handle(http.MethodDelete, base+"/{name}", notForRuns(s.deleteSecret))
}

// notForRuns refuses a run's token: a script has no use for the passwords of the machines that it runs on.
func notForRuns(h plane.HandlerFunc) plane.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
		if c.Caller.RunID != "" {
			return &plane.Error{Status: http.StatusForbidden, Code: "UserError", Inner: "AuthorizationFailed",
				Message: "The token of a run does not give access to the workspace's secrets."}
		}
		return h(w, r, c)
	}
}

func secretKey(ws plane.Workspace, name string) string { return key(ws, "secret", name) }

// secretName reads the last segment as the SDK writes it: quote_plus, so that "+" is a space.
func secretName(r *http.Request) (string, error) {
	p := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	name, err := url.QueryUnescape(p[strings.LastIndexByte(p, '/')+1:])
	if err != nil {
		return "", plane.BadRequest("name", "The secret's name is not validly escaped.")
	}
	return name, nil
}

func missingSecret(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The secret '%s' was not found.", name)
	}
	return err
}

func (s *Service) putSecret(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Name  string
		Value *string
	}
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	switch {
	case in.Name == "":
		return missing("Name")
	case len(in.Name) > 1024 || hasControl(in.Name):
		return plane.BadRequest("Name", "The secret's name is longer than 1024 characters or holds control characters.")
	case in.Value == nil:
		return missing("Value")
	case len(*in.Value) > 25<<10:
		return plane.BadRequest("Value", "The secret's value is longer than 25 KB.")
	}
	if _, err := store.Write(r.Context(), s.cfg.Store, secretKey(c.Workspace, in.Name), secret{in.Name, *in.Value}, store.Any); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// getSecret shows the value, because the SDK has a call that reads it.
func (s *Service) getSecret(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, err := secretName(r)
	if err != nil {
		return err
	}
	v, err := s.Secret(r.Context(), c.Workspace, name)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, secret{name, v})
	return nil
}

func (s *Service) deleteSecret(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, err := secretName(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.Delete(r.Context(), secretKey(c.Workspace, name), store.Any); err != nil {
		return missingSecret(name, err)
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// Secret returns a secret stored through credential/v1.0 ("AzureMlSecret=..." in a legacy .compute file).
func (s *Service) Secret(ctx context.Context, ws plane.Workspace, name string) (string, error) {
	v, _, err := store.Read[secret](ctx, s.cfg.Store, secretKey(ws, name))
	return v.Value, missingSecret(name, err)
}
