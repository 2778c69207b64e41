package blob

import (
	"bytes"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// sasTimes are the forms that st and se may have.
var sasTimes = []string{"2006-01-02", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.9999999Z07:00", "2006-01-02T15:04Z", "2006-01-02T15:04:05Z"}

func parseSASTime(v string) (time.Time, bool) {
	for _, form := range sasTimes {
		if t, err := time.Parse(form, v); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// authorizeSAS checks an account SAS (it has ss) or a service SAS.
func (c *call) authorizeSAS(op *operation) error {
	sv := c.q.Get("sv")
	if sv != "" && !validVersion(sv) {
		return denied("sv is not valid: %s", sv)
	}
	for _, name := range []string{"skoid", "sktid", "skt", "ske", "sks", "skv"} {
		if c.q.Has(name) {
			return denied("%s: signatures by a user delegation key are not supported.", name)
		}
	}
	var g grant
	var err error
	if c.q.Has("ss") || c.q.Has("srt") {
		g, err = c.accountSAS(c.account, c.q, op)
	} else {
		if !op.service {
			return fail("AuthorizationFailure")
		}
		g, err = c.serviceSAS(c.account, c.q, c.container, c.blob, op.level)
	}
	if err != nil {
		return err
	}
	if op.need == "" {
		return fail("AuthorizationFailure")
	}
	if !g.may(op.need) {
		return fail("AuthorizationPermissionMismatch").with("ExtendedErrorDetail", "The signature's sp does not have any of "+op.need+".")
	}
	c.grant = g
	return nil
}

// accountSAS checks "Create an account SAS": string-to-sign of 2015-04-05, with ses since 2020-12-06.
func (c *call) accountSAS(a *account, q url.Values, op *operation) (grant, error) {
	sv := q.Get("sv")
	for _, name := range []string{"sv", "ss", "srt", "sp", "se"} {
		if q.Get(name) == "" {
			return grant{}, denied("%s is mandatory. Cannot be empty", name)
		}
	}
	if sv < "2015-04-05" {
		return grant{}, denied("sv is not valid: %s", sv)
	}
	text := a.Name + "\n" + lines(q, "sp", "ss", "srt", "st", "se", "sip", "spr", "sv")
	if sv >= "2020-12-06" {
		text += q.Get("ses") + "\n"
	}
	if !a.signed(q.Get("sig"), text) {
		return grant{}, denied("Signature did not match. String to sign used was %s", text)
	}
	if err := c.within(q, q.Get("st"), q.Get("se")); err != nil {
		return grant{}, err
	}
	switch {
	case !strings.Contains(q.Get("ss"), c.svc.letter):
		return grant{}, fail("AuthorizationServiceMismatch")
	case !strings.Contains(q.Get("srt"), string(op.resource())):
		return grant{}, fail("AuthorizationResourceTypeMismatch")
	}
	return grant{permissions: q.Get("sp")}, nil
}

// lines joins parameters, a newline after each.
func lines(q url.Values, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(q.Get(name) + "\n")
	}
	return b.String()
}

// serviceText is the string-to-sign of "Create a service SAS" for the
// versions 2012-02-12, 2013-08-15, 2015-04-05, 2018-11-09 and 2020-12-06, and
// for those without sv before them.
func (c *call) serviceText(q url.Values, resource string) string {
	sv := q.Get("sv")
	if sv >= "2015-02-21" {
		resource = "/" + c.svc.name + resource
	}
	text := lines(q, "sp", "st", "se") + resource + "\n" + q.Get("si")
	if sv == "" {
		return text
	}
	if sv >= "2015-04-05" {
		text += "\n" + q.Get("sip") + "\n" + q.Get("spr")
	}
	text += "\n" + sv
	if sv < "2013-08-15" {
		return text
	}
	if c.svc == blobService && sv >= "2018-11-09" {
		text += "\n" + q.Get("sr") + "\n" + q.Get("snapshot")
		if sv >= "2020-12-06" {
			text += "\n" + q.Get("ses")
		}
	}
	for _, name := range overrides {
		text += "\n" + q.Get(name)
	}
	return text
}

// overrides are the parameters that set response headers, in the order of the string-to-sign.
var overrides = []string{"rscc", "rscd", "rsce", "rscl", "rsct"}

var overrideHeaders = map[string]string{
	"rscc": "Cache-Control", "rscd": "Content-Disposition", "rsce": "Content-Encoding", "rscl": "Content-Language", "rsct": "Content-Type",
}

// serviceSAS checks a signature for a container (share) or a blob (file) of the account.
func (c *call) serviceSAS(a *account, q url.Values, container, blob string, level byte) (grant, error) {
	whole, one := "c", "b"
	if c.svc == fileService {
		whole, one = "s", "f"
	}
	resource := "/" + a.Name + "/" + container
	switch sr := q.Get("sr"); sr {
	case whole:
	case one:
		if level != 'o' {
			return grant{}, fail("AuthorizationResourceTypeMismatch")
		}
		resource += "/" + blob
	case "":
		return grant{}, denied("sr is mandatory. Cannot be empty")
	default:
		return grant{}, denied("sr is not valid: %s", sr)
	}
	if text := c.serviceText(q, resource); !a.signed(q.Get("sig"), text) {
		return grant{}, denied("Signature did not match. String to sign used was %s", text)
	}
	start, expiry, permissions := q.Get("st"), q.Get("se"), q.Get("sp")
	if id := q.Get("si"); id != "" {
		p, err := c.policy(a, container, id)
		if err != nil {
			return grant{}, err
		}
		for _, f := range []struct{ name, policy, sas string }{
			{"st", p.Start, start}, {"se", p.Expiry, expiry}, {"sp", p.Permission, permissions},
		} {
			if f.policy != "" && f.sas != "" {
				return grant{}, denied("Access policy fields can be associated with signature or SAS identifier but not both: %s", f.name)
			}
		}
		start, expiry, permissions = start+p.Start, expiry+p.Expiry, permissions+p.Permission
	}
	if expiry == "" {
		return grant{}, denied("se is mandatory. Cannot be empty")
	}
	if permissions == "" {
		return grant{}, denied("sp is mandatory. Cannot be empty")
	}
	if err := c.within(q, start, expiry); err != nil {
		return grant{}, err
	}
	g := grant{permissions: permissions, override: map[string]string{}}
	if q.Get("sv") >= "2013-08-15" {
		for name, header := range overrideHeaders {
			if v := q.Get(name); v != "" {
				g.override[header] = v
			}
		}
	}
	return g, nil
}

// policy finds a stored access policy of a container.
func (c *call) policy(a *account, container, id string) (policy, error) {
	home, err := c.s.container(c.ctx(), a, c.svc.kind, container)
	if err != nil && !isAbsent(err) {
		return policy{}, err
	}
	if err == nil {
		for _, p := range home.Policies {
			if p.ID == id {
				return p, nil
			}
		}
	}
	return policy{}, denied("SAS identifier not found for specified signed identifier")
}

// within checks when, from where and by which protocol a SAS may be used.
func (c *call) within(q url.Values, start, expiry string) error {
	now := c.s.cfg.Clock.Now()
	from, to := time.Time{}, time.Time{}
	var ok bool
	if start != "" {
		if from, ok = parseSASTime(start); !ok {
			return denied("st is not valid: %s", start)
		}
	}
	if to, ok = parseSASTime(expiry); !ok {
		return denied("se is not valid: %s", expiry)
	}
	if now.Before(from) || !now.Before(to) {
		began := "-"
		if start != "" {
			began = httpTime(from)
		}
		return denied("Signature not valid in the specified time frame: Start [%s] - Expiry [%s] - Current [%s]", began, httpTime(to), httpTime(now))
	}
	switch spr := q.Get("spr"); spr {
	case "", "https,http", "http,https":
	case "https":
		if !c.secure() {
			return fail("AuthorizationProtocolMismatch")
		}
	default:
		return denied("spr is not valid: %s", spr)
	}
	return c.fromRange(q.Get("sip"))
}

// fromRange checks the caller's address against sip: an address or first-last.
func (c *call) fromRange(sip string) error {
	if sip == "" {
		return nil
	}
	low, high, ranged := strings.Cut(sip, "-")
	if !ranged {
		high = low
	}
	first, err := netip.ParseAddr(low)
	last, err2 := netip.ParseAddr(high)
	if err != nil || err2 != nil {
		return denied("sip is not valid: %s", sip)
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err == nil {
		at = at.Unmap()
		a, l, h := at.AsSlice(), first.Unmap().AsSlice(), last.Unmap().AsSlice()
		if len(a) == len(l) && len(a) == len(h) && bytes.Compare(a, l) >= 0 && bytes.Compare(a, h) <= 0 {
			return nil
		}
	}
	e := fail("AuthorizationSourceIPMismatch")
	e.Message = strings.ReplaceAll(e.Message, "{0}", host)
	return e.with("SourceIP", host)
}
