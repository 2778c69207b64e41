// Package blob is the part of Azure Blob storage that the SDKs need:
// containers, block and append blobs, ranges and lists, with shared key and
// SAS checked as Azure checks them. Contents are files, streamed both ways.
package blob

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service.
type Config struct {
	Store *store.Store
	Clock clock.Clock
	// Dir holds the contents, one file for each blob or block.
	Dir    string
	Logger *slog.Logger
}

// Service is every storage account of the emulator. It serves {account}.blob.core.windows.net.
type Service struct{ cfg Config }

// Properties of one blob.
type Properties struct {
	Name         string
	Size         int64
	ContentType  string
	ETag         string
	LastModified time.Time
	Append       bool
}

// New opens the service and removes what an earlier process left half-written.
func New(cfg Config) (*Service, error) { return &Service{cfg: cfg}, nil }

// Close waits for the uploads under way.
func (s *Service) Close(ctx context.Context) error { return nil }

// ServeHTTP answers for {account}.blob.core.windows.net; the account is the Host's first label.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("unbuilt") }

// EnsureAccount makes the account with two random keys if it is not there.
func (s *Service) EnsureAccount(ctx context.Context, account string) error { panic("unbuilt") }

// Keys returns the account's two keys, base64 as Azure shows them; store.ErrNotFound if there is no such account.
func (s *Service) Keys(ctx context.Context, account string) ([2]string, error) { panic("unbuilt") }

// RegenerateKey replaces key 0 or 1; signatures by the old one are refused from then on.
func (s *Service) RegenerateKey(ctx context.Context, account string, n int) error { panic("unbuilt") }

// DeleteAccount removes the account and all its contents.
func (s *Service) DeleteAccount(ctx context.Context, account string) error { panic("unbuilt") }

// EnsureContainer makes the container if it is not there.
func (s *Service) EnsureContainer(ctx context.Context, account, container string) error {
	panic("unbuilt")
}

// SAS returns the https URL of a blob (of the container where name is empty)
// with a service SAS for permissions such as "r" or "rcw", good until expiry.
func (s *Service) SAS(ctx context.Context, account, container, name, permissions string, expiry time.Time) (string, error) {
	panic("unbuilt")
}

// Put writes a whole block blob from r; readers see the old one or the new one.
func (s *Service) Put(ctx context.Context, account, container, name, contentType string, r io.Reader) (Properties, error) {
	panic("unbuilt")
}

// Append adds r's bytes to an append blob, made if absent.
func (s *Service) Append(ctx context.Context, account, container, name string, r io.Reader) (Properties, error) {
	panic("unbuilt")
}

// Open reads a blob; store.ErrNotFound if it is not there.
func (s *Service) Open(ctx context.Context, account, container, name string) (io.ReadSeekCloser, Properties, error) {
	panic("unbuilt")
}

// List returns up to limit blobs whose name starts with prefix, after the name after, and the name to go on after ("" at the end).
func (s *Service) List(ctx context.Context, account, container, prefix, after string, limit int) ([]Properties, string, error) {
	panic("unbuilt")
}

// Delete removes a blob; store.ErrNotFound if it is not there.
func (s *Service) Delete(ctx context.Context, account, container, name string) error {
	panic("unbuilt")
}
