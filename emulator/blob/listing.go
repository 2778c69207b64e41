package blob

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lazulite.dev/emulator/store"
)

// pageSize is how many entries one page of a list has at most.
const pageSize = 5000

// listing says which blobs to list: those after a name, grouped at the
// delimiter if there is one, and at most limit entries (0: all).
type listing struct {
	prefix, delimiter, after string
	limit                    int
	drafts                   bool
}

// entry is one blob of a list, or a common prefix where blob is nil.
type entry struct {
	name string
	blob *state
}

// past comes after every name that begins with prefix, and before all that follow.
func past(prefix string) string { return prefix + "\U0010FFFF" }

// list returns entries in bytewise order and the name to go on after, "" at the end.
func (s *Service) list(ctx context.Context, c *container, l listing) ([]entry, string, error) {
	base := blobKey(c.ID, "")
	var out []entry
	after := l.after
	for {
		from := ""
		if after != "" {
			from = base + after
		}
		docs, err := s.cfg.Store.List(ctx, base+l.prefix, from, 1000)
		if err != nil {
			return nil, "", err
		}
		for _, d := range docs {
			name := strings.TrimPrefix(d.Key, base)
			if after != "" && name <= after {
				continue // under a prefix that is out already
			}
			e, err := s.entry(ctx, c, d, name, l)
			if err != nil {
				return nil, "", err
			}
			if e.name != "" {
				if l.limit > 0 && len(out) == l.limit {
					return out, after, nil
				}
				out = append(out, e)
			}
			if after = name; e.blob == nil && e.name != "" {
				after = past(e.name)
			}
		}
		if len(docs) < 1000 {
			return out, "", nil
		}
	}
}

// entry makes a list's entry of a document; one without a name is to be left out.
func (s *Service) entry(ctx context.Context, c *container, d store.Doc, name string, l listing) (entry, error) {
	b := &state{rev: d.Rev}
	if err := decode(d.Key, d.Value, &b.document); err != nil {
		return entry{}, err
	}
	if b.Draft && !l.drafts {
		return entry{}, nil
	}
	if l.delimiter != "" {
		rest := name[len(l.prefix):]
		if i := strings.Index(rest, l.delimiter); i >= 0 {
			return entry{name: name[:len(l.prefix)+i+len(l.delimiter)]}, nil
		}
	}
	if b.Kind != appendBlob {
		return entry{name: name, blob: b}, nil
	}
	// How long it is, is in its file, and that may have been replaced since.
	b, err := s.look(ctx, c, name)
	if isAbsent(err) {
		return entry{}, nil
	}
	return entry{name: name, blob: b}, err
}

// marker and unmarker make a name opaque, as the service's own markers are.
func marker(name string) string {
	if name == "" {
		return ""
	}
	return "2!" + base64.URLEncoding.EncodeToString([]byte(name))
}

func (c *call) unmarker() (string, error) {
	v := c.q.Get("marker")
	if v == "" {
		return "", nil
	}
	rest, ok := strings.CutPrefix(v, "2!")
	name, err := base64.URLEncoding.DecodeString(rest)
	if !ok || err != nil || len(name) == 0 {
		return "", badQuery("marker", v, "The marker is not one that a list returned.")
	}
	return string(name), nil
}

// page reads the parameters that all lists have.
func (c *call) page() (after string, limit int, include map[string]bool, err error) {
	if after, err = c.unmarker(); err != nil {
		return "", 0, nil, err
	}
	if limit, err = c.number("maxresults", pageSize, 1, pageSize); err != nil {
		return "", 0, nil, err
	}
	include = map[string]bool{}
	for one := range strings.SplitSeq(c.q.Get("include"), ",") {
		if one = strings.ToLower(strings.TrimSpace(one)); one != "" && !includes[one] {
			return "", 0, nil, badQuery("include", one, "Invalid query parameter value.")
		}
		include[one] = true
	}
	return after, limit, include, nil
}

// includes are what a list may be asked to include; what the emulator does not have is never there to include.
var includes = map[string]bool{
	"metadata": true, "uncommittedblobs": true, "snapshots": true, "copy": true, "deleted": true, "system": true,
	"tags": true, "versions": true, "deletedwithversions": true, "immutabilitypolicy": true, "legalhold": true, "permissions": true,
	"timestamps": true, "etag": true, "attributes": true, "permissionkey": true,
}

// echoParameters repeats the list's parameters, as the service does.
func (c *call) echoParameters(b *strings.Builder) {
	for _, p := range []struct{ query, element string }{{"prefix", "Prefix"}, {"marker", "Marker"}, {"maxresults", "MaxResults"}, {"delimiter", "Delimiter"}} {
		if v := c.q.Get(p.query); v != "" {
			nameElement(b, p.element, v)
		}
	}
}

// nameElement writes a name; what XML cannot hold is percent-encoded and marked, as since version 2021-02-12.
func nameElement(b *strings.Builder, tag, name string) {
	if strings.ContainsFunc(name, func(r rune) bool { return !inXML(r) }) {
		b.WriteString("<" + tag + ` Encoded="true">` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20") + "</" + tag + ">")
		return
	}
	element(b, tag, name)
}

func inXML(r rune) bool {
	return r != utf8.RuneError && (r >= 0x20 || unicode.IsSpace(r) && r != '\v' && r != '\f') && r != 0xFFFE && r != 0xFFFF
}

// listBlobs is List Blobs, flat or by delimiter.
func (c *call) listBlobs() error {
	after, limit, include, err := c.page()
	if err != nil {
		return err
	}
	home, err := c.home()
	if err != nil {
		return err
	}
	l := listing{
		prefix: c.q.Get("prefix"), delimiter: c.q.Get("delimiter"), after: after, limit: limit,
		drafts: include["uncommittedblobs"],
	}
	if !utf8.ValidString(l.prefix) || !utf8.ValidString(l.delimiter) {
		return badQuery("prefix", strings.ToValidUTF8(l.prefix, "?"), "Not valid UTF-8.")
	}
	entries, next, err := c.s.list(c.ctx(), home, l)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("<EnumerationResults")
	attribute(&b, "ServiceEndpoint", c.base)
	attribute(&b, "ContainerName", c.container)
	b.WriteString(">")
	c.echoParameters(&b)
	b.WriteString("<Blobs>")
	for _, e := range entries {
		if e.blob == nil {
			b.WriteString("<BlobPrefix>")
			nameElement(&b, "Name", e.name)
			b.WriteString("</BlobPrefix>")
			continue
		}
		c.blobElement(&b, e, include)
	}
	b.WriteString("</Blobs>")
	element(&b, "NextMarker", marker(next))
	b.WriteString("</EnumerationResults>")
	return c.xml(http.StatusOK, b.String())
}

func attribute(b *strings.Builder, name, value string) {
	b.WriteString(" " + name + `="`)
	b.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(value))
	b.WriteString(`"`)
}

func (c *call) blobElement(b *strings.Builder, e entry, include map[string]bool) {
	s := e.blob
	b.WriteString("<Blob>")
	nameElement(b, "Name", e.name)
	b.WriteString("<Properties>")
	element(b, "Creation-Time", httpTime(s.Created))
	element(b, "Last-Modified", httpTime(s.Modified))
	element(b, "Etag", strings.Trim(s.etag(), `"`))
	element(b, "Content-Length", strconv.FormatInt(s.Size, 10))
	element(b, "Content-Type", s.Headers.Type)
	element(b, "Content-Encoding", s.Headers.Encoding)
	element(b, "Content-Language", s.Headers.Language)
	if c.version >= "2019-02-02" {
		element(b, "Content-CRC64", "")
	}
	element(b, "Content-MD5", base64.StdEncoding.EncodeToString(s.Headers.MD5))
	element(b, "Cache-Control", s.Headers.Cache)
	element(b, "Content-Disposition", s.Headers.Disposition)
	element(b, "BlobType", s.Kind)
	if s.Kind == blockBlob && !s.Draft {
		if s.Tier == "" {
			element(b, "AccessTier", "Hot")
			element(b, "AccessTierInferred", "true")
		} else {
			element(b, "AccessTier", s.Tier)
			element(b, "AccessTierChangeTime", httpTime(s.TierTime))
		}
	}
	element(b, "LeaseStatus", "unlocked")
	element(b, "LeaseState", "available")
	element(b, "ServerEncrypted", "true")
	if k := s.Copy; k != nil && include["copy"] {
		size := strconv.FormatInt(s.Size, 10)
		element(b, "CopyId", k.ID)
		element(b, "CopySource", k.Source)
		element(b, "CopyStatus", "success")
		element(b, "CopyProgress", size+"/"+size)
		element(b, "CopyCompletionTime", httpTime(k.Done))
	}
	b.WriteString("</Properties>")
	if include["metadata"] {
		metadataElement(b, s.Meta)
	}
	b.WriteString("</Blob>")
}
