package blob

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"

	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
)

const metaPrefix = "x-ms-meta-"

// metaName is a C# identifier, as the service wants of metadata names.
var metaName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\pL_][\pL\p{Nd}_]*$`) })

// parseMetadata reads the x-ms-meta- headers. Names are lower-cased: HTTP does not tell their case.
func parseMetadata(h http.Header) (map[string]string, error) {
	var out map[string]string
	size := 0
	for name, values := range h {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, metaPrefix) {
			continue
		}
		name = strings.TrimPrefix(name, metaPrefix)
		value := strings.Join(values, ",")
		switch {
		case name == "":
			return nil, fail("EmptyMetadataKey")
		case !metaName().MatchString(name):
			return nil, fail("InvalidMetadata").with("MetadataName", name)
		}
		if size += len(name) + len(value); size > 8<<10 {
			return nil, fail("MetadataTooLarge")
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

func showMetadata(h http.Header, meta map[string]string) {
	for name, value := range meta {
		h[metaPrefix+name] = []string{value}
	}
}

// metadataElement writes <Metadata> with one element for each name.
func metadataElement(b *strings.Builder, meta map[string]string) {
	names := make([]string, 0, len(meta))
	for name := range meta {
		names = append(names, name)
	}
	sort.Strings(names)
	b.WriteString("<Metadata>")
	for _, name := range names {
		element(b, name, meta[name])
	}
	b.WriteString("</Metadata>")
}

// blobHeaders reads the x-ms-blob-content- headers; plain says that the
// request's own entity headers stand in for those that are absent, as in Put Blob.
func (c *call) blobHeaders(plain bool) (headers, error) {
	get := func(name, standard string) string {
		if v := c.header("x-ms-blob-" + name); v != "" || !plain {
			return v
		}
		return c.header(standard)
	}
	h := headers{
		Type:        get("content-type", "Content-Type"),
		Encoding:    get("content-encoding", "Content-Encoding"),
		Language:    get("content-language", "Content-Language"),
		Cache:       get("cache-control", "Cache-Control"),
		Disposition: c.header("x-ms-blob-content-disposition"),
	}
	sum, err := c.digest("x-ms-blob-content-md5", md5.Size)
	h.MD5 = sum
	return h, err
}

// digest reads a base64 checksum of n bytes; nil if the header is absent.
func (c *call) digest(name string, n int) ([]byte, error) {
	v := c.header(name)
	if v == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(v)
	switch {
	case err == nil && len(b) == n:
		return b, nil
	case n == md5.Size:
		return nil, fail("InvalidMd5").with("HeaderName", name).with("HeaderValue", v)
	}
	return nil, badHeader(name, v)
}

// show sets the response's entity headers; a SAS may override them.
func (c *call) show(h headers, ranged bool) {
	out := c.w.Header()
	values := map[string]string{
		"Content-Type": h.Type, "Content-Encoding": h.Encoding, "Content-Language": h.Language,
		"Cache-Control": h.Cache, "Content-Disposition": h.Disposition,
	}
	for name, v := range c.grant.override {
		values[name] = v
	}
	for name, v := range values {
		if v != "" {
			out.Set(name, v)
		}
	}
	if values["Content-Type"] == "" {
		out.Set("Content-Type", octets)
	}
	if len(h.MD5) == 0 {
		return
	}
	if sum := base64.StdEncoding.EncodeToString(h.MD5); ranged {
		out.Set("x-ms-blob-content-md5", sum)
	} else {
		out.Set("Content-MD5", sum)
	}
}

// showBlob sets all that Get Blob and Get Blob Properties tell of a blob.
func (c *call) showBlob(b *state, ranged bool) {
	h := c.w.Header()
	c.stamp(b)
	c.show(b.Headers, ranged)
	showMetadata(h, b.Meta)
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-blob-type", b.Kind)
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
	h.Set("x-ms-server-encrypted", "true")
	h.Set("x-ms-creation-time", httpTime(b.Created))
	switch {
	case b.Kind == appendBlob:
		h.Set("x-ms-blob-committed-block-count", strconv.FormatUint(b.count, 10))
	case c.r.Method == http.MethodHead && b.Tier == "":
		h.Set("x-ms-access-tier", "Hot")
		h.Set("x-ms-access-tier-inferred", "true")
	case c.r.Method == http.MethodHead:
		h.Set("x-ms-access-tier", b.Tier)
		h.Set("x-ms-access-tier-change-time", httpTime(b.TierTime))
	}
	if k := b.Copy; k != nil {
		h.Set("x-ms-copy-id", k.ID)
		h.Set("x-ms-copy-source", k.Source)
		h.Set("x-ms-copy-status", "success")
		h.Set("x-ms-copy-completion-time", httpTime(k.Done))
		size := strconv.FormatInt(b.Size, 10)
		h.Set("x-ms-copy-progress", size+"/"+size)
	}
}

// transfer is what a request says about the integrity of its body.
type transfer struct {
	md5, crc []byte
}

func (c *call) transfer() (transfer, error) {
	for _, name := range []string{"x-ms-structured-body", "x-ms-encryption-key", "x-ms-encryption-scope"} {
		if v := c.header(name); v != "" {
			return transfer{}, fail("UnsupportedHeader").with("HeaderName", name)
		}
	}
	var t transfer
	var err error
	if t.md5, err = c.digest("Content-MD5", md5.Size); err != nil {
		return t, err
	}
	if t.crc, err = c.digest("x-ms-content-crc64", 8); err != nil {
		return t, err
	}
	if t.md5 != nil && t.crc != nil {
		return t, fail("BothCrc64AndMd5HeaderPresent")
	}
	return t, nil
}

// sums are the checksums to compute: those to check, and the one that the version answers with.
func (t transfer) sums(version string) sums {
	modern := version >= "2019-02-02"
	return sums{md5: t.md5 != nil || !modern, crc: t.crc != nil || modern && t.md5 == nil}
}

func (t transfer) verify(got received) error {
	if t.md5 != nil && !bytes.Equal(t.md5, got.md5) {
		return mismatch(t.md5, got.md5)
	}
	if t.crc != nil && !bytes.Equal(t.crc, got.crc) {
		return fail("Crc64Mismatch").with("UserSpecifiedCrc", base64.StdEncoding.EncodeToString(t.crc)).
			with("ServerCalculatedCrc", base64.StdEncoding.EncodeToString(got.crc))
	}
	return nil
}

func mismatch(sent, got []byte) *Error {
	return fail("Md5Mismatch").with("UserSpecifiedMd5", base64.StdEncoding.EncodeToString(sent)).
		with("ServerCalculatedMd5", base64.StdEncoding.EncodeToString(got))
}

// echo sets the checksums of the answer to an upload.
func (c *call) echo(t transfer, got received) {
	h := c.w.Header()
	h.Set("x-ms-request-server-encrypted", "true")
	if got.md5 != nil && (c.version < "2019-02-02" || t.md5 != nil) {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(got.md5))
	}
	if got.crc != nil && c.version >= "2019-02-02" {
		h.Set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(got.crc))
	}
}
