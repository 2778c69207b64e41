package blob

import (
	"net/http"
	"strings"
	"time"
)

// conditions are the conditional headers of a request; zero: none.
type conditions struct {
	match, noneMatch     string
	modified, unmodified time.Time
}

func (c *call) conditions() (conditions, error) { return parseConditions(c.r.Header, "") }

// parseConditions reads the headers, or those with a prefix such as "x-ms-source-".
func parseConditions(h http.Header, prefix string) (conditions, error) {
	out := conditions{match: h.Get(prefix + "If-Match"), noneMatch: h.Get(prefix + "If-None-Match")}
	for name, t := range map[string]*time.Time{"If-Modified-Since": &out.modified, "If-Unmodified-Since": &out.unmodified} {
		v := h.Get(prefix + name)
		if v == "" {
			continue
		}
		at, err := http.ParseTime(v)
		if err != nil {
			return conditions{}, badHeader(prefix+name, v)
		}
		*t = at
	}
	return out, nil
}

func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.Trim(strings.TrimPrefix(one, "W/"), `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}

// met evaluates the headers in the service's order: an etag header counts and
// the date beside it does not. fresh is false where only the client's copy is up to date.
func (c conditions) met(etag string, modified time.Time) (ok, fresh bool) {
	modified = modified.Truncate(time.Second)
	switch {
	case c.match != "":
		if !matches(c.match, etag) {
			return false, true
		}
	case !c.unmodified.IsZero() && modified.After(c.unmodified):
		return false, true
	}
	switch {
	case c.noneMatch != "":
		return true, !matches(c.noneMatch, etag)
	case !c.modified.IsZero():
		return true, modified.After(c.modified)
	}
	return true, true
}

// read answers 304 to a reader who has it already.
func (c conditions) read(etag string, modified time.Time) error {
	ok, fresh := c.met(etag, modified)
	switch {
	case !ok:
		return fail("ConditionNotMet")
	case !fresh:
		e := fail("ConditionNotMet")
		e.Status = http.StatusNotModified
		return e
	}
	return nil
}

// write checks a write to what exists.
func (c conditions) write(etag string, modified time.Time) error {
	if ok, fresh := c.met(etag, modified); !ok || !fresh {
		return fail("ConditionNotMet")
	}
	return nil
}

// change is write as a check of a blob that must be there.
func (c conditions) change(b *state) error { return c.write(b.etag(), b.Modified) }

// put is write as a check of a blob that may be absent.
func (c conditions) put(b *state) error {
	switch {
	case b == nil && c.match != "":
		return fail("ConditionNotMet")
	case b == nil:
		return nil
	case c.noneMatch == "*":
		return fail("BlobAlreadyExists")
	}
	return c.change(b)
}

// overwrite adds to put that a grant which may only create must not overwrite.
func (c *call) overwrite(cond conditions) check {
	return func(b *state) error {
		if b != nil && !c.grant.may("w") {
			return fail("UnauthorizedBlobOverwrite")
		}
		return cond.put(b)
	}
}
