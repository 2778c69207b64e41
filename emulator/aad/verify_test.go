package aad_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lazulite.dev/emulator/aad"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestVerifyRequest: each row is one Authorization header.
func TestVerifyRequest(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	issue := func(c aad.Claims) string {
		token, err := w.a.Issue(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	later := w.clock.Now().Add(time.Hour)
	good := issue(aad.Claims{Audience: arm, AppID: app, Expires: later})
	parts := strings.Split(good, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	hs := b64(strings.Replace(string(header), "RS256", "HS256", 1)) + "." + parts[1]
	mac := hmac.New(sha256.New, []byte("public key"))
	mac.Write([]byte(hs))

	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"aud": arm, "iss": "https://sts.windows.net/" + tenant + "/", "tid": tenant, "exp": later.Unix()})
	tok, _, err := jwt.NewParser().ParseUnverified(good, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	forged.Header["kid"] = tok.Header["kid"]
	forgedToken, err := forged.SignedString(stranger)
	if err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct{ name, header, code, message, challenge string }{
		{"good", "Bearer " + good, "", "", ""},
		{"scheme in small letters", "bearer " + good, "", "", ""},
		{"audience without a slash", "Bearer " + issue(aad.Claims{Audience: aad.AudienceARM, AppID: app, Expires: later}), "", "", ""},

		{"none", "", "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.", `error_description="The authentication failed because of missing 'Authorization' header."`},
		{"no token", "Bearer", "AuthenticationFailedInvalidHeader", "invalid format", ""},
		{"other scheme", "Basic eDp5", "AuthenticationFailedInvalidHeader", "invalid format", ""},
		{"no JWT", "Bearer xyz", "InvalidAuthenticationToken", "The access token is invalid.", ""},
		{"changed claims", "Bearer " + parts[0] + "." + b64(`{"aud":"`+arm+`","exp":9999999999}`) + "." + parts[2], "InvalidAuthenticationToken", "invalid", ""},
		{"no signature", "Bearer " + parts[0] + "." + parts[1] + ".", "InvalidAuthenticationToken", "invalid", ""},
		{"alg none", "Bearer " + b64(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".", "InvalidAuthenticationToken", "invalid", ""},
		{"HS256", "Bearer " + hs + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), "InvalidAuthenticationToken", "invalid", ""},
		{"another key under our kid", "Bearer " + forgedToken, "InvalidAuthenticationToken", "invalid", ""},
		{"expired", "Bearer " + issue(aad.Claims{Audience: arm, AppID: app, Expires: w.clock.Now().Add(-time.Second)}), "ExpiredAuthenticationToken",
			"The access token expiry UTC time '10/20/2018 9:59:59 AM' is earlier than current UTC time '10/20/2018 10:00:00 AM'.", `error_description="The access token has expired."`},
		{"wrong tenant", "Bearer " + issue(aad.Claims{Audience: arm, AppID: app, Tenant: "99999999-2222-3333-4444-555555555555", Expires: later}), "InvalidAuthenticationTokenTenant",
			"The access token is from the wrong issuer 'https://sts.windows.net/99999999-2222-3333-4444-555555555555/'. It must match the tenant 'https://sts.windows.net/" + tenant + "/'", "wrong issuer"},
		{"wrong audience", "Bearer " + issue(aad.Claims{Audience: "https://vault.azure.net", AppID: app, Expires: later}), "InvalidAuthenticationTokenAudience",
			"wrong audience or resource 'https://vault.azure.net'. It should exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://management.core.windows.net','https://management.azure.com/','https://management.azure.com'.", "wrong audience"},
		{"run token at ARM", "Bearer " + issue(aad.Claims{Audience: aad.AudienceRun, RunID: "r", Expires: later}), "InvalidAuthenticationTokenAudience", "wrong audience", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range 2 { // the second time from memory
				r := httptest.NewRequest("GET", "https://management.azure.com/subscriptions", nil)
				if row.header != "" {
					r.Header.Set("Authorization", row.header)
				}
				c, err := w.a.VerifyRequest(r, aad.AudienceManagement, aad.AudienceARM)
				if row.code == "" {
					if err != nil || c.AppID != app || c.Tenant != tenant || c.ObjectID == "" {
						t.Fatalf("got %+v, %v", c, err)
					}
					continue
				}
				var e *aad.Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v, want an *aad.Error", err)
				}
				if e.Code != row.code || !strings.Contains(e.Message, row.message) || !strings.Contains(e.Challenge, row.challenge) ||
					!strings.HasPrefix(e.Challenge, `Bearer authorization_uri="https://login.windows.net/`+tenant+`", error="invalid_token", `) {
					t.Errorf("got %s: %s\n%s", e.Code, e.Message, e.Challenge)
				}
				if c != (aad.Claims{}) {
					t.Errorf("claims of a refused token: %+v", c)
				}
			}
		})
	}
}

func TestVerifiedTokenExpires(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	token := w.send("POST", "/"+tenant+"/oauth2/token", spForm("resource", arm)).text("access_token")
	if _, err := w.a.Verify(ctx, token, aad.AudienceManagement); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	var e *aad.Error
	if _, err := w.a.Verify(ctx, token, aad.AudienceManagement); !errors.As(err, &e) || e.Code != "ExpiredAuthenticationToken" {
		t.Errorf("got %v", err)
	}
}

func TestRunTokenRoundTrip(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	want := aad.Claims{Audience: aad.AudienceRun, Tenant: tenant, ObjectID: "o", UPN: user, AppID: app,
		Workspace: "/subscriptions/s/resourcegroups/r/providers/microsoft.machinelearningservices/workspaces/w", RunID: "exp_1540000000",
		Expires: w.clock.Now().Add(30 * 24 * time.Hour)}
	token, err := w.a.Issue(ctx, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.a.Verify(ctx, token, aad.AudienceRun)
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	w.start(nil)
	if got, err := w.a.Verify(ctx, token, aad.AudienceRun); err != nil || got != want {
		t.Errorf("after a restart: got %+v, %v", got, err)
	}
	for name, c := range map[string]aad.Claims{"no expiry": {Audience: arm}, "no audience": {Expires: w.clock.Now()}} {
		if _, err := w.a.Issue(ctx, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
