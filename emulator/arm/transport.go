package arm

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Transport serves any request with the engine, whatever its host, without a
// socket: an http.Client on it takes the wire's way through every check.
func (e *Engine) Transport() http.RoundTripper { return roundTripper{e, false} }

type roundTripper struct {
	e       *Engine
	trusted bool
}

// RoundTrip implements http.RoundTripper.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	rec := &recorder{header: http.Header{}}
	t.e.serve(rec, in, t.trusted)
	// A client that is gone gets no answer, as over a socket.
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	length := int64(rec.body.Len())
	if n, err := strconv.ParseInt(rec.header.Get("Content-Length"), 10, 64); err == nil && req.Method == http.MethodHead {
		length = n
	}
	return &http.Response{Status: rec.line(), StatusCode: rec.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rec.header, Body: io.NopCloser(&rec.body), ContentLength: length, Request: req}, nil
}

type recorder struct {
	header http.Header
	status int
	phrase string
	body   bytes.Buffer
}

func (r *recorder) line() string {
	if r.phrase == "" {
		return fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
	}
	return fmt.Sprintf("%d %s", r.status, r.phrase)
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}
