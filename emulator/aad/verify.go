package aad

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Error is a refusal by Verify: what ARM puts in its 401 body and in WWW-Authenticate.
type Error struct {
	// Code is AuthenticationFailed, AuthenticationFailedInvalidHeader, ExpiredAuthenticationToken,
	// InvalidAuthenticationToken, InvalidAuthenticationTokenTenant or InvalidAuthenticationTokenAudience.
	Code    string
	Message string
	// Challenge is the value of WWW-Authenticate.
	Challenge string
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// verified is a token whose signature was found right; its times, tenant and audience are checked at each use.
type verified struct {
	claims Claims
	iss    string
	aud    string
	from   time.Time
}

// VerifyRequest verifies the bearer token in the Authorization header.
// The error is an *Error, ready for the wire, unless the store fails.
func (a *Authority) VerifyRequest(r *http.Request, audiences ...string) (Claims, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return Claims{}, a.refuse("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.",
			"The authentication failed because of missing 'Authorization' header.")
	}
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Claims{}, a.refuse("AuthenticationFailedInvalidHeader", "Authentication failed. The 'Authorization' header is provided in an invalid format.",
			"The authentication failed because of invalid 'Authorization' header.")
	}
	return a.Verify(r.Context(), token, audiences...)
}

// Verify checks signature, issuer, tenant, expiry, and that the audience is one of audiences.
// The error is an *Error, ready for the wire, unless the store fails.
func (a *Authority) Verify(ctx context.Context, token string, audiences ...string) (Claims, error) {
	hash := sha256.Sum256([]byte(token))
	v, ok := a.verified.get(hash)
	if !ok {
		var err error
		if v, err = a.parse(ctx, token); err != nil {
			return Claims{}, err
		}
		a.verified.put(hash, v)
	}
	now := a.clock.Now()
	if !now.Before(v.claims.Expires) {
		return Claims{}, a.refuse("ExpiredAuthenticationToken",
			fmt.Sprintf("The access token expiry UTC time '%s' is earlier than current UTC time '%s'.", armTime(v.claims.Expires), armTime(now)),
			"The access token has expired.")
	}
	if v.from.After(now.Add(backdate)) {
		return Claims{}, a.errInvalid()
	}
	if want := issuer(a.cfg.Tenant); v.iss != want || v.claims.Tenant != a.cfg.Tenant {
		return Claims{}, a.refuse("InvalidAuthenticationTokenTenant",
			"The access token is from the wrong issuer '"+v.iss+"'. It must match the tenant '"+want+"' associated with this subscription. Please use the authority (URL) 'https://login.windows.net/"+a.cfg.Tenant+"' to get the token. Note, if the subscription is transferred to another tenant there is no impact to the services, but information about new tenant could take time to propagate (up to an hour). If you just transferred your subscription and see this error message, please try back later.",
			"The access token is from the wrong issuer. It must match the tenant associated with this subscription. Please use correct authority to get the token.")
	}
	for _, want := range audiences {
		if v.claims.Audience == want || strings.EqualFold(v.claims.Audience, strings.TrimRight(want, "/")) {
			return v.claims, nil
		}
	}
	allowed := make([]string, 0, 2*len(audiences))
	for _, want := range audiences {
		want = strings.TrimRight(want, "/")
		allowed = append(allowed, "'"+want+"/'", "'"+want+"'")
	}
	return Claims{}, a.refuse("InvalidAuthenticationTokenAudience",
		"The access token has been obtained for wrong audience or resource '"+v.aud+"'. It should exactly match with one of the allowed audiences "+strings.Join(allowed, ",")+".",
		"The access token has been obtained from wrong audience or resource. It should exactly match (including forward slash) with one of the allowed audiences.")
}

// parse checks the form and the signature of a token that was not seen before.
func (a *Authority) parse(ctx context.Context, token string) (verified, error) {
	// The time claims are judged by Verify, with the emulator's clock and ARM's words.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithoutClaimsValidation())
	var m jwt.MapClaims
	var broken error
	_, err := parser.ParseWithClaims(token, &m, func(t *jwt.Token) (any, error) {
		k, err := a.keys(ctx)
		if err != nil {
			broken = err
			return nil, err
		}
		if t.Header["kid"] != k.id {
			return nil, errors.New("unknown key")
		}
		return &k.rsa.PublicKey, nil
	})
	if broken != nil {
		return verified{}, broken
	}
	if err != nil {
		a.log.Debug("token refused", "error", err)
		return verified{}, a.errInvalid()
	}
	text := func(name string) string { s, _ := m[name].(string); return s }
	exp, err := m.GetExpirationTime()
	if err != nil || exp == nil {
		return verified{}, a.errInvalid()
	}
	v := verified{iss: text("iss"), aud: text("aud"), claims: Claims{
		Audience: strings.TrimRight(text("aud"), "/"), Tenant: text("tid"), ObjectID: text("oid"), AppID: text("appid"), UPN: text("upn"),
		Workspace: text("workspaceScope"), RunID: text("runId"), Expires: exp.UTC(),
	}}
	if nbf, err := m.GetNotBefore(); err == nil && nbf != nil {
		v.from = nbf.Time
	}
	return v, nil
}

// armTime is how ARM writes a time into this message.
func armTime(t time.Time) string { return t.UTC().Format("1/2/2006 3:04:05 PM") }

func (a *Authority) errInvalid() error {
	return a.refuse("InvalidAuthenticationToken", "The access token is invalid.", "The access token is invalid.")
}

func (a *Authority) refuse(code, message, description string) error {
	return &Error{Code: code, Message: message, Challenge: fmt.Sprintf(
		`Bearer authorization_uri="https://login.windows.net/%s", error="invalid_token", error_description="%s"`, a.cfg.Tenant, description)}
}
