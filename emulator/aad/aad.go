// Package aad is the authority: the part of Azure Active Directory that
// clients need to get a token, and the one place where tokens are verified.
package aad

import (
	"context"
	"log/slog"
	"net/http"
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
	Clock clock.Clock
	// Tenant is the directory's GUID.
	Tenant string
	// Clients maps the application id of each service principal to its secret.
	Clients map[string]string
	Logger  *slog.Logger
}

// Claims of a verified or a wanted token.
type Claims struct {
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
type Authority struct{ cfg Config }

// New makes an Authority; its signing key is read from the store, or made there the first time that it is needed.
func New(cfg Config) (*Authority, error) { return &Authority{cfg: cfg}, nil }

// ServeHTTP answers the authority's host names, /adfs paths and the MSI endpoint.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("unbuilt") }

// Verify checks signature, issuer, tenant, expiry, and that the audience is one of audiences.
// The error is an *Error, ready for the wire.
func (a *Authority) Verify(ctx context.Context, token string, audiences ...string) (Claims, error) {
	panic("unbuilt")
}

// Issue signs a token with these claims; Expires must be set.
func (a *Authority) Issue(ctx context.Context, c Claims) (string, error) { panic("unbuilt") }

// Error is a refusal by Verify: what ARM puts in its 401 body and in WWW-Authenticate.
type Error struct {
	Code    string // AuthenticationFailed, ExpiredAuthenticationToken, InvalidAuthenticationToken, InvalidAuthenticationTokenTenant, InvalidAuthenticationTokenAudience
	Message string
	// Challenge is the value of WWW-Authenticate.
	Challenge string
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }
