package blob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
)

// grant is what a credential allows.
type grant struct {
	// all is set for keys and tokens.
	all bool
	// permissions are those of a SAS.
	permissions string
	// override are the response headers that a SAS sets.
	override map[string]string
}

// may reports whether the grant has any of the permissions.
func (g grant) may(any string) bool { return g.all || strings.ContainsAny(g.permissions, any) }

// authorize finds the credential of the request and what it allows.
func (c *call) authorize(op *operation) error {
	auth := c.header("Authorization")
	scheme, value, _ := strings.Cut(auth, " ")
	switch {
	case auth == "" && c.q.Has("sig"):
		return c.authorizeSAS(op)
	case auth == "":
		return c.anonymous(op)
	case strings.EqualFold(scheme, "Bearer"):
		return c.bearer(value)
	case scheme == "SharedKey" || scheme == "SharedKeyLite":
		if err := c.sharedKey(scheme, value); err != nil {
			return err
		}
		c.grant.all = true
		return nil
	}
	return badHeader("Authorization", scheme)
}

// anonymous callers may read what a container's public access lets them;
// anything else is as if it were not there.
func (c *call) anonymous(op *operation) error {
	if op.public == "" || c.container == "" {
		return fail("ResourceNotFound")
	}
	home, err := c.home()
	if isAbsent(err) {
		return fail("ResourceNotFound")
	}
	if err != nil {
		return err
	}
	if home.Public == "container" || home.Public == "blob" && op.public == "blob" {
		c.grant.permissions = "rl"
		return nil
	}
	return fail("ResourceNotFound")
}

func (c *call) bearer(token string) error {
	challenge := `Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize" resource_id="https://storage.azure.com"`
	if c.s.cfg.Verify == nil {
		return fail("InvalidAuthenticationInfo").set("WWW-Authenticate", challenge).
			with("AuthenticationErrorDetail", "Bearer tokens are not accepted here.")
	}
	if err := c.s.cfg.Verify(c.ctx(), strings.TrimSpace(token)); err != nil {
		return fail("InvalidAuthenticationInfo").set("WWW-Authenticate", challenge).
			with("AuthenticationErrorDetail", err.Error())
	}
	c.grant.all = true
	return nil
}

// signed reports whether mac is the signature of any of the texts by any of the account's keys.
func (a *account) signed(mac string, texts ...string) bool {
	got, err := base64.StdEncoding.DecodeString(mac)
	if err != nil {
		return false
	}
	ok := false
	for _, key := range a.Keys {
		for _, text := range texts {
			// No early return: how long it takes tells nothing.
			if hmac.Equal(got, sign(key, text)) {
				ok = true
			}
		}
	}
	return ok
}

func sign(key, text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil // our keys are base64; a nil equals no signature
	}
	m := hmac.New(sha256.New, raw)
	_, _ = m.Write([]byte(text)) // a hash takes every write
	return m.Sum(nil)
}

// near reports whether a date is within the skew of the clock.
func (s *Service) near(t time.Time) bool {
	if s.cfg.DateSkew < 0 {
		return true
	}
	d := s.cfg.Clock.Since(t)
	return d <= s.cfg.DateSkew && -d <= s.cfg.DateSkew
}
