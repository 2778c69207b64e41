// Package front is the door: the local certificate authority, the CONNECT
// proxy, TLS by SNI, and the table from host names to handlers.
package front

import (
	"context"
	"log/slog"
	"net/http"
)

// Config of a Front.
type Config struct {
	// Listen is host:port; the one port speaks HTTP, CONNECT and TLS, told apart by the first byte.
	Listen string
	// Dir holds ca.pem, ca-key.pem (0600) and bundle.pem; empty: kept in memory, bundle in a temporary file.
	Dir string
	// Hosts, first match wins.
	Hosts []Host
	// Offline refuses tunnels to hosts that no Host matches.
	Offline bool
	Logger  *slog.Logger
}

// Host maps a pattern of names ("management.azure.com", "*.blob.core.windows.net", "**.azureml.net" for any depth, "localhost") to its handler.
type Host struct {
	Pattern string
	Handler http.Handler
}

// Front is the listening door.
type Front struct{ cfg Config }

// New makes the CA if Dir has none.
func New(cfg Config) (*Front, error) { return &Front{cfg: cfg}, nil }

// Open listens; when it returns, the first request would be answered.
func (f *Front) Open(ctx context.Context) error { panic("unbuilt") }

// Close stops listening and waits for the requests under way until ctx ends.
func (f *Front) Close(ctx context.Context) error { panic("unbuilt") }

// Addr is host:port that it listens on.
func (f *Front) Addr() string { panic("unbuilt") }

// CAFile and BundleFile are paths: our root alone, and the public roots plus ours.
func (f *Front) CAFile() string { panic("unbuilt") }

// BundleFile is the public roots of this machine (or of certifi-like well-known places) plus ours.
func (f *Front) BundleFile() string { panic("unbuilt") }

// Transport returns a RoundTripper that reaches the Hosts in process, with no socket.
func (f *Front) Transport() http.RoundTripper { panic("unbuilt") }
