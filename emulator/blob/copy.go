package blob

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// source is a blob of the emulator that a request names by URL.
type source struct {
	home *container
	name string
}

// source resolves x-ms-copy-source and checks that the caller may read it: by
// the SAS in the URL, by public access, or as the owner of the same account.
func (c *call) source() (source, error) {
	raw := c.header("x-ms-copy-source")
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return source{}, badHeader("x-ms-copy-source", withoutQuery(raw))
	}
	name, _, rest := split(u.Host, u.Path)
	if !c.s.ours(u.Hostname()) && !strings.EqualFold(u.Host, c.r.Host) {
		e := fail("CannotVerifyCopySource")
		e.Message = "The copy source is outside of this emulator: " + u.Hostname()
		return source{}, e
	}
	a, err := c.s.account(c.ctx(), name)
	if err != nil {
		return source{}, unverified(err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return source{}, badHeader("x-ms-copy-source", withoutQuery(raw))
	}
	if q.Has("snapshot") || q.Has("versionid") {
		return source{}, fail("CannotVerifyCopySource")
	}
	box, blob, _ := strings.Cut(rest, "/")
	if blob == "" {
		box, blob = "$root", box
	}
	if err := checkBlobName(blob); err != nil {
		return source{}, err
	}
	home, err := c.s.container(c.ctx(), a, containerKeys, box)
	if err != nil {
		return source{}, unverified(err)
	}
	if err := c.mayRead(a, q, home, blob); err != nil {
		return source{}, unverified(err)
	}
	return source{home: home, name: blob}, nil
}

// ours reports whether a host is one of the emulator's blob hosts.
func (s *Service) ours(host string) bool {
	return strings.HasSuffix(strings.ToLower(host), ".blob."+strings.ToLower(s.cfg.Suffix))
}

func (c *call) mayRead(a *account, q url.Values, home *container, blob string) error {
	if !q.Has("sig") {
		if c.grant.all && a.ID == c.account.ID || home.Public != "" {
			return nil
		}
		return fail("CannotVerifyCopySource")
	}
	var g grant
	var err error
	if q.Has("ss") {
		g, err = c.accountSAS(a, q, &operation{level: 'o'})
	} else {
		g, err = c.serviceSAS(a, q, home.Name, blob, 'o')
	}
	if err == nil && !g.may("r") {
		err = fail("AuthorizationPermissionMismatch")
	}
	return err
}

// unverified is how an error about the source reaches the caller.
func unverified(err error) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	out := fail("CannotVerifyCopySource").with("CopySourceStatusCode", fmt.Sprint(e.Status)).
		with("CopySourceErrorCode", e.Code).with("CopySourceErrorMessage", e.Message)
	out.Status, out.Message = e.Status, e.Message
	return out
}

func withoutQuery(raw string) string {
	before, _, _ := strings.Cut(raw, "?")
	return before
}

// copyBlob is Copy Blob and Put Blob From URL; it has always finished when it answers.
func (c *call) copyBlob() error {
	home, cond, err := c.writable()
	if err != nil {
		return err
	}
	given, err := c.newDocument("", false)
	if err != nil {
		return err
	}
	fromURL := c.header("x-ms-blob-type") != ""
	if fromURL && c.header("x-ms-blob-type") != blockBlob {
		return badHeader("x-ms-blob-type", c.header("x-ms-blob-type"))
	}
	tier := c.header("x-ms-access-tier")
	if tier != "" && !tiers[tier] {
		return badHeader("x-ms-access-tier", tier)
	}
	src, err := c.source()
	if err != nil {
		return err
	}
	srcCond, err := parseConditions(c.r.Header, "x-ms-source-")
	if err != nil {
		return err
	}
	doc, list, err := c.s.duplicate(c.ctx(), src, home, srcCond.change)
	if err != nil {
		return unverifiedAbsence(err)
	}
	if given.Meta != nil {
		doc.Meta = given.Meta
	}
	now := c.s.cfg.Clock.Now()
	doc.Tier, doc.TierTime, doc.Copy = "", now, nil
	if tier != "" {
		doc.Tier = tier
	}
	if fromURL {
		if strings.EqualFold(c.header("x-ms-copy-source-blob-properties"), "false") {
			doc.Headers = headers{MD5: doc.Headers.MD5}
		}
		merge(&doc.Headers, c)
	} else {
		doc.Copy = &copied{ID: requestID(), Source: withoutQuery(c.header("x-ms-copy-source")), Done: now}
	}
	b, err := c.s.replace(c.ctx(), home, c.blob, doc, list, c.overwrite(cond))
	if err != nil {
		return err
	}
	c.stamp(b)
	if fromURL {
		c.w.Header().Set("x-ms-request-server-encrypted", "true")
		return c.ok(http.StatusCreated)
	}
	c.w.Header().Set("x-ms-copy-id", doc.Copy.ID)
	c.w.Header().Set("x-ms-copy-status", "success")
	return c.ok(http.StatusAccepted)
}

// merge sets the headers that the request gives over those of the source.
func merge(h *headers, c *call) {
	for name, to := range map[string]*string{
		"type": &h.Type, "encoding": &h.Encoding, "language": &h.Language, "disposition": &h.Disposition,
	} {
		if v := c.header("x-ms-blob-content-" + name); v != "" {
			*to = v
		}
	}
	if v := c.header("x-ms-blob-cache-control"); v != "" {
		h.Cache = v
	}
	if h.Type == "" {
		h.Type = octets
	}
}

// unverifiedAbsence renames a missing source.
func unverifiedAbsence(err error) error {
	if isAbsent(err) {
		return unverified(err)
	}
	return err
}

// duplicate makes files in a container that hold what a blob holds: second
// names of the immutable ones, a copy of an append blob's.
func (s *Service) duplicate(ctx context.Context, src source, to *container, ok check) (document, []block, error) {
	b, rd, err := s.openBlob(ctx, src.home, src.name, ok)
	if err != nil {
		return document{}, nil, err
	}
	defer func() { _ = rd.Close() }()
	doc := b.document
	if b.Kind == appendBlob {
		doc.File, err = s.copyAppend(rd, b, to.ID)
		return doc, nil, err
	}
	doc.File = ""
	var list []block
	if b.Blocks {
		list = []block{}
	}
	for _, seg := range rd.segments {
		file, err := s.files.link(src.home.ID, seg.file, to.ID)
		if err != nil {
			s.files.discard(to.ID, append(blockFiles(list), doc.File)...)
			return document{}, nil, err
		}
		if b.Blocks {
			list = append(list, block{ID: seg.id, File: file, Size: seg.size})
		} else {
			doc.File = file
		}
	}
	return doc, list, nil
}

func (s *Service) copyAppend(rd *reader, b *state, to string) (string, error) {
	f, file, err := s.files.create(to)
	if err != nil {
		return "", err
	}
	err = fillAppend(f, rd, b, tail{size: b.Size, count: b.count, modified: s.cfg.Clock.Now()})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		s.files.discard(to, file)
		return "", fmt.Errorf("blob: copy: %w", err)
	}
	return file, nil
}

func fillAppend(f *os.File, rd *reader, b *state, t tail) error {
	if _, err := f.Seek(appendBase, io.SeekStart); err != nil {
		return err
	}
	if err := rd.copyTo(f, b.Size); err != nil {
		return err
	}
	return t.write(f)
}

// putBlockFromURL is Put Block From URL.
func (c *call) putBlockFromURL() error {
	id, err := c.blockID()
	if err != nil {
		return err
	}
	home, _, err := c.writable()
	if err != nil {
		return err
	}
	src, err := c.source()
	if err != nil {
		return err
	}
	cond, err := parseConditions(c.r.Header, "x-ms-source-")
	if err != nil {
		return err
	}
	b, rd, err := c.s.openBlob(c.ctx(), src.home, src.name, cond.change)
	if err != nil {
		return unverifiedAbsence(err)
	}
	defer func() { _ = rd.Close() }()
	want, err := parseRange(http.Header{"Range": {c.header("x-ms-source-range")}}, b.Size)
	if err != nil {
		return err
	}
	if most := limitOf(putBlockLimits, c.version); want.n > most {
		return fail("RequestBodyTooLarge").with("MaxLimit", fmt.Sprint(most))
	}
	if want.n == 0 {
		return fail("InvalidRange")
	}
	if _, err := rd.Seek(want.from, io.SeekStart); err != nil {
		return err
	}
	got, err := c.s.receive(home.ID, io.LimitReader(rd, want.n), sums{md5: true, crc: true})
	if err != nil {
		return err
	}
	if err := c.s.stage(c.ctx(), home, c.blob, id, got, c.overwrite(conditions{})); err != nil {
		return err
	}
	c.echo(transfer{}, got)
	return c.ok(http.StatusCreated)
}

// abortCopy is Abort Copy Blob: no copy is ever under way when it comes.
func (c *call) abortCopy() error {
	return &Error{Status: http.StatusConflict, Code: "NoPendingCopyOperation", Message: "There is currently no pending copy operation."}
}
