package aad_test

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"io"
	"math/big"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"lazulite.dev/emulator/aad"
)

const host = "https://login.microsoftonline.com"

func TestOpenIDConfiguration(t *testing.T) {
	w := newWorld(t, nil)
	for _, row := range []struct{ path, issuer, token, keys string }{
		{"/" + tenant + "/.well-known/openid-configuration", "https://sts.windows.net/" + tenant + "/", host + "/" + tenant + "/oauth2/token", host + "/" + tenant + "/discovery/keys"},
		{"/" + tenant + "/v2.0/.well-known/openid-configuration", host + "/" + tenant + "/v2.0", host + "/" + tenant + "/oauth2/v2.0/token", host + "/" + tenant + "/discovery/v2.0/keys"},
		{"/common/v2.0/.well-known/openid-configuration", host + "/{tenantid}/v2.0", host + "/common/oauth2/v2.0/token", host + "/common/discovery/v2.0/keys"},
		{"/common/.well-known/openid-configuration", "https://sts.windows.net/{tenantid}/", host + "/common/oauth2/token", host + "/common/discovery/keys"},
		{"/adfs/.well-known/openid-configuration", host + "/adfs", host + "/adfs/oauth2/token", host + "/adfs/discovery/keys"},
	} {
		got := w.send("GET", row.path, "")
		if got.status != 200 || got.text("issuer") != row.issuer || got.text("token_endpoint") != row.token || got.text("jwks_uri") != row.keys {
			t.Errorf("%s: got %d %s", row.path, got.status, got.raw)
		}
		at, err := url.Parse(got.text("jwks_uri"))
		if err != nil {
			t.Fatal(err)
		}
		if keys := w.send("GET", at.Path, ""); keys.status != 200 || !strings.Contains(keys.raw, `"kty":"RSA"`) {
			t.Errorf("%s: got %d %s", at, keys.status, keys.raw)
		}
	}
	if got := w.send("GET", "/99999999-2222-3333-4444-555555555555/v2.0/.well-known/openid-configuration", ""); got.status != 400 || !strings.Contains(got.raw, "AADSTS90002") {
		t.Errorf("unknown tenant: got %d %s", got.status, got.raw)
	}
}

func TestJWKSVerifiesATokenAsAStrangerWould(t *testing.T) {
	w := newWorld(t, nil)
	token, err := w.a.Issue(context.Background(), aad.Claims{Audience: arm, AppID: app, Expires: w.clock.Now().Add(1)})
	if err != nil {
		t.Fatal(err)
	}
	key := w.send("GET", "/discovery/keys", "").body["keys"].([]any)[0].(map[string]any)
	n, _ := base64.RawURLEncoding.DecodeString(key["n"].(string))
	e, _ := base64.RawURLEncoding.DecodeString(key["e"].(string))
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	got, err := jwt.NewParser(jwt.WithoutClaimsValidation()).Parse(token, func(t *jwt.Token) (any, error) { return public, nil })
	if err != nil || got.Header["kid"] != key["kid"] || got.Header["x5t"] != key["x5t"] {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestInstanceDiscovery(t *testing.T) {
	w := newWorld(t, func(c *aad.Config) { c.Hosts = []string{"emulator"} })
	for _, row := range []struct {
		endpoint string
		status   int
		want     string
	}{
		{host + "/common/oauth2/authorize", 200, host + "/common/.well-known/openid-configuration"},
		{host + "/" + tenant + "/oauth2/v2.0/authorize", 200, host + "/" + tenant + "/v2.0/.well-known/openid-configuration"},
		{"https://localhost:8443/" + tenant + "/oauth2/authorize", 200, "https://localhost:8443/" + tenant + "/.well-known/openid-configuration"},
		{"https://emulator/common/oauth2/authorize", 200, "https://emulator/common/.well-known/openid-configuration"},
		{"https://evil.example/common/oauth2/authorize", 400, "AADSTS50049"},
		{"", 400, "AADSTS90014"},
	} {
		got := w.send("GET", "/common/discovery/instance?api-version=1.0&authorization_endpoint="+url.QueryEscape(row.endpoint), "")
		if got.status != row.status || !strings.Contains(got.raw, row.want) {
			t.Errorf("%s: got %d %s", row.endpoint, got.status, got.raw)
		}
	}
}

func TestUserRealm(t *testing.T) {
	w := newWorld(t, nil)
	for path, want := range map[string]string{
		"/common/UserRealm/ada@example.com?api-version=1.0":      `"account_type":"Managed"`,
		"/common/userrealm/x@nowhere.example?api-version=1.0":    `"account_type":"Unknown"`,
		"/common/userrealm/Ada@example.com?api-version=2.1":      `"Login":"Ada@example.com"`,
		"/common/userrealm?user=ada@example.com&api-version=2.1": `"NameSpaceType":"Managed"`,
		"/common/userrealm/nobody?api-version=1.0":               "AADSTS9002313",
	} {
		if got := w.send("GET", path, ""); !strings.Contains(got.raw, want) {
			t.Errorf("%s: got %d %s", path, got.status, got.raw)
		}
	}
}

// TestManagedIdentity: each row is one request to a machine's token endpoint.
func TestManagedIdentity(t *testing.T) {
	w := newWorld(t, nil)
	oid := decode(t, w.send("POST", "/"+tenant+"/oauth2/token", spForm("resource", arm)).text("access_token"))["oid"].(string)
	const imds = "/metadata/identity/oauth2/token?api-version=2018-02-01"
	for _, row := range []struct {
		name, method, path, form string
		metadata                 bool
		status                   int
		want                     string
	}{
		{"SDK", "POST", "/msi/token", form("resource", arm), true, 200, `"expires_in":"3600"`},
		{"GET", "GET", "/msi/token?" + form("resource", arm), "", true, 200, `"token_type":"Bearer"`},
		{"old port", "POST", "/oauth2/token", form("resource", arm), true, 200, `"expires_on":"1540033200"`},
		{"IMDS", "GET", imds + "&" + form("resource", arm), "", true, 200, `"resource":"` + arm + `"`},
		{"by client id", "GET", imds + "&" + form("resource", arm, "client_id", app), "", true, 200, `"client_id":"` + app + `"`},
		{"by object id", "GET", imds + "&" + form("resource", arm, "object_id", oid), "", true, 200, `"client_id":"` + app + `"`},

		{"no header", "POST", "/msi/token", form("resource", arm), false, 400, "Required metadata header not specified"},
		{"no resource", "POST", "/msi/token", "a=b", true, 400, "Required audience parameter not specified"},
		{"unknown resource", "POST", "/msi/token", form("resource", "https://example.com"), true, 400, `"error":"invalid_resource"`},
		{"unknown client id", "POST", "/msi/token", form("resource", arm, "client_id", "nobody"), true, 400, "Identity not found"},
		{"unknown object id", "POST", "/msi/token", form("resource", arm, "object_id", "nobody"), true, 400, "Identity not found"},
		{"assigned identity", "POST", "/msi/token", form("resource", arm, "msi_res_id", "/subscriptions/s"), true, 400, "Identity not found"},
		{"IMDS without api-version", "GET", "/metadata/identity/oauth2/token?" + form("resource", arm), "", true, 400, "api-version"},
		{"IMDS by POST", "POST", imds, form("resource", arm), true, 405, "not allowed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var header []string
			if row.metadata {
				header = []string{"Metadata", "true"}
			}
			got := w.send(row.method, row.path, row.form, header...)
			if got.status != row.status || !strings.Contains(got.raw, row.want) {
				t.Fatalf("got %d %s", got.status, got.raw)
			}
			if row.status == 200 {
				if _, err := w.a.Verify(context.Background(), got.text("access_token"), aad.AudienceManagement); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestForeignNames: a page at a name that was made to resolve to this machine gets no token.
func TestForeignNames(t *testing.T) {
	w := newWorld(t, func(c *aad.Config) { c.Hosts = []string{"emulator"} })
	for host, want := range map[string]int{"127.0.0.1:8080": 200, "[::1]:8080": 200, "localhost:8080": 200, "emulator:8080": 200, "host.docker.internal": 200,
		"169.254.169.254": 200, "evil.example:8080": 400, "localhost.evil.example": 400} {
		for _, path := range []string{"/msi/token", "/common/oauth2/devicecode"} {
			r := httptest.NewRequest("POST", path, strings.NewReader(form("client_id", azApp, "resource", arm)))
			r.Host = host
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Metadata", "true")
			if path == "/msi/token" {
				r.Body = io.NopCloser(strings.NewReader(form("resource", arm)))
			}
			rec := httptest.NewRecorder()
			w.a.ServeHTTP(rec, r)
			if rec.Code != want {
				t.Errorf("%s%s: got %d %s", host, path, rec.Code, rec.Body)
			}
		}
	}
}
