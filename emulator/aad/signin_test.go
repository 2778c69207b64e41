package aad_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
)

func TestDeviceCode(t *testing.T) {
	for _, row := range []struct{ name, start, ask, page, token, redeem, code string }{
		{"v1", "/common/oauth2/devicecode?api-version=1.0", form("client_id", azApp, "resource", arm), "verification_url",
			"/common/oauth2/token", form("grant_type", "device_code", "client_id", azApp, "resource", arm), "code"},
		{"v2", "/organizations/oauth2/v2.0/devicecode", form("client_id", azApp, "scope", arm+"/.default openid profile offline_access"), "verification_uri",
			"/organizations/oauth2/v2.0/token", form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", azApp, "client_info", "1"), "device_code"},
		{"AD FS", "/adfs/oauth2/devicecode", form("client_id", azApp, "resource", arm), "verification_url",
			"/adfs/oauth2/token", form("grant_type", "device_code", "client_id", azApp, "resource", arm), "code"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, nil)
			start := w.send("POST", row.start, row.ask)
			if start.status != 200 || len(start.text("user_code")) != 9 || !strings.Contains(start.text("message"), start.text("user_code")) {
				t.Fatalf("got %d %s", start.status, start.raw)
			}
			page, err := url.Parse(start.text(row.page))
			if err != nil {
				t.Fatal(err)
			}
			if got := w.send("GET", page.Path, ""); got.status != 200 || !strings.Contains(got.raw, "nothing to do here") {
				t.Errorf("page: got %d %s", got.status, got.raw)
			}
			redeem := row.redeem + "&" + form(row.code, start.text("device_code"))
			got := w.send("POST", row.token, redeem)
			if got.status != 200 || got.text("refresh_token") == "" || decode(t, got.text("access_token"))["aud"] != arm {
				t.Fatalf("got %d %s", got.status, got.raw)
			}
			id := decode(t, got.text("id_token"))
			if id["upn"] != user || id["tid"] != tenant || id["aud"] != azApp || id["oid"] != decode(t, got.text("access_token"))["oid"] {
				t.Errorf("id_token: %v", id)
			}
			if row.name == "v2" && (got.text("client_info") == "" || got.text("scope") == "") {
				t.Errorf("v2: got %s", got.raw)
			}
			if got := w.send("POST", row.token, redeem); got.status != 400 || !strings.Contains(got.raw, "AADSTS54005") {
				t.Errorf("again: got %d %s", got.status, got.raw)
			}
		})
	}
}

func TestDeviceCodePendingAndExpired(t *testing.T) {
	approved := false
	w := newWorld(t, func(c *aad.Config) { c.ApproveDevice = func(string) bool { return approved } })
	start := w.send("POST", "/common/oauth2/devicecode", form("client_id", azApp, "resource", arm))
	poll := func() reply {
		return w.send("POST", "/common/oauth2/token", form("grant_type", "device_code", "client_id", azApp, "resource", arm, "code", start.text("device_code")))
	}
	if got := poll(); got.status != 400 || got.text("error") != "authorization_pending" {
		t.Errorf("pending: got %d %s", got.status, got.raw)
	}
	approved = true
	w.clock.Advance(16 * time.Minute)
	if got := poll(); got.status != 400 || got.text("error") != "code_expired" {
		t.Errorf("expired: got %d %s", got.status, got.raw)
	}
	if got := w.send("POST", "/common/oauth2/devicecode", form("client_id", "nobody", "resource", arm)); !strings.Contains(got.raw, "AADSTS700016") {
		t.Errorf("unknown client: got %d %s", got.status, got.raw)
	}
}

func TestAuthorizationCode(t *testing.T) {
	w := newWorld(t, nil)
	back := "http://localhost:8400"
	sum := sha256.Sum256([]byte("verifier"))
	ask := form("response_type", "code", "client_id", azApp, "redirect_uri", back, "state", "s&1", "resource", arm, "prompt", "select_account",
		"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256", "nonce", "n1")
	authorize := func(query string) url.Values {
		t.Helper()
		got := w.send("GET", "/common/oauth2/authorize?"+query, "")
		at, err := url.Parse(got.header.Get("Location"))
		if err != nil || got.status != 302 || !strings.HasPrefix(at.String(), back) {
			t.Fatalf("got %d %s %s", got.status, got.header.Get("Location"), got.raw)
		}
		return at.Query()
	}
	code := authorize(ask)
	if code.Get("state") != "s&1" || code.Get("code") == "" {
		t.Fatalf("got %v", code)
	}
	redeem := func(more ...string) reply {
		f := url.Values{"grant_type": {"authorization_code"}, "client_id": {azApp}, "redirect_uri": {back}, "code": {code.Get("code")}, "code_verifier": {"verifier"}}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return w.send("POST", "/common/oauth2/token", f.Encode())
	}
	for _, row := range []struct{ name, field, value, want string }{
		{"other verifier", "code_verifier", "x", "AADSTS50148"},
		{"other redirect", "redirect_uri", "http://localhost:1", "AADSTS50011"},
		{"other client", "client_id", "1950a258-227b-4e31-a9cf-717495945fc2", "AADSTS70000"},
		{"a refresh token as code", "code", "AAAA", "AADSTS70000"},
	} {
		if got := redeem(row.field, row.value); got.status != 400 || !strings.Contains(got.raw, row.want) {
			t.Errorf("%s: got %d %s", row.name, got.status, got.raw)
		}
	}
	got := redeem()
	if got.status != 200 || got.text("resource") != arm || decode(t, got.text("id_token"))["nonce"] != "n1" {
		t.Fatalf("got %d %s", got.status, got.raw)
	}
	if got := redeem(); got.status != 400 || !strings.Contains(got.raw, "AADSTS54005") {
		t.Errorf("again: got %d %s", got.status, got.raw)
	}
	code = authorize(ask)
	w.clock.Advance(11 * time.Minute)
	if got := redeem(); got.status != 400 || !strings.Contains(got.raw, "AADSTS70008") {
		t.Errorf("late: got %d %s", got.status, got.raw)
	}
	if got := authorize(strings.Replace(ask, "response_type=code", "response_type=token", 1)); got.Get("error") != "unsupported_response_type" || got.Get("state") != "s&1" {
		t.Errorf("response type: got %v", got)
	}
	if got := authorize(ask + "&login_hint=eve@example.com"); got.Get("error") != "invalid_grant" {
		t.Errorf("unknown user: got %v", got)
	}
	posted := w.send("GET", "/common/oauth2/authorize?"+ask+"&response_mode=form_post", "")
	if posted.status != 200 || !strings.Contains(posted.raw, `action="http://localhost:8400"`) || !strings.Contains(posted.raw, `name="code"`) || !strings.Contains(posted.raw, `value="s&amp;1"`) {
		t.Errorf("form post: got %d %s", posted.status, posted.raw)
	}
}

func TestAuthorizeGoesBackToLoopbackAlone(t *testing.T) {
	w := newWorld(t, nil)
	for _, to := range []string{"https://evil.example/cb", "http://localhost.evil.example/", "http://10.0.0.1/", "javascript:alert(1)", ""} {
		got := w.send("GET", "/common/oauth2/authorize?"+form("response_type", "code", "client_id", azApp, "redirect_uri", to, "resource", arm), "")
		if got.status != 400 || !strings.Contains(got.raw, "AADSTS50011") || got.header.Get("Location") != "" {
			t.Errorf("%q: got %d %s", to, got.status, got.raw)
		}
	}
}
