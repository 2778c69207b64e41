package aad_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/store"
)

// TestTokenEndpoint: each row is one POST to the token endpoint.
func TestTokenEndpoint(t *testing.T) {
	const v1, v2 = "/" + tenant + "/oauth2/token", "/" + tenant + "/oauth2/v2.0/token"
	for _, row := range []struct {
		name, path, form string
		status           int
		want             string // a piece of the body
	}{
		{"v1 client credentials", v1, spForm("resource", arm), 200, `"expires_in":"3600"`},
		{"v1 by domain", "/lazulite.onmicrosoft.com/oauth2/token", spForm("resource", arm), 200, `"resource":"https://management.core.windows.net/"`},
		{"v1 tenant in capitals", "/" + strings.ToUpper(tenant) + "/OAuth2/Token", spForm("resource", arm), 200, `"token_type":"Bearer"`},
		{"v1 with api-version", v1 + "?api-version=1.0", spForm("resource", arm), 200, `"expires_on":"1540033200"`},
		{"AD FS", "/adfs/oauth2/token", spForm("resource", arm), 200, `"not_before":"1540029300"`},
		{"AD FS as MSAL asks", "/adfs/oauth2/token", spForm("scope", arm+"/.default"), 200, `"expires_in":3600`},
		{"v2 with a double slash", v2, spForm("scope", arm+"/.default"), 200, `"expires_in":3600`},
		{"v2 ARM", v2, spForm("scope", "https://management.azure.com/.default"), 200, `"ext_expires_in":3600`},
		{"password", "/common/oauth2/token", form("grant_type", "password", "client_id", azApp, "username", "ADA@example.com", "password", "pw", "resource", arm, "scope", "openid"), 200, `"refresh_token"`},

		{"wrong secret v1", v1, form("grant_type", "client_credentials", "client_id", app, "client_secret", "x", "resource", arm), 401, `"error_codes":[70002,50012]`},
		{"wrong secret v2", v2, form("grant_type", "client_credentials", "client_id", app, "client_secret", "x", "scope", arm+"/.default"), 401, `AADSTS7000215: Invalid client secret provided.`},
		{"no secret v1", v1, form("grant_type", "client_credentials", "client_id", app, "resource", arm), 401, `'client_secret or client_assertion'`},
		{"no secret v2", v2, form("grant_type", "client_credentials", "client_id", app, "scope", arm+"/.default"), 401, `AADSTS7000216`},
		{"certificate", v1, form("grant_type", "client_credentials", "client_id", app, "resource", arm, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "a.b.c"), 401, `Client assertion contains an invalid signature`},
		{"unknown application", v1, form("grant_type", "client_credentials", "client_id", "nobody", "client_secret", "x", "resource", arm), 400, `AADSTS700016: Application with identifier 'nobody' was not found in the directory`},
		{"public client with a secret", v1, form("grant_type", "client_credentials", "client_id", azApp, "client_secret", "x", "resource", arm), 401, `Public clients can't send a client secret.`},
		{"public client for itself", v1, form("grant_type", "client_credentials", "client_id", azApp, "resource", arm), 401, `AADSTS70002`},
		{"unknown tenant", "/22222222-2222-3333-4444-555555555555/oauth2/token", spForm("resource", arm), 400, `AADSTS90002: Tenant '22222222-2222-3333-4444-555555555555' not found.`},
		{"client credentials without a tenant", "/common/oauth2/token", spForm("resource", arm), 400, `AADSTS50059`},
		{"unknown resource v1", v1, spForm("resource", "https://example.com/"), 400, `AADSTS50001: The application named https://example.com/ was not found in the tenant named ` + tenant},
		{"unknown resource v2", v2, spForm("scope", "https://example.com/.default"), 400, `AADSTS500011: The resource principal named https://example.com was not found`},
		{"run audience is not for sale", v1, spForm("resource", aad.AudienceRun), 400, `AADSTS50001`},
		{"no resource", v1, spForm(), 400, `AADSTS50001: Resource identifier is not provided.`},
		{"no scope", v2, spForm(), 400, `following parameter: 'scope'.`},
		{"scopes as MSAL for Go sends them", v2, spForm("scope", arm+"/.default openid offline_access profile"), 200, `"access_token"`},
		{"scope of a user", v2, spForm("scope", arm+"/user_impersonation"), 400, `AADSTS1002012`},
		{"unsupported grant", v1, form("grant_type", "magic", "client_id", app), 400, `AADSTS70003: The app requested an unsupported grant type 'magic'.`},
		{"no grant", v1, form("client_id", app), 400, `AADSTS90014: The request body must contain the following parameter: 'grant_type'.`},
		{"no client", v1, form("grant_type", "client_credentials"), 400, `following parameter: 'client_id'.`},
		{"no refresh token", v1, form("grant_type", "refresh_token", "client_id", azApp), 400, `following parameter: 'refresh_token'.`},
		{"no code", v1, form("grant_type", "authorization_code", "client_id", azApp), 400, `following parameter: 'code'.`},
		{"no device code", v2, form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", azApp), 400, `following parameter: 'device_code'.`},
		{"unknown refresh token", v1, form("grant_type", "refresh_token", "client_id", azApp, "refresh_token", "x", "resource", arm), 400, `"error":"invalid_grant","error_description":"AADSTS70008:`},
		{"unknown device code", v1, form("grant_type", "device_code", "client_id", azApp, "code", "x", "resource", arm), 400, `bad_verification_code`},
		{"unknown code", v1, form("grant_type", "authorization_code", "client_id", azApp, "code", "x", "resource", arm), 400, `AADSTS70000`},
		{"wrong password", v1, form("grant_type", "password", "client_id", azApp, "username", user, "password", "x", "resource", arm), 400, `[70002,50126]`},
		{"user without a password", v1, form("grant_type", "password", "client_id", azApp, "username", "bob@example.com", "password", "x", "resource", arm), 400, `AADSTS50126`},
		{"unknown user", v1, form("grant_type", "password", "client_id", azApp, "username", "eve@example.com", "password", "x", "resource", arm), 400, `AADSTS50034`},
		{"broken form", v1, "grant_type=%zz", 400, `AADSTS9002313`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, nil)
			got := w.send("POST", row.path, row.form)
			if got.status != row.status || !strings.Contains(got.raw, row.want) {
				t.Errorf("got %d %s\nwant %d ...%s...", got.status, got.raw, row.status, row.want)
			}
			if row.status != 200 {
				for _, k := range []string{"error", "error_description", "timestamp", "trace_id", "correlation_id"} {
					if got.text(k) == "" {
						t.Errorf("%s is missing in %s", k, got.raw)
					}
				}
				if strings.Contains(got.raw, secret) {
					t.Errorf("the secret is in the answer: %s", got.raw)
				}
			}
		})
	}
}

func TestTokenEndpointTakesPostAlone(t *testing.T) {
	w := newWorld(t, nil)
	got := w.send("GET", "/"+tenant+"/oauth2/token", "")
	if got.status != 400 || !strings.Contains(got.raw, "AADSTS900561: The endpoint only accepts POST requests. Received a GET request.") {
		t.Errorf("got %d %s", got.status, got.raw)
	}
	if got := w.send("GET", "/"+tenant+"/nothing", ""); got.status != 404 {
		t.Errorf("unknown endpoint: got %d", got.status)
	}
}

func TestBasicClientAuthentication(t *testing.T) {
	w := newWorld(t, nil)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(app+":"+secret))
	got := w.send("POST", "/"+tenant+"/oauth2/token", form("grant_type", "client_credentials", "resource", arm), "Authorization", basic)
	if got.status != 200 {
		t.Errorf("got %d %s", got.status, got.raw)
	}
}

func TestCorrelationIDComesBack(t *testing.T) {
	w := newWorld(t, nil)
	got := w.send("POST", "/"+tenant+"/oauth2/token", form("client_id", app), "client-request-id", "abc", "return-client-request-id", "true")
	if got.header.Get("client-request-id") != "abc" || got.text("correlation_id") != "abc" {
		t.Errorf("header %q, body %s", got.header.Get("client-request-id"), got.raw)
	}
}

func decode(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestClaimsOfAServicePrincipal(t *testing.T) {
	w := newWorld(t, nil)
	got := decode(t, w.send("POST", "/"+tenant+"/oauth2/token", spForm("resource", arm)).text("access_token"))
	for name, want := range map[string]any{"aud": arm, "iss": "https://sts.windows.net/" + tenant + "/", "tid": tenant, "appid": app, "ver": "1.0",
		"appidacr": "1", "exp": 1540033200.0, "iat": 1540029300.0, "nbf": 1540029300.0} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if _, ok := got["upn"]; ok {
		t.Error("a service principal has a upn")
	}
	if got["oid"] == "" || got["oid"] == app {
		t.Errorf("oid is %v", got["oid"])
	}
}

func TestTokenIsReissuedWhileFresh(t *testing.T) {
	w := newWorld(t, nil)
	ask := func() reply { return w.send("POST", "/"+tenant+"/oauth2/token", spForm("resource", arm)) }
	first := ask()
	w.clock.Advance(14 * time.Minute)
	second := ask()
	if second.text("access_token") != first.text("access_token") || second.text("expires_in") != fmt.Sprint(3600-14*60) {
		t.Errorf("after 14 minutes: same token %v, expires_in %s", second.text("access_token") == first.text("access_token"), second.text("expires_in"))
	}
	w.clock.Advance(2 * time.Minute)
	third := ask()
	if third.text("access_token") == first.text("access_token") || third.text("expires_in") != "3600" {
		t.Errorf("after 16 minutes: same token %v, expires_in %s", third.text("access_token") == first.text("access_token"), third.text("expires_in"))
	}
	other := w.send("POST", "/"+tenant+"/oauth2/token", spForm("resource", "https://vault.azure.net"))
	if aud := decode(t, other.text("access_token"))["aud"]; aud != "https://vault.azure.net" {
		t.Errorf("aud is %v", aud)
	}
}

func TestRefreshTokenOutlivesARestart(t *testing.T) {
	w := newWorld(t, nil)
	first := w.send("POST", "/common/oauth2/token", form("grant_type", "password", "client_id", azApp, "username", user, "password", "pw", "resource", arm))
	w.start(nil)
	refresh := func(client, token, resource string) reply {
		return w.send("POST", "/"+tenant+"/oauth2/token", form("grant_type", "refresh_token", "client_id", client, "refresh_token", token, "resource", resource))
	}
	got := refresh(azApp, first.text("refresh_token"), "https://graph.windows.net/")
	if got.status != 200 || decode(t, got.text("access_token"))["upn"] != user {
		t.Fatalf("got %d %s", got.status, got.raw)
	}
	if _, err := w.a.Verify(context.Background(), first.text("access_token"), aad.AudienceManagement); err != nil {
		t.Errorf("the access token is refused after a restart: %v", err)
	}
	if got := refresh(azApp, first.text("refresh_token"), ""); got.text("resource") != arm {
		t.Errorf("without a resource: got %s", got.raw)
	}
	if got := refresh("1950a258-227b-4e31-a9cf-717495945fc2", first.text("refresh_token"), arm); got.status != 400 || got.text("error") != "invalid_grant" {
		t.Errorf("by another client: got %d %s", got.status, got.raw)
	}
	w.clock.Advance(91 * 24 * time.Hour)
	if got := refresh(azApp, first.text("refresh_token"), arm); got.status != 400 || !strings.Contains(got.raw, "AADSTS70008:") {
		t.Errorf("after 91 days: got %d %s", got.status, got.raw)
	}
	w.start(func(c *aad.Config) { c.Users = c.Users[1:] })
	if got := refresh(azApp, got.text("refresh_token"), arm); got.status != 400 || got.text("error") != "invalid_grant" {
		t.Errorf("of a user who left: got %d %s", got.status, got.raw)
	}
}

func TestNewRefusesABadConfig(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	for name, cfg := range map[string]aad.Config{
		"no store":           {Tenant: tenant},
		"tenant is no GUID":  {Store: st, Tenant: "contoso"},
		"empty secret":       {Store: st, Tenant: tenant, Clients: map[string]string{app: ""}},
		"user has no domain": {Store: st, Tenant: tenant, Users: []aad.User{{UPN: "ada"}}},
	} {
		if _, err := aad.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestKeyIsMadeOnce: two authorities on one store, asked at once by many, agree on the key.
func TestKeyIsMadeOnce(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	var both [2]*aad.Authority
	for i := range both {
		if both[i], err = aad.New(aad.Config{Store: st, Tenant: tenant, Clients: map[string]string{app: secret}}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			got := send(t, both[i%2], "POST", "/"+tenant+"/oauth2/token", spForm("resource", arm))
			if _, err := both[(i+1)%2].Verify(context.Background(), got.text("access_token"), aad.AudienceManagement); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// TestStoreFailure: an authority that can't have its key says so, and grants nothing.
func TestStoreFailure(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := aad.New(aad.Config{Store: st, Tenant: tenant, Clients: map[string]string{app: secret}})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	got := send(t, a, "POST", "/"+tenant+"/oauth2/token", spForm("resource", arm))
	if got.status != 503 || got.text("error") != "temporarily_unavailable" || !strings.Contains(got.raw, "AADSTS90033") {
		t.Errorf("got %d %s", got.status, got.raw)
	}
}
