package conformance

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/conformance/wire"
)

func authSpecs() []spec {
	return []spec{
		{"core.token.granted", func(s *session) {
			if s.cfg.Token != nil {
				s.skip("tokens come from Config.Token, not from the authority")
			}
			r := s.grant(s.cfg.ClientSecret, wire.AudienceManagement)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("token_type")).To(equalFold("Bearer"), r.String())
			if n := strings.Count(s.text(r, "access_token"), "."); n != 2 {
				s.fail("the access token has %d dots; clients decode a JWT of three segments", n)
			}
			if r.Value("expires_in") == nil {
				s.fail("%s; the clients' caches need expires_in", r)
			}
		}},
		{"core.token.secret", func(s *session) {
			if s.cfg.Token != nil {
				s.skip("tokens come from Config.Token, not from the authority")
			}
			r := s.grant("wrong-"+random(), wire.AudienceManagement)
			s.status(r, http.StatusUnauthorized)
			if r.Text("error") != "invalid_client" || !strings.Contains(r.Text("error_description"), "AADSTS7000") {
				s.fail("%s; a wrong secret is invalid_client with AADSTS70002 or AADSTS7000215", r)
			}
		}},
		{"core.auth.missing", func(s *session) {
			s.denied(wire.Request{NoToken: true}, "AuthenticationFailed")
		}},
		{"core.auth.garbage", func(s *session) {
			s.denied(wire.Request{Token: "not.a.token"}, "InvalidAuthenticationToken", "AuthenticationFailed")
		}},
		{"core.auth.forged", func(s *session) {
			head, sig := cutLast(s.token(wire.AudienceManagement), ".")
			s.denied(wire.Request{Token: head + "." + flip(sig)}, "InvalidAuthenticationToken")
		}},
		{"core.auth.altered", func(s *session) {
			parts := strings.Split(s.token(wire.AudienceManagement), ".")
			if len(parts) != 3 {
				s.skip("the token is no JWT of three segments")
			}
			parts[1] = alter(s, parts[1], "exp", time.Now().Add(1000*time.Hour).Unix())
			s.denied(wire.Request{Token: strings.Join(parts, ".")}, "InvalidAuthenticationToken")
		}},
		{"core.auth.unsigned", func(s *session) {
			parts := strings.Split(s.token(wire.AudienceManagement), ".")
			if len(parts) != 3 {
				s.skip("the token is no JWT of three segments")
			}
			none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
			s.denied(wire.Request{Token: none + "." + parts[1] + "."}, "InvalidAuthenticationToken")
		}},
		{"core.auth.foreign", func(s *session) {
			parts := strings.Split(s.token(wire.AudienceManagement), ".")
			if len(parts) != 3 {
				s.skip("the token is no JWT of three segments")
			}
			s.denied(wire.Request{Token: signOurselves(s, parts[0]+"."+parts[1])}, "InvalidAuthenticationToken")
		}},
		{"core.auth.expired", func(s *session) {
			old := s.cfg.ExpiredToken
			if old == "" {
				if s.cfg.Advance == nil {
					s.skip("needs an expired token (AMLC_EXPIRED_TOKEN) or a clock that can be moved")
				}
				old = s.token(wire.AudienceManagement)
				s.cfg.Advance(25 * time.Hour)
			}
			s.denied(wire.Request{Token: old}, "ExpiredAuthenticationToken")
		}},
		{"core.auth.tenant", func(s *session) {
			if s.cfg.ForeignToken == "" {
				s.skip("needs a token of another tenant (AMLC_FOREIGN_TOKEN)")
			}
			s.denied(wire.Request{Token: s.cfg.ForeignToken}, "InvalidAuthenticationTokenTenant")
		}},
		{"core.auth.audience", func(s *session) {
			const other = "https://graph.windows.net/"
			token, err := s.client.Token(s.ctx, other)
			if err != nil {
				s.skip("no token for another audience: %v", err)
			}
			s.denied(wire.Request{Token: token}, "InvalidAuthenticationTokenAudience", "InvalidAuthenticationToken")
		}},
	}
}

func (s *session) grant(secret, audience string) *wire.Response {
	r, err := s.client.Grant(s.ctx, s.cfg.Tenant, s.cfg.ClientID, secret, audience)
	if err != nil {
		s.fail("%v", err)
	}
	return r
}

func (s *session) token(audience string) string {
	t, err := s.client.Token(s.ctx, audience)
	if err != nil {
		s.fail("%v", err)
	}
	return t
}

// denied sends a read with bad credentials: 401, the code, and the challenge that clients parse.
func (s *session) denied(r wire.Request, codes ...string) {
	r.Method, r.Version = http.MethodGet, versionResources
	r.URL = s.subscription() + "/resourcegroups"
	resp := s.do(r)
	s.refused(resp, http.StatusUnauthorized, codes...)
	if c := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(c, "Bearer ") || !strings.Contains(c, "authorization_uri=") {
		s.fail("%s; WWW-Authenticate should be Bearer with authorization_uri, it is %q", resp, c)
	}
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+len(sep):]
}

// flip changes a signature without changing its length or alphabet.
func flip(sig string) string {
	b := []byte(sig)
	for i := range b {
		if i >= 8 {
			break
		}
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
	}
	return string(b)
}

func alter(s *session, segment, claim string, value any) string {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(segment, "="))
	claims := map[string]any{}
	if err != nil || json.Unmarshal(b, &claims) != nil {
		s.fail("the token's claims are no base64url JSON")
	}
	claims[claim] = value
	out, err := json.Marshal(claims)
	s.must(err)
	return base64.RawURLEncoding.EncodeToString(out)
}

// signOurselves signs with a key that nobody trusts.
func signOurselves(s *session, signed string) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	s.must(err)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	s.must(err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}
