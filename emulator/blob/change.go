package blob

import (
	"net/http"
	"strings"
)

// setBlobMetadata is Set Blob Metadata: all of it is replaced.
func (c *call) setBlobMetadata() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	b, err := c.s.update(c.ctx(), home, c.blob, false, cond.change, func(d *document) { d.Meta = meta })
	if err != nil {
		return err
	}
	c.stamp(b)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusOK)
}

// setBlobProperties is Set Blob Properties: if any of the x-ms-blob-content-
// headers is given, those that are absent are cleared.
func (c *call) setBlobProperties() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	for _, name := range []string{"x-ms-blob-content-length", "x-ms-sequence-number-action", "x-ms-blob-sequence-number"} {
		if c.header(name) != "" {
			return fail("UnsupportedHeader").with("HeaderName", name)
		}
	}
	h, err := c.blobHeaders(false)
	if err != nil {
		return err
	}
	given := false
	for name := range c.r.Header {
		name = strings.ToLower(name)
		given = given || strings.HasPrefix(name, "x-ms-blob-content-") || name == "x-ms-blob-cache-control"
	}
	b, err := c.s.update(c.ctx(), home, c.blob, false, cond.change, func(d *document) {
		if given {
			d.Headers = h
		}
	})
	if err != nil {
		return err
	}
	c.stamp(b)
	return c.ok(http.StatusOK)
}

// setTier is Set Blob Tier for the tiers from which a blob can be read.
func (c *call) setTier() error {
	home, _, err := c.writable()
	if err != nil {
		return err
	}
	tier := c.header("x-ms-access-tier")
	switch {
	case tier == "":
		return missingHeader("x-ms-access-tier")
	case tier == "Archive":
		return fail("NotImplemented")
	case !tiers[tier]:
		return badHeader("x-ms-access-tier", tier)
	}
	ok := func(b *state) error {
		if b.Kind != blockBlob {
			return fail("InvalidBlobType")
		}
		return nil
	}
	_, err = c.s.update(c.ctx(), home, c.blob, true, ok, func(d *document) {
		d.Tier, d.TierTime = tier, c.s.cfg.Clock.Now()
	})
	if err != nil {
		return err
	}
	return c.ok(http.StatusOK)
}

// deleteBlob is Delete Blob. No blob has snapshots, so that "include" deletes the blob and "only" nothing.
func (c *call) deleteBlob() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	if c.q.Has("snapshot") || c.q.Has("versionid") {
		return fail("BlobNotFound")
	}
	switch v := strings.ToLower(c.header("x-ms-delete-snapshots")); v {
	case "", "include":
		err = c.s.remove(c.ctx(), home, c.blob, cond.change)
	case "only":
		_, err = c.s.look(c.ctx(), home, c.blob)
	default:
		return badHeader("x-ms-delete-snapshots", v)
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("x-ms-delete-type-permanent", "true")
	return c.ok(http.StatusAccepted)
}
