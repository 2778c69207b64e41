package blob

import (
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxFile is the largest file of a share.
const maxFile = 4 << 40

func fileTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// showNode sets what all answers about a node have.
func (c *call) showNode(k *container, path string, n *node) {
	h := c.w.Header()
	h.Set("ETag", n.etag)
	h.Set("Last-Modified", httpTime(n.Modified))
	h.Set("x-ms-server-encrypted", "true")
	if c.version < "2019-02-02" {
		return
	}
	h.Set("x-ms-file-attributes", map[string]string{fileNode: "Archive", directoryNode: "Directory"}[n.Kind])
	h.Set("x-ms-file-creation-time", fileTime(n.Created))
	h.Set("x-ms-file-last-write-time", fileTime(n.Written))
	h.Set("x-ms-file-change-time", fileTime(n.Modified))
	h.Set("x-ms-file-permission-key", "0*0")
	h.Set("x-ms-file-id", nodeID(k, path))
	parent := ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent = path[:i]
	}
	h.Set("x-ms-file-parent-id", nodeID(k, parent))
}

// fileHeaders reads the x-ms-content- headers.
func (c *call) fileHeaders() (headers, error) {
	h := headers{
		Type: c.header("x-ms-content-type"), Encoding: c.header("x-ms-content-encoding"), Language: c.header("x-ms-content-language"),
		Cache: c.header("x-ms-cache-control"), Disposition: c.header("x-ms-content-disposition"),
	}
	var err error
	h.MD5, err = c.digest("x-ms-content-md5", md5.Size)
	return h, err
}

// fileLength reads x-ms-content-length.
func (c *call) fileLength() (int64, bool, error) {
	v := c.header("x-ms-content-length")
	if v == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, false, badHeader("x-ms-content-length", v)
	}
	if n > maxFile {
		return 0, false, fail("OutOfRangeInput")
	}
	return n, true, nil
}

// createDirectory is Create Directory.
func (c *call) createDirectory() error {
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	n, err := c.s.makeNode(c.ctx(), k, c.blob, directoryNode, 0, note{Meta: meta}, false)
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusCreated)
}

// createFile is Create File: a file of zeros.
func (c *call) createFile() error {
	if v := c.header("x-ms-type"); !strings.EqualFold(v, "file") {
		if v == "" {
			return missingHeader("x-ms-type")
		}
		return badHeader("x-ms-type", v)
	}
	size, given, err := c.fileLength()
	if err != nil {
		return err
	}
	if !given {
		return missingHeader("x-ms-content-length")
	}
	if c.r.ContentLength != 0 {
		return badHeader("Content-Length", strconv.FormatInt(c.r.ContentLength, 10))
	}
	h, err := c.fileHeaders()
	if err != nil {
		return err
	}
	if h.Type == "" {
		h.Type = octets
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	n, err := c.s.makeNode(c.ctx(), k, c.blob, fileNode, size, note{Headers: h, Meta: meta}, c.grant.may("w"))
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusCreated)
}

// directoryProperties is Get Directory Properties and Metadata; a share's root is one.
func (c *call) directoryProperties() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	n := &node{Kind: directoryNode, Created: k.Modified, Modified: k.Modified, Written: k.Modified, etag: k.etag()}
	if c.blob != "" {
		if n, err = c.s.lookNode(c.ctx(), k, c.blob, directoryNode); err != nil {
			return err
		}
	}
	c.showNode(k, c.blob, n)
	showMetadata(c.w.Header(), n.Meta)
	return c.ok(http.StatusOK)
}

// setNodeMetadata is Set Directory Metadata and Set File Metadata.
func (c *call) setNodeMetadata() error {
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	n, err := c.s.changeNode(c.ctx(), k, c.blob, c.nodeKind(), false, func(n *node, _ *os.File) error {
		n.Meta = meta
		return nil
	})
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusOK)
}

func (c *call) nodeKind() string {
	if strings.EqualFold(c.q.Get("restype"), "directory") {
		return directoryNode
	}
	return fileNode
}

// deleteNode is Delete Directory and Delete File.
func (c *call) deleteNode() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	if err := c.s.removeNode(c.ctx(), k, c.blob, c.nodeKind()); err != nil {
		return err
	}
	return c.ok(http.StatusAccepted)
}

// getFile is Get File and Get File Properties.
func (c *call) getFile() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	n, rd, err := c.s.openNode(c.ctx(), k, c.blob)
	if err != nil {
		return err
	}
	defer func() { _ = rd.Close() }()
	h := c.w.Header()
	want := span{n: n.Size}
	if c.r.Method != http.MethodHead {
		if want, err = parseRange(c.r.Header, n.Size); err != nil {
			return err
		}
	}
	c.showNode(k, c.blob, n)
	c.show(n.Headers, want.partial)
	if sum := h.Get("x-ms-blob-content-md5"); sum != "" {
		h.Del("x-ms-blob-content-md5")
		h.Set("x-ms-content-md5", sum)
	}
	showMetadata(h, n.Meta)
	h.Set("x-ms-type", fileNode)
	if c.version >= "2019-07-07" { // files have leases since then, and clients before it stumble over the headers
		h.Set("x-ms-lease-status", "unlocked")
		h.Set("x-ms-lease-state", "available")
	}
	h.Set("Accept-Ranges", "bytes")
	if c.r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(n.Size, 10))
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	return c.send(rd, want, n.Size, "x-ms-range-get-content-md5")
}

// fileMetadata is Get File Metadata.
func (c *call) fileMetadata() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	n, err := c.s.lookNode(c.ctx(), k, c.blob, fileNode)
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	showMetadata(c.w.Header(), n.Meta)
	return c.ok(http.StatusOK)
}

// setFileProperties is Set File Properties: headers are replaced if any is given, and the length is changed if it is.
func (c *call) setFileProperties() error {
	h, err := c.fileHeaders()
	if err != nil {
		return err
	}
	size, resize, err := c.fileLength()
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	n, err := c.s.changeNode(c.ctx(), k, c.blob, fileNode, resize, func(n *node, f *os.File) error {
		if h.Type != "" || h.Encoding != "" || h.Language != "" || h.Cache != "" || h.Disposition != "" || h.MD5 != nil || !resize {
			n.Headers = h
		}
		if !resize {
			return nil
		}
		if err := f.Truncate(size); err != nil {
			return fmt.Errorf("blob: resize %s: %w", c.blob, err)
		}
		n.Ranges = subtract(n.Ranges, extent{size, maxFile + 1})
		return nil
	})
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusOK)
}

// putRange is Put Range: update or clear.
func (c *call) putRange() error {
	v := c.header("x-ms-range")
	if v == "" {
		v = c.header("Range")
	}
	if v == "" {
		return missingHeader("x-ms-range")
	}
	at, ok := parseExtent(v)
	if !ok {
		return badHeader("x-ms-range", v)
	}
	t, err := c.transfer()
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	var body *spooled
	switch write := strings.ToLower(c.header("x-ms-write")); write {
	case "clear":
		if c.r.ContentLength != 0 {
			return badHeader("Content-Length", strconv.FormatInt(c.r.ContentLength, 10))
		}
	case "update":
		n, err := c.length(putRangeLimits)
		if err != nil {
			return err
		}
		if n != at.To-at.From {
			return badHeader("x-ms-range", v)
		}
		if body, err = c.s.spool(k.ID, c.r.Body, t.sums(c.version)); err != nil {
			return err
		}
		defer body.drop()
		if body.size != n {
			return io.ErrUnexpectedEOF
		}
		if err := t.verify(body.received); err != nil {
			return err
		}
		c.echo(t, body.received)
	case "":
		return missingHeader("x-ms-write")
	default:
		return badHeader("x-ms-write", write)
	}
	n, err := c.s.writeRange(c.ctx(), k, c.blob, at, body)
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusCreated)
}

// parseExtent reads bytes=first-last.
func parseExtent(v string) (extent, bool) {
	v, ok := strings.CutPrefix(v, "bytes=")
	first, last, ok2 := strings.Cut(v, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil || from < 0 || to < from || to >= maxFile {
		return extent{}, false
	}
	return extent{from, to + 1}, true
}

// listRanges is List Ranges.
func (c *call) listRanges() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	n, list, err := c.s.ranges(c.ctx(), k, c.blob)
	if err != nil {
		return err
	}
	want, err := parseRange(c.r.Header, n.Size)
	if err != nil {
		return err
	}
	c.showNode(k, c.blob, n)
	c.w.Header().Set("x-ms-content-length", strconv.FormatInt(n.Size, 10))
	var b strings.Builder
	b.WriteString("<Ranges>")
	for _, e := range list {
		from, to := max(e.From, want.from), min(e.To, want.from+want.n)
		if from < to {
			fmt.Fprintf(&b, "<Range><Start>%d</Start><End>%d</End></Range>", from, to-1)
		}
	}
	b.WriteString("</Ranges>")
	return c.xml(http.StatusOK, b.String())
}

// listDirectory is List Directories and Files.
func (c *call) listDirectory() error {
	after, limit, _, err := c.page()
	if err != nil {
		return err
	}
	k, err := c.home()
	if err != nil {
		return err
	}
	all, err := c.s.children(c.ctx(), k, c.blob)
	if err != nil {
		return err
	}
	prefix := strings.ToLower(c.q.Get("prefix"))
	var page []*node
	next := ""
	for _, n := range all {
		if n.order() <= after || !strings.HasPrefix(strings.ToLower(n.Name), prefix) {
			continue
		}
		if len(page) == limit {
			next = page[limit-1].order()
			break
		}
		page = append(page, n)
	}
	var b strings.Builder
	b.WriteString("<EnumerationResults")
	attribute(&b, "ServiceEndpoint", c.base)
	attribute(&b, "ShareName", c.container)
	attribute(&b, "DirectoryPath", c.blob)
	b.WriteString(">")
	c.echoParameters(&b)
	b.WriteString("<Entries>")
	for _, n := range page {
		b.WriteString("<" + n.Kind + ">")
		if c.version >= "2020-10-02" {
			path := n.Name
			if c.blob != "" {
				path = c.blob + "/" + n.Name
			}
			element(&b, "FileId", nodeID(k, path))
		}
		nameElement(&b, "Name", n.Name)
		b.WriteString("<Properties>")
		if n.Kind == fileNode {
			element(&b, "Content-Length", strconv.FormatInt(n.Size, 10))
		}
		if c.version >= "2020-10-02" {
			element(&b, "CreationTime", fileTime(n.Created))
			element(&b, "LastWriteTime", fileTime(n.Written))
			element(&b, "Last-Modified", httpTime(n.Modified))
			element(&b, "Etag", n.etag)
		}
		b.WriteString("</Properties></" + n.Kind + ">")
	}
	b.WriteString("</Entries>")
	element(&b, "NextMarker", marker(next))
	b.WriteString("</EnumerationResults>")
	return c.xml(http.StatusOK, b.String())
}
