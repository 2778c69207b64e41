// Package plane is the frame that all services of the workspace's data plane
// share: routes below a workspace's scope, authentication, error envelope and
// paging. The services themselves are its siblings history, assets and execution.
package plane

import (
	"context"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/clock"
)

// Scope names a workspace as the client wrote it.
type Scope struct{ Subscription, ResourceGroup, Workspace string }

// ID is the workspace's ARM id.
func (s Scope) ID() string {
	return "/subscriptions/" + s.Subscription + "/resourceGroups/" + s.ResourceGroup +
		"/providers/Microsoft.MachineLearningServices/workspaces/" + s.Workspace
}

// Key is the folded form for store keys: "sub/group/workspace" in lower case.
func (s Scope) Key() string {
	return strings.ToLower(s.Subscription + "/" + s.ResourceGroup + "/" + s.Workspace)
}

// Workspace is what the data plane needs to know of the ARM resource.
type Workspace struct {
	Scope
	// GUID is properties.workspaceid, new for each creation: it keys all data,
	// so that a workspace made again under an old name starts empty.
	GUID           string
	Location       string
	StorageAccount string // name of the account
}

// Call is one authenticated request to a workspace.
type Call struct {
	Workspace Workspace
	Caller    aad.Claims
	// Vars are the captured segments, unescaped.
	Vars map[string]string
	// Base is scheme and host as the client sees them.
	Base string
}

// HandlerFunc answers a Call; an error goes out in the service's envelope.
type HandlerFunc func(w http.ResponseWriter, r *http.Request, c *Call) error

// Config of a Mux.
type Config struct {
	Clock clock.Clock
	// Verify checks a bearer token for the ARM or the run audience.
	Verify func(ctx context.Context, token string, audiences ...string) (aad.Claims, error)
	// Find returns the workspace, or an *Error with status 404.
	Find func(ctx context.Context, s Scope) (Workspace, error)
}

// Token that a run may use to call back.
type Token struct {
	Token   string
	Expires time.Time
}

// WireTime is how the services of 2018 wrote instants.
func WireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }
