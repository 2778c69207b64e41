package blob

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// span is the part of a blob that a request wants.
type span struct {
	from, n int64
	partial bool
}

// parseRange reads x-ms-range or Range. A header that the service does not
// understand, such as a suffix or several ranges, asks for the whole blob.
func parseRange(h http.Header, size int64) (span, error) {
	all := span{n: size}
	v := h.Get("x-ms-range")
	if v == "" {
		v = h.Get("Range")
	}
	v, ok := strings.CutPrefix(strings.TrimSpace(v), "bytes=")
	if !ok {
		return all, nil
	}
	first, last, ok := strings.Cut(v, "-")
	from, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if !ok || err != nil || from < 0 {
		return all, nil
	}
	to := size - 1
	if last = strings.TrimSpace(last); last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil || to < from {
			return all, nil
		}
		to = min(to, size-1)
	}
	if from >= size {
		return span{}, fail("InvalidRange").set("Content-Range", fmt.Sprintf("bytes */%d", size))
	}
	return span{from: from, n: to - from + 1, partial: true}, nil
}

// readable finds the container and the conditions of a read.
func (c *call) readable() (*container, conditions, error) {
	if c.q.Has("snapshot") || c.q.Has("versionid") {
		return nil, conditions{}, fail("BlobNotFound")
	}
	home, err := c.home()
	if err != nil {
		return nil, conditions{}, err
	}
	if v := c.header("x-ms-structured-body"); v != "" {
		return nil, conditions{}, fail("UnsupportedHeader").with("HeaderName", "x-ms-structured-body")
	}
	cond, err := c.conditions()
	return home, cond, err
}

// getBlob is Get Blob and Get Blob Properties.
func (c *call) getBlob() error {
	home, cond, err := c.readable()
	if err != nil {
		return err
	}
	read := func(b *state) error { return c.notModified(cond, b) }
	if c.r.Method == http.MethodHead {
		b, err := c.s.look(c.ctx(), home, c.blob)
		if err != nil {
			return err
		}
		if err := read(b); err != nil {
			return err
		}
		c.showBlob(b, false)
		c.w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	b, rd, err := c.s.openBlob(c.ctx(), home, c.blob, read)
	if err != nil {
		return err
	}
	defer func() { _ = rd.Close() }()
	want, err := parseRange(c.r.Header, b.Size)
	if err != nil {
		return err
	}
	c.showBlob(b, want.partial)
	return c.send(rd, want, b.Size, "x-ms-range-get-content-md5")
}

// notModified is cond.read, with the headers that a 304 must have.
func (c *call) notModified(cond conditions, b *state) error {
	err := cond.read(b.etag(), b.Modified)
	if e, ok := err.(*Error); ok && e.Status == http.StatusNotModified {
		return e.set("ETag", b.etag()).set("Last-Modified", httpTime(b.Modified))
	}
	return err
}

// content is what a download reads from.
type content interface {
	io.Seeker
	copyTo(w io.Writer, n int64) error
}

// send answers with a span of what rd reads; wantSum is the header that asks for its MD5.
func (c *call) send(rd content, want span, size int64, wantSum string) error {
	h := c.w.Header()
	if strings.EqualFold(c.header(wantSum), "true") {
		switch {
		case !want.partial:
			return missingHeader("Range")
		case want.n > 4*mib:
			return fail("OutOfRangeInput")
		}
		sum := md5.New()
		if _, err := rd.Seek(want.from, io.SeekStart); err != nil {
			return err
		}
		if err := rd.copyTo(sum, want.n); err != nil {
			return err
		}
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	}
	status := http.StatusOK
	if want.partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", want.from, want.from+want.n-1, size))
	}
	h.Set("Content-Length", strconv.FormatInt(want.n, 10))
	if _, err := rd.Seek(want.from, io.SeekStart); err != nil {
		return err
	}
	c.w.WriteHeader(status)
	if err := rd.copyTo(c.w, want.n); err != nil {
		return fmt.Errorf("%w: %w", errSent, err)
	}
	return nil
}

// blobMetadata is Get Blob Metadata.
func (c *call) blobMetadata() error {
	home, cond, err := c.readable()
	if err != nil {
		return err
	}
	b, err := c.s.look(c.ctx(), home, c.blob)
	if err != nil {
		return err
	}
	if err := c.notModified(cond, b); err != nil {
		return err
	}
	c.stamp(b)
	showMetadata(c.w.Header(), b.Meta)
	return c.ok(http.StatusOK)
}
