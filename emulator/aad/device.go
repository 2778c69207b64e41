package aad

import (
	"crypto/rand"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"time"
)

// deviceCode starts a sign-in on another device (POST .../devicecode, v1 and v2).
func (a *Authority) deviceCode(w http.ResponseWriter, q *request) error {
	id, _, err := a.deviceClient(q)
	if err != nil {
		return err
	}
	resource, scope, err := a.resource(q, q.PostForm.Get("resource"), q.PostForm.Get("scope"))
	if err != nil {
		return err
	}
	code := userCode()
	device, err := a.seal(q.Context(), deviceCode, sealed{Client: id, User: a.cfg.Users[0].UPN, Resource: resource, Scope: scope,
		UserCode: code, Issued: a.clock.Now().Unix()})
	if err != nil {
		return err
	}
	page := base(q.Request) + "/common/oauth2/deviceauth"
	message := "To sign in, use a web browser to open the page " + page + " and enter the code " + code + " to authenticate."
	if a.cfg.ApproveDevice == nil {
		message += " lazulite has approved it already: there is nothing to do."
	}
	life, gap := int(deviceLife/time.Second), int(devicePollGap/time.Second)
	if q.v2 {
		return writeJSON(w, map[string]any{"user_code": code, "device_code": device, "verification_uri": page,
			"expires_in": life, "interval": gap, "message": message})
	}
	return writeJSON(w, map[string]any{"user_code": code, "device_code": device, "verification_url": page,
		"expires_in": strconv.Itoa(life), "interval": strconv.Itoa(gap), "message": message})
}

// deviceClient needs no secret: the secret is asked for when the code is redeemed.
func (a *Authority) deviceClient(q *request) (id string, confidential bool, err error) {
	if id := q.PostForm.Get("client_id"); id != "" && q.PostForm.Get("client_secret") == "" {
		if folded := foldKnown(a, id); folded != "" {
			return folded, false, nil
		}
		return "", false, a.errClient(id)
	}
	return a.client(q)
}

// userCode is nine letters that are hard to confuse, as Azure's were.
func userCode() string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789" // 32, so that a byte's low five bits choose evenly
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails since Go 1.24
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return string(b)
}

func (a *Authority) redeemDevice(q *request) (grant, error) {
	id, _, err := a.client(q)
	if err != nil {
		return grant{}, err
	}
	text := q.PostForm.Get("device_code")
	if text == "" {
		text = q.PostForm.Get("code") // v1's name
	}
	if text == "" {
		if q.v2 {
			return grant{}, errMissing("device_code")
		}
		return grant{}, errMissing("code")
	}
	s, err := a.unseal(q.Context(), deviceCode, text)
	switch {
	case err == errUnsealed, err == nil && s.Client != id:
		return grant{}, &oauthError{http.StatusBadRequest, "bad_verification_code", []int{70018}, "Bad verification code."}
	case err != nil:
		return grant{}, err
	case s.expired(a.clock.Now(), deviceLife):
		word := "code_expired"
		if q.v2 {
			word = "expired_token"
		}
		return grant{}, &oauthError{http.StatusBadRequest, word, []int{70019}, "Verification code expired."}
	case a.cfg.ApproveDevice != nil && !a.cfg.ApproveDevice(s.UserCode):
		text := "Pending end-user authorization."
		if q.v2 {
			text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling."
		}
		return grant{}, &oauthError{http.StatusBadRequest, "authorization_pending", []int{70016}, text}
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

// devicePage is what a person sees who follows the message's link.
func (a *Authority) devicePage(w http.ResponseWriter, q *request) error {
	text := "lazulite approves device sign-ins by itself. Go back to your terminal: there is nothing to do here."
	if a.cfg.ApproveDevice != nil {
		text = "The program that runs lazulite decides when this sign-in is approved."
	}
	writePage(w, http.StatusOK, "Device sign-in", text)
	return nil
}

func writePage(w http.ResponseWriter, status int, title, text string) {
	writeBody(w, status, "text/html; charset=utf-8", fmt.Appendf(nil,
		"<!DOCTYPE html><html><head><title>%[1]s</title></head><body><h1>%[1]s</h1><p>%[2]s</p></body></html>\n",
		html.EscapeString(title), html.EscapeString(text)))
}
