package aad

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// identityError is a refusal by a managed identity endpoint; these have no AADSTS envelope of their own.
type identityError struct {
	Status      int    `json:"-"`
	Err         string `json:"error"`
	Description string `json:"error_description"`
}

func (e *identityError) Error() string { return e.Err + ": " + e.Description }

// identity answers a machine's own token endpoint: the VM extension's and
// Cloud Shell's (GET or POST, MSI_ENDPOINT), and the instance metadata
// service's (GET, api-version 2018-02-01). The header Metadata keeps web pages out.
func (a *Authority) identity(w http.ResponseWriter, r *http.Request, path string) {
	body, err := a.identityToken(w, r, path == "metadata/identity/oauth2/token")
	if err == nil {
		err = writeJSON(w, body)
	}
	if err == nil {
		return
	}
	e, ok := err.(*identityError)
	if !ok {
		a.log.Error("the managed identity endpoint failed", "error", err)
		e = &identityError{http.StatusInternalServerError, "unknown", "Failed to retrieve token from the Active directory."}
	}
	out, _ := json.Marshal(e)
	writeBody(w, e.Status, "application/json; charset=utf-8", out)
}

func (a *Authority) identityToken(w http.ResponseWriter, r *http.Request, imds bool) (map[string]string, error) {
	bad := func(word, text string) error { return &identityError{http.StatusBadRequest, word, text} }
	if r.Method != http.MethodGet && (imds || r.Method != http.MethodPost) {
		return nil, &identityError{http.StatusMethodNotAllowed, "invalid_request", "The method " + r.Method + " is not allowed."}
	}
	if !strings.EqualFold(r.Header.Get("Metadata"), "true") {
		return nil, bad("invalid_request", "Required metadata header not specified")
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return nil, bad("invalid_request", "The request is malformed")
	}
	if imds && r.Form.Get("api-version") == "" {
		return nil, bad("invalid_request", "Required query variable 'api-version' is missing")
	}
	resource := r.Form.Get("resource")
	if resource == "" {
		return nil, bad("invalid_request", "Required audience parameter not specified")
	}
	audience, ok := a.audience(resource)
	if !ok {
		return nil, bad("invalid_resource", "AADSTS50001: The application named "+resource+" was not found in the tenant named "+a.cfg.Tenant+
			". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.")
	}
	id, ok := a.identityClient(r)
	if !ok {
		return nil, bad("invalid_request", "Identity not found")
	}
	s, err := a.issue(r.Context(), Claims{Audience: audience, AppID: id}, accessToken)
	if err != nil {
		return nil, err
	}
	left := strconv.FormatInt(int64(s.expires.Sub(a.clock.Now())/time.Second), 10)
	return map[string]string{
		"access_token": s.token, "client_id": id, "refresh_token": "", "expires_in": left, "ext_expires_in": left,
		"expires_on": strconv.FormatInt(s.expires.Unix(), 10), "not_before": strconv.FormatInt(s.from.Unix(), 10),
		"resource": audience, "token_type": "Bearer",
	}, nil
}

// identityClient is the machine's own identity, or the service principal that the request names.
func (a *Authority) identityClient(r *http.Request) (string, bool) {
	if id := strings.ToLower(r.Form.Get("client_id")); id != "" {
		_, ok := a.clients[id]
		return id, ok || id == a.cfg.Identity
	}
	if oid := strings.ToLower(r.Form.Get("object_id")); oid != "" {
		for id := range a.clients {
			if a.objectID(Claims{AppID: id}) == oid {
				return id, true
			}
		}
		return a.cfg.Identity, a.objectID(Claims{AppID: a.cfg.Identity}) == oid
	}
	// No resource of the type Microsoft.ManagedIdentity can be assigned here.
	named := r.Form.Get("msi_res_id") != "" || r.Form.Get("mi_res_id") != ""
	return a.cfg.Identity, !named
}
