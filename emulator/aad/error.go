package aad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// oauthError is a refusal by an endpoint of the authority.
type oauthError struct {
	Status int
	Err    string // OAuth's word: invalid_client, invalid_grant ...
	Codes  []int  // AADSTS numbers, the most general first
	Text   string // what follows the first number; further numbers are in it
}

func (e *oauthError) Error() string { return fmt.Sprintf("AADSTS%d: %s", e.Codes[0], e.Text) }

// errorBody is the answer of Azure AD to a refused request.
type errorBody struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri,omitempty"`
}

// writeError is the only writer of Azure AD's error answer.
func (a *Authority) writeError(w http.ResponseWriter, q *request, err error) {
	var e *oauthError
	if !errors.As(err, &e) {
		if !errors.Is(err, context.Canceled) {
			a.log.Error("the authority failed", "path", q.URL.Path, "error", err)
		}
		e = &oauthError{Status: http.StatusServiceUnavailable, Err: "temporarily_unavailable", Codes: []int{90033},
			Text: "A transient error has occurred. Please try again."}
	}
	body := errorBody{
		Error: e.Err, Codes: e.Codes, TraceID: randomGUID(), CorrelationID: q.Header.Get("client-request-id"),
		Timestamp: a.clock.Now().Format("2006-01-02 15:04:05Z"),
	}
	if body.CorrelationID == "" {
		body.CorrelationID = randomGUID()
	}
	body.Description = fmt.Sprintf("%s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s",
		e.Error(), body.TraceID, body.CorrelationID, body.Timestamp)
	if q.v2 {
		body.URI = "https://login.microsoftonline.com/error?code=" + strconv.Itoa(e.Codes[0])
	}
	out, _ := json.Marshal(body)
	w.Header().Set("x-ms-request-id", body.TraceID)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeBody(w, e.Status, "application/json; charset=utf-8", out)
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func errTenant(tenant string) error {
	return &oauthError{http.StatusBadRequest, "invalid_request", []int{90002},
		"Tenant '" + tenant + "' not found. This may happen if there are no active subscriptions for the tenant. Check with your subscription administrator."}
}

func errInstance() error {
	return &oauthError{http.StatusBadRequest, "invalid_instance", []int{50049}, "Unknown or invalid instance."}
}

func errNoTenant() error {
	return &oauthError{http.StatusBadRequest, "invalid_request", []int{50059},
		"No tenant-identifying information found in either the request or implied by any provided credentials."}
}

func errMalformed() error {
	return &oauthError{http.StatusBadRequest, "invalid_request", []int{9002313}, "Invalid request. Request is malformed or invalid."}
}

func errMissing(parameter string) error {
	return &oauthError{http.StatusBadRequest, "invalid_request", []int{90014},
		"The request body must contain the following parameter: '" + parameter + "'."}
}

func errGrantType(grant string) error {
	return &oauthError{http.StatusBadRequest, "unsupported_grant_type", []int{70003}, "The app requested an unsupported grant type '" + grant + "'."}
}

func (a *Authority) errClient(id string) error {
	return &oauthError{http.StatusBadRequest, "unauthorized_client", []int{700016},
		"Application with identifier '" + id + "' was not found in the directory '" + a.cfg.Tenant + "'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."}
}

func errNoSecret(v2 bool) error {
	if v2 {
		return &oauthError{http.StatusUnauthorized, "invalid_client", []int{7000216},
			"'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
	}
	return &oauthError{http.StatusUnauthorized, "invalid_client", []int{70002},
		"The request body must contain the following parameter: 'client_secret or client_assertion'."}
}

func errSecret(id string, v2 bool) error {
	if v2 {
		return &oauthError{http.StatusUnauthorized, "invalid_client", []int{7000215},
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + id + "'."}
	}
	return &oauthError{http.StatusUnauthorized, "invalid_client", []int{70002, 50012},
		"Error validating credentials. AADSTS50012: Invalid client secret is provided."}
}

func errAssertion(v2 bool) error {
	if v2 {
		return &oauthError{http.StatusUnauthorized, "invalid_client", []int{700027},
			"Client assertion contains an invalid signature. [Reason - The key was not found.]"}
	}
	return &oauthError{http.StatusUnauthorized, "invalid_client", []int{70002, 50012},
		"Error validating credentials. AADSTS50012: Client assertion contains an invalid signature. [Reason - The key was not found.]"}
}

func errPublicSecret(v2 bool) error {
	if v2 {
		return &oauthError{http.StatusUnauthorized, "invalid_client", []int{700025},
			"Client is public so neither 'client_assertion' nor 'client_secret' should be presented."}
	}
	return &oauthError{http.StatusUnauthorized, "invalid_client", []int{90023}, "Public clients can't send a client secret."}
}

func (a *Authority) errResource(resource string, v2 bool) error {
	const tail = " This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."
	if v2 {
		return &oauthError{http.StatusBadRequest, "invalid_resource", []int{500011},
			"The resource principal named " + resource + " was not found in the tenant named " + a.cfg.Tenant + "." + tail}
	}
	return &oauthError{http.StatusBadRequest, "invalid_resource", []int{50001},
		"The application named " + resource + " was not found in the tenant named " + a.cfg.Tenant + "." + tail}
}

func errNoResource() error {
	return &oauthError{http.StatusBadRequest, "invalid_resource", []int{50001}, "Resource identifier is not provided."}
}

func errScope(scope string) error {
	return &oauthError{http.StatusBadRequest, "invalid_scope", []int{70011},
		strings.TrimSpace("The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope " + scope + " is not valid.")}
}

func errExpiredGrant() error {
	return &oauthError{http.StatusBadRequest, "invalid_grant", []int{70008},
		"The provided authorization code or refresh token is expired. Send a new interactive authorization request for this user and resource."}
}
