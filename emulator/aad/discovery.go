package aad

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// openID answers the OpenID Connect discovery document of v1, v2 or AD FS.
func (a *Authority) openID(w http.ResponseWriter, q *request) error {
	tenant, _, _ := strings.Cut(strings.Trim(q.URL.Path, "/"), "/")
	root := base(q.Request) + "/" + tenant
	if q.named && !q.adfs {
		root = base(q.Request) + "/" + a.cfg.Tenant
	}
	oauth, jwks := root+"/oauth2", root+"/discovery/keys"
	issued := issuer(a.cfg.Tenant)
	switch {
	case q.adfs:
		issued = base(q.Request) + "/adfs"
	case q.v2:
		oauth, jwks = root+"/oauth2/v2.0", root+"/discovery/v2.0/keys"
		issued = "https://login.microsoftonline.com/{tenantid}/v2.0"
		if q.named {
			// MSAL wants the issuer at the host that it asked, or at one of Azure's.
			issued = base(q.Request) + "/" + a.cfg.Tenant + "/v2.0"
		}
	case !q.named:
		issued = issuer("{tenantid}")
	}
	return writeJSON(w, map[string]any{
		"issuer":                                issued,
		"authorization_endpoint":                oauth + "/authorize",
		"token_endpoint":                        oauth + "/token",
		"device_authorization_endpoint":         oauth + "/devicecode",
		"end_session_endpoint":                  oauth + "/logout",
		"jwks_uri":                              jwks,
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"response_modes_supported":              []string{"query", "form_post"},
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "name", "preferred_username", "oid", "tid", "upn", "nonce"},
		"tenant_region_scope":                   nil,
		"cloud_instance_name":                   "microsoftonline.com",
		"msgraph_host":                          "graph.microsoft.com",
	})
}

// azureHosts are the names under which the public cloud's authority is known.
func azureHosts() []string {
	return []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}
}

// instance vouches for the host of an authorization endpoint (GET /common/discovery/instance).
func (a *Authority) instance(w http.ResponseWriter, q *request) error {
	text := q.URL.Query().Get("authorization_endpoint")
	if text == "" {
		return errMissing("authorization_endpoint")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !a.vouches(u.Host) {
		return errInstance()
	}
	tenant, rest, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	at := u.Scheme + "://" + u.Host + "/" + tenant
	if strings.Contains(rest, "v2.0") {
		at += "/v2.0"
	}
	metadata := []map[string]any{{"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net", "aliases": azureHosts()}}
	known := false
	for _, h := range azureHosts() {
		known = known || strings.EqualFold(h, u.Hostname())
	}
	if !known {
		metadata = append(metadata, map[string]any{"preferred_network": u.Host, "preferred_cache": u.Host, "aliases": []string{u.Host}})
	}
	return writeJSON(w, map[string]any{"tenant_discovery_endpoint": at + "/.well-known/openid-configuration", "api-version": "1.1", "metadata": metadata})
}

// vouches reports whether host, with or without a port, is a name of this authority.
func (a *Authority) vouches(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, h := range append(azureHosts(), a.cfg.Hosts...) {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return strings.EqualFold(host, "localhost") || strings.EqualFold(host, "host.docker.internal") || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// userRealm says how a user signs in (GET /common/userrealm/{user}, api-versions 1.0 and 2.x).
func (a *Authority) userRealm(w http.ResponseWriter, q *request) error {
	name := q.tail
	if name == "" {
		name = q.URL.Query().Get("user")
	}
	_, domain, ok := strings.Cut(name, "@")
	if !ok {
		return errMalformed()
	}
	kind := "Unknown"
	for _, u := range a.cfg.Users {
		if _, d, _ := strings.Cut(u.UPN, "@"); strings.EqualFold(d, domain) {
			kind = "Managed"
		}
	}
	if strings.EqualFold(domain, a.cfg.Domain) {
		kind = "Managed"
	}
	if strings.HasPrefix(q.URL.Query().Get("api-version"), "2.") {
		return writeJSON(w, map[string]any{"NameSpaceType": kind, "Login": name, "DomainName": domain,
			"FederationBrandName": "lazulite", "cloud_instance_name": "microsoftonline.com"})
	}
	return writeJSON(w, map[string]any{"ver": "1.0", "account_type": kind, "domain_name": domain,
		"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline"})
}
