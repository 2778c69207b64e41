// Package aad is the authority: the part of Azure Active Directory that
// clients need to get a token, and the one place where tokens are verified.
//
// It answers for login.microsoftonline.com and its like (v1 and v2 endpoints),
// for AD FS paths (/adfs/...), and for the managed identity endpoints of a
// machine. Its grants are client credentials, refresh token, password, device
// code and authorization code. The tokens are v1 tokens of sts.windows.net,
// RS256, and every one that comes back is checked: signature, times, issuer,
// tenant and audience, with the wording of Azure Resource Manager in 2018.
//
// Clients ask for a token before nearly every call, so a signed token is
// handed out again while it has most of its life left, and a verified one is
// remembered. Refresh tokens, device codes and authorization codes are sealed,
// not stored: they outlive a restart and cost no write.
//
// It is no directory: there is no Graph, no consent, no group, no certificate
// credential, and whoever asks by browser or device code is signed in at once
// as the first configured user.
package aad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Audiences that ARM accepts, without their trailing slash.
const (
	AudienceManagement = "https://management.core.windows.net"
	AudienceARM        = "https://management.azure.com"
	// AudienceRun is in the tokens that the run service gives to a running script.
	AudienceRun = "https://ml.azure.com/run"
)

// Config of an Authority.
type Config struct {
	Store *store.Store
	// Clock stamps and expires tokens; nil: the machine's. Clients compare the
	// stamps with their own clock, so anything but real time is for tests.
	Clock clock.Clock
	// Tenant is the directory's GUID.
	Tenant string
	// Domain is the directory's name in URLs and user names; empty: lazulite.onmicrosoft.com.
	Domain string
	// Clients maps the application id of each service principal to its secret.
	Clients map[string]string
	// PublicClients are application ids without a secret, besides those of az, Azure PowerShell and Visual Studio.
	PublicClients []string
	// Users who may sign in; the first one is whoever uses a browser or a device code. Empty: user@Domain, without a password.
	Users []User
	// Identity is the application id of the machine's managed identity; empty: derived from Tenant.
	Identity string
	// Resources are audiences granted besides Azure's own.
	Resources []string
	// Hosts are names of this authority besides Azure's own, localhost, host.docker.internal and IP addresses. Under
	// other names it answers nothing: a web page whose name resolves to this machine could sign itself in.
	Hosts []string
	// ApproveDevice says if a device code may be redeemed by now; nil: at once.
	ApproveDevice func(userCode string) bool
	// Lifetime of an access token; zero: one hour.
	Lifetime time.Duration
	Logger   *slog.Logger
}

// User is one person of the directory.
type User struct {
	// UPN is the user's name to sign in with, in the form name@domain.
	UPN string
	// Password for the password grant; empty: that grant is refused.
	Password string
}

// Claims of a verified or a wanted token.
type Claims struct {
	// Audience is the resource; Verify returns it without a trailing slash, Issue writes it as it is.
	Audience string
	Tenant   string
	ObjectID string
	AppID    string
	UPN      string // empty for a service principal
	// Workspace and RunID bound a run token: the folded ARM id of the workspace, and the run.
	Workspace string
	RunID     string
	Expires   time.Time
}

// Authority answers for login.microsoftonline.com and its like.
type Authority struct {
	cfg       Config
	clock     clock.Clock
	log       *slog.Logger
	clients   map[string]string // folded application id to secret
	public    map[string]bool
	resources map[string]string // folded audience to its canonical spelling, both without trailing slash
	routes    map[string]route

	keyMu sync.Mutex
	key   *keys

	issued   issued
	verified recent[[32]byte, verified]
	redeemed recent[string, struct{}]
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// New makes an Authority; its signing key is read from the store, or made there the first time that it is needed.
func New(cfg Config) (*Authority, error) {
	if cfg.Store == nil {
		return nil, errors.New("aad: Config.Store is missing")
	}
	if !guid.MatchString(cfg.Tenant) {
		return nil, fmt.Errorf("aad: Config.Tenant %q is not a GUID", cfg.Tenant)
	}
	cfg.Tenant = strings.ToLower(cfg.Tenant)
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Domain == "" {
		cfg.Domain = "lazulite.onmicrosoft.com"
	}
	if len(cfg.Users) == 0 {
		cfg.Users = []User{{UPN: "user@" + cfg.Domain}}
	}
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = time.Hour
	}
	if cfg.Identity == "" {
		cfg.Identity = stableGUID(cfg.Tenant, "managed identity")
	}
	a := &Authority{
		cfg: cfg, clock: cfg.Clock, log: cfg.Logger,
		clients: map[string]string{}, public: map[string]bool{}, resources: map[string]string{},
	}
	for id, secret := range cfg.Clients {
		if id == "" || secret == "" {
			return nil, fmt.Errorf("aad: Config.Clients: %q has no id or no secret", id)
		}
		a.clients[strings.ToLower(id)] = secret
	}
	for _, u := range cfg.Users {
		if !strings.Contains(u.UPN, "@") {
			return nil, fmt.Errorf("aad: Config.Users: %q is not of the form name@domain", u.UPN)
		}
	}
	for _, id := range append(knownPublicClients(), cfg.PublicClients...) {
		a.public[strings.ToLower(id)] = true
	}
	for _, res := range append(knownResources(), cfg.Resources...) {
		res = strings.TrimRight(res, "/")
		a.resources[strings.ToLower(res)] = res
	}
	a.cfg.Identity = strings.ToLower(cfg.Identity)
	a.routes = a.table()
	a.issued.m = map[issuedKey]signed{}
	return a, nil
}

// Tenant is the directory's GUID, folded.
func (a *Authority) Tenant() string { return a.cfg.Tenant }

// route is one endpoint below a tenant.
type route struct {
	v2     bool
	method string // empty: any
	do     func(w http.ResponseWriter, q *request) error
}

// request is what the endpoints below a tenant need to know of a request.
type request struct {
	*http.Request
	v2   bool
	adfs bool
	// named is false below /common and /organizations, where nothing says which tenant is meant.
	named bool
	// tail is the path below the endpoint, in the client's own case.
	tail string
}

// base is scheme and host as the client sees them.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (a *Authority) table() map[string]route {
	return map[string]route{
		"oauth2/token":                          {method: http.MethodPost, do: a.token},
		"oauth2/v2.0/token":                     {method: http.MethodPost, v2: true, do: a.token},
		"oauth2/devicecode":                     {method: http.MethodPost, do: a.deviceCode},
		"oauth2/v2.0/devicecode":                {method: http.MethodPost, v2: true, do: a.deviceCode},
		"oauth2/deviceauth":                     {do: a.devicePage},
		"oauth2/authorize":                      {do: a.authorize},
		"oauth2/v2.0/authorize":                 {v2: true, do: a.authorize},
		"oauth2/logout":                         {do: a.logout},
		"oauth2/v2.0/logout":                    {v2: true, do: a.logout},
		".well-known/openid-configuration":      {do: a.openID},
		"v2.0/.well-known/openid-configuration": {v2: true, do: a.openID},
		"discovery/keys":                        {do: a.jwks},
		"discovery/v2.0/keys":                   {v2: true, do: a.jwks},
		"discovery/instance":                    {do: a.instance},
		"userrealm":                             {do: a.userRealm},
	}
}

// ServeHTTP answers the authority's host names, /adfs paths and the MSI endpoint.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	folded := strings.ToLower(path)
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Pragma", "no-cache")
	if !a.vouches(r.Host) {
		a.writeError(w, &request{Request: r}, errInstance())
		return
	}
	switch folded {
	case "msi/token", "oauth2/token", "metadata/identity/oauth2/token":
		a.identity(w, r, folded)
		return
	case "discovery/keys":
		folded = "common/" + folded
	}
	if id := r.Header.Get("client-request-id"); id != "" && strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", id)
	}
	q := &request{Request: r}
	if err := a.serve(w, q, path, folded); err != nil {
		a.writeError(w, q, err)
	}
}

func (a *Authority) serve(w http.ResponseWriter, q *request, path, folded string) error {
	tenant, endpoint, _ := strings.Cut(folded, "/")
	rt, ok := a.routes[endpoint]
	if !ok && strings.HasPrefix(endpoint, "userrealm/") {
		rt, ok = a.routes["userrealm"], true
		q.tail = path[len(tenant)+len("/userrealm/"):]
	}
	if !ok {
		writePage(w, http.StatusNotFound, "Not found", "The authority has no endpoint "+q.URL.Path+".")
		return nil
	}
	q.v2 = rt.v2
	switch tenant {
	case "adfs":
		q.adfs, q.named = true, true
	case "common", "organizations":
	case a.cfg.Tenant, strings.ToLower(a.cfg.Domain):
		q.named = true
	default:
		return errTenant(path[:len(tenant)])
	}
	if rt.method != "" && q.Method != rt.method {
		return &oauthError{Status: http.StatusBadRequest, Err: "invalid_request", Codes: []int{900561},
			Text: fmt.Sprintf("The endpoint only accepts %s requests. Received a %s request.", rt.method, q.Method)}
	}
	if q.Method == http.MethodPost {
		q.Body = http.MaxBytesReader(w, q.Body, 256<<10)
		if err := q.ParseForm(); err != nil {
			return errMalformed()
		}
	}
	return rt.do(w, q)
}

// writeJSON answers 200 with v.
func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, "application/json; charset=utf-8", body)
	return nil
}

// Issue signs a token with these claims; Expires must be set. An empty Tenant is the authority's own.
func (a *Authority) Issue(ctx context.Context, c Claims) (string, error) {
	if c.Expires.IsZero() {
		return "", errors.New("aad: Issue: Expires is not set")
	}
	if c.Audience == "" {
		return "", errors.New("aad: Issue: Audience is not set")
	}
	return a.sign(ctx, c, accessToken, "")
}
