// Package blob is the data plane of Azure storage that machine learning
// clients need: containers, block and append blobs, ranges and lists, and the
// part of the File service that datastores use, with shared keys and shared
// access signatures checked as Azure checks them.
//
// Jobs reach storage as files too: a file share is a directory (Share), and a
// container is mounted as a synchronised one (Mount).
//
// Contents are files, streamed both ways; documents are in the store. Data
// comes first and its document second, so that an acknowledged write is whole
// after kill -9, and what no document names is swept at the next start.
//
// Refusals carry the real service's status, code and words. Snapshots,
// leases, page blobs, tags, versions and user delegation are not here; they
// are refused as not implemented and never ignored.
package blob

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/store"
)

// Config of a Service.
type Config struct {
	Store *store.Store
	// Clock is the real one if nil.
	Clock clock.Clock
	// Dir holds the contents, a folder for each container and in it a file
	// for each blob or block.
	Dir    string
	Logger *slog.Logger
	// Verify checks a bearer token; a nil one refuses every token. A token
	// that it accepts may do everything.
	Verify func(ctx context.Context, token string) error
	// Suffix ends the hosts that URLs name; empty means core.windows.net.
	Suffix string
	// DateSkew is how far from the Clock a signed request's date may be; zero
	// means the service's 15 minutes, a negative one any distance (a Clock
	// that runs faster than the clients' own needs that).
	DateSkew time.Duration
}

// Service is every storage account of the emulator. It serves {account}.blob.core.windows.net.
type Service struct {
	cfg   Config
	files *contents

	dirMu      sync.RWMutex
	accounts   map[string]*account
	containers map[string]*container

	// locks are striped by blob: readers of a document hold theirs shared,
	// writers exclusively; neither while bytes come or go over the network.
	locks   [256]sync.RWMutex
	open    *openAppends
	mountMu sync.Mutex
	mounts  map[string]*mirror // by the container's id
	// buffers are for copying bodies.
	buffers *sync.Pool

	background context.Context
	stop       context.CancelFunc
	reap       chan struct{}
	reaped     chan struct{}
	deadMu     sync.Mutex
	dead       []string

	useMu  sync.Mutex
	using  int
	closed bool
	idle   chan struct{}
}

// Properties of one blob.
type Properties struct {
	Name        string
	Size        int64
	ContentType string
	// ETag is quoted, as in the header.
	ETag         string
	LastModified time.Time
	Append       bool
}

// New opens the service and removes what an earlier process left half-written; that goes on in the background.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil {
		return nil, fmt.Errorf("blob: Config.Store is nil")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Suffix == "" {
		cfg.Suffix = "core.windows.net"
	}
	if cfg.DateSkew == 0 {
		cfg.DateSkew = 15 * time.Minute
	}
	files, err := openContents(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg:        cfg,
		files:      files,
		accounts:   map[string]*account{},
		containers: map[string]*container{},
		mounts:     map[string]*mirror{},
		open:       newOpenAppends(),
		buffers:    newBufferPool(),
		reap:       make(chan struct{}, 1),
		reaped:     make(chan struct{}),
		idle:       make(chan struct{}),
	}
	s.background, s.stop = context.WithCancel(context.Background())
	go s.reaper()
	return s, nil
}

// Close refuses new calls and waits for those under way, or for ctx. An
// upload that ctx cuts off was not acknowledged.
func (s *Service) Close(ctx context.Context) error {
	s.useMu.Lock()
	if !s.closed {
		s.closed = true
		if s.using == 0 {
			close(s.idle)
		}
	}
	s.useMu.Unlock()
	s.stop()
	var err error
	select {
	case <-s.idle:
	case <-ctx.Done():
		err = fmt.Errorf("blob: close: %w", ctx.Err())
	}
	<-s.reaped
	s.closeMounts()
	s.open.closeAll()
	return err
}

// enter counts a call in, for Close to wait for; the call ends with leave.
func (s *Service) enter() error {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	if s.closed {
		return fail("ServerBusy")
	}
	s.using++
	return nil
}

func (s *Service) leave() {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	if s.using--; s.using == 0 && s.closed {
		close(s.idle)
	}
}

// ServeHTTP answers for {account}.blob.core.windows.net; the account is the
// Host's first label, or the path's first segment where Host is an address or localhost.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, blobService)
}

// FileHandler answers for {account}.file.core.windows.net.
func (s *Service) FileHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, fileService) })
}

// EnsureContainer makes the container if it is not there.
func (s *Service) EnsureContainer(ctx context.Context, account, container string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	a, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	_, _, err = s.makeContainer(ctx, a, containerKeys, container, nil)
	return err
}

// EnsureShare makes the file share if it is not there.
func (s *Service) EnsureShare(ctx context.Context, account, share string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	a, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	_, _, err = s.makeContainer(ctx, a, shareKeys, share, nil)
	return err
}

// in enters the service and finds a container and a valid name in it.
func (s *Service) in(ctx context.Context, account, name, blob string) (*container, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	c, err := s.find(ctx, account, name, blob)
	if err != nil {
		s.leave()
		return nil, err
	}
	return c, nil
}

func (s *Service) find(ctx context.Context, account, name, blob string) (*container, error) {
	a, err := s.account(ctx, account)
	if err != nil {
		return nil, err
	}
	if err := checkBlobName(blob); err != nil {
		return nil, err
	}
	return s.container(ctx, a, containerKeys, name)
}

// Put writes a whole block blob from r; readers see the old one or the new one.
func (s *Service) Put(ctx context.Context, account, container, name, contentType string, r io.Reader) (Properties, error) {
	c, err := s.in(ctx, account, container, name)
	if err != nil {
		return Properties{}, err
	}
	defer s.leave()
	got, err := s.receive(c.ID, r, sums{md5: true})
	if err != nil {
		return Properties{}, err
	}
	if contentType == "" {
		contentType = octets
	}
	b, err := s.replace(ctx, c, name, document{
		Kind: blockBlob, File: got.file, Size: got.size, Headers: headers{Type: contentType, MD5: got.md5},
	}, nil, anyState)
	if err != nil {
		return Properties{}, err
	}
	return b.properties(name), nil
}

// Append adds all of r's bytes to an append blob, made if absent, or none of
// them. An empty r only makes the blob.
func (s *Service) Append(ctx context.Context, account, container, name string, r io.Reader) (Properties, error) {
	c, err := s.in(ctx, account, container, name)
	if err != nil {
		return Properties{}, err
	}
	defer s.leave()
	body, err := s.spool(c.ID, r, sums{})
	if err != nil {
		return Properties{}, err
	}
	defer body.drop()
	b, err := s.append(ctx, c, name, body, appendRules{make: true})
	if err != nil {
		return Properties{}, err
	}
	return b.properties(name), nil
}

// Open reads a blob as it is at the call, whatever is written later; store.ErrNotFound if it is not there.
func (s *Service) Open(ctx context.Context, account, container, name string) (io.ReadSeekCloser, Properties, error) {
	c, err := s.in(ctx, account, container, name)
	if err != nil {
		return nil, Properties{}, err
	}
	defer s.leave()
	b, rd, err := s.openBlob(ctx, c, name, nil)
	if err != nil {
		return nil, Properties{}, err
	}
	return rd, b.properties(name), nil
}

// List returns up to limit blobs (all for 0) whose name starts with prefix, after the name after, and the name to go on after ("" at the end).
func (s *Service) List(ctx context.Context, account, container, prefix, after string, limit int) ([]Properties, string, error) {
	if err := s.enter(); err != nil {
		return nil, "", err
	}
	defer s.leave()
	a, err := s.account(ctx, account)
	if err != nil {
		return nil, "", err
	}
	c, err := s.container(ctx, a, containerKeys, container)
	if err != nil {
		return nil, "", err
	}
	entries, next, err := s.list(ctx, c, listing{prefix: prefix, after: after, limit: limit})
	if err != nil {
		return nil, "", err
	}
	var out []Properties
	for _, e := range entries {
		out = append(out, e.blob.properties(e.name))
	}
	return out, next, nil
}

// Delete removes a blob; store.ErrNotFound if it is not there.
func (s *Service) Delete(ctx context.Context, account, container, name string) error {
	c, err := s.in(ctx, account, container, name)
	if err != nil {
		return err
	}
	defer s.leave()
	return s.remove(ctx, c, name, anyState)
}
