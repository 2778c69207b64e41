package blob

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// writable checks what is common to all writes of a blob and finds its container.
func (c *call) writable() (*container, conditions, error) {
	home, err := c.home()
	if err != nil {
		return nil, conditions{}, err
	}
	if v := c.header("x-ms-lease-id"); v != "" {
		return nil, conditions{}, fail("UnsupportedHeader").with("HeaderName", "x-ms-lease-id")
	}
	cond, err := c.conditions()
	return home, cond, err
}

// precheck refuses early what would be refused after the body.
func (c *call) precheck(home *container, ok check) error {
	b, err := c.s.look(c.ctx(), home, c.blob)
	if err != nil && !isAbsent(err) {
		return err
	}
	return ok(b)
}

// receive reads the request's body into a file and checks it.
func (c *call) receive(home *container, n int64, t transfer, want sums) (received, error) {
	got, err := c.s.receive(home.ID, c.r.Body, want)
	if err != nil {
		return received{}, err
	}
	if got.size != n {
		err = io.ErrUnexpectedEOF
	} else {
		err = t.verify(got)
	}
	if err != nil {
		c.s.files.discard(home.ID, got.file)
		return received{}, err
	}
	return got, nil
}

// putBlob is Put Blob for block and append blobs.
func (c *call) putBlob() error {
	kind := c.header("x-ms-blob-type")
	switch kind {
	case blockBlob, appendBlob:
	case "":
		return missingHeader("x-ms-blob-type")
	case pageBlob:
		return fail("BlobTypeNotSupported")
	default:
		return badHeader("x-ms-blob-type", kind)
	}
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	doc, err := c.newDocument(kind, true)
	if err != nil {
		return err
	}
	t, err := c.transfer()
	if err != nil {
		return err
	}
	n, err := c.length(putBlobLimits)
	if err != nil {
		return err
	}
	if err := c.precheck(home, c.overwrite(cond)); err != nil {
		return err
	}
	var got received
	if kind == appendBlob {
		if n != 0 {
			return badHeader("Content-Length", strconv.FormatInt(n, 10))
		}
		doc.Headers.MD5 = nil
		if doc.File, err = c.s.emptyAppend(home.ID); err != nil {
			return err
		}
	} else {
		want := t.sums(c.version)
		want.md5 = true
		if got, err = c.receive(home, n, t, want); err != nil {
			return err
		}
		if sent := doc.Headers.MD5; sent != nil && !bytes.Equal(sent, got.md5) {
			c.s.files.discard(home.ID, got.file)
			return mismatch(sent, got.md5)
		}
		doc.File, doc.Size, doc.Headers.MD5 = got.file, got.size, got.md5
	}
	b, err := c.s.replace(c.ctx(), home, c.blob, doc, nil, c.overwrite(cond))
	if err != nil {
		return err
	}
	c.stamp(b)
	if kind == blockBlob {
		t.md5 = got.md5 // Put Blob tells it always
	}
	c.echo(t, got)
	return c.ok(http.StatusCreated)
}

// newDocument is the document of a blob that a request makes.
func (c *call) newDocument(kind string, plain bool) (document, error) {
	h, err := c.blobHeaders(plain)
	if err != nil {
		return document{}, err
	}
	if h.Type == "" {
		h.Type = octets
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return document{}, err
	}
	doc := document{Kind: kind, Headers: h, Meta: meta}
	if v := c.header("x-ms-access-tier"); v != "" && kind == blockBlob {
		if !tiers[v] {
			return document{}, badHeader("x-ms-access-tier", v)
		}
		doc.Tier, doc.TierTime = v, c.s.cfg.Clock.Now()
	}
	return doc, nil
}

// tiers are those of block blobs that keep the blob readable; Archive does not, and is refused.
var tiers = map[string]bool{"Hot": true, "Cool": true, "Cold": true}

// blockID reads and checks the query's blockid.
func (c *call) blockID() (string, error) {
	id := c.q.Get("blockid")
	if id == "" {
		return "", fail("MissingRequiredQueryParameter").with("QueryParameterName", "blockid")
	}
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) == 0 {
		return "", badQuery("blockid", id, "Not a valid base64 string.")
	}
	if len(raw) > 64 {
		return "", fail("OutOfRangeInput")
	}
	return id, nil
}

// putBlock is Put Block.
func (c *call) putBlock() error {
	id, err := c.blockID()
	if err != nil {
		return err
	}
	home, _, err := c.writable()
	if err != nil {
		return err
	}
	t, err := c.transfer()
	if err != nil {
		return err
	}
	n, err := c.length(putBlockLimits)
	if err != nil {
		return err
	}
	if n == 0 {
		return badHeader("Content-Length", "0")
	}
	if err := c.precheck(home, c.overwrite(conditions{})); err != nil {
		return err
	}
	got, err := c.receive(home, n, t, t.sums(c.version))
	if err != nil {
		return err
	}
	if err := c.s.stage(c.ctx(), home, c.blob, id, got, c.overwrite(conditions{})); err != nil {
		return err
	}
	c.echo(t, got)
	return c.ok(http.StatusCreated)
}

// maxXML bounds the XML bodies that clients send; 50,000 block ids fit well.
const maxXML = 16 << 20

// readXML checks and decodes the body.
func (c *call) readXML(v any) error {
	if c.r.ContentLength > maxXML {
		return fail("RequestBodyTooLarge").with("MaxLimit", strconv.Itoa(maxXML))
	}
	t, err := c.transfer()
	if err != nil {
		return err
	}
	m := newSummer(sums{md5: t.md5 != nil, crc: t.crc != nil})
	raw, err := io.ReadAll(io.LimitReader(c.r.Body, maxXML+1))
	if err != nil {
		return err
	}
	if len(raw) > maxXML {
		return fail("RequestBodyTooLarge").with("MaxLimit", strconv.Itoa(maxXML))
	}
	m.add(raw)
	var got received
	m.fill(&got)
	if err := t.verify(got); err != nil {
		return err
	}
	return decodeXML(raw, v)
}

// decodeXML decodes a whole document of UTF-8; a byte order mark is skipped.
func decodeXML(raw []byte, v any) error {
	text := strings.TrimPrefix(string(raw), "\ufeff")
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("not utf-8") }
	if err := d.Decode(v); err != nil || !utf8.ValidString(text) {
		return fail("InvalidXmlDocument")
	}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if _, start := tok.(xml.StartElement); err != nil || start {
			return fail("InvalidXmlDocument")
		}
	}
}

// blockListXML is the body of Put Block List.
type blockListXML struct {
	XMLName xml.Name `xml:"BlockList"`
	Lines   []struct {
		XMLName xml.Name
		ID      string `xml:",chardata"`
	} `xml:",any"`
}

func (x blockListXML) refs() ([]blockRef, error) {
	if len(x.Lines) > maxBlocks {
		return nil, fail("BlockListTooLong")
	}
	refs := make([]blockRef, 0, len(x.Lines))
	for _, l := range x.Lines {
		switch l.XMLName.Local {
		case "Latest", "Committed", "Uncommitted":
		default:
			return nil, fail("InvalidXmlDocument").with("XmlNodeName", l.XMLName.Local)
		}
		id := strings.TrimSpace(l.ID)
		if raw, err := base64.StdEncoding.DecodeString(id); err != nil || len(raw) == 0 || len(raw) > 64 {
			return nil, fail("InvalidBlockId")
		}
		refs = append(refs, blockRef{from: l.XMLName.Local, id: id})
	}
	return refs, nil
}

// putBlockList is Put Block List.
func (c *call) putBlockList() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	doc, err := c.newDocument(blockBlob, false)
	if err != nil {
		return err
	}
	var x blockListXML
	if err := c.readXML(&x); err != nil {
		return err
	}
	refs, err := x.refs()
	if err != nil {
		return err
	}
	b, err := c.s.assemble(c.ctx(), home, c.blob, refs, doc, c.overwrite(cond))
	if err != nil {
		return err
	}
	c.stamp(b)
	c.w.Header().Set("x-ms-request-server-encrypted", "true")
	return c.ok(http.StatusCreated)
}

// getBlockList is Get Block List.
func (c *call) getBlockList() error {
	kind := strings.ToLower(c.q.Get("blocklisttype"))
	switch kind {
	case "":
		kind = "committed"
	case "committed", "uncommitted", "all":
	default:
		return badQuery("blocklisttype", c.q.Get("blocklisttype"), "")
	}
	if c.q.Has("snapshot") {
		return fail("BlobNotFound")
	}
	home, err := c.home()
	if err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	b, have, staged, err := c.s.blockLists(c.ctx(), home, c.blob)
	if err != nil {
		return err
	}
	if b != nil {
		if err := cond.read(b.etag(), b.Modified); err != nil {
			return err
		}
		c.stamp(b)
		c.w.Header().Set("x-ms-blob-content-length", strconv.FormatInt(b.Size, 10))
	}
	var out strings.Builder
	out.WriteString("<BlockList>")
	for _, part := range []struct {
		element, kind string
		list          []block
	}{{"CommittedBlocks", "committed", have}, {"UncommittedBlocks", "uncommitted", staged}} {
		if kind != part.kind && kind != "all" {
			continue
		}
		out.WriteString("<" + part.element + ">")
		for _, k := range part.list {
			out.WriteString("<Block>")
			element(&out, "Name", k.ID)
			element(&out, "Size", strconv.FormatInt(k.Size, 10))
			out.WriteString("</Block>")
		}
		out.WriteString("</" + part.element + ">")
	}
	out.WriteString("</BlockList>")
	return c.xml(http.StatusOK, out.String())
}

// appendBlock is Append Block.
func (c *call) appendBlock() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	if c.header("x-ms-copy-source") != "" {
		return fail("NotImplemented")
	}
	t, err := c.transfer()
	if err != nil {
		return err
	}
	n, err := c.length(appendLimits)
	if err != nil {
		return err
	}
	if n == 0 {
		return badHeader("Content-Length", "0")
	}
	var at int64
	rules := appendRules{ok: cond.change, offset: &at}
	for name, to := range map[string]**int64{
		"x-ms-blob-condition-appendpos": &rules.position, "x-ms-blob-condition-maxsize": &rules.maxSize,
	} {
		v := c.header(name)
		if v == "" {
			continue
		}
		number, err := strconv.ParseInt(v, 10, 64)
		if err != nil || number < 0 {
			return badHeader(name, v)
		}
		*to = &number
	}
	spool, err := c.s.spool(home.ID, c.r.Body, t.sums(c.version))
	if err != nil {
		return err
	}
	defer spool.drop()
	if spool.size != n {
		return io.ErrUnexpectedEOF
	}
	if err := t.verify(spool.received); err != nil {
		return err
	}
	b, err := c.s.append(c.ctx(), home, c.blob, spool, rules)
	if err != nil {
		return err
	}
	c.stamp(b)
	c.echo(t, spool.received)
	h := c.w.Header()
	h.Set("x-ms-blob-append-offset", strconv.FormatInt(at, 10))
	h.Set("x-ms-blob-committed-block-count", strconv.FormatUint(b.count, 10))
	return c.ok(http.StatusCreated)
}
