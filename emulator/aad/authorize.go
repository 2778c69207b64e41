package aad

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// foldKnown is the folded id of an application that the directory has, or empty.
func foldKnown(a *Authority, id string) string {
	folded := strings.ToLower(id)
	if _, ok := a.clients[folded]; ok || a.public[folded] {
		return folded
	}
	return ""
}

// authorize signs the first user in and goes back at once (GET .../authorize).
// It redirects to loopback addresses alone, so that no page elsewhere can fetch itself a code.
func (a *Authority) authorize(w http.ResponseWriter, q *request) error {
	if q.Form == nil {
		if err := q.ParseForm(); err != nil {
			return errMalformed()
		}
	}
	in := q.Form
	id := in.Get("client_id")
	if id == "" {
		return errMissing("client_id")
	}
	folded := foldKnown(a, id)
	if folded == "" {
		return a.errClient(id)
	}
	redirect, err := url.Parse(in.Get("redirect_uri"))
	if err != nil || redirect.Scheme != "http" || redirect.Fragment != "" || !loopback(redirect.Hostname()) {
		return &oauthError{http.StatusBadRequest, "invalid_request", []int{50011},
			"The reply url specified in the request does not match the reply urls configured for the application: '" + id + "'."}
	}
	out := url.Values{}
	if state := in.Get("state"); state != "" {
		out.Set("state", state)
	}
	if err := a.authorizeCode(q, folded, out); err != nil {
		e, ok := err.(*oauthError)
		if !ok {
			return err
		}
		out.Set("error", e.Err)
		out.Set("error_description", e.Error())
	}
	if in.Get("response_mode") == "form_post" {
		return formPost(w, redirect.String(), out)
	}
	query := redirect.Query()
	for k, v := range out {
		query[k] = v
	}
	redirect.RawQuery = query.Encode()
	http.Redirect(w, q.Request, redirect.String(), http.StatusFound)
	return nil
}

func (a *Authority) authorizeCode(q *request, client string, out url.Values) error {
	in := q.Form
	if t := in.Get("response_type"); t != "code" {
		return &oauthError{http.StatusBadRequest, "unsupported_response_type", []int{70005},
			"The provided value for the input parameter 'response_type' is not allowed: '" + t + "'. Expected value is 'code'."}
	}
	method := in.Get("code_challenge_method")
	if method != "" && method != "S256" && method != "plain" {
		return &oauthError{http.StatusBadRequest, "invalid_request", []int{501491}, "Invalid size of Code_Challenge parameter."}
	}
	user := a.cfg.Users[0]
	if hint := in.Get("login_hint"); hint != "" {
		u, ok := a.user(hint)
		if !ok {
			return errNoUser(hint, a.cfg.Tenant)
		}
		user = u
	}
	resource, scope := in.Get("resource"), in.Get("scope")
	if resource != "" || q.v2 {
		if _, _, err := a.resource(q, resource, scope); err != nil {
			return err
		}
	}
	code, err := a.seal(q.Context(), authCode, sealed{Client: client, User: user.UPN, Resource: resource, Scope: scope,
		Redirect: in.Get("redirect_uri"), Challenge: in.Get("code_challenge"), Method: method, Nonce: in.Get("nonce"), Issued: a.clock.Now().Unix()})
	if err != nil {
		return err
	}
	out.Set("code", code)
	out.Set("session_state", randomGUID())
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// formPost answers with a form that the browser sends by itself (OAuth 2.0 Form Post Response Mode).
func formPost(w http.ResponseWriter, action string, out url.Values) error {
	var b strings.Builder
	for k := range out {
		_, _ = fmt.Fprintf(&b, `<input type="hidden" name="%s" value="%s"/>`, html.EscapeString(k), html.EscapeString(out.Get(k)))
	}
	writeBody(w, http.StatusOK, "text/html; charset=utf-8", fmt.Appendf(nil,
		`<!DOCTYPE html><html><head><title>Working...</title></head><body onload="document.forms[0].submit()"><form method="POST" action="%s">%s<noscript><input type="submit" value="Continue"/></noscript></form></body></html>`+"\n",
		html.EscapeString(action), b.String()))
	return nil
}

func (a *Authority) redeemCode(q *request) (grant, error) {
	id, _, err := a.client(q)
	if err != nil {
		return grant{}, err
	}
	text := q.PostForm.Get("code")
	if text == "" {
		return grant{}, errMissing("code")
	}
	s, err := a.unseal(q.Context(), authCode, text)
	switch {
	case err == errUnsealed, err == nil && s.Client != id:
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{70000}, "The provided value for the 'code' parameter is not valid."}
	case err != nil:
		return grant{}, err
	case s.expired(a.clock.Now(), authCodeLife):
		return grant{}, errExpiredGrant()
	case q.PostForm.Get("redirect_uri") != s.Redirect:
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{50011},
			"The reply address '" + q.PostForm.Get("redirect_uri") + "' does not match the reply address '" + s.Redirect + "' provided when requesting Authorization code."}
	case s.Challenge != "" && !proves(q.PostForm.Get("code_verifier"), s):
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{50148}, "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE."}
	}
	g, err := a.granted(q, s)
	if err != nil {
		return grant{}, err
	}
	if !a.redeemed.first(text, struct{}{}) {
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{54005},
			"OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."}
	}
	return g, nil
}

// proves checks PKCE's verifier (RFC 7636).
func proves(verifier string, s sealed) bool {
	if s.Method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return same(verifier, s.Challenge)
}

// logout signs nobody out, for nobody stays signed in.
func (a *Authority) logout(w http.ResponseWriter, _ *request) error {
	writePage(w, http.StatusOK, "Signed out", "You are signed out of lazulite.")
	return nil
}
