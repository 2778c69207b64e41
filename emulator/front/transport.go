package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
)

// Transport returns a RoundTripper that reaches the Hosts in process, with no
// socket: bodies are streamed both ways. It does not hijack, and a host that
// the table does not have is an error.
func (f *Front) Transport() http.RoundTripper { return transport{f} }

// Reach is Transport for the hosts that are served here, and the network, by
// way of Upstream, for all others; those are an error if Offline.
func (f *Front) Reach() http.RoundTripper { return reach{f} }

type reach struct{ f *Front }

// RoundTrip implements http.RoundTripper.
func (t reach) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL != nil {
		name, port := hostPort(r.URL.Host, "443")
		if _, ok := t.f.proxied(name, port); !ok && r.URL.Host != "" {
			if t.f.cfg.Offline {
				return nil, errors.New(offline(name))
			}
			return t.f.proxy.Tr.RoundTrip(r)
		}
	}
	return transport(t).RoundTrip(r)
}

type transport struct{ f *Front }

// RoundTrip implements http.RoundTripper. It returns when the handler writes its first byte, or returns.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	refuse := func(err error) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	if r.URL == nil || r.URL.Host == "" {
		return refuse(errors.New("front: the request has no host"))
	}
	name, _ := hostPort(r.URL.Host, "")
	h, ok := t.f.find(name)
	if !ok {
		return refuse(fmt.Errorf("front: no host %q in this process", name))
	}
	if err := r.Context().Err(); err != nil {
		return refuse(err)
	}
	if h.Dial != nil {
		return t.f.behind.RoundTrip(r)
	}
	handler := h.Handler
	if handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { notEmulated(w, name) })
	} else if !h.answers(r.URL.Path) {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.f.onward(w, r, name) })
	}
	ctx, cancel := context.WithCancel(r.Context())
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, pipe: pw, request: r, started: make(chan struct{}), body: &pipeBody{PipeReader: pr, cancel: cancel}}
	go w.run(handler, served(ctx, r), cancel)
	select {
	case <-w.started:
		if w.err != nil {
			cancel()
			return nil, w.err
		}
		return w.response, nil
	case <-r.Context().Done():
		// The handler's context has ended with it; what it still writes goes nowhere.
		_ = pr.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
}

// served is the request as a server would have parsed it.
func served(ctx context.Context, r *http.Request) *http.Request {
	in := r.Clone(ctx)
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	in.RequestURI = r.URL.RequestURI()
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	in.URL.Scheme, in.URL.Host, in.URL.User = "", "", nil
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = "in-process"
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

// pipeWriter turns what a handler writes into a response.
type pipeWriter struct {
	header  http.Header
	pipe    *io.PipeWriter
	body    *pipeBody
	request *http.Request

	once     sync.Once
	started  chan struct{}
	response *http.Response
	err      error
	noBody   bool // the handler's alone: response belongs to the client
}

func (w *pipeWriter) run(h http.Handler, r *http.Request, cancel context.CancelFunc) {
	defer func() {
		_ = r.Body.Close()
		p := recover()
		if p == nil {
			w.finish()
			_ = w.pipe.Close()
			cancel()
			return
		}
		err := errors.New("front: the handler aborted the request")
		if p != http.ErrAbortHandler {
			err = fmt.Errorf("front: the handler panicked: %v\n%s", p, debug.Stack())
		}
		w.once.Do(func() {
			w.err = err
			close(w.started)
		})
		_ = w.pipe.CloseWithError(err)
		cancel()
	}()
	h.ServeHTTP(w, r)
}

// Header implements http.ResponseWriter.
func (w *pipeWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *pipeWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.once.Do(func() { w.start(status) })
}

func (w *pipeWriter) start(status int) {
	h := w.header.Clone()
	length := int64(-1)
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	w.response = &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: w.body, ContentLength: length, Request: w.request,
	}
	if w.noBody = w.bodyless(status); w.noBody {
		w.response.Body = http.NoBody
		if w.request.Method != http.MethodHead {
			w.response.ContentLength = 0
		}
	}
	close(w.started)
}

func (w *pipeWriter) bodyless(status int) bool {
	return w.request.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.noBody {
		if w.request.Method == http.MethodHead {
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	}
	return w.pipe.Write(p)
}

// finish sends the header of an answer that has no body.
func (w *pipeWriter) finish() {
	w.once.Do(func() {
		if w.request.Method != http.MethodHead {
			w.header.Set("Content-Length", "0")
		}
		w.start(http.StatusOK)
	})
}

// Flush implements http.Flusher: nothing is held back but the header.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

// pipeBody ends the handler's context when its reader goes away.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
