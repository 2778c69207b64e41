package aad

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// grant is what a token request was found to be entitled to.
type grant struct {
	client   string
	user     string // UPN; empty: the client itself
	resource string // as it goes into the token
	scope    string // v2: as asked
	nonce    string
}

// token answers POST .../oauth2/token.
func (a *Authority) token(w http.ResponseWriter, q *request) error {
	form := q.PostForm
	var (
		g   grant
		err error
	)
	switch kind := form.Get("grant_type"); kind {
	case "":
		return errMissing("grant_type")
	case "client_credentials":
		g, err = a.clientCredentials(q)
	case "refresh_token":
		g, err = a.refresh(q)
	case "password":
		g, err = a.password(q)
	case "device_code", "urn:ietf:params:oauth:grant-type:device_code":
		g, err = a.redeemDevice(q)
	case "authorization_code":
		g, err = a.redeemCode(q)
	default:
		return errGrantType(kind)
	}
	if err != nil {
		return err
	}
	return a.answer(w, q, g)
}

// client identifies the application, and checks its secret if it has one.
func (a *Authority) client(q *request) (id string, confidential bool, err error) {
	form := q.PostForm
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, pass, ok := q.BasicAuth(); ok && id == "" {
		// RFC 6749, 2.3.1: both halves are form-encoded first.
		var errs [2]error
		id, errs[0] = url.QueryUnescape(user)
		secret, errs[1] = url.QueryUnescape(pass)
		if errs[0] != nil || errs[1] != nil {
			return "", false, errMalformed()
		}
	}
	if id == "" {
		return "", false, errMissing("client_id")
	}
	folded := strings.ToLower(id)
	assertion := form.Get("client_assertion") != "" || form.Get("client_assertion_type") != ""
	want, ok := a.clients[folded]
	switch {
	case !ok && !a.public[folded]:
		return "", false, a.errClient(id)
	case !ok && (secret != "" || assertion):
		return "", false, errPublicSecret(q.v2)
	case !ok:
		return folded, false, nil
	case assertion:
		return "", false, errAssertion(q.v2)
	case secret == "":
		return "", false, errNoSecret(q.v2)
	case !same(secret, want):
		return "", false, errSecret(id, q.v2)
	}
	return folded, true, nil
}

// same compares secrets in a time that tells nothing of where they differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (a *Authority) clientCredentials(q *request) (grant, error) {
	id, confidential, err := a.client(q)
	if err != nil {
		return grant{}, err
	}
	if !confidential {
		return grant{}, errNoSecret(q.v2)
	}
	if !q.named {
		return grant{}, errNoTenant()
	}
	g := grant{client: id}
	if scope := q.PostForm.Get("scope"); q.v2 && !ofApplication(scope) {
		if scope == "" {
			return grant{}, errMissing("scope")
		}
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_scope", []int{1002012}, "The provided value for scope " + scope +
			" is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
	}
	g.resource, g.scope, err = a.resource(q, q.PostForm.Get("resource"), q.PostForm.Get("scope"))
	return g, err
}

// ofApplication says whether a scope is what an application may ask for itself:
// a resource's default. MSAL for Go adds OpenID's own scopes, which mean nothing here.
func ofApplication(scope string) bool {
	found := false
	for s := range strings.FieldsSeq(scope) {
		if openID(s) {
			continue
		}
		if !strings.HasSuffix(s, "/.default") {
			return false
		}
		found = true
	}
	return found
}

// openID says whether a scope is one of OpenID Connect's, which have no resource.
func openID(scope string) bool {
	switch strings.ToLower(scope) {
	case "openid", "profile", "email", "offline_access":
		return true
	}
	return false
}

func (a *Authority) refresh(q *request) (grant, error) {
	id, _, err := a.client(q)
	if err != nil {
		return grant{}, err
	}
	text := q.PostForm.Get("refresh_token")
	if text == "" {
		return grant{}, errMissing("refresh_token")
	}
	s, err := a.unseal(q.Context(), refreshToken, text)
	if err == errUnsealed || err == nil && (s.Client != id || s.expired(a.clock.Now(), refreshIdle)) {
		return grant{}, errExpiredGrant()
	}
	if err != nil {
		return grant{}, err
	}
	if _, ok := a.user(s.User); !ok {
		return grant{}, errNoUser(s.User, a.cfg.Tenant)
	}
	return a.granted(q, s)
}

// granted is the grant of a user's sealed consent: for the resource that is asked for now, or that was asked for then.
func (a *Authority) granted(q *request, s sealed) (grant, error) {
	resource, scope := q.PostForm.Get("resource"), q.PostForm.Get("scope")
	if resource == "" && !strings.Contains(scope, "/") {
		resource, scope = s.Resource, s.Scope
	}
	g := grant{client: s.Client, user: s.User, nonce: s.Nonce}
	var err error
	g.resource, g.scope, err = a.resource(q, resource, scope)
	return g, err
}

func (a *Authority) password(q *request) (grant, error) {
	id, _, err := a.client(q)
	if err != nil {
		return grant{}, err
	}
	name, pass := q.PostForm.Get("username"), q.PostForm.Get("password")
	if name == "" {
		return grant{}, errMissing("username")
	}
	if pass == "" {
		return grant{}, errMissing("password")
	}
	u, ok := a.user(name)
	if !ok {
		return grant{}, errNoUser(name, a.cfg.Tenant)
	}
	if u.Password == "" || !same(pass, u.Password) {
		if q.v2 {
			return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{50126}, "Error validating credentials due to invalid username or password."}
		}
		return grant{}, &oauthError{http.StatusBadRequest, "invalid_grant", []int{70002, 50126}, "Error validating credentials. AADSTS50126: Invalid username or password"}
	}
	return a.granted(q, sealed{Client: id, User: u.UPN})
}

func (a *Authority) user(upn string) (User, bool) {
	for _, u := range a.cfg.Users {
		if strings.EqualFold(u.UPN, upn) {
			return u, true
		}
	}
	return User{}, false
}

func errNoUser(upn, tenant string) error {
	return &oauthError{http.StatusBadRequest, "invalid_grant", []int{50034},
		"The user account " + upn + " does not exist in the " + tenant + " directory. To sign into this application, the account must be added to the directory."}
}

// The two shapes of a token answer: v1's numbers are strings, v2's are numbers.
type answerV1 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
}

type answerV2 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	ClientInfo   string `json:"client_info,omitempty"`
}

func (a *Authority) answer(w http.ResponseWriter, q *request, g grant) error {
	ctx := q.Context()
	c := Claims{Audience: g.resource, AppID: g.client, UPN: g.user}
	access, err := a.issue(ctx, c, accessToken)
	if err != nil {
		return err
	}
	// MSAL speaks v2 to the v1 paths of AD FS.
	v2 := q.v2 || q.PostForm.Get("resource") == "" && strings.Contains(q.PostForm.Get("scope"), "/")
	now := a.clock.Now()
	left := int64(access.expires.Sub(now) / time.Second)
	var refresh, id, info string
	if g.user != "" {
		refresh, err = a.seal(ctx, refreshToken, sealed{Client: g.client, User: g.user, Resource: g.resource, Scope: g.scope, Issued: now.Unix()})
		if err != nil {
			return err
		}
		if id, err = a.idToken(q, g, v2); err != nil {
			return err
		}
		if q.PostForm.Get("client_info") == "1" {
			raw, _ := json.Marshal(map[string]string{"uid": a.objectID(c), "utid": a.cfg.Tenant})
			info = base64.RawURLEncoding.EncodeToString(raw)
		}
	}
	if v2 {
		scope := ""
		if g.user != "" {
			scope = g.scope
		}
		return writeJSON(w, answerV2{TokenType: "Bearer", Scope: scope, ExpiresIn: left, ExtExpiresIn: left,
			AccessToken: access.token, RefreshToken: refresh, IDToken: id, ClientInfo: info})
	}
	scope := ""
	if g.user != "" {
		scope = "user_impersonation"
	}
	in := strconv.FormatInt(left, 10)
	return writeJSON(w, answerV1{TokenType: "Bearer", Scope: scope, ExpiresIn: in, ExtExpiresIn: in,
		ExpiresOn: strconv.FormatInt(access.expires.Unix(), 10), NotBefore: strconv.FormatInt(access.from.Unix(), 10),
		Resource: g.resource, AccessToken: access.token, RefreshToken: refresh, IDToken: id})
}

// idToken says to the client who signed in; with a nonce it is for this one answer.
func (a *Authority) idToken(q *request, g grant, v2 bool) (string, error) {
	u := idTokenV1
	if v2 {
		u = idTokenV2
	}
	c := Claims{Audience: g.client, AppID: g.client, UPN: g.user}
	if g.nonce != "" {
		c.Expires = a.clock.Now().Add(a.cfg.Lifetime)
		return a.sign(q.Context(), c, u, g.nonce)
	}
	s, err := a.issue(q.Context(), c, u)
	return s.token, err
}
