package aad

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// use of a token that sign makes.
type use int

const (
	accessToken use = iota
	idTokenV1
	idTokenV2
)

// backdate is how far before now a token is valid, for clients whose clock is late, as Azure does since 2018.
const backdate = 5 * time.Minute

// issuer of a tenant's v1 tokens.
func issuer(tenant string) string { return "https://sts.windows.net/" + tenant + "/" }

// sign makes a JWT with the claims of Azure's v1 tokens (v2 for idTokenV2).
func (a *Authority) sign(ctx context.Context, c Claims, u use, nonce string) (string, error) {
	k, err := a.keys(ctx)
	if err != nil {
		return "", err
	}
	if c.Tenant == "" {
		c.Tenant = a.cfg.Tenant
	}
	if c.ObjectID == "" {
		c.ObjectID = a.objectID(c)
	}
	from := a.clock.Now()
	if c.Expires.Before(from) {
		from = c.Expires
	}
	from = from.Add(-backdate)
	uti := make([]byte, 16)
	if _, err := rand.Read(uti); err != nil {
		return "", err
	}
	m := jwt.MapClaims{
		"aud": c.Audience, "iss": issuer(c.Tenant), "tid": c.Tenant, "oid": c.ObjectID, "sub": c.ObjectID,
		"iat": from.Unix(), "nbf": from.Unix(), "exp": c.Expires.Unix(),
		"uti": base64.RawURLEncoding.EncodeToString(uti), "ver": "1.0",
	}
	if u == accessToken {
		m["appid"] = c.AppID
		m["idp"] = issuer(c.Tenant)
		m["appidacr"] = "1"
		if c.UPN != "" {
			m["appidacr"], m["acr"], m["scp"] = "0", "1", "user_impersonation"
			delete(m, "idp")
		}
		if c.Workspace != "" {
			m["workspaceScope"] = c.Workspace
		}
		if c.RunID != "" {
			m["runId"] = c.RunID
		}
	}
	if c.UPN != "" {
		name, _, _ := strings.Cut(c.UPN, "@")
		m["name"], m["given_name"], m["amr"] = name, name, []string{"pwd"}
		m["upn"], m["unique_name"] = c.UPN, c.UPN
	}
	if u == idTokenV2 {
		m["ver"], m["iss"], m["preferred_username"] = "2.0", "https://login.microsoftonline.com/"+c.Tenant+"/v2.0", c.UPN
	}
	if nonce != "" {
		m["nonce"] = nonce
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, m)
	t.Header["kid"], t.Header["x5t"] = k.id, k.id
	return t.SignedString(k.rsa)
}

// objectID of the principal: stable, and other for each user and application.
func (a *Authority) objectID(c Claims) string {
	if c.UPN != "" {
		return stableGUID(a.cfg.Tenant, "user", strings.ToLower(c.UPN))
	}
	return stableGUID(a.cfg.Tenant, "service principal", strings.ToLower(c.AppID))
}

// signed is a token that may be handed out again.
type signed struct {
	token   string
	expires time.Time
	from    time.Time
}

// issuedKey has no client-chosen part that is not from a configured list, so that their number is bounded.
type issuedKey struct {
	audience, client, upn string
	use                   use
}

type issued struct {
	mu sync.Mutex
	m  map[issuedKey]signed
}

// issue returns a token for c that has at least three quarters of its life left, and signs one only if there is none.
func (a *Authority) issue(ctx context.Context, c Claims, u use) (signed, error) {
	k := issuedKey{audience: c.Audience, client: c.AppID, upn: c.UPN, use: u}
	now := a.clock.Now()
	a.issued.mu.Lock()
	defer a.issued.mu.Unlock()
	if s, ok := a.issued.m[k]; ok && s.expires.Sub(now) >= a.cfg.Lifetime*3/4 && !now.Before(s.from) {
		return s, nil
	}
	c.Expires = now.Add(a.cfg.Lifetime).Truncate(time.Second)
	token, err := a.sign(ctx, c, u, "")
	if err != nil {
		return signed{}, err
	}
	s := signed{token: token, expires: c.Expires, from: now.Add(-backdate).Truncate(time.Second)}
	a.issued.m[k] = s
	return s, nil
}
