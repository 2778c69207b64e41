package emulator_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock"
)

// Ensure that each door refuses each wrong token with Azure's status, code and
// challenge: the resource manager by either of its names, and all services of
// the data plane.
func TestTokens(t *testing.T) {
	now := clock.NewManual(time.Now())
	e, c := up(t, func(cfg *emulator.Config) { cfg.Clock = now })
	c.must(201, "PUT {G}", `{"location":"eastus2"}`)
	good := c.token
	now.Advance(2 * time.Hour)
	if err := c.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	expired := good
	good = c.token
	parts := strings.Split(good, ".")
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(good, claims)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(change jwt.MapClaims) string {
		all := jwt.MapClaims{}
		for k, v := range claims {
			all[k] = v
		}
		for k, v := range change {
			all[k] = v
		}
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, all)
		token.Header["kid"] = parsed.Header["kid"]
		s, err := token.SignedString(stranger)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// A token of the right authority for another service, and one of another
	// emulator, whose tenant is the same and whose key is not.
	graph := c.grant(c.id.ClientSecret, "https://graph.windows.net/").text("access_token")
	_, other := up(t, func(cfg *emulator.Config) { cfg.Clock = now })
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
	foreign := "aaaaaaaa-0000-4000-8000-000000000000"

	for _, row := range []struct{ name, authorization, code, description string }{
		{"none", "", "AuthenticationFailed", "missing"},
		{"another scheme", "Basic dTpw", "AuthenticationFailedInvalidHeader", "invalid 'Authorization' header"},
		{"no token", "Bearer", "AuthenticationFailedInvalidHeader", "invalid 'Authorization' header"},
		{"no JWT", "Bearer not.a.token", "InvalidAuthenticationToken", "The access token is invalid."},
		{"changed", "Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), "InvalidAuthenticationToken", "The access token is invalid."},
		{"unsigned", "Bearer " + unsigned, "InvalidAuthenticationToken", "The access token is invalid."},
		{"forged", "Bearer " + forge(nil), "InvalidAuthenticationToken", "The access token is invalid."},
		{"forged in another tenant's name", "Bearer " + forge(jwt.MapClaims{"tid": foreign, "iss": "https://sts.windows.net/" + foreign + "/"}), "InvalidAuthenticationToken", "The access token is invalid."},
		{"another emulator's", "Bearer " + other.token, "InvalidAuthenticationToken", "The access token is invalid."},
		{"expired", "Bearer " + expired, "ExpiredAuthenticationToken", "The access token has expired."},
		{"another audience", "Bearer " + graph, "InvalidAuthenticationTokenAudience", "wrong audience"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.t = t
			for _, request := range []string{
				"GET {G}", "PUT {G}", "DELETE {G}", "GET {WS}", "POST {WS}/listKeys", "GET https://localhost/subscriptions?api-version=2018-05-01",
				"GET {history}/experiments", "POST {execution}/experiments/exp/run", "GET {artifact}/artifacts/origins/ExperimentRun/containers/x",
				"GET {content}/snapshots/latest/metadata", "GET {datastore}/datastores", "GET {models}/models",
			} {
				a := c.do(request, nil, "Authorization: "+row.authorization)
				code := a.text("error.code")
				data := !strings.Contains(request, "subscriptions?") && !strings.Contains(request, "{G}") && !strings.Contains(request, "{WS}")
				want := row.code
				if data {
					// The data plane has one word for it outside, and the precise one inside.
					if code = a.text("error.innerError.code"); a.text("error.code") != "UserError" {
						t.Errorf("%s: %s", request, a)
					}
					if want == "AuthenticationFailedInvalidHeader" {
						want = "AuthenticationFailed"
					}
				}
				challenge := a.header.Get("Www-Authenticate")
				if a.status != 401 || code != want || !strings.HasPrefix(challenge, "Bearer") {
					t.Errorf("%s: want 401 %s, got %q %s", request, want, challenge, a)
				}
				if !data && (!strings.Contains(challenge, `authorization_uri="https://login.windows.net/`+c.id.Tenant+`", error="invalid_token"`) || !strings.Contains(challenge, row.description)) {
					t.Errorf("%s: %s", request, challenge)
				}
			}
			if a := c.do("GET {ARM}/resourceGroups", nil); a.text("value.0.name") != "g" || a.get("value.1") != nil {
				t.Errorf("something was changed: %s", a)
			}
		})
	}
	_ = e
}

// grant asks for a token with a secret.
func (c *client) grant(secret, resource string) answer {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id.ClientID}, "client_secret": {secret}, "resource": {resource}}.Encode()
	return c.do("POST https://login.microsoftonline.com/"+c.id.Tenant+"/oauth2/token", form, "Content-Type: application/x-www-form-urlencoded")
}

// Ensure that the authority gives no token for a wrong secret, client, tenant or resource.
func TestGrants(t *testing.T) {
	_, c := up(t)
	const management = "https://management.core.windows.net/"
	ask := func(tenant, path string, form url.Values) answer {
		return c.do("POST https://login.microsoftonline.com/"+tenant+path, form.Encode(), "Content-Type: application/x-www-form-urlencoded")
	}
	good := func(change ...string) url.Values {
		f := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id.ClientID}, "client_secret": {c.id.ClientSecret}, "resource": {management}, "scope": {management + ".default"}}
		for i := 0; i < len(change); i += 2 {
			f.Set(change[i], change[i+1])
		}
		return f
	}
	for _, row := range []struct {
		name, tenant, path string
		form               url.Values
		status             int
		err, description   string
	}{
		{"good", c.id.Tenant, "/oauth2/token", good(), 200, "", ""},
		{"good v2", c.id.Tenant, "/oauth2/v2.0/token", good(), 200, "", ""},
		{"wrong secret", c.id.Tenant, "/oauth2/token", good("client_secret", "x"), 401, "invalid_client", "AADSTS70002"},
		{"wrong secret v2", c.id.Tenant, "/oauth2/v2.0/token", good("client_secret", "x"), 401, "invalid_client", "AADSTS7000215"},
		{"the admin token", c.id.Tenant, "/oauth2/token", good("client_secret", c.id.AdminToken), 401, "invalid_client", "AADSTS70002"},
		{"unknown client", c.id.Tenant, "/oauth2/token", good("client_id", "aaaaaaaa-0000-4000-8000-000000000000"), 400, "unauthorized_client", "AADSTS700016"},
		{"another tenant", "aaaaaaaa-0000-4000-8000-000000000000", "/oauth2/token", good(), 400, "invalid_request", "AADSTS90002"},
		{"unknown resource", c.id.Tenant, "/oauth2/token", good("resource", "https://example.org/"), 400, "invalid_resource", "AADSTS50001"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.t = t
			a := ask(row.tenant, row.path, row.form)
			if a.status != row.status || a.text("error") != row.err || !strings.HasPrefix(a.text("error_description"), row.description) || (row.status == 200) != (a.text("access_token") != "") {
				t.Errorf("%s", a)
			}
			if row.status == 401 && a.header.Get("Www-Authenticate") == "" {
				t.Errorf("no challenge: %v", a.header)
			}
		})
	}
}
