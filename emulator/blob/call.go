package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"lazulite.dev/emulator/store"
)

// service tells the Blob from the File service.
type service struct {
	name   string // as in a SAS's resource: blob, file
	letter string // as in a SAS's ss
	kind   string // keys of its containers
	server string
}

var (
	blobService = service{name: "blob", letter: "b", kind: containerKeys, server: "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"}
	fileService = service{name: "file", letter: "f", kind: shareKeys, server: "Windows-Azure-File/1.0 Microsoft-HTTPAPI/2.0"}
)

// call is one request on its way through the service.
type call struct {
	s       *Service
	svc     service
	w       http.ResponseWriter
	r       *http.Request
	q       url.Values
	id      string
	version string
	account *account
	// base is the URL of the account as the client wrote it, with a slash at the end.
	base      string
	container string
	blob      string
	grant     grant
}

// drainLimit is how much of a refused body is read, so that a client that is
// still sending gets to see the refusal.
const drainLimit = 64 << 20

func (s *Service) serve(w http.ResponseWriter, r *http.Request, svc service) {
	c := &call{s: s, svc: svc, w: w, r: r, id: requestID(), version: defaultVersion}
	h := w.Header()
	h.Set("Server", svc.server)
	h.Set("x-ms-request-id", c.id)
	h.Set("Date", httpTime(s.cfg.Clock.Now()))
	if id := r.Header.Get("x-ms-client-request-id"); id != "" && len(id) <= 1024 {
		h.Set("x-ms-client-request-id", id)
	}
	err := s.enter()
	if err == nil {
		err = c.run()
		s.leave()
	}
	if err == nil {
		return
	}
	var e *Error
	switch {
	case errors.As(err, &e):
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client is gone
	case errors.Is(err, errSent):
		s.cfg.Logger.Warn("blob: answer cut off", "method", r.Method, "path", r.URL.Path, "request", c.id, "err", err)
		panic(http.ErrAbortHandler)
	case errors.Is(err, io.ErrUnexpectedEOF):
		e = fail("IncompleteBody")
	default:
		s.cfg.Logger.Error("blob: request failed", "method", r.Method, "path", r.URL.Path, "request", c.id, "err", err)
		e = fail("InternalError")
	}
	h.Set("x-ms-version", c.version)
	_, _ = io.CopyN(io.Discard, r.Body, drainLimit) // a client that is gone needs no answer either
	writeError(w, r, e, c.id, s.cfg.Clock.Now())
}

// errSent wraps a failure after the status went out.
var errSent = errors.New("blob: the answer had begun")

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (c *call) run() error {
	if err := c.locate(); err != nil {
		return err
	}
	c.w.Header().Set("x-ms-version", c.version)
	op, err := c.route()
	if err != nil {
		return err
	}
	if err := c.authorize(op); err != nil {
		return err
	}
	return op.do(c)
}

// locate parses the URL and the version, and finds the account.
func (c *call) locate() error {
	var err error
	if c.q, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return fail("RequestUrlFailedToParse")
	}
	if c.version, err = requestVersion(c.r.Header.Get("x-ms-version"), c.q); err != nil {
		return err
	}
	var account, rest string
	account, c.base, rest = split(c.r.Host, c.r.URL.Path)
	scheme := "http://"
	if c.secure() {
		scheme = "https://"
	}
	c.base = scheme + c.base
	if c.account, err = c.s.account(c.ctx(), account); err != nil {
		return err
	}
	if !utf8.ValidString(rest) {
		return fail("InvalidUri")
	}
	c.container, c.blob, _ = strings.Cut(rest, "/")
	switch {
	case c.container == "":
		if c.blob != "" {
			return fail("InvalidUri")
		}
		return nil
	case c.blob == "" && c.svc == blobService && !c.q.Has("restype") && !c.q.Has("comp"):
		// A blob at the account's root is in $root.
		c.container, c.blob = "$root", c.container
	}
	if err := checkContainerName(c.container); err != nil {
		return err
	}
	if c.blob == "" {
		return nil
	}
	if c.svc == fileService {
		c.blob = strings.TrimRight(c.blob, "/")
		return checkFilePath(c.blob)
	}
	return checkBlobName(c.blob)
}

// split finds the account: the host's first label, or the path's first
// segment where the host is an address or localhost. base has no scheme.
func split(host, path string) (account, base, rest string) {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	path = strings.TrimPrefix(path, "/")
	if strings.EqualFold(name, "localhost") || net.ParseIP(strings.Trim(name, "[]")) != nil {
		account, rest, _ = strings.Cut(path, "/")
		return account, host + "/" + account + "/", rest
	}
	account, _, _ = strings.Cut(strings.ToLower(name), ".")
	return account, host + "/", path
}

func (c *call) ctx() context.Context { return c.r.Context() }

// secure reports whether the client spoke TLS, to us or to the front before us.
func (c *call) secure() bool { return c.r.TLS != nil || c.r.URL.Scheme == "https" }

func (c *call) header(name string) string { return c.r.Header.Get(name) }

// home finds the container of the request.
func (c *call) home() (*container, error) {
	return c.s.container(c.ctx(), c.account, c.svc.kind, c.container)
}

// ok ends a call without a body.
func (c *call) ok(status int) error {
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(status)
	return nil
}

// xml ends a call with a document.
func (c *call) xml(status int, body string) error {
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	body = "\ufeff" + `<?xml version="1.0" encoding="utf-8"?>` + body
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.WriteString(c.w, body); err != nil {
		return fmt.Errorf("%w: %w", errSent, err)
	}
	return nil
}

// stamp sets ETag and Last-Modified.
func (c *call) stamp(b *state) {
	c.w.Header().Set("ETag", b.etag())
	c.w.Header().Set("Last-Modified", httpTime(b.Modified))
}

// length is the request's Content-Length, which writes must have, within a limit.
func (c *call) length(limits []limit) (int64, error) {
	n := c.r.ContentLength
	switch most := limitOf(limits, c.version); {
	case n < 0:
		return 0, fail("MissingContentLengthHeader")
	case n > most:
		return 0, fail("RequestBodyTooLarge").with("MaxLimit", strconv.FormatInt(most, 10))
	}
	return n, nil
}

// number reads an integer query parameter within bounds; absent gives def.
func (c *call) number(name string, def, low, high int) (int, error) {
	v := c.q.Get(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, badQuery(name, v, "The value is not a number.")
	}
	if n < low {
		return 0, fail("OutOfRangeQueryParameterValue").with("QueryParameterName", name).with("QueryParameterValue", v).
			with("MinimumAllowed", strconv.Itoa(low)).with("MaximumAllowed", strconv.Itoa(high))
	}
	return min(n, high), nil
}

// isAbsent is for exists-like checks.
func isAbsent(err error) bool { return errors.Is(err, store.ErrNotFound) }
